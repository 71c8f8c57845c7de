//! The names of files and directories in a log directory, as Kafka writes and reads them.
//!
//! A segment's files share its base offset, in twenty digits. A directory that is being deleted is renamed
//! first, so that a crash leaves something that names itself as rubbish.

use crate::types::{Offset, TopicPartition};
use ottla_wire::Uuid;

/// In each partition's directory: which epoch began where ([`super::leader_epoch_cache`]).
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// In each partition's directory: the topic's id ([`super::partition_metadata`]).
pub const PARTITION_METADATA: &str = "partition.metadata";
/// In a log directory: up to where each log is known to be flushed.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// In a log directory: where each log starts, if DeleteRecords or retention moved it inside a segment.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// In a log directory: each partition's high watermark.
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
/// In a log directory: up to where each compacted log is clean.
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// In a log directory: whose it is ([`super::meta_properties`]).
pub const META_PROPERTIES: &str = "meta.properties";
/// In a log directory: it was left in good order ([`super::clean_shutdown`]).
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// In the metadata log's directory: the vote and the epoch ([`crate::raft`]).
pub const QUORUM_STATE: &str = "quorum-state";
/// The metadata log's directory.
pub const METADATA_DIR: &str = "__cluster_metadata-0";
/// In the metadata log's directory: the records that a cluster is born with.
pub const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

/// Whether a file's name says that it was being written when its process died.
#[must_use]
pub fn is_unfinished(name: &str) -> bool {
    name.ends_with(".tmp") || name.ends_with(".checkpoint.part")
}

/// What a file of a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentFile {
    /// The batches: `.log`.
    Log,
    /// The offset index: `.index`.
    OffsetIndex,
    /// The time index: `.timeindex`.
    TimeIndex,
    /// The aborted transactions: `.txnindex`.
    TxnIndex,
    /// The producers' state just before the segment: `.snapshot`.
    Snapshot,
}

/// What the name of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileName {
    /// A file in use.
    Segment { base_offset: Offset, file: SegmentFile },
    /// Left over from a deletion (`.deleted`) or an unfinished compaction (`.cleaned`): to be removed.
    Leftover,
    /// A finished compaction that was not yet put in place (`.swap`).
    Swap { base_offset: Offset, file: SegmentFile },
    /// Anything else.
    Other,
}

/// What the name of a directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirName {
    /// The log of a partition.
    Partition(TopicPartition),
    /// A deleted log (`-delete`), whose files are still to be removed.
    Deleted,
    /// A log that the metadata does not know (`-stray`), kept for the operator.
    Stray,
    /// Anything else; a log's copy that was under way (`-future`), too.
    Other,
}

impl SegmentFile {
    /// What says where in a segment something is.
    pub const INDEXES: [Self; 3] = [Self::OffsetIndex, Self::TimeIndex, Self::TxnIndex];

    /// The ending, with its dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
        }
    }

    /// The file's name: `00000000000000000042.log`.
    #[must_use]
    pub fn name(self, base_offset: Offset) -> String {
        format!("{:020}{}", base_offset.0, self.suffix())
    }

    fn from_suffix(suffix: &str) -> Option<Self> {
        let all = [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::TxnIndex, Self::Snapshot];
        all.into_iter().find(|file| file.suffix() == suffix)
    }
}

impl FileName {
    /// Reads a file's name.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        if name.ends_with(".deleted") || name.ends_with(".cleaned") {
            return Self::Leftover;
        }
        if let Some(name) = name.strip_suffix(".swap") {
            return split(name).map_or(Self::Other, |(base_offset, file)| Self::Swap { base_offset, file });
        }
        split(name).map_or(Self::Other, |(base_offset, file)| Self::Segment { base_offset, file })
    }
}

impl DirName {
    /// Reads a directory's name.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        if name.ends_with("-delete") {
            Self::Deleted
        } else if name.ends_with("-stray") {
            Self::Stray
        } else {
            TopicPartition::from_dir_name(name).map_or(Self::Other, Self::Partition)
        }
    }
}

/// The name that a partition's directory takes before its files are removed: `t-0.<id>-delete`.
///
/// `id` makes it unique; a long topic name is cut so that the whole stays within 255 bytes, as in Kafka.
#[must_use]
pub fn deleted_dir(partition: &TopicPartition, id: Uuid) -> String {
    let hex = format!("{:032x}", id.0);
    let suffix = format!("-{}.{hex}-delete", partition.partition);
    let mut topic = &*partition.topic;
    while topic.len() + suffix.len() > 255 {
        let (end, _) = topic.char_indices().next_back().expect("the suffix alone is shorter than 255");
        topic = &topic[..end];
    }
    format!("{topic}{suffix}")
}

/// The name of a segment's log file while the cleaner writes it.
#[must_use]
pub fn cleaned(base_offset: Offset) -> String {
    format!("{}.cleaned", SegmentFile::Log.name(base_offset))
}

/// The name of a segment's file that is complete and takes the place of older ones.
#[must_use]
pub fn swap(base_offset: Offset, file: SegmentFile) -> String {
    format!("{}.swap", file.name(base_offset))
}

/// A segment reaches at most 2^31 offsets beyond its base, so that no sum of the two overflows.
const MAX_BASE_OFFSET: i64 = i64::MAX - (1 << 32);

fn split(name: &str) -> Option<(Offset, SegmentFile)> {
    let (digits, suffix) = name.split_at_checked(20)?;
    let digits = digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)?;
    let base_offset = digits.parse().ok().filter(|offset| *offset <= MAX_BASE_OFFSET)?;
    Some((Offset(base_offset), SegmentFile::from_suffix(suffix)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_files_round_trip() {
        for file in [SegmentFile::Log, SegmentFile::OffsetIndex, SegmentFile::TimeIndex, SegmentFile::TxnIndex] {
            let base_offset = Offset(MAX_BASE_OFFSET);
            assert_eq!(FileName::parse(&file.name(base_offset)), FileName::Segment { base_offset, file });
        }
        assert_eq!(SegmentFile::Log.name(Offset(42)), "00000000000000000042.log");
    }

    #[test]
    fn leftovers_and_strangers() {
        assert_eq!(FileName::parse("00000000000000000000.log.deleted"), FileName::Leftover);
        assert_eq!(FileName::parse("00000000000000000000.timeindex.cleaned"), FileName::Leftover);
        let swap = FileName::Swap { base_offset: Offset(7), file: SegmentFile::Log };
        assert_eq!(FileName::parse("00000000000000000007.log.swap"), swap);
        for name in [
            "",
            "7.log",
            "0000000000000000000x.log",
            "99999999999999999999.log",
            "09223372036854775807.log",
            "leader-epoch-checkpoint",
        ] {
            assert_eq!(FileName::parse(name), FileName::Other, "{name}");
        }
    }

    #[test]
    fn directories() {
        assert_eq!(DirName::parse("a-b-3"), DirName::Partition(TopicPartition::new("a-b", 3)));
        let deleted = deleted_dir(&TopicPartition::new("t".repeat(249), 12), Uuid(5));
        assert_eq!(deleted.len(), 255);
        assert_eq!(DirName::parse(&deleted), DirName::Deleted);
        assert_eq!(DirName::parse("t-0.abc-stray"), DirName::Stray);
        assert_eq!(DirName::parse("lost+found"), DirName::Other);
    }
}
