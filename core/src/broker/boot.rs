//! From an empty machine to a leader of its partitions; and the end.
//!
//! | phase       | waits for                                                    |
//! |-------------|--------------------------------------------------------------|
//! | Recovering  | every log directory is read, every log recovered             |
//! | Reading     | `meta.properties` of each directory, and `quorum-state`      |
//! | Joining     | a node of the cluster that it is to join has said which that is |
//! | Formatting  | the new `meta.properties` are durable                        |
//! | Replaying   | its newest snapshot and the metadata log behind it are read  |
//! | Electing    | this node's vote is durable: it leads the quorum             |
//! | Registering | this broker's registration is committed                      |
//! | Running     | a shutdown                                                   |
//! | Stopping    | the logs are closed                                          |
//!
//! A directory is formatted only by an operator's word that a cluster is born, or to join the cluster that the other
//! directories belong to. A quorum must never elect itself over a log that was wiped.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::Uuid;

use super::replicas::log_config;
use super::{Broker, Pending, snapshots};
use crate::clock::Now;
use crate::config::BrokerConfig;
use crate::controller::{self, BrokerEndpoint, Change, Extent, METADATA_TOPIC, METADATA_TOPIC_ID};
use crate::log::meta_properties::MetaProperties;
use crate::log::{self, Boot, CleanerConfig, FoundLog, LogConfig, LogId, LogManagerConfig, SaveRequest};
use crate::machine::{DiskError, Effect, Effects, Level, LogDirId, Path};
use crate::raft::{
    ControlRecord, KRAFT_VERSION, Raft, RaftConfig, SavedElection, SnapshotId, Start, Voter, VoterEndpoint,
    VoterHistory, VoterKey, VoterSet, control_records,
};
use crate::record::{self, RecordBatch};
use crate::rng::Rng;
use crate::types::{BrokerEpoch, LeaderEpoch, Offset, TopicPartition};

/// The metadata log lies in the first directory.
pub(super) const METADATA_DIR: LogDirId = LogDirId(0);

/// How long a fetch of the metadata log waits at the quorum's leader for something to say at most, as in Kafka.
const FETCH_WAIT: Duration = Duration::from_millis(500);

/// Where a broker is on its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Phase {
    #[default]
    Recovering,
    Reading(Box<Reading>),
    Joining(Box<Reading>),
    Formatting(Box<Reading>),
    Replaying(Box<Replaying>),
    Electing,
    Registering(Offset),
    Running,
    Stopping,
    Stopped,
}

/// What is known before the metadata log is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    boot: Boot,
    outstanding: usize,
    directories: Vec<Option<MetaProperties>>,
    /// In the last process, in a directory, what was only written counted (`flush=async`).
    counted_written: bool,
    election: Option<SavedElection>,
}

/// How far the metadata log is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replaying {
    pub(super) next: Offset,
    pub(super) last_epoch: Option<LeaderEpoch>,
    pub(super) voters: VoterHistory,
    /// The snapshots that are there, with their sizes, but for those that cannot be used.
    pub(super) snapshots: BTreeMap<SnapshotId, u64>,
    election: Option<SavedElection>,
    /// All that had counted is there.
    intact: bool,
}

/// What the boot asks the disk for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Meta(LogDirId),
    Election,
    Formatted(LogDirId),
    Snapshot(SnapshotId),
    Replay,
}

/// The logs' share of the configuration.
pub(super) fn log_manager_config(config: &BrokerConfig, seed: u64) -> LogManagerConfig {
    let storage = &config.storage;
    LogManagerConfig {
        dirs: u16::try_from(storage.log_dirs().len()).unwrap_or(u16::MAX),
        default_log: log_config(&config.topic(&crate::config::Overrides::new())),
        flush_max_delay: Duration::from_millis(storage.flush_max_delay_ms()),
        retention_check_interval: Duration::from_millis(storage.retention_check_interval_ms),
        high_watermark_checkpoint_interval: Duration::from_millis(storage.high_watermark_checkpoint_interval_ms),
        producer_id_expiration_ms: i64::try_from(storage.producer_id_expiration_ms).unwrap_or(i64::MAX),
        checkpoint_bytes: storage.checkpoint_bytes,
        cleaner: CleanerConfig {
            enabled: config.cleaner.enabled,
            backoff: Duration::from_millis(config.cleaner.backoff_ms),
            dedupe_buffer_bytes: config.cleaner.dedupe_buffer_bytes,
            bytes_per_second: config.cleaner.io_max_bytes_per_second,
            // A stream of its own: of the machine's many numbers are told.
            secret: Rng::new(!seed).uuid().0,
        },
        flush_journal_bytes: storage.flush_journal_bytes,
        ..LogManagerConfig::default()
    }
}

impl Broker {
    /// Begins: reads the directories.
    pub fn start(&mut self, now: Now, out: &mut Effects) {
        self.logs.start(now, out);
    }

    /// Stops in good order; `ShutdownDone` of the logs ends it.
    pub fn shutdown(&mut self, now: Now, out: &mut Effects) {
        if matches!(self.phase, Phase::Stopping | Phase::Stopped) || self.begin_leaving(now) {
            return;
        }
        self.stop(now, out);
    }

    /// Stops, as soon as everything is safe.
    pub(super) fn stop(&mut self, now: Now, out: &mut Effects) {
        if self.phase == Phase::Recovering {
            // What a crash left is not repaired yet: there is nothing to save, and a clean mark would be a lie.
            return self.on_logs_closed(out);
        }
        self.phase = Phase::Stopping;
        if !self.is_alone()
            && let Some(outcome) = self.with_raft(|raft, _| raft.become_resigned(now))
        {
            self.on_raft(now, outcome, out);
        }
        self.logs.shutdown(now, self.metadata.broker_epoch(), out);
    }

    /// Nothing can be committed here any more, and what others decide is not heard of: to go on would be to serve what
    /// others may have taken over.
    pub(super) fn stop_without_metadata(&mut self, now: Now, out: &mut Effects) {
        if self.is_running() {
            out.note(Level::Error, "the node stops: it cannot go on without the metadata log, whose directory failed");
            self.stop(now, out);
        }
    }

    pub(super) fn on_logs_recovered(&mut self, _now: Now, boot: Boot, out: &mut Effects) {
        if self.phase != Phase::Recovering {
            return; // It was stopped before it began.
        }
        if boot.offline.contains(&METADATA_DIR) {
            return self.refuse("the log directory that holds the metadata log cannot be read", out);
        }
        let dirs = self.config.broker.storage.log_dirs().len();
        let usable: Vec<LogDirId> = (0..dirs).filter_map(|dir| u16::try_from(dir).ok()).map(LogDirId).collect();
        let usable: Vec<LogDirId> = usable.into_iter().filter(|dir| !boot.offline.contains(dir)).collect();
        let mut reading = Reading { boot, directories: vec![None; dirs], ..Reading::default() };
        for dir in usable {
            reading.outstanding += 1;
            self.ask(Question::Meta(dir), &Path::new(dir, log::names::META_PROPERTIES), out);
        }
        reading.outstanding += 1;
        self.ask(Question::Election, &election_path(), out);
        self.phase = Phase::Reading(Box::new(reading));
    }

    pub(super) fn on_loaded(
        &mut self,
        now: Now,
        question: Question,
        result: Result<Option<Bytes>, DiskError>,
        out: &mut Effects,
    ) {
        let Phase::Reading(reading) = &mut self.phase else { return };
        reading.outstanding -= 1;
        let noted = match (question, result) {
            // The node goes on without a directory that failed, as it does when one fails later.
            (Question::Meta(dir), Err(_)) if reading.boot.offline.contains(&dir) => Ok(()),
            (_, Err(error)) => Err(error.to_string()),
            (_, Ok(None)) => Ok(()),
            (Question::Meta(dir), Ok(Some(bytes))) => MetaProperties::parse(&bytes)
                .map(|meta| reading.directories[usize::from(dir.0)] = Some(meta))
                .map_err(|error| format!("meta.properties: {}", error.why)),
            (_, Ok(Some(bytes))) => SavedElection::parse(&bytes)
                .map(|election| reading.election = Some(election))
                .map_err(|error| format!("quorum-state: {}", error.why)),
        };
        let done = reading.outstanding == 0;
        match noted {
            Err(why) => self.refuse(&format!("a file of the node cannot be read: {why}"), out),
            Ok(()) if done => self.on_small_files_read(now, out),
            Ok(()) => {}
        }
    }

    /// The small files are read: whose cluster is this?
    fn on_small_files_read(&mut self, now: Now, out: &mut Effects) {
        let Phase::Reading(reading) = std::mem::take(&mut self.phase) else { return };
        let known = reading.directories.iter().flatten().next().cloned();
        let cluster_id = match (&known, self.config.new_cluster) {
            (Some(meta), _) => meta.cluster_id.clone(),
            (None, true) => self.config.cluster_id.clone().unwrap_or_else(|| self.rng.uuid().to_string()),
            (None, false) if self.config.broker.quorum.bootstrap_servers.is_empty() => {
                let why = "the log directories belong to no cluster yet: found one with `ottla dev`, or with \
                           `ottla serve --new-cluster` on exactly one node; or set \
                           controller.quorum.bootstrap.servers to join one";
                return self.refuse(why, out);
            }
            // It joins, as an observer at first: to be a voter it has to be added.
            (None, false) => match self.config.cluster_id.clone() {
                Some(cluster_id) => cluster_id,
                None => {
                    let servers = self.config.broker.quorum.bootstrap_servers.join(", ");
                    out.note(Level::Info, format!("asks {servers} which cluster it is to join"));
                    self.phase = Phase::Joining(reading);
                    return;
                }
            },
        };
        self.belong(now, reading, &cluster_id, out);
    }

    /// A node of the cluster says which it is.
    pub(super) fn join(&mut self, now: Now, cluster_id: &str, out: &mut Effects) {
        if matches!(self.phase, Phase::Joining(_))
            && let Phase::Joining(reading) = std::mem::take(&mut self.phase)
        {
            self.belong(now, reading, cluster_id, out);
        }
    }

    /// It is known of which cluster this node is.
    fn belong(&mut self, now: Now, mut reading: Box<Reading>, cluster_id: &str, out: &mut Effects) {
        if let Err(why) = self.check_identity(&reading, cluster_id) {
            return self.refuse(&why, out);
        }
        cluster_id.clone_into(&mut self.metadata.cluster_id);
        self.format(&mut reading, cluster_id, out);
        if reading.outstanding > 0 {
            self.phase = Phase::Formatting(reading);
        } else {
            self.replay(now, *reading, out);
        }
    }

    /// Gives each directory that has none its `meta.properties`, and notes there whether what is only written counts.
    fn format(&mut self, reading: &mut Reading, cluster_id: &str, out: &mut Effects) {
        let node_id = self.node();
        for place in 0..reading.directories.len() {
            let dir = LogDirId(u16::try_from(place).expect("there are fewer directories"));
            if reading.boot.offline.contains(&dir) {
                continue;
            }
            let known = reading.directories[place].take();
            let was_async = known.as_ref().is_some_and(|meta| meta.async_flush);
            reading.counted_written |= was_async;
            let is_clean = reading.boot.clean.get(place).is_some_and(Option::is_some);
            let async_flush = !self.counts_durable() || was_async && !is_clean;
            let is_noted = known.is_some() && was_async == async_flush;
            let directory_id = known.map_or_else(|| self.rng.uuid(), |meta| meta.directory_id);
            let meta = MetaProperties { cluster_id: cluster_id.to_owned(), node_id, directory_id, async_flush };
            if is_noted {
                reading.directories[place] = Some(meta);
                continue;
            }
            let ticket = self.questions.ask(Pending::Boot(Question::Formatted(dir)));
            let bytes = Bytes::from(meta.encode());
            self.logs.save(SaveRequest { path: Path::new(dir, log::names::META_PROPERTIES), bytes, ticket }, out);
            reading.directories[place] = Some(meta);
            reading.outstanding += 1;
        }
    }

    pub(super) fn on_saved(&mut self, now: Now, ticket: log::Ticket, out: &mut Effects) {
        match self.questions.answered(ticket) {
            Some(Pending::Vote(id)) => self.on_vote_saved(now, id, out),
            Some(Pending::Snapshot(snapshots::Question::Saved(id))) => self.on_snapshot_saved(now, id, out),
            Some(Pending::Boot(Question::Formatted(_))) => self.on_formatted(now, out),
            _ => {}
        }
    }

    fn on_formatted(&mut self, now: Now, out: &mut Effects) {
        let Phase::Formatting(reading) = &mut self.phase else { return };
        reading.outstanding -= 1;
        if reading.outstanding == 0
            && let Phase::Formatting(reading) = std::mem::take(&mut self.phase)
        {
            self.replay(now, *reading, out);
        }
    }

    /// A directory failed during the start, and another than the one with the metadata log: it goes on without it.
    pub(super) fn go_on_without(&mut self, now: Now, dir: LogDirId, out: &mut Effects) {
        if let Phase::Reading(reading) | Phase::Joining(reading) | Phase::Formatting(reading) = &mut self.phase {
            reading.boot.offline.push(dir);
        }
        // What was asked is answered; what was to be saved never is.
        if self.questions.forget(Pending::Boot(Question::Formatted(dir))) {
            self.on_formatted(now, out);
        }
    }

    /// Every directory is the cluster's and this node's.
    fn check_identity(&self, reading: &Reading, cluster_id: &str) -> Result<(), String> {
        let wanted = self.config.cluster_id.as_deref().unwrap_or(cluster_id);
        for (name, meta) in self.config.broker.storage.log_dirs().iter().zip(&reading.directories) {
            let Some(meta) = meta else { continue };
            if meta.cluster_id != wanted {
                return Err(format!(
                    "log directory {name} is of cluster {}, not of {wanted}: give this node a directory of its own",
                    meta.cluster_id
                ));
            }
            if meta.node_id != self.node() {
                return Err(format!(
                    "log directory {name} is of node {}, not of {}: set node.id, or give the node another directory",
                    meta.node_id.0,
                    self.node().0
                ));
            }
        }
        Ok(())
    }

    fn replay(&mut self, now: Now, reading: Reading, out: &mut Effects) {
        let Reading { boot, directories, counted_written, election, .. } = reading;
        let intact = is_intact(&boot, counted_written);
        let online = (0..).map(LogDirId).zip(directories).filter(|(dir, _)| !boot.offline.contains(dir));
        self.metadata.directories = online.filter_map(|(dir, meta)| Some((dir, meta?.directory_id))).collect();
        self.metadata.missing = boot.missing.into_iter().map(|(_, partition, id)| (partition, id)).collect();
        let partition = TopicPartition::new(METADATA_TOPIC, 0);
        let (found, logs): (Vec<FoundLog>, Vec<FoundLog>) =
            boot.logs.into_iter().partition(|found| found.partition == partition);
        self.metadata.found = logs;
        if let Some(damage) = found.iter().find_map(|found| found.damage.as_ref()) {
            return self.refuse(&format!("the metadata log is damaged ({damage}); restore it from a copy"), out);
        }
        if found.is_empty() && self.metadata.missing.iter().any(|(lost, _)| *lost == partition) {
            // To begin anew would elect this node over a lost log, and forget every topic (promise P9).
            return self.refuse("the metadata log was durable here once and is gone; restore its directory", out);
        }
        let config = self.metadata_log_config();
        let log = match found.first() {
            Some(found) => Some(found.log),
            None => self.logs.create(now, partition, METADATA_TOPIC_ID, config.clone(), None, out),
        };
        let Some(log) = log else { return self.refuse("the metadata log cannot be made", out) };
        self.logs.set_config(log, config);
        self.metadata.set_log(log);
        self.phase = Phase::Replaying(Box::new(Replaying { election, intact, ..Replaying::default() }));
        self.find_snapshots(now, &boot.beside_metadata, out);
    }

    pub(super) fn read_on(&mut self, log: LogId, from: Offset, out: &mut Effects) {
        let ticket = self.questions.ask(Pending::Boot(Question::Replay));
        self.logs.read_bytes(log, from, ticket, out);
    }

    /// More of the metadata log is here.
    pub(super) fn on_bytes(&mut self, now: Now, bytes: Option<Bytes>, out: &mut Effects) {
        let Phase::Replaying(mut replaying) = std::mem::take(&mut self.phase) else { return };
        let Some(bytes) = bytes else { return self.refuse("the metadata log cannot be read", out) };
        if bytes.is_empty() {
            return self.elect(now, *replaying, out);
        }
        for batch in record::batches(&bytes) {
            let replayed = batch.map_err(|error| error.to_string());
            if let Err(why) = replayed.and_then(|batch| self.replay_batch(&batch, &mut replaying)) {
                // A record that cannot be applied must stop the node: going on would forget it (KAFKA-14104).
                return self
                    .refuse(&format!("the metadata log cannot be read at offset {}: {why}", replaying.next), out);
            }
        }
        let (log, next) = (self.metadata.log().expect("it is being read"), replaying.next);
        self.phase = Phase::Replaying(replaying);
        self.read_on(log, next, out);
    }

    fn replay_batch(&mut self, batch: &RecordBatch<'_>, replaying: &mut Replaying) -> Result<(), String> {
        batch.check_crc().map_err(|error| error.to_string())?;
        for control in control_records(batch).map_err(|error| error.why)? {
            if let ControlRecord::Voters(voters) = control {
                replaying.voters.add(batch.header().base_offset, voters);
            }
        }
        let changes = controller::decode_batch(batch, u64::from(u32::MAX)).map_err(|error| error.to_string())?;
        replaying.next = batch.header().next_offset();
        replaying.last_epoch = Some(batch.header().leader_epoch);
        // What of it is committed, the quorum says when it has a leader.
        self.metadata.controller.on_appended(Extent::of(batch, replaying.next), changes);
        Ok(())
    }

    /// The metadata log is read: this node takes part in the quorum from now on.
    fn elect(&mut self, now: Now, replaying: Replaying, out: &mut Effects) {
        let directory_id = self.metadata.directories.values().next().copied().unwrap_or_default();
        let node = VoterKey { id: self.node(), directory_id };
        self.metadata.proven = self.proven_epoch(replaying.intact);
        let is_birth = replaying.next == Offset::ZERO && self.config.new_cluster;
        let start = Start {
            node,
            saved: replaying.election,
            voters: replaying.voters,
            born: is_birth.then(|| VoterSet::single(node, self.voter())),
            end_offset: replaying.next,
            last_epoch: replaying.last_epoch,
            snapshots: self.metadata.snapshots.sizes(),
            seed: self.rng.next_u64(),
        };
        match Raft::new(start, self.raft_config(), self.config.planted) {
            Err(error) => self.refuse(&error.to_string(), out),
            Ok(mut raft) => {
                self.phase = Phase::Electing;
                let outcome = raft.on_start(now);
                self.metadata.set_raft(raft);
                self.on_raft(now, outcome, out);
                // What the start found may be durable already: then nothing else would say so.
                self.on_metadata_progress(now, out);
            }
        }
    }

    /// The last registration that the disk knows, if all that counted by then is there. The journal may go on claiming
    /// what was taken away by the metadata's word.
    fn proven_epoch(&self, intact: bool) -> Option<BrokerEpoch> {
        let (image, node) = (self.metadata.controller.speculative(), self.node());
        let is_ours = |(partition, id): &(TopicPartition, Uuid)| {
            let it = image.partition_by_id(*id, partition.partition);
            it.is_some_and(|it| it.replicas.contains(&node))
        };
        let is_whole = intact && !self.metadata.missing.iter().any(is_ours);
        image.broker(node).filter(|_| is_whole).map(|known| known.epoch)
    }

    fn raft_config(&self) -> RaftConfig {
        let quorum = &self.config.broker.quorum;
        RaftConfig {
            election_timeout: Duration::from_millis(quorum.election_timeout_ms),
            fetch_timeout: Duration::from_millis(quorum.fetch_timeout_ms),
            retry_backoff: Duration::from_millis(quorum.retry_backoff_ms),
            // Who waits for longer than it has patience gives up a leader that has nothing to say.
            fetch_wait: FETCH_WAIT
                .min(Duration::from_millis(quorum.fetch_timeout_ms.min(quorum.request_timeout_ms) / 2)),
            voter: self.voter(),
            joins: quorum.auto_join,
        }
    }

    /// There was no room for the registration: it comes again when there is.
    pub(super) fn on_registration_cut(&mut self, end: Offset) {
        if matches!(self.phase, Phase::Registering(until) if until > end) {
            self.phase = Phase::Electing;
        }
    }

    /// This node leads the quorum: the broker in it is registered with what the cluster is born with.
    pub(super) fn register(&mut self, now: Now, out: &mut Effects) {
        if self.phase != Phase::Electing {
            return;
        }
        let registration = self.registration(true);
        let image = self.metadata.controller.speculative();
        let mut changes = if image.features().next().is_none() { controller::bootstrap() } else { Vec::new() };
        let log = self.metadata.log().expect("a leader has a log");
        let end = self.logs.offsets(log).unwrap_or_default().log_end;
        let place = end + i64::try_from(changes.len()).unwrap_or(0);
        match controller::register(image, &self.config, registration, place) {
            Err(refused) => self.refuse(&format!("the registration was refused: {}", refused.message), out),
            Ok(decision) => {
                changes.extend(decision.changes);
                self.metadata.set_broker_epoch(Some(decision.answer));
                if changes.is_empty() {
                    return; // It is registered already, and in service when that is committed.
                }
                match self.append_changes(now, changes, out) {
                    Some(end) => self.phase = Phase::Registering(end),
                    None if !self.logs.is_usable(METADATA_DIR) && !self.logs.is_offline(METADATA_DIR) => {}
                    None => self.refuse("the metadata log does not take the registration", out),
                }
            }
        }
    }

    /// More of the metadata is committed: when that has this process in service, clients are served.
    pub(super) fn on_registration_committed(&mut self, now: Now, out: &mut Effects) {
        let registers = matches!(self.phase, Phase::Electing | Phase::Registering(_));
        if registers && self.is_in_service() {
            self.phase = Phase::Running;
            self.adopt_logs(now, out);
            out.push(Effect::Ready);
        } else if registers || self.is_running() {
            self.check_incarnation(out);
        }
    }

    pub(super) fn on_logs_closed(&mut self, out: &mut Effects) {
        self.phase = Phase::Stopped;
        out.push(Effect::Stopped);
    }

    /// There is room again: what the metadata log did not take is tried again, and logs are made that no directory
    /// took.
    pub(super) fn on_room(&mut self, now: Now, dir: LogDirId, out: &mut Effects) {
        if dir == METADATA_DIR {
            self.lead_quorum(now, out);
        }
        if self.is_running() {
            self.make_missing_logs(now, out);
        }
    }

    /// Whether the loss of a directory ends the start: the metadata log is in it, and is not read yet.
    pub(super) fn fails_start(&self, dir: LogDirId) -> bool {
        dir == METADATA_DIR && !matches!(self.phase, Phase::Running | Phase::Stopping | Phase::Stopped)
    }

    pub(super) fn refuse(&mut self, why: &str, out: &mut Effects) {
        out.note(Level::Error, why);
        self.phase = Phase::Stopped;
        out.push(Effect::Stopped);
    }

    fn ask(&mut self, question: Question, path: &Path, out: &mut Effects) {
        let ticket = self.questions.ask(Pending::Boot(question));
        self.logs.load(path.clone(), ticket, out);
    }

    pub(super) fn advertised(&self) -> Vec<BrokerEndpoint> {
        let advertised = self.config.broker.listeners.advertised.iter();
        let endpoint = |it: &crate::config::Endpoint| BrokerEndpoint {
            name: it.name.clone(),
            host: it.host.clone(),
            port: it.port,
        };
        advertised.map(endpoint).collect()
    }

    pub(super) fn voter(&self) -> Voter {
        let listeners = self.config.broker.listeners.bound.iter().filter(|listener| listener.is_controller);
        let endpoint = |it: &crate::config::Endpoint| VoterEndpoint {
            name: it.name.clone(),
            host: it.host.clone(),
            port: it.port,
        };
        let endpoints = listeners.map(|listener| endpoint(&listener.endpoint)).collect();
        Voter { endpoints, max_kraft_version: KRAFT_VERSION }
    }

    fn metadata_log_config(&self) -> LogConfig {
        let metadata = &self.config.broker.metadata;
        LogConfig {
            segment_bytes: metadata.internal_segment_bytes.unwrap_or(metadata.segment_bytes),
            segment_ms: i64::try_from(metadata.segment_ms).unwrap_or(i64::MAX),
            retention_ms: -1,
            retention_bytes: -1,
            delete: false,
            ..LogConfig::default()
        }
    }
}

/// Whether all logs that are here have all that counted: what is durable was verified against the journal, and where
/// what was only written counted, every directory was closed in good order.
fn is_intact(boot: &Boot, counted_written: bool) -> bool {
    let sound = boot.logs.iter().all(|found| found.damage.is_none());
    boot.offline.is_empty() && sound && (!counted_written || boot.clean.iter().all(Option::is_some))
}

pub(super) fn election_path() -> Path {
    Path::new(METADATA_DIR, format!("{METADATA_TOPIC}-0/quorum-state"))
}

/// What a change speaks of, for those who must act on it.
pub(super) fn is_of_broker_config(change: &Change) -> bool {
    matches!(change, Change::Config { resource, .. } if resource.kind == controller::ResourceKind::Broker)
}

/// As [`is_of_broker_config`], of a group's settings.
pub(super) fn is_of_group_config(change: &Change) -> bool {
    matches!(change, Change::Config { resource, .. } if resource.kind == controller::ResourceKind::Group)
}
