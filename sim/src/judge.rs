//! The judge of a run: the history, the followed logs and the checkers, and the first violation.

use ottla_core::controller::METADATA_TOPIC;
use ottla_core::log::{DerivedView, ProducerView};
use ottla_core::record::Producer;
use ottla_core::types::TopicPartition;

use crate::deletions::Deletions;
use crate::groups::{Groups, Op, PENDING, Seen};
use crate::history::{Era, History, Outcome, PartitionIndex, ValueId, Write};
use crate::invariants::{
    ByReader, Derived, Fact, Invariants, Part, ProducerRow, QuorumFact, QuorumSeen, ReplicaEvent, Violation,
};
use crate::known::KnownBatches;
use crate::logs::{BatchRef, Change, FollowedLog, Logs};
use crate::metadata::Asked;
use crate::stored::Kept;

mod replicated;

pub use replicated::Replicated;

/// Everything that judges.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    /// What clients did and saw.
    pub history: History,
    /// Who belongs to which group, as clients see it.
    pub groups: Groups,
    /// What each node wrote.
    pub logs: Vec<Logs>,
    /// What administrators asked of the metadata.
    pub metadata: Asked,
    /// What readers have read.
    pub known: KnownBatches,
    invariants: Invariants,
    violation: Option<Violation>,
    /// Where readers are.
    at: ByReader,
    /// Whether an acknowledgement of acks=all survives power loss (`flush=quorum`).
    pub durable_acks: bool,
    /// Which topics have several replicas.
    pub replicated: Replicated,
    /// What was asked to be deleted; none where records expire by themselves.
    pub deletions: Option<Deletions>,
    /// Whether only the client history is judged: what somebody sees who has nothing but clients.
    pub history_alone: bool,
}

impl Judge {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(nodes: usize, durable_acks: bool, history_alone: bool) -> Self {
        Self { logs: vec![Logs::default(); nodes], durable_acks, history_alone, ..Self::default() }
    }

    /// The first violation.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Shows the checkers what a client asked for or saw.
    pub fn fact(&mut self, fact: &Fact<'_>) {
        self.at.follow(fact);
        self.of_node(0, fact);
    }

    /// Shows the checkers what the node at place `at` did.
    pub fn of_node(&mut self, at: usize, fact: &Fact<'_>) {
        if self.violation.is_none() {
            self.violation = verdict(&mut self.invariants, self.history_alone, at, fact);
        }
    }

    /// A node's part in the quorum has changed; where its log ends for it, in which epoch, and the voters it knows.
    pub fn quorum_seen(&mut self, at: usize, part: Part, log: (i64, i64, Option<i32>), voters: &[i32]) {
        if self.violation.is_none() {
            let (start, end, last_epoch) = log;
            let seen = QuorumSeen { part, start, end: (end, last_epoch), voters, logs: &self.logs };
            let fact = Fact::Quorum(QuorumFact::Seen(seen));
            self.violation = verdict(&mut self.invariants, self.history_alone, at, &fact);
        }
    }

    /// A node appends to its metadata log.
    pub fn metadata_appended(&mut self, at: usize, batch: &BatchRef, part: Part, voters: Option<&[i32]>) {
        if self.violation.is_none() {
            let fact = Fact::Quorum(QuorumFact::Appended { batch, part, voters, logs: &self.logs });
            self.violation = verdict(&mut self.invariants, self.history_alone, at, &fact);
        }
    }

    /// The place of the node that has most of a log: what clients see of it concerns that one.
    #[must_use]
    pub fn holder(&self, log: &TopicPartition) -> usize {
        let ends = self.logs.iter().map(|logs| logs.get(log).map(FollowedLog::end));
        ends.enumerate().rev().max_by_key(|(_, end)| *end).map_or(0, |(at, _)| at)
    }

    /// A log as the node has it that has most of it.
    #[must_use]
    pub fn followed(&self, log: &TopicPartition) -> Option<&FollowedLog> {
        self.logs.get(self.holder(log))?.get(log)
    }

    /// Whether a disk has damaged any file.
    #[must_use]
    pub fn is_rotten(&self) -> bool {
        self.logs.iter().any(|logs| logs.rotten)
    }

    /// Something is wrong that no checker of a fact can see.
    pub fn report(&mut self, invariant: &'static str, what: String) {
        if !self.history_alone {
            self.violation.get_or_insert(Violation { invariant, what });
        }
    }

    /// What the machine of a node has derived from a log, against the log. A producer whose last batch is as old as
    /// `expired` may be forgotten; `durable`: what counts as committed in this log is synced.
    pub fn derived(&mut self, at: usize, view: &DerivedView, expired: i64, durable: bool) {
        let Some(followed) = self.logs[at].get(&view.partition) else { return };
        // What waits behind a truncation is in the machine's log, and in no file yet.
        if self.violation.is_some() || followed.damaged {
            return;
        }
        let (log, start, high_watermark) = (&view.partition, view.offsets.log_start.0, view.high_watermark.0);
        let begins = Fact::Begins { log, start, high_watermark, may_begin: self.may_begin(log) };
        self.violation = verdict(&mut self.invariants, self.history_alone, at, &begins);
        if self.violation.is_some() || followed.end() != view.offsets.log_end.0 {
            return;
        }
        // Behind a truncation that waits as much may have been appended as is to be cut: then the ends are the same.
        let last = followed.batches.last().map(|last| last.epoch);
        let derived = view.leader_epochs.last().map(|(epoch, _)| epoch.0);
        if view.offsets.written.0 < followed.end() && last < derived {
            return;
        }
        let producers: Vec<ProducerRow> = view.producers.iter().filter_map(row).collect();
        let epochs: Vec<(i32, i64)> = view.leader_epochs.iter().map(|(epoch, start)| (epoch.0, start.0)).collect();
        let derived = Derived {
            producers: &producers,
            epochs: &epochs,
            batches: followed.from(view.offsets.log_start.0),
            log_start: view.offsets.log_start.0,
            holes: followed.holes,
            expired,
        };
        let committed = Fact::Committed { log, high_watermark: view.high_watermark.0, followed };
        let facts = [Some(Fact::Derived { log, derived }), durable.then_some(committed)];
        let mut facts = facts.into_iter().flatten();
        self.violation = facts.find_map(|fact| verdict(&mut self.invariants, self.history_alone, at, &fact));
    }

    /// A log is compacted below an offset.
    pub fn compacted(&mut self, log: &TopicPartition, below: i64) {
        let partition = self.history.partition(log);
        self.history.compacted(partition, below);
        self.fact(&Fact::Compacted { partition, below });
    }

    /// Where a log may begin at most. The metadata log begins where a snapshot ends.
    #[must_use]
    pub fn may_begin(&self, log: &TopicPartition) -> i64 {
        let deletions = self.deletions.as_ref().filter(|_| &*log.topic != METADATA_TOPIC);
        deletions.map_or(i64::MAX, |deletions| deletions.may_begin(log))
    }

    /// A client asks something about a group, or is told. Of what the disk has damaged nothing is judged.
    pub fn group(&mut self, mut op: Op<'_>, seen: Seen<'_>) {
        if op.told != PENDING {
            op.asked = self.groups.as_of(op.group, op.asked);
        }
        if self.durable_acks && !self.is_rotten() {
            self.fact(&Fact::Group { op, seen });
        }
    }

    /// An effect changed the followed logs of a node.
    pub fn changed(&mut self, at: usize, change: &Change) {
        match change {
            Change::Appended { log, batch, end } => {
                self.of_node(at, &Fact::Appended { log, batch, end: *end });
                self.of_replica(at, log, ReplicaEvent::Appended { batch });
            }
            Change::Rolled { log, segment, end } => {
                self.of_node(at, &Fact::Rolled { log, segment: *segment, end: *end });
            }
            Change::Cut { log, end } => {
                self.of_node(at, &Fact::Cut { log, end: *end });
                self.alone_cut(at, log, *end);
            }
        }
    }

    /// Who alone has a log does not cut what it has acknowledged.
    fn alone_cut(&mut self, at: usize, log: &TopicPartition, end: i64) {
        let is_alone = !self.is_replicated(log) && (self.logs.len() == 1 || &*log.topic != METADATA_TOPIC);
        let Some(followed) = self.logs[at].get(log).filter(|followed| is_alone && !followed.damaged) else { return };
        if end.max(followed.gone()) < followed.promised {
            let what = format!("{log} is cut to {end}, and what is below {} was acknowledged", followed.promised);
            self.report("R16", what);
        }
    }

    /// A node forgot what was not durable there, and with it every promise that counts on no more than that.
    pub fn on_loss(&mut self, at: usize) {
        self.history.power_lost(self.durable_acks);
        self.logs[at].on_loss(self.durable_acks);
    }

    /// A client's batch was sent, and no answer comes; its values are numbered from `first` on.
    pub fn sent(&mut self, first: ValueId, count: u64) {
        self.history.acked_batches += 1;
        for value in first..first + count {
            self.history.complete(value, Outcome::Acked { offset: -1 });
        }
    }

    /// A client learns that its batch, which it sent in `asked`, lies at `base`.
    pub fn acked(&mut self, first: ValueId, count: u64, base: i64, asked: Era) {
        self.history.acked_batches += 1;
        for (value, offset) in (first..first + count).zip(base..) {
            self.acked_value(value, Some(offset), asked);
        }
    }

    /// A client learns that its value, which it sent in `asked`, is written, and mostly where.
    pub fn acked_value(&mut self, value: ValueId, offset: Option<i64>, asked: Era) {
        let promised = self.history.acknowledge(value, offset.unwrap_or(-1), asked, self.durable_acks);
        let (Some(offset), Some(write)) = (offset, self.history.write(value).copied()) else { return };
        let log = self.history.name(write.partition).clone();
        // What an answer promises may have been lost while it was on its way.
        if self.is_replicated(&log) {
            self.acked_by_replicas(&log, value, &write, offset);
        } else if promised {
            self.check_ack(&log, value, &write, offset);
            let at = self.holder(&log);
            self.logs[at].entry(&log).promise(offset + 1, write.acks == -1);
        }
    }

    /// A client sent an acknowledged batch again, and learns that it lies at `base`.
    pub fn acked_again(&mut self, first: ValueId, count: u64, base: i64) {
        for (value, offset) in (first..first + count).zip(base..) {
            let Some(write) = self.history.write(value).copied() else { continue };
            let log = self.history.name(write.partition).clone();
            self.check_ack(&log, value, &write, offset);
        }
    }

    /// A reader refuses what it got at an offset, because it is bad. That is a violation, unless it went bad under the
    /// process that wrote or checked it: sendfile shows nobody what it sends, and the reader is there to look.
    pub fn refused_bad(&mut self, partition: PartitionIndex, offset: i64) {
        let followed = self.followed(self.history.name(partition));
        if !followed.is_some_and(|followed| followed.is_excused(offset)) {
            self.fact(&Fact::BadBatch { partition, offset });
        }
    }

    /// A batch was refused as out of sequence, and all that its client sent before it was acknowledged.
    pub fn out_of_sequence(&mut self, partition: PartitionIndex, producer: Producer) {
        let log = self.history.name(partition).clone();
        self.of_node(self.holder(&log), &Fact::OutOfSequence { log: &log, producer });
    }

    fn check_ack(&mut self, log: &TopicPartition, value: ValueId, write: &Write, offset: i64) {
        if self.violation.is_none() {
            let at = self.holder(log);
            let fact = Fact::Acked { log, value, write, offset, followed: self.logs[at].get(log) };
            self.violation = verdict(&mut self.invariants, self.history_alone, at, &fact);
        }
    }

    /// In a damaged log acks=1 promises nothing: see [`crate::logs::FollowedLog::damaged`].
    pub fn forget_weak_promises(&mut self) {
        for (log, _) in self.logs.iter().flat_map(Logs::iter).filter(|(_, followed)| followed.damaged) {
            self.history.damaged(log);
        }
    }

    /// Everything was read that can be; `starts` says from where, by partition.
    pub fn all_read(&mut self, starts: &[i64]) {
        // One that was not read to its end has none.
        for (partition, start) in starts.iter().enumerate().filter(|(_, start)| **start < i64::MAX) {
            let log = self.history.name(partition);
            let may_begin = self.may_begin(log);
            if *start > may_begin {
                let what =
                    format!("{log}: clients are told that it begins at {start}, and it may at {may_begin} at most");
                self.violation.get_or_insert(Violation { invariant: "C6", what });
            }
        }
        if self.violation.is_none() {
            let fact = Fact::AllRead { history: &self.history, starts };
            self.violation = verdict(&mut self.invariants, self.history_alone, 0, &fact);
        }
    }

    /// A compacted log as it lies on the disk.
    pub fn kept(&mut self, partition: PartitionIndex, start: i64, kept: &Kept, tombstones_stay: bool) {
        if self.violation.is_none() {
            let fact = Fact::Kept { partition, start, kept, tombstones_stay, history: &self.history };
            self.violation = verdict(&mut self.invariants, self.history_alone, 0, &fact);
        }
    }

    /// A reader gets a value.
    pub fn polled(&mut self, reader: u16, partition: PartitionIndex, offset: i64, value: ValueId) {
        let write = self.history.read(value).copied();
        let followed = self.followed(self.history.name(partition));
        // No CRC of Kafka's covers the base offset: where that went bad in hand, the reader cannot know either, and
        // goes on from wherever it led.
        if let Some(Outcome::Acked { offset: at }) = write.map(|write| write.outcome)
            && at != offset
            && followed.is_some_and(|followed| followed.is_excused(at))
        {
            return self.fact(&Fact::Sought { reader, partition, to: None });
        }
        // One that is too low now is taken for what the reader has passed.
        let passed = self.at.passed(reader, partition).map(|passed| passed.saturating_add(1));
        if let (Some(next), Some(followed)) = (passed, followed)
            && let to = followed.past_excused(next, offset)
            && to > next
        {
            self.fact(&Fact::Sought { reader, partition, to: Some(to) });
        }
        self.fact(&Fact::Polled { reader, partition, offset, value, write: write.as_ref() });
        let log = self.history.name(partition).clone();
        self.of_replica(0, &log, ReplicaEvent::Read { offset });
    }
}

fn verdict(invariants: &mut Invariants, history_alone: bool, at: usize, fact: &Fact<'_>) -> Option<Violation> {
    let judged = if history_alone { invariants.check_history(fact) } else { invariants.check(at, fact) };
    judged.err()
}

/// A producer that has written something.
fn row(producer: &ProducerView) -> Option<ProducerRow> {
    Some(ProducerRow {
        id: producer.producer_id,
        epoch: producer.producer_epoch,
        last_sequence: producer.last_sequence,
        last_offset: producer.last_offset?.0,
        timestamp: producer.last_timestamp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::{test_ref, test_write};

    #[test]
    fn who_is_alone_cuts_nothing_that_it_acknowledged() {
        for (promised, expected) in [(2, None), (3, Some("R16"))] {
            let mut judge = Judge::new(1, true, false);
            let log = TopicPartition::new("t", 0);
            judge.logs[0].entry(&log).promise(promised, true);
            judge.changed(0, &Change::Cut { log, end: 2 });
            assert_eq!(judge.violation().map(|violation| violation.invariant), expected);
        }
    }

    #[test]
    fn clients_are_told_of_no_start_that_nobody_asked_for() {
        for (asked, expected) in [(4, Some("C6")), (5, None)] {
            let mut judge = Judge::new(1, true, false);
            let log = TopicPartition::new("t", 0);
            judge.history.partition(&log);
            judge.deletions.get_or_insert_default().asked(&log, Some(asked));
            judge.all_read(&[5]);
            assert_eq!(judge.violation().map(|violation| violation.invariant), expected);
        }
    }

    #[test]
    fn a_bad_batch_is_a_violation_unless_it_went_bad_in_hand() {
        for (offset, good) in [(0, false), (1, true), (2, false)] {
            let mut judge = Judge::new(1, true, false);
            let log = TopicPartition::new("t", 0);
            let partition = judge.history.partition(&log);
            (0..3).for_each(|base| judge.logs[0].entry(&log).append(test_ref(base, base, 1)));
            judge.logs[0].excuse("t-0/00000000000000000000.log", 150..160);
            judge.refused_bad(partition, offset);
            assert_eq!(judge.violation().map(|violation| violation.invariant), (!good).then_some("S3"));
            judge.logs[0].forget_excuses();
            judge.refused_bad(partition, offset);
            assert!(judge.violation().is_some(), "the next process has to look");
        }
    }

    /// What a reader gets of three batches when the second went bad in hand.
    fn read(polled: &[(i64, ValueId)], gone_bad: bool) -> Option<&'static str> {
        let mut judge = Judge::new(1, true, false);
        let log = TopicPartition::new("t", 0);
        let partition = judge.history.partition(&log);
        let acked = |offset| test_write(Outcome::Acked { offset });
        let values: Vec<ValueId> = (0..3).map(|offset| judge.history.invoke(acked(offset))).collect();
        (0..3).for_each(|base| judge.logs[0].entry(&log).append(test_ref(base, base, 1)));
        // Somebody has read it all before.
        values.iter().zip(0..).for_each(|(&value, offset)| judge.polled(0, partition, offset, value));
        if gone_bad {
            judge.logs[0].excuse("t-0/00000000000000000000.log", 150..160);
        }
        polled
            .iter()
            .for_each(|&(offset, at)| judge.polled(1, partition, offset, values[usize::try_from(at).unwrap()]));
        judge.violation().map(|violation| violation.invariant)
    }

    #[test]
    fn a_base_offset_that_went_bad_in_hand_misleads_its_reader() {
        // Too low, it is taken for what was read already; too high, it is somewhere else, and what follows too.
        for polled in [&[(0, 0), (2, 2)][..], &[(0, 0), (9, 1)], &[(0, 0), (2, 1), (2, 2)]] {
            assert_eq!(read(polled, true), None, "{polled:?}");
            assert!(read(polled, false).is_some(), "{polled:?}");
        }
        assert!(read(&[(1, 1), (0, 0)], true).is_some(), "the others are good");
    }
}
