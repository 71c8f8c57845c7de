//! Consumer groups (KIP-848): a record for each member's subscription, target and present assignment.

use crate::Uuid;
use crate::message::{NEVER, message};

message! {
    ConsumerGroupMetadataKey<'a>: 0..=0, flexible NEVER;

    /// A consumer group.
    struct ConsumerGroupMetadataKey<'a> {
        group_id: &'a str,
    }
}

message! {
    ConsumerGroupMetadataValue: 0..=0, flexible 0..;

    /// Its epoch.
    struct ConsumerGroupMetadataValue {
        epoch: i32,
    } tagged {
        /// Of the topics that it is subscribed to (KIP-1101).
        0 metadata_hash: i64 [0..],
    }
}

message! {
    ConsumerGroupPartitionMetadataKey<'a>: 0..=0, flexible NEVER;

    /// The topics that a group is subscribed to. Nobody writes it since Kafka 4.1.
    struct ConsumerGroupPartitionMetadataKey<'a> {
        group_id: &'a str,
    }
}

message! {
    ConsumerGroupPartitionMetadataValue<'a>: 0..=0, flexible 0..;

    /// The topics.
    struct ConsumerGroupPartitionMetadataValue<'a> {
        topics: Vec<TopicMetadata<'a>>,
    }

    /// One topic.
    struct TopicMetadata<'a> {
        topic_id: Uuid,
        topic_name: &'a str,
        num_partitions: i32,
        partition_metadata: Vec<PartitionMetadata<'a>>,
    }

    /// One partition.
    struct PartitionMetadata<'a> {
        partition: i32,
        racks: Vec<&'a str>,
    }
}

message! {
    ConsumerGroupMemberMetadataKey<'a>: 0..=0, flexible NEVER;

    /// A member.
    struct ConsumerGroupMemberMetadataKey<'a> {
        group_id: &'a str,
        member_id: &'a str,
    }
}

message! {
    ConsumerGroupMemberMetadataValue<'a>: 0..=0, flexible 0..;

    /// Who it is and what it is subscribed to.
    struct ConsumerGroupMemberMetadataValue<'a> {
        instance_id: Option<&'a str>,
        rack_id: Option<&'a str>,
        client_id: &'a str,
        client_host: &'a str,
        subscribed_topic_names: Vec<&'a str>,
        subscribed_topic_regex: Option<&'a str>,
        rebalance_timeout_ms: i32 = -1,
        server_assignor: Option<&'a str>,
    } tagged {
        /// Of a member that speaks the classic protocol.
        0 classic_member_metadata: Option<ClassicMemberMetadata<'a>> [0..],
    }

    /// What a member of the classic protocol said when it joined.
    struct ClassicMemberMetadata<'a> {
        session_timeout_ms: i32,
        supported_protocols: Vec<ClassicProtocol<'a>>,
    }

    /// A protocol that it can follow.
    struct ClassicProtocol<'a> {
        name: &'a str,
        metadata: &'a [u8],
    }
}

message! {
    ConsumerGroupTargetAssignmentMetadataKey<'a>: 0..=0, flexible NEVER;

    /// A group's target assignment.
    struct ConsumerGroupTargetAssignmentMetadataKey<'a> {
        group_id: &'a str,
    }
}

message! {
    ConsumerGroupTargetAssignmentMetadataValue: 0..=0, flexible 0..;

    /// The epoch of the group that it was made for.
    struct ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: i32,
    } tagged {
        0 assignment_timestamp: i64 [0..],
    }
}

message! {
    ConsumerGroupTargetAssignmentMemberKey<'a>: 0..=0, flexible NEVER;

    /// A member's part of the target assignment.
    struct ConsumerGroupTargetAssignmentMemberKey<'a> {
        group_id: &'a str,
        member_id: &'a str,
    }
}

message! {
    ConsumerGroupTargetAssignmentMemberValue: 0..=0, flexible 0..;

    /// What it is to own.
    struct ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: Vec<TargetPartitions>,
    }

    /// Partitions of one topic.
    struct TargetPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
    }
}

message! {
    ConsumerGroupCurrentMemberAssignmentKey<'a>: 0..=0, flexible NEVER;

    /// What a member owns.
    struct ConsumerGroupCurrentMemberAssignmentKey<'a> {
        group_id: &'a str,
        member_id: &'a str,
    }
}

message! {
    ConsumerGroupCurrentMemberAssignmentValue: 0..=0, flexible 0..;

    /// What it owns, and how far it is on its way to the target.
    struct ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: i32,
        previous_member_epoch: i32,
        state: i8,
        assigned_partitions: Vec<CurrentPartitions>,
        partitions_pending_revocation: Vec<CurrentPartitions>,
    }

    /// Partitions of one topic.
    struct CurrentPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
    } tagged {
        /// The epoch in which each partition was assigned (KIP-1251).
        0 assignment_epochs: Option<Vec<i32>> [0..],
    }
}

message! {
    ConsumerGroupRegularExpressionKey<'a>: 0..=0, flexible NEVER;

    /// A regular expression that members are subscribed by.
    struct ConsumerGroupRegularExpressionKey<'a> {
        group_id: &'a str,
        regular_expression: &'a str,
    }
}

message! {
    ConsumerGroupRegularExpressionValue<'a>: 0..=0, flexible 0..;

    /// The topics that it stood for.
    struct ConsumerGroupRegularExpressionValue<'a> {
        topics: Vec<&'a str>,
        /// The version of the metadata that it was looked up in.
        version: i64,
        timestamp: i64,
    }
}
