//! The topics that brokers keep for themselves.

use ottla_wire::Uuid;

use super::NewTopic;
use crate::config::BrokerConfig;

/// The metadata log, which is no topic to clients.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// Kafka's fixed id of it.
pub const METADATA_TOPIC_ID: Uuid = Uuid(1);

/// Where groups and their offsets are kept.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Whether a topic is the brokers' own: clients read it and do not write to it.
#[must_use]
pub fn is_internal(topic: &str) -> bool {
    matches!(topic, OFFSETS_TOPIC | "__transaction_state" | "__share_group_state")
}

/// [`OFFSETS_TOPIC`], to be made.
#[must_use]
pub fn offsets_topic(config: &BrokerConfig) -> NewTopic {
    let offsets = &config.coordinators.offsets;
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", offsets.segment_bytes.to_string()),
    ];
    NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        partitions: i32::try_from(offsets.num_partitions).unwrap_or(i32::MAX),
        replication_factor: offsets.replication_factor,
        assignments: Vec::new(),
        configs: configs.map(|(key, value)| (key.to_owned(), Some(value))).into(),
    }
}
