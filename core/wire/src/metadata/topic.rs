//! Topics and partitions, with directories (KIP-858) from version 1 and eligible leader replicas (KIP-966) from 2 on.

use crate::Uuid;
use crate::message::message;

message! {
    TopicRecord<'a>: 0..=0, flexible 0..;

    /// A topic was created.
    struct TopicRecord<'a> {
        name: &'a str,
        topic_id: Uuid,
    }
}

message! {
    RemoveTopicRecord: 0..=0, flexible 0..;

    /// A topic was deleted.
    struct RemoveTopicRecord {
        topic_id: Uuid,
    }
}

message! {
    PartitionRecord: 0..=2, flexible 0..;

    /// A partition was created, or a snapshot's whole partition.
    struct PartitionRecord {
        partition_id: i32 = -1,
        topic_id: Uuid,
        replicas: Vec<i32>,
        isr: Vec<i32>,
        removing_replicas: Vec<i32>,
        adding_replicas: Vec<i32>,
        /// -1 if there is none.
        leader: i32 = -1,
        leader_epoch: i32 = -1,
        partition_epoch: i32 = -1,
        /// The directory of each replica, in the order of `replicas`.
        directories: Vec<Uuid> [1..],
    } tagged {
        /// 1 after an unclean election until the leader has recovered (KIP-704).
        0 leader_recovery_state: i8 [0..],
        1 eligible_leader_replicas: Option<Vec<i32>> [2..],
        2 last_known_elr: Option<Vec<i32>> [2..],
    }
}

message! {
    PartitionChangeRecord: 0..=2, flexible 0..;

    /// A partition changed; what is absent stays.
    struct PartitionChangeRecord {
        partition_id: i32 = -1,
        topic_id: Uuid,
    } tagged {
        0 isr: Option<Vec<i32>> [0..],
        /// -2 leaves it and its epoch; anything else raises the leader epoch, -1 (none) too.
        1 leader: i32 [0..] = -2,
        2 replicas: Option<Vec<i32>> [0..],
        3 removing_replicas: Option<Vec<i32>> [0..],
        4 adding_replicas: Option<Vec<i32>> [0..],
        /// -1 leaves it.
        5 leader_recovery_state: i8 [0..] = -1,
        6 eligible_leader_replicas: Option<Vec<i32>> [2..],
        7 last_known_elr: Option<Vec<i32>> [2..],
        8 directories: Option<Vec<Uuid>> [1..],
    }
}

message! {
    ClearElrRecord<'a>: 0..=0, flexible 0..;

    /// The eligible leader replicas of a topic, or of all topics for an empty name, were cleared.
    struct ClearElrRecord<'a> {
        topic_name: &'a str,
    }
}
