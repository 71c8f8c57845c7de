//! What is seen of replicated partitions: how each replica stands after every step and what the metadata decides of
//! it, that no more disks are taken away than the promises allow, that all replicas are in sync when all is healed, and
//! that they are the same at rest.

use ottla_core::config::{BrokerConfig, FlushMode, Overrides};
use ottla_core::controller::{MetadataImage, OFFSETS_TOPIC};
use ottla_core::machine::FileAction;
use ottla_core::replication::Replica;
use ottla_core::types::{BrokerId, TopicPartition};

use super::World;
use super::node::Stood;
use crate::disk::Operation;
use crate::invariants::{Fact, ReplicaEvent, Stands, is_same};
use crate::judge::Replicated;
use crate::logs::{BatchRef, FollowedLog, read_logs};
use crate::scenario::{Action, Scenario};

impl World {
    /// The partitions of the topics that have replicas.
    fn replicated(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        self.judge.replicated.partitions()
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
            if let Some(lost) = it.replicas.iter().find(|id| it.is_lost(**id)) {
                return Err(format!("broker {} is said to have lost {log}", lost.0));
            }
            if !it.adding.is_empty() || !it.removing.is_empty() {
                return Err(format!("{log} is moving still"));
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
            let having: Vec<usize> = (0..self.nodes.len()).filter(|at| self.should_have(*at, &log)).collect();
            for at in having.iter().copied() {
                let Some(process) = &self.nodes[at].process else { return Err(format!("n{at} is not up")) };
                let view = process.machine.derived().find(|view| view.partition == log);
                let Some(view) = view else { return Err(format!("n{at} has no {log}")) };
                let (high_watermark, own) = (view.high_watermark.0, view.offsets.log_end.0);
                if (high_watermark, own) != (end, end) {
                    return Err(format!("n{at} has {log} up to {own}, {high_watermark} of {end} committed"));
                }
            }
            let image = |at: usize| images[at].get(&log);
            let on_disk = |at: usize| image(at).map(|image| image.readable()).unwrap_or_default();
            let of_segment = |at: usize| image(at).and_then(|image| image.segments.first()).map(|first| first.base);
            // Below where one has deleted its records another may have kept what was never committed.
            let logs = &self.judge.logs;
            let deleted: Vec<i64> = logs.iter().map(|logs| logs.get(&log).map_or(0, FollowedLog::gone)).collect();
            let first_of = |at: usize, own: &[BatchRef]| own.first().map(|it| it.base).or(of_segment(at)).unwrap_or(0);
            let begins = |at: usize, own: &[BatchRef]| first_of(at, own).max(deleted[at]);
            // Where bits have flipped, whoever reads them finds out.
            let is_sound = |at: &usize| self.judge.logs[*at].get(&log).is_none_or(|followed| !followed.damaged);
            let sound: Vec<usize> = having.into_iter().filter(is_sound).collect();
            let Some((one, others)) = sound.split_first() else { continue };
            let first = on_disk(*one);
            for at in others.iter().copied() {
                let own = on_disk(at);
                if let Some(offset) = difference(&first, &own, begins(*one, &first).max(begins(at, &own))) {
                    self.judge.report("R5", format!("at rest n{one} and n{at} differ at {offset} of {log}"));
                }
            }
        }
        Ok(())
    }

    /// A machine made a step: how does it stand to its replicas?
    pub(super) fn look_at_replicas(&mut self, at: usize) {
        if self.setting.scenario.cluster.replicas == 1 {
            return;
        }
        let Some(process) = &mut self.nodes[at].process else { return };
        let stood = |replica: &Replica| {
            let range = process.machine.log_range(replica.log);
            let stood = Stood {
                which: (replica.topic_id, replica.log),
                high_watermark: replica.high_watermark().0,
                log_start: range.start.0,
                leads: replica.leader().map(|leader| leader.leader_epoch().0),
            };
            (stood, range.end.0)
        };
        // Most steps change nothing.
        let mut before = process.stands.iter();
        let is_as_before = |replica: &Replica| before.next().is_some_and(|(_, before)| *before == stood(replica).0);
        if process.machine.replicas().all(is_as_before) && before.next().is_none() {
            return;
        }
        let mut now = Vec::with_capacity(process.stands.len());
        let mut changed = Vec::new();
        for replica in process.machine.replicas() {
            let (stood, log_end) = stood(replica);
            let before = process.stood(&replica.partition).filter(|before| before.which == stood.which);
            if before != Some(&stood) && self.judge.is_replicated(&replica.partition) {
                let Stood { high_watermark, log_start, leads, .. } = stood;
                let (led, before) =
                    (before.and_then(|before| before.leads), before.map(|before| before.high_watermark));
                let stands = Stands { high_watermark, before, log_start, log_end, leads, led };
                changed.push((replica.partition.clone(), stands));
            }
            now.push((replica.partition.clone(), stood));
        }
        process.stands = now;
        self.note_split();
        for (log, stands) in changed {
            if let Some(followed) = self.judge.logs[at].get_mut(&log) {
                followed.begun = followed.begun.max(stands.log_start);
                let is_new = !followed.has_held_any() && stands.log_start > 0;
                let known = self.judge.history.partitions().iter().position(|known| *known == log);
                if let Some(partition) = known.filter(|_| is_new) {
                    self.judge.fact(&Fact::Forgotten { partition, below: stands.log_start });
                }
            }
            self.judge.of_replica(at, &log, ReplicaEvent::Stands(stands));
        }
    }

    /// A machine made a step: up to where does it count its replicas as committed? It may die of carrying out what
    /// tells clients so.
    pub(super) fn note_watermarks(&mut self, at: usize) {
        let Some(process) = self.nodes[at].process.as_ref().filter(|_| self.setting.scenario.cluster.replicas > 1)
        else {
            return;
        };
        let mut before = process.stands.iter();
        let mut same = true;
        for replica in process.machine.replicas() {
            let (high_watermark, before) = (replica.high_watermark().0, before.next());
            same &= before.is_some_and(|(log, _)| *log == replica.partition);
            if before.is_none_or(|(_, stood)| stood.high_watermark != high_watermark) {
                self.judge.replicated.counts(&replica.partition, high_watermark);
            }
        }
        if same && before.next().is_none() {
            return;
        }
        // One that has moved away in this step may have been counted, all of it, before it went.
        let here = |log: &TopicPartition| process.machine.replicas().any(|replica| replica.partition == *log);
        for (log, _) in process.stands.iter().filter(|(log, _)| !here(log)) {
            let end = self.judge.logs[at].get(log).map_or(0, FollowedLog::end);
            self.judge.replicated.counts(log, end);
        }
    }

    /// Two nodes may take themselves for the coordinator of the same groups, until the old one learns that it is not.
    pub(super) fn note_split(&mut self) {
        let standing = self.nodes.iter().filter_map(|node| node.process.as_ref()).flat_map(|process| &process.stands);
        let of_groups = standing.filter(|(log, _)| &*log.topic == OFFSETS_TOPIC);
        let leading: Vec<(i32, i32)> =
            of_groups.filter_map(|(log, stood)| Some((log.partition, stood.leads?))).collect();
        self.judge.groups.note_split(self.now, &leading);
    }

    /// The directory of a replica is made: nothing of what lay there before is owed. Until then what waited to be
    /// written there may still be.
    pub(super) fn note_begun(&mut self, at: usize, operation: &Operation) {
        let Operation::Action(action) = operation else { return };
        let FileAction::MakeDir { path } = &**action else { return };
        let log = TopicPartition::from_dir_name(&path.name).filter(|log| self.judge.is_replicated(log));
        if let Some(log) = log {
            self.judge.logs[at].mend(&log);
            self.judge.of_node(at, &Fact::Moved { log: &log });
        }
    }

    /// A machine made a step: has it made a log anew that was damaged? What it did before it decided so it has done.
    pub(super) fn note_mended(&mut self, at: usize) {
        let Some(process) = &self.nodes[at].process else { return };
        let is_new = |replica: &Replica| {
            let before = process.stood(&replica.partition).map(|before| before.which);
            before.is_some_and(|(topic, log)| topic == replica.topic_id && log != replica.log)
        };
        let anew = process.machine.replicas().filter(|it| self.judge.is_replicated(&it.partition) && is_new(it));
        let anew: Vec<TopicPartition> = anew.map(|it| it.partition.clone()).collect();
        let cannot_read = process.read_failed;
        for log in anew {
            let rotted = self.judge.logs[at].get(&log).is_some_and(|followed| followed.rotted);
            self.judge.logs[at].mend(&log);
            self.judge.of_node(at, &Fact::Moved { log: &log });
            // Or it has moved away and back within the step.
            if rotted || cannot_read {
                self.judge.replicated.rotten.insert(at);
                self.judge.replicated.mended.insert((at, log));
            }
        }
    }

    /// A node appends to a replica that ended at `end`: by its own word, if it leads.
    pub(super) fn on_replica_appended(&mut self, at: usize, log: &TopicPartition, (batch, end): (&BatchRef, i64)) {
        let epoch = batch.epoch;
        let boots = self.nodes[at].boots;
        let Some(process) = self.nodes[at].process.as_ref().filter(|_| self.judge.is_replicated(log)) else { return };
        let leader = process.machine.replicas().find(|it| it.partition == *log).and_then(|it| it.leader());
        if leader.is_some_and(|leader| leader.leader_epoch().0 == epoch) {
            self.judge.of_replica(at, log, ReplicaEvent::Led { epoch, boots });
        } else {
            self.judge.of_node(at, &Fact::Copied { log, producer: batch.producer, skips: batch.base != end });
        }
    }

    /// A node knows more of the metadata: what it says of replicated partitions.
    pub(super) fn judge_decided(&mut self, at: usize) {
        let Some(process) = &self.nodes[at].process else { return };
        let (image, acts) = (process.machine.image(), process.ready);
        let logs: Vec<TopicPartition> = self.replicated().collect();
        let active = image.brokers().map(|(id, _)| id).filter(|id| image.is_active(*id));
        let in_service: Vec<i32> = active.map(|id| id.0).collect();
        let known = |at: &usize| self.is_registered(*at, image);
        let registered: Vec<usize> = self.judge.replicated.unknown.iter().copied().filter(known).collect();
        let all = |at: &usize| self.has_all(*at, image);
        let again: Vec<usize> = self.judge.replicated.impaired().filter(all).collect();
        let of = |log: &TopicPartition| image.partition(&log.topic, log.partition).cloned();
        let decided: Vec<_> = logs.into_iter().filter_map(|log| of(&log).map(|it| (log, it))).collect();
        self.judge.replicated.unknown.retain(|at| !registered.contains(at));
        self.judge.replicated.have_all(&again);
        for (log, partition) in decided {
            // What a start knows by its snapshot is of a while ago, and nothing is done by it.
            if acts && !partition.replicas.contains(&broker_of(at)) {
                // It has moved to others, and nothing of it is owed here any more.
                self.judge.logs[at].forget(&log);
                self.judge.of_node(at, &Fact::Moved { log: &log });
            }
            let what = ReplicaEvent::Decided { partition: &partition, in_service: &in_service };
            self.judge.of_replica(at, &log, what);
        }
    }

    /// Whether the present process of a node is the one that is registered.
    fn is_registered(&self, at: usize, image: &MetadataImage) -> bool {
        let registered = self.nodes[at].process.as_ref().and_then(|process| process.machine.registered());
        image.broker(broker_of(at)).is_some_and(|broker| Some(broker.epoch) == registered)
    }

    /// Whether a node whose disk was replaced is in sync again wherever it should be, as its present process.
    fn has_all(&self, at: usize, image: &MetadataImage) -> bool {
        let id = broker_of(at);
        let sound = self.judge.logs[at].iter().all(|(_, followed)| !followed.damaged);
        // What a start knows may be from before it knew itself that it has not.
        let own = self.nodes[at].process.as_ref().map(|process| process.machine.image());
        let epoch = |image: &MetadataImage, log: &TopicPartition| {
            image.partition(&log.topic, log.partition).map(|it| it.partition_epoch)
        };
        let mut all = self.replicated().filter_map(|log| Some((image.partition(&log.topic, log.partition)?, log)));
        sound
            && self.is_registered(at, image)
            && all.all(|(it, log)| {
                let is_old = own.and_then(|own| epoch(own, &log)) > Some(it.partition_epoch);
                !is_old && (!it.replicas.contains(&id) || it.isr.contains(&id))
            })
    }

    /// Whether the promises allow that a node loses its disk: one fewer than must be in sync may lose theirs (P5).
    pub(super) fn may_lose_disk(&self, at: usize) -> bool {
        let others = self.judge.replicated.impaired().filter(|other| *other != at).count();
        self.setting.scenario.cluster.replicas == 1 || others + 1 < self.judge.replicated.needed
    }

    /// Whether a node may die, or lose its power, for all that the scenario says; if so, it is to catch up.
    pub(super) fn may_go_down(&mut self, at: usize) -> bool {
        let replicated = &mut self.judge.replicated;
        let others = replicated.impaired().filter(|other| *other != at).count();
        let may = !self.setting.scenario.in_turn || others + 1 < replicated.least;
        if may && self.setting.scenario.in_turn {
            replicated.down.insert(at);
        }
        may
    }

    /// What a file operation takes away may be the end of a replica's log.
    pub(super) fn judge_cut(&mut self, at: usize, operation: &Operation) {
        let Operation::Action(action) = operation else { return };
        if self.setting.scenario.cluster.replicas == 1
            || !matches!(**action, FileAction::SetLen { .. } | FileAction::Remove { .. } | FileAction::Rename { .. })
        {
            return;
        }
        let logs: Vec<TopicPartition> = self.replicated().collect();
        for log in logs {
            if self.should_have(at, &log) {
                self.judge.replica_cut(at, &log);
            }
        }
    }

    /// Whether a node is to have a replica, as far as it knows itself.
    fn should_have(&self, at: usize, log: &TopicPartition) -> bool {
        let process = self.nodes[at].process.as_ref();
        let known = process.and_then(|process| process.machine.image().partition(&log.topic, log.partition));
        known.is_none_or(|partition| partition.replicas.contains(&broker_of(at)))
    }
}

fn broker_of(at: usize) -> BrokerId {
    BrokerId(i32::try_from(at).unwrap_or(i32::MAX))
}

/// The first offset, from where both begin, at which two logs are not the same.
fn difference(one: &[BatchRef], other: &[BatchRef], start: i64) -> Option<i64> {
    let from = |log: &[BatchRef]| log.partition_point(|batch| batch.base < start);
    let (one, other) = (&one[from(one)..], &other[from(other)..]);
    let same = one.iter().zip(other).take_while(|(one, other)| is_same(one, other)).count();
    let next = one.get(same).or_else(|| other.get(same));
    next.map(|batch| batch.base)
}

/// Which topics have replicas, and on how many disks what is committed is. Under `flush=async` on none for certain.
pub(super) fn replicated(scenario: &Scenario, config: &BrokerConfig) -> Replicated {
    let cluster = &scenario.cluster;
    let offsets = &config.coordinators.offsets;
    let commits = scenario.events.iter().any(|event| matches!(event.action, Action::Groups(_)));
    let offsets = (commits && offsets.replication_factor > 1)
        .then(|| (OFFSETS_TOPIC.to_owned(), offsets.num_partitions.cast_signed()));
    let topics = cluster.topics.iter().filter(|_| cluster.replicas > 1);
    let topics = topics.map(|(topic, count)| (topic.clone(), *count)).chain(offsets);
    let least = config.topic(&Overrides::default()).safety.min_insync_replicas;
    let least = usize::try_from(least).unwrap_or(usize::MAX).min(usize::from(cluster.replicas.unsigned_abs()));
    Replicated::new(topics, if config.storage.flush == FlushMode::Quorum { least } else { 0 }, least)
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
        assert_eq!(difference(&log(0, &[1, 2, 3]), &log(0, &[1, 2, 3]), 0), None);
        assert_eq!(difference(&log(0, &[1, 2, 3]), &log(1, &[2, 3]), 1), None);
        assert_eq!(difference(&log(0, &[1, 2, 3]), &log(1, &[9, 3]), 1), Some(1));
        assert_eq!(difference(&log(0, &[1, 2, 3]), &log(0, &[1, 2]), 0), Some(2));
        assert_eq!(difference(&log(0, &[1, 2, 3]), &[], 3), None, "an empty log begins somewhere, too");
    }
}
