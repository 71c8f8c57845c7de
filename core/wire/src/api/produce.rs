//! Produce (key 0): appends record batches.
//!
//! Topics have names up to version 12 and ids from 13 on (KIP-516). Version 10 tells a client of a new leader
//! (KIP-951); from 12 on a transactional batch adds its partition to the transaction by itself (KIP-890).
//! [`ProduceRequest::walk`] reads a request without allocating.

use super::walk::{self, TopicRef};
use crate::message::message;
use crate::primitives::{Reader, Result, Wire};
use crate::{ErrorCode, Records, Uuid};

message! {
    ProduceRequest<'a>: 3..=13, flexible 9..;

    /// Record batches for some partitions.
    struct ProduceRequest<'a> {
        /// Null unless the batches belong to a transaction.
        transactional_id: Option<&'a str>,
        /// 0: no response at all; 1: the leader has written it; -1: all in-sync replicas have.
        acks: i16,
        /// How long to wait for the acks.
        timeout_ms: i32,
        topic_data: Vec<TopicProduceData<'a>>,
    }

    /// The batches of one topic.
    struct TopicProduceData<'a> {
        name: &'a str [..=12],
        topic_id: Uuid [13..],
        partition_data: Vec<PartitionProduceData<'a>>,
    }

    /// The batches of one partition.
    struct PartitionProduceData<'a> {
        index: i32,
        /// One record batch; more than one is an error since version 3.
        records: Option<Records<'a>> = Some(Records::EMPTY),
    }
}

message! {
    ProduceResponse<'a>: 3..=13, flexible 9..;

    /// What became of the batches.
    struct ProduceResponse<'a> {
        responses: Vec<TopicProduceResponse<'a>>,
        throttle_time_ms: i32,
    } tagged {
        0 node_endpoints: Vec<NodeEndpoint<'a>> [10..],
    }

    /// What became of the batches of one topic.
    struct TopicProduceResponse<'a> {
        name: &'a str [..=12],
        topic_id: Uuid [13..],
        partition_responses: Vec<PartitionProduceResponse<'a>>,
    }

    /// What became of the batch of one partition.
    struct PartitionProduceResponse<'a> {
        index: i32,
        error_code: ErrorCode,
        /// The offset of the first record.
        base_offset: i64,
        /// -1 unless the topic has LogAppendTime.
        log_append_time_ms: i64 = -1,
        log_start_offset: i64 [5..] = -1,
        /// The records that made the batch invalid (KIP-467).
        record_errors: Vec<BatchIndexAndErrorMessage<'a>> [8..],
        error_message: Option<&'a str> [8..],
    } tagged {
        0 current_leader: LeaderIdAndEpoch [10..],
    }

    /// A record that made its batch invalid.
    struct BatchIndexAndErrorMessage<'a> {
        /// The place of the record in its batch, from 0.
        batch_index: i32 [8..],
        batch_index_error_message: Option<&'a str> [8..],
    }

    /// The leader of a partition, sent with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH (KIP-951).
    struct LeaderIdAndEpoch {
        leader_id: i32 [10..] = -1,
        leader_epoch: i32 [10..] = -1,
    }

    /// The address of a leader that is named in the response (KIP-951).
    struct NodeEndpoint<'a> {
        node_id: i32 [10..],
        host: &'a str [10..],
        port: i32 [10..],
        rack: Option<&'a str> [10..],
    }
}

impl<'a> ProduceRequest<'a> {
    /// Reads a request without allocating: `batch` gets each partition, and the result has no `topic_data`.
    ///
    /// # Errors
    /// As decoding, but for what that would allocate. `batch` may have been called before.
    pub fn walk(
        r: &mut Reader<'a>,
        version: i16,
        mut batch: impl FnMut(TopicRef<'a>, PartitionProduceData<'a>),
    ) -> Result<Self> {
        let v = walk::version::<Self>(version)?;
        let transactional_id = Wire::read(r, v)?;
        let acks = Wire::read(r, v)?;
        let timeout_ms = Wire::read(r, v)?;
        walk::partitions(r, v, &mut batch)?;
        r.skip_tags(v)?;
        Ok(Self { transactional_id, acks, timeout_ms, topic_data: Vec::new() })
    }
}
