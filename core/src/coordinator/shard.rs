//! One partition of `__consumer_offsets` and everything that its records say.
//!
//! The parent appends the records of each [`Decision`] at once, as one batch, and says how that went before it asks
//! anything else: [`Shard::on_appended`] or [`Shard::on_failed`].
//!
//! So far it serves nobody: every request is refused with COORDINATOR_NOT_AVAILABLE.

use ottla_wire::ErrorCode;

use super::answer::Answer;
use super::request::Request;
use super::settings::GroupSettings;
use crate::clock::{Instant, Now};
use crate::machine::Ticket;
use crate::types::{Offset, TopicPartition};

/// A record for `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key, in one of Kafka's schemas.
    pub key: Vec<u8>,
    /// `None`: a tombstone.
    pub value: Option<Vec<u8>>,
}

/// What a request or the time that has passed leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// To be appended as one atomic batch; perhaps none.
    pub records: Vec<Record>,
    /// What can be said at once, in order.
    pub answers: Vec<(Ticket, Answer)>,
}

/// A record of `__consumer_offsets` that cannot be read, though its batch's CRC is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a group record cannot be read: {0}")]
pub struct ReplayError(pub String);

/// The groups of one partition of `__consumer_offsets`.
#[derive(Clone, Debug)]
pub struct Shard {
    settings: GroupSettings,
}

impl Shard {
    /// A shard that knows no records yet.
    #[must_use]
    pub const fn new(settings: GroupSettings) -> Self {
        Self { settings }
    }

    /// A record of the log, in order, before [`Shard::on_loaded`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn replay(&mut self, _offset: Offset, _key: &[u8], _value: Option<&[u8]>) -> Result<(), ReplayError> {
        Ok(())
    }

    /// The log was replayed up to its end, all of which is committed: sessions begin anew.
    pub fn on_loaded(&mut self, _now: Now) {}

    /// A request. It is answered exactly once: here, or by a later event.
    pub fn on_request(&mut self, _now: Now, request: &Request<'_>, ticket: Ticket) -> Decision {
        let answers = vec![(ticket, request.refused(ErrorCode::COORDINATOR_NOT_AVAILABLE))];
        Decision { records: Vec::new(), answers }
    }

    /// These partitions are no more, and neither are their offsets.
    pub fn on_partitions_deleted(&mut self, _now: Now, _partitions: &[TopicPartition]) -> Decision {
        Decision::default()
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, _now: Now) -> Decision {
        Decision::default()
    }

    /// When [`Shard::on_timeout`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// The last decision's records are in the log; `end` is the offset after them.
    pub fn on_appended(&mut self, _now: Now, _end: Offset) {}

    /// The last decision's records are not in the log and will never be; why, by the log's error code.
    #[must_use]
    pub fn on_failed(&mut self, _now: Now, _code: ErrorCode) -> Vec<(Ticket, Answer)> {
        Vec::new()
    }

    /// The log is committed up to here: the answers that rest on it.
    #[must_use]
    pub fn on_committed(&mut self, _now: Now, _high_watermark: Offset) -> Vec<(Ticket, Answer)> {
        Vec::new()
    }

    /// The shard is another broker's now: NOT_COORDINATOR for everyone who waits. What it knew is gone.
    #[must_use]
    pub fn unload(&mut self) -> Vec<(Ticket, Answer)> {
        *self = Self::new(self.settings.clone());
        Vec::new()
    }
}
