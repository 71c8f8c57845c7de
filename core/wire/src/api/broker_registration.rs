//! BrokerRegistration (key 62): a broker tells the controller that it has started (KIP-631).
//!
//! From version 2 on it names its log directories (KIP-858), from 3 on the epoch of its last registration, if it can
//! prove that it lost nothing since (KIP-966).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    BrokerRegistrationRequest<'a>: 0..=4, flexible 0..;

    /// A broker that wants to be registered.
    struct BrokerRegistrationRequest<'a> {
        broker_id: i32,
        cluster_id: &'a str,
        /// Drawn at each start of the process.
        incarnation_id: Uuid,
        listeners: Vec<Listener<'a>>,
        features: Vec<Feature<'a>>,
        rack: Option<&'a str> = Some(""),
        is_migrating_zk_broker: bool [1..],
        log_dirs: Vec<Uuid> [2..],
        /// -1: it may have lost what it had.
        previous_broker_epoch: i64 [3..] = -1,
    }

    /// Where it is reached.
    struct Listener<'a> {
        name: &'a str,
        host: &'a str,
        port: u16,
        security_protocol: i16,
    }

    /// The levels that it has of a feature.
    struct Feature<'a> {
        name: &'a str,
        min_supported_version: i16,
        max_supported_version: i16,
    }
}

message! {
    BrokerRegistrationResponse: 0..=4, flexible 0..;

    /// Its epoch, if it is registered.
    struct BrokerRegistrationResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        broker_epoch: i64 = -1,
    }
}
