//! RemoveRaftVoter (key 81): a voter of the metadata log becomes an observer (KIP-853).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    RemoveRaftVoterRequest<'a>: 0..=0, flexible 0..;

    /// Who is to be a voter no more.
    struct RemoveRaftVoterRequest<'a> {
        cluster_id: Option<&'a str> = Some(""),
        voter_id: i32,
        voter_directory_id: Uuid,
    }
}

message! {
    RemoveRaftVoterResponse<'a>: 0..=0, flexible 0..;

    /// Whether it is one no more.
    struct RemoveRaftVoterResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str> = Some(""),
    }
}
