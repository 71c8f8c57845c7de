//! AlterPartition (key 56): a leader asks for another set of in-sync replicas (KIP-497, KIP-841, KIP-903).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    AlterPartitionRequest: 2..=3, flexible 0..;

    /// What the leader of some partitions asks for.
    struct AlterPartitionRequest {
        broker_id: i32,
        broker_epoch: i64 = -1,
        topics: Vec<TopicChange>,
    }

    /// The partitions of one topic.
    struct TopicChange {
        topic_id: Uuid,
        partitions: Vec<PartitionChange>,
    }

    /// The in-sync replicas that a partition is to have.
    struct PartitionChange {
        partition_index: i32,
        leader_epoch: i32,
        new_isr: Vec<i32> [..=2],
        new_isr_with_epochs: Vec<BrokerState> [3..],
        /// 1 while the leader recovers from an unclean election.
        leader_recovery_state: i8,
        /// The change that this one builds on.
        partition_epoch: i32,
    }

    /// A replica, and the epoch that it fetches with.
    struct BrokerState {
        broker_id: i32 [3..],
        /// -1: not known.
        broker_epoch: i64 [3..] = -1,
    }
}

message! {
    AlterPartitionResponse: 2..=3, flexible 0..;

    /// What became of it.
    struct AlterPartitionResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        topics: Vec<TopicChanged>,
    }

    /// The partitions of one topic.
    struct TopicChanged {
        topic_id: Uuid,
        partitions: Vec<PartitionChanged>,
    }

    /// How the controller has the partition now.
    struct PartitionChanged {
        partition_index: i32,
        error_code: ErrorCode,
        leader_id: i32,
        leader_epoch: i32,
        isr: Vec<i32>,
        leader_recovery_state: i8,
        partition_epoch: i32,
    }
}
