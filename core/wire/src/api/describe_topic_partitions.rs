//! DescribeTopicPartitions (key 75): partitions page by page, with the eligible leader replicas (KIP-966).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    DescribeTopicPartitionsRequest<'a>: 0..=0, flexible 0..;

    /// The topics to describe.
    struct DescribeTopicPartitionsRequest<'a> {
        /// Empty: all.
        topics: Vec<TopicRequest<'a>>,
        response_partition_limit: i32 = 2000,
        /// Where to go on; null at first.
        cursor: Option<Cursor<'a>>,
    }

    /// The partitions of one topic.
    struct TopicRequest<'a> {
        name: &'a str,
    }

    /// The first partition of the next page.
    struct Cursor<'a> {
        topic_name: &'a str,
        partition_index: i32,
    }
}

message! {
    DescribeTopicPartitionsResponse<'a>: 0..=0, flexible 0..;

    /// One page.
    struct DescribeTopicPartitionsResponse<'a> {
        throttle_time_ms: i32,
        topics: Vec<DescribeTopicPartitionsResponseTopic<'a>>,
        /// Null on the last page.
        next_cursor: Option<Cursor<'a>>,
    }

    /// One topic, maybe with a part of its partitions.
    struct DescribeTopicPartitionsResponseTopic<'a> {
        error_code: ErrorCode,
        name: Option<&'a str>,
        topic_id: Uuid,
        is_internal: bool,
        partitions: Vec<DescribeTopicPartitionsResponsePartition>,
        topic_authorized_operations: i32 = i32::MIN,
    }

    /// One partition and its replicas.
    struct DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode,
        partition_index: i32,
        leader_id: i32,
        leader_epoch: i32 = -1,
        replica_nodes: Vec<i32>,
        isr_nodes: Vec<i32>,
        eligible_leader_replicas: Option<Vec<i32>>,
        last_known_elr: Option<Vec<i32>>,
        offline_replicas: Vec<i32>,
    }
}
