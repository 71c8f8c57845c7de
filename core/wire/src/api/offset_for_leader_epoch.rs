//! OffsetForLeaderEpoch (key 23): finds where a leader epoch ends, to truncate a log that diverged (KIP-101, KIP-320).

use crate::ErrorCode;
use crate::message::message;

message! {
    OffsetForLeaderEpochRequest<'a>: 2..=4, flexible 4..;

    /// The epochs to look up.
    struct OffsetForLeaderEpochRequest<'a> {
        /// -1 for a consumer, -2 for one that only looks (and where the version lacks the field).
        replica_id: i32 [3..] = -2,
        topics: Vec<OffsetForLeaderTopic<'a>>,
    }

    /// The partitions of one topic.
    struct OffsetForLeaderTopic<'a> {
        topic: &'a str,
        partitions: Vec<OffsetForLeaderPartition>,
    }

    /// The epoch to look up in one partition.
    struct OffsetForLeaderPartition {
        partition: i32,
        /// The leader epoch that the asker knows, or -1.
        current_leader_epoch: i32 = -1,
        leader_epoch: i32,
    }
}

message! {
    OffsetForLeaderEpochResponse<'a>: 2..=4, flexible 4..;

    /// Where the epochs end.
    struct OffsetForLeaderEpochResponse<'a> {
        throttle_time_ms: i32,
        topics: Vec<OffsetForLeaderTopicResult<'a>>,
    }

    /// The partitions of one topic.
    struct OffsetForLeaderTopicResult<'a> {
        topic: &'a str,
        partitions: Vec<EpochEndOffset>,
    }

    /// A leader epoch and the offset at which it ends.
    struct EpochEndOffset {
        error_code: ErrorCode,
        partition: i32,
        leader_epoch: i32 = -1,
        end_offset: i64 = -1,
    }
}
