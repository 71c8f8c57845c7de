//! Vote (key 52): a voter asks for votes, or, before it stands, whether it would get them (KIP-595, KIP-853, KIP-996).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    VoteRequest<'a>: 0..=2, flexible 0..;

    /// A candidate asks for votes.
    struct VoteRequest<'a> {
        cluster_id: Option<&'a str>,
        /// Who is asked.
        voter_id: i32 [1..] = -1,
        topics: Vec<VoteTopic<'a>>,
    }

    /// The partitions of one topic.
    struct VoteTopic<'a> {
        topic_name: &'a str,
        partitions: Vec<VotePartition>,
    }

    /// What the candidate stands on.
    struct VotePartition {
        partition_index: i32,
        /// The epoch that it stands in, or, before it stands, is in.
        replica_epoch: i32,
        replica_id: i32,
        replica_directory_id: Uuid [1..],
        voter_directory_id: Uuid [1..],
        /// The epoch of its last record.
        last_offset_epoch: i32,
        /// The end of its log.
        last_offset: i64,
        /// Whether it only asks (KIP-996).
        pre_vote: bool [2..],
    }
}

message! {
    VoteResponse<'a>: 0..=2, flexible 0..;

    /// The voter's answer.
    struct VoteResponse<'a> {
        error_code: ErrorCode,
        topics: Vec<VoteTopicResponse<'a>>,
    } tagged {
        0 node_endpoints: Vec<NodeEndpoint<'a>> [1..],
    }

    /// The partitions of one topic.
    struct VoteTopicResponse<'a> {
        topic_name: &'a str,
        partitions: Vec<VotePartitionResponse>,
    }

    /// The vote, and what the voter knows.
    struct VotePartitionResponse {
        partition_index: i32,
        error_code: ErrorCode,
        /// -1 if it knows no leader.
        leader_id: i32,
        leader_epoch: i32,
        vote_granted: bool,
    }

    /// The address of the leader that is named.
    struct NodeEndpoint<'a> {
        node_id: i32 [1..],
        host: &'a str [1..],
        port: u16 [1..],
    }
}
