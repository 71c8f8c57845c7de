//! The partitions that this broker holds replicas of, found by log, by name and by topic.
//!
//! What a topic's configuration says is worked out once, when it changes, and kept beside each replica: the hot
//! path reads plain fields.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{CompressionType, TimestampType, TopicConfig};
use crate::log::{CompactionRules, LogConfig, LogId};
use crate::planted::{Plant, Planted};
use crate::record::{self, Compression, TopicPolicy};
use crate::replication::{Leader, Replica};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

/// Every replica here.
#[derive(Clone, Debug, Default)]
pub struct Replicas {
    by_log: BTreeMap<LogId, Hosted>,
    by_name: BTreeMap<Arc<str>, BTreeMap<i32, LogId>>,
}

/// A replica, and what its topic's configuration means for it.
#[derive(Clone, Debug)]
struct Hosted {
    replica: Replica,
    policy: TopicPolicy,
    min_insync_replicas: usize,
    fault: Option<Fault>,
}

/// Why this process does not use a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is damaged, which was found in this epoch of its partition.
    Damaged(LeaderEpoch),
    /// It may be whole: the next process sees.
    Unusable,
}

impl Replicas {
    /// Takes a replica in.
    pub fn insert(&mut self, replica: Replica, config: &TopicConfig) {
        let TopicPartition { topic, partition } = replica.partition.clone();
        self.by_name.entry(topic).or_default().insert(partition, replica.log);
        let hosted =
            Hosted { policy: policy(config), min_insync_replicas: min_insync_replicas(config), fault: None, replica };
        self.by_log.insert(hosted.replica.log, hosted);
    }

    /// Gives a replica up.
    pub fn remove(&mut self, log: LogId) -> Option<Replica> {
        let replica = self.by_log.remove(&log)?.replica;
        let TopicPartition { topic, partition } = &replica.partition;
        if let Some(partitions) = self.by_name.get_mut(topic) {
            partitions.remove(partition);
            if partitions.is_empty() {
                self.by_name.remove(topic);
            }
        }
        Some(replica)
    }

    /// The log of a partition, by the topic's name.
    #[must_use]
    pub fn log(&self, topic: &str, partition: i32) -> Option<LogId> {
        self.by_name.get(topic)?.get(&partition).copied()
    }

    /// The replica whose log it is.
    #[must_use]
    pub fn get(&self, log: LogId) -> Option<&Replica> {
        self.by_log.get(&log).map(|hosted| &hosted.replica)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, log: LogId) -> Option<&mut Replica> {
        self.by_log.get_mut(&log).map(|hosted| &mut hosted.replica)
    }

    /// Every replica, by log.
    pub fn iter(&self) -> impl Iterator<Item = &Replica> {
        self.by_log.values().map(|hosted| &hosted.replica)
    }

    /// What the topic of this log takes.
    #[must_use]
    pub fn policy(&self, log: LogId) -> Option<&TopicPolicy> {
        self.by_log.get(&log).map(|hosted| &hosted.policy)
    }

    /// Below which every record is on every in-sync replica; 0 for a log that is no replica's.
    #[must_use]
    pub fn high_watermark(&self, log: LogId) -> Offset {
        self.by_log.get(&log).map_or(Offset::ZERO, |hosted| hosted.replica.high_watermark())
    }

    /// Something rose that a log's high watermark depends on: where that moves to, if it does.
    #[must_use]
    pub fn advance(&mut self, log: LogId, planted: Planted) -> Option<Offset> {
        let hosted = self.by_log.get_mut(&log)?;
        let alone = planted.has(Plant::Isr01) || planted.has(Plant::Isr08);
        let needed = if alone { 1 } else { hosted.min_insync_replicas };
        hosted.replica.advance(needed)
    }

    /// Whether acks=all can be promised: enough replicas are in sync.
    #[must_use]
    pub fn has_enough_in_sync(&self, log: LogId, planted: Planted) -> bool {
        let Some(hosted) = self.by_log.get(&log) else { return false };
        let state = hosted.replica.leader().map(Leader::state);
        let alone = planted.has(Plant::Isr01);
        state.is_some_and(|it| alone || it.isr.len() >= hosted.min_insync_replicas.min(it.replicas.len()))
    }

    /// The log is damaged, which was found in this epoch of its partition. This process uses it no more.
    pub fn mark_damaged(&mut self, log: LogId, epoch: LeaderEpoch) {
        self.mark(log, Fault::Damaged(epoch));
    }

    /// This process does not use the log, though it may be whole.
    pub fn mark_unusable(&mut self, log: LogId) {
        self.mark(log, Fault::Unusable);
    }

    fn mark(&mut self, log: LogId, fault: Fault) {
        if let Some(hosted) = self.by_log.get_mut(&log) {
            hosted.fault = Some(fault);
        }
    }

    /// The epoch in which the log was found damaged.
    #[must_use]
    pub fn damaged_since(&self, log: LogId) -> Option<LeaderEpoch> {
        match self.by_log.get(&log)?.fault? {
            Fault::Damaged(epoch) => Some(epoch),
            Fault::Unusable => None,
        }
    }

    /// Whether it was marked so, or damaged.
    #[must_use]
    pub fn is_unusable(&self, log: LogId) -> bool {
        self.by_log.get(&log).is_some_and(|hosted| hosted.fault.is_some())
    }

    /// A topic's configuration changed.
    pub fn set_config(&mut self, log: LogId, config: &TopicConfig) {
        if let Some(hosted) = self.by_log.get_mut(&log) {
            hosted.policy = policy(config);
            hosted.min_insync_replicas = min_insync_replicas(config);
        }
    }
}

/// What a topic's configuration says of the batches that it takes.
fn policy(config: &TopicConfig) -> TopicPolicy {
    let append = &config.append;
    TopicPolicy {
        max_message_bytes: append.max_message_bytes,
        compacted: config.retention.cleanup_policy.compact,
        timestamp_type: match append.timestamp_type {
            TimestampType::CreateTime => record::TimestampType::CreateTime,
            TimestampType::LogAppendTime => record::TimestampType::LogAppendTime,
        },
        before_max_ms: i64::try_from(append.timestamp_before_max_ms).unwrap_or(i64::MAX),
        after_max_ms: i64::try_from(append.timestamp_after_max_ms).unwrap_or(i64::MAX),
        compression: match append.compression {
            CompressionType::Producer => None,
            CompressionType::Uncompressed => Some(Compression::None),
            CompressionType::Gzip => Some(Compression::Gzip(append.gzip_level)),
            CompressionType::Snappy => Some(Compression::Snappy),
            CompressionType::Lz4 => Some(Compression::Lz4(append.lz4_level)),
            CompressionType::Zstd => Some(Compression::Zstd(append.zstd_level)),
        },
    }
}

/// What a topic's configuration says of its logs.
#[must_use]
pub fn log_config(config: &TopicConfig) -> LogConfig {
    let bound = |value: Option<u64>| value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX));
    LogConfig {
        segment_bytes: config.segment.bytes(),
        segment_ms: i64::try_from(config.segment.max_ms).unwrap_or(i64::MAX),
        index_interval_bytes: config.segment.index_interval_bytes,
        index_size_max_bytes: config.segment.index_max_bytes,
        retention_ms: bound(config.retention.retention_ms),
        retention_bytes: bound(config.retention.retention_bytes),
        file_delete_delay: std::time::Duration::from_millis(config.retention.file_delete_delay_ms),
        delete: config.retention.cleanup_policy.delete,
        compact: config.retention.cleanup_policy.compact,
        compaction: compaction_rules(config),
    }
}

fn compaction_rules(config: &TopicConfig) -> CompactionRules {
    let ms = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    CompactionRules {
        min_dirty_ratio: config.compaction.min_cleanable_dirty_ratio,
        min_lag_ms: ms(config.compaction.min_lag_ms),
        max_lag_ms: ms(config.compaction.max_lag_ms),
        delete_retention_ms: ms(config.compaction.delete_retention_ms),
    }
}

fn min_insync_replicas(config: &TopicConfig) -> usize {
    usize::try_from(config.safety.min_insync_replicas).unwrap_or(usize::MAX)
}
