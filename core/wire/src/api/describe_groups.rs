//! DescribeGroups (key 15): classic groups and their members.
//!
//! Version 4 has static members (KIP-345), 6 an error for a group that there is not (KIP-1043).

use crate::ErrorCode;
use crate::message::message;

message! {
    DescribeGroupsRequest<'a>: 0..=6, flexible 5..;

    /// Which groups.
    struct DescribeGroupsRequest<'a> {
        groups: Vec<&'a str>,
        include_authorized_operations: bool [3..],
    }
}

message! {
    DescribeGroupsResponse<'a>: 0..=6, flexible 5..;

    /// The groups.
    struct DescribeGroupsResponse<'a> {
        throttle_time_ms: i32 [1..],
        groups: Vec<DescribedGroup<'a>>,
    }

    /// One group.
    struct DescribedGroup<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str> [6..],
        group_id: &'a str,
        group_state: &'a str,
        protocol_type: &'a str,
        /// The protocol that was chosen.
        protocol_data: &'a str,
        members: Vec<DescribedGroupMember<'a>>,
        /// A bit field, or `i32::MIN` if it was not asked for (KIP-430).
        authorized_operations: i32 [3..] = i32::MIN,
    }

    /// One member.
    struct DescribedGroupMember<'a> {
        member_id: &'a str,
        group_instance_id: Option<&'a str> [4..],
        client_id: &'a str,
        client_host: &'a str,
        member_metadata: &'a [u8],
        member_assignment: &'a [u8],
    }
}
