//! The values of settings whose valid texts are a few words.

use super::setting::{Setting, split_list};

/// Reads each of these words, in any case, as a variant.
macro_rules! words {
    ($($ty:ident { $($word:literal => $variant:ident,)* })*) => { $(
        impl Setting for $ty {
            fn read(text: Option<&str>) -> Option<Self> {
                let text = text?.trim();
                let words = [$(($word, Self::$variant)),*];
                words.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, variant)| variant)
            }
        }
    )* };
}

/// `flush`: which offsets count towards the high watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// Only what is synced: an acks=all record survives the loss of power of every node.
    Quorum,
    /// What is written, as in Kafka, with a sync soon after.
    Async,
}

/// `compression.type`: in what codec the broker stores batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip
    Gzip,
    /// snappy
    Snappy,
    /// lz4
    Lz4,
    /// zstd
    Zstd,
}

/// `message.timestamp.type`: whose clock a record's timestamp is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// `group.consumer.migration.policy`: which way a group may change its protocol while it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Neither way.
    Disabled,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    /// Both ways.
    Bidirectional,
}

/// `replica.selector.class`: where consumers are sent that name their rack (KIP-392).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaSelector {
    /// Nowhere: the leader serves them.
    Leader,
    /// To a replica in their rack.
    RackAware,
}

/// The names of Kafka's own classes; others would be Java to run.
pub(super) const REPLICA_SELECTORS: &[&str] =
    &["org.apache.kafka.common.replica.LeaderSelector", "org.apache.kafka.common.replica.RackAwareReplicaSelector"];

words! {
    FlushMode { "quorum" => Quorum, "async" => Async, }
    CompressionType {
        "producer" => Producer, "uncompressed" => Uncompressed, "gzip" => Gzip, "snappy" => Snappy, "lz4" => Lz4,
        "zstd" => Zstd,
    }
    TimestampType { "CreateTime" => CreateTime, "LogAppendTime" => LogAppendTime, }
    MigrationPolicy {
        "disabled" => Disabled, "upgrade" => Upgrade, "downgrade" => Downgrade, "bidirectional" => Bidirectional,
    }
}

/// `cleanup.policy`: what happens to old segments. Neither: they are kept for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// They are deleted by age and size.
    pub delete: bool,
    /// Of each key the newest record is kept.
    pub compact: bool,
}

/// `process.roles`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Serves clients.
    pub broker: bool,
    /// Takes part in the metadata quorum.
    pub controller: bool,
}

impl Setting for ReplicaSelector {
    /// Without a name it is the leader.
    fn read(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self::Leader) };
        let selectors = REPLICA_SELECTORS.iter().zip([Self::Leader, Self::RackAware]);
        selectors.into_iter().find(|(name, _)| **name == text.trim()).map(|(_, selector)| selector)
    }
}

impl Setting for CleanupPolicy {
    fn read(text: Option<&str>) -> Option<Self> {
        let has = |word: &str| split_list(text.unwrap_or_default()).any(|item| item == word);
        Some(Self { delete: has("delete"), compact: has("compact") })
    }
}

impl Setting for Roles {
    /// A node without a role is none.
    fn read(text: Option<&str>) -> Option<Self> {
        let has = |word: &str| split_list(text.unwrap_or_default()).any(|item| item == word);
        let roles = Self { broker: has("broker"), controller: has("controller") };
        (roles.broker || roles.controller).then_some(roles)
    }
}
