//! Group commit: one thread a log directory makes things durable, a round at a time.
//!
//! A round takes everything that was queued while the one before ran, and syncs each file and directory once: a
//! file's sync covers every write that was issued before it, whoever asked. What must come after another's sync is not
//! asked for before that is over.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use ottla_core::machine::{DiskError, DiskResult, FileId, LogDirId, OpId};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;

use super::disk_error;
use super::files::OpenFile;
use super::watchdog::{Lane, Outstanding, Owner, Ticket};
use crate::driver::Counters;

/// From so many files on, a round is shared out: the file system commits what is asked for at the same time
/// together. Files a second, one after the other against four threads: 10,000 and 18,000 with 16 files, 8,200 and
/// 23,600 with 64. (syncfs does 26,000 and 34,000, but waits for everybody's dirty pages and cannot say which file
/// failed.)
const SHARE_FROM: usize = 8;
const SHARES: usize = 4;

/// What is to be made durable.
#[derive(Debug)]
pub(super) enum Target {
    /// A file's content and size.
    File(FileId, Arc<OpenFile>),
    /// The names in a directory.
    Dir(PathBuf),
}

/// Targets that one sync covers.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    File(FileId),
    Dir(PathBuf),
}

/// The queue to one directory's thread.
#[derive(Debug)]
pub(super) struct Syncer {
    dir: LogDirId,
    queue: Arc<Queue>,
    outstanding: Arc<Outstanding>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    list: Vec<(Ticket, Target)>,
    ended: bool,
}

impl Target {
    fn key(&self) -> Key {
        match self {
            Self::File(id, _) => Key::File(*id),
            Self::Dir(path) => Key::Dir(path.clone()),
        }
    }
}

impl Syncer {
    pub(super) fn start(dir: LogDirId, outstanding: &Arc<Outstanding>, counters: Arc<Counters>) -> io::Result<Self> {
        let (queue, outstanding) = (Arc::new(Queue::default()), Arc::clone(outstanding));
        let (theirs, told) = (Arc::clone(&queue), Arc::clone(&outstanding));
        std::thread::Builder::new().name("ottla-sync".into()).stack_size(super::workers::STACK_BYTES).spawn(
            move || {
                while let Some(round) = theirs.take() {
                    sync_round(round, &told, &counters);
                }
            },
        )?;
        Ok(Self { dir, queue, outstanding })
    }

    pub(super) fn push(&self, op: OpId, target: Target) {
        let what = match target {
            Target::File(..) => "sync",
            Target::Dir(_) => "directory sync",
        };
        let ticket = self.outstanding.begin(Lane::Syncs(self.dir), what, Owner::Op(op));
        let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.list.push((ticket, target));
        if waiting.list.len() == 1 {
            self.queue.changed.notify_one();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.ended = true;
        self.queue.changed.notify_one();
    }
}

impl Queue {
    /// All that waits; `None` when the driver is gone and nothing waits.
    fn take(&self) -> Option<Vec<(Ticket, Target)>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.list.is_empty() {
            if waiting.ended {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut waiting.list))
    }
}

/// What is synced together, with who waits for it.
type Wanted = (Target, Vec<Ticket>);

fn sync_round(round: Vec<(Ticket, Target)>, outstanding: &Outstanding, counters: &Counters) {
    let mut targets: BTreeMap<Key, Wanted> = BTreeMap::new();
    for (ticket, target) in round {
        targets.entry(target.key()).or_insert_with(|| (target, Vec::new())).1.push(ticket);
    }
    let targets: Vec<_> = targets.into_values().collect();
    let sync = |targets: &[Wanted]| {
        for (target, tickets) in targets {
            make_durable(target, tickets, outstanding, counters);
        }
    };
    if targets.len() < SHARE_FROM {
        sync(&targets);
    } else {
        let chunks: Vec<_> = targets.chunks(targets.len().div_ceil(SHARES)).collect();
        share_out(&chunks, &sync, |name| std::thread::Builder::new().name(name.into()));
    }
}

/// Syncs each share on a thread of its own, and here what no thread can be had for: a host that is out of threads is
/// no reason to end the process.
fn share_out(shares: &[&[Wanted]], sync: &(impl Fn(&[Wanted]) + Sync), thread: impl Fn(&str) -> std::thread::Builder) {
    std::thread::scope(|scope| {
        for &share in shares {
            if thread("ottla-sync").spawn_scoped(scope, move || sync(share)).is_err() {
                sync(share);
            }
        }
    });
}

fn make_durable(target: &Target, tickets: &[Ticket], outstanding: &Outstanding, counters: &Counters) {
    let is_wanted = tickets.iter().filter(|&&ticket| outstanding.take_up(ticket)).count() > 0;
    if !is_wanted {
        return;
    }
    let (what, sync): (_, &dyn Fn() -> Result<(), DiskError>) = match target {
        Target::File(_, file) => ("file", &|| file.sync()),
        Target::Dir(path) => ("dir", &|| sync_dir(path)),
    };
    match planted() {
        Some(skipped) if skipped == what => finish(outstanding, tickets, Ok(())),
        Some("early") => {
            finish(outstanding, tickets, Ok(()));
            // Too late to be told to anybody.
            let _ = timed(counters, sync);
        }
        _ => finish(outstanding, tickets, timed(counters, sync)),
    }
}

/// What a build for `make durability` does wrong, so that the proof is seen to fail: it skips the syncs of files or of
/// directories (`file`, `dir`), or says that they are done before they are (`early`).
#[cfg(feature = "skip-sync-plant")]
fn planted() -> Option<&'static str> {
    static PLANT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    PLANT.get_or_init(|| std::env::var("OTTLA_SYNC_PLANT").ok()).as_deref()
}

#[cfg(not(feature = "skip-sync-plant"))]
const fn planted() -> Option<&'static str> {
    None
}

fn timed(counters: &Counters, sync: impl FnOnce() -> Result<(), DiskError>) -> Result<(), DiskError> {
    let begun = Instant::now();
    let result = sync();
    counters.syncs.record(begun.elapsed());
    if result.is_err() {
        counters.syncs_failed.add(1);
    }
    result
}

fn sync_dir(path: &Path) -> Result<(), DiskError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map_err(disk_error)?;
    retry_on_intr(|| rustix::fs::fsync(&dir)).map_err(disk_error)
}

fn finish(outstanding: &Outstanding, tickets: &[Ticket], result: Result<(), DiskError>) {
    for &ticket in tickets {
        outstanding.end(ticket, result.map(|()| DiskResult::Done));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_share_without_a_thread_is_synced_all_the_same() {
        let targets: Vec<Wanted> =
            (0..3).map(|number| (Target::Dir(PathBuf::from(number.to_string())), Vec::new())).collect();
        let shares: Vec<_> = targets.chunks(1).collect();
        let synced = Mutex::new(Vec::new());
        let sync = |share: &[Wanted]| {
            let Target::Dir(path) = &share[0].0 else { return };
            synced.lock().expect("nobody panics").push(path.clone());
        };
        // No address space holds such a stack.
        share_out(&shares, &sync, |name| std::thread::Builder::new().name(name.into()).stack_size(1 << 62));
        assert_eq!(synced.into_inner().expect("nobody panics"), ["0", "1", "2"].map(PathBuf::from));
    }
}
