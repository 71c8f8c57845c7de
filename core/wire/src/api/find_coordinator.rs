//! FindCoordinator (key 10): the broker that coordinates a group, a transactional id or a share group's partition.
//!
//! Version 4 asks for many keys at once (KIP-699), 6 may ask for share groups (KIP-932).

use crate::ErrorCode;
use crate::message::message;

message! {
    FindCoordinatorRequest<'a>: 0..=6, flexible 3..;

    /// Whose coordinators to find.
    struct FindCoordinatorRequest<'a> {
        /// Up to version 3; `coordinator_keys` after.
        key: &'a str [..=3],
        /// 0 a group, 1 a transactional id, 2 a share group's partition.
        key_type: i8 [1..],
        coordinator_keys: Vec<&'a str> [4..],
    }
}

message! {
    FindCoordinatorResponse<'a>: 0..=6, flexible 3..;

    /// Where they are.
    struct FindCoordinatorResponse<'a> {
        throttle_time_ms: i32 [1..],
        /// This and the next four up to version 3; `coordinators` after.
        error_code: ErrorCode [..=3],
        error_message: Option<&'a str> [1..=3],
        node_id: i32 [..=3],
        host: &'a str [..=3],
        port: i32 [..=3],
        coordinators: Vec<Coordinator<'a>> [4..],
    }

    /// One key's coordinator.
    struct Coordinator<'a> {
        key: &'a str [4..],
        node_id: i32 [4..],
        host: &'a str [4..],
        port: i32 [4..],
        error_code: ErrorCode [4..],
        error_message: Option<&'a str> [4..],
    }
}
