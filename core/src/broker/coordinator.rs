//! The host of the group coordinator: which groups are coordinated here, and how their shards stand on their logs.
//!
//! A shard ([`crate::coordinator`]) knows groups; this knows logs, leaders and clients. Each partition of
//! `__consumer_offsets` that is led here has one, and a group belongs to one partition by the hash of its name:
//!
//! | phase    | a request is told            | until                                                      |
//! |----------|------------------------------|------------------------------------------------------------|
//! | Loading  | COORDINATOR_LOAD_IN_PROGRESS | every record up to the log's end is replayed ([`loading`]) |
//! | Unread   | COORDINATOR_LOAD_IN_PROGRESS | it is read anew, soon: it could not be read just now       |
//! | Settling | COORDINATOR_LOAD_IN_PROGRESS | all of that is committed: nothing is told that may be lost |
//! | Serving  | what the shard decides       | the log fails, loses its end, or goes                      |
//! | Failed   | NOT_COORDINATOR              | it is led anew: the log has a record that cannot be read   |
//!
//! A request may name many groups, of many shards: it is answered when the last of them has answered. Whose connection
//! is gone is forgotten here, and what a shard still says to it is dropped.
//!
//! Absent still: transactional commits, whose markers are passed over when a log is read.

mod loading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::{ErrorCode, Uuid};

use self::loading::Phase;
use super::produce::error_code;
use super::{Broker, GroupsView, Outcome};
use crate::clock::{Instant, Now};
use crate::controller::{Change, MetadataImage, OFFSETS_TOPIC, ResourceKind};
use crate::coordinator::{
    Answer, Decision, GroupSettings, ListRequest, OffsetKey, Record, Request, Shard, ShardView, Topic, Topics,
};
use crate::log::{AppendOrigin, Batch, LogId};
use crate::machine::{ConnId, Effects, Ticket};
use crate::planted::Plant;
use crate::racks::Racks;
use crate::record::{self, BatchBuilder, BatchOptions, Compression, NewRecord};
use crate::types::{BrokerId, Offset, TopicPartition};

/// How long a shard waits before it tries again what time asked of it and its log did not take.
const RETRY: Duration = Duration::from_millis(500);

/// What the shards answered to one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupAnswers {
    /// One for each group that was asked about, or each shard; in no order.
    pub answers: Vec<Answer>,
    /// What `api` must remember of the request.
    pub about: About,
}

/// What an answer needs of its request, beside the version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum About {
    /// Nothing.
    #[default]
    Nothing,
    /// DescribeGroups: what one may do with the groups.
    Operations,
    /// OffsetFetch before version 2: these partitions, each of which is told the group's error.
    Partitions(Vec<(Arc<str>, Vec<i32>)>),
}

/// Every shard here, and who asked them.
#[derive(Clone, Debug, Default)]
pub(super) struct Coordinator {
    /// Over how many partitions the groups are spread: as many as there were at the start, since a group that moved to
    /// another partition would leave its offsets behind.
    spread: Option<i32>,
    shards: BTreeMap<i32, Hosted>,
    by_log: BTreeMap<LogId, i32>,
    deadlines: BTreeSet<(Instant, i32)>,
    /// What groups may be subscribed to; the shards have it too.
    topics: Arc<Topics>,
    asked: BTreeMap<Ticket, Gathering>,
    /// The operator knows that the topic cannot be made.
    told: bool,
}

/// A topic by its id, with its name and the racks of each partition's replicas; `None`: it is no more.
type Known = (Uuid, Option<(Arc<str>, Topic, Vec<Racks>)>);

/// A shard and its log.
#[derive(Clone, Debug)]
struct Hosted {
    log: LogId,
    phase: Phase,
    shard: Shard,
    /// As it stands in `deadlines`.
    deadline: Option<Instant>,
    /// What time asked for was not appended: not again before this.
    not_before: Option<Instant>,
    /// All that is written of the log was read, and there is more of it.
    awaits_write: bool,
    /// Topics that were deleted while the shard was loaded.
    deleted: Vec<Arc<str>>,
}

/// A request whose shards have not all answered.
#[derive(Clone, Debug)]
struct Gathering {
    outstanding: usize,
    gathered: GroupAnswers,
}

impl Coordinator {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn on_closed(&mut self, conn: ConnId) {
        let tickets = Ticket { conn, frame: 0 }..=Ticket { conn, frame: u64::MAX };
        let gone: Vec<Ticket> = self.asked.range(tickets).map(|(ticket, _)| *ticket).collect();
        for ticket in gone {
            self.asked.remove(&ticket);
        }
    }

    /// Topics are there, or are no more.
    fn set_topics(&mut self, version: i64, known: &[Known]) {
        // The shards let go of it, so that it is changed in place.
        let nothing: Arc<Topics> = Arc::default();
        self.shards.values_mut().for_each(|hosted| hosted.shard.set_topics(nothing.clone()));
        let topics = Arc::make_mut(&mut self.topics);
        for (id, known) in known {
            match known {
                Some((name, topic, racks)) => {
                    topics.set(name, *topic, version);
                    topics.place(*id, racks, version);
                }
                None => topics.remove(*id, version),
            }
        }
        self.shards.values_mut().for_each(|hosted| hosted.shard.set_topics(self.topics.clone()));
    }

    /// A shard was called: its deadline may have moved.
    fn reschedule(&mut self, partition: i32) {
        let Some(hosted) = self.shards.get_mut(&partition) else { return };
        let deadline = match hosted.phase {
            Phase::Serving => {
                let not_before = hosted.not_before;
                let timer = hosted.shard.next_timer().map(|at| not_before.map_or(at, |not_before| at.max(not_before)));
                // Who waits for the log is told that it is late, whether or not the log takes anything.
                [timer, hosted.shard.next_late()].into_iter().flatten().min()
            }
            Phase::Unread { again } => Some(again),
            Phase::Loading { .. } | Phase::Settling { .. } | Phase::Failed => None,
        };
        if deadline == hosted.deadline {
            return;
        }
        if let Some(at) = hosted.deadline {
            self.deadlines.remove(&(at, partition));
        }
        self.deadlines.extend(deadline.map(|at| (at, partition)));
        hosted.deadline = deadline;
    }
}

/// The racks of these brokers, of those that say it.
fn racks_of(brokers: &[BrokerId], image: &MetadataImage) -> Racks {
    brokers.iter().filter_map(|&id| Some(image.broker(id)?.rack.as_deref()?.into())).collect()
}

impl Broker {
    /// Asks the shards of the groups that the requests name. `gathered` has what is answered already.
    pub fn ask_groups(
        &mut self,
        now: Now,
        ticket: Ticket,
        requests: &[Request<'_>],
        mut gathered: GroupAnswers,
        out: &mut Effects,
    ) {
        let mut calls = Vec::with_capacity(requests.len());
        for request in requests {
            match self.shard_of(request) {
                Ok(partition) => calls.push((partition, request)),
                Err(code) => gathered.answers.push(request.refused(code)),
            }
        }
        self.ask_shards(now, ticket, &calls, gathered, out);
    }

    /// Asks every shard for its groups.
    pub fn list_groups(&mut self, now: Now, ticket: Ticket, request: ListRequest<'_>, out: &mut Effects) {
        let request = Request::List(request);
        if self.loads_groups() {
            let answers = vec![request.refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)];
            return self.release_groups(ticket, GroupAnswers { answers, ..GroupAnswers::default() });
        }
        let serving = self.coordinator.shards.iter().filter(|(_, hosted)| hosted.phase == Phase::Serving);
        let calls: Vec<_> = serving.map(|(partition, _)| (*partition, &request)).collect();
        self.ask_shards(now, ticket, &calls, GroupAnswers::default(), out);
    }

    fn ask_shards(
        &mut self,
        now: Now,
        ticket: Ticket,
        calls: &[(i32, &Request<'_>)],
        gathered: GroupAnswers,
        out: &mut Effects,
    ) {
        if calls.is_empty() {
            return self.release_groups(ticket, gathered);
        }
        self.coordinator.asked.insert(ticket, Gathering { outstanding: calls.len(), gathered });
        for (partition, request) in calls {
            let hosted = self.coordinator.shards.get_mut(partition).expect("a call is to a shard that serves");
            let decision = hosted.shard.on_request(now, request, ticket);
            self.carry_out(now, *partition, decision, out);
        }
    }

    /// The shard that is to decide about a request.
    fn shard_of(&self, request: &Request<'_>) -> Result<i32, ErrorCode> {
        let (group, may_be_empty) = group_of(request);
        if group.is_empty() && !may_be_empty {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let partition = self.group_partition(group).ok_or(ErrorCode::NOT_COORDINATOR)?;
        let hosted = self.coordinator.shards.get(&partition).ok_or(ErrorCode::NOT_COORDINATOR)?;
        match hosted.phase {
            Phase::Serving => Ok(partition),
            Phase::Loading { .. } if self.config.planted.has(Plant::Grp09) && is_look(request) => Ok(partition),
            Phase::Loading { .. } | Phase::Unread { .. } | Phase::Settling { .. } => {
                Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
            }
            Phase::Failed => Err(ErrorCode::NOT_COORDINATOR),
        }
    }

    /// The partition of `__consumer_offsets` that a group belongs to; `None` if there is no such topic yet.
    #[must_use]
    pub fn group_partition(&self, group: &str) -> Option<i32> {
        let spread = self.coordinator.spread.or_else(|| {
            let topic = self.image().topic(OFFSETS_TOPIC)?;
            i32::try_from(topic.partitions.len()).ok()
        })?;
        // Kafka's own: the absolute value of the least number is 0.
        let hash = java_hash(group).checked_abs().unwrap_or(0);
        hash.checked_rem(spread)
    }

    /// `group.coordinator.rebalance.protocols`
    #[must_use]
    pub fn serves_consumer_groups(&self) -> bool {
        self.config.broker.coordinators.groups.protocols.iter().any(|protocol| protocol == "consumer")
    }

    /// A random id, for a member that has none.
    pub fn draw_uuid(&mut self) -> Uuid {
        self.rng.uuid()
    }

    /// Sends what a shard said, and appends what it wants to have written; whether the log has taken that.
    fn carry_out(&mut self, now: Now, partition: i32, decision: Decision, out: &mut Effects) -> bool {
        let Decision { records, answers } = decision;
        self.deliver(answers);
        let mut is_taken = true;
        if !records.is_empty() {
            let appended = self.append_records(now, partition, &records, out);
            is_taken = appended.is_ok();
            let Some(hosted) = self.coordinator.shards.get_mut(&partition) else { return is_taken };
            match appended {
                Ok(end) => {
                    hosted.not_before = None;
                    hosted.shard.on_appended(now, end);
                }
                Err(code) => {
                    let answers = hosted.shard.on_failed(now, code);
                    self.deliver(answers);
                }
            }
        }
        self.coordinator.reschedule(partition);
        is_taken
    }

    /// Appends one atomic batch to a shard's log: the offset after it.
    fn append_records(
        &mut self,
        now: Now,
        partition: i32,
        records: &[Record],
        out: &mut Effects,
    ) -> Result<Offset, ErrorCode> {
        let log = self.coordinator.shards.get(&partition).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?.log;
        let leader = self.replicas.get(log).and_then(|replica| replica.leader());
        let epoch = leader.ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?.leader_epoch();
        if !self.replicas.has_enough_in_sync(log, self.config.planted) {
            return Err(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        // No reader would take more, and nothing of that size is to be built before that is known.
        let most = usize::try_from(self.config.broker.limits.batch_max_inflated_bytes).unwrap_or(usize::MAX);
        if records.iter().map(Record::size).sum::<usize>() > most {
            return Err(ErrorCode::MESSAGE_TOO_LARGE);
        }
        let mut builder = BatchBuilder::new(BatchOptions { compression: self.offsets_codec(), ..Default::default() });
        for Record { key, value } in records {
            let value = value.as_deref();
            builder.append(&NewRecord { timestamp: now.wall.0, key: Some(key), value, headers: &[] });
        }
        let batch = builder.build();
        let largest = self.replicas.policy(log).map_or(u32::MAX, |policy| policy.max_message_bytes);
        if u32::try_from(batch.len()).is_ok_and(|len| len > largest) {
            return Err(ErrorCode::MESSAGE_TOO_LARGE);
        }
        let facts = record::scan(&batch, u64::MAX).expect("a batch of our own is well-formed");
        let batch = Batch { bytes: Bytes::from(batch), facts: &facts };
        let awaited = self.counts_durable();
        let appended = self.logs.append(now, log, epoch, batch, AppendOrigin::Coordinator, awaited, out);
        appended.map(|appended| appended.last_offset + 1).map_err(error_code)
    }

    fn offsets_codec(&self) -> Compression {
        let append = self.config.broker.topic(&self.overrides_of(OFFSETS_TOPIC)).append;
        match self.config.broker.coordinators.offsets.compression_codec {
            1 => Compression::Gzip(append.gzip_level),
            2 => Compression::Snappy,
            3 => Compression::Lz4(append.lz4_level),
            4 => Compression::Zstd(append.zstd_level),
            _ => Compression::None,
        }
    }

    /// Shards said this: a request whose last answer it is, is answered.
    fn deliver(&mut self, answers: Vec<(Ticket, Answer)>) {
        for (ticket, answer) in answers {
            let Some(asked) = self.coordinator.asked.get_mut(&ticket) else { continue };
            asked.gathered.answers.push(answer);
            asked.outstanding -= 1;
            if asked.outstanding == 0
                && let Some(Gathering { gathered, .. }) = self.coordinator.asked.remove(&ticket)
            {
                self.release_groups(ticket, gathered);
            }
        }
    }

    fn release_groups(&mut self, ticket: Ticket, gathered: GroupAnswers) {
        self.release(ticket, Outcome::Groups(Box::new(gathered)));
    }

    /// A log is committed further: what rests on that is told.
    pub(super) fn on_groups_committed(&mut self, now: Now, log: LogId, high_watermark: Offset, out: &mut Effects) {
        let Some(&partition) = self.coordinator.by_log.get(&log) else { return };
        let Some(hosted) = self.coordinator.shards.get_mut(&partition) else { return };
        match hosted.phase {
            Phase::Serving => {
                let answers = hosted.shard.on_committed(now, high_watermark);
                self.deliver(answers);
                self.coordinator.reschedule(partition);
            }
            Phase::Settling { until } if until <= high_watermark => self.serve_groups(now, partition, out),
            Phase::Settling { .. } | Phase::Loading { .. } | Phase::Unread { .. } | Phase::Failed => {}
        }
    }

    /// What time asks of the shards.
    pub(super) fn on_groups_timeout(&mut self, now: Now, out: &mut Effects) {
        let due = self.coordinator.deadlines.iter().take_while(|(deadline, _)| *deadline <= now.monotonic);
        let due: Vec<i32> = due.map(|(_, partition)| *partition).collect();
        let confirmed = self.logs.confirmed_time(now);
        for partition in due {
            // One thing at a time, and whatever is due by now: nothing is when this is over.
            while let Some(hosted) = self.coordinator.shards.get_mut(&partition)
                && hosted.deadline.is_some_and(|deadline| deadline <= now.monotonic)
            {
                if let (Phase::Unread { .. }, log) = (hosted.phase, hosted.log) {
                    self.reload_groups(now, log, out);
                    continue;
                }
                let decision = hosted.shard.on_timeout(now, confirmed);
                // Not for what clients ask: who commits again and again would hold back what time asks for ever.
                if !self.carry_out(now, partition, decision, out)
                    && let Some(hosted) = self.coordinator.shards.get_mut(&partition)
                {
                    hosted.not_before = Some(now.monotonic + RETRY);
                    self.coordinator.reschedule(partition);
                }
            }
        }
    }

    /// Whether a shard does not know its groups yet.
    pub fn loads_groups(&self) -> bool {
        self.coordinator.shards.values().any(|hosted| hosted.phase.is_loading())
    }

    /// What each shard that serves takes for committed, and its log.
    pub fn shards(&self) -> impl Iterator<Item = (TopicPartition, ShardView)> {
        let serving = self.coordinator.shards.iter().filter(|(_, hosted)| hosted.phase == Phase::Serving);
        serving.map(|(partition, hosted)| (TopicPartition::new(OFFSETS_TOPIC, *partition), hosted.shard.view()))
    }

    /// How the groups here are.
    pub(super) fn groups_view(&self) -> GroupsView {
        let mut view = GroupsView { asking: self.coordinator.asked.len(), ..GroupsView::default() };
        let mut states = BTreeMap::new();
        for hosted in self.coordinator.shards.values() {
            match hosted.phase {
                Phase::Loading { .. } | Phase::Unread { .. } | Phase::Settling { .. } => view.loading += 1,
                Phase::Serving => {
                    view.serving += 1;
                    view.offsets += hosted.shard.offsets_count();
                    hosted.shard.states().for_each(|state| *states.entry(state.name()).or_insert(0) += 1);
                }
                Phase::Failed => view.failed += 1,
            }
        }
        view.groups = states.into_iter().collect();
        view
    }

    /// The metadata has changed: groups may be subscribed to what there is now. At the start there are no changes. The
    /// names of the topics that are no more.
    pub(super) fn on_topics_changed(&mut self, learned: Option<&[Change]>) -> Vec<Arc<str>> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "few changes make, move or take away partitions")]
        let id_of = |change: &Change| match change {
            Change::Partition(new) => Some(new.topic_id),
            Change::PartitionChange { topic_id, delta, .. } if delta.replicas.is_some() => Some(*topic_id),
            Change::RemoveTopic { id } => Some(*id),
            _ => None,
        };
        // A broker that starts may have been carried to another rack.
        let moves = |change: &Change| matches!(change, Change::RegisterBroker { .. });
        let image = self.metadata.image();
        let ids: BTreeSet<Uuid> = match learned {
            Some(learned) if !learned.iter().any(moves) => learned.iter().filter_map(id_of).collect(),
            learned => {
                let gone = learned.iter().flat_map(|learned| learned.iter().filter_map(id_of));
                image.topics().map(|topic| topic.id).chain(gone).collect()
            }
        };
        let known = ids.into_iter().map(|id| {
            let topic = image.topic_by_id(id).map(|topic| {
                let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                let racks = topic.partitions.iter().map(|it| racks_of(&it.replicas, image));
                (Arc::clone(&topic.name), Topic { id, partitions }, racks.collect())
            });
            (id, topic)
        });
        let known: Vec<_> = known.collect();
        #[expect(clippy::wildcard_enum_match_arm, reason = "only one takes a topic away")]
        let name_of = |change: &Change| match change {
            Change::RemoveTopic { id } => self.coordinator.topics.name(*id).cloned(),
            _ => None,
        };
        // They may be there again by now.
        let gone = learned.unwrap_or_default().iter().filter_map(name_of).collect();
        if !known.is_empty() {
            let version = image.end().0;
            self.coordinator.set_topics(version, &known);
        }
        gone
    }

    /// What groups are to obey now.
    fn group_settings(&self) -> GroupSettings {
        let overrides = self.image().configs(ResourceKind::Group).clone();
        GroupSettings { overrides, planted: self.config.planted, ..GroupSettings::of(&self.config.broker) }
    }

    /// Settings of brokers or groups have changed.
    pub(super) fn on_group_settings_changed(&mut self) {
        let settings = self.group_settings();
        self.coordinator.shards.values_mut().for_each(|hosted| hosted.shard.set_settings(settings.clone()));
    }

    /// Topics are no more, wherever they were: their offsets go too, now or when the shard is loaded.
    pub(super) fn on_topics_deleted(&mut self, now: Now, topics: &[Arc<str>], out: &mut Effects) {
        if topics.is_empty() {
            return;
        }
        if topics.iter().any(|topic| &**topic == OFFSETS_TOPIC) {
            self.coordinator.spread = None;
        }
        let shards: Vec<i32> = self.coordinator.shards.keys().copied().collect();
        for shard in shards {
            let hosted = self.coordinator.shards.get_mut(&shard).expect("it is there");
            if hosted.phase == Phase::Serving {
                let gone = hosted.shard.offsets_of(topics);
                self.forget_offsets(now, shard, gone, out);
            } else {
                hosted.deleted.extend_from_slice(topics);
            }
        }
    }

    /// Takes offsets away, batch by batch. What cannot be written now is made up for when offsets expire.
    fn forget_offsets(&mut self, now: Now, partition: i32, gone: Vec<Vec<OffsetKey>>, out: &mut Effects) {
        for batch in gone {
            let Some(hosted) = self.coordinator.shards.get_mut(&partition) else { return };
            let decision = hosted.shard.forget_offsets(now, batch);
            self.carry_out(now, partition, decision, out);
        }
    }
}

/// Whether it is answered by what is committed, at once.
const fn is_look(request: &Request<'_>) -> bool {
    matches!(request, Request::FetchOffsets(it) if !it.require_stable)
}

/// The group that a request is about, and whether it may be the one without a name (as clients before groups had it).
fn group_of<'a>(request: &Request<'a>) -> (&'a str, bool) {
    match request {
        Request::Join(it) => (it.group, false),
        Request::Sync(it) => (it.group, false),
        Request::Heartbeat(it) => (it.group, false),
        Request::Leave(it) => (it.group, false),
        Request::ConsumerHeartbeat(it) => (it.group, false),
        Request::ConsumerDescribe { group } => (group, true),
        Request::DeleteOffsets(it) => (it.group, false),
        Request::Commit(it) => (it.group, true),
        Request::FetchOffsets(it) => (it.group, true),
        Request::Describe { group } => (group, true),
        Request::Delete { groups } => (groups.first().copied().unwrap_or_default(), true),
        Request::List(_) => ("", true),
    }
}

/// Java's `String.hashCode`, over UTF-16.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::java_hash;

    #[test]
    fn groups_are_hashed_as_by_java() {
        let hashes = ["", "a", "group", "my-consumer", "été-妹-🐀", "polygenelubricants"].map(java_hash);
        assert_eq!(hashes, [0, 97, 98_629_247, -901_342_473, 1_027_395_270, i32::MIN]);
    }
}
