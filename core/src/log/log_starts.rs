//! Where the logs of each directory begin, in its `log-start-offset-checkpoint`.
//!
//! A raised log start offset is saved durably before any segment below it goes: removals may be carried out in any
//! order by a crash, and a start must not find a log with a hole. In a full directory segments go one by one instead
//! ([`super::retention`]).
//!
//! The file tells of all logs of its directory, so one save is enough for whatever came before it. It begins at the end
//! of a step, with what is so then; while one is under way the next one waits. So thousands of logs that expire
//! together, or of raises of one log, cost two saves and not thousands.

use std::collections::BTreeSet;

use super::api::LogEvent;
use super::boot::checkpoint_of;
use super::manager::LogManager;
use super::names;
use super::partition::{Condition, Log};
use crate::machine::{Effects, LogDirId, Path};
use crate::storage::{LogId, SaveOwner};
use crate::types::{Offset, TopicPartition};

/// The saves of log starts.
#[derive(Clone, Debug)]
pub(super) struct LogStarts {
    /// By directory.
    dirs: Vec<Saves>,
    /// The logs whose starts the directory's file may tell: also of some that are deleted.
    told: BTreeSet<(LogDirId, TopicPartition)>,
}

/// Those of a directory.
#[derive(Clone, Debug, Default)]
struct Saves {
    /// What the save makes durable that is under way; empty if none is.
    under_way: Vec<SavedStart>,
    /// What the next one will.
    waiting: Vec<SavedStart>,
}

/// What a save of log starts makes durable.
#[derive(Clone, Copy, Debug)]
enum SavedStart {
    /// A log begins later.
    Raised(LogId, Offset),
    /// Of a log that is made under the name of a deleted one the file tells nothing any more.
    Forgotten(LogId),
}

impl LogStarts {
    pub(super) fn new(dirs: u16) -> Self {
        Self { dirs: vec![Saves::default(); usize::from(dirs)], told: BTreeSet::new() }
    }

    /// What a start found in the directories' files.
    pub(super) fn found(&mut self, found: impl Iterator<Item = (LogDirId, TopicPartition)>) {
        self.told.extend(found);
    }

    fn wait(&mut self, dir: LogDirId, saved: SavedStart) {
        self.dirs[usize::from(dir.0)].waiting.push(saved);
    }
}

impl LogManager {
    /// A log begins later: the deletion of what lies before follows when that is durable.
    pub(super) fn raise_log_start(&mut self, id: LogId, offset: Offset, out: &mut Effects) {
        let Some(log) = self.logs.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        // Where a damaged one ends is what was promised, not what is there.
        if matches!(log.condition, Condition::Damaged(_)) {
            return;
        }
        let offset = offset.min(log.log_end);
        if offset > log.log_start {
            log.log_start = offset;
            log.derived.producers.on_log_start(offset);
            self.parts.events.push(LogEvent::LogStartRaised { log: id, offset });
        }
        self.housekeeping.log_starts.wait(log.dir(), SavedStart::Raised(id, log.log_start));
        self.with(id, out, Log::make_room);
    }

    /// A new log says whose it is, and takes records from then on. Where a file of the directory tells of a deleted log
    /// of the same name where that began, or how far it was clean, it is rid of that before: the next process would
    /// take all below it for deleted, or for clean.
    pub(super) fn mark_new(&mut self, id: LogId, out: &mut Effects) {
        let Some(log) = self.log(id) else { return };
        let (dir, name) = (log.dir(), log.partition.clone());
        if self.housekeeping.log_starts.told.contains(&(dir, name)) {
            return self.housekeeping.log_starts.wait(dir, SavedStart::Forgotten(id));
        }
        self.mark_unstarted(id, out);
    }

    /// The same of a new log whose start no file tells wrongly.
    fn mark_unstarted(&mut self, id: LogId, out: &mut Effects) {
        let Some(log) = self.log(id) else { return };
        let (dir, name) = (log.dir(), log.partition.clone());
        if self.compaction.tells_of(dir, &name) {
            return self.save_cleaned(dir, Some(id), out);
        }
        self.with(id, out, |log, io| log.mark(io));
    }

    /// At the end of a step: saves what waits, where no save is under way.
    pub(super) fn save_log_starts(&mut self, out: &mut Effects) {
        for dir in (0..self.parts.config.dirs).map(LogDirId) {
            let saves = &mut self.housekeeping.log_starts.dirs[usize::from(dir.0)];
            if !saves.under_way.is_empty() || saves.waiting.is_empty() {
                continue;
            }
            std::mem::swap(&mut saves.under_way, &mut saves.waiting);
            let logs = self.logs.iter().flatten().map(|log| &**log);
            let logs: Vec<&Log> = logs.filter(|log| log.dir() == dir && log.log_start > Offset::ZERO).collect();
            self.housekeeping.log_starts.told.extend(logs.iter().map(|log| (dir, log.partition.clone())));
            let bytes = checkpoint_of(logs.into_iter(), |log| log.log_start);
            let path = Path::new(dir, names::LOG_START_CHECKPOINT);
            self.parts.storage.save(path, bytes, SaveOwner::LogStart(dir), out);
        }
    }

    pub(super) fn on_log_starts_saved(&mut self, dir: LogDirId, out: &mut Effects) {
        let saves = &mut self.housekeeping.log_starts.dirs[usize::from(dir.0)];
        for saved in std::mem::take(&mut saves.under_way) {
            match saved {
                SavedStart::Raised(log, offset) => {
                    self.parts.events.push(LogEvent::LogStartSaved { log, offset });
                    // A log that was begun anew below it since keeps what it has there.
                    self.with(log, out, |log, io| log.delete_below(offset.min(log.log_start), io));
                }
                SavedStart::Forgotten(id) => {
                    // One that was begun anew meanwhile is told of itself.
                    if let Some(log) = self.log(id).filter(|log| log.log_start == Offset::ZERO) {
                        let name = (dir, log.partition.clone());
                        self.housekeeping.log_starts.told.remove(&name);
                    }
                    self.mark_unstarted(id, out);
                }
            }
        }
        self.save_log_starts(out);
    }
}
