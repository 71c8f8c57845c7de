//! The rules of replicated partitions, one a file. They see every replica's log: R3's and R17's witness is what clients
//! read in the end, R5 and what a high watermark counts are judged here, while the run goes on.
//!
//! A record counts as committed when so many replicas as `min.insync.replicas` says have it on their disks: no fewer
//! are in sync while the high watermark moves (KIP-966), and under `flush=quorum` only what is durable counts. What
//! a replica had so when somebody was told is promised by that replica: it must survive its starts (S1), and is never
//! cut (R16). What is not committed a follower may cut as it likes.

mod ack_rule;
mod log_matching;
mod no_truncation;
mod no_uncommitted_read;
mod quorum_superset;

use ottla_core::types::TopicPartition;

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
    Committed { high_watermark: i64 },
}

/// Every code, with what it says. R5 is judged at rest, too: then whole logs are the same.
pub const CODES: [(&str, &str); 5] = [
    (quorum_superset::CODE, "what is below a high watermark is durable on as many replicas as must be in sync"),
    (log_matching::CODE, "two replicas that have the same offset in the same epoch have the same there and before"),
    (no_uncommitted_read::CODE, "nothing is served that is not committed"),
    (ack_rule::CODE, "what acks=all acknowledges is durable on as many replicas as must be in sync"),
    (no_truncation::CODE, "a replica does not cut what it has of the committed"),
];

/// Shows a fact to every rule.
pub(super) fn check(at: usize, fact: &Fact<'_>) -> Result<(), Violation> {
    let Fact::Replica(fact) = fact else { return Ok(()) };
    match fact.what {
        ReplicaEvent::Appended { batch } => of(log_matching::CODE, log_matching::check(at, fact, batch)),
        ReplicaEvent::Cut => of(no_truncation::CODE, no_truncation::check(at, fact)),
        ReplicaEvent::Acked { offset } => of(ack_rule::CODE, ack_rule::check(fact, offset)),
        ReplicaEvent::Read { offset } => of(no_uncommitted_read::CODE, no_uncommitted_read::check(fact, offset)),
        ReplicaEvent::Committed { high_watermark } => {
            of(quorum_superset::CODE, quorum_superset::check(at, fact, high_watermark))
        }
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

/// Of what lies at an offset of any log, the batch that most nodes have on their disks, with how many that are. What
/// some node has deleted was committed once.
#[must_use]
pub fn most_held(logs: &[Logs], log: &TopicPartition, offset: i64) -> Option<(BatchRef, usize)> {
    let found = logs.iter().filter_map(|logs| logs.get(log)?.find(offset));
    found.map(|batch| (*batch, holders(logs, log, batch).count())).max_by_key(|(_, count)| *count)
}

/// Whether what lies at an offset is on the disks of as many as must have it; a sentence if not.
fn committed(fact: &ReplicaFact<'_>, offset: i64) -> Result<(), String> {
    let ReplicaFact { log, logs, needed, .. } = *fact;
    let is_deleted = logs.iter().filter_map(|logs| logs.get(log)).any(|followed| followed.deletes(offset));
    match most_held(logs, log, offset) {
        _ if is_deleted => Ok(()),
        Some((_, count)) if count >= needed => Ok(()),
        Some((_, count)) => Err(format!("{offset} of {log} is on {count} disks, and {needed} must have it")),
        None => Err(format!("{offset} of {log} is nowhere")),
    }
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

    pub(super) fn verdict(at: usize, what: ReplicaEvent<'_>, logs: &[Logs]) -> Option<&'static str> {
        let log = log();
        let fact = ReplicaFact { log: &log, what, logs, needed: 2 };
        check(at, &Fact::Replica(fact)).err().map(|violation| violation.invariant)
    }

    #[test]
    fn only_the_same_batch_on_a_disk_counts() {
        let logs = logs(&[(&[(1, 1), (1, 2)], 2), (&[(1, 1), (2, 2)], 2), (&[(1, 1), (1, 2)], 1)]);
        assert_eq!(holders(&logs, &log(), &batch(0, 1, 1)).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(holders(&logs, &log(), &batch(1, 1, 2)).collect::<Vec<_>>(), [0]);
        assert_eq!(most_held(&logs, &log(), 1).map(|(_, count)| count), Some(1));
        assert_eq!(most_held(&logs, &log(), 2), None);
    }
}
