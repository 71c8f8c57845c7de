//! What other threads were given to do, and the watchdog that gives up on a device that hangs.
//!
//! An operation ends once: by the thread that carries it out, or by the watchdog. The other's result is then dropped.
//! A hung device so becomes an I/O error, which takes the log directory offline, and the process stays answerable.
//!
//! A device hangs when a thread has been in one operation for too long, or when operations wait for a thread and none
//! of their directory has ended for so long. Merely to wait is no sign: behind thousands of removals it takes its time.
//!
//! A write that hangs on the caller's own thread cannot be given up: it stops the node, and its peers take over. The
//! watchdog only says so.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::job::{Job, Report};
use ottla_core::machine::{DiskError, DiskResult, Input, JobId, LogDirId, OpId};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::Completions;
use super::files::Dirs;
use super::workers::{Crew, Queue, STACK_BYTES, Step};
use crate::driver::Counters;

/// The operations that other threads carry out.
pub(super) struct Outstanding {
    table: Mutex<Table>,
    dirs: Arc<Dirs>,
    counters: Arc<Counters>,
    done: Completions,
    /// Where jobs go on.
    steps: Arc<Queue<Step>>,
    begun: Instant,
    /// Since when the caller's own thread is in a file operation, in nanoseconds after `begun`; 0 if it is in none.
    caller_since: AtomicU64,
}

/// The caller's own thread is in a file operation as long as this lives.
#[derive(Debug)]
pub(super) struct CallerBusy<'a>(&'a Outstanding);

/// An operation's number here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Who waits for an operation.
pub(super) enum Owner {
    /// The machine.
    Op(OpId),
    /// A job, which goes on with what came of it.
    Job(JobId, Box<Job>),
    /// A connection that is to send what is read. It is not told if the device hangs: the other end is dropped.
    Conn(oneshot::Sender<()>),
}

/// Operations that wait for the same threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// A directory's syncs.
    Syncs(LogDirId),
    /// All else of a directory.
    Work(LogDirId),
}

#[derive(Default)]
struct Table {
    last: u64,
    entries: BTreeMap<Ticket, Entry>,
    /// When an operation of the lane last ended by itself.
    moved: BTreeMap<Lane, Instant>,
}

struct Entry {
    lane: Lane,
    what: &'static str,
    owner: Owner,
    /// When it was handed in.
    since: Instant,
    /// When a thread took it up.
    taken: Option<Instant>,
}

impl Outstanding {
    pub(super) fn new(dirs: Arc<Dirs>, steps: Arc<Queue<Step>>, counters: Arc<Counters>, done: Completions) -> Self {
        let (table, begun) = (Mutex::default(), Instant::now());
        Self { table, dirs, counters, done, steps, begun, caller_since: AtomicU64::new(0) }
    }

    pub(super) fn caller_is_busy(&self) -> CallerBusy<'_> {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.caller_since.store(now.max(1), Ordering::Relaxed);
        CallerBusy(self)
    }

    /// An operation is handed in.
    pub(super) fn begin(&self, lane: Lane, what: &'static str, owner: Owner) -> Ticket {
        let mut table = self.lock();
        table.last += 1;
        let ticket = Ticket(table.last);
        table.entries.insert(ticket, Entry { lane, what, owner, since: Instant::now(), taken: None });
        ticket
    }

    /// A thread takes it up; false if nobody waits for it any more.
    pub(super) fn take_up(&self, ticket: Ticket) -> bool {
        let mut table = self.lock();
        let entry = table.entries.get_mut(&ticket);
        let is_wanted = entry.is_some();
        if let Some(entry) = entry {
            entry.taken = Some(Instant::now());
        }
        is_wanted
    }

    /// Completes an operation; false if the watchdog did.
    pub(super) fn end(&self, ticket: Ticket, result: Result<DiskResult, DiskError>) -> bool {
        let owner = {
            let mut table = self.lock();
            let entry = table.entries.remove(&ticket);
            entry.map(|Entry { lane, owner, .. }| {
                table.moved.insert(lane, Instant::now());
                owner
            })
        };
        let is_wanted = owner.is_some();
        if let Some(owner) = owner {
            self.tell(owner, result);
        }
        is_wanted
    }

    pub(super) fn report(&self, job: JobId, report: Box<Report>) {
        (self.done)(Input::JobDone { job, report });
    }

    fn tell(&self, owner: Owner, result: Result<DiskResult, DiskError>) {
        match (owner, result) {
            (Owner::Op(op), result) => {
                (self.done)(Input::Disk { op, result: result.unwrap_or_else(DiskResult::Failed) });
            }
            (Owner::Job(job, work), result) => self.steps.push(Step { job, work, read: Some(result.map(bytes_of)) }),
            // Who has stopped waiting has gone.
            (Owner::Conn(waiter), Ok(_)) => drop(waiter.send(())),
            (Owner::Conn(waiter), Err(_)) => drop(waiter),
        }
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

    /// Fails whatever the device has kept for too long. Gives the directory of each working thread that is lost by it.
    fn give_up(&self, timeout: Duration) -> Vec<LogDirId> {
        let hung = DiskError::Io(Errno::TIMEDOUT.raw_os_error());
        let given_up: Vec<Entry> = {
            let Table { entries, moved, .. } = &mut *self.lock();
            let now = Instant::now();
            let late = entries.extract_if(.., |_, entry| entry.is_late(moved.get(&entry.lane).copied(), now, timeout));
            late.map(|(_, entry)| entry).collect()
        };
        self.complain(&given_up, timeout);
        let mut lost = Vec::new();
        for entry in given_up {
            match entry.lane {
                Lane::Syncs(_) => self.counters.syncs_failed.add(1),
                Lane::Work(dir) if entry.taken.is_some() => lost.push(dir),
                Lane::Work(_) => {}
            }
            self.tell(entry.owner, Err(hung));
        }
        lost
    }

    /// One line a directory, however much waits for it.
    fn complain(&self, given_up: &[Entry], timeout: Duration) {
        let mut by_dir: BTreeMap<LogDirId, (&str, usize)> = BTreeMap::new();
        for entry in given_up {
            by_dir.entry(entry.lane.dir()).or_insert((entry.what, 0)).1 += 1;
        }
        for (dir, (what, count)) in by_dir {
            let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            tracing::error!(
                "log directory {}: a {what}{others} not completed within {timeout:?}; the device hangs and is taken \
                 for failed",
                self.dirs.root(dir).display(),
            );
        }
    }

    /// Counts from now on: the process itself was stopped, so nothing can be said of the devices.
    fn start_over(&self) {
        let now = Instant::now();
        for entry in self.lock().entries.values_mut() {
            entry.since = now;
            entry.taken = entry.taken.map(|_| now);
        }
    }
}

impl Entry {
    fn is_late(&self, moved: Option<Instant>, now: Instant, timeout: Duration) -> bool {
        let since = self.taken.unwrap_or_else(|| moved.map_or(self.since, |moved| moved.max(self.since)));
        now.saturating_duration_since(since) >= timeout
    }
}

impl Lane {
    fn dir(self) -> LogDirId {
        match self {
            Self::Syncs(dir) | Self::Work(dir) => dir,
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
        f.debug_struct("Outstanding").field("operations", &self.lock().entries.len()).finish_non_exhaustive()
    }
}

/// What a job gets of a read, or of a write.
fn bytes_of(result: DiskResult) -> Bytes {
    match result {
        DiskResult::Bytes(bytes) => bytes,
        DiskResult::Done
        | DiskResult::Opened { .. }
        | DiskResult::Entries(_)
        | DiskResult::Space(_)
        | DiskResult::Failed(_) => Bytes::new(),
    }
}

/// Starts the watchdog; it ends when nothing else holds `outstanding`.
pub(super) fn start(timeout: Duration, outstanding: &Arc<Outstanding>, crews: Weak<Vec<Arc<Crew>>>) -> io::Result<()> {
    let outstanding: Weak<Outstanding> = Arc::downgrade(outstanding);
    let tick = (timeout / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let watch = move || {
        let mut told = 0;
        while let Some(outstanding) = outstanding.upgrade() {
            let lost = outstanding.give_up(timeout);
            if let Some(crews) = crews.upgrade() {
                lost.into_iter().for_each(|dir| crews[usize::from(dir.0)].replace_one());
            }
            if let Some((since, busy)) = outstanding.caller_stuck(timeout)
                && since != told
            {
                told = since;
                tracing::error!("a write has not returned for {busy:?}; the device hangs, and nobody is served");
            }
            let asleep = Instant::now();
            std::thread::sleep(tick);
            // A process that was stopped, or a host that slept, has seen no device hang.
            if asleep.elapsed() >= (timeout / 4).max(tick * 2) {
                outstanding.start_over();
            }
        }
    };
    std::thread::Builder::new().name("ottla-watchdog".into()).stack_size(STACK_BYTES).spawn(watch)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver};

    const LONG: Duration = Duration::from_secs(1_000);

    fn outstanding() -> (Outstanding, Receiver<String>) {
        let (sender, completed) = mpsc::channel();
        let done = Arc::new(move |input: Input| drop(sender.send(input.to_string())));
        let dirs = Arc::new(Dirs::new(vec!["/data".into(), "/more".into()]));
        (Outstanding::new(dirs, Arc::default(), Arc::default(), done), completed)
    }

    #[test]
    fn a_hung_operation_ends_once_and_as_failed() {
        let (outstanding, completed) = outstanding();
        let dir = LogDirId(1);
        let sync = outstanding.begin(Lane::Syncs(dir), "sync", Owner::Op(OpId(1)));
        let read = outstanding.begin(Lane::Work(dir), "read", Owner::Op(OpId(2)));
        let list = outstanding.begin(Lane::Work(dir), "list", Owner::Op(OpId(3)));
        assert!(outstanding.take_up(sync) && outstanding.take_up(read) && outstanding.take_up(list));
        assert!(outstanding.end(read, Ok(DiskResult::Done)));
        assert_eq!(outstanding.give_up(LONG), []);
        assert_eq!(outstanding.give_up(Duration::ZERO), [dir], "the thread that lists");
        assert!(!outstanding.end(sync, Ok(DiskResult::Done)) && !outstanding.take_up(list));
        assert_eq!(outstanding.give_up(Duration::ZERO), []);
        assert_eq!(outstanding.counters.syncs_failed.get(), 1);
        drop(outstanding);
        let completed: Vec<_> = completed.iter().collect();
        assert_eq!(completed, ["#2 done", "#1 failed: I/O error 110", "#3 failed: I/O error 110"]);
    }

    /// Of what waits it does not count for how long it does, as long as others end before it.
    #[test]
    fn a_busy_device_does_not_hang() {
        let now = Instant::now() + LONG;
        let ago = |seconds| now - Duration::from_secs(seconds);
        let entry = |since, taken| {
            let (lane, owner) = (Lane::Work(LogDirId(0)), Owner::Op(OpId(1)));
            Entry { lane, what: "removal", owner, since, taken }
        };
        let timeout = Duration::from_secs(30);
        let is_late = |entry: Entry, moved| entry.is_late(moved, now, timeout);
        assert!(!is_late(entry(ago(90), None), Some(ago(1))), "it waits, and others end");
        assert!(is_late(entry(ago(90), None), Some(ago(31))), "it waits, and nothing ends");
        assert!(is_late(entry(ago(31), None), None), "and nothing ever has");
        assert!(!is_late(entry(ago(29), None), Some(ago(500))), "before it there was nothing to do");
        assert!(!is_late(entry(ago(90), Some(ago(29))), None), "it was taken up of late");
        assert!(is_late(entry(ago(90), Some(ago(31))), Some(ago(1))), "whatever others do");
    }

    #[test]
    fn a_process_that_was_stopped_starts_over() {
        let (outstanding, _completed) = outstanding();
        let lane = Lane::Syncs(LogDirId(0));
        let tickets = [(); 2].map(|()| outstanding.begin(lane, "sync", Owner::Op(OpId(1))));
        outstanding.take_up(tickets[0]);
        let back = Instant::now();
        outstanding.start_over();
        let table = outstanding.lock();
        assert!(table.entries.values().all(|entry| entry.since >= back && entry.taken.is_none_or(|at| at >= back)));
    }

    #[test]
    fn a_stuck_caller_is_noticed() {
        let (outstanding, _completed) = outstanding();
        assert!(outstanding.caller_stuck(Duration::ZERO).is_none());
        let busy = outstanding.caller_is_busy();
        assert!(outstanding.caller_stuck(Duration::ZERO).is_some());
        assert!(outstanding.caller_stuck(LONG).is_none());
        drop(busy);
        assert!(outstanding.caller_stuck(Duration::ZERO).is_none());
    }
}
