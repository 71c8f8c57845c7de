//! What other threads were given to do, and the watchdog that gives up on a device that hangs.
//!
//! An operation ends once: by the thread that carries it out, or by the watchdog when it has been outstanding
//! for too long. The other's result is then dropped. A hung device so becomes an I/O error, which takes the
//! log directory offline, and the process stays answerable.
//!
//! Absent: a write that hangs on the caller's own thread. It stops the node, and its peers take over.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ottla_core::job::{Job, Report};
use ottla_core::machine::{DiskError, DiskResult, Input, JobId, OpId};
use rustix::io::Errno;

use super::Completions;
use super::workers::{Queue, STACK_BYTES, Task};

/// The operations that other threads carry out.
pub(super) struct Outstanding {
    table: Mutex<Table>,
    done: Completions,
}

#[derive(Debug, Default)]
struct Table {
    ops: BTreeMap<OpId, Begun>,
    jobs: BTreeMap<JobId, (Begun, Box<Job>)>,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    what: &'static str,
    root: Arc<Path>,
}

impl Outstanding {
    pub(super) fn new(done: Completions) -> Self {
        Self { table: Mutex::default(), done }
    }

    pub(super) fn begin(&self, op: OpId, what: &'static str, root: &Arc<Path>) {
        self.lock().ops.insert(op, Begun::now(what, root));
    }

    /// Completes an operation, if the watchdog did not.
    pub(super) fn end(&self, op: OpId, result: DiskResult) {
        if self.lock().ops.remove(&op).is_some() {
            (self.done)(Input::Disk { op, result });
        }
    }

    pub(super) fn begin_job(&self, job: JobId, work: Box<Job>, root: &Arc<Path>) {
        self.lock().jobs.insert(job, (Begun::now("read of a job", root), work));
    }

    /// Gives a job back after its read, if the watchdog did not take it.
    pub(super) fn end_job(&self, job: JobId) -> Option<Box<Job>> {
        self.lock().jobs.remove(&job).map(|(_, work)| work)
    }

    pub(super) fn report(&self, job: JobId, report: Box<Report>) {
        (self.done)(Input::JobDone { job, report });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails whatever began longer than `timeout` ago.
    fn give_up(&self, timeout: Duration, queue: &Queue) {
        let hung = DiskError::Io(Errno::TIMEDOUT.raw_os_error());
        let (ops, jobs) = {
            let mut table = self.lock();
            let late = |begun: &Begun| begun.at.elapsed() >= timeout;
            let ops: Vec<_> = table.ops.extract_if(.., |_, begun| late(begun)).collect();
            let jobs: Vec<_> = table.jobs.extract_if(.., |_, (begun, _)| late(begun)).collect();
            (ops, jobs)
        };
        for (op, begun) in ops {
            begun.complain(timeout);
            (self.done)(Input::Disk { op, result: DiskResult::Failed(hung) });
        }
        for (job, (begun, work)) in jobs {
            begun.complain(timeout);
            queue.push(Task::Job { job, work, read: Some(Err(hung)) });
        }
    }
}

impl fmt::Debug for Outstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outstanding").field("table", &self.table).finish()
    }
}

impl Begun {
    fn now(what: &'static str, root: &Arc<Path>) -> Self {
        Self { at: Instant::now(), what, root: Arc::clone(root) }
    }

    fn complain(&self, timeout: Duration) {
        tracing::error!(
            "log directory {}: a {} has not completed within {timeout:?}; the device hangs and is taken for failed",
            self.root.display(),
            self.what,
        );
    }
}

/// Starts the watchdog; it ends when nothing else holds `outstanding`.
pub(super) fn start(timeout: Duration, outstanding: &Arc<Outstanding>, queue: Arc<Queue>) -> io::Result<()> {
    let outstanding: Weak<Outstanding> = Arc::downgrade(outstanding);
    let tick = (timeout / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
    std::thread::Builder::new().name("ottla-watchdog".into()).stack_size(STACK_BYTES).spawn(move || {
        loop {
            std::thread::sleep(tick);
            match outstanding.upgrade() {
                Some(outstanding) => outstanding.give_up(timeout, &queue),
                None => return,
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_hung_operation_ends_once_and_as_failed() {
        let (sender, completed) = mpsc::channel();
        let outstanding = Outstanding::new(Arc::new(move |input: Input| drop(sender.send(input.to_string()))));
        let (root, queue) = (Arc::from(Path::new("/data")), Queue::default());
        outstanding.begin(OpId(1), "sync", &root);
        outstanding.begin(OpId(2), "read", &root);
        outstanding.end(OpId(2), DiskResult::Done);
        outstanding.give_up(Duration::from_secs(1_000), &queue);
        outstanding.give_up(Duration::ZERO, &queue);
        outstanding.end(OpId(1), DiskResult::Done);
        outstanding.give_up(Duration::ZERO, &queue);
        drop(outstanding);
        assert_eq!(completed.iter().collect::<Vec<_>>(), ["#2 done", "#1 failed: I/O error 110"]);
    }
}
