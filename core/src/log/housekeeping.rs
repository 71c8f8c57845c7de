//! What a log manager does by the clock and for a whole directory: retention, offset checkpoints, shutdown.
//!
//! **Clocks.** Removal by time counts only wall time that the monotonic clock confirms: the wall clock as it was
//! at the start plus the monotonic time since. While the two are more than a minute apart, removal by time is
//! suspended, with a note; it goes on when they agree again (promise P8).

use super::api::{LogEvent, LogManagerConfig};
use super::boot::checkpoint_of;
use super::clean_shutdown;
use super::log_starts::LogStarts;
use super::manager::LogManager;
use super::names;
use crate::clock::{ClockCheck, Instant, Now, WallTime};
use crate::machine::{Effects, Level, LogDirId, Path};
use crate::planted::Plant;
use crate::storage::{Health, SaveOwner};
use crate::types::BrokerEpoch;

/// What is done by the clock.
#[derive(Clone, Debug)]
pub(super) struct Housekeeping {
    clocks: Option<ClockCheck>,
    /// Whether removal by time was suspended when it was last due.
    suspended: bool,
    next_retention: Option<Instant>,
    next_high_watermarks: Option<Instant>,
    pub(super) log_starts: LogStarts,
    stopping: Option<Stopping>,
}

/// A shutdown under way: every directory goes through these steps, together.
#[derive(Clone, Debug)]
struct Stopping {
    broker_epoch: Option<BrokerEpoch>,
    step: Step,
    /// Those that were settled when that was over, and were online ever since. One that gets room later takes no part:
    /// nothing of it was waited for.
    settled: Vec<LogDirId>,
    /// Directories whose save has not completed.
    waiting: Vec<LogDirId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Everything is being made durable, and checkpoints are made.
    Settling,
    /// The high watermarks.
    Watermarks,
    /// The recovery points.
    Checkpoints,
    /// The clean marks.
    Marks,
    Done,
}

impl Housekeeping {
    pub(super) fn new(dirs: u16) -> Self {
        Self {
            clocks: None,
            suspended: false,
            next_retention: None,
            next_high_watermarks: None,
            log_starts: LogStarts::new(dirs),
            stopping: None,
        }
    }

    /// The logs are recovered.
    pub(super) fn start(&mut self, now: Now, config: &LogManagerConfig) {
        self.clocks = Some(ClockCheck::new(now));
        self.next_retention = Some(now.monotonic + config.retention_check_interval);
    }

    /// The wall time that both clocks vouch for.
    pub(super) fn confirmed_time(&self, now: Now) -> Option<WallTime> {
        self.clocks.and_then(|clocks| clocks.confirmed(now))
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// A high watermark moved: it is saved within the interval.
    pub(super) fn high_watermark_moved(&mut self, now: Now, config: &LogManagerConfig) {
        let by = now.monotonic + config.high_watermark_checkpoint_interval;
        self.next_high_watermarks.get_or_insert(by);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        // Who is stopping keeps house no more; a deadline that stays due would spin the driver.
        if self.is_stopping() {
            return None;
        }
        [self.next_retention, self.next_high_watermarks].into_iter().flatten().min()
    }
}

impl LogManager {
    /// What is due by the clock.
    pub(super) fn keep_house(&mut self, out: &mut Effects) {
        let now = self.parts.now;
        if self.housekeeping.is_stopping() {
            return;
        }
        if self.housekeeping.next_high_watermarks.is_some_and(|at| at <= now.monotonic) {
            self.housekeeping.next_high_watermarks = None;
            for dir in self.online_dirs() {
                self.save_high_watermarks(dir, out);
            }
        }
        if self.housekeeping.next_retention.is_some_and(|at| at <= now.monotonic) {
            self.housekeeping.next_retention = Some(now.monotonic + self.parts.config.retention_check_interval);
            self.retain(out);
        }
    }

    /// Retention of every log, and expiry of its producers.
    fn retain(&mut self, out: &mut Effects) {
        let confirmed = self.housekeeping.confirmed_time(self.parts.now);
        if self.housekeeping.suspended != confirmed.is_none() {
            self.housekeeping.suspended = confirmed.is_none();
            out.note(
                Level::Warn,
                match confirmed {
                    None => "the wall clock has stepped: removal by time is suspended until the clocks agree again",
                    Some(_) => "the clocks agree again: removal by time goes on",
                },
            );
        }
        let expiration = self.parts.config.producer_id_expiration_ms;
        let mut raised = Vec::new();
        let io = &mut self.parts.io(out);
        for log in self.logs.iter_mut().flatten() {
            if let Some(now) = confirmed {
                log.derived.producers.expire(now, expiration);
            }
            raised.extend(log.expired(confirmed, io).map(|start| (log.id, start)));
        }
        for (id, start) in raised {
            self.raise_log_start(id, start, out);
        }
        let io = &mut self.parts.io(out);
        self.logs.iter_mut().flatten().for_each(|log| log.make_room(io));
    }

    /// What is committed may not be durable here yet, and a power loss must not leave a file that claims it.
    fn save_high_watermarks(&mut self, dir: LogDirId, out: &mut Effects) {
        let logs = self.logs.iter().flatten().map(|log| &**log).filter(|log| log.dir() == dir);
        let storage = &self.parts.storage;
        let bytes = checkpoint_of(logs, |log| log.high_watermark.min(log.offsets(storage).durable));
        let path = Path::new(dir, names::HIGH_WATERMARK_CHECKPOINT);
        self.parts.storage.save(path, bytes, SaveOwner::HighWatermarks(dir), out);
    }

    /// See [`LogManager::shutdown`].
    pub(super) fn begin_shutdown(&mut self, broker_epoch: Option<BrokerEpoch>, out: &mut Effects) {
        if self.housekeeping.is_stopping() {
            return;
        }
        self.stop_cleaning();
        let (step, settled, waiting) = (Step::Settling, Vec::new(), Vec::new());
        self.housekeeping.stopping = Some(Stopping { broker_epoch, step, settled, waiting });
        let io = &mut self.parts.io(out);
        for log in self.logs.iter_mut().flatten() {
            if log.condition == super::partition::Condition::Usable && io.storage.health(log.dir()) == Health::Online {
                log.checkpoint(io);
            }
        }
        for dir in self.online_dirs() {
            self.parts.storage.directory(dir).want_round();
        }
    }

    /// Called at the end of each step: the next steps of the shutdown, where their time has come. Where no directory
    /// is online there is nothing to wait for, and nothing would bring the next one.
    pub(super) fn advance_shutdown(&mut self, out: &mut Effects) {
        while self.advance_shutdown_once(out) {}
    }

    /// Whether there was a step to take.
    fn advance_shutdown_once(&mut self, out: &mut Effects) -> bool {
        if !self.housekeeping.is_stopping() {
            return false;
        }
        let online = self.online_dirs();
        let Some(stopping) = &mut self.housekeeping.stopping else {
            return false;
        };
        // What goes offline meanwhile saves nothing any more.
        stopping.waiting.retain(|dir| online.contains(dir));
        stopping.settled.retain(|dir| online.contains(dir));
        let (step, broker_epoch, settled) = (stopping.step, stopping.broker_epoch, stopping.settled.clone());
        if step == Step::Done || !stopping.waiting.is_empty() {
            return false;
        }
        match step {
            Step::Settling if self.is_settled() => {
                for &dir in &online {
                    self.save_high_watermarks(dir, out);
                }
                self.stop_step(Step::Watermarks, online);
            }
            Step::Watermarks => {
                for &dir in &settled {
                    self.save_recovery_points(dir, out);
                }
                self.stop_step(Step::Checkpoints, settled);
            }
            Step::Checkpoints => {
                for &dir in &settled {
                    let path = Path::new(dir, names::CLEAN_SHUTDOWN);
                    let mark = clean_shutdown::encode(broker_epoch).into();
                    self.parts.storage.save(path, mark, SaveOwner::CleanMark(dir), out);
                }
                self.stop_step(Step::Marks, settled);
            }
            Step::Marks => {
                self.stop_step(Step::Done, settled);
                self.parts.events.push(LogEvent::ShutdownDone);
            }
            Step::Settling | Step::Done => return false,
        }
        true
    }

    pub(super) fn on_shutdown_saved(&mut self, dir: LogDirId) {
        if let Some(stopping) = &mut self.housekeeping.stopping {
            stopping.waiting.retain(|waiting| *waiting != dir);
        }
    }

    fn stop_step(&mut self, step: Step, settled: Vec<LogDirId>) {
        if let Some(stopping) = &mut self.housekeeping.stopping {
            stopping.step = step;
            stopping.waiting = if step == Step::Done { Vec::new() } else { settled.clone() };
            stopping.settled = settled;
        }
    }

    fn save_recovery_points(&mut self, dir: LogDirId, out: &mut Effects) {
        let storage = &self.parts.storage;
        let logs = self.logs.iter().flatten().map(|log| &**log).filter(|log| log.dir() == dir);
        let bytes = checkpoint_of(logs, |log| log.offsets(storage).durable);
        let path = Path::new(dir, names::RECOVERY_POINT_CHECKPOINT);
        self.parts.storage.save(path, bytes, SaveOwner::RecoveryPoints(dir), out);
    }

    /// Whether everything is durable that the clean marks will say is.
    pub(super) fn has_settled(&self) -> bool {
        let is_late = |stopping: &Stopping| stopping.step != Step::Settling;
        self.housekeeping.stopping.as_ref().is_some_and(is_late) && !self.parts.storage.planted.has(Plant::Raft51)
    }

    /// Whether everything is durable, and every checkpoint made.
    fn is_settled(&self) -> bool {
        let storage = &self.parts.storage;
        let online = self.online_dirs();
        let is_quiet = online.iter().all(|&dir| storage.has_saved_all(dir) && storage.is_settled(dir));
        is_quiet && !self.logs.iter().flatten().any(|log| online.contains(&log.dir()) && log.checkpoints.is_running())
    }

    fn online_dirs(&self) -> Vec<LogDirId> {
        let dirs = (0..self.parts.config.dirs).map(LogDirId);
        dirs.filter(|&dir| self.parts.storage.health(dir) == Health::Online).collect()
    }
}
