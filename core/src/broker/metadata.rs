//! Changes to the metadata: from decision to effect.
//!
//! A decision's records are appended as one batch and replayed at once into the speculative image; when raft has
//! committed them they are replayed into the committed one, acted on here (logs are made, led and removed), and only
//! then answered. An answer that saw what is not committed waits for it too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::Uuid;

use super::admin::Answered;
use super::boot::{election_path, is_of_broker_config, is_of_group_config};
use super::producer_ids::ProducerIds;
use super::quorum::Traffic;
use super::replicas::log_config;
use super::snapshots::Snapshots;
use super::{Broker, Outcome, Pending, TopicRef};
use crate::clock::Now;
use crate::config::{Config, Overrides};
use crate::controller::{self, Change, Controller, Extent, MetadataImage, PartitionImage, ResourceKind, TopicImage};
use crate::log::{AppendOrigin, Batch, FoundLog, LogId, SaveRequest};
use crate::machine::{Effects, Level, LogDirId, Ticket};
use crate::planted::Plant;
use crate::raft::{self, ControlRecord, Lead, LogState, Raft, SaveId};
use crate::record::{self, RecordBatch};
use crate::replication::{Leader, Leading, Replica};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicPartition};

/// The metadata log, its quorum, its images, and who waits for it.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) controller: Controller,
    pub(super) cluster_id: String,
    /// The ids of the log directories that could be read at the start.
    pub(super) directories: BTreeMap<LogDirId, Uuid>,
    /// The logs that the start found, until they are adopted.
    pub(super) found: Vec<FoundLog>,
    /// The logs that were durable once and are not there.
    pub(super) missing: BTreeSet<(TopicPartition, Uuid)>,
    /// This broker's last registration that its disk knew at the start, if all that had counted by then is there.
    pub(super) proven: Option<BrokerEpoch>,
    log: Option<LogId>,
    raft: Option<Raft>,
    /// The first batch of the epoch that this node leads, and where it ends once it is in the log.
    lead: Option<(Lead, Option<Offset>)>,
    broker_epoch: Option<BrokerEpoch>,
    waiting: VecDeque<(Offset, Ticket, Box<Answered>)>,
    pub(super) producer_ids: ProducerIds,
    pub(super) traffic: Traffic,
    pub(super) snapshots: Snapshots,
}

impl Metadata {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            controller: Controller::default(),
            cluster_id: config.cluster_id.clone().unwrap_or_default(),
            directories: BTreeMap::new(),
            found: Vec::new(),
            missing: BTreeSet::new(),
            proven: None,
            log: None,
            raft: None,
            lead: None,
            broker_epoch: None,
            waiting: VecDeque::new(),
            producer_ids: ProducerIds::default(),
            traffic: Traffic::default(),
            snapshots: Snapshots::default(),
        }
    }

    pub(super) const fn image(&self) -> &MetadataImage {
        self.controller.committed()
    }

    pub(super) const fn log(&self) -> Option<LogId> {
        self.log
    }

    pub(super) fn set_log(&mut self, log: LogId) {
        self.log = Some(log);
    }

    pub(super) fn is_log(&self, log: LogId) -> bool {
        self.log == Some(log)
    }

    pub(super) fn set_raft(&mut self, raft: Raft) {
        self.raft = Some(raft);
    }

    pub(super) const fn raft(&self) -> Option<&Raft> {
        self.raft.as_ref()
    }

    pub(super) const fn raft_mut(&mut self) -> Option<&mut Raft> {
        self.raft.as_mut()
    }

    pub(super) const fn broker_epoch(&self) -> Option<BrokerEpoch> {
        self.broker_epoch
    }

    pub(super) fn set_broker_epoch(&mut self, epoch: Option<BrokerEpoch>) {
        self.broker_epoch = epoch;
    }
}

impl Broker {
    /// The committed metadata.
    #[must_use]
    pub const fn image(&self) -> &MetadataImage {
        self.metadata.image()
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.metadata.cluster_id
    }

    /// The metadata quorum and the end of its log; `None` before it is read.
    #[must_use]
    pub fn quorum(&self) -> Option<(&Raft, Offset)> {
        let log_end = self.logs.offsets(self.metadata.log?)?.log_end;
        Some((self.metadata.raft.as_ref()?, log_end))
    }

    /// The leader of a partition and its epoch, as the metadata has it.
    #[must_use]
    pub fn leader_of(&self, topic: &TopicRef, partition: i32) -> Option<(BrokerId, LeaderEpoch)> {
        let partition = self.image().partition(&topic.name, partition)?;
        Some((partition.leader?, partition.leader_epoch))
    }

    /// Appends a decision's records, and answers when they are committed; at once if there are none and nothing
    /// that the decision saw is still open.
    pub(super) fn commit(
        &mut self,
        now: Now,
        ticket: Ticket,
        changes: Vec<Change>,
        answer: Answered,
        out: &mut Effects,
    ) {
        let seen = self.metadata.controller.speculative().end();
        let early = !changes.is_empty() && self.config.planted.has(Plant::Raft41);
        let end = if changes.is_empty() { Some(seen) } else { self.append_changes(now, changes, out) };
        match end {
            None => self.release(ticket, Outcome::Close),
            Some(_) if early => self.release(ticket, Outcome::Admin(Box::new(answer))),
            Some(end) if end <= self.image().end() => self.release(ticket, Outcome::Admin(Box::new(answer))),
            Some(end) => self.metadata.waiting.push_back((end, ticket, Box::new(answer))),
        }
    }

    /// Appends one atomic batch to the metadata log: the offset after it, or `None` if the log does not take it.
    pub(super) fn append_changes(&mut self, now: Now, changes: Vec<Change>, out: &mut Effects) -> Option<Offset> {
        let epoch = self.led_epoch()?;
        let batch = controller::encode(&changes, now.wall.0);
        let end = self.append_metadata(now, epoch, batch, changes, out)?;
        self.on_metadata_progress(now, out);
        Some(end)
    }

    pub(super) fn leads_for_ever(&self) -> bool {
        self.config.planted.has(Plant::Raft27) && self.metadata.lead.is_some()
    }

    /// The epoch of the quorum in which this node may write.
    fn led_epoch(&self) -> Option<LeaderEpoch> {
        if let Some((lead, _)) = self.metadata.lead.as_ref().filter(|_| self.config.planted.has(Plant::Raft27)) {
            return Some(lead.epoch);
        }
        self.metadata.raft.as_ref().filter(|raft| raft.is_leader()).map(Raft::epoch)
    }

    fn append_metadata(
        &mut self,
        now: Now,
        epoch: LeaderEpoch,
        batch: Vec<u8>,
        changes: Vec<Change>,
        out: &mut Effects,
    ) -> Option<Offset> {
        let log = self.metadata.log?;
        let extent = RecordBatch::first_of(&batch).map(|batch| Extent::of(&batch, Offset::ZERO)).unwrap_or_default();
        let facts = record::scan(&batch, u64::MAX).expect("a batch of our own is well-formed");
        let batch = Batch { bytes: Bytes::from(batch), facts: &facts };
        let appended = self.logs.append(now, log, epoch, batch, AppendOrigin::Coordinator, true, out);
        match appended {
            Ok(appended) => {
                let end = appended.last_offset + 1;
                self.metadata.controller.on_appended(Extent { end, ..extent }, changes);
                Some(end)
            }
            Err(error) => {
                out.note(Level::Error, format!("the metadata log refuses a change: {error:?}"));
                None
            }
        }
    }

    /// The metadata log moved: the quorum is told how far it goes and how far it is durable.
    pub(super) fn on_metadata_progress(&mut self, now: Now, out: &mut Effects) {
        let Some(log) = self.metadata.log else { return };
        let Some(offsets) = self.logs.offsets(log) else { return };
        let early = self.config.planted.has(Plant::Raft31);
        let durable = if early { offsets.written } else { offsets.durable };
        let last_epoch = self.metadata_epoch(log, offsets.log_end);
        let Some(raft) = &mut self.metadata.raft else { return };
        let (start, end, written) = (offsets.log_start, offsets.log_end, offsets.written);
        let state = LogState { start, end, written, durable, last_epoch };
        let outcome = raft.on_log(now, state);
        self.on_raft(now, outcome, out);
    }

    pub(super) fn on_vote_saved(&mut self, now: Now, id: SaveId, out: &mut Effects) {
        let Some(raft) = &mut self.metadata.raft else { return };
        let outcome = raft.on_saved(id, now);
        self.on_raft(now, outcome, out);
    }

    /// Carries out what the quorum decided.
    pub(super) fn on_raft(&mut self, now: Now, mut outcome: raft::Outcome, out: &mut Effects) {
        if let Some(save) = outcome.save.take() {
            let ticket = self.questions.ask(Pending::Vote(save.id));
            self.logs.save(SaveRequest { path: election_path(), bytes: Bytes::from(save.bytes), ticket }, out);
        }
        self.carry_out_of_quorum(now, &mut outcome, out);
        if let Some(lead) = outcome.lead {
            if !self.is_alone() {
                out.note(Level::Info, format!("leads the metadata quorum in epoch {}", lead.epoch.0));
            }
            self.metadata.lead = Some((lead, None));
            self.lead_quorum(now, out);
        }
        if let Some(batch) = outcome.change {
            self.change_voters(now, &batch, out);
        }
        if let Some(high_watermark) = outcome.high_watermark {
            self.on_metadata_committed(now, high_watermark, out);
        }
    }

    /// The epoch that this node leads begins with a batch of its own, and a start goes on with the registration. Where
    /// there is no room for them, they follow when there is.
    pub(super) fn lead_quorum(&mut self, now: Now, out: &mut Effects) {
        let Some((lead, begun)) = self.metadata.lead.clone() else { return };
        if begun.is_none() {
            let log = self.metadata.log.expect("a leader has a log");
            self.logs.begin_epoch(log, lead.epoch);
            let place = self.logs.offsets(log).unwrap_or_default().log_end;
            let end = self.append_metadata(now, lead.epoch, lead.batch.clone(), Vec::new(), out);
            self.metadata.lead = Some((lead.clone(), end));
            if end.is_none() {
                return;
            }
            self.note_voters(now, place, &lead.batch, out);
            self.on_metadata_progress(now, out);
        }
        self.register(now, out);
    }

    /// This leader names other voters. If the log does not take that, raft hears that it goes no further, and refuses.
    fn change_voters(&mut self, now: Now, batch: &[u8], out: &mut Effects) {
        let (Some(log), Some(raft)) = (self.metadata.log, &self.metadata.raft) else { return };
        let (epoch, place) = (raft.epoch(), self.logs.offsets(log).unwrap_or_default().log_end);
        if self.append_metadata(now, epoch, batch.to_vec(), Vec::new(), out).is_some() {
            self.note_voters(now, place, batch, out);
        }
        self.on_metadata_progress(now, out);
    }

    /// A batch at `offset` may name the voters: they count from there on.
    pub(super) fn note_voters(&mut self, now: Now, offset: Offset, batch: &[u8], out: &mut Effects) {
        let controls = RecordBatch::first_of(batch).ok().and_then(|batch| raft::control_records(&batch).ok());
        for control in controls.into_iter().flatten() {
            let Some(raft) = &mut self.metadata.raft else { return };
            if let ControlRecord::Voters(voters) = control {
                let ids: Vec<String> = voters.iter().map(|(key, _)| key.id.0.to_string()).collect();
                if ids.len() > 1 {
                    out.note(Level::Info, format!("the voters of the metadata quorum are {}", ids.join(", ")));
                }
                let outcome = raft.on_voters(now, offset, voters);
                self.on_raft(now, outcome, out);
            }
        }
    }

    /// There was no room for what lay at `end` and above in the metadata log: nobody who waits for it can be told that
    /// it worked. What lies below is written, and will be committed.
    pub(super) fn on_metadata_cut(&mut self, now: Now, end: Offset, out: &mut Effects) {
        self.metadata.controller.on_cut(end);
        if let Some((_, begun)) = &mut self.metadata.lead {
            *begun = begun.filter(|begun| *begun <= end);
        }
        self.on_producer_ids_cut(end);
        let (kept, cut) = std::mem::take(&mut self.metadata.waiting).into_iter().partition(|(until, ..)| *until <= end);
        self.metadata.waiting = kept;
        let cut: VecDeque<(Offset, Ticket, Box<Answered>)> = cut;
        cut.into_iter().for_each(|(_, ticket, _)| self.release(ticket, Outcome::Close));
        self.on_registration_cut(end);
        self.on_metadata_progress(now, out);
    }

    /// This node leads no more: what it decided may be committed or not.
    pub(super) fn forget_leadership(&mut self) {
        if !self.config.planted.has(Plant::Raft27) {
            self.metadata.lead = None;
        }
        self.doubt_registration();
        self.refuse_producer_ids();
        let done = self.config.planted.has(Plant::Raft42);
        for (_, ticket, answer) in std::mem::take(&mut self.metadata.waiting) {
            self.release(ticket, if done { Outcome::Admin(answer) } else { Outcome::Close });
        }
    }

    pub(super) fn on_metadata_committed(&mut self, now: Now, end: Offset, out: &mut Effects) {
        // What raft says may come in another order than it has said it: one step leads to the next.
        let end = self.metadata.raft().and_then(Raft::high_watermark).map_or(end, |known| known.max(end));
        if let Some(log) = self.metadata.log {
            self.logs.set_high_watermark(log, end);
        }
        let learned = self.metadata.controller.on_committed(end);
        if self.is_running() {
            self.act_on(now, &learned, out);
        }
        self.on_registration_committed(now, out);
        self.give_producer_ids(now, end, out);
        while self.metadata.waiting.front().is_some_and(|(until, ..)| *until <= end) {
            let (_, ticket, answer) = self.metadata.waiting.pop_front().expect("it has a front");
            self.release(ticket, Outcome::Admin(answer));
        }
        self.consider_snapshot(now, out);
    }

    /// The metadata log failed: nobody who waits for it can be told that it worked.
    pub(super) fn fail_metadata(&mut self, now: Now, out: &mut Effects) {
        self.metadata.controller.revert();
        if let Some(raft) = &mut self.metadata.raft {
            let outcome = raft.become_resigned(now);
            self.on_raft(now, outcome, out);
        }
        for (_, ticket, _) in std::mem::take(&mut self.metadata.waiting) {
            self.release(ticket, Outcome::Close);
        }
        self.refuse_producer_ids();
    }

    /// Does here what the metadata now says.
    pub(super) fn act_on(&mut self, now: Now, learned: &[Change], out: &mut Effects) {
        let deleted = self.on_topics_changed(Some(learned));
        self.on_topics_deleted(now, &deleted, out);
        let mut topics: BTreeSet<Arc<str>> = BTreeSet::new();
        for change in learned {
            let id = match change {
                Change::RemoveTopic { id } => {
                    self.remove_topic(now, *id, out);
                    continue;
                }
                Change::Partition(new) => Some(new.topic_id),
                Change::PartitionChange { topic_id, .. } => Some(*topic_id),
                Change::Config { resource, .. } if resource.kind == ResourceKind::Topic => {
                    topics.insert(Arc::clone(&resource.name));
                    None
                }
                Change::Config { .. }
                | Change::Topic { .. }
                | Change::RegisterBroker { .. }
                | Change::UnregisterBroker { .. }
                | Change::BrokerChange { .. }
                | Change::FeatureLevel { .. }
                | Change::ProducerIds { .. }
                | Change::Other => None,
            };
            topics.extend(id.and_then(|id| self.image().topic_by_id(id)).map(|topic| Arc::clone(&topic.name)));
        }
        if learned.iter().any(is_of_broker_config) {
            self.apply_broker_settings(out);
            topics = self.image().topics().map(|topic| Arc::clone(&topic.name)).collect();
        }
        if learned.iter().any(|change| is_of_broker_config(change) || is_of_group_config(change)) {
            self.on_group_settings_changed();
        }
        for name in topics {
            if let Some(topic) = self.image().topic(&name).cloned() {
                self.apply_topic(now, &topic, out);
            }
        }
    }

    /// Makes the logs of a topic, leads what it is to lead, and applies its settings.
    pub(super) fn apply_topic(&mut self, now: Now, topic: &TopicImage, out: &mut Effects) {
        let config = self.config.broker.topic(&self.overrides_of(&topic.name));
        let node = self.node();
        for (index, image) in (0..).zip(&topic.partitions) {
            let partition = TopicPartition::new(Arc::clone(&topic.name), index);
            if !image.replicas.contains(&node) {
                self.metadata.missing.remove(&(partition.clone(), topic.id));
                self.give_up_replica(now, &partition, "has moved to other brokers: removed", out);
                continue;
            }
            let damaged = self.replicas.log(&topic.name, index).filter(|log| self.may_repair(*log, image));
            let anew = damaged.map(|_| "is damaged here: it is made anew from its leader");
            self.apply_partition(now, (topic, index), (&config, anew), out);
        }
    }

    /// The log of a partition is thrown away, and made anew from its leader.
    pub(super) fn make_anew(&mut self, now: Now, log: LogId, why: &str, out: &mut Effects) {
        let Some(TopicPartition { topic, partition }) = self.replicas.get(log).map(|it| it.partition.clone()) else {
            return;
        };
        if let Some(topic) = self.image().topic(&topic).cloned() {
            let config = self.config.broker.topic(&self.overrides_of(&topic.name));
            self.apply_partition(now, (&topic, partition), (&config, Some(why)), out);
        }
    }

    /// Makes the log of a partition if there is none, or if there is a reason to make it anew.
    fn apply_partition(
        &mut self,
        now: Now,
        (topic, index): (&TopicImage, i32),
        (config, anew): (&crate::config::TopicConfig, Option<&str>),
        out: &mut Effects,
    ) {
        let Some(image) = usize::try_from(index).ok().and_then(|index| topic.partitions.get(index)) else { return };
        let partition = TopicPartition::new(Arc::clone(&topic.name), index);
        // In the same directory: else a power loss could bring the old one back beside the new.
        let old = anew.and_then(|_| self.replicas.log(&topic.name, index));
        let home = old.and_then(|log| self.logs.view(log)).map(|view| view.dir);
        if let Some(why) = anew {
            self.give_up_replica(now, &partition, why, out);
        }
        let Some(log) = self.log_for(now, &partition, topic.id, (config, home), out) else { return };
        self.logs.set_config(log, log_config(config));
        self.replicas.set_config(log, config);
        match image.leader {
            Some(leader) if leader == self.node() => self.lead(now, log, leading(image), out),
            other => self.lead_no_more(log, other.map(|leader| (leader, image.leader_epoch)), out),
        }
        // Fewer may have to have it now. Who leads no more, by what is learned with that, must not count by it.
        self.on_watermark(now, log, out);
        self.place(log);
    }

    fn log_for(
        &mut self,
        now: Now,
        partition: &TopicPartition,
        topic_id: Uuid,
        (config, home): (&crate::config::TopicConfig, Option<LogDirId>),
        out: &mut Effects,
    ) -> Option<LogId> {
        if let Some(log) = self.replicas.log(&partition.topic, partition.partition) {
            return Some(log);
        }
        let lost = (partition.clone(), topic_id);
        if self.metadata.missing.contains(&lost) && self.may_begin_anew(partition) {
            self.metadata.missing.remove(&lost);
        }
        if self.metadata.missing.contains(&lost) {
            let lost =
                "its log is not in any directory that can be read: it is not led. Restore it, or delete the topic";
            out.note(Level::Error, format!("{partition}: {lost}"));
            return None;
        }
        let Some(log) = self.logs.create(now, partition.clone(), topic_id, log_config(config), home, out) else {
            out.note(Level::Error, format!("{partition}: no log directory takes it"));
            return None;
        };
        self.replicas.insert(Replica::new(partition.clone(), topic_id, log, Offset::ZERO), config);
        Some(log)
    }

    fn lead(&mut self, now: Now, log: LogId, state: Leading, out: &mut Effects) {
        if self.is_storage_offline(log) {
            return;
        }
        let offsets = self.logs.offsets(log).unwrap_or_default();
        let node = self.node();
        let Some(replica) = self.replicas.get_mut(log) else { return };
        match replica.leader_mut() {
            Some(leader) if *leader.state() == state => return,
            Some(leader) if leader.leader_epoch() == state.leader_epoch => {
                leader.on_state(now.monotonic, state);
                return self.on_watermark(now, log, out);
            }
            _ => {}
        }
        let epoch = state.leader_epoch;
        if self.config.planted.has(Plant::Isr27) {
            replica.on_cut(offsets.log_start);
        }
        replica.become_leader(Leader::new(node, state, offsets.log_end, now.monotonic, self.config.planted));
        self.unfollow(log);
        self.logs.begin_epoch(log, epoch);
        let counted = if self.counts_durable() { offsets.durable } else { offsets.written };
        self.on_counted(now, log, counted, out);
        self.wake_fetches(log, out);
        self.coordinate(now, log, out);
    }

    /// Somebody else leads, or nobody does.
    fn lead_no_more(&mut self, log: LogId, other: Option<(BrokerId, LeaderEpoch)>, out: &mut Effects) {
        let Some(replica) = self.replicas.get_mut(log) else { return };
        let led = replica.leader().is_some();
        let before = (replica.following().map(|it| (it.leader, it.leader_epoch)), led, replica.is_offline());
        let fails = replica.is_offline() && self.is_storage_offline(log);
        match other {
            _ if fails => return,
            Some((leader, epoch)) => self.follow(log, leader, epoch),
            None => {
                self.unfollow(log);
                if let Some(replica) = self.replicas.get_mut(log) {
                    replica.become_leaderless();
                }
            }
        }
        if led {
            self.resign_groups(log);
            if self.config.planted.has(Plant::Rep14) {
                self.release_produces(log, super::purgatory::Progress::Committed, Offset(i64::MAX));
            }
            if !self.config.planted.has(Plant::Isr22) {
                self.fail_produces(log, Offset::ZERO, ottla_wire::ErrorCode::NOT_LEADER_OR_FOLLOWER);
            }
            self.fail_deletions(log, ottla_wire::ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if before != (other, false, false) {
            self.wake_fetches(log, out);
        }
    }

    /// Whether a log cannot be used by this process any more.
    pub(super) fn is_storage_offline(&self, log: LogId) -> bool {
        self.replicas.is_unusable(log) || self.logs.view(log).is_none_or(|view| self.logs.is_offline(view.dir))
    }

    /// The id of the directory that a log lies in.
    pub(super) fn directory_of(&self, log: LogId) -> Option<Uuid> {
        self.metadata.directories.get(&self.logs.view(log)?.dir).copied()
    }

    /// What is here of a partition goes: others have it.
    fn give_up_replica(&mut self, now: Now, partition: &TopicPartition, why: &str, out: &mut Effects) {
        let Some(log) = self.replicas.log(&partition.topic, partition.partition) else { return };
        out.note(Level::Info, format!("{partition} {why}"));
        self.resign_groups(log);
        self.unfollow(log);
        self.replicas.remove(log);
        self.fail_produces(log, Offset::ZERO, ottla_wire::ErrorCode::NOT_LEADER_OR_FOLLOWER);
        self.fail_deletions(log, ottla_wire::ErrorCode::NOT_LEADER_OR_FOLLOWER);
        self.wake_fetches(log, out);
        self.logs.delete(now, log, out);
    }

    fn remove_topic(&mut self, now: Now, id: Uuid, out: &mut Effects) {
        let gone: Vec<LogId> = self.replicas.iter().filter(|it| it.topic_id == id).map(|it| it.log).collect();
        for log in gone {
            self.resign_groups(log);
            self.unfollow(log);
            self.replicas.remove(log);
            self.fail_produces(log, Offset::ZERO, ottla_wire::ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            self.wake_fetches(log, out);
            self.logs.delete(now, log, out);
        }
    }

    /// The dynamic settings of this broker and of all brokers, over the static ones.
    pub(super) fn apply_broker_settings(&mut self, out: &mut Effects) {
        let overrides = |name: &str| self.image().overrides(ResourceKind::Broker, name).cloned().unwrap_or_default();
        let (cluster, own) = (overrides(""), overrides(&self.node().0.to_string()));
        let (config, errors) = self.config.broker.with_dynamic(cluster, own);
        for error in errors {
            out.note(Level::Warn, format!("a dynamic setting is ignored: {error}"));
        }
        self.config.broker = config;
    }

    pub(super) fn overrides_of(&self, topic: &str) -> Overrides {
        self.image().overrides(ResourceKind::Topic, topic).cloned().unwrap_or_default()
    }
}

/// What the metadata says of a partition that is led here.
fn leading(image: &PartitionImage) -> Leading {
    Leading {
        leader_epoch: image.leader_epoch,
        partition_epoch: image.partition_epoch,
        isr: image.isr.clone(),
        replicas: image.replicas.clone(),
    }
}
