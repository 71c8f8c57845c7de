//! What other threads were given to do, and the watchdog that gives up on a device that hangs.
//!
//! An operation ends once: by the thread that carries it out, or by the watchdog when it has been outstanding
//! for too long. The other's result is then dropped. A hung device so becomes an I/O error, which takes the
//! log directory offline, and the process stays answerable.
//!
//! A write that hangs on the caller's own thread cannot be given up: it stops the node, and its peers take over. The
//! watchdog only says so.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
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
    begun: Instant,
    /// Since when the caller's own thread is in a file operation, in nanoseconds after `begun`; 0 if it is in none.
    caller_since: AtomicU64,
}

/// The caller's own thread is in a file operation as long as this lives.
#[derive(Debug)]
pub(super) struct CallerBusy<'a>(&'a Outstanding);

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
        Self { table: Mutex::default(), done, begun: Instant::now(), caller_since: AtomicU64::new(0) }
    }

    pub(super) fn caller_is_busy(&self) -> CallerBusy<'_> {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.caller_since.store(now.max(1), Ordering::Relaxed);
        CallerBusy(self)
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

    /// For how long the caller's own thread has been in its file operation, and which it is.
    fn caller_stuck(&self, timeout: Duration) -> Option<(u64, Duration)> {
        let since = self.caller_since.load(Ordering::Relaxed);
        let busy = self.begun.elapsed().saturating_sub(Duration::from_nanos(since));
        (since > 0 && busy >= timeout).then_some((since, busy))
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

impl Drop for CallerBusy<'_> {
    fn drop(&mut self) {
        self.0.caller_since.store(0, Ordering::Relaxed);
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
    let watch = move || {
        let mut told = 0;
        while let Some(outstanding) = outstanding.upgrade() {
            outstanding.give_up(timeout, &queue);
            if let Some((since, busy)) = outstanding.caller_stuck(timeout)
                && since != told
            {
                told = since;
                tracing::error!("a write has not returned for {busy:?}; the device hangs, and nobody is served");
            }
            drop(outstanding);
            std::thread::sleep(tick);
        }
    };
    std::thread::Builder::new().name("ottla-watchdog".into()).stack_size(STACK_BYTES).spawn(watch)?;
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

    #[test]
    fn a_stuck_caller_is_noticed() {
        let outstanding = Outstanding::new(Arc::new(drop));
        assert!(outstanding.caller_stuck(Duration::ZERO).is_none());
        let busy = outstanding.caller_is_busy();
        assert!(outstanding.caller_stuck(Duration::ZERO).is_some());
        assert!(outstanding.caller_stuck(Duration::from_secs(1_000)).is_none());
        drop(busy);
        assert!(outstanding.caller_stuck(Duration::ZERO).is_none());
    }
}
