//! Retention: which segments policy lets go, and their deletion.
//!
//! Kafka's rule: from the front, as long as each segment is wholly below the high watermark and its greatest
//! timestamp is older than `retention.ms`, or the log without it still has `retention.bytes`. The segment that is
//! being written is rolled first if it would go too. Nothing of a damaged log goes (P5).

use super::api::LogConfig;
use super::names::SegmentFile;
use super::partition::{Condition, Io, Log};
use crate::clock::WallTime;
use crate::planted::Plant;
use crate::storage::Health;
use crate::types::Offset;

impl Log {
    /// Where the log should begin by its policy, if that is later than it does. `now`: the confirmed wall time;
    /// without it nothing goes by age.
    pub(crate) fn expired(&mut self, now: Option<WallTime>, io: &mut Io<'_>) -> Option<Offset> {
        let usable = self.condition == Condition::Usable && io.storage.health(self.dir()) == Health::Online;
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
            self.roll(self.log_end, io);
        }
        start.filter(|&start| start > self.log_start)
    }

    /// Whether a segment is past `retention.ms`. If its time index must be read for that, it is asked for, and the
    /// next check knows.
    fn is_old(&mut self, index: usize, now: Option<WallTime>, io: &mut Io<'_>) -> bool {
        let (Some(now), true) = (now, self.config.retention_ms >= 0) else {
            return false;
        };
        let times = self.segments[index].times;
        let Some(ceiling) = times.ceiling else {
            let base = self.segments[index].base;
            self.load_indexes(base, io);
            return false;
        };
        let newest = if ceiling >= 0 { ceiling } else { times.seen.0 };
        now.0.saturating_sub(newest) > self.config.retention_ms
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
}

fn excess_bytes(size: u64, config: &LogConfig) -> u64 {
    u64::try_from(config.retention_bytes).map_or(0, |keep| size.saturating_sub(keep))
}
