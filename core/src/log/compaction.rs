//! Which log is cleaned when, by one pass at a time, and what is known of that afterwards.
//!
//! Every `log.cleaner.backoff.ms` the dirtiest log that is due is chosen, until none is. How far each log is clean is
//! saved in its directory's `cleaner-offset-checkpoint` after a pass; a log of which it says too little is cleaned once
//! more, and it never says too much: a cut below waits until the file says less, and a log that is made under the name
//! of a deleted one until the file does not know the name.
//!
//! A log that cannot be cleaned is left alone until the next start, with a note; the others go on. Tombstones go only
//! by a time that both clocks vouch for (promise P8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::boot::checkpoint_of;
use super::cleaner::Clean;
use super::cleaner::plan::{Dirt, Part};
use super::cleaning::{Done, Outcome, Pass};
use super::cold::Loaded;
use super::manager::LogManager;
use super::names;
use super::partition::{Condition, Io, Log};
use super::truncate::Cut;
use crate::clock::Instant;
use crate::machine::{DiskResult, Effects, Level, LogDirId, Path};
use crate::planted::Plant;
use crate::storage::{Health, LogId, SaveOwner};
use crate::types::{Offset, TopicPartition};

/// What holds for the compaction of all logs.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`
    pub enabled: bool,
    /// `log.cleaner.backoff.ms`
    pub backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.max.bytes.per.second`
    pub bytes_per_second: f64,
    /// The key of the hash of keys: nobody outside may know it.
    pub secret: u128,
}

/// What the cleaner has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CleanerTotals {
    /// Passes that came to their end.
    pub passes: u64,
    /// Passes that were given up: the log was cut or deleted, or there was no room.
    pub given_up: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Keys in the last pass's map, and how many it had room for.
    pub keys: u64,
    /// See `keys`.
    pub most_keys: u64,
    /// The most memory that a map has taken.
    pub map_bytes_max: u64,
}

/// How a log stands with its compaction.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanerView {
    /// Below it the log is clean.
    pub clean_to: Offset,
    /// How dirty it is.
    pub dirt: Dirt,
    /// Whether it is being cleaned.
    pub is_running: bool,
    /// Why it is not cleaned any more.
    pub uncleanable: Option<String>,
}

/// The cleaner.
#[derive(Clone, Debug, Default)]
pub(super) struct Compaction {
    pass: Option<Box<Pass>>,
    last_number: u64,
    next_check: Option<Instant>,
    /// For each directory the saves of its checkpoint in flight, each with who waits for it.
    saves: BTreeMap<LogDirId, VecDeque<Option<LogId>>>,
    /// The logs that the directories' checkpoints may tell of: also some that are deleted.
    told: BTreeSet<(LogDirId, TopicPartition)>,
    totals: CleanerTotals,
}

impl Compaction {
    /// What a start found in the directories' checkpoints.
    pub(super) fn found(&mut self, found: impl Iterator<Item = (LogDirId, TopicPartition)>) {
        self.told.extend(found);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match &self.pass {
            Some(pass) => pass.next_deadline(),
            None => self.next_check,
        }
    }

    /// Whether a directory's checkpoint may tell of a log of that name.
    pub(super) fn tells_of(&self, dir: LogDirId, partition: &TopicPartition) -> bool {
        self.told.contains(&(dir, partition.clone()))
    }
}

impl Default for CleanerConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            enabled: true,
            backoff: Duration::from_secs(15),
            dedupe_buffer_bytes: 128 << 20,
            bytes_per_second: f64::MAX,
            secret: 0,
        }
    }
}

impl LogManager {
    /// The logs are recovered: the cleaner begins.
    pub(super) fn start_cleaning(&mut self) {
        let config = &self.parts.config.cleaner;
        self.compaction.next_check = config.enabled.then_some(self.parts.now.monotonic + config.backoff);
    }

    /// Nothing is cleaned any more. A swap that is under way is gone on with by the next start.
    pub(super) fn stop_cleaning(&mut self) {
        self.compaction.pass = None;
        self.compaction.next_check = None;
    }

    /// What is due by the clock.
    pub(super) fn keep_clean(&mut self, out: &mut Effects) {
        self.on_pass(None, out, Pass::on_timeout);
        if self.compaction.next_check.is_some_and(|at| at <= self.parts.now.monotonic) {
            self.compaction.next_check = Some(self.parts.now.monotonic + self.parts.config.cleaner.backoff);
            self.choose(out);
        }
    }

    /// Begins a pass over the dirtiest log that is due.
    fn choose(&mut self, out: &mut Effects) {
        if self.compaction.pass.is_some() {
            return;
        }
        let now = self.housekeeping.confirmed_time(self.parts.now).map(|now| now.0);
        let mut best: Option<(f64, LogId, Vec<Part>, Dirt)> = None;
        let io = &mut self.parts.io(out);
        for log in self.logs.iter_mut().flatten() {
            if !log.is_cleanable(io) {
                continue;
            }
            log.learn_times(io);
            let (parts, dirt) = log.dirt(now, io.storage);
            // What is too old comes before what is only dirty.
            let rank = if dirt.overdue_ms > 0 { 1.0 + dirt.ratio() } else { dirt.ratio() };
            if log.config.compaction.is_due(&dirt) && best.as_ref().is_none_or(|best| rank > best.0) {
                best = Some((rank, log.id, parts, dirt));
            }
        }
        let Some((_, id, mut parts, dirt)) = best else { return };
        parts.retain(|part| part.end <= dirt.end);
        self.compaction.last_number += 1;
        let number = self.compaction.last_number;
        if let Some(log) = self.logs.get_mut(id.0 as usize).and_then(Option::as_mut) {
            self.compaction.pass = Some(Box::new(Pass::start(number, parts, dirt.end, now, log, io)));
        }
    }

    pub(super) fn on_cleaner_disk(&mut self, number: u64, result: &DiskResult, out: &mut Effects) {
        self.on_pass(Some(number), out, |pass, log, io| pass.on_disk(result, log, io));
    }

    pub(super) fn on_cleaner_walked(&mut self, number: u64, walk: Box<Clean>, out: &mut Effects) {
        self.on_pass(Some(number), out, |pass, log, io| pass.on_walked(walk, log, io));
    }

    pub(super) fn on_cleaner_saved(&mut self, number: u64, out: &mut Effects) {
        self.on_pass(Some(number), out, Pass::on_saved);
    }

    pub(super) fn on_aborts_loaded(&mut self, number: u64, base: Offset, loaded: Loaded, out: &mut Effects) {
        self.on_pass(Some(number), out, |pass, log, io| pass.on_aborts(base, loaded, log, io));
    }

    /// Something happened to the pass with this number, if it is the present one.
    fn on_pass(
        &mut self,
        number: Option<u64>,
        out: &mut Effects,
        act: impl FnOnce(&mut Pass, &mut Log, &mut Io<'_>) -> Outcome,
    ) {
        let wanted = |pass: &mut Box<Pass>| number.is_none_or(|number| number == pass.number);
        let Some(mut pass) = self.compaction.pass.take_if(wanted) else { return };
        let Some(log) = self.logs.get_mut(pass.log.0 as usize).and_then(Option::as_mut) else {
            pass.close_all(&mut self.parts.io(out));
            self.compaction.totals.given_up += 1;
            return;
        };
        let io = &mut self.parts.io(out);
        let outcome = act(&mut pass, log, io);
        if outcome == Outcome::Going {
            self.compaction.pass = Some(pass);
            return;
        }
        let (dir, done) = (log.dir(), pass.done);
        log.on_cleaned(&outcome, io);
        match outcome {
            Outcome::Offline(_) => pass.close_all(io),
            Outcome::Clean(_) | Outcome::GivenUp | Outcome::Uncleanable(_) | Outcome::Going => pass.release(log, io),
        }
        self.end_pass(dir, &outcome, done, out);
    }

    /// A directory is out of use: nothing of it is gone on with.
    pub(super) fn stop_cleaning_in(&mut self, dir: LogDirId, out: &mut Effects) {
        if let Some(pass) = self.compaction.pass.take_if(|pass| pass.dir == dir) {
            self.compaction.totals.given_up += 1;
            pass.close_all(&mut self.parts.io(out));
        }
    }

    fn end_pass(&mut self, dir: LogDirId, outcome: &Outcome, done: Done, out: &mut Effects) {
        let totals = &mut self.compaction.totals;
        totals.bytes_read += done.read;
        totals.bytes_written += done.written;
        (totals.keys, totals.most_keys) = (done.keys, done.most_keys);
        totals.map_bytes_max = totals.map_bytes_max.max(done.map_bytes);
        match outcome {
            Outcome::Clean(_) => {
                totals.passes += 1;
                self.save_cleaned(dir, None, out);
                // There may be another one, or more of the same whose keys did not fit.
                self.compaction.next_check = Some(self.parts.now.monotonic);
            }
            Outcome::Offline(error) => self.parts.storage.take_offline(dir, *error),
            Outcome::GivenUp | Outcome::Uncleanable(_) | Outcome::Going => totals.given_up += 1,
        }
    }

    /// Saves how far the logs of a directory are clean; `waiting` goes on when that is durable.
    pub(super) fn save_cleaned(&mut self, dir: LogDirId, waiting: Option<LogId>, out: &mut Effects) {
        let logs = self.logs.iter().flatten().map(|log| &**log);
        let cleaned = |log: &&Log| log.dir() == dir && log.checkpoints.cleaner.to > Offset::ZERO;
        let cleaned: Vec<&Log> = logs.filter(cleaned).collect();
        self.compaction.told.extend(cleaned.iter().map(|log| (dir, log.partition.clone())));
        let bytes = checkpoint_of(cleaned.into_iter(), |log| log.checkpoints.cleaner.to);
        let path = Path::new(dir, names::CLEANER_CHECKPOINT);
        self.compaction.saves.entry(dir).or_default().push_back(waiting);
        self.parts.storage.save(path, bytes, SaveOwner::Cleaned(dir), out);
    }

    pub(super) fn on_cleaned_saved(&mut self, dir: LogDirId, out: &mut Effects) {
        let saved = self.compaction.saves.get_mut(&dir).and_then(VecDeque::pop_front).flatten();
        let Some(id) = saved else { return };
        let Some(log) = self.log(id) else { return };
        if log.birth.unmarked {
            self.compaction.told.remove(&(dir, log.partition.clone()));
            return self.mark_new(id, out);
        }
        self.with(id, out, Log::on_clean_lowered);
    }

    /// The logs that are to be cut below where the checkpoint says that they are clean.
    pub(super) fn lower_cleaned(&mut self, out: &mut Effects) {
        for id in std::mem::take(&mut self.parts.lowered) {
            if let Some(dir) = self.log(id).map(Log::dir) {
                self.save_cleaned(dir, Some(id), out);
            }
        }
    }

    /// What the cleaner has done since the start.
    #[must_use]
    pub fn cleaner_totals(&self) -> CleanerTotals {
        self.compaction.totals
    }

    /// How a log stands with its compaction; `None` if it is not compacted.
    #[must_use]
    pub fn cleaner_view(&self, log: LogId) -> Option<CleanerView> {
        let log = self.log(log).filter(|log| log.config.compact)?;
        let now = self.housekeeping.confirmed_time(self.parts.now).map(|now| now.0);
        let state = &log.checkpoints.cleaner;
        Some(CleanerView {
            clean_to: state.to,
            dirt: log.dirt(now, &self.parts.storage).1,
            is_running: state.busy,
            uncleanable: state.uncleanable.clone(),
        })
    }
}

impl Log {
    fn is_cleanable(&self, io: &Io<'_>) -> bool {
        let state = &self.checkpoints.cleaner;
        let usable = self.condition == Condition::Usable && io.storage.health(self.dir()) == Health::Online;
        let is_gated = io.storage.stream(self.id).is_none_or(|stream| stream.is_gated());
        usable && self.config.compact && !state.busy && state.uncleanable.is_none() && !is_gated
    }

    /// The segments that are written no more and lie below what the flush journal claims last: the claim names the last
    /// batch of a segment, and must find it. With how dirty that is.
    fn dirt(&self, now: Option<i64>, storage: &crate::storage::Storage) -> (Vec<Part>, Dirt) {
        let claimed = storage.stream(self.id).map_or(Offset::ZERO, |stream| stream.durable.segment);
        let unstable = self.derived.producers.first_unstable_offset().unwrap_or(Offset(i64::MAX));
        let stands = self.high_watermark.min(claimed);
        let bound = if storage.planted.has(Plant::Cmp04) { unstable } else { unstable.min(stands) };
        let part = |(index, segment): (usize, &super::segment::Segment)| Part {
            base: segment.base,
            end: self.end_of(index),
            size: segment.size,
            oldest: segment.times.first,
            newest: segment.times.newest(),
        };
        let parts: Vec<Part> = self.segments.iter().enumerate().take(self.segments.len() - 1).map(part).collect();
        let from = self.checkpoints.cleaner.to.max(self.log_start);
        let dirt = self.config.compaction.dirt(&parts, from, bound, now);
        (parts, dirt)
    }

    /// Reads the time indexes of a segment whose age matters and is not known: the next check knows.
    fn learn_times(&mut self, io: &mut Io<'_>) {
        let rules = &self.config.compaction;
        if rules.min_lag_ms <= 0 && rules.max_lag_ms == i64::MAX {
            return;
        }
        let to = self.checkpoints.cleaner.to;
        let mut dirty = (0..self.segments.len() - 1).filter(|&index| self.end_of(index) > to);
        if let Some(index) = dirty.find(|&index| self.segments[index].times.ceiling.is_none()) {
            self.load_indexes(self.segments[index].base, io);
        }
    }

    /// Whether a cut has to wait: for a swap to end, or until nothing says that the log is clean above it.
    pub(crate) fn must_wait_to_cut(&mut self, cut: Cut, io: &mut Io<'_>) -> bool {
        let state = &mut self.checkpoints.cleaner;
        let is_swapped = state.swapping.is_some_and(|end| cut.from() < end);
        let is_clean = cut.next() < state.to;
        state.cuts += 1;
        if !is_swapped && !is_clean {
            return false;
        }
        if is_clean && !is_swapped {
            state.to = cut.next();
            self.condition = Condition::Rebuilding;
            io.lowered.push(self.id);
            self.answer_all(io);
        }
        self.want_cut(cut);
        true
    }

    /// Nothing says any more that the log is clean above where it is to be cut.
    fn on_clean_lowered(&mut self, io: &mut Io<'_>) {
        if self.condition == Condition::Rebuilding {
            self.condition = Condition::Usable;
        }
        self.go_on_to_cut(io);
    }

    /// A pass over the log is over.
    pub(super) fn on_cleaned(&mut self, outcome: &Outcome, io: &mut Io<'_>) {
        match outcome {
            Outcome::Clean(end) => self.checkpoints.cleaner.to = *end,
            Outcome::Uncleanable(why) => {
                let text = format!("{} is not compacted any more by this process: {why}", self.partition);
                io.out.note(Level::Error, text);
                self.checkpoints.cleaner.uncleanable = Some(why.clone());
            }
            Outcome::GivenUp | Outcome::Offline(_) | Outcome::Going => {}
        }
    }
}
