//! BeginQuorumEpoch (key 53): a leader tells the voters that it was elected (KIP-595, KIP-853).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    BeginQuorumEpochRequest<'a>: 0..=1, flexible 1..;

    /// A leader began its epoch.
    struct BeginQuorumEpochRequest<'a> {
        cluster_id: Option<&'a str>,
        /// Who is told.
        voter_id: i32 [1..] = -1,
        topics: Vec<BeginQuorumEpochTopic<'a>>,
        leader_endpoints: Vec<LeaderEndpoint<'a>> [1..],
    }

    /// The partitions of one topic.
    struct BeginQuorumEpochTopic<'a> {
        topic_name: &'a str,
        partitions: Vec<BeginQuorumEpochPartition>,
    }

    /// Who leads, and in which epoch.
    struct BeginQuorumEpochPartition {
        partition_index: i32,
        voter_directory_id: Uuid [1..],
        leader_id: i32,
        leader_epoch: i32,
    }

    /// An address of the leader.
    struct LeaderEndpoint<'a> {
        name: &'a str [1..],
        host: &'a str [1..],
        port: u16 [1..],
    }
}

message! {
    BeginQuorumEpochResponse<'a>: 0..=1, flexible 1..;

    /// What the voter makes of it.
    struct BeginQuorumEpochResponse<'a> {
        error_code: ErrorCode,
        topics: Vec<BeginQuorumEpochTopicResponse<'a>>,
    } tagged {
        0 node_endpoints: Vec<NodeEndpoint<'a>> [1..],
    }

    /// The partitions of one topic.
    struct BeginQuorumEpochTopicResponse<'a> {
        topic_name: &'a str,
        partitions: Vec<BeginQuorumEpochPartitionResponse>,
    }

    /// Whom the voter knows to lead.
    struct BeginQuorumEpochPartitionResponse {
        partition_index: i32,
        error_code: ErrorCode,
        leader_id: i32,
        leader_epoch: i32,
    }

    /// The address of the leader that is named.
    struct NodeEndpoint<'a> {
        node_id: i32 [1..],
        host: &'a str [1..],
        port: u16 [1..],
    }
}
