//! DescribeProducers (key 61): the active idempotent and transactional producers of partitions (KIP-664).

use crate::ErrorCode;
use crate::message::message;

message! {
    DescribeProducersRequest<'a>: 0..=0, flexible 0..;

    /// The partitions to describe.
    struct DescribeProducersRequest<'a> {
        topics: Vec<TopicRequest<'a>>,
    }

    /// The partitions of one topic.
    struct TopicRequest<'a> {
        name: &'a str,
        partition_indexes: Vec<i32>,
    }
}

message! {
    DescribeProducersResponse<'a>: 0..=0, flexible 0..;

    /// The producers.
    struct DescribeProducersResponse<'a> {
        throttle_time_ms: i32,
        topics: Vec<TopicResponse<'a>>,
    }

    /// The partitions of one topic.
    struct TopicResponse<'a> {
        name: &'a str,
        partitions: Vec<PartitionResponse<'a>>,
    }

    /// The producers of one partition.
    struct PartitionResponse<'a> {
        partition_index: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        active_producers: Vec<ProducerState>,
    }

    /// One producer, as the partition's leader knows it.
    struct ProducerState {
        producer_id: i64,
        producer_epoch: i32,
        /// Of its last record, or -1.
        last_sequence: i32 = -1,
        /// Of its last record, or -1.
        last_timestamp: i64 = -1,
        coordinator_epoch: i32,
        /// Of its open transaction, or -1.
        current_txn_start_offset: i64 = -1,
    }
}
