//! The threads that read, list and remove, some a log directory; and those that run jobs, which touch no disk.
//!
//! A directory has threads of its own, so that a device that hangs stops nobody but those who wait for it. A thread
//! that the watchdog has given up is replaced, within bounds, and ends when its operation returns. A job asks its
//! file's directory for what it reads and writes, and gives its place up after each slice: no job waits behind a long
//! recovery, or behind a device.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use ottla_core::job::{Job, Next};
use ottla_core::machine::{DiskError, DiskResult, FileId, JobId, LogDirId};
use tokio::sync::oneshot;

use super::files::{Files, OpenFile};
use super::watchdog::{Lane, Outstanding, Owner, Ticket};

/// How many threads of each directory there are: as many cold reads wait for the device at once. They cost next to
/// nothing while there is nothing to do.
pub(super) const THREADS: usize = 4;

/// The stack of a thread of ours: address space only, until it is touched.
pub(super) const STACK_BYTES: usize = 512 << 10;

/// How many threads of a directory may be lost to a device that hangs, and be replaced, at once. It is offline after
/// the first; what then still comes ends as having waited in vain.
const MOST_LOST: usize = 4;

/// One slice of a job to be run, with what came of what the last one asked for.
pub(super) struct Step {
    pub(super) job: JobId,
    pub(super) work: Box<Job>,
    pub(super) read: Option<Result<Bytes, DiskError>>,
}

/// What a thread of a directory does.
type Act = Box<dyn FnOnce() -> Result<DiskResult, DiskError> + Send>;

/// All the threads. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Workers {
    crews: Arc<Vec<Arc<Crew>>>,
    steps: Arc<Queue<Step>>,
}

/// The threads of one directory.
pub(super) struct Crew {
    dir: LogDirId,
    queue: Queue<(Ticket, Act)>,
    /// How many are to serve.
    wanted: usize,
    staff: Mutex<Staff>,
    outstanding: Arc<Outstanding>,
}

/// How many threads there are, and how many of them were not given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Staff {
    all: usize,
    serving: usize,
}

/// What waits for some threads. They take turns between what somebody waits for and what may come later, as long as
/// there is both: a read does not wait for thousands of removals, and these are not put off for ever.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Waiting<T> {
    soon: VecDeque<T>,
    later: VecDeque<T>,
    is_laters_turn: bool,
    ended: bool,
}

/// Brings what connections are to send into the page cache. It does not keep the threads: without them nothing is read.
#[derive(Clone, Debug)]
pub(crate) struct Warmer(Weak<Vec<Arc<Crew>>>);

impl Workers {
    /// Starts so many threads for each of so many directories, and so many for jobs.
    pub(super) fn start(
        (dirs, threads): (usize, usize),
        jobs: usize,
        files: &Arc<Files>,
        steps: &Arc<Queue<Step>>,
        outstanding: &Arc<Outstanding>,
    ) -> io::Result<Self> {
        let crew = |dir| Crew::start(LogDirId(dir), threads, Arc::clone(outstanding));
        let crews: Vec<_> = (0..).take(dirs).map(crew).collect::<io::Result<_>>()?;
        let workers = Self { crews: Arc::new(crews), steps: Arc::clone(steps) };
        let runner = Arc::new(Runner {
            files: Arc::clone(files),
            crews: Arc::clone(&workers.crews),
            steps: Arc::clone(steps),
            outstanding: Arc::clone(outstanding),
        });
        for _ in 0..jobs.max(1) {
            let runner = Arc::clone(&runner);
            std::thread::Builder::new().name("ottla-job".into()).stack_size(STACK_BYTES).spawn(move || {
                while let Some(step) = runner.steps.take() {
                    runner.run(step);
                }
            })?;
        }
        Ok(workers)
    }

    pub(super) fn of(&self, dir: LogDirId) -> &Crew {
        // The machine knows only the directories that it was configured with.
        &self.crews[usize::from(dir.0)]
    }

    pub(super) fn begin_job(&self, job: JobId, work: Box<Job>) {
        self.steps.push(Step { job, work, read: None });
    }

    pub(super) fn crews(&self) -> Weak<Vec<Arc<Crew>>> {
        Arc::downgrade(&self.crews)
    }

    pub(super) fn warmer(&self) -> Warmer {
        Warmer(self.crews())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.steps.end();
        self.crews.iter().for_each(|crew| crew.queue.end());
    }
}

impl Crew {
    fn start(dir: LogDirId, wanted: usize, outstanding: Arc<Outstanding>) -> io::Result<Arc<Self>> {
        let crew = Self { dir, queue: Queue::default(), wanted, staff: Mutex::default(), outstanding };
        let crew = Arc::new(crew);
        (0..wanted).try_for_each(|_| crew.hire(&mut crew.staff()))?;
        Ok(crew)
    }

    /// Has something done, and whoever waits for it told.
    pub(super) fn hand_over(
        &self,
        what: &'static str,
        owner: Owner,
        act: impl FnOnce() -> Result<DiskResult, DiskError> + Send + 'static,
    ) {
        let ticket = self.outstanding.begin(Lane::Work(self.dir), what, owner);
        self.queue.push((ticket, Box::new(act)));
    }

    /// The same, in turns with what others wait for.
    pub(super) fn hand_over_later(
        &self,
        what: &'static str,
        owner: Owner,
        act: impl FnOnce() -> Result<DiskResult, DiskError> + Send + 'static,
    ) {
        let ticket = self.outstanding.begin(Lane::Work(self.dir), what, owner);
        self.queue.push_later((ticket, Box::new(act)));
    }

    /// A thread hangs with its operation: another takes its place, if there are not too many already.
    pub(super) fn replace_one(self: &Arc<Self>) {
        let mut staff = self.staff();
        staff.serving = staff.serving.saturating_sub(1);
        if staff.all < self.wanted + MOST_LOST
            && let Err(error) = self.hire(&mut staff)
        {
            tracing::error!("a thread that hangs cannot be replaced: {error}");
        }
    }

    fn hire(self: &Arc<Self>, staff: &mut Staff) -> io::Result<()> {
        let crew = Arc::clone(self);
        let work = move || crew.work();
        std::thread::Builder::new().name("ottla-worker".into()).stack_size(STACK_BYTES).spawn(work)?;
        staff.all += 1;
        staff.serving += 1;
        Ok(())
    }

    /// One thread's life.
    fn work(&self) {
        while let Some((ticket, act)) = self.queue.take() {
            if !self.outstanding.take_up(ticket) {
                continue;
            }
            let result = act();
            if !self.outstanding.end(ticket, result) && !self.is_needed_again() {
                return;
            }
        }
    }

    /// A thread that was given up is back: whether there is still a place for it.
    fn is_needed_again(&self) -> bool {
        let mut staff = self.staff();
        let is_needed = staff.serving < self.wanted;
        if is_needed {
            staff.serving += 1;
        } else {
            staff.all -= 1;
        }
        is_needed
    }

    fn staff(&self) -> MutexGuard<'_, Staff> {
        self.staff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("dir", &self.dir).field("staff", &self.staff()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.job, self.work)
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let (soon, later) = (VecDeque::new(), VecDeque::new());
        let waiting = Waiting { soon, later, is_laters_turn: false, ended: false };
        Self { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }
}

impl<T> Queue<T> {
    /// What comes after the end is dropped.
    pub(super) fn push(&self, what: T) {
        let mut waiting = self.lock();
        if !waiting.ended {
            waiting.soon.push_back(what);
            self.changed.notify_one();
        }
    }

    fn push_later(&self, what: T) {
        let mut waiting = self.lock();
        if !waiting.ended {
            waiting.later.push_back(what);
            self.changed.notify_one();
        }
    }

    fn take(&self) -> Option<T> {
        let mut waiting = self.lock();
        loop {
            if waiting.ended {
                return None;
            }
            match waiting.next() {
                Some(what) => return Some(what),
                None => waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Ends the threads; what waits is dropped.
    fn end(&self) {
        let dropped = {
            let mut waiting = self.lock();
            waiting.ended = true;
            self.changed.notify_all();
            (std::mem::take(&mut waiting.soon), std::mem::take(&mut waiting.later))
        };
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Waiting<T> {
    fn next(&mut self) -> Option<T> {
        let next = match self.is_laters_turn {
            true => self.later.pop_front().or_else(|| self.soon.pop_front()),
            false => self.soon.pop_front().or_else(|| self.later.pop_front()),
        };
        self.is_laters_turn = !self.is_laters_turn;
        next
    }
}

impl Warmer {
    /// Done when it is read, or found to be unreadable; an error if the device hangs.
    pub(crate) fn warm(&self, file: Arc<OpenFile>, pos: u64, len: u64) -> oneshot::Receiver<()> {
        let (waiter, warmed) = oneshot::channel();
        if let Some(crews) = self.0.upgrade() {
            let crew = &crews[usize::from(file.dir.0)];
            crew.hand_over("read", Owner::Conn(waiter), move || {
                file.warm(pos, len);
                Ok(DiskResult::Done)
            });
        }
        warmed
    }
}

/// What a thread that runs jobs knows.
struct Runner {
    files: Arc<Files>,
    crews: Arc<Vec<Arc<Crew>>>,
    steps: Arc<Queue<Step>>,
    outstanding: Arc<Outstanding>,
}

impl Runner {
    /// One slice.
    fn run(&self, Step { job, mut work, read }: Step) {
        match work.step(read) {
            Next::Done(report) => self.outstanding.report(job, report),
            Next::Read { file, pos, len } => {
                self.on_file(job, work, file, move |open| open.read(pos, len).map(DiskResult::Bytes));
            }
            Next::Write { file, pos, bytes } => {
                self.on_file(job, work, file, move |open| open.write(pos, &bytes).map(|()| DiskResult::Done));
            }
        }
    }

    /// While the job waits for the disk it lies with the watchdog, which lets it go on with an error if the device
    /// hangs.
    fn on_file(
        &self,
        job: JobId,
        work: Box<Job>,
        file: FileId,
        act: impl FnOnce(&OpenFile) -> Result<DiskResult, DiskError> + Send + 'static,
    ) {
        match self.files.get(file) {
            Ok(open) => {
                let crew = &self.crews[usize::from(open.dir.0)];
                crew.hand_over("read or write of a job", Owner::Job(job, work), move || act(&open));
            }
            Err(error) => self.steps.push(Step { job, work, read: Some(Err(error)) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};
    use std::time::{Duration, Instant};

    use ottla_core::machine::{Input, OpId};

    use super::super::files::Dirs;
    use super::super::watchdog;
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Two directories, and what became of the operations on them.
    struct Fixture {
        workers: Workers,
        completed: Receiver<String>,
    }

    impl Fixture {
        fn start(timeout: Duration) -> Self {
            let (sender, completed) = mpsc::channel();
            let done = Arc::new(move |input: Input| drop(sender.send(input.to_string())));
            let dirs = Arc::new(Dirs::new(vec!["/a".into(), "/b".into()]));
            let steps = Arc::default();
            let outstanding = Arc::new(Outstanding::new(dirs, Arc::clone(&steps), Arc::default(), done));
            let workers = Workers::start((2, THREADS), 2, &Arc::default(), &steps, &outstanding).expect("they start");
            watchdog::start(timeout, &outstanding, workers.crews()).expect("it starts");
            Self { workers, completed }
        }

        /// An operation that ends when the sender is dropped.
        fn hang(&self, dir: u16, op: u64) -> Sender<()> {
            let (release, held) = mpsc::channel::<()>();
            let begun = self.act(dir, op, move || {
                let _ = held.recv();
            });
            begun.recv_timeout(LONG).expect("a thread takes it up");
            release
        }

        /// Tells when it was begun.
        fn act(&self, dir: u16, op: u64, act: impl FnOnce() + Send + 'static) -> Receiver<()> {
            let (begin, begun) = mpsc::channel();
            self.workers.of(LogDirId(dir)).hand_over("read", Owner::Op(OpId(op)), move || {
                let _ = begin.send(());
                act();
                Ok(DiskResult::Done)
            });
            begun
        }

        fn next(&self) -> String {
            self.completed.recv_timeout(LONG).expect("every operation completes")
        }

        fn staff(&self, dir: u16) -> Staff {
            *self.workers.of(LogDirId(dir)).staff()
        }
    }

    #[test]
    fn a_directory_that_hangs_stops_no_other() {
        let node = Fixture::start(LONG * 10);
        let _held: Vec<_> = (1..).take(THREADS).map(|op| node.hang(0, op)).collect();
        node.act(0, 10, || ());
        node.act(1, 11, || ());
        assert_eq!(node.next(), "#11 done");
    }

    #[test]
    fn a_thread_that_hangs_is_replaced_and_ends_when_it_is_back() {
        let node = Fixture::start(Duration::from_millis(50));
        let mut held = Vec::new();
        for op in (0..).take(THREADS + MOST_LOST) {
            held.push(node.hang(0, op));
            assert_eq!(node.next(), format!("#{op} failed: I/O error 110"));
        }
        // No thread is left, and what waits in vain ends all the same, without having been begun.
        let begun = node.act(0, 97, || ());
        assert_eq!(node.next(), "#97 failed: I/O error 110");
        assert_eq!(node.staff(0), Staff { all: THREADS + MOST_LOST, serving: 0 });
        drop(held);
        let begin = Instant::now();
        while node.staff(0) != (Staff { all: THREADS, serving: THREADS }) {
            assert!(begin.elapsed() < LONG, "{:?}", node.staff(0));
            std::thread::sleep(Duration::from_millis(5));
        }
        node.act(0, 98, || ());
        assert_eq!(node.next(), "#98 done");
        assert!(begun.recv_timeout(LONG).is_err(), "what was given up is not begun any more");
    }

    #[test]
    fn a_read_does_not_wait_for_all_removals_nor_they_for_all_reads() {
        let queue = Queue::default();
        (1..=3).for_each(|number| queue.push_later(format!("removal {number}")));
        (1..=4).for_each(|number| queue.push(format!("read {number}")));
        let order: Vec<_> = std::iter::from_fn(|| queue.lock().next()).collect();
        assert_eq!(order, ["read 1", "removal 1", "read 2", "removal 2", "read 3", "removal 3", "read 4"]);
    }

    #[test]
    fn a_connection_is_told_when_its_bytes_are_there_and_not_if_they_never_come() {
        let node = Fixture::start(Duration::from_millis(50));
        let (waiter, warmed) = oneshot::channel();
        let crew = node.workers.of(LogDirId(1));
        crew.hand_over("read", Owner::Conn(waiter), || Ok(DiskResult::Done));
        assert_eq!(warmed.blocking_recv(), Ok(()));
        let (waiter, warmed) = oneshot::channel();
        let (release, held) = mpsc::channel::<()>();
        node.workers.of(LogDirId(0)).hand_over("read", Owner::Conn(waiter), move || {
            let _ = held.recv();
            Ok(DiskResult::Done)
        });
        assert!(warmed.blocking_recv().is_err());
        drop(release);
    }
}
