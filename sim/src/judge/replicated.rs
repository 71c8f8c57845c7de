//! Partitions of several replicas: what clients are told and read of them is held against every replica's log, and each
//! replica owes what it had of the committed when somebody was told.

use std::collections::{BTreeMap, BTreeSet};

use ottla_core::log::DerivedView;
use ottla_core::types::TopicPartition;

use super::{Judge, verdict};
use crate::history::{ValueId, Write};
use crate::invariants::{Fact, ReplicaEvent, ReplicaFact, holders, most_held};

/// Which topics have replicas.
#[derive(Clone, Debug, Default)]
pub struct Replicated {
    /// By name, how many partitions.
    topics: BTreeMap<String, i32>,
    /// On so many disks is what is committed.
    pub needed: usize,
    /// So many must be in sync.
    pub least: usize,
    /// Whose disks were replaced, until they have all again.
    pub lost: BTreeSet<usize>,
    /// On whose disks bits of replicas flipped, until they have all again.
    pub rotten: BTreeSet<usize>,
    /// Which of those were made anew since: until then they had what the others have.
    pub mended: BTreeSet<(usize, TopicPartition)>,
    /// Who died, or lost power, where only so many may at once, until they have all again.
    pub down: BTreeSet<usize>,
    /// Those of the lost that the controller does not know of yet: no process has registered since.
    pub unknown: BTreeSet<usize>,
    /// The greatest high watermark that any node had, from the step on in which it had it.
    highest: BTreeMap<TopicPartition, i64>,
}

impl Replicated {
    /// These have; so many of a partition's have what is committed on their disks, and so many must be in sync.
    #[must_use]
    pub fn new(topics: impl Iterator<Item = (String, i32)>, needed: usize, least: usize) -> Self {
        Self { topics: topics.collect(), needed, least, ..Self::default() }
    }

    /// Their partitions.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        let topics = self.topics.iter();
        topics.flat_map(|(topic, count)| (0..*count).map(|index| TopicPartition::new(topic.as_str(), index)))
    }

    /// Whose disks are not what they were, or may not be.
    pub fn impaired(&self) -> impl Iterator<Item = usize> + '_ {
        let all: BTreeSet<usize> = [&self.lost, &self.rotten, &self.down].into_iter().flatten().copied().collect();
        all.into_iter()
    }

    /// These have everything again.
    pub fn have_all(&mut self, again: &[usize]) {
        self.lost.retain(|at| !again.contains(at));
        self.rotten.retain(|at| !again.contains(at));
        self.down.retain(|at| !again.contains(at));
        self.mended.retain(|(at, _)| !again.contains(at));
    }

    /// Whose copies of a log went with their disks, or were made anew.
    fn gone(&self, log: &TopicPartition) -> impl Iterator<Item = usize> {
        let mended = self.mended.iter().filter(move |(at, mended)| mended == log && !self.lost.contains(at));
        self.lost.iter().copied().chain(mended.map(|(at, _)| *at))
    }

    /// A node counts a replica as committed up to there.
    pub fn counts(&mut self, log: &TopicPartition, high_watermark: i64) {
        if !self.topics.contains_key(&*log.topic) {
            return;
        }
        match self.highest.get_mut(log) {
            Some(highest) => *highest = high_watermark.max(*highest),
            None => drop(self.highest.insert(log.clone(), high_watermark)),
        }
    }
}

impl Judge {
    /// Whether a log is one of several replicas.
    #[must_use]
    pub fn is_replicated(&self, log: &TopicPartition) -> bool {
        self.replicated.topics.contains_key(&*log.topic)
    }

    /// A replica has a high watermark: what lies below is promised by all that have it.
    pub fn replica_counts(&mut self, at: usize, view: &DerivedView) {
        let (log, high_watermark) = (&view.partition, view.high_watermark.0);
        let log_start = view.offsets.log_start.0;
        self.of_replica(at, log, ReplicaEvent::Committed { log_start, high_watermark });
        let last = self.logs[at].get(log).and_then(|followed| followed.last_of(log_start..high_watermark)).copied();
        if let Some(last) = last.filter(|last| last.last < high_watermark) {
            self.replicas_owe(log, last.base, last.last + 1);
        }
    }

    /// A node has cut its log, or a segment of it is gone.
    pub fn replica_cut(&mut self, at: usize, log: &TopicPartition) {
        self.of_replica(at, log, ReplicaEvent::Cut);
    }

    /// Shows what is between replicas to the rules for that.
    pub fn of_replica(&mut self, at: usize, log: &TopicPartition, what: ReplicaEvent<'_>) {
        if self.violation.is_some() || !self.is_replicated(log) || self.is_rotten() {
            return;
        }
        let Replicated { needed, unknown, highest, .. } = &self.replicated;
        let gone: Vec<i64> = self.replicated.gone(log).map(|at| self.logs[at].had(log)).collect();
        let highest = highest.get(log).copied().unwrap_or(0);
        let fact = ReplicaFact { log, what, logs: &self.logs, needed: *needed, gone: &gone, highest, unknown };
        self.violation = verdict(&mut self.invariants, self.history_alone, at, &Fact::Replica(fact));
    }

    /// A client learns where its value lies. Who leads by its own word alone promises nothing: another may lead next.
    pub(super) fn acked_by_replicas(&mut self, log: &TopicPartition, value: ValueId, write: &Write, offset: i64) {
        if write.acks != -1 {
            return self.history.withdraw(value);
        }
        if self.violation.is_none() {
            let fact = Fact::Acked { log, value, write, offset, followed: None };
            self.violation = verdict(&mut self.invariants, true, 0, &fact);
        }
        self.of_replica(0, log, ReplicaEvent::Acked { offset });
        self.replicas_owe(log, offset, offset + 1);
    }

    /// Whoever has what lies at `offset` of the committed log has all below `end` for good.
    fn replicas_owe(&mut self, log: &TopicPartition, offset: i64, end: i64) {
        let Some((batch, _)) = most_held(&self.logs, log, offset, self.replicated.needed) else { return };
        let owing: Vec<usize> = holders(&self.logs, log, &batch).collect();
        for at in owing {
            self.logs[at].entry(log).promise(end, true);
        }
    }

    /// Where any replica ends at most.
    #[must_use]
    pub fn replicas_end(&self, log: &TopicPartition) -> i64 {
        self.logs.iter().filter_map(|logs| logs.get(log)).map(|it| it.end().max(it.start())).max().unwrap_or(0)
    }
}
