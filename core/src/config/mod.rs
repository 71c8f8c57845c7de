//! Configuration: one flat table of settings, and everything that is derived from it.
//!
//! * The table ([`keys`], [`find`]): key, type, default, range, scope, how it changes at run time, whether it
//!   has an effect, one sentence. Names, types and defaults are Kafka 4.3's; ours begin with `ottla.`, and
//!   `flush` is the one promise of durability that the whole cluster shares.
//! * [`StaticConfig`]: what a file, the environment and flags say; [`Layers`]: that, beneath what the metadata
//!   says of the cluster and of this broker. A value comes from the topmost layer that has it.
//! * [`BrokerConfig`] and [`TopicConfig`]: the effective values, parsed once into plain structs by concern.
//!   Durations are milliseconds (`_ms`), sizes bytes; `None` is Kafka's -1 or null, "no bound".
//! * `check_*`: what Kafka checks when a setting is changed. `describe_*`: the rows of DescribeConfigs.
//!
//! Invariants: a value that is stored has passed [`Key::check`], so it parses; a setting that a struct reads
//! is marked [`Effect::Used`], the others say that they have no effect; nothing refused is ever stored.
//!
//! Absent on purpose: files and the environment (the node reads them), names of hosts (the node knows its
//! own), and secrets in any output.

mod broker;
mod broker_keys;
mod check;
mod describe;
mod error;
mod group;
mod kind;
mod layers;
mod listeners;
mod properties;
mod refusal;
mod setting;
mod table;
mod topic;
mod topic_keys;
mod unknown;
mod words;

#[cfg(test)]
mod tests;

pub use broker::{
    BrokerConfig, BrokerSessions, CleanerConfig, ConsumerGroupConfig, CoordinatorConfig, FetchConfig, GroupConfig,
    Limits, MetadataLogConfig, NetworkConfig, NodeConfig, OffsetsConfig, QuorumConfig, QuotaConfig, ReplicationConfig,
    StorageConfig, TopicCreation, TransactionConfig,
};
pub use check::{check_broker_change, check_group_overrides, check_topic_overrides};
pub use describe::{
    Described, Source, Synonym, describe_broker, describe_cluster_default, describe_group, describe_topic,
};
pub use error::ConfigError;
pub use kind::{Kind, Width};
pub use layers::{Layers, Origin, Overrides, StaticConfig};
pub use listeners::{Endpoint, Listener, Listeners};
pub use properties::{parse_properties, variable_to_key};
pub use table::{Dynamic, Effect, Key, Scope, find, keys};
pub use topic::{
    AppendConfig, CompactionConfig, ReplicaSafety, RetentionConfig, SegmentConfig, TopicConfig, TopicDefaults,
};
pub use unknown::{edit_distance, is_foreign};
pub use words::{CleanupPolicy, CompressionType, FlushMode, MigrationPolicy, ReplicaSelector, Roles, TimestampType};

use crate::planted::Planted;

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The effective values of this node's settings.
    pub broker: BrokerConfig,
    /// The cluster's id, if the operator gave one at the cluster's birth. Else the machine draws one.
    pub cluster_id: Option<String>,
    /// The operator's word that a new cluster begins on this node, if its directories are empty.
    pub new_cluster: bool,
    /// The bugs that are planted: none but in the simulator's measurements.
    pub planted: Planted,
}

impl Config {
    /// A machine of this configuration in an existing cluster, without planted bugs.
    #[must_use]
    pub fn new(broker: BrokerConfig) -> Self {
        Self { broker, cluster_id: None, new_cluster: false, planted: Planted::default() }
    }
}
