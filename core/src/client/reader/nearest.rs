//! Whom a partition is read from: its leader, or the replica near by that the leader named (KIP-392).
//!
//! | from | on | to |
//! |---|---|---|
//! | the leader | it names a replica | that one, for `metadata.max.age.ms` |
//! | a replica | the time is over | the leader |
//! | a replica | it cannot be reached, or refuses | the leader alone, for a while |
//! | the leader alone | the while is over | the leader |
//!
//! A leader names whom it finds in sync, whether the client reaches that one or not. So one that is to serve by itself
//! is not told the rack: else it would name the same one again at once, and nothing would be read.

use std::time::Duration;

use ottla_wire::ErrorCode;

use crate::clock::Instant;
use crate::rpc::{Lane, Pool, Readiness, Route};
use crate::types::BrokerId;

use super::assigned::Assigned;

/// How long a leader serves by itself after the replica that it named did not.
const AVOIDED: Duration = Duration::from_secs(10);
/// How often a replica is asked again that does not know yet what is committed, before it is taken to lag.
const PATIENCE: u32 = 5;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// The leader, which may name another.
    #[default]
    Leader,
    /// The replica that the leader named, until then.
    Replica { id: BrokerId, until: Instant },
    /// The leader alone, until then.
    LeaderAlone { until: Instant },
}

impl Source {
    /// Who is asked, where this one leads.
    pub(super) const fn broker(self, leader: BrokerId) -> BrokerId {
        match self {
            Self::Replica { id, .. } => id,
            Self::Leader | Self::LeaderAlone { .. } => leader,
        }
    }

    /// What time and connections have made of it.
    pub(super) fn reviewed(self, now: Instant, pool: &Pool) -> Self {
        match self {
            Self::Replica { until, .. } | Self::LeaderAlone { until } if until <= now => Self::Leader,
            Self::Replica { id, .. } => match pool.readiness(now, Route::to(id, Lane::Fetch)) {
                Readiness::Later(_) | Readiness::Unknown => Self::avoiding(now),
                Readiness::Ready | Readiness::Busy | Readiness::Connecting | Readiness::Idle => self,
            },
            Self::Leader | Self::LeaderAlone { .. } => self,
        }
    }

    const fn is_replica(self, broker: BrokerId) -> bool {
        matches!(self, Self::Replica { id, .. } if id.0 == broker.0)
    }

    fn avoiding(now: Instant) -> Self {
        Self::LeaderAlone { until: now + AVOIDED }
    }
}

impl Assigned {
    /// This broker does not serve it: if it is a replica that the leader named, the leader does.
    pub(super) fn avoid(&mut self, now: Instant, broker: BrokerId) {
        if self.source.is_replica(broker) {
            self.source = Source::avoiding(now);
        }
    }

    /// This broker refuses it. One that does not know yet what is committed learns it in a moment.
    pub(super) fn on_refused(&mut self, now: Instant, broker: BrokerId, code: ErrorCode) {
        if code != ErrorCode::OFFSET_NOT_AVAILABLE || self.failures > PATIENCE {
            self.avoid(now, broker);
        }
    }
}
