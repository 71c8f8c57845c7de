//! The batches of one partition in the order of their records, and their places in the producer's sequence.
//!
//! A broker takes a producer's batches of a partition in the order of their sequence numbers, and knows a
//! duplicate among the last five (KIP-98). What follows from that:
//!
//! * Batches are sent from the front. Behind one that is in flight only those go out that take the same
//!   connection, so that the broker sees them in order.
//! * Until a batch of a producer id and epoch is acknowledged, only one is in flight: a broker that knows nothing
//!   of the producer takes any sequence number for the first, and so might take the second batch before the first.
//! * A batch that is resent keeps its number, so that a duplicate is seen.
//! * If a batch is certainly not written, and never will be, there is a hole; and if the broker says that the
//!   number of the first batch is not the next, it lost something. Then the partition gets the next producer
//!   epoch, which fences what is still under way, and counts from 0 again (KIP-360). That is done when nothing is
//!   in flight; a batch that may have been written under the old epoch is not sent under the new one, because it
//!   could then be there twice: its records fail, in doubt.
//!
//! The epoch is raised for the one partition: for a producer without transactions brokers check epochs a partition,
//! and nobody else ever uses its id.

use std::collections::VecDeque;

use crate::clock::Instant;
use crate::machine::ConnId;
use crate::record::Producer;
use crate::rpc::CallId;
use crate::types::{ProducerEpoch, ProducerId};

use super::super::config::BATCHES_REMEMBERED;
use super::Rules;
use super::batch::Batch;

#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    /// In the order of records: those that were sent, then those that were not.
    pub(super) queue: VecDeque<Batch>,
    lineage: Option<Lineage>,
    /// The lineage ends as soon as nothing is in flight.
    reset: Option<Reset>,
}

/// The run of sequence numbers under one producer id and epoch.
#[derive(Clone, Copy, Debug)]
struct Lineage {
    id: ProducerId,
    epoch: ProducerEpoch,
    next_sequence: i32,
    /// Whether the broker is known to know it.
    acknowledged: bool,
}

/// How a lineage ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    /// The next epoch.
    Epoch,
    /// Another producer id.
    Id,
}

impl Partition {
    /// Which batch may be sent now, over `conn` if that is up.
    pub(super) fn sendable(&self, now: Instant, conn: Option<ConnId>, rules: &Rules, flush: bool) -> Option<usize> {
        let place = self.queue.iter().position(|batch| batch.flight.is_none())?;
        let batch = &self.queue[place];
        let waits = batch.retry_at > now || !self.is_ready(place, now, rules, flush);
        if waits || self.reset.is_some() {
            return None;
        }
        let mut flights = self.queue.iter().filter_map(|batch| batch.flight);
        let behind = self.queue.iter().any(|batch| batch.flight.is_some());
        if !behind {
            return Some(place);
        }
        if rules.in_order {
            return None;
        }
        let known = self.lineage.is_some_and(|lineage| lineage.acknowledged);
        let same_way = flights.all(|flight| Some(flight.conn) == conn);
        let free = !rules.idempotent || known && same_way && place < BATCHES_REMEMBERED;
        free.then_some(place)
    }

    /// Whether a batch has waited long enough for more records, or cannot get any.
    fn is_ready(&self, place: usize, now: Instant, rules: &Rules, flush: bool) -> bool {
        let batch = &self.queue[place];
        let last = place + 1 == self.queue.len();
        flush || !last || batch.attempts > 0 || batch.is_full(rules.batch_size) || batch.created + rules.linger <= now
    }

    /// When time alone may make something due, later than `now`.
    pub(super) fn wake(&self, now: Instant, rules: &Rules) -> Option<Instant> {
        let expires = self.queue.front().map(|batch| batch.deadline(rules.delivery_timeout));
        let next = self.queue.iter().find(|batch| batch.flight.is_none());
        let due = next.map(|batch| if batch.attempts > 0 { batch.retry_at } else { batch.created + rules.linger });
        [expires, due.filter(|&at| at > now)].into_iter().flatten().min()
    }

    /// Gives the batch at `place` its number in the sequence, if it has none, and closes it.
    ///
    /// `fresh` is where a new lineage begins. One that goes on needs none: another partition may have used the id up.
    pub(super) fn sequence(&mut self, place: usize, fresh: Option<Producer>) {
        let batch = &mut self.queue[place];
        let begin = |Producer { id, epoch, base_sequence }| Lineage {
            id,
            epoch,
            next_sequence: base_sequence,
            acknowledged: false,
        };
        self.lineage = self.lineage.or(fresh.map(begin));
        if let (Some(lineage), None) = (&mut self.lineage, batch.sequence) {
            let producer = Producer { id: lineage.id, epoch: lineage.epoch, base_sequence: lineage.next_sequence };
            lineage.next_sequence = producer.sequence_at(batch.count());
            batch.sequence = Some(producer);
        }
        batch.seal();
    }

    /// Whether a producer id must be had before anything is sent.
    pub(super) fn needs_id(&self) -> bool {
        self.lineage.is_none() && !self.queue.is_empty()
    }

    /// The place of a batch that is in flight in `call`.
    pub(super) fn place(&self, number: u64, call: CallId) -> Option<usize> {
        self.queue.iter().position(|batch| batch.number == number && batch.flight.is_some_and(|it| it.call == call))
    }

    /// A batch was acknowledged.
    pub(super) fn on_acknowledged(&mut self, place: usize) -> Batch {
        let batch = self.queue.remove(place).expect("the place was found");
        let sent_as = batch.flight.and_then(|flight| flight.sequence);
        if let (Some(lineage), Some(sent_as)) = (&mut self.lineage, sent_as) {
            lineage.acknowledged |= (lineage.id, lineage.epoch) == (sent_as.id, sent_as.epoch);
        }
        batch
    }

    /// A batch is given up. Whether it left a hole: the broker will never see its number.
    pub(super) fn give_up(&mut self, place: usize, definite: bool) -> Batch {
        let batch = self.queue.remove(place).expect("the place was found");
        if definite && batch.sequence.is_some() {
            self.end_lineage(Reset::Epoch);
        }
        batch
    }

    /// The numbers so far are of no use any more.
    pub(super) fn end_lineage(&mut self, reset: Reset) {
        if self.reset != Some(Reset::Id) {
            self.reset = Some(reset);
        }
    }

    /// Begins a new lineage, if one is due and nothing is in flight. The batches that cannot be sent in it fail;
    /// the second is whether the producer id was used up.
    pub(super) fn perform_reset(&mut self) -> Option<(Vec<Batch>, bool)> {
        let reset = self.reset?;
        if self.queue.iter().any(|batch| batch.flight.is_some()) {
            return None;
        }
        self.reset = None;
        let (lost, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queue).into_iter().partition(|it| it.doubtful);
        self.queue = kept.into();
        for batch in &mut self.queue {
            batch.sequence = None;
        }
        let had_lineage = self.lineage.is_some();
        let next_epoch = |lineage: &Lineage| lineage.epoch.0.checked_add(1).filter(|_| reset == Reset::Epoch);
        let next =
            self.lineage.and_then(|lineage| next_epoch(&lineage).map(|epoch| (lineage.id, ProducerEpoch(epoch))));
        self.lineage = next.map(|(id, epoch)| Lineage { id, epoch, next_sequence: 0, acknowledged: false });
        Some((lost, had_lineage && self.lineage.is_none()))
    }
}
