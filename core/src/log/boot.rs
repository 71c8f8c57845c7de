//! A start: each log directory is listed, its own files read, the marks of the last run taken away, and then
//! every log in it recovered, so many at a time.
//!
//! Listing -> Reading -> Unmarking -> Recovering -> done; or offline, if the directory cannot be read.
//!
//! The clean-shutdown mark is removed, and the removal synced, *before* anything is loaded that could be written:
//! a crash during the load must not leave a mark over dirty logs (KAFKA-10471). So are the recovery points, which are
//! written with it: nobody writes them while logs are cut, and they would claim what is not there any more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::api::{Boot, LogConfig};
use super::checkpoint::{self, OffsetCheckpoint};
use super::clean_shutdown;
use super::cold::Loaded;
use super::names::{self, DirName};
use super::partition::{Io, Log};
use super::recovery::{Hints, Recovered, Recovery};
use super::scan::Scan;
use crate::machine::{DiskError, DiskResult, Entry, FileAction, Level, LogDirId, Path};
use crate::planted::Plant;
use crate::storage::{BootOp, JOURNAL, LoadOwner, Mark, Owner, journal_claims};
use crate::types::{BrokerEpoch, Offset, TopicPartition};

/// How many logs are recovered at a time.
const AT_A_TIME: usize = 64;

const CLEAN: u8 = 0;
const CLAIMS: u8 = 1;
const LOG_STARTS: u8 = 2;
const HIGH_WATERMARKS: u8 = 3;
const CLEANED: u8 = 4;

/// A start under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Starting {
    dirs: Vec<DirStart>,
    /// Logs whose turn has not come.
    waiting: VecDeque<(LogDirId, TopicPartition, Hints)>,
    running: BTreeMap<u32, Recovery>,
    last: u32,
    recovered: Vec<Log>,
    /// What lies beside the metadata log.
    beside_metadata: Vec<(Box<str>, u64)>,
}

#[derive(Clone, Debug)]
struct DirStart {
    id: LogDirId,
    step: Step,
    /// Names of the logs in it.
    logs: Vec<TopicPartition>,
    /// Files that are being read.
    left: u8,
    /// There is a mark of a clean shutdown, whatever it says.
    is_marked: bool,
    /// There are recovery points, which are true of the logs as they lie there.
    has_points: bool,
    is_clean: bool,
    broker_epoch: Option<BrokerEpoch>,
    /// The flush journal is damaged: its claims may be too low.
    unsure: bool,
    claims: BTreeMap<Arc<str>, Mark>,
    log_starts: OffsetCheckpoint,
    high_watermarks: OffsetCheckpoint,
    cleaned: OffsetCheckpoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Listing,
    Reading,
    Unmarking,
    Recovering,
    Offline,
}

impl Starting {
    pub(crate) fn begin(io: &mut Io<'_>) -> Self {
        let mut starting = Self::default();
        for id in (0..io.config.dirs).map(LogDirId) {
            let list = FileAction::List { path: Path::root(id) };
            io.storage.act(id, Owner::Boot(BootOp::Root), list, io.out);
            starting.dirs.push(DirStart::new(id));
        }
        starting
    }

    /// A completion of the start's own.
    pub(crate) fn on_disk(&mut self, dir: LogDirId, what: BootOp, result: DiskResult, io: &mut Io<'_>) {
        match (what, result) {
            (BootOp::Log(number), result) => self.advance(number, io, |recovery, io| recovery.on_disk(result, io)),
            (_, DiskResult::Failed(error)) => self.give_up(dir, error, io),
            (BootOp::Root, DiskResult::Entries(entries)) => self.on_listed(dir, &entries, io),
            (BootOp::Root, _) => {}
            (BootOp::Unmark, _) => self.unmark_points(dir, io),
            (BootOp::UnmarkPoints, _) => unmark_sync(dir, io),
            (BootOp::UnmarkSync, _) => self.recover_in(dir, io),
        }
    }

    fn on_listed(&mut self, dir: LogDirId, entries: &[Entry], io: &mut Io<'_>) {
        let start = &mut self.dirs[usize::from(dir.0)];
        start.step = Step::Reading;
        let root = Path::root(dir);
        for entry in entries {
            start.has_points |= &*entry.name == names::RECOVERY_POINT_CHECKPOINT;
            let slot = match &*entry.name {
                names::CLEAN_SHUTDOWN => CLEAN,
                JOURNAL => CLAIMS,
                names::LOG_START_CHECKPOINT => LOG_STARTS,
                names::HIGH_WATERMARK_CHECKPOINT => HIGH_WATERMARKS,
                names::CLEANER_CHECKPOINT => CLEANED,
                _ => {
                    start.sort(entry, io);
                    continue;
                }
            };
            start.is_marked |= slot == CLEAN;
            start.left += 1;
            io.storage.load(root.join(&entry.name), LoadOwner::Root(dir, slot), io.out);
        }
        if start.left == 0 {
            self.unmark(dir, io);
        }
    }

    /// A file of a log directory was read.
    pub(crate) fn on_root_loaded(&mut self, dir: LogDirId, slot: u8, result: Loaded, io: &mut Io<'_>) {
        let bytes = match result {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) => return self.give_up(dir, error, io),
        };
        let start = &mut self.dirs[usize::from(dir.0)];
        match slot {
            CLEAN => {
                let mark = clean_shutdown::parse(&bytes);
                start.is_clean = mark.is_ok();
                start.broker_epoch = mark.ok().flatten();
            }
            CLAIMS => {
                (start.claims, start.unsure) = journal_claims(&bytes);
                if start.unsure {
                    start.claims.values_mut().for_each(|mark| mark.unsure = true);
                    let text = format!(
                        "log directory {}: the flush journal is damaged; a log whose end is torn is not served, \
                         because nothing tells whether it was promised",
                        dir.0
                    );
                    io.out.note(Level::Error, text);
                }
            }
            CLEANED => start.cleaned = checkpoint::parse(&bytes).unwrap_or_default(),
            LOG_STARTS => start.log_starts = checkpoint::parse(&bytes).unwrap_or_default(),
            _ => start.high_watermarks = checkpoint::parse(&bytes).unwrap_or_default(),
        }
        start.left -= 1;
        if start.left == 0 {
            self.unmark(dir, io);
        }
    }

    fn unmark(&mut self, dir: LogDirId, io: &mut Io<'_>) {
        let start = &mut self.dirs[usize::from(dir.0)];
        start.step = Step::Unmarking;
        if start.is_clean && io.storage.planted.has(Plant::Log03) {
            return self.recover_in(dir, io);
        }
        // One that cannot be read goes too: nobody knows what the next start would read.
        if start.is_marked {
            let path = Path::new(dir, names::CLEAN_SHUTDOWN);
            return io.storage.act(dir, Owner::Boot(BootOp::Unmark), FileAction::Remove { path }, io.out);
        }
        self.unmark_points(dir, io);
    }

    fn unmark_points(&self, dir: LogDirId, io: &mut Io<'_>) {
        if !self.dirs[usize::from(dir.0)].has_points {
            return unmark_sync(dir, io);
        }
        let path = Path::new(dir, names::RECOVERY_POINT_CHECKPOINT);
        io.storage.act(dir, Owner::Boot(BootOp::UnmarkPoints), FileAction::Remove { path }, io.out);
    }

    fn recover_in(&mut self, dir: LogDirId, io: &mut Io<'_>) {
        let start = &mut self.dirs[usize::from(dir.0)];
        start.step = Step::Recovering;
        for partition in std::mem::take(&mut start.logs) {
            // The stream keys of a log begin with its name and a space.
            let prefix: Arc<str> = format!("{partition} ").into();
            let from = start.claims.range(Arc::clone(&prefix)..);
            let claims = from.take_while(|(key, _)| key.starts_with(&*prefix));
            let hints = Hints {
                claims: claims.map(|(key, mark)| (Arc::clone(key), *mark)).collect(),
                log_start: start.log_starts.get(&partition).copied().unwrap_or_default(),
                high_watermark: start.high_watermarks.get(&partition).copied().unwrap_or_default(),
                cleaned: start.cleaned.get(&partition).copied().unwrap_or_default(),
                clean: start.is_clean,
                unsure: start.unsure,
            };
            self.waiting.push_back((dir, partition, hints));
        }
        let claims = std::mem::take(&mut self.dirs[usize::from(dir.0)].claims);
        let is_clean = self.dirs[usize::from(dir.0)].is_clean;
        let directory = io.storage.directory(dir);
        directory.journal.is_stale = !is_clean && !claims.is_empty();
        directory.journal.orphans = claims;
        self.take_turns(io);
    }

    fn take_turns(&mut self, io: &mut Io<'_>) {
        while self.running.len() < AT_A_TIME {
            let Some((dir, partition, hints)) = self.waiting.pop_front() else {
                return;
            };
            self.last += 1;
            let path = Path::new(dir, partition.to_string());
            // Nobody has said yet by what it is kept: until then nothing of it goes.
            let config = LogConfig { delete: false, compact: false, ..io.config.default_log.clone() };
            let recovery = Recovery::new(self.last, partition, path, hints, config);
            recovery.start(io);
            self.running.insert(self.last, recovery);
        }
    }

    /// A file of a log was read.
    pub(crate) fn on_loaded(&mut self, number: u32, slot: u8, result: Loaded, io: &mut Io<'_>) {
        self.advance(number, io, |recovery, io| recovery.on_loaded(slot, result, io));
    }

    /// A segment was walked.
    pub(crate) fn on_scan(&mut self, number: u32, scan: Scan, io: &mut Io<'_>) {
        self.advance(number, io, |recovery, io| recovery.on_walked(scan, io));
    }

    fn advance(&mut self, number: u32, io: &mut Io<'_>, step: impl FnOnce(&mut Recovery, &mut Io<'_>) -> Recovered) {
        let Some(recovery) = self.running.get_mut(&number) else {
            return;
        };
        if let Recovered::Done(log) = step(recovery, io) {
            let beside = self.running.remove(&number).map(|recovery| recovery.files.others).unwrap_or_default();
            if &*log.path.name == names::METADATA_DIR {
                self.beside_metadata = beside;
            }
            self.recovered.push(*log);
            self.take_turns(io);
        }
    }

    /// The logs that were recovered since the last call.
    pub(crate) fn take_recovered(&mut self) -> Vec<Log> {
        std::mem::take(&mut self.recovered)
    }

    /// The logs whose starts the directories' files tell, with their directories.
    pub(crate) fn log_starts(&self) -> impl Iterator<Item = (LogDirId, TopicPartition)> {
        self.dirs.iter().flat_map(|dir| dir.log_starts.keys().map(|partition| (dir.id, partition.clone())))
    }

    /// The logs of which the directories' checkpoints tell how far they are clean.
    pub(crate) fn cleaned(&self) -> impl Iterator<Item = (LogDirId, TopicPartition)> {
        self.dirs.iter().flat_map(|dir| dir.cleaned.keys().map(|partition| (dir.id, partition.clone())))
    }

    /// Whether the start is over.
    pub(crate) fn is_over(&self) -> bool {
        let over = |start: &DirStart| matches!(start.step, Step::Recovering | Step::Offline);
        self.running.is_empty() && self.waiting.is_empty() && self.dirs.iter().all(over)
    }

    /// What is left to do and to say at its end. The logs are the parent's to add.
    pub(crate) fn finish(&self, io: &mut Io<'_>) -> Boot {
        let mut boot = Boot { beside_metadata: self.beside_metadata.clone(), ..Boot::default() };
        for start in &self.dirs {
            let offline = start.step == Step::Offline;
            boot.clean.push(start.broker_epoch.filter(|_| start.is_clean && !offline));
            if offline {
                boot.offline.push(start.id);
            }
            let orphans = &io.storage.directory(start.id).journal.orphans;
            boot.missing.extend(orphans.keys().filter_map(|key| missing(start.id, key)));
        }
        boot
    }

    fn give_up(&mut self, dir: LogDirId, error: DiskError, io: &mut Io<'_>) {
        io.storage.take_offline(dir, error);
        self.on_offline(dir, io);
    }

    /// A directory failed. What was asked of it is not answered any more, so nothing waits for its logs.
    pub(crate) fn on_offline(&mut self, dir: LogDirId, io: &mut Io<'_>) {
        self.dirs[usize::from(dir.0)].step = Step::Offline;
        self.waiting.retain(|(other, ..)| *other != dir);
        self.running.retain(|_, recovery| recovery.path.dir != dir);
        self.recovered.retain(|log| log.dir() != dir);
        self.take_turns(io);
    }
}

impl DirStart {
    fn new(id: LogDirId) -> Self {
        Self {
            id,
            step: Step::Listing,
            logs: Vec::new(),
            left: 0,
            is_marked: false,
            has_points: false,
            is_clean: false,
            broker_epoch: None,
            unsure: false,
            claims: BTreeMap::new(),
            log_starts: OffsetCheckpoint::new(),
            high_watermarks: OffsetCheckpoint::new(),
            cleaned: OffsetCheckpoint::new(),
        }
    }

    /// A name that is none of the directory's own files.
    fn sort(&mut self, entry: &Entry, io: &mut Io<'_>) {
        let path = Path::root(self.id).join(&entry.name);
        if !entry.is_dir {
            if entry.name.ends_with(".tmp") {
                io.storage.discard(&path, io.out);
            } else if entry.name.ends_with(".tmp.deleted") {
                io.storage.act(self.id, Owner::Nobody, FileAction::Remove { path }, io.out);
            }
            return;
        }
        match DirName::parse(&entry.name) {
            DirName::Partition(partition) => self.logs.push(partition),
            DirName::Deleted => io.storage.remove_directory(path, io.out),
            DirName::Stray | DirName::Other => {}
        }
    }
}

/// What the last process renamed may be seen and not be durable, too. It is, before anything rests on it.
fn unmark_sync(dir: LogDirId, io: &mut Io<'_>) {
    let path = Path::root(dir);
    io.storage.act(dir, Owner::Boot(BootOp::UnmarkSync), FileAction::SyncDir { path }, io.out);
}

/// A log that the journal knows and the directory lacks.
fn missing(dir: LogDirId, key: &str) -> Option<(LogDirId, TopicPartition, ottla_wire::Uuid)> {
    let (name, topic_id) = key.rsplit_once(' ')?;
    Some((dir, TopicPartition::from_dir_name(name)?, topic_id.parse().ok()?))
}

/// The offsets of a checkpoint file, of the logs that lie in a directory.
pub(crate) fn checkpoint_of<'a>(logs: impl Iterator<Item = &'a Log>, offset: impl Fn(&Log) -> Offset) -> bytes::Bytes {
    let offsets: OffsetCheckpoint = logs.map(|log| (log.partition.clone(), offset(log))).collect();
    checkpoint::encode(&offsets).into()
}
