//! The broker: what a node does with what its parts know.
//!
//! Logs ([`crate::log`]) know offsets, replicas ([`crate::replication`]) know which of them count, the controller
//! ([`crate::controller`]) knows which topics there are. Siblings never call each other: their outcomes come back
//! here, are translated, and go on from here.
//!
//! * [`boot`]: from an empty machine to a leader of its partitions; and the end
//! * [`produce`], [`fetch`], [`offsets`]: the data path; [`purgatory`]: those who wait
//! * [`coordinator`]: groups, and the logs that they live in
//! * [`quorum`]: this node among those that keep the metadata; [`cluster`]: among the brokers
//! * [`metadata`]: changes to the metadata, from decision to effect; [`snapshots`] of it; [`producer_ids`]
//! * [`replicas`]: the partitions that are here
//!
//! A request's answer leaves as a released [`Outcome`]; how it is encoded is `api`'s.

mod admin;
mod boot;
mod cluster;
mod coordinator;
mod fetch;
mod found;
mod metadata;
mod nearest;
mod offsets;
mod produce;
mod producer_ids;
mod purgatory;
mod quorum;
mod replicas;
mod snapshots;
mod view;

pub use admin::{Answered, DeletedRecords, DeletedTopic, LogDirDescribed, PartitionResults, ReplicaDescribed};
pub use cluster::{Ask, FetchFrom, FetchedFrom, Follower, Heartbeat, PeerCall, PeerCallId, Said, Standing, To};
pub use coordinator::{About, GroupAnswers};
pub use fetch::{FetchOutcome, FetchRequest, Fetched};
pub use nearest::ClientMetadata;
pub use offsets::{ListOffset, Listed, OffsetSpec};
pub use produce::{ProduceBatch, ProduceRequest, Produced};
pub use view::{ClusterView, CompactionView, GroupsView, LogDirView, MetadataView, PartitionView, View};

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::{ErrorCode, Uuid};

use self::admin::Deletions;
use self::boot::{METADATA_DIR, Phase};
use self::cluster::Cluster;
use self::coordinator::Coordinator;
use self::fetch::ReadingFetch;
use self::metadata::Metadata;
use self::offsets::Listing;
use self::produce::Rewrites;
use self::purgatory::{Progress, Purgatory, WaitKey};
use self::replicas::Replicas;
use crate::clock::{Instant, Now};
use crate::config::{Config, FlushMode};
use crate::controller::{METADATA_TOPIC, is_internal};
use crate::job::Report;
use crate::log::{self, LogEvent, LogId, LogManager};
use crate::machine::{ConnId, DiskError, DiskResult, Effects, JobId, Level, ListenerId, LogDirId, OpId, Ticket};
use crate::planted::Plant;
use crate::raft::{self, Raft, SaveId};
use crate::replication::{FetchSessions, Limits, Replica};
use crate::rng::Rng;
use crate::types::{BrokerId, Offset};

/// The most partitions that one fetch session remembers: as many as a request may name.
const SESSION_PARTITIONS: usize = 100_000;

/// A topic as a client speaks of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRef {
    /// Its name; empty if the client gave an id that nobody has.
    pub name: Arc<str>,
    /// The id that the client gave; zero if it gave the name.
    pub id: Uuid,
}

/// Where a client finds a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// Which broker.
    pub id: BrokerId,
    /// Its advertised host.
    pub host: &'a str,
    /// Its advertised port.
    pub port: u16,
    /// `broker.rack`
    pub rack: Option<&'a str>,
    /// Whether it is out of service.
    pub is_fenced: bool,
}

/// What a request came to, when it is not answered at once.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Produce.
    Produce { produced: Vec<Produced>, acks: i16 },
    /// Fetch.
    Fetch(FetchOutcome),
    /// ListOffsets.
    ListOffsets(Vec<Listed>),
    /// A change of the metadata, or what waited for one.
    Admin(Box<Answered>),
    /// What the groups' shards said.
    Groups(Box<GroupAnswers>),
    /// An answer to another node of the metadata quorum, with what its log has.
    Quorum(Box<(raft::Reply, Bytes)>),
    /// What the controller answered to a request that was forwarded: the whole frame, and the version that it is in.
    Forwarded { version: i16, frame: Bytes },
    /// The connection is closed instead.
    Close,
}

/// Everything that a node is, but for its connections.
#[derive(Clone, Debug)]
pub struct Broker {
    config: Config,
    phase: Phase,
    logs: LogManager,
    replicas: Replicas,
    metadata: Metadata,
    purgatory: Purgatory,
    sessions: FetchSessions,
    rewrites: Rewrites,
    questions: Questions,
    looking: Looking,
    deletions: Deletions,
    coordinator: Coordinator,
    cluster: Cluster,
    rng: Rng,
    released: Vec<(Ticket, Outcome)>,
}

/// Requests that wait for the disk.
#[derive(Clone, Debug, Default)]
struct Looking {
    fetches: BTreeMap<WaitKey, ReadingFetch>,
    listings: BTreeMap<WaitKey, Listing>,
}

/// Who asked the logs for something that the disk must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Fetch(WaitKey, usize),
    Offset(WaitKey, usize),
    Boot(boot::Question),
    Groups(LogId),
    Vote(SaveId),
    Snapshot(snapshots::Question),
    Quorum,
}

/// What was asked and is not answered yet.
#[derive(Clone, Debug, Default)]
struct Questions {
    last: u64,
    asked: BTreeMap<log::Ticket, Pending>,
}

impl Questions {
    /// A ticket that was never used.
    fn ticket(&mut self) -> log::Ticket {
        self.last += 1;
        log::Ticket(self.last)
    }

    fn ask(&mut self, pending: Pending) -> log::Ticket {
        let ticket = self.ticket();
        self.asked.insert(ticket, pending);
        ticket
    }

    fn answered(&mut self, ticket: log::Ticket) -> Option<Pending> {
        self.asked.remove(&ticket)
    }

    /// Nobody waits for an answer any more. Whether somebody did.
    fn forget(&mut self, pending: Pending) -> bool {
        let before = self.asked.len();
        self.asked.retain(|_, asked| *asked != pending);
        self.asked.len() < before
    }
}

impl Broker {
    /// A broker that has read nothing yet.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        let slots = usize::try_from(config.broker.fetch.max_sessions).unwrap_or(usize::MAX);
        Self {
            phase: Phase::default(),
            logs: LogManager::new(boot::log_manager_config(&config.broker, seed), config.planted),
            replicas: Replicas::default(),
            metadata: Metadata::new(&config),
            purgatory: Purgatory::new(config.broker.limits.purgatory_max_requests),
            sessions: FetchSessions::new(Limits { slots, partitions: SESSION_PARTITIONS }),
            rewrites: Rewrites::default(),
            questions: Questions::default(),
            looking: Looking::default(),
            deletions: Deletions::default(),
            coordinator: Coordinator::default(),
            cluster: Cluster::default(),
            rng: Rng::new(seed),
            released: Vec::new(),
            config,
        }
    }

    /// A file operation completed.
    pub fn on_disk(&mut self, now: Now, op: OpId, result: DiskResult, out: &mut Effects) {
        self.logs.on_disk(now, op, result, out);
    }

    /// A job completed.
    pub fn on_job(&mut self, now: Now, job: JobId, report: Report, out: &mut Effects) {
        match (self.rewrites.jobs.remove(&job), report) {
            (Some(log), Report::Recompressed(result)) => self.on_recompressed(now, log, result, out),
            (_, report) => self.logs.on_job(now, job, Box::new(report), out),
        }
    }

    /// Some deadline has come.
    pub fn on_timeout(&mut self, now: Now, out: &mut Effects) {
        self.logs.on_timeout(now, out);
        self.on_groups_timeout(now, out);
        self.on_quorum_timeout(now, out);
        self.give_up_deletions(now);
        while let Some(key) = self.purgatory.overdue(now.monotonic) {
            let known = self.give_up_produce(key) || self.give_up_fetch(key, out);
            assert!(known, "who has a deadline waits for something");
        }
    }

    /// A connection has another frame: the fetch that is parked on it is answered with what there is.
    pub fn on_next_frame(&mut self, conn: ConnId, out: &mut Effects) {
        if let Some(key) = self.purgatory.parked_on(conn) {
            self.give_up_fetch(key, out);
        }
    }

    /// A connection is gone: nobody waits for its fetch any more, nor for what groups or the controller say to it.
    pub fn on_closed(&mut self, now: Now, conn: ConnId) {
        self.hasten_session(now, conn);
        self.stop_forwarding_for(conn);
        self.coordinator.on_closed(conn);
        if let Some(key) = self.purgatory.parked_on(conn) {
            self.purgatory.take_fetch(key);
        }
    }

    /// The end of a step: what the logs did is acted on, and a sync starts if one is due.
    pub fn settle(&mut self, now: Now, out: &mut Effects) {
        loop {
            self.logs.settle(now, out);
            // Settling may be the end of something too: nothing may wait for the next step, which may never come.
            let mut events = self.logs.take_events();
            let is_over = events.is_empty();
            for event in events.drain(..) {
                self.on_log_event(now, event, out);
            }
            self.logs.give_back(events);
            if is_over && !self.attend(now, out) {
                return;
            }
        }
    }

    /// When [`Self::on_timeout`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let quorum = self.metadata.raft().and_then(Raft::next_deadline);
        let deadlines = [
            self.logs.next_deadline(),
            self.purgatory.next_deadline(),
            self.deletions.next_deadline(),
            self.coordinator.next_deadline(),
            quorum,
            self.attention(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// What requests came to since the last call, in the order of release.
    pub fn released(&mut self) -> Vec<(Ticket, Outcome)> {
        std::mem::take(&mut self.released)
    }

    /// Takes the list back, empty, to be used again.
    pub fn give_back(&mut self, list: Vec<(Ticket, Outcome)>) {
        debug_assert!(list.is_empty() && self.released.is_empty(), "nothing is released by an answer");
        self.released = list;
    }

    /// Whether clients are served.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// The configuration, dynamic settings included.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A topic as a client names it: by name, or, where that is empty, by id.
    #[must_use]
    pub fn topic_ref(&self, name: &str, id: Uuid) -> TopicRef {
        let image = self.metadata.image();
        let known = if id == Uuid::default() { image.topic(name) } else { image.topic_by_id(id) };
        let name = known.map_or_else(|| Arc::from(name), |topic| Arc::clone(&topic.name));
        TopicRef { name, id }
    }

    /// Every unfenced broker at the address that a client of `listener` is told.
    pub fn endpoints(&self, listener: ListenerId) -> impl Iterator<Item = Address<'_>> {
        self.all_endpoints(listener).filter(|address| !address.is_fenced)
    }

    /// The same, and of those that are out of service.
    pub fn all_endpoints(&self, listener: ListenerId) -> impl Iterator<Item = Address<'_>> {
        let bound = self.config.broker.listeners.bound.get(usize::from(listener.0));
        let name = bound.map_or("", |bound| bound.endpoint.name.as_str());
        self.image().brokers().filter_map(move |(id, broker)| {
            let endpoint = broker.endpoints.iter().find(|endpoint| endpoint.name == name)?;
            let (host, port, rack) = (&*endpoint.host, endpoint.port, broker.rack.as_deref());
            Some(Address { id, host, port, rack, is_fenced: broker.fenced })
        })
    }

    /// This node's id.
    #[must_use]
    pub const fn node(&self) -> BrokerId {
        BrokerId(self.config.broker.node.id)
    }

    fn on_log_event(&mut self, now: Now, event: LogEvent, out: &mut Effects) {
        match event {
            LogEvent::BootDone(boot) => self.on_logs_recovered(now, *boot, out),
            LogEvent::Written { log, end } => self.on_written(now, log, end, out),
            LogEvent::Durable { log, end } => self.on_durable(now, log, end, out),
            LogEvent::Cut { log, end } if self.metadata.is_log(log) => self.on_metadata_cut(now, end, out),
            LogEvent::Cut { log, end } => {
                self.fail_produces(log, end, ErrorCode::KAFKA_STORAGE_ERROR);
                self.reload_groups(now, log, out);
            }
            LogEvent::ReadDone { ticket, plan } => {
                if let Some(Pending::Fetch(key, place)) = self.questions.answered(ticket) {
                    self.on_fetch_read((key, place), plan);
                }
            }
            LogEvent::TimestampDone { ticket, plan } => {
                if let Some(Pending::Offset(key, place)) = self.questions.answered(ticket) {
                    self.on_listed((key, place), plan);
                }
            }
            LogEvent::BytesDone { ticket, bytes } => match self.questions.answered(ticket) {
                Some(Pending::Groups(log)) => self.on_group_bytes(now, log, bytes, out),
                Some(Pending::Boot(boot::Question::Replay)) => self.on_bytes(now, bytes, out),
                Some(Pending::Quorum) => self.on_quorum_bytes(ticket, bytes),
                _ => {}
            },
            LogEvent::Saved { ticket } => self.on_saved(now, ticket, out),
            LogEvent::Loaded { ticket, result } => match self.questions.answered(ticket) {
                Some(Pending::Boot(boot::Question::Snapshot(id))) => self.on_snapshot_loaded(now, id, result, out),
                Some(Pending::Boot(question)) => self.on_loaded(now, question, result, out),
                Some(Pending::Snapshot(snapshots::Question::Read(id))) => self.on_snapshot_read(now, id, result, out),
                _ => {}
            },
            LogEvent::LogStartRaised { log, offset } => self.on_log_start(log, offset),
            LogEvent::LogStartSaved { log, offset } if self.metadata.is_log(log) => {
                self.on_metadata_start_saved(now, offset, out);
            }
            LogEvent::LogStartSaved { log, offset } => self.on_log_start_saved(log, offset),
            LogEvent::Damaged { log, damage } => {
                self.mark_damaged(log, damage.unreadable);
                self.take_offline(log, &format!("is damaged ({damage}); nothing of it is served or cut"), out);
            }
            LogEvent::DirOffline { dir, error } => self.on_dir_offline(now, dir, error, out),
            LogEvent::DirFull { dir } => {
                self.note_dir(Level::Error, dir, "is full: writes are refused until there is room", out)
            }
            LogEvent::DirSpace { dir } => {
                self.note_dir(Level::Info, dir, "has room again", out);
                self.on_room(now, dir, out);
            }
            LogEvent::Truncated { log, end } if self.metadata.is_log(log) => self.on_metadata_truncated(now, end, out),
            LogEvent::Truncated { log, .. } => self.on_truncated(log),
            LogEvent::Created { .. } | LogEvent::Deleted { .. } => {}
            LogEvent::ShutdownDone => self.on_logs_closed(out),
        }
    }

    fn on_written(&mut self, now: Now, log: LogId, end: Offset, out: &mut Effects) {
        self.release_produces(log, Progress::Written, end);
        if self.metadata.is_log(log) {
            self.on_metadata_progress(now, out);
        }
        let early =
            self.config.planted.has(Plant::Isr25) && self.replicas.get(log).is_some_and(|it| it.leader().is_some());
        if (early || !self.counts_durable()) && !self.metadata.is_log(log) {
            self.on_counted(now, log, end, out);
        }
        self.wake_followers(log, out);
        self.load_further(now, log, out);
    }

    fn on_durable(&mut self, now: Now, log: LogId, end: Offset, out: &mut Effects) {
        if self.metadata.is_log(log) {
            self.on_metadata_progress(now, out);
        } else if self.counts_durable() {
            self.on_counted(now, log, end, out);
        }
    }

    /// Whether a partition's high watermark waits for syncs (`flush=quorum`), or only for writes.
    pub(super) fn counts_durable(&self) -> bool {
        self.config.broker.storage.flush == FlushMode::Quorum
    }

    /// The offset that counts rose: the high watermark may follow, here or at the leader.
    fn on_counted(&mut self, now: Now, log: LogId, counted: Offset, out: &mut Effects) {
        match self.replicas.get_mut(log).and_then(|replica| replica.leader_mut()) {
            Some(leader) => leader.on_own(counted),
            None => return self.tell_leader(log),
        }
        self.on_watermark(now, log, out);
    }

    /// Something rose that the high watermark of a log that is led here depends on: with it those who wait for it.
    fn on_watermark(&mut self, now: Now, log: LogId, out: &mut Effects) {
        self.settle_deletions(log);
        let Some(high_watermark) = self.replicas.advance(log, self.config.planted) else { return };
        self.logs.set_high_watermark(log, high_watermark);
        self.release_produces(log, Progress::Committed, high_watermark);
        self.on_groups_committed(now, log, high_watermark, out);
        self.wake_fetches(log, out);
    }

    fn on_dir_offline(&mut self, now: Now, dir: LogDirId, error: DiskError, out: &mut Effects) {
        let what = format!("failed and is offline for this process, with its partitions: {error}");
        self.note_dir(Level::Error, dir, &what, out);
        if self.fails_start(dir) {
            return self.refuse("the log directory that holds the metadata log failed during the start", out);
        }
        self.go_on_without(now, dir, out);
        let here = |log: &LogId| self.logs.view(*log).is_some_and(|view| view.dir == dir);
        let lost: Vec<LogId> = self.replicas.iter().map(|replica| replica.log).filter(here).collect();
        for log in lost {
            self.take_offline(log, "is offline with its directory", out);
        }
        if dir == METADATA_DIR {
            self.fail_metadata(now, out);
            self.stop_without_metadata(now, out);
        }
    }

    /// A log cannot be trusted any more: it is not led, and those who wait for it are told so (P6, P9).
    fn take_offline(&mut self, log: LogId, why: &str, out: &mut Effects) {
        if let Some(replica) = self.replicas.get_mut(log) {
            let partition = replica.partition.clone();
            replica.become_offline();
            out.note(Level::Error, format!("{partition} {why}"));
        }
        self.unfollow(log);
        self.fail_produces(log, Offset::ZERO, ErrorCode::KAFKA_STORAGE_ERROR);
        self.resign_groups(log);
        self.fail_deletions(log, ErrorCode::KAFKA_STORAGE_ERROR);
        self.wake_fetches(log, out);
        self.place(log);
    }

    fn note_dir(&self, level: Level, dir: LogDirId, what: &str, out: &mut Effects) {
        out.note(level, format!("log directory {} {what}", self.dir_name(dir)));
    }

    fn dir_name(&self, dir: LogDirId) -> &str {
        self.config.broker.storage.log_dirs().get(usize::from(dir.0)).map_or("?", String::as_str)
    }

    fn release(&mut self, ticket: Ticket, outcome: Outcome) {
        self.released.push((ticket, outcome));
    }

    /// The log of a partition that this broker leads.
    fn leading(&self, topic: &TopicRef, partition: i32) -> Result<LogId, ErrorCode> {
        let replica = self.replica_of(topic, partition)?;
        match replica.leader() {
            Some(_) => Ok(replica.log),
            None if replica.is_offline() => Err(ErrorCode::KAFKA_STORAGE_ERROR),
            None => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        }
    }

    /// This broker's replica of a partition.
    fn replica_of(&self, topic: &TopicRef, partition: i32) -> Result<&Replica, ErrorCode> {
        let by_id = topic.id != Uuid::default();
        let unknown = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        // A fetch session that began before the topic was known here has only its id.
        let unnamed = by_id && topic.name.is_empty();
        let found = unnamed.then(|| self.metadata.image().topic_by_id(topic.id).ok_or(unknown)).transpose()?;
        let name = found.map_or(&*topic.name, |found| &*found.name);
        let Some(log) = self.replicas.log(name, partition) else {
            let known = self.metadata.image().partition(name, partition).is_some();
            return Err(if known { ErrorCode::NOT_LEADER_OR_FOLLOWER } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION });
        };
        let replica = self.replicas.get(log).expect("the indexes agree");
        if by_id && replica.topic_id != topic.id {
            return Err(unknown);
        }
        Ok(replica)
    }

    /// Fences a client that believes in another leader epoch (KIP-320); -1 does not say.
    fn check_leader_epoch(&self, log: LogId, believed: i32) -> Result<(), ErrorCode> {
        let current = self.replicas.get(log).and_then(Replica::leader_epoch);
        let current = current.ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?.0;
        match believed {
            -1 => Ok(()),
            believed if believed < current => Err(ErrorCode::FENCED_LEADER_EPOCH),
            believed if believed > current => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }

    /// The log that a produce may append to.
    fn producible(&self, topic: &TopicRef, partition: i32, acks: i16) -> Result<LogId, ErrorCode> {
        if topic.name.starts_with(METADATA_TOPIC) || is_internal(&topic.name) {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        let log = self.leading(topic, partition)?;
        if acks == -1 && !self.replicas.has_enough_in_sync(log, self.config.planted) {
            return Err(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        Ok(log)
    }
}
