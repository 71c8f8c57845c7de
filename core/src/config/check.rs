//! What is checked when settings are given or changed, in Kafka's words.

use std::ops::RangeInclusive;

use super::broker::BrokerConfig;
use super::error::ConfigError;
use super::layers::{Layers, Overrides};
use super::table::{Dynamic, Scope, find};
use super::topic::TopicDefaults;
use super::unknown::{is_foreign, unknown_key};

/// Whether a topic may have these overrides: the whole set, as it is after the change. Kafka answers a failure
/// with INVALID_CONFIG.
pub fn check_topic_overrides(overrides: &Overrides, defaults: &TopicDefaults) -> Result<(), ConfigError> {
    check_each(Scope::Topic, overrides)?;
    let number = |name: &str| {
        let text = overrides.get(name).map(String::as_str).or_else(|| defaults.text(name));
        text.and_then(|text| text.trim().parse::<i64>().ok())
    };
    let (min, max) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let what =
            format!("conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})");
        return Err(ConfigError::new("min.compaction.lag.ms", what));
    }
    Ok(())
}

/// Whether a group may have these overrides: the whole set, as it is after the change. `broker` has the least
/// and the greatest values that a group may set.
pub fn check_group_overrides(overrides: &Overrides, broker: &BrokerConfig) -> Result<(), ConfigError> {
    check_each(Scope::Group, overrides)?;
    let groups = &broker.coordinators.consumer_groups;
    let (session, heartbeat) = (groups.session_timeout_of(overrides), groups.heartbeat_interval_of(overrides));
    let session_range = groups.min_session_timeout_ms..=groups.max_session_timeout_ms;
    let heartbeat_range = groups.min_heartbeat_interval_ms..=groups.max_heartbeat_interval_ms;
    if overrides.contains_key("consumer.session.timeout.ms") {
        check_within("consumer.session.timeout.ms", session, &session_range, "group.consumer.*.session.timeout.ms")?;
    }
    if overrides.contains_key("consumer.heartbeat.interval.ms") {
        let (key, bounds) = ("consumer.heartbeat.interval.ms", "group.consumer.*.heartbeat.interval.ms");
        check_within(key, heartbeat, &heartbeat_range, bounds)?;
    }
    if overrides.contains_key("consumer.assignment.interval.ms") {
        let (key, bounds) = ("consumer.assignment.interval.ms", "group.consumer.*.assignment.interval.ms");
        let range = groups.min_assignment_interval_ms..=groups.max_assignment_interval_ms;
        check_within(key, groups.assignment_interval_of(overrides), &range, bounds)?;
    }
    require(
        session > heartbeat,
        "consumer.session.timeout.ms",
        "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms",
    )
}

/// Whether the dynamic settings of one broker, or with `for_cluster` of all, may become `after`.
///
/// `before` is what they are now: only what differs is checked, so that an old value never stands in the way.
/// `current` is the broker that judges; the result must fit together with its static settings. Kafka answers
/// a failure with INVALID_REQUEST.
pub fn check_broker_change(
    before: &Overrides,
    after: &Overrides,
    for_cluster: bool,
    current: &BrokerConfig,
) -> Result<(), ConfigError> {
    let changed = |name: &&String| before.get(*name) != after.get(*name);
    for name in before.keys().chain(after.keys()).filter(changed) {
        check_changeable(name, for_cluster)?;
        if let Some(value) = after.get(name) {
            find(Scope::Broker, name).map_or(Ok(()), |key| key.check(value))?;
        }
    }
    let layers = &current.layers;
    let (cluster, broker) = if for_cluster { (after, &layers.broker) } else { (&layers.cluster, after) };
    let fixed = layers.fixed.clone();
    BrokerConfig::new(Layers { fixed, cluster: cluster.clone(), broker: broker.clone() }).map(|_| ())
}

/// Whether the broker setting `name` may be changed at run time, at that level.
fn check_changeable(name: &str, for_cluster: bool) -> Result<(), ConfigError> {
    let Some(key) = find(Scope::Broker, name) else {
        // Kafka stores what it does not know, for plug-ins; here it would never have an effect.
        return if is_foreign(name) { Ok(()) } else { Err(unknown_key(Scope::Broker, name)) };
    };
    match key.dynamic {
        Dynamic::PerBrokerOrCluster => Ok(()),
        Dynamic::PerBroker if !for_cluster => Ok(()),
        Dynamic::Cluster if for_cluster => Ok(()),
        Dynamic::Fixed => {
            let what = format!("Cannot update these configs dynamically: Set({name})");
            Err(ConfigError::new(name, what).with_hint("set it in the properties file and restart the broker"))
        }
        Dynamic::PerBroker => {
            let what = format!("Cannot update these configs at default cluster level: Set({name})");
            Err(ConfigError::new(name, what).with_hint("set it for each broker (--entity-name ID)"))
        }
        Dynamic::Cluster => {
            let what = format!("Broker-level {name} cannot be altered");
            Err(ConfigError::new(name, what).with_hint("set it for the whole cluster (--entity-default)"))
        }
    }
}

/// Takes what is invalid out of dynamic settings, and says what that was.
pub(super) fn drop_invalid(overrides: &mut Overrides) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    overrides.retain(|name, value| match find(Scope::Broker, name).map_or(Ok(()), |key| key.check(value)) {
        Ok(()) => true,
        Err(error) => {
            errors.push(error);
            false
        }
    });
    errors
}

/// Whether settings that are valid one by one fit together.
pub(super) fn check_together(config: &BrokerConfig) -> Result<(), ConfigError> {
    check_node(config)?;
    check_times(config)?;
    let consumer_groups = &config.coordinators.consumer_groups;
    let (session, heartbeat) = (consumer_groups.session_timeout_ms, consumer_groups.heartbeat_interval_ms);
    let session_range = consumer_groups.min_session_timeout_ms..=consumer_groups.max_session_timeout_ms;
    let heartbeat_range = consumer_groups.min_heartbeat_interval_ms..=consumer_groups.max_heartbeat_interval_ms;
    let (key, bounds) = ("group.consumer.session.timeout.ms", "group.consumer.*.session.timeout.ms");
    check_within(key, session, &session_range, bounds)?;
    let (key, bounds) = ("group.consumer.heartbeat.interval.ms", "group.consumer.*.heartbeat.interval.ms");
    check_within(key, heartbeat, &heartbeat_range, bounds)?;
    let range = consumer_groups.min_assignment_interval_ms..=consumer_groups.max_assignment_interval_ms;
    let (key, bounds) = ("group.consumer.assignment.interval.ms", "group.consumer.*.assignment.interval.ms");
    check_within(key, consumer_groups.assignment_interval_ms, &range, bounds)?;
    require(
        session > heartbeat,
        "group.consumer.session.timeout.ms",
        "group.consumer.session.timeout.ms must be greater than group.consumer.heartbeat.interval.ms",
    )?;
    require(
        config.coordinators.groups.protocols.iter().any(|protocol| protocol == "classic"),
        "group.coordinator.rebalance.protocols",
        "Disabling the 'classic' protocol is not supported.",
    )?;
    require(
        !consumer_groups.assignors.is_empty(),
        "group.consumer.assignors",
        "Configuration 'group.consumer.assignors' must not be empty",
    )
}

fn check_node(config: &BrokerConfig) -> Result<(), ConfigError> {
    let older: i32 = config.layers.text("broker.id").and_then(|text| text.trim().parse().ok()).unwrap_or(-1);
    require(
        older == -1 || older == config.node.id,
        "broker.id",
        "You must set node.id to the same value as broker.id",
    )?;
    require(
        config.node.roles.controller || !config.quorum.bootstrap_servers.is_empty(),
        "controller.quorum.bootstrap.servers",
        "a broker needs controller.quorum.bootstrap.servers, HOST:PORT of at least one controller",
    )?;
    let empty = config.storage.log_dirs().iter().all(String::is_empty);
    require(!empty, "log.dirs", "Configuration 'log.dirs' must not be empty")
}

fn check_times(config: &BrokerConfig) -> Result<(), ConfigError> {
    require(
        config.replication.fetch_wait_max_ms <= config.replication.socket_timeout_ms,
        "replica.socket.timeout.ms",
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary \
         socket timeouts",
    )?;
    require(
        config.replication.fetch_wait_max_ms <= config.replication.lag_time_max_ms,
        "replica.lag.time.max.ms",
        "replica.fetch.wait.max.ms should always be at most replica.lag.time.max.ms to prevent frequent changes in ISR",
    )?;
    require(
        config.sessions.heartbeat_interval_ms.saturating_mul(2) <= config.sessions.session_timeout_ms,
        "broker.session.timeout.ms",
        "broker.session.timeout.ms must be at least twice broker.heartbeat.interval.ms",
    )?;
    let groups = &config.coordinators.groups;
    require(
        groups.min_session_timeout_ms <= groups.max_session_timeout_ms,
        "group.min.session.timeout.ms",
        "group.min.session.timeout.ms must be at most group.max.session.timeout.ms",
    )?;
    let retention = config.topic_defaults.text("retention.ms");
    require(
        retention != Some("0"),
        "log.retention.ms",
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
    )?;
    check_topic_overrides(&Overrides::new(), &config.topic_defaults)
}

fn check_each(scope: Scope, overrides: &Overrides) -> Result<(), ConfigError> {
    for (name, value) in overrides {
        find(scope, name).ok_or_else(|| unknown_key(scope, name))?.check(value)?;
    }
    Ok(())
}

fn check_within(key: &str, value: u64, range: &RangeInclusive<u64>, bounds: &str) -> Result<(), ConfigError> {
    let (least, most) = (range.start(), range.end());
    let what = format!("{key} must be between {least} and {most}, which {bounds} set");
    require(range.contains(&value), key, &what)
}

fn require(holds: bool, key: &str, what: &str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::new(key, what)) }
}
