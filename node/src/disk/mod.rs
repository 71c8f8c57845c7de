//! File effects, carried out on real directories.
//!
//! Opens, writes, truncations, renames and new directories happen at once, on the caller's thread and in the
//! order of the effects, so that what was written is readable when the step's answers leave. Adjacent writes
//! of one file are merged into one `pwritev`. Syncs go to one thread a log directory, which takes all that
//! wait as one round; reads, lists and removals to a few others of the directory; jobs to a pool that touches no disk.
//!
//! Invariants:
//!
//! * Every operation completes exactly once, also on a device that hangs: the watchdog then completes it.
//! * Whoever waits for one log directory waits for no other, but for what the caller's own thread does.
//! * Pending writes are carried out before any other operation starts, so a sync covers every write of its
//!   file that was issued before it.
//! * A failed write or sync is neither retried nor hidden.
//!
//! Absent on purpose: file formats, and any rule on what must be synced when. Both are the machine's.

mod files;
mod lock;
mod sync;
mod watchdog;
mod workers;
mod writes;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_core::machine::{
    DiskError, DiskResult, Effect, FileAction, FileId, FileRange, Input, LogDirId, OpId, OpenMode, Path,
};
use ottla_core::types::{LeaderEpoch, Offset};

use crate::driver::Counters;
pub use files::OpenFile;
use files::{Dirs, Files};
pub use lock::{DirectoryLock, LockError};
use sync::{Syncer, Target};
use watchdog::{Outstanding, Owner};
pub(crate) use workers::Warmer;
use workers::Workers;
use writes::{Piece, Writes};

/// Where completions of other threads go. It must not block.
pub type Completions = Arc<dyn Fn(Input) + Send + Sync>;

/// How a [`Disk`] is set up.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// The log directories, by [`ottla_core::machine::LogDirId`].
    pub log_dirs: Vec<PathBuf>,
    /// After how long an operation that has not completed is declared failed.
    pub timeout: Duration,
    /// How many threads run jobs.
    pub workers: usize,
}

/// The log directories and their open files.
pub struct Disk {
    dirs: Arc<Dirs>,
    files: Arc<Files>,
    writes: Writes,
    syncers: Vec<Syncer>,
    workers: Workers,
    outstanding: Arc<Outstanding>,
}

impl Disk {
    /// Starts the threads. The directories must be there.
    pub fn new(options: DiskOptions, counters: Arc<Counters>, done: Completions) -> io::Result<Self> {
        let dirs = Arc::new(Dirs::new(options.log_dirs));
        let (files, steps) = (Arc::new(Files::new(Arc::clone(&counters))), Arc::default());
        let count = dirs.roots().len();
        let outstanding =
            Arc::new(Outstanding::new(Arc::clone(&dirs), Arc::clone(&steps), Arc::clone(&counters), done));
        let syncers = (0..)
            .take(count)
            .map(|dir| Syncer::start(LogDirId(dir), &outstanding, Arc::clone(&counters)))
            .collect::<io::Result<_>>()?;
        let threads = (count, workers::THREADS);
        let workers = Workers::start(threads, options.workers, &files, &steps, &outstanding)?;
        watchdog::start(options.timeout, &outstanding, workers.crews())?;
        Ok(Self { dirs, files, writes: Writes::new(counters), syncers, workers, outstanding })
    }

    /// Takes a file effect on; writes wait for [`Disk::flush`]. What completes at once is added to `completed`.
    /// Any other effect is given back.
    pub fn execute(&mut self, effect: Effect, completed: &mut Vec<Input>) -> Option<Effect> {
        match effect {
            Effect::Append { op, file, pos, base_offset, leader_epoch, rest } => {
                let head = batch_head(base_offset, leader_epoch, &rest);
                let pieces = [Piece::Head(head), Piece::Bytes(rest)];
                self.writes.push(op, file, u64::from(pos), pieces);
            }
            Effect::Write { op, file, pos, bytes } => self.writes.push(op, file, pos, [Piece::Bytes(bytes)]),
            Effect::Sync { op, file } => self.sync(op, file, completed),
            Effect::File { op, action } => self.act(op, *action, completed),
            Effect::Run { job, work } => {
                self.flush(completed);
                self.workers.begin_job(job, work);
            }
            other @ (Effect::Send { .. }
            | Effect::SendRange { .. }
            | Effect::Done { .. }
            | Effect::PauseReading { .. }
            | Effect::ResumeReading { .. }
            | Effect::Close { .. }
            | Effect::Connect { .. }
            | Effect::Note(_)
            | Effect::Ready
            | Effect::Stopped) => return Some(other),
        }
        None
    }

    /// Carries out the queued writes.
    pub fn flush(&mut self, completed: &mut Vec<Input>) {
        if !self.writes.is_empty() {
            let _busy = self.outstanding.caller_is_busy();
            self.writes.flush(&self.files, completed);
        }
    }

    /// Hands a sync to the directory's own thread.
    fn sync(&mut self, op: OpId, file: FileId, completed: &mut Vec<Input>) {
        self.flush(completed);
        match self.files.get(file) {
            Ok(open) => self.syncers[usize::from(open.dir.0)].push(op, Target::File(file, open)),
            Err(error) => completed.push(failed(op, error)),
        }
    }

    /// Carries out, or hands to another thread, any other file operation.
    fn act(&mut self, op: OpId, action: FileAction, completed: &mut Vec<Input>) {
        self.flush(completed);
        let _busy = self.outstanding.caller_is_busy();
        let result = match action {
            FileAction::MakeDir { path } => self.dirs.make_dir(&path),
            FileAction::Open { file, path, mode } => self.open(file, &path, mode),
            FileAction::CloseFile { file } => {
                self.files.close(file);
                Ok(DiskResult::Done)
            }
            FileAction::SetLen { file, len } => self.files.set_len(file, len),
            FileAction::Forget { file, pos } => self.files.forget(file, pos),
            FileAction::Rename { from, to } => self.dirs.rename(&from, &to),
            FileAction::SyncDir { path } => {
                let target = Target::Dir(self.dirs.resolve(&path));
                return self.syncers[usize::from(path.dir.0)].push(op, target);
            }
            FileAction::List { path } => {
                return self.hand_over(op, "list", path.dir, move |dirs| dirs.list(&path));
            }
            FileAction::Remove { path } => {
                let (crew, dirs) = (self.workers.of(path.dir), Arc::clone(&self.dirs));
                return crew.hand_over_later("removal", Owner::Op(op), move || dirs.remove(&path));
            }
            FileAction::FreeSpace { dir } => {
                return self.hand_over(op, "question for free space", dir, move |dirs| dirs.space(dir));
            }
            FileAction::Read { file, pos, len } => match self.files.get(file) {
                Ok(open) => {
                    return self.hand_over(op, "read", open.dir, move |_| open.read(pos, len).map(DiskResult::Bytes));
                }
                Err(error) => Err(error),
            },
        };
        completed.push(Input::Disk { op, result: result.unwrap_or_else(DiskResult::Failed) });
    }

    /// What brings the ranges of files that are to be sent into memory.
    #[must_use]
    pub(crate) fn warmer(&self) -> Warmer {
        self.workers.warmer()
    }

    /// The open file that a range lies in; it stays open as long as the result lives.
    #[must_use]
    pub fn pin(&self, range: FileRange) -> Option<Arc<OpenFile>> {
        self.files.get(range.file).ok()
    }

    fn open(&self, file: FileId, path: &Path, mode: OpenMode) -> Result<DiskResult, DiskError> {
        let open = self.dirs.open(path, mode)?;
        let len = open.len()?;
        self.files.insert(file, open);
        Ok(DiskResult::Opened { len })
    }

    /// Has it done on one of the directory's own threads.
    fn hand_over(
        &self,
        op: OpId,
        what: &'static str,
        dir: LogDirId,
        act: impl FnOnce(&Dirs) -> Result<DiskResult, DiskError> + Send + 'static,
    ) {
        let dirs = Arc::clone(&self.dirs);
        self.workers.of(dir).hand_over(what, Owner::Op(op), move || act(&dirs));
    }
}

/// The 16 bytes of a batch that the broker sets: base offset, length (of what follows it), leader epoch.
fn batch_head(base_offset: Offset, leader_epoch: LeaderEpoch, rest: &Bytes) -> [u8; 16] {
    let length = i32::try_from(rest.len() + 4).expect("a frame is shorter than 2 GiB, and its batches are within");
    let mut head = [0; 16];
    head[..8].copy_from_slice(&base_offset.0.to_be_bytes());
    head[8..12].copy_from_slice(&length.to_be_bytes());
    head[12..].copy_from_slice(&leader_epoch.0.to_be_bytes());
    head
}

fn failed(op: OpId, error: DiskError) -> Input {
    Input::Disk { op, result: DiskResult::Failed(error) }
}

fn disk_error(errno: rustix::io::Errno) -> DiskError {
    match errno {
        rustix::io::Errno::NOENT => DiskError::NotFound,
        rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT => DiskError::Full,
        other => DiskError::Io(other.raw_os_error()),
    }
}

fn io_error(error: &io::Error) -> DiskError {
    rustix::io::Errno::from_io_error(error).map_or(DiskError::Io(rustix::io::Errno::IO.raw_os_error()), disk_error)
}
