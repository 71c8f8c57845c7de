//! UpdateRaftVoter (key 82): a voter of the metadata log says where it is reached now, and what it supports (KIP-853).

use crate::message::message;
use crate::{ErrorCode, Uuid};

message! {
    UpdateRaftVoterRequest<'a>: 0..=0, flexible 0..;

    /// How the voter is.
    struct UpdateRaftVoterRequest<'a> {
        cluster_id: Option<&'a str> = Some(""),
        current_leader_epoch: i32,
        voter_id: i32,
        voter_directory_id: Uuid,
        listeners: Vec<Listener<'a>>,
        k_raft_version_feature: KRaftVersionFeature,
    }

    /// An address of the voter.
    struct Listener<'a> {
        name: &'a str,
        host: &'a str,
        port: u16,
    }

    /// The levels of `kraft.version` that it supports.
    struct KRaftVersionFeature {
        min_supported_version: i16,
        max_supported_version: i16,
    }
}

message! {
    UpdateRaftVoterResponse<'a>: 0..=0, flexible 0..;

    /// Whether the quorum knows it.
    struct UpdateRaftVoterResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
    } tagged {
        0 current_leader: CurrentLeader<'a> [0..],
    }

    /// Who leads.
    struct CurrentLeader<'a> {
        leader_id: i32 = -1,
        leader_epoch: i32 = -1,
        host: &'a str,
        port: i32,
    }
}
