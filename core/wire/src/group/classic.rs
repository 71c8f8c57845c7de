//! Classic groups: a generation and its members in one record.

use crate::message::{NEVER, message};

message! {
    GroupMetadataKey<'a>: 0..=0, flexible NEVER;

    /// A classic group.
    struct GroupMetadataKey<'a> {
        group: &'a str,
    }
}

message! {
    GroupMetadataValue<'a>: 0..=4, flexible 4..;

    /// Its generation.
    struct GroupMetadataValue<'a> {
        protocol_type: &'a str,
        generation: i32,
        protocol: Option<&'a str>,
        leader: Option<&'a str>,
        current_state_timestamp: i64 [2..] = -1,
        members: Vec<MemberMetadata<'a>>,
    }

    /// A member of it.
    struct MemberMetadata<'a> {
        member_id: &'a str,
        group_instance_id: Option<&'a str> [3..],
        client_id: &'a str,
        client_host: &'a str,
        rebalance_timeout: i32 [1..] = -1,
        session_timeout: i32,
        subscription: &'a [u8],
        assignment: &'a [u8],
    }
}
