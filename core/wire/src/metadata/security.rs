//! Access control lists, SCRAM credentials and delegation tokens.

use crate::Uuid;
use crate::message::message;

message! {
    AccessControlEntryRecord<'a>: 0..=0, flexible 0..;

    /// An access control entry was added.
    struct AccessControlEntryRecord<'a> {
        id: Uuid,
        resource_type: i8,
        resource_name: &'a str,
        pattern_type: i8,
        principal: &'a str,
        host: &'a str,
        operation: i8,
        permission_type: i8,
    }
}

message! {
    RemoveAccessControlEntryRecord: 0..=0, flexible 0..;

    /// An access control entry was removed.
    struct RemoveAccessControlEntryRecord {
        id: Uuid,
    }
}

message! {
    UserScramCredentialRecord<'a>: 0..=0, flexible 0..;

    /// A SCRAM credential was set (KIP-900).
    struct UserScramCredentialRecord<'a> {
        name: &'a str,
        mechanism: i8,
        salt: &'a [u8],
        stored_key: &'a [u8],
        server_key: &'a [u8],
        iterations: i32,
    }
}

message! {
    RemoveUserScramCredentialRecord<'a>: 0..=0, flexible 0..;

    /// A SCRAM credential was removed.
    struct RemoveUserScramCredentialRecord<'a> {
        name: &'a str,
        mechanism: i8,
    }
}

message! {
    DelegationTokenRecord<'a>: 0..=0, flexible 0..;

    /// A delegation token was created or renewed (KIP-900).
    struct DelegationTokenRecord<'a> {
        owner: &'a str,
        requester: &'a str,
        renewers: Vec<&'a str>,
        issue_timestamp: i64,
        max_timestamp: i64,
        expiration_timestamp: i64,
        token_id: &'a str,
    }
}

message! {
    RemoveDelegationTokenRecord<'a>: 0..=0, flexible 0..;

    /// A delegation token was removed.
    struct RemoveDelegationTokenRecord<'a> {
        token_id: &'a str,
    }
}
