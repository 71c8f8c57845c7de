//! What a start made of the logs, and what saved files claim of them: judged when the machine is ready, after a
//! crash, and at the end.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_core::broker::{PartitionView, View};
use ottla_core::config::FlushMode;
use ottla_core::controller::METADATA_TOPIC;
use ottla_core::log::{checkpoint, names};
use ottla_core::machine::{LogDirId, Path};
use ottla_core::raft::SavedElection;
use ottla_core::storage::{JOURNAL, journal_claims};
use ottla_core::types::TopicPartition;

use super::World;
use crate::group_log;
use crate::invariants::{Coordinated, Fact, Recovered};
use crate::logs::{FollowedLog, LogImage, read_logs};

impl World {
    /// The machine serves: what does it make of the logs?
    pub(super) fn on_ready(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(process) = &mut node.process else { return };
        process.ready = true;
        node.born = true;
        self.judge.logs[at].forget_excuses();
        self.judge.groups.clocks.booted = self.now;
        let view = process.machine.view();
        let images = read_logs(&self.nodes[at].disk);
        self.judge_logs(at, &view, &images);
        self.judge_snapshots(at, &view);
        self.judge_indexes(at, &images);
        self.judge_derived(at);
        self.judge_kept(at, &[]);
        self.judge.of_node(at, &Fact::Ready);
    }

    /// Does the machine take for damaged what is not?
    pub(super) fn judge_alarms(&mut self, at: usize) {
        let Some(process) = &self.nodes[at].process else { return };
        let disk_failed = process.read_failed || self.judge.logs[at].beyond;
        for partition in process.machine.view().partitions.iter().filter(|partition| partition.damaged) {
            let log = TopicPartition::new(partition.topic.as_str(), partition.partition);
            let rotted = self.judge.logs[at].get(&log).is_some_and(|log| log.rotted);
            let disk_failed = disk_failed || rotted;
            self.judge.of_node(at, &Fact::OutOfService { log: &log, disk_failed });
        }
    }

    /// What the machine has derived from each log against a rebuild from it.
    pub(super) fn judge_derived(&mut self, at: usize) {
        let Some(process) = self.nodes[at].process.as_ref().filter(|process| process.ready) else { return };
        let expiration = self.setting.configs[at].storage.producer_id_expiration_ms;
        let expired = self.nodes[at].latest_wall_ms.saturating_sub_unsigned(expiration);
        let quorum = self.setting.configs[at].storage.flush == FlushMode::Quorum;
        for view in process.machine.derived() {
            // Of several voters a majority has it on its disks, not each: that is M6 of the quorum, and R4 of replicas.
            let replicated = self.judge.is_replicated(&view.partition);
            if replicated {
                self.judge.replica_counts(at, &view);
            }
            let voted = &*view.partition.topic == METADATA_TOPIC;
            let durable = if voted { self.nodes.len() == 1 } else { quorum && !replicated };
            self.judge.derived(at, &view, expired, durable);
        }
    }

    /// What each shard of the group coordinator takes for committed, against its log.
    pub(super) fn judge_shards(&mut self, at: usize) {
        let Some(process) = self.nodes[at].process.as_ref().filter(|process| process.ready) else { return };
        let mut shards = process.machine.shards().peekable();
        if shards.peek().is_none() || self.judge.logs[at].rotten {
            return;
        }
        let shards: Vec<_> = shards.collect();
        let view = process.machine.view();
        for (log, shard) in shards {
            let Some(served) = served(&view, &log) else { continue };
            let said = group_log::read(&self.nodes[at].disk, &log, served.high_watermark);
            let shard = Coordinated { shard: &shard, said: &said };
            self.judge.of_node(at, &Fact::Coordinated { log: &log, shard });
        }
    }

    /// A process appends for the first time: it has taken the mark of the last clean stop away, durably, from where the
    /// log lies.
    pub(super) fn judge_clean_mark(&mut self, at: usize, log: &TopicPartition) {
        let (disk, of_log) = (&self.nodes[at].disk, format!("{log}/"));
        let files = disk.files();
        let mut places = files.iter().filter(|(_, path, _)| path.starts_with(&of_log)).map(|(dir, ..)| *dir);
        if places.any(|dir| disk.may_exist(&Path::new(LogDirId(dir), names::CLEAN_SHUTDOWN))) {
            self.judge.of_node(at, &Fact::CleanMark { log });
        }
    }

    /// The machine appends to its metadata log: it leads, by a vote that it cannot forget.
    pub(super) fn judge_vote(&mut self, at: usize, log: &TopicPartition, epoch: i32) {
        if &*log.topic != METADATA_TOPIC || self.judge.logs[at].rotten {
            return;
        }
        let left =
            self.nodes[at].disk.after_power_loss(&Path::new(LogDirId(0), format!("{log}/{}", names::QUORUM_STATE)));
        let vote = |bytes: &Option<Bytes>| Some(SavedElection::parse(bytes.as_ref()?).ok()?.epoch.0);
        let saved: Vec<Option<i32>> = left.iter().map(vote).collect();
        self.judge.of_node(at, &Fact::Led { log, epoch, saved: &saved });
    }

    /// Each followed log against the disk.
    fn judge_logs(&mut self, at: usize, view: &View, images: &BTreeMap<TopicPartition, LogImage>) {
        let followed: Vec<_> = self.judge.logs[at].iter().map(|(name, log)| (name.clone(), log.clone())).collect();
        let nothing = LogImage::default();
        for (name, mut followed) in followed {
            let image = images.get(&name).unwrap_or(&nothing);
            // If it is made anew in this very step the old one has not been put aside yet.
            if followed.is_new() {
                continue;
            }
            followed.deleted = followed.deleted.max(self.deleted_elsewhere(at, &name));
            // A replica owes what it has, whether or not it leads.
            let served = if self.judge.is_replicated(&name) { hosted(view, &name) } else { served(view, &name) };
            let online = &*name.topic == METADATA_TOPIC || served.is_some();
            let batches = image.readable();
            let whole = image.segments.iter().all(|segment| segment.whole);
            let (start, next) = (served.map(|it| it.log_start), served.map(|it| it.log_end));
            let found = Recovered { batches: &batches, whole, followed: &followed, online, start, next };
            self.judge.of_node(at, &Fact::Recovered { log: &name, found });
        }
    }

    /// Below it another replica's log is deleted: a follower begins where its leader's log does, before it serves.
    fn deleted_elsewhere(&self, at: usize, log: &TopicPartition) -> i64 {
        if !self.judge.is_replicated(log) {
            return 0;
        }
        let others = (0..self.nodes.len()).filter(|other| *other != at);
        let starts = others.clone().filter_map(|other| {
            let machine = &self.nodes[other].process.as_ref()?.machine;
            let replica = machine.replicas().find(|replica| replica.partition == *log)?;
            Some(machine.log_range(replica.log).start.0)
        });
        let followed = others.filter_map(|other| self.judge.logs[other].get(log)).map(FollowedLog::gone);
        starts.chain(followed).max().unwrap_or(0)
    }

    /// A start leaves nothing that tells of producers above the end of its log: other records may come there.
    fn judge_snapshots(&mut self, at: usize, view: &View) {
        for (_, path, _) in self.nodes[at].disk.files() {
            let Some((log, claims)) = snapshot_of(&path) else { continue };
            let damaged = self.judge.logs[at].get(&log).is_none_or(|log| log.damaged);
            if let Some(served) = served(view, &log).filter(|_| !damaged) {
                self.judge.of_node(at, &Fact::Claimed { file: &path, log: &log, claims, end: served.log_end });
            }
        }
    }

    /// Indexes against their segments.
    pub(super) fn judge_indexes(&mut self, at: usize, images: &BTreeMap<TopicPartition, LogImage>) {
        for (log, image) in images {
            let damaged = self.judge.logs[at].get(log).is_some_and(|log| log.damaged);
            for segment in image.segments.iter().filter(|segment| segment.whole && !damaged) {
                self.judge.of_node(at, &Fact::Indexed { log, segment });
            }
        }
    }

    /// A process ended: what it leaves deleted, as the directory's file says.
    pub(super) fn note_deleted(&mut self, at: usize) {
        for bytes in self.nodes[at].disk.in_each_directory(names::LOG_START_CHECKPOINT) {
            for (log, offset) in checkpoint::parse(&bytes).unwrap_or_default() {
                if let Some(log) = self.judge.logs[at].get_mut(&log) {
                    log.note_deleted(offset.0);
                }
            }
        }
    }

    /// After a crash: does a saved file claim what is not there?
    pub(super) fn judge_claims(&mut self, at: usize, images: &BTreeMap<TopicPartition, LogImage>) {
        self.judge_journal(at, images);
        for file in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
            let files = self.nodes[at].disk.in_each_directory(file);
            // A file that cannot be read claims nothing.
            for (log, offset) in files.iter().filter_map(|bytes| checkpoint::parse(bytes).ok()).flatten() {
                let damaged = self.judge.logs[at].get(&log).is_none_or(|log| log.damaged);
                let Some(image) = images.get(&log).filter(|_| !damaged) else { continue };
                let mut end = self.known_to(at, &log, image);
                // A follower's high watermark is its leader's, and what it has itself may not be durable yet.
                if self.judge.is_replicated(&log) && file.starts_with("replication") {
                    end = end.max(self.judge.replicas_end(&log));
                }
                if self.judge.durable_acks || file.starts_with("recovery") {
                    self.judge.of_node(at, &Fact::Claimed { file, log: &log, claims: offset.0, end });
                }
            }
        }
    }

    /// Up to where a log can be read, or is deleted.
    fn known_to(&self, at: usize, log: &TopicPartition, image: &LogImage) -> i64 {
        let deleted = self.judge.logs[at].get(log).map_or(0, |followed| followed.deleted);
        let first = image.segments.first().map_or(0, |segment| segment.base);
        image.end().max(first).max(deleted)
    }

    /// The flush journal claims what was synced. Of a log that was deleted, or made anew, it may know the old one.
    fn judge_journal(&mut self, at: usize, images: &BTreeMap<TopicPartition, LogImage>) {
        let journals = self.nodes[at].disk.in_each_directory(JOURNAL);
        let sound = journals.iter().map(|bytes| journal_claims(bytes)).filter(|(_, damaged)| !damaged);
        for (key, mark) in sound.flat_map(|(claims, _)| claims) {
            let name = key.rsplit_once(' ').and_then(|(name, _)| TopicPartition::from_dir_name(name));
            let Some((log, image)) = name.and_then(|name| images.get_key_value(&name)) else { continue };
            // It is to begin anew there, and perhaps has not: no byte is claimed.
            if mark.begins && mark.end == mark.segment {
                continue;
            }
            if self.judge.logs[at].get(log).is_none_or(|log| log.damaged) {
                continue;
            }
            let end = self.known_to(at, log, image);
            self.judge.of_node(at, &Fact::Claimed { file: JOURNAL, log, claims: mark.end.0, end });
        }
    }
}

/// Whose producers a file tells of, and up to which offset.
fn snapshot_of(path: &str) -> Option<(TopicPartition, i64)> {
    let (directory, file) = path.split_once('/')?;
    let offset = file.strip_suffix(".snapshot")?.parse().ok()?;
    Some((TopicPartition::from_dir_name(directory)?, offset))
}

/// A partition that the machine leads on a log that is whole.
fn served<'a>(view: &'a View, name: &TopicPartition) -> Option<&'a PartitionView> {
    hosted(view, name).filter(|it| it.leader_epoch.is_some())
}

/// A partition that the machine has on a log that is whole.
fn hosted<'a>(view: &'a View, name: &TopicPartition) -> Option<&'a PartitionView> {
    let found = view.partitions.iter().find(|it| it.topic == *name.topic && it.partition == name.partition);
    found.filter(|it| !it.damaged)
}
