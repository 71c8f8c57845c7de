//! The rules of replicated partitions, one a file. They see every replica's log, what each node counts as committed and
//! leads after each of its steps, and what the controller decides.
//!
//! A record counts as committed when so many replicas as `min.insync.replicas` says have it on their disks: no fewer
//! are in sync while the high watermark moves (KIP-966), and under `flush=quorum` only what is durable counts. What
//! a replica had so when somebody was told is promised by that replica: it must survive its starts (S1), and is never
//! cut (R16). What is not committed a follower may cut as it likes.

mod ack_rule;
mod admission;
mod candidates;
mod leader_completeness;
mod log_matching;
mod no_truncation;
mod no_uncommitted_read;
mod one_appender;
mod quorum_superset;
mod watermark;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ottla_core::controller::PartitionImage;
use ottla_core::types::{BrokerId, TopicPartition};

use super::{Fact, Violation, of};
use crate::logs::{BatchRef, Logs};

/// Something about a replicated partition, with every node's logs.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaFact<'a> {
    /// Which.
    pub log: &'a TopicPartition,
    /// What.
    pub what: ReplicaEvent<'a>,
    /// Every node's logs.
    pub logs: &'a [Logs],
    /// How many replicas have at least what is committed.
    pub needed: usize,
    /// Where the copies ended that went with their disks, or were made anew: what lay below they had, too.
    pub gone: &'a [i64],
    /// The greatest high watermark that any node had.
    pub highest: i64,
    /// The nodes whose disks were replaced, where the controller cannot know that yet.
    pub unknown: &'a BTreeSet<usize>,
}

impl ReplicaFact<'_> {
    /// On how many disks what is committed is at an offset.
    fn needed_at(&self, offset: i64) -> usize {
        let gone = self.gone.iter().filter(|end| offset < **end).count();
        self.needed.saturating_sub(gone).max(1.min(self.needed))
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum ReplicaEvent<'a> {
    /// The node appends a batch, by its own word or its leader's.
    Appended { batch: &'a BatchRef },
    /// The node has cut its log.
    Cut,
    /// A client is told that what lies at an offset is written for good.
    Acked { offset: i64 },
    /// A client is given what lies at an offset.
    Read { offset: i64 },
    /// The node counts its log as committed below an offset.
    Committed { log_start: i64, high_watermark: i64 },
    /// A step has changed how the node stands to its replica.
    Stands(Stands),
    /// The node appends by its own word, in this epoch, in its process of this number.
    Led { epoch: i32, boots: u64 },
    /// The node learns what the controller has decided, and who is in service.
    Decided { partition: &'a PartitionImage, in_service: &'a [i32] },
}

/// How a node stands to its replica of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stands {
    /// Below it, it counts its log as committed.
    pub high_watermark: i64,
    /// The same before, if it had the replica then.
    pub before: Option<i64>,
    /// Where its log begins.
    pub log_start: i64,
    /// Where it ends.
    pub log_end: i64,
    /// The epoch that it leads in, if it does.
    pub leads: Option<i32>,
    /// The same before.
    pub led: Option<i32>,
}

/// What no node knows for certain: what is committed, who may be elected, who appends.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplicationRules {
    known: BTreeMap<TopicPartition, Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// The greatest high watermark that any node had, and the last batch below it.
    committed: Option<(i64, BatchRef)>,
    /// Where it begins on each node: an operator, or retention, deletes what lies before from one leader on.
    starts: BTreeMap<usize, i64>,
    decided: Option<Candidates>,
    /// By leader epoch, what was committed when somebody first learned that the controller had begun it.
    begun: BTreeMap<i32, Option<(i64, BatchRef)>>,
    /// By leader epoch, the node and the number of its process.
    appenders: BTreeMap<i32, (usize, u64)>,
}

/// Who may be elected, as of a change of the partition.
#[derive(Clone, Debug, Default)]
struct Candidates {
    partition_epoch: i32,
    isr: Vec<BrokerId>,
    elr: Vec<BrokerId>,
}

impl Candidates {
    /// Their places.
    fn candidates(&self) -> impl Iterator<Item = usize> + '_ {
        self.isr.iter().chain(&self.elr).filter_map(|id| usize::try_from(id.0).ok())
    }
}

impl Known {
    /// The last batch that is committed, with where that ends, unless it is deleted.
    fn last(&self) -> Option<(i64, BatchRef)> {
        self.committed.filter(|(_, last)| last.last >= self.start())
    }

    /// Below it some node has it deleted.
    fn start(&self) -> i64 {
        self.starts.values().copied().max().unwrap_or(0)
    }

    /// Below it some node but this one has it deleted. Who is cut off has what all others may have deleted, and copies
    /// it to those that are made anew; who has the partition since the deletion never had it.
    fn deleted_by_others(&self, at: usize) -> i64 {
        self.starts.iter().filter(|(other, _)| **other != at).map(|(_, start)| *start).max().unwrap_or(0)
    }

    /// What the leader of an epoch has to have. One that learns late that it was to lead, from a snapshot of a while
    /// ago, knows nothing of the epochs that came after its own, and nobody follows it there.
    fn owed(&self, epoch: i32) -> Option<(i64, BatchRef)> {
        let next = self.begun.range(epoch.saturating_add(1)..).next();
        let owed = next.map_or(self.committed, |(_, committed)| *committed);
        owed.filter(|(_, last)| last.last >= self.start())
    }

    /// What a node counts as committed is: others may have been told so.
    fn learn(&mut self, at: usize, fact: &ReplicaFact<'_>, counted: Range<i64>) -> bool {
        let high_watermark = counted.end;
        let more = self.committed.is_none_or(|(end, _)| high_watermark > end);
        let followed = fact.logs.get(at).and_then(|logs| logs.get(fact.log)).filter(|_| more);
        let last = followed.and_then(|own| own.last_of(counted)).filter(|last| last.last < high_watermark);
        if let Some(last) = last {
            self.committed = Some((high_watermark, *last));
        }
        last.is_some()
    }

    /// A client was told of what lies at an offset: that is committed, whoever counted it so and died of it.
    fn learn_told(&mut self, fact: &ReplicaFact<'_>, offset: i64) {
        if fact.needed == 0 || self.committed.is_some_and(|(end, _)| offset < end) {
            return;
        }
        if let Some((batch, _)) = most_held(fact.logs, fact.log, offset, fact.needed) {
            self.committed = Some((batch.last + 1, batch));
        }
    }
}

/// Every code, with what it says. R5 is judged at rest, too: then whole logs are the same.
pub const CODES: [(&str, &str); 11] = [
    (quorum_superset::CODE, "what is below a high watermark is durable on as many replicas as must be in sync"),
    (log_matching::CODE, "two replicas that have the same offset in the same epoch have the same there and before"),
    (no_uncommitted_read::CODE, "nothing is served that is not committed"),
    (ack_rule::CODE, "what acks=all acknowledges is durable on as many replicas as must be in sync"),
    (no_truncation::CODE, "a replica does not cut what it has of the committed"),
    (candidates::CODE, "who may be elected has all that is committed on its disk"),
    (candidates::NOWHERE, "what is committed is somewhere"),
    (leader_completeness::CODE, "who begins to lead has all that is committed"),
    (watermark::CODE, "what a process counts as committed of its replica never falls, and ends within its log"),
    (admission::CODE, "who is in sync is in service, and who leads is in sync"),
    (one_appender::CODE, "in each leader epoch one process appends by its own word"),
];

impl ReplicationRules {
    /// Shows a fact to every rule.
    pub(super) fn check(&mut self, at: usize, fact: &Fact<'_>) -> Result<(), Violation> {
        let Fact::Replica(fact) = fact else { return Ok(()) };
        let deleted = self.known.get(fact.log).map_or(0, Known::start);
        match fact.what {
            // A leader deleted it, and may have it no more; the next may not have heard of that yet.
            ReplicaEvent::Acked { offset } | ReplicaEvent::Read { offset } if offset < deleted => Ok(()),
            ReplicaEvent::Appended { batch } => of(log_matching::CODE, log_matching::check(at, fact, batch)),
            ReplicaEvent::Cut => of(no_truncation::CODE, no_truncation::check(at, fact, self.known.get(fact.log))),
            ReplicaEvent::Acked { offset } => {
                of(ack_rule::CODE, ack_rule::check(fact, offset))?;
                self.known.entry(fact.log.clone()).or_default().learn_told(fact, offset);
                Ok(())
            }
            ReplicaEvent::Read { offset } => {
                of(no_uncommitted_read::CODE, no_uncommitted_read::check(fact, offset))?;
                self.known.entry(fact.log.clone()).or_default().learn_told(fact, offset);
                Ok(())
            }
            ReplicaEvent::Committed { log_start, high_watermark } => {
                let deleted = self.known.get(fact.log).map_or(0, |known| known.deleted_by_others(at));
                let owed = log_start.max(deleted)..high_watermark;
                of(quorum_superset::CODE, quorum_superset::check(at, fact, owed))
            }
            ReplicaEvent::Stands(stands) => self.on_stands(at, fact, &stands),
            ReplicaEvent::Led { epoch, boots } => {
                let known = self.known.entry(fact.log.clone()).or_default();
                of(one_appender::CODE, one_appender::check(at, fact, (epoch, boots), known))
            }
            ReplicaEvent::Decided { partition, in_service } => {
                of(admission::CODE, admission::check(fact, partition, in_service))?;
                let known = self.known.entry(fact.log.clone()).or_default();
                known.begun.entry(partition.leader_epoch.0).or_insert(known.committed);
                let epoch = partition.partition_epoch;
                if known.decided.as_ref().is_some_and(|decided| decided.partition_epoch > epoch) {
                    return Ok(());
                }
                let (isr, elr) = (partition.isr.clone(), partition.elr.clone());
                known.decided = Some(Candidates { partition_epoch: epoch, isr, elr });
                of(candidates::CODE, candidates::check(fact, known))?;
                of(candidates::NOWHERE, candidates::check_somewhere(fact, known))
            }
        }
    }

    fn on_stands(&mut self, at: usize, fact: &ReplicaFact<'_>, stands: &Stands) -> Result<(), Violation> {
        of(watermark::CODE, watermark::check(at, fact, stands))?;
        let known = self.known.entry(fact.log.clone()).or_default();
        let counted = stands.log_start..stands.high_watermark;
        let start = known.starts.entry(at).or_default();
        *start = stands.log_start.max(*start);
        // Where only what is written counts, power may take it: that is for clients to see.
        if fact.needed == 0 {
            return Ok(());
        }
        of(leader_completeness::CODE, leader_completeness::check(at, fact, stands, known))?;
        if stands.before.is_none_or(|before| stands.high_watermark > before) {
            let owed = stands.log_start.max(known.deleted_by_others(at))..stands.high_watermark;
            of(quorum_superset::CODE, quorum_superset::check(at, fact, owed))?;
        }
        if known.learn(at, fact, counted) {
            of(candidates::CODE, candidates::check(fact, known))?;
        }
        Ok(())
    }
}

/// Whether two batches are one.
#[must_use]
pub fn is_same(one: &BatchRef, other: &BatchRef) -> bool {
    (one.base, one.last, one.epoch, one.crc) == (other.base, other.last, other.epoch, other.crc)
}

/// The nodes that have the same batch on their disks.
pub fn holders<'a>(logs: &'a [Logs], log: &'a TopicPartition, batch: &'a BatchRef) -> impl Iterator<Item = usize> + 'a {
    let holds = move |logs: &Logs| {
        let followed = logs.get(log)?;
        let found = followed.find(batch.base)?;
        Some(is_same(found, batch) && followed.synced > batch.last)
    };
    logs.iter().enumerate().filter(move |(_, logs)| holds(logs) == Some(true)).map(|(at, _)| at)
}

/// Of what lies at an offset of any log, the batch that most nodes have, with how many that are: on their disks, if
/// what is committed is on as many as are `needed`. Of two that enough have, or that as many have, as when a disk was
/// replaced, it is that of the later epoch: who led then had what was committed.
#[must_use]
pub fn most_held(logs: &[Logs], log: &TopicPartition, offset: i64, needed: usize) -> Option<(BatchRef, usize)> {
    let durable = needed > 0;
    let enough = if durable { needed } else { usize::MAX };
    // Of each node once: this is asked of every record that is read.
    let found = logs.iter().filter_map(|logs| {
        let followed = logs.get(log)?;
        followed.find(offset).map(|batch| (batch, !durable || followed.synced > batch.last))
    });
    let found: Vec<(&BatchRef, bool)> = found.collect();
    let holders = |batch: &BatchRef| found.iter().filter(|(other, counts)| *counts && is_same(other, batch)).count();
    let held = found.iter().map(|(batch, _)| (**batch, holders(batch)));
    held.max_by_key(|(batch, count)| (enough.min(*count), batch.epoch))
}

/// Whether what lies at an offset is on the disks of as many as must have it; a sentence if not.
fn committed(fact: &ReplicaFact<'_>, offset: i64) -> Result<(), String> {
    let ReplicaFact { log, logs, .. } = *fact;
    let needed = fact.needed_at(offset);
    let is_deleted = logs.iter().filter_map(|logs| logs.get(log)).any(|followed| followed.deletes(offset));
    match most_held(logs, log, offset, needed) {
        _ if is_deleted => Ok(()),
        Some((_, count)) if count >= needed => Ok(()),
        Some((_, count)) => Err(format!("{offset} of {log} is on {count} disks, and {needed} must have it")),
        None => Err(format!("{offset} of {log} is nowhere")),
    }
}

/// The same of what a client is told, which somebody has counted as committed before.
fn told(fact: &ReplicaFact<'_>, offset: i64) -> Result<(), String> {
    if offset >= fact.highest {
        let ReplicaFact { log, highest, .. } = fact;
        return Err(format!("nobody ever counted {offset} of {log} as committed, at most what is below {highest}"));
    }
    committed(fact, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::test_ref;

    pub(super) fn log() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    pub(super) fn batch(base: i64, epoch: i32, crc: u32) -> BatchRef {
        BatchRef { epoch, ..test_ref(base, base, crc) }
    }

    /// Nodes with these batches of one record each, by epoch and CRC, and up to where they are synced.
    pub(super) fn logs(nodes: &[(&[(i32, u32)], i64)]) -> Vec<Logs> {
        let of_node = |(batches, synced): &(&[(i32, u32)], i64)| {
            let mut logs = Logs::default();
            let followed = logs.entry(&log());
            for (base, (epoch, crc)) in (0..).zip(batches.iter()) {
                followed.append(batch(base, *epoch, *crc));
            }
            followed.synced = *synced;
            logs
        };
        nodes.iter().map(of_node).collect()
    }

    /// Rules that remember.
    pub(super) struct Judged {
        rules: ReplicationRules,
        pub(super) unknown: BTreeSet<usize>,
        pub(super) gone: Vec<i64>,
        pub(super) highest: i64,
    }

    impl Default for Judged {
        fn default() -> Self {
            let (rules, unknown) = (ReplicationRules::default(), BTreeSet::new());
            Self { rules, unknown, gone: Vec::new(), highest: i64::MAX }
        }
    }

    impl Judged {
        pub(super) fn verdict(&mut self, at: usize, what: ReplicaEvent<'_>, logs: &[Logs]) -> Option<&'static str> {
            let log = log();
            let (gone, highest) = (&self.gone[..], self.highest);
            let fact = ReplicaFact { log: &log, what, logs, needed: 2, gone, highest, unknown: &self.unknown };
            self.rules.check(at, &Fact::Replica(fact)).err().map(|violation| violation.invariant)
        }
    }

    pub(super) fn verdict(at: usize, what: ReplicaEvent<'_>, logs: &[Logs]) -> Option<&'static str> {
        Judged::default().verdict(at, what, logs)
    }

    /// A node with a log of two records.
    pub(super) fn stands(high_watermark: i64, leads: Option<i32>) -> Stands {
        Stands { high_watermark, leads, log_end: 2, ..Stands::default() }
    }

    /// A partition that node 0 leads.
    pub(super) fn partition(partition_epoch: i32, isr: &[i32], elr: &[i32]) -> PartitionImage {
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        PartitionImage {
            partition_epoch,
            leader: Some(BrokerId(0)),
            isr: ids(isr),
            elr: ids(elr),
            ..PartitionImage::default()
        }
    }

    #[test]
    fn only_the_same_batch_on_a_disk_counts() {
        let three = logs(&[(&[(1, 1), (1, 2)], 2), (&[(1, 1), (2, 2)], 2), (&[(1, 1), (1, 2)], 1)]);
        assert_eq!(holders(&three, &log(), &batch(0, 1, 1)).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(holders(&three, &log(), &batch(1, 1, 2)).collect::<Vec<_>>(), [0]);
        let held = |needed| most_held(&three, &log(), 1, needed).map(|(batch, count)| (batch.epoch, count));
        assert_eq!((held(2), held(0)), (Some((2, 1)), Some((1, 2))));
        assert_eq!(most_held(&three, &log(), 2, 2), None);
        let again = logs(&[(&[(1, 1)], 1), (&[(1, 1)], 1), (&[(2, 1)], 1)]);
        let held = |needed| most_held(&again, &log(), 0, needed).map(|(batch, count)| (batch.epoch, count));
        assert_eq!((held(2), held(1)), (Some((1, 2)), Some((2, 1))), "one copy is enough");
    }
}
