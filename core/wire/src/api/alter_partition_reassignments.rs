//! AlterPartitionReassignments (key 45): partitions move to other brokers, or stop moving (KIP-455).

use crate::ErrorCode;
use crate::message::message;

message! {
    AlterPartitionReassignmentsRequest<'a>: 0..=1, flexible 0..;

    /// Where partitions are to be.
    struct AlterPartitionReassignmentsRequest<'a> {
        timeout_ms: i32 = 60000,
        allow_replication_factor_change: bool [1..] = true,
        topics: Vec<ReassignableTopic<'a>>,
    }

    /// The partitions of one topic.
    struct ReassignableTopic<'a> {
        name: &'a str,
        partitions: Vec<ReassignablePartition>,
    }

    /// Who is to have one partition; null: a move under way is taken back.
    struct ReassignablePartition {
        partition_index: i32,
        replicas: Option<Vec<i32>>,
    }
}

message! {
    AlterPartitionReassignmentsResponse<'a>: 0..=1, flexible 0..;

    /// Whether they begin to move.
    struct AlterPartitionReassignmentsResponse<'a> {
        throttle_time_ms: i32,
        allow_replication_factor_change: bool [1..] = true,
        error_code: ErrorCode,
        error_message: Option<&'a str> = Some(""),
        responses: Vec<ReassignableTopicResponse<'a>>,
    }

    /// The partitions of one topic.
    struct ReassignableTopicResponse<'a> {
        name: &'a str,
        partitions: Vec<ReassignablePartitionResponse<'a>>,
    }

    /// Whether one partition begins to move.
    struct ReassignablePartitionResponse<'a> {
        partition_index: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str> = Some(""),
    }
}
