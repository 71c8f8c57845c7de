//! What administrators ask for: topics, partitions, settings, features, deleted records, log directories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::{ErrorCode, Uuid};

use super::purgatory::WaitKey;
use super::{Broker, Outcome, Standing, TopicRef};
use crate::clock::{Instant, Now};
use crate::controller::{
    self, Alteration, Assignment, CreatedTopic, FeatureUpdate, MorePartitions, NewTopic, Refused, TopicChoice,
    TopicImage, is_internal,
};
use crate::log::{CleanerView, LogId, ProducerView};
use crate::machine::{Effects, LogDirId, Ticket};
use crate::replication::{Leader, Replica};
use crate::types::{BrokerEpoch, BrokerId, Offset, TopicPartition};

/// A topic that was taken away: its name and its id.
pub type DeletedTopic = (Arc<str>, Uuid);

/// What a request came to for each partition: topic, index, result.
pub type PartitionResults = Vec<(String, i32, Result<(), Refused>)>;

/// What an administrative request came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// CreateTopics: each topic.
    Created(Vec<(String, Result<CreatedTopic, Refused>)>),
    /// DeleteTopics: each topic.
    Deleted(Vec<(TopicChoice, Result<DeletedTopic, Refused>)>),
    /// CreatePartitions: each topic.
    MorePartitions(Vec<(String, Result<(), Refused>)>),
    /// AlterConfigs and IncrementalAlterConfigs: kind and name of each resource.
    Altered(Vec<(i8, String, Result<(), Refused>)>),
    /// DeleteRecords: each partition.
    DeletedRecords(Vec<DeletedRecords>),
    /// InitProducerId.
    ProducerId(i64),
    /// AlterPartitionReassignments: each partition.
    Reassigned(PartitionResults),
    /// ElectLeaders: each partition.
    Elected(PartitionResults),
    /// BrokerRegistration: its epoch.
    Registered(Result<BrokerEpoch, ErrorCode>),
    /// UpdateFeatures: the features that were named, and whether they have their levels.
    FeaturesUpdated((Vec<String>, Result<(), Refused>)),
    /// UnregisterBroker.
    Unregistered(Result<(), Refused>),
    /// BrokerHeartbeat.
    Alive(Result<Standing, ErrorCode>),
    /// AlterPartition: topic, partition and outcome of each.
    AlteredPartitions(Result<Vec<(Uuid, i32, ErrorCode)>, ErrorCode>),
    /// AssignReplicasToDirs: what became of each.
    Assigned(Result<Vec<(Assignment, ErrorCode)>, ErrorCode>),
    /// AllocateProducerIds: the first id of the block.
    ProducerIdBlock(Result<i64, ErrorCode>),
    /// FindCoordinator of these groups.
    Coordinators(Vec<String>),
    /// Metadata that made topics first: the topics that were asked for, and why some could not be made.
    Metadata { topics: Vec<String>, refused: BTreeMap<String, ErrorCode> },
}

/// One partition of a DeleteRecords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedRecords {
    /// Which topic.
    pub topic: TopicRef,
    /// Which partition of it.
    pub partition: i32,
    /// `NONE`, or why nothing was deleted.
    pub error: ErrorCode,
    /// The log start offset; -1 with an error.
    pub low_watermark: Offset,
}

/// A DeleteRecords that waits until the new starts are durable, or its time is up.
#[derive(Clone, Debug)]
pub(super) struct Deleting {
    ticket: Ticket,
    deadline: Instant,
    deleted: Vec<DeletedRecords>,
    /// What is waited for, by the place of the partition.
    waiting: BTreeMap<usize, (LogId, Offset)>,
}

/// Who waits for a log's start to be durable, and to be that of every replica in service: else the next leader might
/// have again what was deleted.
#[derive(Clone, Debug, Default)]
pub(super) struct Deletions {
    requests: BTreeMap<WaitKey, Deleting>,
    /// Which log, up to where, and who: the place in which request.
    waits: BTreeSet<(LogId, Offset, WaitKey, usize)>,
    deadlines: BTreeSet<(Instant, WaitKey)>,
    /// Of each log whose start is not durable yet: the start, and what is.
    unsaved: BTreeMap<LogId, (Offset, Offset)>,
}

impl Deletions {
    /// When the first of those who wait gives up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Who waits for a log's start to be this one, or an earlier.
    fn waiting_up_to(&self, log: LogId, offset: Offset) -> impl Iterator<Item = (LogId, Offset, WaitKey, usize)> {
        let range = (log, Offset(i64::MIN), WaitKey(0), 0)..=(log, offset, WaitKey(u64::MAX), usize::MAX);
        self.waits.range(range).copied()
    }
}

/// A log directory, for DescribeLogDirs.
#[derive(Clone, Debug, PartialEq)]
pub struct LogDirDescribed {
    /// Its path, as configured.
    pub path: String,
    /// `NONE`, or that it is offline.
    pub error: ErrorCode,
    /// The partitions that were asked for.
    pub replicas: Vec<ReplicaDescribed>,
}

/// A partition in a log directory.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaDescribed {
    /// Which.
    pub partition: TopicPartition,
    /// Bytes of its segments.
    pub size: u64,
    /// How it stands with its compaction; `None` if it is not compacted.
    pub compaction: Option<CleanerView>,
}

impl Broker {
    /// Makes topics.
    pub fn create_topics(
        &mut self,
        now: Now,
        ticket: Ticket,
        topics: Vec<NewTopic>,
        validate_only: bool,
        out: &mut Effects,
    ) {
        let image = self.metadata.controller.speculative();
        let decision = controller::create(image, &self.config.broker, &topics, &mut self.rng);
        let names = topics.into_iter().map(|topic| topic.name);
        let changes = if validate_only { Vec::new() } else { decision.changes };
        let answer = Answered::Created(names.zip(decision.answer).collect());
        self.commit(now, ticket, changes, answer, out);
    }

    /// Takes topics away.
    pub fn delete_topics(&mut self, now: Now, ticket: Ticket, topics: Vec<TopicChoice>, out: &mut Effects) {
        let decision = controller::delete(self.metadata.controller.speculative(), &self.config.broker, &topics);
        let answer = Answered::Deleted(topics.into_iter().zip(decision.answer).collect());
        self.commit(now, ticket, decision.changes, answer, out);
    }

    /// Gives topics more partitions.
    pub fn create_partitions(
        &mut self,
        now: Now,
        ticket: Ticket,
        topics: Vec<MorePartitions>,
        validate_only: bool,
        out: &mut Effects,
    ) {
        let image = self.metadata.controller.speculative();
        let decision = controller::create_partitions(image, &self.config.broker, &topics, &mut self.rng);
        let names = topics.into_iter().map(|topic| topic.name);
        let changes = if validate_only { Vec::new() } else { decision.changes };
        let answer = Answered::MorePartitions(names.zip(decision.answer).collect());
        self.commit(now, ticket, changes, answer, out);
    }

    /// Changes settings.
    pub fn alter_configs(
        &mut self,
        now: Now,
        ticket: Ticket,
        alterations: Vec<Alteration>,
        validate_only: bool,
        out: &mut Effects,
    ) {
        let decision = controller::alter(self.metadata.controller.speculative(), &self.config, &alterations);
        let resources = alterations.into_iter().map(|it| (it.kind, it.name));
        let answers = resources.zip(decision.answer).map(|((kind, name), result)| (kind, name, result));
        let changes = if validate_only { Vec::new() } else { decision.changes };
        self.commit(now, ticket, changes, Answered::Altered(answers.collect()), out);
    }

    /// Gives features other levels, or only says whether it would.
    pub fn update_features(
        &mut self,
        now: Now,
        ticket: Ticket,
        (updates, only_check): (Vec<FeatureUpdate>, bool),
        out: &mut Effects,
    ) {
        let decided = controller::update_features(self.metadata.controller.speculative(), &updates);
        let names = updates.into_iter().map(|update| update.name).collect();
        let (changes, result) = match decided {
            Ok(changes) => (if only_check { Vec::new() } else { changes }, Ok(())),
            Err(refused) => (Vec::new(), Err(refused)),
        };
        self.commit(now, ticket, changes, Answered::FeaturesUpdated((names, result)), out);
    }

    /// Makes the topics that a client asks about and that are not there, if it may, and answers about all of them.
    pub fn create_missing(&mut self, now: Now, ticket: Ticket, topics: Vec<String>, out: &mut Effects) {
        let known = |name: &&String| self.metadata.controller.speculative().topic(name).is_none();
        let missing: std::collections::BTreeSet<&String> = topics.iter().filter(known).collect();
        let new: Vec<NewTopic> = missing.into_iter().map(|name| self.wanted_topic(name)).collect();
        if !self.is_controller() {
            // As in Kafka: they are on their way, and the client asks again.
            let refused = new.iter().map(|topic| (topic.name.clone(), ErrorCode::LEADER_NOT_AVAILABLE)).collect();
            self.ask_for_topics(new);
            return self.release(ticket, Outcome::Admin(Box::new(Answered::Metadata { topics, refused })));
        }
        let image = self.metadata.controller.speculative();
        let decision = controller::create(image, &self.config.broker, &new, &mut self.rng);
        let refused =
            new.into_iter().zip(decision.answer).filter_map(|(topic, made)| Some((topic.name, made.err()?.code)));
        let answer = Answered::Metadata { topics, refused: refused.collect() };
        self.commit(now, ticket, decision.changes, answer, out);
    }

    /// Raises the log start offsets of partitions: -1 stands for the high watermark.
    pub fn delete_records(
        &mut self,
        now: Now,
        ticket: Ticket,
        (partitions, timeout): (Vec<(TopicRef, i32, Offset)>, Duration),
        out: &mut Effects,
    ) {
        let key = self.purgatory.key();
        let (deadline, deleted) = (now.monotonic + timeout, Vec::with_capacity(partitions.len()));
        let mut deleting = Deleting { ticket, deadline, deleted, waiting: BTreeMap::new() };
        for (place, (topic, partition, offset)) in partitions.into_iter().enumerate() {
            let raised = self.raise_log_start(now, &topic, partition, offset, out);
            let none = Offset(-1);
            let mut deleted = DeletedRecords { topic, partition, error: ErrorCode::NONE, low_watermark: none };
            match raised {
                Err(error) => deleted.error = error,
                Ok((log, start, done)) => {
                    deleted.low_watermark = start;
                    if !done {
                        self.deletions.waits.insert((log, start, key, place));
                        deleting.waiting.insert(place, (log, start));
                    }
                }
            }
            deleting.deleted.push(deleted);
        }
        if deleting.waiting.is_empty() {
            self.release(ticket, Outcome::Admin(Box::new(Answered::DeletedRecords(deleting.deleted))));
        } else {
            self.deletions.deadlines.insert((deadline, key));
            self.deletions.requests.insert(key, deleting);
        }
    }

    /// The log, its start, and whether that start is durable already.
    fn raise_log_start(
        &mut self,
        now: Now,
        topic: &TopicRef,
        partition: i32,
        offset: Offset,
        out: &mut Effects,
    ) -> Result<(LogId, Offset, bool), ErrorCode> {
        if is_internal(&topic.name) {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        let log = self.leading(topic, partition)?;
        // As in Kafka: what is only compacted is kept whole, key by key.
        if !self.logs.may_delete(log) {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let high_watermark = self.replicas.high_watermark(log);
        let offset = if offset == Offset(-1) { high_watermark } else { offset };
        let start = self.logs.offsets(log).unwrap_or_default().log_start;
        if offset > high_watermark || offset < Offset::ZERO {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if offset <= start {
            return Ok((log, start, self.low_watermark(log) >= start));
        }
        self.logs.advance_log_start(now, log, offset, out);
        Ok((log, offset, false))
    }

    pub(super) fn on_log_start(&mut self, log: LogId, offset: Offset) {
        let Some(replica) = self.replicas.get_mut(log) else { return };
        replica.on_log_start(offset);
        self.deletions.unsaved.entry(log).or_insert((offset, Offset(-1))).0 = offset;
        // Its leader may wait for that.
        self.tell_leader(log);
    }

    pub(super) fn on_log_start_saved(&mut self, log: LogId, offset: Offset) {
        if let Some((start, saved)) = self.deletions.unsaved.get_mut(&log) {
            *saved = offset.max(*saved);
            if saved >= start {
                self.deletions.unsaved.remove(&log);
            }
        }
        self.settle_deletions(log);
    }

    /// Below it no replica in service has anything, by what the followers say, and the leader's disk.
    fn low_watermark(&self, log: LogId) -> Offset {
        let own = self.deletions.unsaved.get(&log).map_or(Offset(i64::MAX), |(_, saved)| *saved);
        let followers = self.replicas.get(log).and_then(Replica::leader).map(Leader::followers);
        let in_service = |id: &BrokerId| self.image().broker(*id).is_some_and(|broker| !broker.fenced);
        let theirs = followers.into_iter().flatten().filter(|(id, _)| in_service(id));
        theirs.fold(own, |least, (_, progress)| least.min(progress.log_start.unwrap_or(Offset(-1))))
    }

    /// Answers those who waited for a log's start that is everyone's now.
    pub(super) fn settle_deletions(&mut self, log: LogId) {
        if self.deletions.waiting_up_to(log, Offset(i64::MAX)).next().is_none() {
            return;
        }
        let done: Vec<_> = self.deletions.waiting_up_to(log, self.low_watermark(log)).collect();
        for wait in done {
            self.finish_deletion(wait, ErrorCode::NONE);
        }
    }

    /// A log failed, or is not led here any more: what became of its start is not known.
    pub(super) fn fail_deletions(&mut self, log: LogId, error: ErrorCode) {
        let failed: Vec<_> = self.deletions.waiting_up_to(log, Offset(i64::MAX)).collect();
        for wait in failed {
            self.finish_deletion(wait, error);
        }
    }

    /// Answers those whose time is up. What they asked for may still come about.
    pub(super) fn give_up_deletions(&mut self, now: Now) {
        while let Some((_, key)) = self.deletions.deadlines.first().copied().filter(|(at, _)| *at <= now.monotonic) {
            let waiting = self.deletions.requests.get(&key).map(|deleting| deleting.waiting.clone());
            for (place, (log, offset)) in waiting.into_iter().flatten() {
                self.finish_deletion((log, offset, key, place), ErrorCode::REQUEST_TIMED_OUT);
            }
        }
    }

    fn finish_deletion(&mut self, wait: (LogId, Offset, WaitKey, usize), error: ErrorCode) {
        self.deletions.waits.remove(&wait);
        let (_, _, key, place) = wait;
        let Some(deleting) = self.deletions.requests.get_mut(&key) else { return };
        if error != ErrorCode::NONE {
            (deleting.deleted[place].error, deleting.deleted[place].low_watermark) = (error, Offset(-1));
        }
        deleting.waiting.remove(&place);
        if deleting.waiting.is_empty()
            && let Some(deleting) = self.deletions.requests.remove(&key)
        {
            self.deletions.deadlines.remove(&(deleting.deadline, key));
            self.release(deleting.ticket, Outcome::Admin(Box::new(Answered::DeletedRecords(deleting.deleted))));
        }
    }

    /// The log directories with the partitions that are wanted.
    pub fn describe_log_dirs(&self, wanted: impl Fn(&TopicPartition) -> bool) -> Vec<LogDirDescribed> {
        let describe = |(place, path): (usize, &String)| {
            let dir = LogDirId(u16::try_from(place).unwrap_or(u16::MAX));
            let views = self.logs.logs().filter_map(|log| Some((log, self.logs.view(log)?)));
            let here = views.filter(|(_, view)| view.dir == dir && wanted(&view.partition));
            let replicas = here.map(|(log, view)| ReplicaDescribed {
                partition: view.partition,
                size: view.size,
                compaction: self.logs.cleaner_view(log),
            });
            let usable = self.logs.is_usable(dir);
            let error = if usable { ErrorCode::NONE } else { ErrorCode::KAFKA_STORAGE_ERROR };
            LogDirDescribed { path: path.clone(), error, replicas: replicas.collect() }
        };
        self.config.broker.storage.log_dirs().iter().enumerate().map(describe).collect()
    }

    /// The producers of a partition.
    ///
    /// # Errors
    /// The partition is not led here.
    pub fn describe_producers(&self, topic: &TopicRef, partition: i32) -> Result<Vec<ProducerView>, ErrorCode> {
        Ok(self.logs.producers(self.leading(topic, partition)?))
    }

    /// Whether a topic that is asked about and is not there is made.
    #[must_use]
    pub const fn creates_topics(&self) -> bool {
        self.config.broker.topics.auto_create
    }

    /// The topic of that name, as committed.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.image().topic(name)
    }
}
