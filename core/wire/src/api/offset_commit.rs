//! OffsetCommit (key 8): a group's positions are kept.
//!
//! Version 6 has leader epochs (KIP-320), 7 static members (KIP-345), 9 members of KIP-848, 10 topic ids (KIP-848).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    OffsetCommitRequest<'a>: 2..=10, flexible 8..;

    /// The positions.
    struct OffsetCommitRequest<'a> {
        group_id: &'a str,
        /// -1 from a consumer that assigns partitions by hand.
        generation_id_or_member_epoch: i32 = -1,
        member_id: &'a str,
        group_instance_id: Option<&'a str> [7..],
        /// How long to keep them, or -1 for the broker's time.
        retention_time_ms: i64 [..=4] = -1,
        topics: Vec<OffsetCommitRequestTopic<'a>>,
    }

    /// The positions in one topic.
    struct OffsetCommitRequestTopic<'a> {
        name: &'a str [..=9],
        topic_id: Uuid [10..],
        partitions: Vec<OffsetCommitRequestPartition<'a>>,
    }

    /// The position in one partition.
    struct OffsetCommitRequestPartition<'a> {
        partition_index: i32,
        committed_offset: i64,
        committed_leader_epoch: i32 [6..] = -1,
        committed_metadata: Option<&'a str>,
    }
}

message! {
    OffsetCommitResponse<'a>: 2..=10, flexible 8..;

    /// Which were kept.
    struct OffsetCommitResponse<'a> {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetCommitResponseTopic<'a>>,
    }

    /// Of one topic.
    struct OffsetCommitResponseTopic<'a> {
        name: &'a str [..=9],
        topic_id: Uuid [10..],
        partitions: Vec<OffsetCommitResponsePartition>,
    }

    /// Of one partition.
    struct OffsetCommitResponsePartition {
        partition_index: i32,
        error_code: ErrorCode,
    }
}
