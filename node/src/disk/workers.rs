//! The pool: reads, lists, removals and jobs, off the threads that serve connections.
//!
//! A job gives its place up after each slice, so that a read does not wait behind a long recovery.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;
use ottla_core::job::{Job, Next};
use ottla_core::machine::{DiskError, DiskResult, FileId, JobId, LogDirId, OpId, Path};

use super::files::{Dirs, Files, OpenFile};
use super::watchdog::Outstanding;

/// The stack of a thread of ours: address space only, until it is touched.
pub(super) const STACK_BYTES: usize = 512 << 10;

/// One thing to do.
#[derive(Debug)]
pub(super) enum Task {
    Read {
        op: OpId,
        file: FileId,
        pos: u64,
        len: u32,
    },
    List {
        op: OpId,
        path: Path,
    },
    Remove {
        op: OpId,
        path: Path,
    },
    Space {
        op: OpId,
        dir: LogDirId,
    },
    /// A job, with what came of what its last step asked for.
    Job {
        job: JobId,
        work: Box<Job>,
        read: Option<Result<Bytes, DiskError>>,
    },
}

impl Task {
    pub(super) fn op(&self) -> Option<OpId> {
        match self {
            Self::Read { op, .. } | Self::List { op, .. } | Self::Remove { op, .. } | Self::Space { op, .. } => {
                Some(*op)
            }
            Self::Job { .. } => None,
        }
    }
}

/// The threads' queue. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Pool {
    queue: Arc<Queue>,
}

/// A queue that outlives the pool without keeping its threads: what is pushed after the end is dropped.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    list: VecDeque<Task>,
    ended: bool,
}

impl Pool {
    pub(super) fn start(
        threads: usize,
        dirs: Arc<Dirs>,
        files: Arc<Files>,
        outstanding: Arc<Outstanding>,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let worker = Arc::new(Worker { dirs, files, outstanding, queue: Arc::clone(&queue) });
        for _ in 0..threads.max(1) {
            let worker = Arc::clone(&worker);
            std::thread::Builder::new().name("ottla-worker".into()).stack_size(STACK_BYTES).spawn(move || {
                while let Some(task) = worker.queue.take() {
                    worker.perform(task);
                }
            })?;
        }
        Ok(Self { queue })
    }

    pub(super) fn push(&self, task: Task) {
        self.queue.push(task);
    }

    pub(super) fn handle(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.ended = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    pub(super) fn push(&self, task: Task) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.list.push_back(task);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<Task> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if waiting.ended {
                return None;
            }
            match waiting.list.pop_front() {
                Some(task) => return Some(task),
                None => waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

struct Worker {
    dirs: Arc<Dirs>,
    files: Arc<Files>,
    outstanding: Arc<Outstanding>,
    queue: Arc<Queue>,
}

impl Worker {
    fn perform(&self, task: Task) {
        match task {
            Task::Read { op, file, pos, len } => {
                let bytes = self.files.get(file).and_then(|open| open.read(pos, len));
                self.finish(op, bytes.map(DiskResult::Bytes));
            }
            Task::List { op, path } => self.finish(op, self.dirs.list(&path)),
            Task::Remove { op, path } => self.finish(op, self.dirs.remove(&path)),
            Task::Space { op, dir } => self.finish(op, self.dirs.space(dir)),
            Task::Job { job, work, read } => self.step(job, work, read),
        }
    }

    fn finish(&self, op: OpId, result: Result<DiskResult, DiskError>) {
        self.outstanding.end(op, result.unwrap_or_else(DiskResult::Failed));
    }

    /// One slice.
    fn step(&self, job: JobId, mut work: Box<Job>, done: Option<Result<Bytes, DiskError>>) {
        match work.step(done) {
            Next::Done(report) => self.outstanding.report(job, report),
            Next::Read { file, pos, len } => self.on_file(job, work, file, |open| open.read(pos, len)),
            Next::Write { file, pos, bytes } => {
                self.on_file(job, work, file, |open| open.write(pos, &bytes).map(|()| Bytes::new()));
            }
        }
    }

    /// While the job waits for the disk it lies with the watchdog, which takes it away and lets it go on with an error
    /// if the device hangs.
    fn on_file(
        &self,
        job: JobId,
        work: Box<Job>,
        file: FileId,
        act: impl FnOnce(&OpenFile) -> Result<Bytes, DiskError>,
    ) {
        let open = self.files.get(file);
        let dir = open.as_ref().map(|open| open.dir).unwrap_or_default();
        self.outstanding.begin_job(job, work, self.dirs.root(dir));
        let done = open.and_then(|open| act(&open));
        if let Some(work) = self.outstanding.end_job(job) {
            self.queue.push(Task::Job { job, work, read: Some(done) });
        }
    }
}
