//! The judge of a run: the history, the followed logs and the checkers, and the first violation.

use ottla_core::types::TopicPartition;

use crate::history::{Era, History, Outcome, PartitionIndex, ValueId, Write};
use crate::invariants::{Fact, Invariants, Violation};
use crate::known::KnownBatches;
use crate::logs::{Change, Logs};

/// Everything that judges.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    /// What clients did and saw.
    pub history: History,
    /// What the node wrote.
    pub logs: Logs,
    /// What readers have read.
    pub known: KnownBatches,
    invariants: Invariants,
    violation: Option<Violation>,
    /// Whether an acknowledgement of acks=all survives power loss (`flush=quorum`).
    pub durable_acks: bool,
}

impl Judge {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(durable_acks: bool) -> Self {
        Self { durable_acks, ..Self::default() }
    }

    /// The first violation.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Shows a fact to the checkers.
    pub fn fact(&mut self, fact: &Fact<'_>) {
        if self.violation.is_none() {
            self.violation = self.invariants.check(fact).err();
        }
    }

    /// Something is wrong that no checker of a fact can see.
    pub fn report(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    /// An effect changed the followed logs.
    pub fn changed(&mut self, change: &Change) {
        match change {
            Change::Appended { log, batch, end } => self.fact(&Fact::Appended { log, batch, end: *end }),
            Change::Rolled { log, segment, end } => {
                self.fact(&Fact::Rolled { log, segment: *segment, end: *end });
            }
            Change::Cut { log, end } => self.fact(&Fact::Cut { log, end: *end }),
        }
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
            let promised = self.history.acknowledge(value, offset, asked, self.durable_acks);
            let Some(write) = self.history.write(value).copied() else { continue };
            let log = self.history.name(write.partition).clone();
            self.check_ack(&log, value, &write, offset);
            if promised {
                self.logs.entry(&log).promise(offset + 1, write.acks == -1);
            }
        }
    }

    fn check_ack(&mut self, log: &TopicPartition, value: ValueId, write: &Write, offset: i64) {
        if self.violation.is_none() {
            let followed = self.logs.get(log);
            let fact = Fact::Acked { log, value, write, offset, followed };
            self.violation = self.invariants.check(&fact).err();
        }
    }

    /// In a damaged log acks=1 promises nothing: see [`crate::logs::FollowedLog::damaged`].
    pub fn forget_weak_promises(&mut self) {
        for (log, _) in self.logs.iter().filter(|(_, followed)| followed.damaged) {
            self.history.damaged(log);
        }
    }

    /// Everything was read that can be; `starts` says from where, by partition.
    pub fn all_read(&mut self, starts: &[i64]) {
        if self.violation.is_none() {
            let fact = Fact::AllRead { history: &self.history, starts };
            self.violation = self.invariants.check(&fact).err();
        }
    }

    /// A reader gets a value.
    pub fn polled(&mut self, reader: u16, partition: PartitionIndex, offset: i64, value: ValueId) {
        let write = self.history.read(value).copied();
        self.fact(&Fact::Polled { reader, partition, offset, value, write: write.as_ref() });
    }
}
