//! DescribeLogDirs (key 35): the log directories of a broker and the replicas in them (KIP-113).
//!
//! Version 4 adds the sizes of the volumes (KIP-827), 5 whether a directory is cordoned (KIP-1066). How far a log is
//! compacted is a tagged field of ours, which other clients pass over.

use crate::ErrorCode;
use crate::message::message;

message! {
    DescribeLogDirsRequest<'a>: 1..=5, flexible 2..;

    /// Which replicas to describe.
    struct DescribeLogDirsRequest<'a> {
        /// Null: all.
        topics: Option<Vec<DescribableLogDirTopic<'a>>> = Some(Vec::new()),
    }

    /// The partitions of one topic.
    struct DescribableLogDirTopic<'a> {
        topic: &'a str,
        partitions: Vec<i32>,
    }
}

message! {
    DescribeLogDirsResponse<'a>: 1..=5, flexible 2..;

    /// The log directories.
    struct DescribeLogDirsResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode [3..],
        results: Vec<DescribeLogDirsResult<'a>>,
    }

    /// One log directory.
    struct DescribeLogDirsResult<'a> {
        error_code: ErrorCode,
        log_dir: &'a str,
        topics: Vec<DescribeLogDirsTopic<'a>>,
        /// The size of its volume, or -1.
        total_bytes: i64 [4..] = -1,
        /// What is free for us on its volume, or -1.
        usable_bytes: i64 [4..] = -1,
        is_cordoned: bool [5..],
    }

    /// The replicas of one topic in the directory.
    struct DescribeLogDirsTopic<'a> {
        name: &'a str,
        partitions: Vec<DescribeLogDirsPartition<'a>>,
    }

    /// One replica.
    struct DescribeLogDirsPartition<'a> {
        partition_index: i32,
        /// Bytes of its segments.
        partition_size: i64,
        /// How far it is behind the high watermark, or for a future replica behind the current one.
        offset_lag: i64,
        /// Whether it is being moved into this directory.
        is_future_key: bool,
    } tagged {
        10000 compaction: Compaction<'a> [2..],
    }

    /// How a log stands with its compaction.
    struct Compaction<'a> {
        /// Below it the log is clean; -1 if it is not compacted.
        clean_to: i64 [2..] = -1,
        /// Bytes that were cleaned before.
        clean_bytes: i64 [2..],
        /// Bytes that were not, and can be now.
        dirty_bytes: i64 [2..],
        /// Whether it is being cleaned.
        is_running: bool [2..],
        /// Why it is not cleaned any more.
        uncleanable: Option<&'a str> [2..] = None,
    }
}
