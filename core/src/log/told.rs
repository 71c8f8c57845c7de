//! What a log manager tells of its logs, without asking the disk.

use super::api::{DerivedView, LogId, LogView, ProducerView};
use super::leader_epoch_cache::LeaderEpochCache;
use super::manager::LogManager;
use super::partition::Log;
use crate::clock::{Now, WallTime};
use crate::machine::LogDirId;
use crate::storage::Health;
use crate::types::{LeaderEpoch, Offset};

impl LogManager {
    /// The end of the greatest epoch at or below `leader_epoch`, and that epoch (KIP-101, KIP-279).
    #[must_use]
    pub fn end_offset_for_epoch(&self, log: LogId, leader_epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let log = self.log(log)?;
        let end = log.derived.epochs.end_offset_for(leader_epoch, log.log_end)?;
        Some((end.epoch, end.end_offset))
    }

    /// The latest leader epoch of the log.
    #[must_use]
    pub fn latest_epoch(&self, log: LogId) -> Option<LeaderEpoch> {
        Some(self.log(log)?.derived.epochs.latest()?.epoch)
    }

    /// The leader epochs of the log.
    #[must_use]
    pub fn epochs(&self, log: LogId) -> Option<&LeaderEpochCache> {
        Some(&self.log(log)?.derived.epochs)
    }

    /// The leader epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_of(&self, log: LogId, offset: Offset) -> Option<LeaderEpoch> {
        self.log(log)?.derived.epochs.epoch_at(offset)
    }

    /// How many bytes its segments have.
    #[must_use]
    pub fn size(&self, log: LogId) -> u64 {
        self.log(log).map_or(0, Log::size)
    }

    /// The wall time, if both clocks vouch for it (promise P8).
    #[must_use]
    pub fn confirmed_time(&self, now: Now) -> Option<WallTime> {
        self.housekeeping.confirmed_time(now)
    }

    /// The producers of a log, for DescribeProducers.
    #[must_use]
    pub fn producers(&self, log: LogId) -> Vec<ProducerView> {
        self.log(log).map(Log::producers).unwrap_or_default()
    }

    /// What every usable log has derived from its batches.
    pub fn derived(&self) -> impl Iterator<Item = DerivedView> {
        self.logs.iter().flatten().filter_map(|log| log.derived_view(&self.parts.storage))
    }

    /// One log, for the state page, DescribeLogDirs and the invariants.
    #[must_use]
    pub fn view(&self, log: LogId) -> Option<LogView> {
        Some(self.log(log)?.view(&self.parts.storage))
    }

    /// Whether the log's `cleanup.policy` has `delete`: whether clients may delete its records.
    #[must_use]
    pub fn may_delete(&self, log: LogId) -> bool {
        self.log(log).is_some_and(|log| log.config.delete)
    }

    /// Every log there is.
    pub fn logs(&self) -> impl Iterator<Item = LogId> + '_ {
        self.by_partition.values().copied()
    }

    /// Whether a directory takes appends.
    #[must_use]
    pub fn is_usable(&self, dir: LogDirId) -> bool {
        self.parts.storage.health(dir) == Health::Online
    }

    /// Whether a directory has failed.
    #[must_use]
    pub fn is_offline(&self, dir: LogDirId) -> bool {
        self.parts.storage.health(dir) == Health::Offline
    }
}
