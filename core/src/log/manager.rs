//! The owner of all logs, of their directories and of every file operation.
//!
//! A parent passes each file completion, each of the logs' job reports and each timeout in, asks and orders in
//! between, drains [`LogManager::events`] after each call, and calls [`LogManager::settle`] at the end of each
//! step, so that the appends of one step share a sync.
//!
//! Here is only routing: which log, which start, which save a completion is for. [`super::partition::Log`] and
//! its verbs decide what happens to a log, [`crate::storage`] what is durable, [`super::boot`] what a start does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_wire::Uuid;

use super::api::*;
use super::boot::Starting;
use super::compaction::Compaction;
use super::housekeeping::Housekeeping;
use super::names::{self, SegmentFile};
use super::partition::{Birth, Condition, Io, JobFor, Jobs, Log};
use super::producer_state::{MAX_PRODUCERS, ProducerState};
use super::questions::{Asked, Questions};
use super::recovery::stream_key;
use super::scan::Derived;
use super::segment::Segment;
use crate::clock::{Instant, Now};
use crate::job::{Report, SLICE};
use crate::machine::{DiskError, DiskResult, Effects, FileAction, FileRange, JobId, LogDirId, OpId, OpenMode, Path};
use crate::planted::Planted;
use crate::storage::{Health, LoadOwner, LogOp, Mark, Owner, Pin, SaveOwner, Storage, StorageEvent, Stream};
use crate::types::{BrokerEpoch, LeaderEpoch, Offset, TopicPartition};

/// Every log of a broker.
#[derive(Clone, Debug)]
pub struct LogManager {
    pub(super) logs: Vec<Option<Box<Log>>>,
    pub(super) by_partition: BTreeMap<TopicPartition, LogId>,
    /// Where else something of a partition lies, that is left alone.
    aside: BTreeSet<(LogDirId, TopicPartition)>,
    pub(super) parts: Parts,
    starting: Option<Starting>,
    routing: Vec<StorageEvent>,
    /// The other list of events, empty: it changes places with the one that is being filled.
    spare_events: Vec<LogEvent>,
    pub(super) housekeeping: Housekeeping,
    pub(super) compaction: Compaction,
}

/// What a log is given while it does something, beside itself.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) config: LogManagerConfig,
    pub(super) storage: Storage,
    pub(super) jobs: Jobs,
    pub(super) events: Vec<LogEvent>,
    pub(super) cold: VecDeque<(LogId, Offset)>,
    pub(super) lowered: Vec<LogId>,
    pub(super) now: Now,
}

impl LogManager {
    /// Starts nothing.
    #[must_use]
    pub fn new(config: LogManagerConfig, planted: Planted) -> Self {
        let storage = Storage::new(config.dirs, config.flush_max_delay, config.flush_journal_bytes, planted);
        Self {
            logs: Vec::new(),
            by_partition: BTreeMap::new(),
            aside: BTreeSet::new(),
            housekeeping: Housekeeping::new(config.dirs),
            compaction: Compaction::default(),
            parts: Parts {
                config,
                storage,
                jobs: Jobs::default(),
                events: Vec::new(),
                cold: VecDeque::new(),
                lowered: Vec::new(),
                now: Now::default(),
            },
            starting: None,
            routing: Vec::new(),
            spare_events: Vec::new(),
        }
    }

    /// Reads the directories and recovers every log in them; [`LogEvent::BootDone`] follows.
    pub fn start(&mut self, now: Now, out: &mut Effects) {
        self.parts.now = now;
        self.starting = Some(Starting::begin(&mut self.parts.io(out)));
    }

    /// Every completion of a file operation.
    pub fn on_disk(&mut self, now: Now, op: OpId, result: DiskResult, out: &mut Effects) {
        self.parts.now = now;
        self.parts.storage.on_disk(now, op, result, out);
        self.route(out);
    }

    /// Every report of a job that is a log's.
    #[expect(clippy::boxed_local, reason = "as it comes over the boundary")]
    pub fn on_job(&mut self, now: Now, job: JobId, report: Box<Report>, out: &mut Effects) {
        self.parts.now = now;
        let owner = self.parts.jobs.take(job);
        let scan = match *report {
            Report::Scan(scan) => scan,
            Report::Clean(walk) => {
                if let Some(JobFor::Clean(_, number)) = owner {
                    self.on_cleaner_walked(number, walk, out);
                }
                return self.route(out);
            }
            Report::Recompressed(_) => return,
        };
        match owner {
            Some(JobFor::Recovery(number)) => {
                if let Some(starting) = &mut self.starting {
                    starting.on_scan(number, *scan, &mut self.parts.io(out));
                }
                self.advance_start(out);
            }
            Some(JobFor::Question(id, number)) => self.with(id, out, |log, io| log.on_scan(job, number, *scan, io)),
            Some(JobFor::Cut(id)) => self.with(id, out, |log, io| log.on_cut_found(*scan, io)),
            Some(JobFor::Rebuild(id)) => self.with(id, out, |log, io| log.on_replayed(*scan, io)),
            Some(JobFor::Clean(..)) | None => {}
        }
        self.route(out);
    }

    /// When [`Self::next_deadline`] has come; harmless before.
    pub fn on_timeout(&mut self, now: Now, out: &mut Effects) {
        self.parts.now = now;
        self.keep_house(out);
        self.keep_clean(out);
        self.route(out);
    }

    /// When to call [`Self::on_timeout`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let storage = self.parts.storage.next_deadline();
        [storage, self.housekeeping.next_deadline(), self.compaction.next_deadline()].into_iter().flatten().min()
    }

    /// At the end of each step: starts what is due, and gives up what is held too long.
    pub fn settle(&mut self, now: Now, out: &mut Effects) {
        self.parts.now = now;
        self.save_log_starts(out);
        self.parts.storage.settle(now, out);
        self.shed_cold(out);
        self.lower_cleaned(out);
        self.advance_start(out);
        self.advance_shutdown(out);
        self.route(out);
    }

    /// What happened since the last call. [`Self::give_back`] takes the list again.
    pub fn take_events(&mut self) -> Vec<LogEvent> {
        std::mem::replace(&mut self.parts.events, std::mem::take(&mut self.spare_events))
    }

    /// Takes the list back, empty, to be used again.
    pub fn give_back(&mut self, events: Vec<LogEvent>) {
        debug_assert!(events.is_empty(), "all of it was looked at");
        self.spare_events = events;
    }

    /// A number for a job of the parent's own: jobs share one sequence.
    pub fn next_job(&mut self) -> JobId {
        self.parts.jobs.next()
    }

    /// The log of a partition.
    #[must_use]
    pub fn find(&self, partition: &TopicPartition) -> Option<LogId> {
        self.by_partition.get(partition).copied()
    }

    /// Makes a log: directory, `partition.metadata`, first segment. Usable at once; [`LogEvent::Created`] follows
    /// when its names are durable. `None` if the partition has a log, or no directory takes appends.
    ///
    /// In the directory `home`, full as it may be, unless it has failed; else where there are the fewest logs.
    pub fn create(
        &mut self,
        now: Now,
        partition: TopicPartition,
        topic_id: Uuid,
        config: LogConfig,
        home: Option<LogDirId>,
        out: &mut Effects,
    ) -> Option<LogId> {
        self.parts.now = now;
        if self.by_partition.contains_key(&partition) || self.housekeeping.is_stopping() {
            return None;
        }
        let dir = home.filter(|dir| !self.is_offline(*dir)).or_else(|| self.least_used_dir(&partition))?;
        let io = &mut self.parts.io(out);
        let path = Path::new(dir, partition.to_string());
        let empty = Mark::empty(Offset::ZERO);
        let key = stream_key(&path.name, topic_id);
        let id = io.storage.add_stream(Stream::created(path.clone(), key, empty));
        io.storage.name(id, FileAction::MakeDir { path: path.clone() }, io.out);
        let file = io.storage.new_file();
        let open =
            FileAction::Open { file, path: path.join(&SegmentFile::Log.name(Offset::ZERO)), mode: OpenMode::Create };
        io.storage.name(id, open, io.out);
        io.storage.hold(now, id);
        let segment = Segment::new(Offset::ZERO, file, &config, now.wall);
        let log = Log {
            id,
            partition,
            topic_id,
            path,
            config,
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
            high_watermark: Offset::ZERO,
            segments: VecDeque::from([segment]),
            derived: Derived {
                epochs: super::leader_epoch_cache::LeaderEpochCache::new(),
                producers: ProducerState::new(MAX_PRODUCERS, io.storage.planted),
            },
            condition: Condition::Usable,
            checkpoints: super::checkpointing::Checkpoints::default(),
            questions: Questions::default(),
            birth: Birth { unnamed: true, unmarked: true },
            wanted_cut: None,
        };
        self.add(log);
        self.mark_new(id, out);
        Some(id)
    }

    /// Of two logs of one partition the start found this one is left alone: the partition's is the other.
    pub fn set_aside(&mut self, log: LogId, other: LogId) {
        if let Some(found) = self.log(log) {
            let (dir, partition) = (found.dir(), found.partition.clone());
            self.by_partition.insert(partition.clone(), other);
            self.aside.insert((dir, partition));
        }
    }

    /// Appends a batch. `awaited`: somebody waits for it to be durable, so the next round starts at once.
    #[expect(clippy::too_many_arguments, reason = "each is a different thing, and all are needed")]
    #[expect(clippy::needless_pass_by_value, reason = "a batch is handed over")]
    pub fn append(
        &mut self,
        now: Now,
        log: LogId,
        leader_epoch: LeaderEpoch,
        batch: Batch<'_>,
        origin: AppendOrigin,
        awaited: bool,
        out: &mut Effects,
    ) -> Result<Appended, AppendError> {
        self.parts.now = now;
        if self.housekeeping.is_stopping() {
            return Err(AppendError::Storage);
        }
        let log = self.logs.get_mut(log.0 as usize).and_then(Option::as_mut).ok_or(AppendError::NoLog)?;
        log.append(leader_epoch, &batch, origin, awaited, &mut self.parts.io(out))
    }

    /// Notes the start of a leader epoch at the log's end, as a new leader does before it appends. A file learns of it
    /// at the next checkpoint: until then the records tell, and an epoch without a record ends where it begins.
    pub fn begin_epoch(&mut self, log: LogId, leader_epoch: LeaderEpoch) {
        if let Some(log) = self.logs.get_mut(log.0 as usize).and_then(Option::as_mut) {
            log.derived.epochs.assign(leader_epoch, log.log_end);
        }
    }

    /// How far a log goes; `None` if there is no such log.
    #[must_use]
    pub fn offsets(&self, log: LogId) -> Option<Offsets> {
        Some(self.log(log)?.offsets(&self.parts.storage))
    }

    /// Where records are.
    pub fn read(&mut self, log: LogId, request: ReadRequest, out: &mut Effects) -> ReadPlan {
        match self.logs.get_mut(log.0 as usize).and_then(Option::as_mut) {
            Some(log) => log.read(request, &mut self.parts.io(out)),
            None => ReadPlan::Storage,
        }
    }

    /// Keeps the file of a range open until its answer has left.
    pub fn pin(&mut self, range: FileRange) -> Pin {
        self.parts.storage.pin(range.file)
    }

    /// Whole batches from `from` on (at most 1 MiB, unless one is larger), as bytes: [`LogEvent::BytesDone`] follows.
    pub fn read_bytes(&mut self, log: LogId, from: Offset, ticket: Ticket, out: &mut Effects) {
        let request = ReadRequest { from, max_bytes: SLICE, min_one_batch: true, upper: Offset(i64::MAX), ticket };
        match self.logs.get_mut(log.0 as usize).and_then(Option::as_mut) {
            Some(log) => log.park(Asked::Bytes(request, None), &mut self.parts.io(out)),
            None => self.parts.events.push(LogEvent::BytesDone { ticket, bytes: None }),
        }
    }

    /// The first record at or after a time, or with the greatest time, below `upper`:
    /// [`LogEvent::TimestampDone`] follows.
    pub fn find_timestamp(
        &mut self,
        log: LogId,
        query: TimestampQuery,
        upper: Offset,
        ticket: Ticket,
        out: &mut Effects,
    ) -> TimestampPlan {
        match self.logs.get_mut(log.0 as usize).and_then(Option::as_mut) {
            Some(log) => {
                let from = log.log_start;
                let asked = Asked::Time { query, upper, ticket, from };
                log.park(asked, &mut self.parts.io(out));
                TimestampPlan::Pending
            }
            None => TimestampPlan::Storage,
        }
    }

    /// Raises the log start offset (DeleteRecords): [`LogEvent::LogStartSaved`] follows when that is durable.
    pub fn advance_log_start(&mut self, now: Now, log: LogId, offset: Offset, out: &mut Effects) {
        self.parts.now = now;
        self.raise_log_start(log, offset, out);
    }

    /// Deletes a log. It is gone at once; [`LogEvent::Deleted`] follows when that is durable.
    pub fn delete(&mut self, now: Now, log: LogId, out: &mut Effects) {
        self.parts.now = now;
        let Some(mut log) = self.logs.get_mut(log.0 as usize).and_then(Option::take) else {
            return;
        };
        if self.find(&log.partition) == Some(log.id) {
            self.by_partition.remove(&log.partition);
        }
        let io = &mut self.parts.io(out);
        log.refuse_all(io);
        for file in log.segments.iter().filter_map(Segment::held_file) {
            io.storage.close(log.id, file, io.out);
        }
        // A name that no other deletion has, should the same log be deleted twice before the first is done.
        let unique = Uuid(log.topic_id.0 ^ u128::from(log.id.0) ^ u128::from(io.now.monotonic.0) << 32);
        let to = Path::new(log.dir(), names::deleted_dir(&log.partition, unique));
        io.storage.delete_stream(log.id, to, log.config.file_delete_delay, io.out);
    }

    /// Changes a log's configuration.
    pub fn set_config(&mut self, log: LogId, config: LogConfig) {
        if let Some(log) = self.logs.get_mut(log.0 as usize).and_then(Option::as_mut) {
            log.config = config;
        }
    }

    /// Says how far the log can no longer change: what producers did below it needs no undoing, and retention
    /// never passes it.
    pub fn set_high_watermark(&mut self, log: LogId, offset: Offset) {
        let Some(log) = self.logs.get_mut(log.0 as usize).and_then(Option::as_mut) else { return };
        log.derived.producers.on_high_watermark(offset);
        if std::mem::replace(&mut log.high_watermark, offset) != offset {
            self.housekeeping.high_watermark_moved(self.parts.now, &self.parts.config);
        }
    }

    /// The greatest offset below which no transaction is open, at most the high watermark.
    #[must_use]
    pub fn last_stable_offset(&self, log: LogId) -> Option<Offset> {
        let log = self.log(log)?;
        let unstable = log.derived.producers.first_unstable_offset();
        Some(unstable.map_or(log.high_watermark, |offset| offset.min(log.high_watermark)))
    }

    /// Saves a file atomically: a new file, synced, renamed into place, the directory synced. [`LogEvent::Saved`]
    /// follows. Saves of one path are durable in the order of the calls. Late in a shutdown none begins any more: a
    /// start after a clean one believes all that it sees.
    pub fn save(&mut self, request: SaveRequest, out: &mut Effects) {
        if !self.has_settled() {
            self.parts.storage.save(request.path, request.bytes, SaveOwner::Parent(request.ticket.0), out);
        }
    }

    /// Reads a small file: [`LogEvent::Loaded`] follows.
    pub fn load(&mut self, path: Path, ticket: Ticket, out: &mut Effects) {
        self.parts.storage.load(path, LoadOwner::Parent(ticket.0), out);
    }

    /// Removes a file that nobody needs: it does not matter whether it works.
    pub fn remove(&mut self, path: Path, out: &mut Effects) {
        self.parts.storage.act(path.dir, Owner::Nobody, FileAction::Remove { path }, out);
    }

    /// Syncs all, saves what a start needs, leaves the clean marks: [`LogEvent::ShutdownDone`] follows. Appends
    /// are refused from now on.
    pub fn shutdown(&mut self, now: Now, broker_epoch: Option<BrokerEpoch>, out: &mut Effects) {
        self.parts.now = now;
        self.begin_shutdown(broker_epoch, out);
        self.route(out);
    }

    pub(super) fn log(&self, log: LogId) -> Option<&Log> {
        self.logs.get(log.0 as usize)?.as_deref()
    }

    fn add(&mut self, log: Log) {
        let at = log.id.0 as usize;
        if self.logs.len() <= at {
            self.logs.resize_with(at + 1, || None);
        }
        self.by_partition.entry(log.partition.clone()).or_insert(log.id);
        self.logs[at] = Some(Box::new(log));
    }

    /// Does something with a log, if it is still there.
    pub(super) fn with(&mut self, log: LogId, out: &mut Effects, act: impl FnOnce(&mut Log, &mut Io<'_>)) {
        if let Some(log) = self.logs.get_mut(log.0 as usize).and_then(Option::as_mut) {
            act(log, &mut self.parts.io(out));
        }
    }

    /// Takes what the storage has to say to whom it concerns, until it has no more to say.
    fn route(&mut self, out: &mut Effects) {
        while !self.parts.storage.events.is_empty() {
            // The two lists change places, so that neither is made anew at each step.
            let mut events = std::mem::take(&mut self.routing);
            std::mem::swap(&mut events, &mut self.parts.storage.events);
            for event in events.drain(..) {
                self.on_storage(event, out);
            }
            self.routing = events;
        }
    }

    fn on_storage(&mut self, event: StorageEvent, out: &mut Effects) {
        match event {
            StorageEvent::Written(log, end) => {
                self.parts.events.push(LogEvent::Written { log, end });
                self.with(log, out, Log::on_written);
            }
            StorageEvent::Durable(log, end) => self.parts.events.push(LogEvent::Durable { log, end }),
            StorageEvent::Named(log) => self.on_born(log, |birth| birth.unnamed = false),
            StorageEvent::Deleted(log) => self.parts.events.push(LogEvent::Deleted { log }),
            StorageEvent::NoRoom(log) => self.with(log, out, Log::on_no_room),
            StorageEvent::Saved(owner) => self.on_saved(owner, out),
            StorageEvent::Loaded(owner, result) => self.on_loaded(owner, result, out),
            StorageEvent::Offline(dir, error) => self.on_offline(dir, error, out),
            StorageEvent::Full(dir) => self.parts.events.push(LogEvent::DirFull { dir }),
            StorageEvent::Room(dir) => self.parts.events.push(LogEvent::DirSpace { dir }),
            StorageEvent::Log(log, LogOp::Opened(base), result) => {
                self.with(log, out, |log, io| log.on_opened(base, &result, io));
            }
            StorageEvent::Log(log, LogOp::Slice { question, read }, result) => {
                self.with(log, out, |log, io| log.on_slice((question, read), result, io));
            }
            StorageEvent::Log(_, LogOp::Clean(number), result) => self.on_cleaner_disk(number, &result, out),
            StorageEvent::Log(log, LogOp::Leaving, result) => {
                self.with(log, out, |log, io| log.on_leaving(&result, io))
            }
            StorageEvent::Boot(dir, what, result) => {
                if let Some(starting) = &mut self.starting {
                    starting.on_disk(dir, what, result, &mut self.parts.io(out));
                }
                self.advance_start(out);
            }
        }
    }

    fn on_saved(&mut self, owner: SaveOwner, out: &mut Effects) {
        match owner {
            SaveOwner::Parent(ticket) => {
                let ticket = Ticket(ticket);
                self.parts.events.push(LogEvent::Saved { ticket });
            }
            SaveOwner::Metadata(log) => {
                self.parts.storage.on_marked(self.parts.now, log, out);
                self.on_born(log, |birth| birth.unmarked = false);
            }
            SaveOwner::Checkpoint(log, id) => self.with(log, out, |log, io| log.on_checkpoint_saved(id, io)),
            SaveOwner::Swap(_, number) => self.on_cleaner_saved(number, out),
            SaveOwner::LogStart(dir) => self.on_log_starts_saved(dir, out),
            SaveOwner::Cleaned(dir) => self.on_cleaned_saved(dir, out),
            SaveOwner::Epochs(_) | SaveOwner::Indexes(_) => {}
            SaveOwner::HighWatermarks(dir) | SaveOwner::RecoveryPoints(dir) | SaveOwner::CleanMark(dir) => {
                self.on_shutdown_saved(dir);
            }
        }
    }

    fn on_loaded(&mut self, owner: LoadOwner, result: super::cold::Loaded, out: &mut Effects) {
        match owner {
            LoadOwner::Parent(ticket) => {
                let ticket = Ticket(ticket);
                self.parts.events.push(LogEvent::Loaded { ticket, result });
            }
            LoadOwner::Root(dir, slot) => {
                if let Some(starting) = &mut self.starting {
                    starting.on_root_loaded(dir, slot, result, &mut self.parts.io(out));
                }
                self.advance_start(out);
            }
            LoadOwner::Recovery(number, slot) => {
                if let Some(starting) = &mut self.starting {
                    starting.on_loaded(number, slot, result, &mut self.parts.io(out));
                }
                self.advance_start(out);
            }
            LoadOwner::Producers(log, at) => self.with(log, out, |log, io| log.on_producers_loaded(at, result, io)),
            LoadOwner::Index(log, base) => self.with(log, out, |log, io| log.on_index_loaded(base, result, io)),
            LoadOwner::Aborts(_, number, base) => self.on_aborts_loaded(number, base, result, out),
            LoadOwner::TimeIndex(log, base) => {
                self.with(log, out, |log, io| log.on_time_index_loaded(base, result, io))
            }
        }
    }

    fn on_born(&mut self, log: LogId, change: impl FnOnce(&mut Birth)) {
        let Some(log) = self.logs.get_mut(log.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        if log.birth == Birth::default() {
            return;
        }
        change(&mut log.birth);
        if log.birth == Birth::default() {
            self.parts.events.push(LogEvent::Created { log: log.id });
        }
    }

    fn on_offline(&mut self, dir: LogDirId, error: DiskError, out: &mut Effects) {
        self.parts.events.push(LogEvent::DirOffline { dir, error });
        self.stop_cleaning_in(dir, out);
        let io = &mut self.parts.io(out);
        if let Some(starting) = &mut self.starting {
            starting.on_offline(dir, io);
        }
        for log in self.logs.iter_mut().flatten().filter(|log| log.dir() == dir) {
            log.refuse_all(io);
        }
        self.advance_start(out);
    }

    fn advance_start(&mut self, out: &mut Effects) {
        let Some(starting) = &mut self.starting else {
            return;
        };
        let recovered = starting.take_recovered();
        let is_over = starting.is_over();
        if is_over {
            self.parts.storage.directories.iter_mut().for_each(|directory| directory.is_ready = true);
        }
        for log in recovered {
            self.add(log);
        }
        if !is_over {
            return;
        }
        let Some(starting) = self.starting.take() else {
            return;
        };
        self.housekeeping.log_starts.found(starting.log_starts());
        self.compaction.found(starting.cleaned());
        let mut boot = starting.finish(&mut self.parts.io(out));
        boot.logs = self.logs.iter().flatten().map(|log| log.found(&self.parts.storage)).collect();
        boot.logs.sort_by(|a, b| (a.dir, &a.partition).cmp(&(b.dir, &b.partition)));
        self.housekeeping.start(self.parts.now, &self.parts.config);
        self.start_cleaning();
        self.parts.events.push(LogEvent::BootDone(Box::new(boot)));
    }

    /// The directory with the fewest logs, of those that take appends and have nothing of the partition.
    fn least_used_dir(&self, partition: &TopicPartition) -> Option<LogDirId> {
        let has_none = |dir: LogDirId| self.aside.is_empty() || !self.aside.contains(&(dir, partition.clone()));
        let dirs = self.parts.storage.directories.iter().filter(|directory| directory.health == Health::Online);
        Some(dirs.filter(|directory| has_none(directory.id)).min_by_key(|directory| directory.logs)?.id)
    }
}

impl Parts {
    pub(super) fn io<'a>(&'a mut self, out: &'a mut Effects) -> Io<'a> {
        Io {
            now: self.now,
            storage: &mut self.storage,
            jobs: &mut self.jobs,
            events: &mut self.events,
            cold: &mut self.cold,
            lowered: &mut self.lowered,
            config: &self.config,
            out,
        }
    }
}
