//! DeleteRecords (key 21): raises the log start offset of partitions (KIP-107).

use crate::ErrorCode;
use crate::message::message;

message! {
    DeleteRecordsRequest<'a>: 0..=2, flexible 2..;

    /// Where the logs shall start.
    struct DeleteRecordsRequest<'a> {
        topics: Vec<DeleteRecordsTopic<'a>>,
        timeout_ms: i32,
    }

    /// The partitions of one topic.
    struct DeleteRecordsTopic<'a> {
        name: &'a str,
        partitions: Vec<DeleteRecordsPartition>,
    }

    /// Where the log of one partition shall start.
    struct DeleteRecordsPartition {
        partition_index: i32,
        /// The first offset to keep; -1 is the high watermark.
        offset: i64,
    }
}

message! {
    DeleteRecordsResponse<'a>: 0..=2, flexible 2..;

    /// Where the logs start now.
    struct DeleteRecordsResponse<'a> {
        throttle_time_ms: i32,
        topics: Vec<DeleteRecordsTopicResult<'a>>,
    }

    /// The partitions of one topic.
    struct DeleteRecordsTopicResult<'a> {
        name: &'a str,
        partitions: Vec<DeleteRecordsPartitionResult>,
    }

    /// Where the log of one partition starts now.
    struct DeleteRecordsPartitionResult {
        partition_index: i32,
        /// The least log start offset of all live replicas.
        low_watermark: i64,
        error_code: ErrorCode,
    }
}
