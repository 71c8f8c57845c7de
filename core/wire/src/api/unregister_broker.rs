//! UnregisterBroker (key 64): a broker that is gone for good is forgotten (KIP-631).

use crate::ErrorCode;
use crate::message::message;

message! {
    UnregisterBrokerRequest: 0..=0, flexible 0..;

    /// Which broker.
    struct UnregisterBrokerRequest {
        broker_id: i32,
    }
}

message! {
    UnregisterBrokerResponse<'a>: 0..=0, flexible 0..;

    /// Whether it is forgotten.
    struct UnregisterBrokerResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str> = Some(""),
    }
}
