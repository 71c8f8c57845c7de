//! Retention: which segments policy lets go, and their deletion.
//!
//! Kafka's rule: from the front, as long as each segment is wholly below the high watermark and its greatest
//! timestamp is older than `retention.ms`, or the log without it still has `retention.bytes`. The segment that is
//! being written is rolled first if it would go too. Nothing of a damaged log goes (P5).
//!
//! **A full disk.** The log starts are saved before segments go, and there may be no room for that until one has gone.
//! So there the segments below the log start go from the front, one at a time, each durably before the next: whatever
//! crashes, what is left is the end of the log without a hole, and a start takes it to begin with its first segment.
//! The segment that the flush journal's claim names stays, and so does what no snapshot below the claim tells the
//! producers of. Nothing is rolled, because a new segment needs room.

use super::api::LogConfig;
use super::names::SegmentFile;
use super::partition::{Condition, Io, Log};
use super::segment::{Handle, Segment, Times};
use crate::clock::WallTime;
use crate::machine::{DiskError, DiskResult, FileAction, Path};
use crate::planted::Plant;
use crate::storage::{Health, LogOp, Owner};
use crate::types::Offset;

/// A segment whose index says that it has records of more than a day ahead is looked at: it would never go.
const FAR_AHEAD_MS: i64 = 24 * 60 * 60 * 1000;

/// How many segments are looked at together.
const LOOK_AHEAD: usize = 16;

/// The first segment of a log in a full directory, while it goes.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    /// No part of the log any more, unless its file cannot be renamed.
    segment: Segment,
    /// Where the log begins without it.
    end: Offset,
    /// Its file's name from then on.
    retired: Path,
    /// It has that name, which is being synced.
    renamed: bool,
}

impl Log {
    /// Where the log should begin by its policy, if that is later than it does. `now`: the confirmed wall time;
    /// without it nothing goes by age.
    pub(crate) fn expired(&mut self, now: Option<WallTime>, io: &mut Io<'_>) -> Option<Offset> {
        let health = io.storage.health(self.dir());
        let usable = self.condition == Condition::Usable && health != Health::Offline;
        if !self.config.delete || !usable || self.checkpoints.cleaner.busy {
            return None;
        }
        let mut excess = excess_bytes(self.size(), &self.config);
        let mut start = None;
        for index in 0..self.segments.len() {
            let (segment, end) = (&self.segments[index], self.end_of(index));
            let is_committed = end <= self.high_watermark || io.storage.planted.has(Plant::Cmp10);
            if !is_committed || segment.size == 0 {
                break;
            }
            let is_old = self.is_old(index, now, io);
            let fits = u64::from(self.segments[index].size) <= excess;
            if !is_old && !fits {
                break;
            }
            excess = excess.saturating_sub(self.segments[index].size.into());
            start = Some(end);
        }
        // Only once, however long the deletion takes: another segment of that base would be the same file.
        if start == Some(self.log_end) && self.active().size > 0 {
            if health == Health::Full {
                start = Some(self.active().base);
            } else {
                self.roll(self.log_end, io);
            }
        }
        start.filter(|&start| start > self.log_start)
    }

    /// Whether a segment is past `retention.ms`. If its batches must be read for that, they are, and those of a few
    /// behind it, and the next check knows.
    fn is_old(&mut self, index: usize, now: Option<WallTime>, io: &mut Io<'_>) -> bool {
        let (Some(now), true) = (now, self.config.retention_ms >= 0) else {
            return false;
        };
        let retention_ms = self.config.retention_ms;
        let age_ms = |times: &Times| now.0.saturating_sub(times.newest().unwrap_or(times.seen.0));
        let must_look = |times: &Times| {
            let age_ms = age_ms(times);
            !times.verified && (times.ceiling.is_none() || age_ms > retention_ms || age_ms < -FAR_AHEAD_MS)
        };
        if !must_look(&self.segments[index].times) {
            return age_ms(&self.segments[index].times) > retention_ms;
        }
        let next = self.segments.iter().skip(index).take(LOOK_AHEAD).filter(|segment| must_look(&segment.times));
        let next: Vec<Offset> = next.map(|segment| segment.base).collect();
        next.into_iter().for_each(|base| self.ask_age(base, io));
        false
    }

    /// Deletes the segments that lie wholly below an offset, which is durable as the log start. A segment stays until
    /// a snapshot has what it says of producers, who outlive their records (KIP-360).
    pub(crate) fn delete_below(&mut self, offset: Offset, io: &mut Io<'_>) {
        // Not before: a start that finds the old log start must find the epochs of what lies above it.
        self.derived.epochs.truncate_start(offset.min(self.log_start));
        let usable = self.condition == Condition::Usable && io.storage.health(self.dir()) != Health::Offline;
        self.checkpoints.deleted = offset;
        if self.checkpoints.cleaner.busy {
            return; // When the pass is over, this is called again.
        }
        let newest = self.checkpoints.snapshots.last().copied();
        let is_told = |base: Offset| newest.is_some_and(|at| at >= base);
        while usable && self.segments.len() > 1 && self.segments[1].base <= offset && is_told(self.segments[1].base) {
            if let Some(segment) = self.segments.pop_front() {
                self.retire_segment(&segment, io);
            }
        }
        let first = self.segments.front().map_or(offset, |first| first.base);
        // The newest snapshot stays, whatever it lies below.
        let goes = |at: &Offset| *at < first && Some(*at) != newest;
        let gone: Vec<Offset> = self.checkpoints.snapshots.iter().copied().filter(goes).collect();
        self.checkpoints.snapshots.retain(|at| !goes(at));
        for at in gone {
            let path = self.file(at, SegmentFile::Snapshot);
            io.storage.retire(self.id, &path, self.config.file_delete_delay, io.out);
        }
    }

    /// In a full directory: the first segment goes, if it lies below the log start. The next one follows.
    pub(crate) fn make_room(&mut self, io: &mut Io<'_>) {
        let usable = self.condition == Condition::Usable && io.storage.health(self.dir()) == Health::Full;
        let is_held = self.checkpoints.cleaner.busy || self.checkpoints.leaving.is_some();
        if !usable || !self.config.delete || is_held {
            return;
        }
        let Some(durable) = io.storage.stream(self.id).filter(|stream| !stream.is_gated()).map(|stream| stream.durable)
        else {
            return;
        };
        let Some(end) = self.segments.get(1).map(|second| second.base) else { return };
        let is_told = self.checkpoints.newest_at(durable.end).is_some_and(|at| at >= end);
        // Somebody is about to read one that is being opened.
        let is_opening = matches!(self.segments[0].file, Handle::Opening(_));
        if end > self.log_start.min(durable.segment) || !is_told || is_opening {
            return;
        }
        if let Some(mut segment) = self.segments.pop_front() {
            if let Handle::Open(file) = std::mem::replace(&mut segment.file, Handle::Closed) {
                io.storage.close(self.id, file, io.out);
            }
            let from = self.file(segment.base, SegmentFile::Log);
            let retired = io.storage.retired_name(&from);
            self.act_on_leaving(FileAction::Rename { from, to: retired.clone() }, io);
            self.checkpoints.leaving = Some(Box::new(Leaving { segment, end, retired, renamed: false }));
        }
    }

    fn act_on_leaving(&self, action: FileAction, io: &mut Io<'_>) {
        io.storage.act(self.dir(), Owner::Log(self.id, LogOp::Leaving), action, io.out);
    }

    /// The rename of the first segment's file, or its sync.
    pub(crate) fn on_leaving(&mut self, result: &DiskResult, io: &mut Io<'_>) {
        let Some(mut leaving) = self.checkpoints.leaving.take() else { return };
        let base = leaving.segment.base;
        match result {
            // A longer name may need room, too.
            DiskResult::Failed(DiskError::Full) if !leaving.renamed => {
                if self.segments.front().is_some_and(|first| first.base == leaving.end) {
                    io.cold.push_back((self.id, base));
                    self.segments.push_front(leaving.segment);
                } else if self.segment_mut(base).is_none() {
                    self.retire_segment(&leaving.segment, io);
                }
            }
            DiskResult::Failed(error) => io.storage.take_offline(self.dir(), *error),
            DiskResult::Done
            | DiskResult::Opened { .. }
            | DiskResult::Bytes(_)
            | DiskResult::Entries(_)
            | DiskResult::Space(_) => {
                if !std::mem::replace(&mut leaving.renamed, true) {
                    self.act_on_leaving(FileAction::SyncDir { path: self.path.clone() }, io);
                    self.checkpoints.leaving = Some(leaving);
                    return;
                }
                io.storage.remove_later(io.now, leaving.retired, self.config.file_delete_delay);
                self.drop_indexes(base, io);
                self.make_room(io);
            }
        }
    }

    /// The index files of a segment that is gone go. One that cannot be renamed goes at the next start.
    fn drop_indexes(&self, base: Offset, io: &mut Io<'_>) {
        for kind in SegmentFile::INDEXES {
            let from = self.file(base, kind);
            io.storage.supersede(&from);
            let to = io.storage.retired_name(&from);
            io.storage.act(self.dir(), Owner::Nobody, FileAction::Rename { from, to: to.clone() }, io.out);
            io.storage.remove_later(io.now, to, self.config.file_delete_delay);
        }
    }
}

fn excess_bytes(size: u64, config: &LogConfig) -> u64 {
    u64::try_from(config.retention_bytes).map_or(0, |keep| size.saturating_sub(keep))
}
