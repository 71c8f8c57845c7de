//! ConsumerGroupDescribe (key 69): consumer groups of KIP-848 and their members.

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    ConsumerGroupDescribeRequest<'a>: 0..=1, flexible 0..;

    /// Which groups.
    struct ConsumerGroupDescribeRequest<'a> {
        group_ids: Vec<&'a str>,
        include_authorized_operations: bool,
    }
}

message! {
    ConsumerGroupDescribeResponse<'a>: 0..=1, flexible 0..;

    /// The groups.
    struct ConsumerGroupDescribeResponse<'a> {
        throttle_time_ms: i32,
        groups: Vec<DescribedGroup<'a>>,
    }

    /// One group.
    struct DescribedGroup<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        group_id: &'a str,
        group_state: &'a str,
        group_epoch: i32,
        assignment_epoch: i32,
        assignor_name: &'a str,
        members: Vec<Member<'a>>,
        /// A bit field, or `i32::MIN` if it was not asked for (KIP-430).
        authorized_operations: i32 = i32::MIN,
    }

    /// One member.
    struct Member<'a> {
        member_id: &'a str,
        instance_id: Option<&'a str>,
        rack_id: Option<&'a str>,
        member_epoch: i32,
        client_id: &'a str,
        client_host: &'a str,
        subscribed_topic_names: Vec<&'a str>,
        subscribed_topic_regex: Option<&'a str>,
        /// What it owns.
        assignment: Assignment<'a>,
        /// What it is to own.
        target_assignment: Assignment<'a>,
        /// -1 unknown, 0 classic, 1 consumer.
        member_type: i8 [1..] = -1,
    }

    /// Partitions.
    struct Assignment<'a> {
        topic_partitions: Vec<TopicPartitions<'a>>,
    }

    /// Partitions of one topic.
    struct TopicPartitions<'a> {
        topic_id: Uuid,
        topic_name: &'a str,
        partitions: Vec<i32>,
    }
}
