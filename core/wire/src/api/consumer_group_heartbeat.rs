//! ConsumerGroupHeartbeat (key 68): the one request of a consumer group's member, which joins, goes on and leaves by
//! it (KIP-848).
//!
//! Version 1 subscribes by a regular expression, and the consumer draws its own member id (KIP-1082).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    ConsumerGroupHeartbeatRequest<'a>: 0..=1, flexible 0..;

    /// The member; null is what has not changed since its last heartbeat.
    struct ConsumerGroupHeartbeatRequest<'a> {
        group_id: &'a str,
        member_id: &'a str,
        /// 0 joins, -1 leaves, -2 leaves for a while (a static member).
        member_epoch: i32,
        instance_id: Option<&'a str>,
        rack_id: Option<&'a str>,
        /// -1 if it has not changed.
        rebalance_timeout_ms: i32 = -1,
        subscribed_topic_names: Option<Vec<&'a str>>,
        subscribed_topic_regex: Option<&'a str> [1..],
        server_assignor: Option<&'a str>,
        /// What it owns.
        topic_partitions: Option<Vec<TopicPartitions>>,
    }

    /// Partitions of one topic.
    struct TopicPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
    }
}

message! {
    ConsumerGroupHeartbeatResponse<'a>: 0..=1, flexible 0..;

    /// What the member is to do.
    struct ConsumerGroupHeartbeatResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        member_id: Option<&'a str>,
        member_epoch: i32,
        heartbeat_interval_ms: i32,
        /// Null if it has not changed.
        assignment: Option<Assignment>,
    }

    /// What it may own.
    struct Assignment {
        topic_partitions: Vec<AssignedPartitions>,
    }

    /// Partitions of one topic.
    struct AssignedPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
    }
}
