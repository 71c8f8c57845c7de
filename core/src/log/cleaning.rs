//! A pass of the cleaner over one log: what it asks of the disk, in which order, and what it puts in place.
//!
//! Aborts -> Mapping (each dirty segment) -> Writing (the segments of a group) -> Syncing -> Saving -> Marking ->
//! Retiring -> Indexes -> Naming -> the next group, or the end. One pass runs at a time; [`super::compaction`] chooses.
//!
//! **The swap.** What stays of a group is written to `<base>.log.cleaned` and synced; its indexes are saved as `.swap`;
//! then the log file is renamed to `.swap`, and the directory synced. That is the moment at which the new segment
//! takes the place of the old ones: a crash before it leaves those, and after it a start goes on from here
//! ([`super::unfinished`]). Then the old files go, and when that is durable the indexes and, last, the log file take
//! their names. A segment's last batch tells where the group ended, whatever went of it, so the `.swap` alone says
//! what it replaces; as Kafka's start reads it, too.
//!
//! Readers go on in the old files, which are closed when all is done, or when the last answer has left them. Nothing
//! of the log that a pass looks at is deleted, cut or closed while it swaps; a cut before that ends the pass.

use std::collections::VecDeque;

use super::LogConfig;
use super::cleaner::plan::{Part, groups, most_bytes};
use super::cleaner::{AbortedTxns, Clean, Failure, Filter, Mapping, OffsetMap, Output, Rules, Source, Stage};
use super::cold::Loaded;
use super::names::{self, SegmentFile};
use super::partition::{Condition, Io, JobFor, Log};
use super::segment::{Handle, Saved, Segment};
use super::txn_index::{AbortedTxn, TxnIndex};
use crate::clock::Instant;
use crate::job::Job;
use crate::machine::{DiskError, DiskResult, FileAction, FileId, LogDirId, OpenMode, Path};
use crate::planted::Plant;
use crate::storage::{Health, LoadOwner, LogId, LogOp, Owner, SaveOwner};
use crate::types::Offset;

/// At most so many bytes are read in one run of the job, so that what has changed meanwhile is seen.
const RUN_BYTES: u64 = 8 << 20;
/// A run is worth so many bytes, however slow it is to be.
const LEAST_RUN_BYTES: u64 = 64 << 10;

/// What a log knows of its compaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct CleanerState {
    /// Below it the log is clean: every key is there once, and what is deleted is gone or has its horizon.
    pub(crate) to: Offset,
    /// A pass looks at it: retention and the deletion of segments wait.
    pub(crate) busy: bool,
    /// Segments below it are being replaced: a cut there waits, and their files stay open.
    pub(crate) swapping: Option<Offset>,
    /// How often the log was cut: a pass that began before is over.
    pub(crate) cuts: u64,
    /// Why it is not cleaned any more by this process.
    pub(crate) uncleanable: Option<String>,
}

/// A pass under way.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) log: LogId,
    pub(super) dir: LogDirId,
    /// Tells its operations from those of a pass that was given up.
    pub(super) number: u64,
    step: Step,
    /// What the log had when it began.
    range: Range,
    /// Segments that the job is still to walk over in this stage, or for this group.
    sources: VecDeque<Part>,
    groups: VecDeque<Vec<Part>>,
    /// Those being replaced.
    group: Vec<Part>,
    aborted: Vec<AbortedTxn>,
    /// The job's, while it does not run.
    walk: Walk,
    /// Operations of the step that have not completed.
    left: usize,
    /// Files to be removed when the swap is done.
    retired: Vec<Path>,
    /// Files to be closed when it is done.
    old_files: Vec<FileId>,
    speed: Speed,
    /// What it came to so far.
    pub(super) done: Done,
}

/// What of a log a pass looks at.
#[derive(Clone, Debug)]
struct Range {
    parts: Vec<Part>,
    from: Offset,
    /// Up to where it can be cleaned, and then up to where its keys fitted.
    end: Offset,
    cuts: u64,
    now: Option<i64>,
    config: LogConfig,
}

/// The job and its files.
#[derive(Clone, Debug, Default)]
struct Walk {
    stage: Option<Stage>,
    /// A walk that has used up its allowance.
    paused: Option<Box<Clean>>,
    source: Option<FileId>,
    output: Option<FileId>,
}

/// How fast it may read and write.
#[derive(Clone, Copy, Debug)]
struct Speed {
    bytes_per_second: f64,
    /// When the next run may begin.
    next: Instant,
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) read: u64,
    pub(super) written: u64,
    pub(super) keys: u64,
    pub(super) most_keys: u64,
    pub(super) map_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The transaction indexes of these segments are still to be read.
    Aborts(VecDeque<Offset>),
    /// A segment is being opened for the job.
    Opening,
    Running,
    /// The next run waits for its time.
    Throttled,
    /// The new segment's file is being made.
    Creating,
    Syncing,
    Saving,
    Marking,
    MarkSync,
    Retiring,
    RetireSync,
    Indexes,
    IndexSync,
    Naming,
    NameSync,
}

impl Step {
    /// Whether what was written has not got its name.
    const fn is_before_swap(&self) -> bool {
        match self {
            Self::Aborts(_) | Self::Opening | Self::Running | Self::Throttled | Self::Creating => true,
            Self::Syncing | Self::Saving | Self::Marking => true,
            Self::MarkSync | Self::Retiring | Self::RetireSync | Self::Indexes => false,
            Self::IndexSync | Self::Naming | Self::NameSync => false,
        }
    }
}

/// What became of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Going,
    /// The log is clean up to here.
    Clean(Offset),
    /// It is given up: the log has changed, or there is no room.
    GivenUp,
    /// The log cannot be cleaned.
    Uncleanable(String),
    /// A write or sync failed: the directory is out of use.
    Offline(DiskError),
}

impl Pass {
    /// Begins a pass over the first `parts` of a log.
    pub(super) fn start(
        number: u64,
        parts: Vec<Part>,
        end: Offset,
        now: Option<i64>,
        log: &mut Log,
        io: &mut Io<'_>,
    ) -> Self {
        log.checkpoints.cleaner.busy = true;
        let state = &log.checkpoints.cleaner;
        let from = state.to.max(log.log_start);
        let range = Range { from, end, cuts: state.cuts, now, config: log.config.clone(), parts };
        let bases = log.segments.iter().rev().skip(1).rev().map(|segment| segment.base).collect();
        let active = log.active().indexes.as_ref().map(|indexes| indexes.aborted.entries().to_vec());
        let mut pass = Self {
            log: log.id,
            dir: log.dir(),
            number,
            step: Step::Aborts(bases),
            sources: range.parts.iter().copied().filter(|part| part.end > from && part.size > 0).collect(),
            groups: VecDeque::new(),
            group: Vec::new(),
            aborted: active.unwrap_or_default(),
            walk: Walk::default(),
            left: 0,
            retired: Vec::new(),
            old_files: Vec::new(),
            speed: Speed { bytes_per_second: io.config.cleaner.bytes_per_second, next: io.now.monotonic },
            done: Done::default(),
            range,
        };
        pass.load_aborts(log, io);
        pass
    }

    /// Whether the log is still the one that it began with.
    fn is_void(&self, log: &Log, io: &Io<'_>) -> bool {
        let has_changed = log.checkpoints.cleaner.cuts != self.range.cuts || log.condition != Condition::Usable;
        has_changed || !log.config.compact || io.storage.health(log.dir()) != Health::Online
    }

    /// When it wants to go on.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (self.step == Step::Throttled).then_some(self.speed.next)
    }

    pub(super) fn on_timeout(&mut self, log: &mut Log, io: &mut Io<'_>) -> Outcome {
        if self.step != Step::Throttled || self.speed.next > io.now.monotonic {
            return Outcome::Going;
        }
        if self.is_void(log, io) {
            return Outcome::GivenUp;
        }
        if let Some(walk) = self.walk.paused.take() {
            self.run(walk, io);
        }
        Outcome::Going
    }

    /// What readers must not see of aborted transactions is told by each segment's own index, one after the other.
    fn load_aborts(&mut self, log: &Log, io: &mut Io<'_>) {
        let Step::Aborts(bases) = &mut self.step else { return };
        if let Some(base) = bases.pop_front() {
            let path = log.file(base, SegmentFile::TxnIndex);
            return io.storage.load(path, LoadOwner::Aborts(log.id, self.number, base), io.out);
        }
        let cleaner = &io.config.cleaner;
        let map = OffsetMap::new(cleaner.dedupe_buffer_bytes, cleaner.secret, io.storage.planted);
        let mapping = Mapping::new(map, self.range.from, self.range.end);
        self.walk.stage = Some(Stage::Map(mapping, AbortedTxns::new(std::mem::take(&mut self.aborted))));
        self.next_source(log, io);
    }

    pub(super) fn on_aborts(&mut self, base: Offset, loaded: Loaded, log: &Log, io: &mut Io<'_>) -> Outcome {
        if self.is_void(log, io) {
            return Outcome::GivenUp;
        }
        let entries = match loaded {
            Ok(None) => Ok(Vec::new()),
            Ok(Some(bytes)) => TxnIndex::parse(base, &bytes).map(|index| index.entries().to_vec()),
            Err(error) => return Outcome::Uncleanable(format!("the transaction index at {base}: {error}")),
        };
        match entries {
            Ok(entries) => self.aborted.extend(entries),
            Err(corrupt) => return Outcome::Uncleanable(format!("the transaction index at {base}: {corrupt}")),
        }
        self.load_aborts(log, io);
        Outcome::Going
    }

    /// Opens the next segment that the job is to walk over; `false` if there is none.
    fn next_source(&mut self, log: &Log, io: &mut Io<'_>) -> bool {
        let Some(part) = self.sources.front() else {
            return false;
        };
        let (file, path) = (io.storage.new_file(), log.file(part.base, SegmentFile::Log));
        self.walk.source = Some(file);
        self.step = Step::Opening;
        self.act(FileAction::Open { file, path, mode: OpenMode::Existing }, io);
        true
    }

    fn act(&mut self, action: FileAction, io: &mut Io<'_>) {
        self.left += 1;
        io.storage.act(self.dir, Owner::Log(self.log, LogOp::Clean(self.number)), action, io.out);
    }

    fn close(&self, file: FileId, io: &mut Io<'_>) {
        io.storage.close_when_unpinned(self.dir, file, io.out);
    }

    /// An operation of the present step has completed.
    pub(super) fn on_disk(&mut self, result: &DiskResult, log: &mut Log, io: &mut Io<'_>) -> Outcome {
        if let DiskResult::Failed(error) = result
            && let Some(outcome) = self.on_failed(*error)
        {
            return outcome;
        }
        self.left -= 1;
        if self.left > 0 {
            return Outcome::Going;
        }
        match self.step {
            Step::Opening | Step::Creating | Step::Syncing | Step::Saving if self.is_void(log, io) => {
                return Outcome::GivenUp;
            }
            Step::Opening => self.on_opened(result, io),
            Step::Creating => {
                self.next_source(log, io);
            }
            Step::Syncing => self.save_indexes(log, io),
            Step::Marking if io.storage.planted.has(Plant::Cmp19) => return self.replace(log, io),
            Step::Marking => self.sync_dir(Step::MarkSync, log, io),
            Step::MarkSync => return self.replace(log, io),
            Step::Retiring => self.sync_dir(Step::RetireSync, log, io),
            Step::RetireSync => self.name(&SegmentFile::INDEXES, Step::Indexes, log, io),
            Step::Indexes => self.sync_dir(Step::IndexSync, log, io),
            Step::IndexSync => self.name(&[SegmentFile::Log], Step::Naming, log, io),
            Step::Naming => self.sync_dir(Step::NameSync, log, io),
            Step::NameSync => return self.end_group(log, io),
            Step::Aborts(_) | Step::Running | Step::Throttled | Step::Saving => {}
        }
        Outcome::Going
    }

    /// What a failure means; `None`: it changes nothing.
    fn on_failed(&self, error: DiskError) -> Option<Outcome> {
        if self.step == Step::Retiring && error == DiskError::NotFound {
            return None; // An index that was not there.
        }
        if self.step == Step::Opening {
            return Some(Outcome::Uncleanable(format!("a segment cannot be opened: {error}")));
        }
        let is_harmless = error == DiskError::Full && self.step.is_before_swap();
        Some(if is_harmless { Outcome::GivenUp } else { Outcome::Offline(error) })
    }

    fn on_opened(&mut self, result: &DiskResult, io: &mut Io<'_>) {
        let (Some(part), Some(file), Some(stage)) =
            (self.sources.pop_front(), self.walk.source, self.walk.stage.take())
        else {
            return;
        };
        // A file that is shorter than it was is found out by the walk.
        debug_assert!(matches!(result, DiskResult::Opened { .. }), "an open that did not fail");
        let is_last = self.sources.iter().all(|part| part.size == 0);
        let source = Source { file, len: part.size, is_last };
        self.run(Box::new(Clean::new(stage, source, 0)), io);
    }

    /// Runs the job for a while.
    fn run(&mut self, mut walk: Box<Clean>, io: &mut Io<'_>) {
        self.step = Step::Running;
        walk.resume(self.speed.allowance());
        io.jobs.run(Job::Clean(Some(walk)), JobFor::Clean(self.log, self.number), io.out);
    }

    /// A run of the job is over.
    pub(super) fn on_walked(&mut self, walk: Box<Clean>, log: &mut Log, io: &mut Io<'_>) -> Outcome {
        self.done.read += walk.read;
        self.done.written += walk.written;
        match &walk.failed {
            Some(Failure::Write(DiskError::Full)) => return Outcome::GivenUp,
            Some(Failure::Write(error)) => return Outcome::Offline(*error),
            Some(failure @ (Failure::Read(_) | Failure::Content(_))) => {
                return Outcome::Uncleanable(failure.to_string());
            }
            None => {}
        }
        if self.is_void(log, io) {
            return Outcome::GivenUp;
        }
        self.speed.note(walk.read + walk.written, io.now.monotonic);
        if !walk.is_over() {
            self.walk.paused = Some(walk);
            self.step = Step::Throttled;
            return self.on_timeout(log, io);
        }
        if let Some(file) = self.walk.source.take() {
            self.close(file, io);
        }
        self.walk.stage = Some(walk.stage);
        if self.is_map_over() {
            return self.begin_writing(log, io);
        }
        if !self.next_source(log, io) {
            self.sync(log, io);
        }
        Outcome::Going
    }

    /// Whether the stage is the first one and all keys that fit are in the map.
    fn is_map_over(&self) -> bool {
        match &self.walk.stage {
            Some(Stage::Map(mapping, _)) => self.sources.front().is_none_or(|part| part.base >= mapping.end),
            Some(Stage::Filter(..)) | None => false,
        }
    }

    /// The keys are known: what stays is written, group by group.
    fn begin_writing(&mut self, log: &mut Log, io: &mut Io<'_>) -> Outcome {
        let Some(Stage::Map(mapping, aborted)) = self.walk.stage.take() else {
            return Outcome::GivenUp;
        };
        let end = mapping.end;
        self.range.end = end;
        self.done.keys = mapping.map.len() as u64;
        self.done.most_keys = mapping.map.most_keys() as u64;
        self.done.map_bytes = mapping.map.bytes();
        // What is not committed may be cut, and then the batch before is the last again.
        let producers = log.derived.producers.iter().map(|(id, entry)| (id, entry.last_below(log.high_watermark)));
        let rules = Rules {
            now: self.range.now,
            delete_retention_ms: self.range.config.compaction.delete_retention_ms,
            aborted,
            producers: producers.collect(),
            planted: io.storage.planted,
        };
        let parts: Vec<Part> = self.range.parts.iter().copied().filter(|part| part.base < end).collect();
        let groups = groups(&parts, most_bytes(&self.range.config));
        self.groups = groups.into_iter().filter(|group| group.iter().any(|part| part.size > 0)).collect();
        self.next_group(Box::new(Filter::new(mapping.map, end, rules)), log, io)
    }

    fn next_group(&mut self, filter: Box<Filter>, log: &Log, io: &mut Io<'_>) -> Outcome {
        let Some(group) = self.groups.pop_front() else {
            return Outcome::Clean(self.range.end);
        };
        let (base, file) = (group[0].base, io.storage.new_file());
        let segment = Segment::new(base, file, &self.range.config, io.now.wall);
        let output = Box::new(Output::new(file, segment, self.range.config.clone()));
        self.walk.output = Some(file);
        self.walk.stage = Some(Stage::Filter(filter, output));
        self.sources = group.iter().copied().filter(|part| part.size > 0).collect();
        self.group = group;
        self.step = Step::Creating;
        let path = log.path.join(&names::cleaned(base));
        self.act(FileAction::Open { file, path, mode: OpenMode::Create }, io);
        Outcome::Going
    }

    fn sync(&mut self, log: &Log, io: &mut Io<'_>) {
        if io.storage.planted.has(Plant::Cmp18) {
            return self.save_indexes(log, io);
        }
        self.step = Step::Syncing;
        self.left += 1;
        let op = io.storage.op(self.dir, Owner::Log(self.log, LogOp::Clean(self.number)));
        if let Some(file) = self.walk.output {
            io.out.push(crate::machine::Effect::Sync { op, file });
        }
    }

    /// All three are saved, also if they say nothing: what an earlier pass may have left of them must not stay.
    fn save_indexes(&mut self, log: &Log, io: &mut Io<'_>) {
        let Some(Stage::Filter(_, output)) = &mut self.walk.stage else {
            return;
        };
        self.step = Step::Saving;
        self.left = SegmentFile::INDEXES.len();
        let base = output.segment.base;
        let files = output.segment.index_files();
        for kind in SegmentFile::INDEXES {
            let bytes = files.iter().find(|file| file.1 == kind).map(|file| file.2.clone()).unwrap_or_default();
            let path = log.path.join(&names::swap(base, kind));
            io.storage.save(path, bytes, SaveOwner::Swap(self.log, self.number), io.out);
        }
    }

    /// An index is saved. With the last one the new segment is complete: from here on it is the swap.
    pub(super) fn on_saved(&mut self, log: &mut Log, io: &mut Io<'_>) -> Outcome {
        self.left -= 1;
        if self.left > 0 {
            return Outcome::Going;
        }
        if self.is_void(log, io) || self.place(log).is_none() {
            return Outcome::GivenUp;
        }
        self.step = Step::Marking;
        log.checkpoints.cleaner.swapping = self.group.last().map(|part| part.end);
        let base = self.group[0].base;
        let (from, to) = (names::cleaned(base), names::swap(base, SegmentFile::Log));
        self.act(FileAction::Rename { from: log.path.join(&from), to: log.path.join(&to) }, io);
        Outcome::Going
    }

    fn sync_dir(&mut self, step: Step, log: &Log, io: &mut Io<'_>) {
        self.step = step;
        self.act(FileAction::SyncDir { path: log.path.clone() }, io);
    }

    /// Where the group's segments are in the log, if they are.
    fn place(&self, log: &Log) -> Option<usize> {
        let at = log.segments.binary_search_by_key(&self.group[0].base, |segment| segment.base).ok()?;
        let mut found = log.segments.iter().skip(at).map(|segment| segment.base);
        let is_there = self.group.iter().all(|part| found.next() == Some(part.base));
        (is_there && found.next().is_some()).then_some(at)
    }

    /// The new segment takes the place of the old ones, whose files go.
    fn replace(&mut self, log: &mut Log, io: &mut Io<'_>) -> Outcome {
        let (Some(at), Some(Stage::Filter(_, output)), Some(file)) =
            (self.place(log), &self.walk.stage, self.walk.output)
        else {
            return Outcome::GivenUp;
        };
        self.walk.output = None;
        let mut segment = output.segment.clone();
        (segment.file, segment.saved) = (Handle::Open(file), Saved::Whole);
        let old: Vec<Segment> = log.segments.drain(at..at + self.group.len()).collect();
        log.segments.insert(at, segment);
        self.step = Step::Retiring;
        for old in old {
            if let Handle::Open(file) | Handle::Opening(file) = old.file {
                self.old_files.push(file);
            }
            for kind in [SegmentFile::Log].into_iter().chain(SegmentFile::INDEXES) {
                let from = log.file(old.base, kind);
                io.storage.supersede(&from);
                let to = io.storage.retired_name(&from);
                self.retired.push(to.clone());
                self.act(FileAction::Rename { from, to }, io);
            }
        }
        log.answer_all(io);
        Outcome::Going
    }

    fn name(&mut self, kinds: &[SegmentFile], step: Step, log: &Log, io: &mut Io<'_>) {
        self.step = step;
        let base = self.group[0].base;
        for &kind in kinds {
            let from = log.path.join(&names::swap(base, kind));
            self.act(FileAction::Rename { from, to: log.file(base, kind) }, io);
        }
    }

    fn end_group(&mut self, log: &mut Log, io: &mut Io<'_>) -> Outcome {
        log.checkpoints.cleaner.swapping = None;
        for file in std::mem::take(&mut self.old_files) {
            io.storage.close(log.id, file, io.out);
        }
        for path in std::mem::take(&mut self.retired) {
            io.storage.remove_later(io.now, path, log.config.file_delete_delay);
        }
        io.cold.push_back((log.id, self.group[0].base));
        if self.is_void(log, io) || log.wanted_cut.is_some() {
            return Outcome::GivenUp;
        }
        match self.walk.stage.take() {
            Some(Stage::Filter(filter, _)) => self.next_group(filter, log, io),
            Some(Stage::Map(..)) | None => Outcome::GivenUp,
        }
    }

    /// Its log is deleted, and the files with it; or the directory is out of use.
    pub(super) fn close_all(mut self, io: &mut Io<'_>) {
        let own = [self.walk.source.take(), self.walk.output.take()].into_iter().flatten();
        for file in own.chain(std::mem::take(&mut self.old_files)).collect::<Vec<_>>() {
            self.close(file, io);
        }
    }

    /// It is over, however: what it holds of the log is free, and what waited for that goes on.
    pub(super) fn release(mut self, log: &mut Log, io: &mut Io<'_>) {
        for file in [self.walk.source.take(), self.walk.output.take()].into_iter().flatten() {
            self.close(file, io);
        }
        for file in std::mem::take(&mut self.old_files) {
            io.storage.close(log.id, file, io.out);
        }
        let state = &mut log.checkpoints.cleaner;
        (state.busy, state.swapping) = (false, None);
        let (is_written, is_marked) = (self.step.is_before_swap(), self.step == Step::MarkSync);
        if let Some(part) = self.group.first().filter(|_| is_written || is_marked) {
            // The next pass makes a file of the one name, and a start would put the other where nothing is any more.
            let name = if is_marked { names::swap(part.base, SegmentFile::Log) } else { names::cleaned(part.base) };
            io.storage.retire(log.id, &log.path.join(&name), log.config.file_delete_delay, io.out);
        }
        log.delete_below(log.checkpoints.deleted, io);
        log.go_on_to_cut(io);
    }
}

impl Speed {
    fn is_bounded(&self) -> bool {
        self.bytes_per_second.is_finite() && self.bytes_per_second < 1e18
    }

    /// How much a run may read: a tenth of a second's share.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by what a run may read")]
    fn allowance(&self) -> u64 {
        if !self.is_bounded() {
            return RUN_BYTES;
        }
        ((self.bytes_per_second / 20.0) as u64).clamp(LEAST_RUN_BYTES, RUN_BYTES)
    }

    /// A run has read and written so much: the next one waits until that was due.
    #[expect(clippy::cast_precision_loss, reason = "a time")]
    fn note(&mut self, bytes: u64, now: Instant) {
        if self.is_bounded() {
            let seconds = (bytes as f64 / self.bytes_per_second.max(1.0)).min(1e6);
            self.next = self.next.max(now) + std::time::Duration::from_secs_f64(seconds);
        }
    }
}
