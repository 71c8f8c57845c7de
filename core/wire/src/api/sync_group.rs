//! SyncGroup (key 14): the leader hands in the assignment of its generation, and each member is told its part.
//!
//! Version 3 has static members (KIP-345), 5 repeats the protocol (KIP-559).

use crate::ErrorCode;
use crate::message::message;

message! {
    SyncGroupRequest<'a>: 0..=5, flexible 4..;

    /// The member that asks for its part.
    struct SyncGroupRequest<'a> {
        group_id: &'a str,
        generation_id: i32,
        member_id: &'a str,
        group_instance_id: Option<&'a str> [3..],
        protocol_type: Option<&'a str> [5..],
        protocol_name: Option<&'a str> [5..],
        /// From the leader: each member's part; empty from others.
        assignments: Vec<SyncGroupRequestAssignment<'a>>,
    }

    /// A member's part.
    struct SyncGroupRequestAssignment<'a> {
        member_id: &'a str,
        assignment: &'a [u8],
    }
}

message! {
    SyncGroupResponse<'a>: 0..=5, flexible 4..;

    /// The member's part.
    struct SyncGroupResponse<'a> {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode,
        protocol_type: Option<&'a str> [5..],
        protocol_name: Option<&'a str> [5..],
        assignment: &'a [u8],
    }
}
