//! InitProducerId (key 22): gives out a producer id, and fences older producers of a transactional id.
//!
//! Version 3 lets a producer keep its id and raise its epoch (KIP-360), 4 fences with PRODUCER_FENCED, 6 is
//! of two-phase commit (KIP-939) and unstable in Apache Kafka 4.3.1.

use crate::ErrorCode;
use crate::message::message;

message! {
    InitProducerIdRequest<'a>: 0..=6, flexible 2..;

    /// The producer that asks.
    struct InitProducerIdRequest<'a> {
        /// Null for an idempotent producer without transactions.
        transactional_id: Option<&'a str>,
        transaction_timeout_ms: i32,
        /// The id that the producer has, or -1.
        producer_id: i64 [3..] = -1,
        /// The epoch that the producer has, or -1.
        producer_epoch: i16 [3..] = -1,
        enable2_pc: bool [6..],
        keep_prepared_txn: bool [6..],
    }
}

message! {
    InitProducerIdResponse: 0..=6, flexible 2..;

    /// The id and epoch to use.
    struct InitProducerIdResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        producer_id: i64 = -1,
        producer_epoch: i16,
        /// The id of a prepared transaction, or -1 (KIP-939).
        ongoing_txn_producer_id: i64 [6..] = -1,
        ongoing_txn_producer_epoch: i16 [6..] = -1,
    }
}
