//! What members and the administrator both ask of a group's coordinator, and the question who it is.

use ottla_wire::ErrorCode;
use ottla_wire::api::Request;
use ottla_wire::api::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};

/// The last version of OffsetFetch and OffsetCommit that names topics; later ones have their ids.
pub(super) const LAST_WITH_NAMES: i16 = 9;

/// The version to speak at most, if all topics have ids, or not.
pub(super) const fn cap(all_have_ids: bool) -> i16 {
    if all_have_ids { i16::MAX } else { LAST_WITH_NAMES }
}

/// The key type of groups.
const GROUP: i8 = 0;

/// Any broker can be asked.
pub(super) fn find_coordinator(group: &str) -> Request<'_> {
    FindCoordinatorRequest { key: group, key_type: GROUP, coordinator_keys: vec![group] }.into()
}

/// What the broker that was asked says.
pub(super) struct Found<'r> {
    pub(super) error: ErrorCode,
    pub(super) message: Option<&'r str>,
    /// The coordinator's id, host and port.
    pub(super) endpoint: (i32, &'r str, i32),
}

impl<'r> Found<'r> {
    /// From version 4 on the answer is a list, of what is asked here one.
    pub(super) fn new(response: &'r FindCoordinatorResponse<'_>) -> Self {
        match response.coordinators.first() {
            Some(it) => {
                Self { error: it.error_code, message: it.error_message, endpoint: (it.node_id, it.host, it.port) }
            }
            None => Self {
                error: response.error_code,
                message: response.error_message,
                endpoint: (response.node_id, response.host, response.port),
            },
        }
    }
}
