//! AllocateProducerIds (key 67): a broker asks the controller for a block of producer ids (KIP-730).

use crate::ErrorCode;
use crate::message::message;

message! {
    AllocateProducerIdsRequest: 0..=0, flexible 0..;

    /// Who asks.
    struct AllocateProducerIdsRequest {
        broker_id: i32,
        broker_epoch: i64 = -1,
    }
}

message! {
    AllocateProducerIdsResponse: 0..=0, flexible 0..;

    /// The block: `producer_id_len` ids from `producer_id_start` on.
    struct AllocateProducerIdsResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        producer_id_start: i64,
        producer_id_len: i32,
    }
}
