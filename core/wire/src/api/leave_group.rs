//! LeaveGroup (key 13): members go, or are removed by an operator.
//!
//! Version 3 removes many, also static ones by their instance id (KIP-345), 5 has a reason (KIP-800).

use crate::ErrorCode;
use crate::message::message;

message! {
    LeaveGroupRequest<'a>: 0..=5, flexible 4..;

    /// Who leaves.
    struct LeaveGroupRequest<'a> {
        group_id: &'a str,
        /// Up to version 2; `members` after.
        member_id: &'a str [..=2],
        members: Vec<MemberIdentity<'a>> [3..],
    }

    /// A member by its id, or a static member by its instance id with an empty id.
    struct MemberIdentity<'a> {
        member_id: &'a str [3..],
        group_instance_id: Option<&'a str> [3..],
        reason: Option<&'a str> [5..],
    }
}

message! {
    LeaveGroupResponse<'a>: 0..=5, flexible 4..;

    /// Who left.
    struct LeaveGroupResponse<'a> {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode,
        members: Vec<MemberResponse<'a>> [3..],
    }

    /// What became of one member.
    struct MemberResponse<'a> {
        member_id: &'a str [3..],
        group_instance_id: Option<&'a str> [3..],
        error_code: ErrorCode [3..],
    }
}
