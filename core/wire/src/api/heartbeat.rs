//! Heartbeat (key 12): a member of a classic group is alive; it is told if the group rebalances.

use crate::ErrorCode;
use crate::message::message;

message! {
    HeartbeatRequest<'a>: 0..=4, flexible 4..;

    /// The member that is alive.
    struct HeartbeatRequest<'a> {
        group_id: &'a str,
        generation_id: i32,
        member_id: &'a str,
        group_instance_id: Option<&'a str> [3..],
    }
}

message! {
    HeartbeatResponse: 0..=4, flexible 4..;

    /// Whether it is still a member of this generation.
    struct HeartbeatResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode,
    }
}
