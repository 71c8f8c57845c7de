//! OffsetFetch (key 9): the positions that a group has kept.
//!
//! Version 2 can ask for all of them, 5 has leader epochs (KIP-320), 7 refuses what a transaction may still change
//! (KIP-447), 8 asks for many groups (KIP-709), 9 has members of KIP-848, 10 topic ids.

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    OffsetFetchRequest<'a>: 1..=10, flexible 6..;

    /// Whose positions.
    struct OffsetFetchRequest<'a> {
        /// This and `topics` up to version 7; `groups` after.
        group_id: &'a str [..=7],
        /// Null: all that the group has.
        topics: Option<Vec<OffsetFetchRequestTopic<'a>>> [..=7, null 2..=7] = Some(Vec::new()),
        groups: Vec<OffsetFetchRequestGroup<'a>> [8..],
        require_stable: bool [7..],
    }

    /// Partitions of one topic.
    struct OffsetFetchRequestTopic<'a> {
        name: &'a str [..=7],
        partition_indexes: Vec<i32> [..=7],
    }

    /// One group.
    struct OffsetFetchRequestGroup<'a> {
        group_id: &'a str [8..],
        member_id: Option<&'a str> [9..],
        member_epoch: i32 [9..] = -1,
        /// Null: all that the group has.
        topics: Option<Vec<OffsetFetchRequestTopics<'a>>> [8..] = Some(Vec::new()),
    }

    /// Partitions of one topic.
    struct OffsetFetchRequestTopics<'a> {
        name: &'a str [8..=9],
        topic_id: Uuid [10..],
        partition_indexes: Vec<i32> [8..],
    }
}

message! {
    OffsetFetchResponse<'a>: 1..=10, flexible 6..;

    /// The positions.
    struct OffsetFetchResponse<'a> {
        throttle_time_ms: i32 [3..],
        /// This and `error_code` up to version 7; `groups` after.
        topics: Vec<OffsetFetchResponseTopic<'a>> [..=7],
        error_code: ErrorCode [2..=7],
        groups: Vec<OffsetFetchResponseGroup<'a>> [8..],
    }

    /// Of one topic.
    struct OffsetFetchResponseTopic<'a> {
        name: &'a str [..=7],
        partitions: Vec<OffsetFetchResponsePartition<'a>> [..=7],
    }

    /// Of one partition.
    struct OffsetFetchResponsePartition<'a> {
        partition_index: i32 [..=7],
        /// -1 if there is none.
        committed_offset: i64 [..=7],
        committed_leader_epoch: i32 [5..=7] = -1,
        metadata: Option<&'a str> [..=7],
        error_code: ErrorCode [..=7],
    }

    /// Of one group.
    struct OffsetFetchResponseGroup<'a> {
        group_id: &'a str [8..],
        topics: Vec<OffsetFetchResponseTopics<'a>> [8..],
        error_code: ErrorCode [8..],
    }

    /// Of one topic.
    struct OffsetFetchResponseTopics<'a> {
        name: &'a str [8..=9],
        topic_id: Uuid [10..],
        partitions: Vec<OffsetFetchResponsePartitions<'a>> [8..],
    }

    /// Of one partition.
    struct OffsetFetchResponsePartitions<'a> {
        partition_index: i32 [8..],
        /// -1 if there is none.
        committed_offset: i64 [8..],
        committed_leader_epoch: i32 [8..] = -1,
        metadata: Option<&'a str> [8..],
        error_code: ErrorCode [8..],
    }
}
