//! The settings that a shard obeys.

use crate::config::{BrokerConfig, ConsumerGroupConfig, GroupConfig, OffsetsConfig};
use crate::planted::Planted;

/// What a shard is told of the configuration; none of it changes while the process lives.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    /// Classic groups.
    pub groups: GroupConfig,
    /// Consumer groups (KIP-848).
    pub consumer_groups: ConsumerGroupConfig,
    /// Committed offsets.
    pub offsets: OffsetsConfig,
    /// Groups that one shard holds at most.
    pub max_groups: usize,
    /// The bugs that are planted: none but in the simulator's measurements.
    pub planted: Planted,
}

impl GroupSettings {
    /// Those of a broker.
    #[must_use]
    pub fn of(config: &BrokerConfig) -> Self {
        let coordinators = &config.coordinators;
        Self {
            groups: coordinators.groups.clone(),
            consumer_groups: coordinators.consumer_groups.clone(),
            offsets: coordinators.offsets.clone(),
            max_groups: config.limits.max_groups,
            planted: Planted::default(),
        }
    }
}
