//! DeleteTopics (key 20): deletes topics, from version 6 on by name or by id (KIP-516).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    DeleteTopicsRequest<'a>: 1..=6, flexible 4..;

    /// Topics to delete.
    struct DeleteTopicsRequest<'a> {
        /// From version 6 on; `topic_names` before.
        topics: Vec<DeleteTopicState<'a>> [6..],
        topic_names: Vec<&'a str> [..=5],
        timeout_ms: i32,
    }

    /// A topic by name, or by id with a null name.
    struct DeleteTopicState<'a> {
        name: Option<&'a str> [6..],
        topic_id: Uuid [6..],
    }
}

message! {
    DeleteTopicsResponse<'a>: 1..=6, flexible 4..;

    /// What became of the topics.
    struct DeleteTopicsResponse<'a> {
        throttle_time_ms: i32,
        responses: Vec<DeletableTopicResult<'a>>,
    }

    /// What became of one topic.
    struct DeletableTopicResult<'a> {
        name: Option<&'a str> [0.., null 6..],
        topic_id: Uuid [6..],
        error_code: ErrorCode,
        error_message: Option<&'a str> [5..],
    }
}
