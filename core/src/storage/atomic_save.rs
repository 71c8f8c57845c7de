//! A file that is there whole or not at all: written beside, synced, renamed into place, the directory synced.
//!
//! Creating -> Renaming -> Naming -> done; for the parent's own files, whose directory may be as new as they are,
//! Naming -> NamingDirectory -> done. The first step's open, writes and sync are issued together; the rename
//! waits for them, and the directory's sync for the rename. Saves of one path wait for each other, so that the
//! last one called is the one that stays. A save that finds no room starts again when there is some. In a directory
//! [`MOST_UNDER_WAY`] are under way at a time: each has a file open, and ten thousand topics may be made at once.
//!
//! What is saved beside a log describes it, and a cut of the log may be waiting behind its gate ([`super::stream`]):
//! then a save waits, too, so that no file ever tells of records that the log on disk cannot have yet.
//!
//! A save may be [superseded](Storage::supersede) until its rename is issued: Creating -> Removing -> done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Now;
use crate::job::SLICE;
use crate::machine::{Effect, Effects, FileAction, FileId, LogDirId, OpenMode, Path};
use crate::planted::Plant;

use super::{Health, LogId, Owner, Storage, StorageEvent, Stream};

/// How many saves are under way in a directory; enough for their syncs to be carried out together.
const MOST_UNDER_WAY: usize = 128;

/// A save in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SaveId(pub(super) u64);

/// Who waits for a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SaveOwner {
    /// The parent of the log manager, with its ticket.
    Parent(u64),
    /// A new log: its topic id.
    Metadata(LogId),
    /// A step of a log's checkpoint (indexes, epochs, producers).
    Checkpoint(LogId, u64),
    /// The leader epochs of a log, by themselves.
    Epochs(LogId),
    /// The indexes that a cut has left of a segment.
    Indexes(LogId),
    /// An index of a segment that a pass of the cleaner with this number has written.
    Swap(LogId, u64),
    /// The log start offsets of a directory.
    LogStart(LogDirId),
    /// Up to where the logs of a directory are clean.
    Cleaned(LogDirId),
    /// The high watermarks of a directory.
    HighWatermarks(LogDirId),
    /// The recovery points of a directory, at shutdown.
    RecoveryPoints(LogDirId),
    /// The clean-shutdown mark.
    CleanMark(LogDirId),
}

/// The saves in flight, and those of one path in the order of the calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Saves {
    by_id: BTreeMap<SaveId, Save>,
    by_path: BTreeMap<Path, VecDeque<SaveId>>,
    /// Those whose step is not [`Step::Waiting`].
    under_way: BTreeSet<(LogDirId, SaveId)>,
    /// Those that wait for nothing but others to be over.
    ready: BTreeSet<(LogDirId, SaveId)>,
}

#[derive(Clone, Debug)]
struct Save {
    path: Path,
    bytes: Bytes,
    owner: SaveOwner,
    step: Step,
    file: FileId,
    /// It is not to get its name any more.
    superseded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// An earlier save of the same path is in flight, there was no room, the log's gate is closed, or too many are
    /// under way.
    Waiting,
    /// Operations of the first step that have not completed.
    Creating(u16),
    Renaming,
    Naming,
    NamingDirectory,
    /// What was written of a superseded file goes.
    Removing,
    /// No room; operations that have not completed.
    Failing(u16),
}

impl Storage {
    /// Saves a file. Its directory must be there. [`StorageEvent::Saved`] follows.
    pub(crate) fn save(&mut self, path: Path, bytes: Bytes, owner: SaveOwner, out: &mut Effects) {
        let id = SaveId(self.new_id());
        let file = self.new_file();
        if self.saves.add(id, Save { path, bytes, owner, step: Step::Waiting, file, superseded: false }) {
            self.start_save(id, out);
        }
    }

    /// What is being saved under a name, and has not got it yet, never does. Whoever waits for it is told that it
    /// is saved: it must not matter to them any more.
    pub(crate) fn supersede(&mut self, path: &Path) {
        for id in self.saves.of(path) {
            let Some(save) = self.saves.by_id.get_mut(&id) else {
                continue;
            };
            save.superseded = true;
            if save.step == Step::Waiting {
                let owner = save.owner;
                self.saves.remove(id);
                self.events.push(StorageEvent::Saved(owner));
            }
        }
    }

    /// Whether a file is being saved, or waits to be.
    pub(crate) fn is_saving(&self, path: &Path) -> bool {
        self.saves.by_path.contains_key(path)
    }

    /// Whether nothing is being saved in a directory, nor waits to be.
    pub(crate) fn has_saved_all(&self, dir: LogDirId) -> bool {
        self.saves.by_path.range(Path::root(dir)..).next().is_none_or(|(path, _)| path.dir != dir)
    }

    /// The directory failed: what was being saved in it never is.
    pub(super) fn drop_saves_in(&mut self, dir: LogDirId) {
        self.saves.by_path.retain(|path, _| path.dir != dir);
        self.saves.by_id.retain(|_, save| save.path.dir != dir);
        self.saves.under_way.retain(|(other, _)| *other != dir);
        self.saves.ready.retain(|(other, _)| *other != dir);
    }

    /// Forgets what is being saved below a directory that goes: nobody waits for it any more.
    pub(crate) fn drop_saves_below(&mut self, directory: &Path, out: &mut Effects) {
        let gone: Vec<SaveId> = self.saves.below(directory).flatten().copied().collect();
        for id in gone {
            if let Some(Save { step: Step::Creating(_), file, .. }) = self.saves.remove(id) {
                self.act(directory.dir, Owner::Nobody, FileAction::CloseFile { file }, out);
            }
        }
        self.start_ready_saves(directory.dir, out);
    }

    fn start_save(&mut self, id: SaveId, out: &mut Effects) {
        let save = &self.saves.by_id[&id];
        let gated = save.owner.log().and_then(|log| self.stream(log)).is_some_and(Stream::is_gated);
        // The directory of a log that is not made yet is not there.
        let unborn = matches!(save.owner, SaveOwner::Metadata(log) if self.stream(log).is_some_and(Stream::is_unborn));
        if gated || unborn {
            return;
        }
        let dir = save.path.dir;
        if self.saves.under_way_in(dir) >= MOST_UNDER_WAY {
            self.saves.ready.insert((dir, id));
            return;
        }
        self.saves.ready.remove(&(dir, id));
        let (file, bytes) = (save.file, save.bytes.clone());
        let unsynced = match save.owner {
            SaveOwner::Epochs(_) => self.planted.has(Plant::Log02),
            SaveOwner::Checkpoint(..) if save.path.name.ends_with("leader-epoch-checkpoint") => {
                self.planted.has(Plant::Log02) || self.planted.has(Plant::Log04)
            }
            SaveOwner::Checkpoint(..) => self.planted.has(Plant::Log04),
            SaveOwner::Parent(_)
            | SaveOwner::Metadata(_)
            | SaveOwner::Indexes(_)
            | SaveOwner::Swap(..)
            | SaveOwner::Cleaned(_)
            | SaveOwner::LogStart(_)
            | SaveOwner::HighWatermarks(_)
            | SaveOwner::RecoveryPoints(_)
            | SaveOwner::CleanMark(_) => false,
        };
        let open = FileAction::Open { file, path: temporary(&save.path), mode: OpenMode::Create };
        self.act(dir, Owner::Save(id), open, out);
        let (mut steps, mut pos) = (1_u16, 0);
        while steps == 1 || pos < bytes.len() {
            let end = bytes.len().min(pos + SLICE as usize);
            let op = self.op(dir, Owner::Save(id));
            out.push(Effect::Write { op, file, pos: pos as u64, bytes: bytes.slice(pos..end) });
            (steps, pos) = (steps + 1, end);
        }
        if !unsynced {
            let op = self.op(dir, Owner::Save(id));
            out.push(Effect::Sync { op, file });
            steps += 1;
        }
        self.step_save(id, Step::Creating(steps));
    }

    pub(super) fn on_save(&mut self, dir: LogDirId, id: SaveId, out: &mut Effects) {
        let Some(save) = self.saves.by_id.get(&id) else {
            return;
        };
        match save.step {
            Step::Waiting => {}
            Step::Creating(left) if left > 1 => self.step_save(id, Step::Creating(left - 1)),
            Step::Creating(_) if save.superseded => self.remove_temporary(id, out),
            Step::Creating(_) => {
                let (from, to, file) = (temporary(&save.path), save.path.clone(), save.file);
                self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
                self.act(dir, Owner::Save(id), FileAction::Rename { from, to }, out);
                self.step_save(id, Step::Renaming);
            }
            Step::Renaming if self.planted.has(Plant::Log01) && save.owner.log().is_some() => self.finish_save(id, out),
            Step::Renaming => {
                let path = parent(&save.path);
                self.act(dir, Owner::Save(id), FileAction::SyncDir { path }, out);
                self.step_save(id, Step::Naming);
            }
            Step::Naming if matches!(save.owner, SaveOwner::Parent(_)) && save.path.name.contains('/') => {
                let path = Path::root(dir);
                self.act(dir, Owner::Save(id), FileAction::SyncDir { path }, out);
                self.step_save(id, Step::NamingDirectory);
            }
            Step::Naming | Step::NamingDirectory | Step::Removing => self.finish_save(id, out),
            Step::Failing(left) => self.save_failing(dir, id, left, out),
        }
    }

    /// What was written of the file is in the way of nobody: it is made anew.
    pub(super) fn on_save_no_room(&mut self, now: Now, dir: LogDirId, id: SaveId, out: &mut Effects) {
        self.run_out(now, dir);
        match self.saves.by_id.get(&id).map(|save| save.step) {
            Some(Step::Creating(left) | Step::Failing(left)) => self.save_failing(dir, id, left, out),
            Some(_) => self.step_save(id, Step::Waiting),
            None => {}
        }
    }

    /// Whether a save is still in flight: those below a directory that goes are forgotten.
    pub(super) fn is_saved_for_somebody(&self, id: SaveId) -> bool {
        self.saves.by_id.contains_key(&id)
    }

    /// Whether a save has failed for want of room, so that its other operations fail because of that.
    pub(super) fn is_save_failing(&self, id: SaveId) -> bool {
        self.saves.by_id.get(&id).is_some_and(|save| matches!(save.step, Step::Failing(_)))
    }

    fn save_failing(&mut self, dir: LogDirId, id: SaveId, left: u16, out: &mut Effects) {
        if left > 1 {
            return self.step_save(id, Step::Failing(left - 1));
        }
        if self.saves.by_id.get(&id).is_some_and(|save| save.superseded) {
            return self.remove_temporary(id, out);
        }
        let next = self.new_file();
        if let Some(save) = self.saves.by_id.get_mut(&id) {
            let file = std::mem::replace(&mut save.file, next);
            self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
        }
        self.step_save(id, Step::Waiting);
        // There may be room again by now.
        if self.health(dir) == Health::Online {
            self.start_save(id, out);
            self.start_ready_saves(dir, out);
        }
    }

    /// A superseded save is over when its file is gone: the next one of the path makes it anew.
    fn remove_temporary(&mut self, id: SaveId, out: &mut Effects) {
        let save = &self.saves.by_id[&id];
        let (path, file) = (temporary(&save.path), save.file);
        let dir = path.dir;
        self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
        self.act(dir, Owner::Save(id), FileAction::Remove { path }, out);
        self.step_save(id, Step::Removing);
    }

    /// There is room, or the gate of the log below `directory` is open: the first save of each path starts.
    pub(super) fn resume_saves(&mut self, directory: &Path, out: &mut Effects) {
        let firsts: Vec<SaveId> = self.saves.below(directory).filter_map(|saves| saves.front().copied()).collect();
        for id in firsts {
            if self.saves.by_id[&id].step == Step::Waiting {
                self.start_save(id, out);
            }
        }
    }

    fn finish_save(&mut self, id: SaveId, out: &mut Effects) {
        let Some(save) = self.saves.remove(id) else {
            return;
        };
        self.events.push(StorageEvent::Saved(save.owner));
        if let Some(next) = self.saves.first_of(&save.path) {
            self.start_save(next, out);
        }
        self.start_ready_saves(save.path.dir, out);
    }

    /// Others are over: those start that waited for nothing else.
    fn start_ready_saves(&mut self, dir: LogDirId, out: &mut Effects) {
        while self.health(dir) == Health::Online
            && self.saves.under_way_in(dir) < MOST_UNDER_WAY
            && let Some(id) = self.saves.next_ready(dir)
        {
            self.start_save(id, out);
        }
    }

    fn step_save(&mut self, id: SaveId, step: Step) {
        if let Some(save) = self.saves.by_id.get_mut(&id) {
            save.step = step;
            let key = (save.path.dir, id);
            match step {
                Step::Waiting => self.saves.under_way.remove(&key),
                Step::Creating(_)
                | Step::Renaming
                | Step::Naming
                | Step::NamingDirectory
                | Step::Removing
                | Step::Failing(_) => self.saves.under_way.insert(key),
            };
        }
    }
}

impl SaveOwner {
    /// The log that the file describes, and changes with.
    const fn log(self) -> Option<LogId> {
        match self {
            Self::Checkpoint(log, _) | Self::Epochs(log) | Self::Indexes(log) | Self::Swap(log, _) => Some(log),
            Self::Parent(_)
            | Self::Metadata(_)
            | Self::LogStart(_)
            | Self::Cleaned(_)
            | Self::HighWatermarks(_)
            | Self::RecoveryPoints(_)
            | Self::CleanMark(_) => None,
        }
    }
}

impl Saves {
    /// Whether it is the only one of its path, so that it starts at once.
    fn add(&mut self, id: SaveId, save: Save) -> bool {
        let saves = self.by_path.entry(save.path.clone()).or_default();
        saves.push_back(id);
        let is_only = saves.len() == 1;
        self.by_id.insert(id, save);
        is_only
    }

    fn remove(&mut self, id: SaveId) -> Option<Save> {
        let save = self.by_id.remove(&id)?;
        let key = (save.path.dir, id);
        self.under_way.remove(&key);
        self.ready.remove(&key);
        if let Some(saves) = self.by_path.get_mut(&save.path) {
            saves.retain(|other| *other != id);
            if saves.is_empty() {
                self.by_path.remove(&save.path);
            }
        }
        Some(save)
    }

    fn under_way_in(&self, dir: LogDirId) -> usize {
        self.under_way.range((dir, SaveId(0))..=(dir, SaveId(u64::MAX))).count()
    }

    fn next_ready(&mut self, dir: LogDirId) -> Option<SaveId> {
        let next = *self.ready.range((dir, SaveId(0))..=(dir, SaveId(u64::MAX))).next()?;
        self.ready.remove(&next).then_some(next.1)
    }

    fn first_of(&self, path: &Path) -> Option<SaveId> {
        self.by_path.get(path)?.front().copied()
    }

    fn of(&self, path: &Path) -> Vec<SaveId> {
        self.by_path.get(path).map(|saves| saves.iter().copied().collect()).unwrap_or_default()
    }

    /// The saves of each path below a directory.
    fn below(&self, directory: &Path) -> impl Iterator<Item = &VecDeque<SaveId>> {
        let first = directory.join("");
        let (dir, prefix) = (first.dir, Arc::clone(&first.name));
        let below = self.by_path.range(first..);
        below.take_while(move |(path, _)| path.dir == dir && path.name.starts_with(&*prefix)).map(|(_, saves)| saves)
    }
}

/// Where a file is written before it has its name, by Kafka's endings. A start removes what it finds of these.
fn temporary(path: &Path) -> Path {
    let ending = if path.name.ends_with(".checkpoint") { "part" } else { "tmp" };
    Path::new(path.dir, format!("{}.{ending}", path.name))
}

/// The directory that a file lies in.
pub(super) fn parent(path: &Path) -> Path {
    let name = path.name.rsplit_once('/').map_or("", |(directory, _)| directory);
    Path::new(path.dir, name)
}
