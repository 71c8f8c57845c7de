//! CreateTopics (key 19): creates topics.
//!
//! Version 4 lets the broker choose partitions and replicas (-1, KIP-464), 5 returns the configuration (KIP-525), 6 may
//! answer THROTTLING_QUOTA_EXCEEDED (KIP-599), 7 returns the topic id.

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    CreateTopicsRequest<'a>: 2..=7, flexible 5..;

    /// Topics to create.
    struct CreateTopicsRequest<'a> {
        topics: Vec<CreatableTopic<'a>>,
        /// How long to wait for the topics to be created.
        timeout_ms: i32 = 60000,
        /// Only say whether it could be done.
        validate_only: bool,
    }

    /// One topic to create.
    struct CreatableTopic<'a> {
        name: &'a str,
        /// -1: the broker's default, or given by the assignments.
        num_partitions: i32,
        /// -1: the broker's default, or given by the assignments.
        replication_factor: i16,
        assignments: Vec<CreatableReplicaAssignment>,
        configs: Vec<CreatableTopicConfig<'a>>,
    }

    /// The brokers of one partition; the first is the preferred leader.
    struct CreatableReplicaAssignment {
        partition_index: i32,
        broker_ids: Vec<i32>,
    }

    /// One configuration to set.
    struct CreatableTopicConfig<'a> {
        name: &'a str,
        value: Option<&'a str>,
    }
}

message! {
    CreateTopicsResponse<'a>: 2..=7, flexible 5..;

    /// What became of the topics.
    struct CreateTopicsResponse<'a> {
        throttle_time_ms: i32,
        topics: Vec<CreatableTopicResult<'a>>,
    }

    /// What became of one topic.
    struct CreatableTopicResult<'a> {
        name: &'a str,
        topic_id: Uuid [7..],
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        num_partitions: i32 [5..] = -1,
        replication_factor: i16 [5..] = -1,
        configs: Option<Vec<CreatableTopicConfigs<'a>>> [5..] = Some(Vec::new()),
    } tagged {
        /// Why the configuration is not returned, if it is not (KIP-525).
        0 topic_config_error_code: i16 [5..],
    }

    /// One configuration of the new topic.
    struct CreatableTopicConfigs<'a> {
        name: &'a str [5..],
        value: Option<&'a str> [5..],
        read_only: bool [5..],
        /// As in DescribeConfigs; -1 is unknown.
        config_source: i8 [5..] = -1,
        is_sensitive: bool [5..],
    }
}
