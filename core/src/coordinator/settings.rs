//! The settings that a shard obeys. What a group was given counts as far as the broker's bounds allow: those may have
//! been moved since.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{BrokerConfig, ConsumerGroupConfig, GroupConfig, OffsetsConfig, Overrides};
use crate::planted::Planted;

/// What a shard is told of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    /// Classic groups.
    pub groups: GroupConfig,
    /// Consumer groups (KIP-848).
    pub consumer_groups: ConsumerGroupConfig,
    /// What single consumer groups were given, by their names.
    pub overrides: BTreeMap<Arc<str>, Arc<Overrides>>,
    /// Committed offsets.
    pub offsets: OffsetsConfig,
    /// Groups that one shard holds at most.
    pub max_groups: usize,
    /// The most bytes of keys and values that one batch may have.
    pub max_batch_bytes: usize,
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
            overrides: BTreeMap::new(),
            offsets: coordinators.offsets.clone(),
            max_groups: config.limits.max_groups,
            max_batch_bytes: usize::try_from(config.limits.batch_max_inflated_bytes).unwrap_or(usize::MAX),
            planted: Planted::default(),
        }
    }

    /// How long a member of a consumer group may say nothing, in milliseconds.
    #[must_use]
    pub fn session_timeout_of(&self, group: &str) -> u64 {
        let all = &self.consumer_groups;
        let own = self.overrides.get(group).map_or(all.session_timeout_ms, |it| all.session_timeout_of(it));
        own.clamp(all.min_session_timeout_ms, all.max_session_timeout_ms)
    }

    /// How often members of a consumer group report, in milliseconds.
    #[must_use]
    pub fn heartbeat_interval_of(&self, group: &str) -> u64 {
        let all = &self.consumer_groups;
        let own = self.overrides.get(group).map_or(all.heartbeat_interval_ms, |it| all.heartbeat_interval_of(it));
        own.clamp(all.min_heartbeat_interval_ms, all.max_heartbeat_interval_ms)
    }

    /// The least time between two assignments of a consumer group, in milliseconds.
    #[must_use]
    pub fn assignment_interval_of(&self, group: &str) -> u64 {
        let all = &self.consumer_groups;
        let own = self.overrides.get(group).map_or(all.assignment_interval_ms, |it| all.assignment_interval_of(it));
        own.clamp(all.min_assignment_interval_ms, all.max_assignment_interval_ms)
    }
}
