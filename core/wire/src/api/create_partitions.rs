//! CreatePartitions (key 37): gives topics more partitions (KIP-195).

use crate::ErrorCode;
use crate::message::message;

message! {
    CreatePartitionsRequest<'a>: 0..=3, flexible 2..;

    /// Topics that get more partitions.
    struct CreatePartitionsRequest<'a> {
        topics: Vec<CreatePartitionsTopic<'a>>,
        timeout_ms: i32,
        /// Only say whether it could be done.
        validate_only: bool,
    }

    /// One topic.
    struct CreatePartitionsTopic<'a> {
        name: &'a str,
        /// How many partitions it shall have in all.
        count: i32,
        /// The brokers of the new partitions; null: the controller chooses.
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new()),
    }

    /// The brokers of one new partition.
    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>,
    }
}

message! {
    CreatePartitionsResponse<'a>: 0..=3, flexible 2..;

    /// What became of it.
    struct CreatePartitionsResponse<'a> {
        throttle_time_ms: i32,
        results: Vec<CreatePartitionsTopicResult<'a>>,
    }

    /// What became of one topic.
    struct CreatePartitionsTopicResult<'a> {
        name: &'a str,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
    }
}
