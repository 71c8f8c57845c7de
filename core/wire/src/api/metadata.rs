//! Metadata (key 3): brokers, topics, partitions and their leaders.
//!
//! Version 10 adds topic ids (KIP-516), 12 asks by id, 13 has an error for the whole response (KIP-1102).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    MetadataRequest<'a>: 0..=13, flexible 9..;

    /// Which topics to describe.
    struct MetadataRequest<'a> {
        /// Null: all. In version 0 an empty list means all, later none.
        topics: Option<Vec<MetadataRequestTopic<'a>>> [0.., null 1..] = Some(Vec::new()),
        /// Whether to create what is missing, if the broker is configured so.
        allow_auto_topic_creation: bool [4..] = true,
        include_cluster_authorized_operations: bool [8..=10],
        include_topic_authorized_operations: bool [8..],
    }

    /// A topic by name, or from version 12 on by id with a null name.
    struct MetadataRequestTopic<'a> {
        topic_id: Uuid [10..],
        name: Option<&'a str> [0.., null 10..],
    }
}

message! {
    MetadataResponse<'a>: 0..=13, flexible 9..;

    /// The cluster as the broker knows it.
    struct MetadataResponse<'a> {
        throttle_time_ms: i32 [3..],
        brokers: Vec<MetadataResponseBroker<'a>>,
        cluster_id: Option<&'a str> [2..],
        /// Clients send what changes topics to it; any broker forwards.
        controller_id: i32 [1..] = -1,
        topics: Vec<MetadataResponseTopic<'a>>,
        /// A bit field, or `i32::MIN` if it was not asked for (KIP-430).
        cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        error_code: ErrorCode [13..],
    }

    /// A broker and its address on the listener that was asked.
    struct MetadataResponseBroker<'a> {
        node_id: i32,
        host: &'a str,
        port: i32,
        rack: Option<&'a str> [1..],
    }

    /// One topic.
    struct MetadataResponseTopic<'a> {
        error_code: ErrorCode,
        /// Null if the topic was asked for by an unknown id.
        name: Option<&'a str> [0.., null 12..],
        topic_id: Uuid [10..],
        is_internal: bool [1..],
        partitions: Vec<MetadataResponsePartition>,
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }

    /// One partition and its replicas.
    struct MetadataResponsePartition {
        error_code: ErrorCode,
        partition_index: i32,
        /// -1 if there is no leader.
        leader_id: i32,
        leader_epoch: i32 [7..] = -1,
        replica_nodes: Vec<i32>,
        isr_nodes: Vec<i32>,
        offline_replicas: Vec<i32> [5..],
    }
}
