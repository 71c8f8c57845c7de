//! A file that is there whole or not at all: written beside, synced, renamed into place, the directory synced.
//!
//! Creating -> Renaming -> Naming -> done. The first step's open, write and sync are issued together; the rename
//! waits for them, and the directory's sync for the rename. Saves of one path wait for each other, so that the
//! last one called is the one that stays. A save that finds no room starts again when there is some.

use bytes::Bytes;

use crate::clock::Now;
use crate::machine::{Effect, Effects, FileAction, FileId, LogDirId, OpenMode, Path};
use crate::planted::Plant;

use super::{LogId, Owner, Storage, StorageEvent};

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
    /// The log start offsets of a directory.
    LogStart(LogDirId),
    /// The high watermarks of a directory.
    HighWatermarks(LogDirId),
    /// The recovery points of a directory, at shutdown.
    RecoveryPoints(LogDirId),
    /// The clean-shutdown mark.
    CleanMark(LogDirId),
}

#[derive(Clone, Debug)]
pub(super) struct Save {
    path: Path,
    bytes: Bytes,
    owner: SaveOwner,
    step: Step,
    file: FileId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// An earlier save of the same path is in flight, or there was no room.
    Waiting,
    /// Operations of the first step that have not completed.
    Creating(u8),
    Renaming,
    Naming,
    /// No room; operations that have not completed.
    Failing(u8),
}

impl Storage {
    /// Saves a file. Its directory must be there. [`StorageEvent::Saved`] follows.
    pub(crate) fn save(&mut self, path: Path, bytes: Bytes, owner: SaveOwner, out: &mut Effects) {
        let busy = self.saves.values().any(|save| save.path == path);
        let id = SaveId(self.new_id());
        let file = self.new_file();
        let save = Save { path, bytes, owner, step: Step::Waiting, file };
        self.saves.insert(id, save);
        if !busy {
            self.start_save(id, out);
        }
    }

    /// Whether nothing is being saved, but for what waits for room.
    pub(crate) fn saves_in(&self, dir: LogDirId) -> usize {
        self.saves.values().filter(|save| save.path.dir == dir).count()
    }

    /// Forgets what is being saved below a directory that goes: nobody waits for it any more.
    pub(crate) fn drop_saves_below(&mut self, directory: &Path, out: &mut Effects) {
        let below = |path: &Path| {
            path.dir == directory.dir
                && path.name.strip_prefix(&*directory.name).is_some_and(|rest| rest.starts_with('/'))
        };
        let gone: Vec<SaveId> = self.saves.iter().filter(|(_, save)| below(&save.path)).map(|(&id, _)| id).collect();
        for id in gone {
            if let Some(Save { step: Step::Creating(_), file, .. }) = self.saves.remove(&id) {
                self.act(directory.dir, Owner::Nobody, FileAction::CloseFile { file }, out);
            }
        }
    }

    fn start_save(&mut self, id: SaveId, out: &mut Effects) {
        let save = &self.saves[&id];
        let dir = save.path.dir;
        let (file, bytes) = (save.file, save.bytes.clone());
        let unsynced = match save.owner {
            SaveOwner::Epochs(_) => self.planted.has(Plant::Log02),
            SaveOwner::Checkpoint(..) => self.planted.has(Plant::Log04),
            SaveOwner::Parent(_)
            | SaveOwner::Metadata(_)
            | SaveOwner::LogStart(_)
            | SaveOwner::HighWatermarks(_)
            | SaveOwner::RecoveryPoints(_)
            | SaveOwner::CleanMark(_) => false,
        };
        let open = FileAction::Open { file, path: temporary(&save.path), mode: OpenMode::Create };
        self.act(dir, Owner::Save(id), open, out);
        let op = self.op(dir, Owner::Save(id));
        out.push(Effect::Write { op, file, pos: 0, bytes });
        if !unsynced {
            let op = self.op(dir, Owner::Save(id));
            out.push(Effect::Sync { op, file });
        }
        self.step_save(id, Step::Creating(if unsynced { 2 } else { 3 }));
    }

    pub(super) fn on_save(&mut self, dir: LogDirId, id: SaveId, out: &mut Effects) {
        let Some(save) = self.saves.get(&id) else {
            return;
        };
        match save.step {
            Step::Waiting => {}
            Step::Creating(left) if left > 1 => self.step_save(id, Step::Creating(left - 1)),
            Step::Creating(_) => {
                let (from, to, file) = (temporary(&save.path), save.path.clone(), save.file);
                self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
                self.act(dir, Owner::Save(id), FileAction::Rename { from, to }, out);
                self.step_save(id, Step::Renaming);
            }
            Step::Renaming => {
                let path = parent(&save.path);
                self.act(dir, Owner::Save(id), FileAction::SyncDir { path }, out);
                self.step_save(id, Step::Naming);
            }
            Step::Naming => self.finish_save(id, out),
            Step::Failing(left) => self.save_failing(dir, id, left, out),
        }
    }

    /// What was written of the file is in the way of nobody: it is made anew.
    pub(super) fn on_save_no_room(&mut self, now: Now, dir: LogDirId, id: SaveId, out: &mut Effects) {
        self.run_out(now, dir, out);
        match self.saves.get(&id).map(|save| save.step) {
            Some(Step::Creating(left) | Step::Failing(left)) => self.save_failing(dir, id, left, out),
            Some(Step::Waiting | Step::Renaming | Step::Naming) => self.step_save(id, Step::Waiting),
            None => {}
        }
    }

    /// Whether a save has failed for want of room, so that its other operations fail because of that.
    pub(super) fn is_save_failing(&self, id: SaveId) -> bool {
        self.saves.get(&id).is_some_and(|save| matches!(save.step, Step::Failing(_)))
    }

    fn save_failing(&mut self, dir: LogDirId, id: SaveId, left: u8, out: &mut Effects) {
        if left > 1 {
            return self.step_save(id, Step::Failing(left - 1));
        }
        let next = self.new_file();
        if let Some(save) = self.saves.get_mut(&id) {
            let file = std::mem::replace(&mut save.file, next);
            save.step = Step::Waiting;
            self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
        }
    }

    /// There is room: the first save of each path starts again.
    pub(super) fn resume_saves(&mut self, dir: LogDirId, out: &mut Effects) {
        let waiting: Vec<SaveId> =
            self.saves.iter().filter(|(_, save)| save.path.dir == dir).map(|(&id, _)| id).collect();
        for id in waiting {
            if self.saves[&id].step == Step::Waiting && self.is_first(id) {
                self.start_save(id, out);
            }
        }
    }

    fn finish_save(&mut self, id: SaveId, out: &mut Effects) {
        let Some(save) = self.saves.remove(&id) else {
            return;
        };
        self.events.push(StorageEvent::Saved(save.owner));
        let next = self.saves.iter().find(|(_, other)| other.path == save.path);
        if let Some((&next, _)) = next {
            self.start_save(next, out);
        }
    }

    fn is_first(&self, id: SaveId) -> bool {
        let path = &self.saves[&id].path;
        self.saves.iter().find(|(_, save)| save.path == *path).is_some_and(|(&first, _)| first == id)
    }

    fn step_save(&mut self, id: SaveId, step: Step) {
        if let Some(save) = self.saves.get_mut(&id) {
            save.step = step;
        }
    }
}

/// Where a file is written before it has its name. A start removes what it finds of these.
fn temporary(path: &Path) -> Path {
    Path::new(path.dir, format!("{}.tmp", path.name))
}

/// The directory that a file lies in.
pub(super) fn parent(path: &Path) -> Path {
    let name = path.name.rsplit_once('/').map_or("", |(directory, _)| directory);
    Path::new(path.dir, name)
}
