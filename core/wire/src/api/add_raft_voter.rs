//! AddRaftVoter (key 80): a node becomes a voter of the metadata log (KIP-853, KIP-1186).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    AddRaftVoterRequest<'a>: 0..=1, flexible 0..;

    /// Who is to be a voter.
    struct AddRaftVoterRequest<'a> {
        cluster_id: Option<&'a str> = Some(""),
        timeout_ms: i32,
        voter_id: i32,
        voter_directory_id: Uuid,
        listeners: Vec<Listener<'a>>,
        /// Whether the answer waits until the new voters are committed; who joins by itself does not wait (KIP-1186).
        ack_when_committed: bool [1..] = true,
    }

    /// An address of the voter.
    struct Listener<'a> {
        name: &'a str,
        host: &'a str,
        port: u16,
    }
}

message! {
    AddRaftVoterResponse<'a>: 0..=1, flexible 0..;

    /// Whether it is one.
    struct AddRaftVoterResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str> = Some(""),
    }
}
