//! EndQuorumEpoch (key 54): a leader that resigns tells the voters, so that they need not wait (KIP-595, KIP-853).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    EndQuorumEpochRequest<'a>: 0..=1, flexible 1..;

    /// A leader resigned.
    struct EndQuorumEpochRequest<'a> {
        cluster_id: Option<&'a str>,
        topics: Vec<EndQuorumEpochTopic<'a>>,
        leader_endpoints: Vec<LeaderEndpoint<'a>> [1..],
    }

    /// The partitions of one topic.
    struct EndQuorumEpochTopic<'a> {
        topic_name: &'a str,
        partitions: Vec<EndQuorumEpochPartition>,
    }

    /// Which epoch is over, and who should stand next.
    struct EndQuorumEpochPartition {
        partition_index: i32,
        leader_id: i32,
        leader_epoch: i32,
        preferred_successors: Vec<i32> [..=0],
        /// The voters, whose log goes furthest first.
        preferred_candidates: Vec<PreferredCandidate> [1..],
    }

    /// A voter that may stand.
    struct PreferredCandidate {
        candidate_id: i32 [1..],
        candidate_directory_id: Uuid [1..],
    }

    /// An address of the leader.
    struct LeaderEndpoint<'a> {
        name: &'a str [1..],
        host: &'a str [1..],
        port: u16 [1..],
    }
}

message! {
    EndQuorumEpochResponse<'a>: 0..=1, flexible 1..;

    /// What the voter makes of it.
    struct EndQuorumEpochResponse<'a> {
        error_code: ErrorCode,
        topics: Vec<EndQuorumEpochTopicResponse<'a>>,
    } tagged {
        0 node_endpoints: Vec<NodeEndpoint<'a>> [1..],
    }

    /// The partitions of one topic.
    struct EndQuorumEpochTopicResponse<'a> {
        topic_name: &'a str,
        partitions: Vec<EndQuorumEpochPartitionResponse>,
    }

    /// Whom the voter knows to lead.
    struct EndQuorumEpochPartitionResponse {
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
