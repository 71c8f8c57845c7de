//! What is seen of replicated partitions: that all replicas are in sync when all is healed, and the same at rest.

use ottla_core::config::{BrokerConfig, FlushMode, Overrides};
use ottla_core::controller::MetadataImage;
use ottla_core::machine::FileAction;
use ottla_core::types::TopicPartition;

use super::World;
use crate::disk::Operation;
use crate::invariants::is_same;
use crate::judge::Replicated;
use crate::logs::{BatchRef, read_logs};
use crate::scenario::Cluster;

impl World {
    /// The partitions that the run began with, where they have replicas.
    fn replicated(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        let cluster = &self.setting.scenario.cluster;
        let topics = cluster.topics.iter().filter(|_| cluster.replicas > 1);
        topics.flat_map(|(topic, count)| (0..*count).map(|index| TopicPartition::new(topic.as_str(), index)))
    }

    /// Whether each of them has a leader, and every replica is in sync.
    pub(super) fn all_in_sync(&self, image: &MetadataImage) -> Result<(), String> {
        for log in self.replicated() {
            let topic = image.topic(&log.topic).ok_or_else(|| format!("{log} is not there"))?;
            let index = usize::try_from(log.partition).unwrap_or(usize::MAX);
            let it = topic.partitions.get(index).ok_or_else(|| format!("{log} is not there"))?;
            if it.leader.is_none() {
                let (isr, elr, last) = (&it.isr, &it.elr, &it.last_known_elr);
                return Err(format!("nobody leads {log}: in sync {isr:?}, eligible {elr:?}, last known {last:?}"));
            }
            if it.isr.len() < it.replicas.len() {
                return Err(format!("of {log} only {:?} are in sync", it.isr));
            }
        }
        Ok(())
    }

    /// Nothing is written any more, and all replicas were in sync for a while: they are the same, on their disks too,
    /// and each knows that all of it is committed. Answers who does not.
    pub(super) fn judge_replicas(&mut self) -> Result<(), String> {
        let logs: Vec<TopicPartition> = self.replicated().collect();
        let images: Vec<_> = self.nodes.iter().map(|node| read_logs(&node.disk)).collect();
        for log in logs {
            let end = self.judge.replicas_end(&log);
            for at in 0..self.nodes.len() {
                let Some(process) = &self.nodes[at].process else { return Err(format!("n{at} is not up")) };
                let view = process.machine.derived().find(|view| view.partition == log);
                let Some(view) = view else { return Err(format!("n{at} has no {log}")) };
                let (high_watermark, own) = (view.high_watermark.0, view.offsets.log_end.0);
                if (high_watermark, own) != (end, end) {
                    return Err(format!("n{at} has {log} up to {own}, {high_watermark} of {end} committed"));
                }
            }
            let on_disk = |at: usize| images[at].get(&log).map(|image| image.readable()).unwrap_or_default();
            let first = on_disk(0);
            for at in 1..images.len() {
                let own = on_disk(at);
                if let Some(offset) = difference(&first, &own) {
                    self.judge.report("R5", format!("at rest n0 and n{at} differ at {offset} of {log}"));
                }
            }
        }
        Ok(())
    }

    /// What a file operation takes away may be the end of a replica's log.
    pub(super) fn judge_cut(&mut self, at: usize, operation: &Operation) {
        let Operation::Action(action) = operation else { return };
        if self.setting.scenario.cluster.replicas == 1
            || !matches!(**action, FileAction::SetLen { .. } | FileAction::Remove { .. })
        {
            return;
        }
        let logs: Vec<TopicPartition> = self.replicated().collect();
        logs.iter().for_each(|log| self.judge.replica_cut(at, log));
    }
}

/// The first offset, from where both begin, at which two logs are not the same.
fn difference(one: &[BatchRef], other: &[BatchRef]) -> Option<i64> {
    let start = one.first().map_or(0, |batch| batch.base).max(other.first().map_or(0, |batch| batch.base));
    let from = |log: &[BatchRef]| log.partition_point(|batch| batch.base < start);
    let (one, other) = (&one[from(one)..], &other[from(other)..]);
    let same = one.iter().zip(other).take_while(|(one, other)| is_same(one, other)).count();
    let next = one.get(same).or_else(|| other.get(same));
    next.map(|batch| batch.base)
}

/// Which topics have replicas, and on how many disks what is committed is. Under `flush=async` on none for certain.
pub(super) fn replicated(cluster: &Cluster, config: &BrokerConfig) -> Replicated {
    let topics = cluster.topics.keys().filter(|_| cluster.replicas > 1).cloned();
    let least = config.topic(&Overrides::default()).safety.min_insync_replicas;
    let least = usize::try_from(least).unwrap_or(usize::MAX).min(usize::from(cluster.replicas.unsigned_abs()));
    Replicated::new(topics, if config.storage.flush == FlushMode::Quorum { least } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::test_ref;

    #[test]
    fn logs_are_the_same_from_where_both_begin() {
        let log = |from: i64, crcs: &[u32]| -> Vec<BatchRef> {
            (from..).zip(crcs).map(|(base, crc)| test_ref(base, base, *crc)).collect()
        };
        assert_eq!(difference(&log(0, &[1, 2, 3]), &log(0, &[1, 2, 3])), None);
        assert_eq!(difference(&log(0, &[1, 2, 3]), &log(1, &[2, 3])), None);
        assert_eq!(difference(&log(0, &[1, 2, 3]), &log(1, &[9, 3])), Some(1));
        assert_eq!(difference(&log(0, &[1, 2, 3]), &log(0, &[1, 2])), Some(2));
    }
}
