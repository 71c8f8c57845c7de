//! ElectLeaders (key 43): the preferred leaders lead again, or, by an operator's word, whoever is left (KIP-183,
//! KIP-460).

use crate::ErrorCode;
use crate::message::message;

message! {
    ElectLeadersRequest<'a>: 0..=2, flexible 2..;

    /// Which partitions are to have an election.
    struct ElectLeadersRequest<'a> {
        /// 0: the preferred leader; 1: any replica, though records are lost by it.
        election_type: i8 [1..],
        /// Null: all.
        topic_partitions: Option<Vec<TopicPartitions<'a>>> = Some(Vec::new()),
        timeout_ms: i32 = 60000,
    }

    /// Partitions of one topic.
    struct TopicPartitions<'a> {
        topic: &'a str,
        partitions: Vec<i32>,
    }
}

message! {
    ElectLeadersResponse<'a>: 0..=2, flexible 2..;

    /// What became of them.
    struct ElectLeadersResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode [1..],
        replica_election_results: Vec<ReplicaElectionResult<'a>>,
    }

    /// The partitions of one topic.
    struct ReplicaElectionResult<'a> {
        topic: &'a str,
        partition_result: Vec<PartitionResult<'a>>,
    }

    /// What became of one partition.
    struct PartitionResult<'a> {
        partition_id: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str> = Some(""),
    }
}
