//! JoinGroup (key 11): a member enters a group or its next generation; the answer comes when all have.
//!
//! Version 4 makes a new member ask again with the id that it is given (KIP-394), 5 has static members (KIP-345),
//! 8 a reason (KIP-800), 9 lets a leader skip the assignment (KIP-814).

use crate::ErrorCode;
use crate::message::message;

message! {
    JoinGroupRequest<'a>: 0..=9, flexible 6..;

    /// The member that joins.
    struct JoinGroupRequest<'a> {
        group_id: &'a str,
        session_timeout_ms: i32,
        /// How long others wait for this member in a rebalance; in version 0 the session's timeout.
        rebalance_timeout_ms: i32 [1..] = -1,
        /// Empty for a new member.
        member_id: &'a str,
        group_instance_id: Option<&'a str> [5..],
        protocol_type: &'a str,
        /// The protocols that it can follow, the best first.
        protocols: Vec<JoinGroupRequestProtocol<'a>>,
        reason: Option<&'a str> [8..],
    }

    /// A protocol that a member can follow.
    struct JoinGroupRequestProtocol<'a> {
        name: &'a str,
        metadata: &'a [u8],
    }
}

message! {
    JoinGroupResponse<'a>: 0..=9, flexible 6..;

    /// The generation that the member is in.
    struct JoinGroupResponse<'a> {
        throttle_time_ms: i32 [2..],
        error_code: ErrorCode,
        generation_id: i32 = -1,
        protocol_type: Option<&'a str> [7..],
        protocol_name: Option<&'a str> [0.., null 7..],
        leader: &'a str,
        /// The leader keeps the present assignment and only watches the topics.
        skip_assignment: bool [9..],
        member_id: &'a str,
        /// Every member, for the leader; empty for others.
        members: Vec<JoinGroupResponseMember<'a>>,
    }

    /// A member and its metadata of the chosen protocol.
    struct JoinGroupResponseMember<'a> {
        member_id: &'a str,
        group_instance_id: Option<&'a str> [5..],
        metadata: &'a [u8],
    }
}
