//! OffsetDelete (key 47): removes positions of a group (KIP-496).

use crate::ErrorCode;
use crate::message::{NEVER, message};

message! {
    OffsetDeleteRequest<'a>: 0..=0, flexible NEVER;

    /// Which positions.
    struct OffsetDeleteRequest<'a> {
        group_id: &'a str,
        topics: Vec<OffsetDeleteRequestTopic<'a>>,
    }

    /// In one topic.
    struct OffsetDeleteRequestTopic<'a> {
        name: &'a str,
        partitions: Vec<OffsetDeleteRequestPartition>,
    }

    /// In one partition.
    struct OffsetDeleteRequestPartition {
        partition_index: i32,
    }
}

message! {
    OffsetDeleteResponse<'a>: 0..=0, flexible NEVER;

    /// What became of them.
    struct OffsetDeleteResponse<'a> {
        /// Of the whole group.
        error_code: ErrorCode,
        throttle_time_ms: i32,
        topics: Vec<OffsetDeleteResponseTopic<'a>>,
    }

    /// In one topic.
    struct OffsetDeleteResponseTopic<'a> {
        name: &'a str,
        partitions: Vec<OffsetDeleteResponsePartition>,
    }

    /// In one partition.
    struct OffsetDeleteResponsePartition {
        partition_index: i32,
        error_code: ErrorCode,
    }
}
