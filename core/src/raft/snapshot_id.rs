//! The name of a snapshot of the metadata (KIP-630): the end of the log that it stands for, and the epoch before it.

use std::fmt;

use crate::types::{LeaderEpoch, Offset};

/// The ending of a snapshot's file.
const SUFFIX: &str = ".checkpoint";

/// A snapshot: all that the log says below `end`, which is where a batch ends and so the first offset that it has not.
/// In order of their age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// The offset after the last record that is in it. It is committed.
    pub end: Offset,
    /// The epoch of that record.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// The file's name: `00000000000000000042-0000000007.checkpoint`.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:020}-{:010}{SUFFIX}", self.end.0, self.epoch.0)
    }

    /// Reads a file's name; `None` if it is none of a snapshot's.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (end, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let id = Self { end: Offset(end.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) };
        (id.end > Offset::ZERO && id.epoch.0 >= 0 && id.file_name() == name).then_some(id)
    }

    /// Whether a log that ends at `end`, with a record of `last_epoch` if it has one, lacks some of what is in it: it
    /// is shorter, or its end is of earlier epochs, so that no leader that knew of this can have made it.
    #[must_use]
    pub fn is_ahead_of(self, last_epoch: Option<LeaderEpoch>, end: Offset) -> bool {
        match last_epoch {
            Some(epoch) => (epoch, end) < (self.epoch, self.end),
            None => end < self.end,
        }
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of epoch {}", self.end, self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas_and_nothing_else_is_one() {
        let id = SnapshotId { end: Offset(42), epoch: LeaderEpoch(7) };
        assert_eq!(id.file_name(), "00000000000000000042-0000000007.checkpoint");
        assert_eq!(SnapshotId::from_file_name(&id.file_name()), Some(id));
        let others = [
            "bootstrap.checkpoint",
            "00000000000000000042-0000000007.checkpoint.part",
            "42-7.checkpoint",
            "00000000000000000000-0000000000.checkpoint",
            "00000000000000000042--000000007.checkpoint",
        ];
        assert!(others.iter().all(|name| SnapshotId::from_file_name(name).is_none()));
    }

    #[test]
    fn it_is_ahead_of_what_is_shorter_or_of_earlier_epochs() {
        let id = SnapshotId { end: Offset(42), epoch: LeaderEpoch(7) };
        let is_ahead = |epoch: i32, end| id.is_ahead_of((epoch >= 0).then_some(LeaderEpoch(epoch)), Offset(end));
        assert!(is_ahead(-1, 0) && is_ahead(7, 41) && is_ahead(6, 99));
        assert!(!is_ahead(-1, 42) && !is_ahead(7, 42) && !is_ahead(8, 50));
    }
}
