//! The end of a run: faults are over, what was begun is finished, everything is read, and the history is judged.

use std::collections::{BTreeMap, BTreeSet};

use ottla_core::config::Overrides;
use ottla_core::controller::{OFFSETS_TOPIC, ResourceKind};
use ottla_core::types::TopicPartition;

use super::agenda::Due;
use super::node::Process;
use super::{Stage, World};
use crate::client::user::User;
use crate::draw::Label;
use crate::logs::read_logs;
use crate::metadata::Register;
use crate::stored;
use crate::time::{MILLISECOND, Nanos, SECOND};
use crate::workload::program::{Program, Reader};
use crate::workload::{Actor, ReadActor, SoloActor};

/// How long who reads everything waits for an answer: as long as Kafka's clients. Megabytes through a small window
/// over a network that loses take more than a moment.
const READ_TIMEOUT: Nanos = 30 * SECOND;
/// So many times as long as a recovery may take, clients may take: something must be read in each [`READ_TIMEOUT`].
const LONG_RECOVERIES: u64 = 10;
/// For so many election timeouts nobody is elected when nothing troubles the quorum.
const RESTING: u64 = 10;
/// A tombstone that is to stay so long is there when the run ends, whatever its clocks do: they step by a day or so.
pub(super) const A_WEEK_MS: u64 = 604_800_000;

impl World {
    /// Load and faults are over. The process is started anew where it is down or something of it is out of service,
    /// where rot waits for the next one, and in half of the runs anyway.
    pub(super) fn heal(&mut self) {
        self.trace.event("heal", self.trace.steps());
        self.stage = Stage::Finishing;
        self.agenda.clear_events();
        self.network.heal(self.now);
        (0..self.nodes.len()).for_each(|at| self.heal_node(at));
        let due = Due::GiveUp(self.judge.history.records_read);
        self.agenda.add(self.now.saturating_add(self.setting.scenario.recovery), due);
        // Whoever is not done says so when it is; if all are done already, nobody will.
        self.advance_stage();
    }

    fn heal_node(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.disk.heal(self.now);
        node.disk.set_free_space(u64::MAX);
        node.paused_until = self.now;
        self.set_rate(at, 1_000_000);
        let node = &self.nodes[at];
        let failed = node.process.as_ref().is_some_and(Process::is_out_of_service);
        let restart = self.draws.at(Label::Event, u64::MAX, u64::from(node.id)).chance(0.5);
        let evict = node.evict;
        if failed || evict || restart && self.may_go_down(at) {
            self.end_process(at);
        }
        self.agenda.add(self.now + 100 * MILLISECOND, Due::StartNode(at));
    }

    /// When all clients are done, and several nodes are at rest, the next stage begins.
    pub(super) fn advance_stage(&mut self) {
        let done = self.clients.iter().all(User::is_done);
        match self.stage {
            Stage::Finishing if done && self.nodes.len() > 1 => {
                if let Ok(epoch) = self.settled() {
                    self.stage = Stage::Resting(epoch.0);
                    let timeout = self.setting.configs[0].quorum.election_timeout_ms.saturating_mul(MILLISECOND);
                    self.agenda.add(self.now + RESTING * timeout, Due::Rested);
                }
            }
            Stage::Finishing if done => self.read_all(),
            Stage::Reading if done => self.conclude(),
            Stage::Trouble | Stage::Finishing | Stage::Resting(_) | Stage::Reading | Stage::Over => (),
        }
    }

    /// Nothing has troubled several nodes for a while: the quorum must be as it was, and know all that it told.
    pub(super) fn rested(&mut self) {
        let Stage::Resting(before) = self.stage else { return };
        let same = self.judge_replicas();
        match self.settled() {
            Ok(epoch) if epoch.0 == before && same.is_ok() => {
                self.judge_metadata();
                self.read_all();
            }
            // All that was sent again of a fetch may have been lost, too: then some other time is a quiet one.
            _ if self.setting.scenario.network.loss_ppm > 0 => {
                self.stage = Stage::Finishing;
                self.advance_stage();
            }
            // A group may have expired just now, and what it wrote is on its way.
            Ok(epoch) if epoch.0 == before && self.judge.is_replicated(&TopicPartition::new(OFFSETS_TOPIC, 0)) => {
                self.stage = Stage::Finishing;
                self.advance_stage();
            }
            Ok(epoch) if epoch.0 != before => {
                let what = format!("epoch {before} became {epoch} when nothing troubled the quorum any more");
                self.judge.report("liveness", what);
            }
            Ok(_) => {
                let why = same.err().unwrap_or_default();
                self.judge.report("liveness", format!("replicas are at rest, and not the same: {why}"));
            }
            Err(why) => self.judge.report("liveness", format!("the quorum was at rest, and is not: {why}")),
        }
    }

    /// Whoever acknowledged a change of the metadata knows it, and so do all others.
    fn judge_metadata(&mut self) {
        for at in 0..self.nodes.len() {
            let Some(process) = self.nodes[at].process.as_ref().filter(|process| process.ready) else { continue };
            let image = process.machine.image();
            let wrong = self.judge.metadata.wrong(|register| match register {
                Register::Topic(name) => image.topic(name).map(|topic| topic.partitions.len().to_string()),
                Register::Setting(topic, key) => {
                    let overrides = image.overrides(ResourceKind::Topic, topic);
                    overrides?.get(key).cloned()
                }
            });
            if let Some(what) = wrong {
                self.judge.report("M13", format!("n{at}: {what}"));
            }
        }
    }

    /// Everything is read, and nothing counts that was read before.
    fn read_all(&mut self) {
        self.stage = Stage::Reading;
        self.judge.history.read_again();
        if self.setting.scenario.cluster.replicas > 1 {
            return self.read_replicas();
        }
        for (topic, partitions) in self.setting.scenario.cluster.topics.clone() {
            // Where several nodes have no replicas a scenario may have no load, and nobody led what is not written.
            let partition = TopicPartition::new(topic.as_str(), 0);
            if self.nodes.len() > 1 && !self.judge.history.partitions().contains(&partition) {
                continue;
            }
            let which = self.clients.len() as u64;
            let actor = ReadActor::all(&topic, partitions, self.now, which);
            self.add_client(Actor::Read(Box::new(actor)), READ_TIMEOUT);
        }
        self.audit_groups();
        if self.nodes.len() > 1 {
            self.advance_stage();
        }
    }

    /// Everything is read from whoever leads it.
    fn read_replicas(&mut self) {
        let now = self.now;
        for (topic, partitions) in self.setting.scenario.cluster.topics.clone() {
            self.add_program(|id, draw| {
                let (reader, config) = Reader::all(&topic, partitions, now, id, draw);
                (Program::Read(Box::new(reader)), config)
            });
        }
        self.audit_groups();
    }

    /// What all groups have committed is asked for once.
    fn audit_groups(&mut self) {
        let groups: Vec<_> = self.judge.groups.names().cloned().collect();
        let topics = &self.setting.scenario.cluster.topics;
        let partitions = groups.iter().filter_map(|(_, topic)| topics.get(&**topic)).copied().max();
        let Some(partitions) = partitions else { return };
        let draw = self.draws.at(Label::ClientSeed, u64::MAX, 0);
        let actor = SoloActor::audit(groups, partitions, self.now, draw).among(self.nodes.len());
        self.add_client(Actor::Solo(Box::new(actor)), READ_TIMEOUT);
    }

    /// Time is up, and something is not done: a partition that is damaged may refuse, nothing else may. Who is
    /// not done has more time where more was read than `before`: hundreds of megabytes may go through a small window.
    /// And so has a rest that has begun: connections that hang may have swallowed several requests of who came late.
    pub(super) fn give_up(&mut self, before: u64) {
        if self.stage == Stage::Over {
            return;
        }
        let (scenario, read) = (&self.setting.scenario, self.judge.history.records_read);
        let latest = scenario.duration.saturating_add(scenario.recovery.saturating_mul(LONG_RECOVERIES));
        let busy = self.clients.iter().any(|client| !client.is_done());
        let resting = matches!(self.stage, Stage::Resting(_));
        if (resting || busy && read > before) && self.now < latest {
            return self.agenda.add(self.now + READ_TIMEOUT, Due::GiveUp(read));
        }
        let what = if self.judge.is_rotten() { self.unfinished_beside_rot() } else { Some(self.unfinished()) };
        if let Some(what) = what {
            self.judge.report("liveness", what);
        }
        self.conclude();
    }

    /// What is not done, though nothing concerns it that the disk has damaged: a partition whose files are sound is
    /// served whatever became of another's.
    fn unfinished_beside_rot(&self) -> Option<String> {
        let [node] = &self.nodes[..] else { return None };
        let logs = &self.judge.logs[0];
        if logs.beyond {
            return None;
        }
        if !node.process.as_ref().is_some_and(|process| process.ready) {
            return Some("the broker does not start, and nothing is damaged but files of partitions".to_owned());
        }
        let readers = self.clients.iter().filter_map(|client| match client {
            User::Frames(client) => Some(&client.actor),
            User::Core(_) => None,
        });
        let unread = readers.flat_map(|actor| if let Actor::Read(actor) = actor { Some(actor) } else { None });
        let unread = unread.flat_map(|actor| actor.unread()).map(|partition| self.judge.history.name(partition));
        let sound = |log: &&TopicPartition| logs.get(log).is_none_or(|followed| !followed.rotted);
        let unread = unread.filter(|log| &*log.topic != OFFSETS_TOPIC).find(sound)?;
        Some(format!("{unread} is not damaged, and cannot be read to its end"))
    }

    /// What is not done, though time is up.
    fn unfinished(&mut self) -> String {
        if self.nodes.len() > 1
            && let Err(why) = self.settled()
        {
            return format!("after all healed {why}");
        }
        let busy = self.clients.iter().filter(|client| !client.is_done()).map(User::id);
        let busy: Vec<String> = busy.map(|id| format!("c{id}")).collect();
        if !busy.is_empty() {
            return format!("clients {} were not done in time after all healed", busy.join(", "));
        }
        match self.judge_replicas() {
            Err(why) => format!("after all healed the replicas did not become the same in time: {why}"),
            Ok(()) => "after all healed the quorum did not rest long enough in time".to_owned(),
        }
    }

    fn conclude(&mut self) {
        self.stage = Stage::Over;
        (0..self.nodes.len()).for_each(|at| self.judge_alarms(at));
        let mut starts: BTreeMap<usize, i64> = BTreeMap::new();
        for client in &self.clients {
            match client {
                User::Frames(client) => {
                    if let Actor::Read(actor) = &client.actor {
                        starts.extend(actor.starts());
                    }
                }
                User::Core(client) => {
                    if let Program::Read(reader) = &client.program {
                        starts.extend(reader.starts());
                    }
                }
            }
        }
        self.judge.forget_weak_promises();
        let count = self.judge.history.partitions().len();
        let starts: Vec<i64> = (0..count).map(|index| starts.get(&index).copied().unwrap_or(i64::MAX)).collect();
        self.judge.all_read(&starts);
        // Several nodes were at rest before.
        if self.nodes.len() == 1 && !self.judge.is_rotten() {
            self.judge_metadata();
        }
        (0..self.nodes.len()).for_each(|at| self.judge_kept(at, &starts));
        for at in 0..self.nodes.len() {
            let images = read_logs(&self.nodes[at].disk);
            self.judge_indexes(at, &images);
            self.judge_derived(at);
            self.judge_shards(at);
            self.digest(at);
        }
    }

    /// What a node holds of each key of the partitions that were written with keys; `starts` says from where, where
    /// that is known.
    pub(super) fn judge_kept(&mut self, at: usize, starts: &[i64]) {
        let history = &self.judge.history;
        let keyed: BTreeSet<_> =
            history.writes().filter(|(_, it)| it.key.is_some()).map(|(_, it)| it.partition).collect();
        let topic = self.setting.configs[0].topic(&Overrides::default());
        let tombstones_stay = topic.compaction.delete_retention_ms >= A_WEEK_MS;
        for partition in keyed {
            let log = self.judge.history.name(partition).clone();
            if self.judge.holder(&log) != at {
                continue;
            }
            let Some(process) = self.nodes[at].process.as_ref().filter(|process| process.ready) else { continue };
            if self.judge.logs[at].get(&log).is_none_or(|log| log.damaged) {
                continue;
            }
            // Retention may have gone on since it was read.
            let now = process.machine.derived().find(|view| view.partition == log);
            let now = now.map_or(i64::MAX, |view| view.offsets.log_start.0);
            let kept = stored::kept(&self.nodes[at].disk, &log);
            self.judge.kept(
                partition,
                starts.get(partition).map_or(now, |start| now.max(*start)),
                &kept,
                tombstones_stay,
            );
        }
    }
}
