//! DeleteGroups (key 42): removes groups without members, and their offsets (KIP-229).

use crate::ErrorCode;
use crate::message::message;

message! {
    DeleteGroupsRequest<'a>: 0..=2, flexible 2..;

    /// Which groups.
    struct DeleteGroupsRequest<'a> {
        groups_names: Vec<&'a str>,
    }
}

message! {
    DeleteGroupsResponse<'a>: 0..=2, flexible 2..;

    /// What became of them.
    struct DeleteGroupsResponse<'a> {
        throttle_time_ms: i32,
        results: Vec<DeletableGroupResult<'a>>,
    }

    /// What became of one group.
    struct DeletableGroupResult<'a> {
        group_id: &'a str,
        error_code: ErrorCode,
    }
}
