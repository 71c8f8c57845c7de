//! Which leader epoch began at which offset of a log (KIP-101), kept in `leader-epoch-checkpoint` as of the
//! last checkpoint of the log: what began since is told by the records themselves.
//!
//! Two replicas find where they part by it: a follower asks for the end of its last epoch, and the leader
//! answers the greatest epoch at or below it that the leader knows, with that epoch's end (KIP-279). Without the
//! epoch in the answer two quick elections leave a log that differs below the agreed end (KAFKA-6361).
//!
//! Invariant R10: the entries are a function of the log, plus the leader's own epoch if nothing was written in
//! it yet. Epochs and start offsets both rise strictly from entry to entry.

use super::{Corrupt, checkpoint};
use crate::types::{LeaderEpoch, Offset};

/// One epoch of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset of its first record.
    pub start_offset: Offset,
}

/// Where an epoch ended, as OffsetsForLeaderEpoch answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The greatest known epoch at or below the one asked for.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// The epochs of one log, oldest first. Its history is short: one entry an election.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochCache {
    entries: Vec<EpochStart>,
}

impl LeaderEpochCache {
    /// No epochs: nothing was written.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Reads a checkpoint file.
    ///
    /// # Errors
    /// If it cannot be one. The epochs are then taken from the batches of the log.
    pub fn parse(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut entries: Vec<EpochStart> = Vec::new();
        for line in checkpoint::parse_lines(bytes)? {
            let entry = parse_line(line).ok_or_else(|| checkpoint::bad_line(line))?;
            let rises = |last: &EpochStart| last.epoch < entry.epoch && last.start_offset < entry.start_offset;
            if !entries.last().is_none_or(rises) {
                return Err(Corrupt::new(format!("epoch {} is out of order", entry.epoch)));
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// The checkpoint file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let lines = self.entries.iter();
        checkpoint::encode_lines(lines.map(|entry| format!("{} {}", entry.epoch, entry.start_offset)))
    }

    /// Notes that `epoch` begins at `start_offset`; a negative one is none. Returns whether that is new. Entries that
    /// it contradicts (of the same or a later epoch or offset) go.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if epoch.0 < 0 || start_offset.0 < 0 {
            return false;
        }
        // The ordinary case: another batch of the epoch that is being written.
        if self.entries.last().is_some_and(|last| last.epoch == epoch && last.start_offset <= start_offset) {
            return false;
        }
        while self.entries.pop_if(|entry| entry.start_offset >= start_offset).is_some() {}
        if self.entries.last().is_some_and(|last| last.epoch == epoch) {
            return true; // What has gone was of an epoch in which this broker led, and appended nothing.
        }
        while self.entries.pop_if(|entry| entry.epoch >= epoch).is_some() {}
        self.entries.push(EpochStart { epoch, start_offset });
        true
    }

    /// Where `epoch` ended, in a log that ends at `log_end_offset` (KIP-279).
    ///
    /// `None` if the epoch is later than any here, or the log has none: this replica cannot know. An epoch
    /// before the first one ends where the first begins.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end_offset: Offset) -> Option<EpochEnd> {
        if epoch.0 < 0 {
            return None;
        }
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let floor = after.checked_sub(1).map(|index| self.entries[index].epoch);
        let end_offset = match self.entries.get(after) {
            Some(next) => next.start_offset,
            None if floor == Some(epoch) => log_end_offset,
            None => return None,
        };
        Some(EpochEnd { epoch: floor.unwrap_or(epoch), end_offset })
    }

    /// Where a log that ends at `log_end_offset` is cut whose leader's log parts from it by `theirs`: the end of the
    /// greatest epoch that both have (KIP-101, KIP-279). `None`: nothing is above it, so the leader makes no sense.
    #[must_use]
    pub fn cut_for(&self, theirs: EpochEnd, log_end_offset: Offset) -> Option<Offset> {
        let ours = self.end_offset_for(theirs.epoch, log_end_offset)?;
        let is_shared = ours.epoch == theirs.epoch;
        let to = if is_shared { ours.end_offset.min(theirs.end_offset) } else { ours.end_offset };
        (to < log_end_offset).then_some(to)
    }

    /// The epoch of the record at `offset`; `None` below the first epoch.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// Forgets the epochs that began at `end_offset` or above: the log now ends there. Whether any did.
    pub fn truncate_end(&mut self, end_offset: Offset) -> bool {
        let keep = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// Forgets the epochs that ended at `log_start_offset` or below: the log now begins there. The epoch that
    /// holds it begins there from now on. Whether anything changed.
    pub fn truncate_start(&mut self, log_start_offset: Offset) -> bool {
        let after = self.entries.partition_point(|entry| entry.start_offset <= log_start_offset);
        let Some(holder) = after.checked_sub(1) else {
            return false;
        };
        let changed = holder > 0 || self.entries[holder].start_offset < log_start_offset;
        self.entries.drain(..holder);
        self.entries[0].start_offset = log_start_offset;
        changed
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    /// The oldest epoch that still has records.
    #[must_use]
    pub fn earliest(&self) -> Option<EpochStart> {
        self.entries.first().copied()
    }

    /// All epochs, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }
}

fn parse_line(line: &str) -> Option<EpochStart> {
    let (epoch, start_offset) = line.split_once(' ')?;
    let (epoch, start_offset): (i32, i64) = (epoch.parse().ok()?, start_offset.trim().parse().ok()?);
    (epoch >= 0 && start_offset >= 0)
        .then_some(EpochStart { epoch: LeaderEpoch(epoch), start_offset: Offset(start_offset) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cache(entries: &[(i32, i64)]) -> LeaderEpochCache {
        let mut cache = LeaderEpochCache::new();
        for &(epoch, offset) in entries {
            assert!(cache.assign(LeaderEpoch(epoch), Offset(offset)));
        }
        cache
    }

    fn entries(cache: &LeaderEpochCache) -> Vec<(i32, i64)> {
        let entries = cache.entries().iter();
        entries.map(|entry| (entry.epoch.0, entry.start_offset.0)).collect()
    }

    #[test]
    fn ends_are_those_of_kip_279() {
        let cache = cache(&[(2, 10), (4, 20), (7, 30)]);
        let end = |epoch| {
            let end = cache.end_offset_for(LeaderEpoch(epoch), Offset(99));
            end.map(|end| (end.epoch.0, end.end_offset.0))
        };
        assert_eq!(end(-1), None);
        assert_eq!(end(1), Some((1, 10)));
        assert_eq!(end(2), Some((2, 20)));
        assert_eq!(end(3), Some((2, 20)));
        assert_eq!(end(6), Some((4, 30)));
        assert_eq!(end(7), Some((7, 99)));
        assert_eq!(end(8), None);
        assert_eq!(LeaderEpochCache::new().end_offset_for(LeaderEpoch(0), Offset(5)), None);
    }

    #[test]
    fn assigning_drops_what_it_contradicts() {
        let mut epochs = cache(&[(2, 10), (4, 20), (7, 30)]);
        assert!(!epochs.assign(LeaderEpoch(7), Offset(35)));
        assert!(epochs.assign(LeaderEpoch(8), Offset(20)));
        assert_eq!(entries(&epochs), [(2, 10), (8, 20)]);
        assert!(epochs.assign(LeaderEpoch(1), Offset(40)));
        assert_eq!(entries(&epochs), [(1, 40)]);
        assert!(!epochs.assign(LeaderEpoch(-1), Offset(40)));
    }

    #[test]
    fn an_epoch_without_records_leaves_the_one_before_it_whole() {
        let mut epochs = cache(&[(2, 10), (4, 20)]);
        assert!(epochs.assign(LeaderEpoch(7), Offset(30)));
        assert!(epochs.assign(LeaderEpoch(4), Offset(30)));
        assert_eq!(entries(&epochs), [(2, 10), (4, 20)]);
    }

    #[test]
    fn truncation_at_both_ends() {
        let mut epochs = cache(&[(2, 10), (4, 20), (7, 30)]);
        assert!(!epochs.truncate_end(Offset(31)));
        assert!(epochs.truncate_end(Offset(30)));
        assert!(!epochs.truncate_start(Offset(5)));
        assert!(epochs.truncate_start(Offset(25)));
        assert_eq!(entries(&epochs), [(4, 25)]);
        assert!(!epochs.truncate_start(Offset(25)));
        assert_eq!(epochs.epoch_at(Offset(24)), None);
        assert_eq!(epochs.epoch_at(Offset(25)), Some(LeaderEpoch(4)));
        // A log that is cut to nothing keeps no epoch.
        assert!(epochs.truncate_end(Offset(0)));
        assert_eq!(epochs.latest(), None);
    }

    #[test]
    fn the_file_is_kafkas() {
        assert_eq!(cache(&[(0, 0), (4, 20)]).encode(), b"0\n2\n0 0\n4 20\n");
        for bad in ["0\n2\n4 20\n0 0\n", "0\n2\n0 20\n4 20\n", "0\n1\n-1 0\n", "0\n1\n0\n", "0\n1\n", ""] {
            assert!(LeaderEpochCache::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// The model: the epoch of every record, by offset from 0.
    fn of_log(log: &[i32], start: usize) -> Vec<(i32, i64)> {
        let mut entries: Vec<(i32, i64)> = Vec::new();
        for (&epoch, offset) in log.iter().zip(0..).skip(start) {
            if entries.last().is_none_or(|last| last.0 != epoch) {
                entries.push((epoch, offset));
            }
        }
        entries
    }

    proptest! {
        #[test]
        fn is_a_function_of_the_log(
            mut epochs in prop::collection::vec(0i32..12, 1..60),
            cut in 0usize..70,
            start in 0usize..70,
            asked in 0i32..14,
        ) {
            epochs.sort_unstable();
            let mut cache = LeaderEpochCache::new();
            for (&epoch, offset) in epochs.iter().zip(0..) {
                cache.assign(LeaderEpoch(epoch), Offset(offset));
            }
            prop_assert_eq!(entries(&cache), of_log(&epochs, 0));
            epochs.truncate(cut);
            cache.truncate_end(Offset(i64::try_from(cut).unwrap()));
            prop_assert_eq!(entries(&cache), of_log(&epochs, 0));
            prop_assert_eq!(&LeaderEpochCache::parse(&cache.encode()).unwrap(), &cache);

            let end = i64::try_from(epochs.len()).unwrap();
            let known = epochs.iter().copied().rfind(|&epoch| epoch <= asked);
            let past = epochs.iter().position(|&epoch| epoch > asked).map(|at| i64::try_from(at).unwrap());
            let expected = match (known, past) {
                (Some(epoch), None) => (epoch == asked).then_some((epoch, end)),
                (None, None) => None,
                (known, Some(at)) => Some((known.unwrap_or(asked), at)),
            };
            let found = cache.end_offset_for(LeaderEpoch(asked), Offset(end));
            prop_assert_eq!(found.map(|found| (found.epoch.0, found.end_offset.0)), expected);

            if start < epochs.len() {
                cache.truncate_start(Offset(i64::try_from(start).unwrap()));
                prop_assert_eq!(entries(&cache), of_log(&epochs, start));
            }
        }
    }
}
