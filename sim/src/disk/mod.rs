//! A disk with three layers: what the driver has queued, the page cache, and what is durable.
//!
//! An operation is issued, carried out some time later, and completed. When the process dies, what was not
//! carried out is lost; when the power goes, so is what was not synced, as [`Preset`] has it. Writes,
//! truncations, opens and renames are carried out in the order of their issue. Syncs, directory syncs,
//! reads, lists and removals overtake and are overtaken, as the boundary's contract allows. A sync covers
//! what was carried out when it began, and takes effect when it ends.
//!
//! It knows no clock: the caller issues with the time and steps it when something is due.

pub mod faults;
pub mod file;
mod look;
pub mod loss;
pub mod tree;
pub mod versioned;

use std::collections::BTreeMap;
use std::mem;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_core::machine::{DiskError, DiskResult, Effect, FileAction, FileId, OpId, OpenMode, Path};

pub use faults::{Faults, Hit, OpKind};
pub use file::{PAGE, ReadBytes, SECTOR, WriteBack};
pub use loss::{Loss, Preset};
pub use tree::Ino;

use crate::draw::{Draw, Draws, Label};
use crate::time::{Nanos, SECOND};
use tree::{Inode, Tree};
use versioned::Change;

/// How long operations take on average, when nothing slows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speeds {
    /// Into the page cache: writes, truncations, names.
    pub write: Nanos,
    /// Until a sync has come to its end.
    pub sync: Nanos,
    /// From the platter into the page cache.
    pub read: Nanos,
    /// What a sync writes back in a second, in bytes; without bound if 0. A sync of much takes longer than one of
    /// little, and ends after it.
    pub bandwidth: u64,
}

/// One disk of one node.
#[derive(Clone, Debug)]
pub struct Disk {
    tree: Tree,
    preset: Preset,
    draws: Draws,
    identity: u64,
    speeds: Speeds,
    capacity: u64,
    /// What is to go wrong.
    pub faults: Faults,
    process: Process,
    change: Change,
    barrier: Change,
    /// The newest change that a sync covered.
    covered: Change,
    /// Bytes that were written to each file since its last sync began.
    dirty: BTreeMap<Ino, u64>,
    issued: u64,
    power_losses: u64,
}

/// What dies with the process.
#[derive(Clone, Debug, Default)]
struct Process {
    open: BTreeMap<FileId, Ino>,
    pending: BTreeMap<(Nanos, u64), Pending>,
    /// When the last of the ordered operations is carried out.
    ordered: Nanos,
    /// A sync of a file failed in its time: memory shows what the disk will never have.
    sync_failed: bool,
}

/// An operation of a file effect.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Write `head` and then `rest`.
    Write { file: FileId, pos: u64, head: Bytes, rest: Bytes },
    /// Make a file durable.
    Sync { file: FileId },
    /// All else.
    Action(Box<FileAction>),
}

#[derive(Clone, Debug)]
struct Pending {
    op: OpId,
    issued: Nanos,
    task: Task,
}

#[derive(Clone, Debug)]
enum Task {
    Do(Operation),
    /// The second half of a sync, and what it covers.
    EndSync {
        file: FileId,
        ino: Ino,
        covers: Change,
        bytes: u64,
    },
    EndSyncDir {
        path: Path,
        covers: Change,
    },
    /// A read that had to wait for the platter.
    ColdRead {
        file: FileId,
        pos: u64,
        len: u32,
    },
}

/// An operation that came to its end.
#[derive(Clone, Debug)]
pub struct Completed {
    /// Which.
    pub op: OpId,
    /// How it ended.
    pub result: DiskResult,
    /// The file it was on, if it was a write, a truncation or a sync.
    pub file: Option<FileId>,
    /// Whether it was a sync.
    pub sync: bool,
}

impl Operation {
    /// The operation of a file effect; any other effect is given back.
    ///
    /// # Errors
    /// The effect, if it is none.
    pub fn of(effect: Effect) -> Result<(OpId, Self), Effect> {
        match effect {
            Effect::Append { op, file, pos, base_offset, leader_epoch, rest } => {
                let mut head = BytesMut::with_capacity(16);
                head.put_i64(base_offset.0);
                head.put_i32(i32::try_from(rest.len() + 4).expect("a batch is smaller than 2 GiB"));
                head.put_i32(leader_epoch.0);
                let (pos, head) = (u64::from(pos), head.freeze());
                Ok((op, Self::Write { file, pos, head, rest }))
            }
            Effect::Write { op, file, pos, bytes } => {
                let (head, rest) = (bytes, Bytes::new());
                Ok((op, Self::Write { file, pos, head, rest }))
            }
            Effect::Sync { op, file } => Ok((op, Self::Sync { file })),
            Effect::File { op, action } => Ok((op, Self::Action(action))),
            other @ (Effect::Send { .. }
            | Effect::SendRange { .. }
            | Effect::Done { .. }
            | Effect::PauseReading { .. }
            | Effect::ResumeReading { .. }
            | Effect::Close { .. }
            | Effect::Connect { .. }
            | Effect::Run { .. }
            | Effect::Note(_)
            | Effect::Ready
            | Effect::Stopped) => Err(other),
        }
    }

    /// Whether the contract has it carried out in the order of its issue.
    fn is_ordered(&self) -> bool {
        match self {
            Self::Write { .. } => true,
            Self::Sync { .. } => false,
            Self::Action(action) => matches!(
                **action,
                FileAction::SetLen { .. }
                    | FileAction::Forget { .. }
                    | FileAction::Open { .. }
                    | FileAction::CloseFile { .. }
                    | FileAction::Rename { .. }
                    | FileAction::MakeDir { .. }
            ),
        }
    }
}

impl Disk {
    /// An empty disk with so many log directories. `identity` tells its draws from those of other disks.
    #[must_use]
    pub fn new(draws: Draws, identity: u64, dirs: u16, preset: Preset, speeds: Speeds) -> Self {
        Self {
            tree: Tree::new(dirs),
            preset,
            draws,
            identity,
            speeds,
            capacity: UNBOUNDED,
            faults: Faults::default(),
            process: Process::default(),
            change: 0,
            barrier: 0,
            covered: 0,
            dirty: BTreeMap::new(),
            issued: 0,
            power_losses: 0,
        }
    }

    /// Queues an operation: the first layer.
    pub fn issue(&mut self, now: Nanos, op: OpId, operation: Operation) {
        let task = match operation {
            Operation::Action(action) => match Self::sync_dir(*action) {
                // It covers the names that are there now; the machine waits where it needs more.
                Ok(path) => Task::EndSyncDir { path, covers: self.change },
                Err(action) => Task::Do(Operation::Action(action)),
            },
            Operation::Write { .. } | Operation::Sync { .. } => Task::Do(operation),
        };
        let due = self.due(now, &task);
        self.queue(due, Pending { op, issued: now, task });
    }

    /// When the next operation is carried out.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        self.process.pending.first_key_value().map(|((due, _), _)| *due)
    }

    /// How many operations are queued or under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.process.pending.len()
    }

    /// Carries out the next operation that is due, if it comes to its end thereby.
    pub fn step(&mut self, now: Nanos) -> Option<Completed> {
        while self.next_due().is_some_and(|due| due <= now) {
            let (_, pending) = self.process.pending.pop_first()?;
            if let Some(done) = self.carry_out(now, pending) {
                return Some(done);
            }
        }
        None
    }

    /// Nothing goes wrong from now on, what is broken stays so, and what the disk was slow with is done within a
    /// second, in its order.
    pub fn heal(&mut self, now: Nanos) {
        self.faults.heal();
        let latest = now.saturating_add(SECOND);
        self.process.ordered = self.process.ordered.min(latest);
        let pending = mem::take(&mut self.process.pending);
        let sooner = |((due, issued), pending): ((Nanos, u64), Pending)| ((due.min(latest), issued), pending);
        self.process.pending = pending.into_iter().map(sooner).collect();
    }

    /// Whether memory shows what the disk does not have, because a sync failed under the present process.
    #[must_use]
    pub const fn has_failed_to_sync(&self) -> bool {
        self.process.sync_failed
    }

    /// The process dies: what was queued is lost, the page cache stays. Answers how much was queued.
    pub fn kill(&mut self) -> usize {
        let lost = self.process.pending.len();
        self.process = Process::default();
        self.tree.sweep([]);
        for (_, inode) in self.tree.inodes_mut() {
            if let Inode::File(file) = inode {
                file.forget_seen();
            }
        }
        lost
    }

    /// The power goes: what was not synced is kept, dropped or torn.
    pub fn lose_power(&mut self) -> Loss {
        self.kill();
        self.dirty.clear();
        self.power_losses += 1;
        let draw = self.draws.at(Label::PowerLoss, self.identity, self.power_losses);
        let loss = loss::settle(&mut self.tree, self.preset, self.barrier, self.change, draw);
        self.barrier = self.change;
        loss
    }

    /// Memory is short: the kernel gives back every clean page.
    pub fn evict(&mut self) {
        for (_, inode) in self.tree.inodes_mut() {
            if let Inode::File(file) = inode {
                file.evict(0);
            }
        }
    }

    /// Flips a bit of a durable page of some file whose path `wanted` accepts; answers which file.
    pub fn rot(&mut self, occurrence: u64, wanted: impl Fn(&str) -> bool) -> Option<(Ino, String)> {
        let draw = self.draws.at(Label::Rot, self.identity, occurrence);
        let files = self.tree.files();
        let mut pages = Vec::new();
        for (_, name, ino) in files.iter().filter(|(_, name, _)| wanted(name)) {
            let file = self.tree.file(*ino)?;
            let durable = (0..file.pages.len()).filter(|page| file.pages[*page].bytes.durable().is_some());
            pages.extend(durable.map(|page| (name, *ino, page)));
        }
        let (name, ino, page) = pages.get(draw.index(pages.len().max(1)))?;
        self.tree.file_mut(*ino)?.rot(*page, draw.and(1)).then(|| (*ino, (*name).clone()))
    }

    /// Bytes that can still be written.
    #[must_use]
    pub fn free_space(&self) -> u64 {
        self.capacity.saturating_sub(self.used())
    }

    /// Leaves so much free space, by a change of the capacity.
    pub fn set_free_space(&mut self, bytes: u64) {
        self.capacity = self.used().saturating_add(bytes).min(UNBOUNDED);
    }

    /// The open file's identity, which outlives its number and its name.
    #[must_use]
    pub fn ino(&self, file: FileId) -> Option<Ino> {
        self.process.open.get(&file).copied()
    }

    /// Reads for a range that is being sent.
    pub fn read_ino(&mut self, ino: Ino, pos: u64, len: usize) -> ReadBytes {
        let read = self.tree.file_mut(ino).map_or_else(ReadBytes::default, |file| file.read_at(pos, len));
        self.note_read(&read);
        if let Some(file) = self.tree.file(ino) {
            file.gone_bad(pos, len).for_each(|page| self.faults.hit(Hit::SentGoneBad(ino, page)));
        }
        read
    }

    /// Draws are those of another seed from now on.
    pub const fn reseed(&mut self, draws: Draws) {
        self.draws = draws;
    }

    /// Whether something is armed, or space is short.
    #[must_use]
    pub const fn is_troubled(&self) -> bool {
        self.faults.is_armed() || self.capacity != UNBOUNDED
    }

    /// Whether a power loss now could take anything.
    #[must_use]
    pub const fn has_unsynced(&self) -> bool {
        self.change > self.covered
    }

    fn sync_dir(action: FileAction) -> Result<Path, Box<FileAction>> {
        if let FileAction::SyncDir { path } = action {
            return Ok(path);
        }
        Err(Box::new(action))
    }

    fn queue(&mut self, due: Nanos, pending: Pending) {
        self.issued += 1;
        self.process.pending.insert((due, self.issued), pending);
    }

    /// When a task that starts now is carried out.
    fn due(&mut self, now: Nanos, task: &Task) -> Nanos {
        let draw = self.latency_draw();
        let (ordered, mean, bytes) = match task {
            Task::Do(operation) => (operation.is_ordered(), self.speeds.write, 0),
            Task::EndSync { bytes, .. } => (false, self.speeds.sync, *bytes),
            Task::EndSyncDir { .. } => (false, self.speeds.sync, 0),
            Task::ColdRead { .. } => (false, self.speeds.read, 0),
        };
        let transfer = bytes.saturating_mul(SECOND).checked_div(self.speeds.bandwidth).unwrap_or(0);
        let wait = self.faults.slowed(now, mean / 4 + draw.exponential(mean - mean / 4) + transfer);
        let mut due = now + wait;
        if ordered {
            due = due.max(self.process.ordered);
            self.process.ordered = due;
        } else if matches!(task, Task::Do(Operation::Sync { .. })) {
            // It begins when all that was issued before it has been carried out.
            due = self.process.ordered.max(now);
        }
        due
    }

    fn latency_draw(&self) -> Draw {
        self.draws.at(Label::DiskLatency, self.identity, self.issued)
    }

    fn carry_out(&mut self, now: Nanos, pending: Pending) -> Option<Completed> {
        let Pending { op, issued, task } = pending;
        let (file, sync) = match &task {
            Task::Do(Operation::Write { file, .. }) => (Some(*file), false),
            Task::EndSync { file, .. } => (Some(*file), true),
            Task::EndSyncDir { .. } => (None, true),
            Task::Do(Operation::Action(action)) => (cut_file(action), false),
            Task::Do(Operation::Sync { .. }) | Task::ColdRead { .. } => (None, false),
        };
        let result = match self.try_task(now, op, issued, task) {
            Ok(result) => result?,
            Err(error) => DiskResult::Failed(error),
        };
        Some(Completed { op, result, file, sync })
    }

    /// `Ok(None)`: it goes on later.
    fn try_task(&mut self, now: Nanos, op: OpId, issued: Nanos, task: Task) -> Result<Option<DiskResult>, DiskError> {
        match task {
            Task::Do(Operation::Write { file, pos, head, rest }) => {
                self.write(file, pos, &[&head, &rest])?;
                Ok(Some(DiskResult::Done))
            }
            Task::Do(Operation::Sync { file }) => {
                let ino = self.ino(file).ok_or(DiskError::Io(BAD_FILE))?;
                let covers = self.change;
                let bytes = self.dirty.remove(&ino).unwrap_or(0);
                self.again(now, op, issued, Task::EndSync { file, ino, covers, bytes });
                Ok(None)
            }
            Task::EndSync { ino, covers, .. } => self.end_sync(ino, covers).map(Some),
            Task::EndSyncDir { path, covers } => {
                self.faults.strike(OpKind::Sync)?;
                self.tree.sync_dir(covers, &path)?;
                self.raise_barrier(covers);
                Ok(Some(DiskResult::Done))
            }
            Task::Do(Operation::Action(action)) => self.act(now, op, issued, *action),
            Task::ColdRead { file, pos, len } => self.read(file, pos, len).map(Some),
        }
    }

    fn again(&mut self, now: Nanos, op: OpId, issued: Nanos, task: Task) {
        let due = self.due(now, &task);
        self.queue(due, Pending { op, issued, task });
    }

    fn act(
        &mut self,
        now: Nanos,
        op: OpId,
        issued: Nanos,
        action: FileAction,
    ) -> Result<Option<DiskResult>, DiskError> {
        self.change += 1;
        let change = self.change;
        match action {
            FileAction::MakeDir { path } => self.tree.make_dir(change, &path)?,
            FileAction::List { path } => return Ok(Some(DiskResult::Entries(self.tree.list(&path)?))),
            FileAction::Open { file, path, mode } => return self.open(file, &path, mode).map(Some),
            FileAction::CloseFile { file } => drop(self.process.open.remove(&file)),
            FileAction::SetLen { file, len } => self.set_len(file, len)?,
            FileAction::Forget { file, pos } => {
                let ino = self.ino(file).ok_or(DiskError::Io(BAD_FILE))?;
                self.tree.file_mut(ino).ok_or(DiskError::Io(BAD_FILE))?.evict(pos);
            }
            FileAction::SyncDir { path } => self.tree.sync_dir(change, &path)?,
            FileAction::Rename { from, to } => self.tree.rename(change, &from, &to)?,
            FileAction::Remove { path } => self.tree.remove(change, &path)?,
            FileAction::FreeSpace { .. } => return Ok(Some(DiskResult::Space(self.free_space()))),
            FileAction::Read { file, pos, len } => {
                let ino = self.ino(file).ok_or(DiskError::Io(BAD_FILE))?;
                if self.tree.file(ino).is_some_and(|file| file.is_cold(pos, len)) {
                    self.again(now, op, issued, Task::ColdRead { file, pos, len });
                    return Ok(None);
                }
                return self.read(file, pos, len).map(Some);
            }
        }
        Ok(Some(DiskResult::Done))
    }

    fn open(&mut self, file: FileId, path: &Path, mode: OpenMode) -> Result<DiskResult, DiskError> {
        self.faults.strike(OpKind::Open)?;
        let ino = match mode {
            OpenMode::Create => self.tree.create(self.change, path)?,
            OpenMode::Existing => self.tree.find(path).ok_or(DiskError::NotFound)?,
        };
        let len = self.tree.file(ino).ok_or(DiskError::Io(tree::IS_A_DIRECTORY))?.length();
        self.process.open.insert(file, ino);
        Ok(DiskResult::Opened { len })
    }

    fn write(&mut self, file: FileId, pos: u64, parts: &[&[u8]]) -> Result<(), DiskError> {
        self.change += 1;
        let ino = self.ino(file).ok_or(DiskError::Io(BAD_FILE))?;
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if len == 0 {
            return Ok(());
        }
        let old = self.tree.file(ino).ok_or(DiskError::Io(BAD_FILE))?.length();
        let growth = (pos + len).saturating_sub(old);
        let fault = self.faults.strike(OpKind::Write).err().or_else(|| self.no_space(growth));
        *self.dirty.entry(ino).or_default() += len;
        let mut left = match fault {
            Some(_) => self.draws.at(Label::PartialWrite, self.identity, self.change).below(len),
            None => len,
        };
        let file = self.tree.file_mut(ino).ok_or(DiskError::Io(BAD_FILE))?;
        let mut at = pos;
        for part in parts {
            let take = part.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_at(self.change, at, &part[..take]);
            at += take as u64;
            left -= take as u64;
        }
        fault.map_or(Ok(()), Err)
    }

    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        self.faults.strike(OpKind::Write)?;
        let ino = self.ino(file).ok_or(DiskError::Io(BAD_FILE))?;
        let file = self.tree.file_mut(ino).ok_or(DiskError::Io(BAD_FILE))?;
        file.set_len(self.change, len);
        Ok(())
    }

    fn read(&mut self, file: FileId, pos: u64, len: u32) -> Result<DiskResult, DiskError> {
        self.faults.strike(OpKind::Read)?;
        let ino = self.ino(file).ok_or(DiskError::Io(BAD_FILE))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let file = self.tree.file_mut(ino).ok_or(DiskError::Io(BAD_FILE))?;
        let read = file.read_at(pos, len);
        file.note_seen(pos, len);
        self.note_read(&read);
        Ok(DiskResult::Bytes(read.bytes))
    }

    fn end_sync(&mut self, ino: Ino, covers: Change) -> Result<DiskResult, DiskError> {
        let fault = self.faults.strike(OpKind::Sync);
        let identity = self.identity ^ u64::from(ino) << 32;
        let draw = self.draws.at(Label::Rot, identity, self.change);
        let Some(file) = self.tree.file_mut(ino) else {
            return Err(DiskError::Io(BAD_FILE));
        };
        if let Err(error) = fault {
            file.fail_sync(covers);
            self.process.sync_failed = true;
            return Err(error);
        }
        file.sync(covers, || self.faults.write_back(ino, draw.bits()));
        self.covered = self.covered.max(covers);
        self.raise_barrier(covers);
        Ok(DiskResult::Done)
    }

    /// On these disks a sync carries the journal, or all that came before it, along.
    fn raise_barrier(&mut self, covers: Change) {
        if self.preset != Preset::Adversarial {
            self.barrier = self.barrier.max(covers);
        }
    }

    fn no_space(&mut self, growth: u64) -> Option<DiskError> {
        let hard = growth > 0 && growth > self.free_space();
        (hard || (growth > 0 && self.faults.transiently_full())).then(|| {
            self.faults.hit(Hit::NoSpace);
            DiskError::Full
        })
    }

    fn used(&self) -> u64 {
        if self.capacity == UNBOUNDED {
            return 0;
        }
        let files = self.tree.files();
        files.iter().filter_map(|(_, _, ino)| self.tree.file(*ino)).map(file::File::length).sum()
    }

    fn note_read(&mut self, read: &ReadBytes) {
        if read.damaged {
            self.faults.hit(Hit::RotRead);
        }
    }
}

/// As good as without bound.
const UNBOUNDED: u64 = 1 << 40;
/// EBADF.
const BAD_FILE: i32 = 9;

/// The file that an action cuts.
const fn cut_file(action: &FileAction) -> Option<FileId> {
    if let FileAction::SetLen { file, .. } = action { Some(*file) } else { None }
}

#[cfg(test)]
mod tests;
