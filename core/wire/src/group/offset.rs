//! Committed offsets.

use crate::Uuid;
use crate::message::{NEVER, message};

message! {
    LegacyOffsetCommitKey<'a>: 0..=0, flexible NEVER;

    /// A group's position in one partition, as Kafka wrote it before 0.9.
    struct LegacyOffsetCommitKey<'a> {
        group: &'a str,
        topic: &'a str,
        partition: i32,
    }
}

message! {
    LegacyOffsetCommitValue<'a>: 0..=0, flexible NEVER;

    /// The position.
    struct LegacyOffsetCommitValue<'a> {
        offset: i64,
        metadata: &'a str,
        commit_timestamp: i64,
    }
}

message! {
    OffsetCommitKey<'a>: 0..=0, flexible NEVER;

    /// A group's position in one partition.
    struct OffsetCommitKey<'a> {
        group: &'a str,
        topic: &'a str,
        partition: i32,
    }
}

message! {
    OffsetCommitValue<'a>: 0..=4, flexible 4..;

    /// The position.
    struct OffsetCommitValue<'a> {
        offset: i64,
        leader_epoch: i32 [3..] = -1,
        metadata: &'a str,
        commit_timestamp: i64,
        /// When it expires; -1 for the broker's time. Version 1 is only of what a client up to version 4 gave one.
        expire_timestamp: i64 [1..=1] = -1,
    } tagged {
        0 topic_id: Uuid [4..],
    }
}
