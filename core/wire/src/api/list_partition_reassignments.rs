//! ListPartitionReassignments (key 46): what is moving (KIP-455).

use crate::ErrorCode;
use crate::message::message;

message! {
    ListPartitionReassignmentsRequest<'a>: 0..=0, flexible 0..;

    /// Of which partitions; null: of all.
    struct ListPartitionReassignmentsRequest<'a> {
        timeout_ms: i32 = 60000,
        topics: Option<Vec<ListPartitionReassignmentsTopics<'a>>>,
    }

    /// Partitions of one topic.
    struct ListPartitionReassignmentsTopics<'a> {
        name: &'a str,
        partition_indexes: Vec<i32>,
    }
}

message! {
    ListPartitionReassignmentsResponse<'a>: 0..=0, flexible 0..;

    /// What moves.
    struct ListPartitionReassignmentsResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str> = Some(""),
        topics: Vec<OngoingTopicReassignment<'a>>,
    }

    /// The partitions of one topic.
    struct OngoingTopicReassignment<'a> {
        name: &'a str,
        partitions: Vec<OngoingPartitionReassignment>,
    }

    /// A partition that moves.
    struct OngoingPartitionReassignment {
        partition_index: i32,
        replicas: Vec<i32>,
        adding_replicas: Vec<i32>,
        removing_replicas: Vec<i32>,
    }
}
