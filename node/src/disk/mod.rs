//! File effects, carried out on real directories.
//!
//! Opens, writes, truncations, renames and new directories happen at once, on the caller's thread and in the
//! order of the effects, so that what was written is readable when the step's answers leave. Adjacent writes
//! of one file are merged into one `pwritev`. Syncs go to one thread a log directory, which takes all that
//! wait as one round; reads, lists, removals and jobs go to a small pool.
//!
//! Invariants:
//!
//! * Every operation completes exactly once, also on a device that hangs: the watchdog then completes it.
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
use ottla_core::job::Job;
use ottla_core::machine::{
    DiskError, DiskResult, Effect, FileAction, FileId, FileRange, Input, JobId, OpId, OpenMode, Path,
};
use ottla_core::types::{LeaderEpoch, Offset};

use crate::driver::Counters;
pub use files::OpenFile;
use files::{Dirs, Files};
pub use lock::{DirectoryLock, LockError};
use sync::{Syncer, Target};
use watchdog::Outstanding;
use workers::{Pool, Task};
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
    /// How many threads read, list, remove and run jobs.
    pub workers: usize,
}

/// The log directories and their open files.
pub struct Disk {
    dirs: Arc<Dirs>,
    files: Arc<Files>,
    writes: Writes,
    syncers: Vec<Syncer>,
    pool: Pool,
    outstanding: Arc<Outstanding>,
}

impl Disk {
    /// Starts the threads. The directories must be there.
    pub fn new(options: DiskOptions, counters: Arc<Counters>, done: Completions) -> io::Result<Self> {
        let dirs = Arc::new(Dirs::new(options.log_dirs));
        let files = Arc::new(Files::default());
        let outstanding = Arc::new(Outstanding::new(done));
        let syncers = dirs
            .roots()
            .map(|root| Syncer::start(root, Arc::clone(&outstanding), Arc::clone(&counters)))
            .collect::<io::Result<_>>()?;
        let pool = Pool::start(options.workers, Arc::clone(&dirs), Arc::clone(&files), Arc::clone(&outstanding))?;
        watchdog::start(options.timeout, &outstanding, pool.handle())?;
        Ok(Self { dirs, files, writes: Writes::new(counters), syncers, pool, outstanding })
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
            Effect::Run { job, work } => self.run(job, work, completed),
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
            Ok(open) => {
                let syncer = &self.syncers[usize::from(open.dir.0)];
                self.outstanding.begin(op, "sync", syncer.root());
                syncer.push(op, Target::File(file, open));
            }
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
            FileAction::SyncDir { path } => return self.sync_dir(op, &path),
            FileAction::List { path } => return self.hand_over("list", Task::List { op, path }),
            FileAction::Remove { path } => return self.hand_over("remove", Task::Remove { op, path }),
            FileAction::Read { file, pos, len } => return self.hand_over("read", Task::Read { op, file, pos, len }),
            FileAction::FreeSpace { dir } => return self.hand_over("free space", Task::Space { op, dir }),
        };
        completed.push(Input::Disk { op, result: result.unwrap_or_else(DiskResult::Failed) });
    }

    /// Starts a job on the pool.
    fn run(&mut self, job: JobId, work: Box<Job>, completed: &mut Vec<Input>) {
        self.flush(completed);
        self.pool.push(Task::Job { job, work, read: None });
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

    fn sync_dir(&self, op: OpId, path: &Path) {
        let syncer = &self.syncers[usize::from(path.dir.0)];
        self.outstanding.begin(op, "directory sync", syncer.root());
        syncer.push(op, Target::Dir(self.dirs.resolve(path)));
    }

    fn hand_over(&self, what: &'static str, task: Task) {
        if let Some(op) = task.op() {
            self.outstanding.begin(op, what, self.root_of(&task));
        }
        self.pool.push(task);
    }

    fn root_of(&self, task: &Task) -> &Arc<std::path::Path> {
        let dir = match task {
            Task::List { path, .. } | Task::Remove { path, .. } => path.dir,
            Task::Space { dir, .. } => *dir,
            Task::Read { file, .. } => self.files.get(*file).map(|open| open.dir).unwrap_or_default(),
            Task::Job { .. } => ottla_core::machine::LogDirId::default(),
        };
        self.dirs.root(dir)
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
