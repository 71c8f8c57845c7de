//! The effective settings of one topic: its overrides over the broker's dynamic and static settings over the
//! defaults, by one pure function.

use std::collections::BTreeMap;

use super::group::groups;
use super::layers::{Layers, Overrides};
use super::table::{Key, Scope, find, keys};
use super::words::{CleanupPolicy, CompressionType, TimestampType};

/// All effective settings of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// When segments are closed, and how they are indexed.
    pub segment: SegmentConfig,
    /// What is kept.
    pub retention: RetentionConfig,
    /// What compaction may remove.
    pub compaction: CompactionConfig,
    /// What may be appended, and how it is stored.
    pub append: AppendConfig,
    /// What acknowledged means.
    pub safety: ReplicaSafety,
}

/// The texts that a topic has which sets nothing itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    texts: BTreeMap<&'static str, String>,
}

groups! {
    /// When segments are closed, and how they are indexed.
    pub struct SegmentConfig {
        max_bytes: u32 = "segment.bytes",
        max_bytes_internal: Option<u32> = "internal.segment.bytes",
        max_ms: u64 = "segment.ms",
        jitter_ms: u64 = "segment.jitter.ms",
        index_max_bytes: u32 = "segment.index.bytes",
        index_interval_bytes: u32 = "index.interval.bytes",
    }

    /// What is kept.
    pub struct RetentionConfig {
        cleanup_policy: CleanupPolicy = "cleanup.policy",
        retention_ms: Option<u64> = "retention.ms",
        retention_bytes: Option<u64> = "retention.bytes",
        file_delete_delay_ms: u64 = "file.delete.delay.ms",
    }

    /// What compaction may remove.
    pub struct CompactionConfig {
        min_cleanable_dirty_ratio: f64 = "min.cleanable.dirty.ratio",
        min_lag_ms: u64 = "min.compaction.lag.ms",
        max_lag_ms: u64 = "max.compaction.lag.ms",
        delete_retention_ms: u64 = "delete.retention.ms",
    }

    /// What may be appended, and how it is stored.
    pub struct AppendConfig {
        max_message_bytes: u32 = "max.message.bytes",
        compression: CompressionType = "compression.type",
        gzip_level: i32 = "compression.gzip.level",
        lz4_level: i32 = "compression.lz4.level",
        zstd_level: i32 = "compression.zstd.level",
        timestamp_type: TimestampType = "message.timestamp.type",
        timestamp_before_max_ms: u64 = "message.timestamp.before.max.ms",
        timestamp_after_max_ms: u64 = "message.timestamp.after.max.ms",
    }

    /// What acknowledged means.
    pub struct ReplicaSafety {
        min_insync_replicas: u32 = "min.insync.replicas",
        unclean_leader_election: bool = "unclean.leader.election.enable",
    }
}

impl TopicConfig {
    /// The effective values of `overrides` over `defaults`. An override that is invalid counts as absent: the
    /// metadata may hold what another version found valid.
    #[must_use]
    pub fn effective(overrides: &Overrides, defaults: &TopicDefaults) -> Self {
        let text_of = |name: &'static str| {
            let key = find(Scope::Topic, name)?;
            let valid = |text: &&String| key.check(text).is_ok();
            overrides.get(name).filter(valid).map(String::as_str).or_else(|| defaults.text(name))
        };
        let read = || {
            Ok::<_, super::ConfigError>(Self {
                segment: SegmentConfig::read(&text_of)?,
                retention: RetentionConfig::read(&text_of)?,
                compaction: CompactionConfig::read(&text_of)?,
                append: AppendConfig::read(&text_of)?,
                safety: ReplicaSafety::read(&text_of)?,
            })
        };
        read().expect("every text was checked against the table, whose types are the fields'")
    }
}

impl SegmentConfig {
    /// The size at which a segment is closed.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.max_bytes_internal.unwrap_or(self.max_bytes)
    }
}

impl TopicDefaults {
    /// What a broker with these settings gives its topics.
    #[must_use]
    pub fn of(layers: &Layers) -> Self {
        let texts = keys(Scope::Topic).iter().filter_map(|key| Some((key.name, inherited(key, layers)?)));
        Self { texts: texts.collect() }
    }

    /// The text of a topic's setting that it does not set itself.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }
}

impl Default for TopicDefaults {
    /// The table's defaults.
    fn default() -> Self {
        Self::of(&Layers::default())
    }
}

/// What `key` has if it is not set itself: the first of its broker settings that is given, in its own unit;
/// else its default.
pub(super) fn inherited(key: &Key, layers: &Layers) -> Option<String> {
    let given = key.synonyms.iter().find_map(|(name, factor)| Some(scaled(layers.text(name)?, *factor)));
    given.or_else(|| key.default.map(str::to_owned))
}

/// `text` times `factor`; what is negative stays "no bound", -1.
fn scaled(text: &str, factor: i64) -> String {
    match text.trim().parse::<i64>() {
        Ok(number) if factor != 1 => if number < 0 { -1 } else { number.saturating_mul(factor) }.to_string(),
        Ok(_) | Err(_) => text.to_owned(),
    }
}
