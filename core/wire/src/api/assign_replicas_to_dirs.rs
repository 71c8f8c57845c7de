//! AssignReplicasToDirs (key 73): a broker says in which log directories its replicas lie (KIP-858).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    AssignReplicasToDirsRequest: 0..=0, flexible 0..;

    /// Where some replicas of a broker lie.
    struct AssignReplicasToDirsRequest {
        broker_id: i32,
        broker_epoch: i64 = -1,
        directories: Vec<DirectoryData>,
    }

    /// What lies in one directory.
    struct DirectoryData {
        id: Uuid,
        topics: Vec<TopicData>,
    }

    /// The partitions of one topic.
    struct TopicData {
        topic_id: Uuid,
        partitions: Vec<PartitionData>,
    }

    /// One partition.
    struct PartitionData {
        partition_index: i32,
    }
}

message! {
    AssignReplicasToDirsResponse: 0..=0, flexible 0..;

    /// What became of it.
    struct AssignReplicasToDirsResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        directories: Vec<DirectoryAssigned>,
    }

    /// What was said to lie in one directory.
    struct DirectoryAssigned {
        id: Uuid,
        topics: Vec<TopicAssigned>,
    }

    /// The partitions of one topic.
    struct TopicAssigned {
        topic_id: Uuid,
        partitions: Vec<PartitionAssigned>,
    }

    /// What became of one partition.
    struct PartitionAssigned {
        partition_index: i32,
        error_code: ErrorCode,
    }
}
