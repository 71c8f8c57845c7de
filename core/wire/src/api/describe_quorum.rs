//! DescribeQuorum (key 55): the voters and observers of the metadata log (KIP-595, KIP-853).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    DescribeQuorumRequest<'a>: 0..=2, flexible 0..;

    /// The logs to describe: `__cluster_metadata` partition 0 only.
    struct DescribeQuorumRequest<'a> {
        topics: Vec<DescribeQuorumTopic<'a>>,
    }

    /// The partitions of one topic.
    struct DescribeQuorumTopic<'a> {
        topic_name: &'a str,
        partitions: Vec<DescribeQuorumPartition>,
    }

    /// One partition.
    struct DescribeQuorumPartition {
        partition_index: i32,
    }
}

message! {
    DescribeQuorumResponse<'a>: 0..=2, flexible 0..;

    /// The quorum as its leader sees it.
    struct DescribeQuorumResponse<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str> [2..],
        topics: Vec<TopicData<'a>>,
        nodes: Vec<Node<'a>> [2..],
    }

    /// The partitions of one topic.
    struct TopicData<'a> {
        topic_name: &'a str,
        partitions: Vec<PartitionData<'a>>,
    }

    /// What was read of one partition.
    struct PartitionData<'a> {
        partition_index: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str> [2..],
        leader_id: i32,
        leader_epoch: i32,
        high_watermark: i64,
        current_voters: Vec<ReplicaState>,
        observers: Vec<ReplicaState>,
    }

    /// A voter and its addresses.
    struct Node<'a> {
        node_id: i32 [2..],
        listeners: Vec<Listener<'a>> [2..],
    }

    /// An address of a voter.
    struct Listener<'a> {
        name: &'a str [2..],
        host: &'a str [2..],
        port: u16 [2..],
    }

    /// The replica that fetches (KIP-903).
    struct ReplicaState {
        replica_id: i32,
        replica_directory_id: Uuid [2..],
        log_end_offset: i64,
        last_fetch_timestamp: i64 [1..] = -1,
        last_caught_up_timestamp: i64 [1..] = -1,
    }
}
