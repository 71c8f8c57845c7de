//! BrokerHeartbeat (key 63): a broker is alive, and says what it wants (KIP-631, KIP-841, KIP-858).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    BrokerHeartbeatRequest: 0..=2, flexible 0..;

    /// How a broker is.
    struct BrokerHeartbeatRequest {
        broker_id: i32,
        broker_epoch: i64 = -1,
        /// How far it has read the metadata log.
        current_metadata_offset: i64,
        want_fence: bool,
        want_shut_down: bool,
    } tagged {
        0 offline_log_dirs: Vec<Uuid> [1..],
        1 cordoned_log_dirs: Option<Vec<Uuid>> [2..],
    }
}

message! {
    BrokerHeartbeatResponse: 0..=2, flexible 0..;

    /// What the controller makes of it.
    struct BrokerHeartbeatResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        is_caught_up: bool,
        is_fenced: bool = true,
        should_shut_down: bool,
    }
}
