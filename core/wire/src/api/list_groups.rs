//! ListGroups (key 16): the groups that this broker coordinates.
//!
//! Version 4 filters by state (KIP-518), 5 by type (KIP-848).

use crate::ErrorCode;
use crate::message::message;

message! {
    ListGroupsRequest<'a>: 0..=5, flexible 3..;

    /// Which groups; an empty list means all.
    struct ListGroupsRequest<'a> {
        states_filter: Vec<&'a str> [4..],
        types_filter: Vec<&'a str> [5..],
    }
}

message! {
    ListGroupsResponse<'a>: 0..=5, flexible 3..;

    /// The groups.
    struct ListGroupsResponse<'a> {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode,
        groups: Vec<ListedGroup<'a>>,
    }

    /// One group.
    struct ListedGroup<'a> {
        group_id: &'a str,
        protocol_type: &'a str,
        group_state: &'a str [4..],
        group_type: &'a str [5..],
    }
}
