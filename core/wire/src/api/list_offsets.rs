//! ListOffsets (key 2): finds offsets by time.
//!
//! The timestamps -1 (latest), -2 (earliest), -3 (the record with the largest timestamp, version 7 on), -4 (earliest
//! local, 8), -5 (latest tiered, 9) and -6 (earliest pending upload, 11) are special.

use crate::ErrorCode;
use crate::message::message;

message! {
    ListOffsetsRequest<'a>: 1..=11, flexible 6..;

    /// The timestamps to look for.
    struct ListOffsetsRequest<'a> {
        /// -1 for a consumer.
        replica_id: i32,
        /// 0: read uncommitted, up to the high watermark; 1: up to the last stable offset.
        isolation_level: i8 [2..],
        topics: Vec<ListOffsetsTopic<'a>>,
        /// How long a look-up in tiered storage may take.
        timeout_ms: i32 [10..],
    }

    /// The partitions of one topic.
    struct ListOffsetsTopic<'a> {
        name: &'a str,
        partitions: Vec<ListOffsetsPartition>,
    }

    /// The timestamp to look for in one partition.
    struct ListOffsetsPartition {
        partition_index: i32,
        current_leader_epoch: i32 [4..] = -1,
        /// Milliseconds since 1970, or one of the special values.
        timestamp: i64,
    }
}

message! {
    ListOffsetsResponse<'a>: 1..=11, flexible 6..;

    /// The offsets that were found.
    struct ListOffsetsResponse<'a> {
        throttle_time_ms: i32 [2..],
        topics: Vec<ListOffsetsTopicResponse<'a>>,
    }

    /// The offsets of one topic.
    struct ListOffsetsTopicResponse<'a> {
        name: &'a str,
        partitions: Vec<ListOffsetsPartitionResponse>,
    }

    /// The first record at or after the timestamp; offset -1 if there is none.
    struct ListOffsetsPartitionResponse {
        partition_index: i32,
        error_code: ErrorCode,
        timestamp: i64 = -1,
        offset: i64 = -1,
        leader_epoch: i32 [4..] = -1,
    }
}
