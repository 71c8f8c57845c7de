//! Requests that wait: produces for their acknowledgement, fetches for records, changes for the metadata log.
//!
//! | waits   | until                                                        | or until               |
//! |---------|--------------------------------------------------------------|------------------------|
//! | produce | each log's written (acks=1) or committed (acks=all) offset passes its last record | REQUEST_TIMED_OUT |
//! | fetch   | `min_bytes` can be read                                      | `max_wait_ms`: what there is |
//! | change  | the metadata log's high watermark passes its records          | the log fails          |
//!
//! Bounded: when `ottla.purgatory.max.requests` wait, the next one is answered at once as if its time were up: a fetch
//! with what there is, a produce with REQUEST_TIMED_OUT, which says that its records may be in the log.
//!
//! A waiter is found by its key, its log or its deadline; nothing is scanned. Produces to one log wait in the order
//! of their offsets, so an advance releases a prefix. Invariant L: nothing stays past its deadline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::fetch::DelayedFetch;
use super::produce::DelayedProduce;
use crate::clock::Instant;
use crate::log::LogId;
use crate::machine::ConnId;
use crate::types::Offset;

/// How many empty queues are kept, some 200 B each: under load the same partitions are waited for all the time.
const MAX_SPARE: usize = 1024;

/// Names one waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitKey(pub u64);

/// Everyone who waits on a partition.
#[derive(Clone, Debug)]
pub struct Purgatory {
    max: usize,
    next: u64,
    deadlines: BTreeSet<(Instant, WaitKey)>,
    produces: BTreeMap<WaitKey, DelayedProduce>,
    fetches: BTreeMap<WaitKey, DelayedFetch>,
    by_log: BTreeMap<LogId, Waiters>,
    /// Those of logs that nobody waits for any more, to be used again.
    spare: Vec<Waiters>,
    /// The fetch that is parked on a connection; a later frame on it completes it.
    parked: BTreeMap<ConnId, WaitKey>,
}

/// Which progress of a log a produce waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its own written offset: acks=1.
    Written,
    /// Its high watermark: acks=all.
    Committed,
}

/// One partition of a produce that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceWait {
    /// The first offset after its records: the progress that releases it.
    pub until: Offset,
    /// Which produce.
    pub key: WaitKey,
    /// Which of its partitions, by place.
    pub place: usize,
}

#[derive(Clone, Debug, Default)]
struct Waiters {
    written: VecDeque<ProduceWait>,
    committed: VecDeque<ProduceWait>,
    fetches: BTreeSet<WaitKey>,
}

impl Waiters {
    fn is_empty(&self) -> bool {
        self.written.is_empty() && self.committed.is_empty() && self.fetches.is_empty()
    }

    fn produces(&mut self, progress: Progress) -> &mut VecDeque<ProduceWait> {
        match progress {
            Progress::Written => &mut self.written,
            Progress::Committed => &mut self.committed,
        }
    }
}

impl Purgatory {
    /// Nobody waits; at most `max` may.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            next: 0,
            deadlines: BTreeSet::new(),
            produces: BTreeMap::new(),
            fetches: BTreeMap::new(),
            by_log: BTreeMap::new(),
            spare: Vec::new(),
            parked: BTreeMap::new(),
        }
    }

    /// Whether nobody else may wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= self.max
    }

    /// A key that was never given before.
    pub fn key(&mut self) -> WaitKey {
        self.next += 1;
        WaitKey(self.next)
    }

    /// When the first of those who wait gives up.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Someone whose deadline has come, if there is one; still waiting until it is taken.
    #[must_use]
    pub fn overdue(&self, now: Instant) -> Option<WaitKey> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, key)| *key)
    }

    /// Parks a produce. `waits` has the log and the progress for each partition that is not done.
    pub fn park_produce(
        &mut self,
        key: WaitKey,
        produce: DelayedProduce,
        progress: Progress,
        waits: impl Iterator<Item = (LogId, Offset, usize)>,
    ) {
        for (log, until, place) in waits {
            self.wait_produce(log, progress, ProduceWait { until, key, place });
        }
        self.deadlines.insert((produce.deadline, key));
        self.produces.insert(key, produce);
    }

    /// Lets one more partition of a parked produce wait for a log.
    pub fn wait_produce(&mut self, log: LogId, progress: Progress, wait: ProduceWait) {
        let queue = self.waiters(log).produces(progress);
        // Offsets are given in order; only the answer to a duplicate may wait for an earlier one.
        let place = queue.partition_point(|other| other.until <= wait.until);
        queue.insert(place, wait);
    }

    /// The next produce partition that `log`'s progress up to `reached` releases.
    pub fn release_produce(&mut self, log: LogId, progress: Progress, reached: Offset) -> Option<ProduceWait> {
        let queue = self.by_log.get_mut(&log)?.produces(progress);
        if queue.front()?.until > reached {
            return None;
        }
        let wait = queue.pop_front();
        self.forget_if_empty(log);
        wait
    }

    /// A produce that waits, to note the outcome of one of its partitions; `None` if it gave up.
    pub fn produce_mut(&mut self, key: WaitKey) -> Option<&mut DelayedProduce> {
        self.produces.get_mut(&key)
    }

    /// Takes a produce out: it is answered now. What it still waits for in its logs' queues finds nobody.
    pub fn take_produce(&mut self, key: WaitKey) -> Option<DelayedProduce> {
        let produce = self.produces.remove(&key)?;
        self.deadlines.remove(&(produce.deadline, key));
        Some(produce)
    }

    /// Parks a fetch on the logs it would read.
    pub fn park_fetch(&mut self, key: WaitKey, fetch: DelayedFetch) {
        for log in fetch.logs() {
            self.waiters(log).fetches.insert(key);
        }
        self.deadlines.insert((fetch.deadline, key));
        self.parked.insert(fetch.ticket.conn, key);
        self.fetches.insert(key, fetch);
    }

    /// The fetches that wait for records of `log`.
    #[must_use]
    pub fn fetches_of(&self, log: LogId) -> Vec<WaitKey> {
        self.by_log.get(&log).map(|waiters| waiters.fetches.iter().copied().collect()).unwrap_or_default()
    }

    /// A fetch that waits.
    #[must_use]
    pub fn fetch(&self, key: WaitKey) -> Option<&DelayedFetch> {
        self.fetches.get(&key)
    }

    /// The fetch that is parked on a connection.
    #[must_use]
    pub fn parked_on(&self, conn: ConnId) -> Option<WaitKey> {
        self.parked.get(&conn).copied()
    }

    /// Takes a fetch out: it is answered now.
    pub fn take_fetch(&mut self, key: WaitKey) -> Option<DelayedFetch> {
        let fetch = self.fetches.remove(&key)?;
        self.deadlines.remove(&(fetch.deadline, key));
        self.parked.remove(&fetch.ticket.conn);
        for log in fetch.logs() {
            if let Some(waiters) = self.by_log.get_mut(&log) {
                waiters.fetches.remove(&key);
            }
            self.forget_if_empty(log);
        }
        Some(fetch)
    }

    /// The produces that wait for records of `log` at `from` or above, which are not to come: they are to be told so.
    pub fn drain_produces(&mut self, log: LogId, from: Offset) -> Vec<ProduceWait> {
        let Some(waiters) = self.by_log.get_mut(&log) else { return Vec::new() };
        let mut waits = Vec::new();
        for queue in [&mut waiters.written, &mut waiters.committed] {
            let kept = queue.partition_point(|wait| wait.until <= from);
            waits.extend(queue.drain(kept..));
        }
        self.forget_if_empty(log);
        waits
    }

    /// How many requests wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.produces.len() + self.fetches.len()
    }

    fn waiters(&mut self, log: LogId) -> &mut Waiters {
        let spare = &mut self.spare;
        self.by_log.entry(log).or_insert_with(|| spare.pop().unwrap_or_default())
    }

    fn forget_if_empty(&mut self, log: LogId) {
        if self.by_log.get(&log).is_some_and(Waiters::is_empty) {
            self.spare.extend(self.by_log.remove(&log).filter(|_| self.spare.len() < MAX_SPARE));
        }
    }
}
