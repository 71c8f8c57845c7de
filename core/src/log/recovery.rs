//! Recovery of one log at a start.
//!
//! Listing -> Reading (its small files) -> Walking (segment by segment, by jobs) -> done.
//!
//! The walk begins at the newest checkpoint that the flush journal covers, so what it costs does not grow with
//! the log; everything that it meets it checks. What it cannot take for a batch is judged by the journal:
//!
//! * at or above the claim it is a *torn tail*: writes that were never promised. It is cut, with a note.
//! * below the claim it is *damage*, and so is a claim whose last batch is not where, or not what, it says. The
//!   log is never cut then (promise P5); it is offline until it is repaired.
//!
//! After a clean shutdown nothing is walked but the last stretch of an index interval, and no CRC is computed.
//! After a failed sync the page cache may show what the disk does not have, so what lies above the claim is read from
//! the disk. What is valid there stays: the claim of a batch that was answered may itself be what a disk lost.

use std::sync::Arc;

use ottla_wire::Uuid;

use super::api::{Damage, LogConfig};
use super::cold::Loaded;
use super::leader_epoch_cache::LeaderEpochCache;
use super::names::{self, FileName, SegmentFile};
use super::partition::{Io, JobFor, Log};
use super::partition_metadata;
use super::producer_snapshot;
use super::producer_state::{MAX_PRODUCERS, ProducerState};
use super::scan::{Derived, Purpose, Rebuild, Scan};
use super::segment::Segment;
use super::unfinished::Unfinished;
use super::walk::Walk;
use crate::job::Job;
use crate::machine::{DiskError, DiskResult, Entry, FileAction, FileId, Level, OpenMode, Path};
use crate::planted::Plant;
use crate::storage::{BootOp, LoadOwner, Mark, Owner};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

/// What the directory's own files say of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hints {
    /// The flush journal's claims for the directory's name, by topic id.
    pub(crate) claims: Vec<(Arc<str>, Mark)>,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    /// Up to where it is clean.
    pub(crate) cleaned: Offset,
    /// The last shutdown was clean.
    pub(crate) clean: bool,
    /// The flush journal is damaged.
    pub(crate) unsure: bool,
}

/// One log's recovery.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    pub(super) number: u32,
    pub(super) partition: TopicPartition,
    pub(super) path: Path,
    pub(super) hints: Hints,
    pub(super) config: LogConfig,
    pub(super) files: Files,
    pub(super) topic_id: Uuid,
    /// Why it cannot be known whose log it is.
    unnamed: Option<String>,
    pub(super) claim: Option<Mark>,
    pub(super) epochs: Option<LeaderEpochCache>,
    /// Files that are being read.
    pub(super) left: u8,
    /// Where the walk begins: the checkpoint, and its producers.
    pub(super) from: Offset,
    pub(super) producers: Option<ProducerState>,
    pub(super) indexes: [Option<bytes::Bytes>; 3],
    pub(super) walked: Walked,
}

/// The files of its directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// Segments by base offset, with their bytes.
    pub(super) logs: Vec<(Offset, u32)>,
    pub(super) snapshots: Vec<Offset>,
    /// Snapshots that a read failed of.
    pub(super) unreadable: Vec<Offset>,
    /// Segments that are no part of the log any more, whose files are to go.
    pub(super) gone: Vec<Offset>,
    /// Index files, by their segment.
    pub(super) indexes: Vec<(Offset, SegmentFile)>,
    pub(super) others: Vec<(Box<str>, u64)>,
    /// A swap that a crash has left, while it is being ended.
    pub(super) unfinished: Option<Unfinished>,
}

/// What the walk has come to.
#[derive(Clone, Debug)]
pub(super) struct Walked {
    /// The segment that is being walked.
    pub(super) index: usize,
    /// Those done.
    pub(super) segments: Vec<Segment>,
    pub(super) derived: Option<Derived>,
    pub(super) last: Option<Mark>,
    pub(super) epoch: LeaderEpoch,
    pub(super) claim_met: bool,
    pub(super) file: Option<FileId>,
    pub(super) damage: Option<Damage>,
    /// The log ends here, in the segment at `index`; what lies above goes.
    pub(super) cut: bool,
    /// The segment, if there is one, whose index files say nothing that the checkpoint does not prove.
    pub(super) proven: Option<Offset>,
    /// The one, if there is one, whose index named a place where no batch starts.
    pub(super) spoilt: Option<Offset>,
}

/// What became of a recovery.
#[derive(Clone, Debug)]
pub(crate) enum Recovered {
    /// It goes on.
    Working,
    /// The log, and its claim's key.
    Done(Box<Log>),
}

const METADATA: u8 = 0;
const EPOCHS: u8 = 1;
const SNAPSHOT: u8 = 2;
const INDEXES: u8 = 3;

impl Walked {
    pub(super) const fn new() -> Self {
        Self {
            index: 0,
            segments: Vec::new(),
            derived: None,
            last: None,
            epoch: LeaderEpoch(-1),
            claim_met: false,
            file: None,
            damage: None,
            cut: false,
            proven: None,
            spoilt: None,
        }
    }
}

impl Recovery {
    pub(crate) fn new(number: u32, partition: TopicPartition, path: Path, hints: Hints, config: LogConfig) -> Self {
        Self {
            number,
            partition,
            path,
            hints,
            config,
            files: Files::default(),
            topic_id: Uuid::ZERO,
            unnamed: None,
            claim: None,
            epochs: None,
            left: 0,
            from: Offset::ZERO,
            producers: None,
            indexes: [None, None, None],
            walked: Walked::new(),
        }
    }

    pub(crate) fn start(&self, io: &mut Io<'_>) {
        let path = self.path.clone();
        // A vote that the last process renamed into place may be seen and not be durable.
        let unsure = &*path.name == names::METADATA_DIR && !self.hints.clean;
        let first = if unsure { FileAction::SyncDir { path } } else { FileAction::List { path } };
        self.act(first, io);
    }

    pub(super) fn act(&self, action: FileAction, io: &mut Io<'_>) {
        io.storage.act(self.path.dir, Owner::Boot(BootOp::Log(self.number)), action, io.out);
    }

    /// A list, or an open.
    pub(crate) fn on_disk(&mut self, result: DiskResult, io: &mut Io<'_>) -> Recovered {
        if self.files.unfinished.is_some() {
            return self.on_swap_disk(&result, io);
        }
        match result {
            DiskResult::Entries(entries) => self.on_listed(&entries, io),
            DiskResult::Opened { .. } => self.on_opened(io),
            DiskResult::Failed(error) if self.is_unknown() => self.give_up(error, io),
            DiskResult::Failed(error) => {
                let why = format!("it cannot be read: {error}");
                let segment = self.files.logs.first().map_or(Offset::ZERO, |log| log.0);
                self.walked.damage.get_or_insert(Damage { segment, pos: 0, why, unreadable: true });
                self.finish(io)
            }
            DiskResult::Done if self.walked.file.is_some() => self.walk(io),
            DiskResult::Done => {
                self.act(FileAction::List { path: self.path.clone() }, io);
                Recovered::Working
            }
            DiskResult::Bytes(_) | DiskResult::Space(_) => Recovered::Working,
        }
    }

    /// Whether neither the journal tells whether anything of the log was promised, nor the log yet whose it is.
    const fn is_unknown(&self) -> bool {
        self.hints.unsure && self.claim.is_none()
    }

    /// The next start may learn whose log it is. A new journal, which cannot name it, would tell that start that
    /// nothing of it was promised; so there is none.
    fn give_up(&self, error: DiskError, io: &mut Io<'_>) -> Recovered {
        io.storage.take_offline(self.path.dir, error);
        Recovered::Working
    }

    fn on_listed(&mut self, entries: &[Entry], io: &mut Io<'_>) -> Recovered {
        if let Some(unfinished) = Unfinished::of(entries).filter(|_| !io.storage.planted.has(Plant::Log11)) {
            return self.end_swaps(unfinished, io);
        }
        for entry in entries {
            self.sort(entry, io);
        }
        self.drop_below_start();
        for (slot, name) in [(METADATA, names::PARTITION_METADATA), (EPOCHS, names::LEADER_EPOCH_CHECKPOINT)] {
            if self.files.others.iter().any(|(other, _)| &**other == name) {
                self.load(slot, self.path.join(name), io);
            }
        }
        if self.left == 0 { self.begin(io) } else { Recovered::Working }
    }

    fn sort(&mut self, entry: &Entry, io: &mut Io<'_>) {
        match FileName::parse(&entry.name) {
            FileName::Segment { base_offset, file: SegmentFile::Log } => {
                let len = u32::try_from(entry.len).unwrap_or(u32::MAX);
                self.files.logs.push((base_offset, len));
            }
            FileName::Segment { base_offset, file: SegmentFile::Snapshot } => self.files.snapshots.push(base_offset),
            FileName::Segment { base_offset, file } => self.files.indexes.push((base_offset, file)),
            FileName::Leftover if entry.name.ends_with(".deleted") => self.remove(&entry.name, io),
            FileName::Leftover | FileName::Swap { .. } => io.storage.discard(&self.path.join(&entry.name), io.out),
            FileName::Other if names::is_unfinished(&entry.name) => {
                io.storage.discard(&self.path.join(&entry.name), io.out);
            }
            FileName::Other => self.files.others.push((entry.name.clone(), entry.len)),
        }
    }

    /// Segments wholly below the log start are what a deletion did not come to. What no snapshot tells of their
    /// producers is walked once more.
    fn drop_below_start(&mut self) {
        self.files.logs.sort_unstable();
        self.files.snapshots.sort_unstable();
        while let [first, second, ..] = self.files.logs[..] {
            let told = |at: &Offset| (second.0..=self.hints.log_start).contains(at);
            if second.0 > self.hints.log_start || !self.files.snapshots.iter().any(told) {
                break;
            }
            self.files.logs.remove(0);
            self.files.gone.push(first.0);
        }
    }

    pub(super) fn remove(&self, name: &str, io: &mut Io<'_>) {
        let path = self.path.join(name);
        io.storage.act(self.path.dir, Owner::Nobody, FileAction::Remove { path }, io.out);
    }

    pub(super) fn load_name(&mut self, io: &mut Io<'_>) {
        self.load(METADATA, self.path.join(names::PARTITION_METADATA), io);
    }

    fn load(&mut self, slot: u8, path: Path, io: &mut Io<'_>) {
        self.left += 1;
        io.storage.load(path, LoadOwner::Recovery(self.number, slot), io.out);
    }

    /// A small file was read.
    pub(crate) fn on_loaded(&mut self, slot: u8, result: Loaded, io: &mut Io<'_>) -> Recovered {
        self.left -= 1;
        if slot == METADATA {
            match result {
                Err(error) if self.is_unknown() => return self.give_up(error, io),
                _ => self.take_name(&result),
            }
        }
        if slot == SNAPSHOT {
            self.take_snapshot(result, io);
            return self.choose_snapshot(io);
        }
        let bytes = result.ok().flatten();
        match slot {
            METADATA => {}
            EPOCHS => {
                let parsed = bytes.and_then(|bytes| LeaderEpochCache::parse(&bytes).ok());
                self.epochs = parsed.or_else(|| io.storage.planted.has(Plant::Log02).then(LeaderEpochCache::new));
            }
            index => self.indexes[usize::from(index - INDEXES)] = bytes,
        }
        match (self.left, slot) {
            (0, METADATA | EPOCHS) => self.begin(io),
            (0, _) => self.open_segment(io),
            _ => Recovered::Working,
        }
    }

    /// Whose log it is. Without the file it was never wholly made; a file that cannot be read says nothing.
    fn take_name(&mut self, result: &Loaded) {
        match result.as_ref().map(|bytes| bytes.as_ref().map(|bytes| partition_metadata::parse(bytes))) {
            Ok(None) => {}
            Ok(Some(Ok(topic_id))) => self.topic_id = topic_id,
            Ok(Some(Err(corrupt))) => self.unnamed = Some(corrupt.why),
            Err(error) => self.unnamed = Some(format!("it cannot be read: {error}")),
        }
    }

    /// Everything but the snapshot is known that decides where the walk begins.
    fn begin(&mut self, io: &mut Io<'_>) -> Recovered {
        let none = self.hints.unsure.then(|| Mark { unsure: true, ..Mark::default() });
        if let Some(why) = self.unnamed.take() {
            self.claim = none;
            let first = self.files.logs.first().map_or(Offset::ZERO, |log| log.0);
            self.damage(first, 0, format!("{}: {why}", names::PARTITION_METADATA));
            return self.finish(io);
        }
        let key = stream_key(&self.path.name, self.topic_id);
        let claims = &self.hints.claims;
        let own = claims.iter().find(|(claimed, _)| *claimed == key);
        let only = claims.first().filter(|_| self.topic_id.is_zero() && claims.len() == 1);
        self.claim = own.or(only).map(|(_, mark)| *mark).or(none);
        if let Some((key, _)) = only {
            self.topic_id = key.rsplit_once(' ').and_then(|(_, id)| id.parse().ok()).unwrap_or_default();
        }
        if self.walked.damage.is_some() {
            return self.finish(io);
        }
        self.drop_what_was_dropped();
        if self.files.logs.is_empty() {
            return self.begin_empty(io);
        }
        if let Some(claim) = self.claim.filter(|claim| claim.end > self.hints.log_start && claim.pos > 0)
            && let Err(why) = self.has_claimed(&claim)
        {
            self.damage(claim.segment, claim.start, why);
            return self.finish(io);
        }
        self.choose_snapshot(io)
    }

    /// A directory without a segment: it was being made.
    fn begin_empty(&mut self, io: &mut Io<'_>) -> Recovered {
        if let Some(claim) = self.claim.filter(|claim| claim.end > self.hints.log_start && claim.pos > 0) {
            self.damage(claim.segment, 0, "every segment is missing".into());
            return self.finish(io);
        }
        let base = self.claim.map_or(self.hints.log_start, |claim| claim.end.max(self.hints.log_start));
        self.files.logs.push((base, 0));
        self.from = base;
        self.producers = Some(ProducerState::restore(Default::default(), base, MAX_PRODUCERS, io.storage.planted));
        let file = io.storage.new_file();
        self.walked.file = Some(file);
        let open =
            FileAction::Open { file, path: self.path.join(&SegmentFile::Log.name(base)), mode: OpenMode::Create };
        self.act(open, io);
        Recovered::Working
    }

    /// The newest snapshot that a checkpoint below the claim has left, or the beginning of the log.
    fn choose_snapshot(&mut self, io: &mut Io<'_>) -> Recovered {
        if self.producers.is_none() {
            let bound = self.snapshots_end(io.storage.planted);
            let first = self.files.logs[0].0;
            let is_unreadable = |at: &Offset| self.files.unreadable.contains(at);
            let usable = |at: &Offset| *at <= bound && *at >= first && self.epochs.is_some() && !is_unreadable(at);
            if let Some(at) = self.files.snapshots.iter().copied().rfind(usable) {
                self.from = at;
                self.load(SNAPSHOT, self.path.join(&SegmentFile::Snapshot.name(at)), io);
                return Recovered::Working;
            }
            self.from = first;
            self.producers = Some(ProducerState::restore(Default::default(), first, MAX_PRODUCERS, io.storage.planted));
        }
        let after = self.files.logs.partition_point(|(base, _)| *base <= self.from);
        self.walked.index = after.saturating_sub(1);
        let base = self.files.logs[self.walked.index].0;
        if self.from > base {
            for (slot, file) in (INDEXES..).zip(SegmentFile::INDEXES) {
                if self.files.indexes.contains(&(base, file)) {
                    self.load(slot, self.path.join(&file.name(base)), io);
                }
            }
        }
        if self.left == 0 { self.open_segment(io) } else { Recovered::Working }
    }

    fn take_snapshot(&mut self, loaded: Loaded, io: &mut Io<'_>) {
        let at = self.from;
        let text = match loaded.map(|bytes| bytes.map(|bytes| producer_snapshot::parse(&bytes))) {
            Ok(Some(Ok(producers))) => {
                self.producers = Some(ProducerState::restore(producers, at, MAX_PRODUCERS, io.storage.planted));
                return;
            }
            _ if io.storage.planted.has(Plant::Log04) => {
                let none = std::collections::BTreeMap::new();
                self.producers = Some(ProducerState::restore(none, at, MAX_PRODUCERS, io.storage.planted));
                return;
            }
            Ok(_) => {
                self.files.snapshots.retain(|&other| other != at);
                io.storage.discard(&self.path.join(&SegmentFile::Snapshot.name(at)), io.out);
                "is not whole".to_owned()
            }
            // The next start may be able to. It may tell of producers whose records are gone, as nothing else does.
            Err(error) => {
                self.files.unreadable.push(at);
                format!("cannot be read: {error}")
            }
        };
        io.out.note(
            Level::Warn,
            format!("{}: the producer snapshot at {at} {text}; an older one is used", self.partition),
        );
    }

    fn open_segment(&mut self, io: &mut Io<'_>) -> Recovered {
        let (base, _) = self.files.logs[self.walked.index];
        let file = io.storage.new_file();
        self.walked.file = Some(file);
        let open =
            FileAction::Open { file, path: self.path.join(&SegmentFile::Log.name(base)), mode: OpenMode::Existing };
        self.act(open, io);
        Recovered::Working
    }

    /// A sync that failed leaves pages that look written and are not, and the process that saw it cannot be relied on
    /// to have told. What is not claimed is looked at as the disk has it.
    fn on_opened(&mut self, io: &mut Io<'_>) -> Recovered {
        let (base, len) = self.files.logs[self.walked.index];
        let claimed = self.claim.unwrap_or_default();
        let pos = if base == claimed.segment { claimed.pos } else { 0 };
        match self.walked.file {
            Some(file) if !self.hints.clean && base >= claimed.segment && len > pos => {
                self.act(FileAction::Forget { file, pos: pos.into() }, io);
                Recovered::Working
            }
            _ => self.walk(io),
        }
    }

    pub(super) fn walk(&mut self, io: &mut Io<'_>) -> Recovered {
        let (base, len) = self.files.logs[self.walked.index];
        let Some(file) = self.walked.file else {
            return Recovered::Working;
        };
        let segment = self.known_of(base, len, file, io);
        let derived = self.walked.derived.take().unwrap_or_else(|| {
            let mut epochs = self.epochs.take().unwrap_or_default();
            // What lies above comes again with the batches.
            epochs.truncate_end(self.from);
            let producers = self.producers.take();
            let producers = producers.expect("the snapshot was chosen before a segment is opened");
            Derived { epochs, producers }
        });
        let walk = Walk::new(segment.size, len, !self.hints.clean);
        let rebuild = Rebuild {
            began: segment.size,
            segment,
            derived,
            config: self.config.clone(),
            from: self.from,
            next: self.walked.last.map_or(base, |last| last.end),
            epoch: self.walked.epoch,
            claimed: self.claim.map_or(Offset::ZERO, |claim| claim.end),
            claim: self.claim.filter(|claim| claim.segment == base),
            claim_met: false,
            last: None,
        };
        let scan = Box::new(Scan::new(file, walk, Purpose::Rebuild(Box::new(rebuild))));
        if len == 0 {
            return self.on_walked(*scan, io);
        }
        io.jobs.run(Job::Scan(Some(scan)), JobFor::Recovery(self.number), io.out);
        Recovered::Working
    }

    /// A segment is walked.
    pub(crate) fn on_walked(&mut self, scan: Scan, io: &mut Io<'_>) -> Recovered {
        if self.files.unfinished.is_some() {
            return self.on_swap_walked(scan, io);
        }
        let Purpose::Rebuild(rebuild) = scan.purpose else {
            return Recovered::Working;
        };
        if scan.bad.is_some() && rebuild.began > 0 && rebuild.last.is_none() {
            return self.walk_without_index(rebuild.segment.base, rebuild.derived, io);
        }
        let (index, last_index) = (self.walked.index, self.files.logs.len() - 1);
        let Rebuild { mut segment, derived, last, claim_met, next, epoch, began, .. } = *rebuild;
        self.walked.claim_met |= claim_met;
        self.walked.epoch = epoch;
        self.walked.last = last.or(self.walked.last);
        let base = segment.base;
        let failed = scan.failed.map(|error| (segment.size, format!("it cannot be read: {error}")));
        // What is deleted may be torn or rotten.
        let is_deleted = self.files.logs.get(index + 1).is_some_and(|(after, _)| *after <= self.hints.log_start);
        let bad = scan.bad.or(failed).filter(|_| !is_deleted);
        if !self.hints.clean && segment.size > began {
            segment.checked.add(began, segment.size);
        }
        self.walked.segments.push(segment);
        self.walked.derived = Some(derived);
        if let Some((pos, why)) = bad {
            return self.on_bad(base, pos, why, scan.failed.is_some(), io);
        }
        // Compaction leaves gaps, but only in what was claimed. Above it a gap is what a power loss left out.
        let claimed = self.claim.map_or(Offset::ZERO, |claim| claim.end);
        let gap = self.files.logs.get(index + 1).filter(|(base, _)| *base < next || *base > next.max(claimed));
        if let Some(&(base, _)) = gap.filter(|_| !is_deleted) {
            let why = format!("it begins at offset {base}, and the segment before it ends at {next}");
            return self.on_bad(base, 0, why, false, io);
        }
        if index < last_index {
            self.walked.index += 1;
            return self.open_segment(io);
        }
        self.check_claim();
        self.finish(io)
    }

    /// Torn or damaged: the claim decides.
    fn on_bad(&mut self, base: Offset, pos: u32, why: String, unreadable: bool, io: &mut Io<'_>) -> Recovered {
        let claimed = self.claim.is_some_and(|claim| {
            let is_below = base < claim.segment || (base == claim.segment && pos < claim.pos);
            claim.unsure || claim.end > self.hints.log_start && is_below
        });
        if claimed || unreadable {
            self.walked.damage.get_or_insert(Damage { segment: base, pos, why, unreadable });
            return self.finish(io);
        }
        let lost: u64 = self.files.logs.iter().filter(|(other, _)| *other > base).map(|(_, len)| u64::from(*len)).sum();
        let len = self.files.logs.iter().find(|(other, _)| *other == base).map_or(0, |(_, len)| len - pos.min(*len));
        let text = format!(
            "{}: {} bytes after offset {} were being written and are cut: {why}",
            self.partition,
            lost + u64::from(len),
            self.end(),
        );
        io.out.note(Level::Warn, text);
        self.walked.cut = true;
        self.check_claim();
        self.finish(io)
    }

    pub(super) fn damage(&mut self, segment: Offset, pos: u32, why: String) {
        self.walked.damage.get_or_insert(Damage { segment, pos, why, unreadable: false });
    }

    fn end(&self) -> Offset {
        let base = self.walked.segments.last().map_or(Offset::ZERO, |segment| segment.base);
        self.walked.last.map_or(base, |last| last.end.max(base))
    }
}

/// What the flush journal knows a log by: a topic made anew under an old name is another log.
pub(crate) fn stream_key(name: &str, topic_id: Uuid) -> Arc<str> {
    format!("{name} {topic_id}").into()
}
