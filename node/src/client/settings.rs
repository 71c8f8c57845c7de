//! The configuration by the names of Kafka's own clients.

use ottla_core::client::assignor::Strategy;
use ottla_core::client::{Acks, AutoOffsetReset, ClientConfig, GroupConfig, GroupProtocol, IsolationLevel};
use ottla_core::config::edit_distance;
use ottla_core::record::{Codec, Compression};

/// Why a property cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no such property.
    #[error("there is no client property {key}{}", meant(.nearest.as_ref()))]
    Unknown {
        /// What was written.
        key: Box<str>,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// The value is none of the property's.
    #[error("{key}={value}: {wanted}")]
    Invalid {
        /// Of which property.
        key: Box<str>,
        /// What was written.
        value: Box<str>,
        /// What can be written.
        wanted: &'static str,
    },
    /// The properties contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// The properties that [`apply`] knows.
pub const KEYS: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.size",
    "bootstrap.servers",
    "buffer.memory",
    "check.crcs",
    "client.id",
    "client.rack",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "max.request.size",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "partition.assignment.strategy",
    "partitioner.ignore.keys",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
];

/// Sets properties by name, the later over the earlier. As with Kafka's producer, idempotence is switched off where
/// nobody asked for it and acks or requests in flight forbid it, and `delivery.timeout.ms` grows with what it covers.
///
/// # Errors
/// The first property that cannot be taken, or a contradiction.
pub fn apply<'a>(
    config: &mut ClientConfig,
    properties: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), SettingError> {
    let mut given = Vec::new();
    let mut levels = Vec::new();
    for (key, value) in properties {
        given.push(key);
        let invalid = |wanted| SettingError::Invalid { key: key.into(), value: value.into(), wanted };
        match key {
            "compression.gzip.level" => levels.push((Codec::Gzip, int(value, i32::MAX).map_err(invalid)?)),
            "compression.lz4.level" => levels.push((Codec::Lz4, int(value, i32::MAX).map_err(invalid)?)),
            "compression.zstd.level" => levels.push((Codec::Zstd, int(value, i32::MAX).map_err(invalid)?)),
            _ if set(config, key, value).map_err(invalid)? => {}
            _ => return Err(SettingError::Unknown { key: key.into(), nearest: nearest(key) }),
        }
    }
    let producer = &mut config.producer;
    let codec = producer.compression.codec();
    for (_, level) in levels.into_iter().filter(|(of, _)| *of == codec) {
        producer.compression = at_level(codec, level);
    }
    if !given.contains(&"enable.idempotence") {
        let fits = producer.acks == Acks::All && config.rpc.max_in_flight_requests_per_connection <= 5;
        producer.enable_idempotence &= fits;
    }
    if !given.contains(&"delivery.timeout.ms") {
        let least = producer.linger_ms.saturating_add(config.rpc.request_timeout_ms);
        producer.delivery_timeout_ms = producer.delivery_timeout_ms.max(least);
    }
    config.check().map_err(SettingError::Contradiction)
}

/// Whether there is such a property; if so it is set.
fn set(config: &mut ClientConfig, key: &str, value: &str) -> Result<bool, &'static str> {
    let ClientConfig { rpc, producer, reader, .. } = config;
    match key {
        "acks" => producer.acks = acks(value)?,
        "allow.auto.create.topics" => config.allow_auto_create_topics = boolean(value)?,
        "auto.offset.reset" => reader.auto_offset_reset = reset(value)?,
        "batch.size" => producer.batch_size = int(value, 1 << 30)?,
        "bootstrap.servers" => config.bootstrap_servers = super::config(value).bootstrap_servers,
        "buffer.memory" => producer.buffer_memory = int(value, usize::MAX)?,
        "check.crcs" => reader.check_crcs = boolean(value)?,
        "client.id" => rpc.client_id = value.into(),
        "client.rack" => reader.client_rack = value.into(),
        "compression.type" => producer.compression = codec(value)?,
        "default.api.timeout.ms" => config.default_api_timeout_ms = int(value, u64::MAX)?,
        "delivery.timeout.ms" => producer.delivery_timeout_ms = int(value, u64::MAX)?,
        "enable.idempotence" => producer.enable_idempotence = boolean(value)?,
        "fetch.max.bytes" => reader.fetch_max_bytes = int(value, i32::MAX)?,
        "fetch.max.wait.ms" => reader.fetch_max_wait_ms = int(value, i32::MAX)?,
        "fetch.min.bytes" => reader.fetch_min_bytes = int(value, i32::MAX)?,
        "isolation.level" => reader.isolation_level = isolation(value)?,
        "linger.ms" => producer.linger_ms = int(value, u64::MAX)?,
        "max.block.ms" => producer.max_block_ms = int(value, u64::MAX)?,
        "max.in.flight.requests.per.connection" => {
            rpc.max_in_flight_requests_per_connection = int(value, usize::MAX)?;
        }
        "max.partition.fetch.bytes" => reader.max_partition_fetch_bytes = int(value, i32::MAX)?,
        "max.poll.records" => reader.max_poll_records = int(value, usize::MAX)?,
        "max.request.size" => producer.max_request_size = int(value, 1 << 30)?,
        "metadata.max.age.ms" => config.metadata_max_age_ms = int(value, u64::MAX)?,
        "metadata.max.idle.ms" => config.metadata_max_idle_ms = int(value, u64::MAX)?,
        "partitioner.ignore.keys" => producer.partitioner_ignore_keys = boolean(value)?,
        "reconnect.backoff.max.ms" => rpc.reconnect_backoff_max_ms = int(value, u64::MAX)?,
        "reconnect.backoff.ms" => rpc.reconnect_backoff_ms = int(value, u64::MAX)?,
        "request.timeout.ms" => rpc.request_timeout_ms = int(value, u64::MAX)?,
        "retry.backoff.max.ms" => config.retry_backoff_max_ms = int(value, u64::MAX)?,
        "retry.backoff.ms" => config.retry_backoff_ms = int(value, u64::MAX)?,
        "socket.connection.setup.timeout.ms" => rpc.socket_connection_setup_timeout_ms = int(value, u64::MAX)?,
        _ => return set_group(&mut config.group, key, value),
    }
    Ok(true)
}

/// Those of groups.
fn set_group(group: &mut GroupConfig, key: &str, value: &str) -> Result<bool, &'static str> {
    match key {
        "auto.commit.interval.ms" => group.auto_commit_interval_ms = int(value, u64::MAX)?,
        "enable.auto.commit" => group.enable_auto_commit = boolean(value)?,
        "group.id" => group.group_id = Some(value.into()),
        "group.instance.id" => group.group_instance_id = Some(value.into()),
        "group.protocol" => group.group_protocol = protocol(value)?,
        "group.remote.assignor" => group.group_remote_assignor = Some(value.into()),
        "heartbeat.interval.ms" => group.heartbeat_interval_ms = int(value, u64::MAX)?,
        "max.poll.interval.ms" => group.max_poll_interval_ms = int(value, u64::MAX)?,
        "partition.assignment.strategy" => {
            group.partition_assignment_strategy = value.split(',').map(strategy).collect::<Result<_, _>>()?;
        }
        "session.timeout.ms" => group.session_timeout_ms = int(value, u64::MAX)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn int<T: std::str::FromStr + PartialOrd + Copy>(value: &str, most: T) -> Result<T, &'static str> {
    let number = value.trim().parse().map_err(|_| "write a whole number")?;
    if number > most { Err("the number is too large") } else { Ok(number) }
}

fn boolean(value: &str) -> Result<bool, &'static str> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("write true or false"),
    }
}

/// Reads `acks`.
///
/// # Errors
/// What can be written.
pub fn acks(value: &str) -> Result<Acks, &'static str> {
    match value {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err("write all (or -1), 1 or 0"),
    }
}

/// Reads `compression.type`.
///
/// # Errors
/// What can be written.
pub fn codec(value: &str) -> Result<Compression, &'static str> {
    let codec = match value {
        "none" => Codec::None,
        "gzip" => Codec::Gzip,
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4,
        "zstd" => Codec::Zstd,
        _ => return Err("write none, gzip, snappy, lz4 or zstd"),
    };
    Ok(codec.at_default_level())
}

fn reset(value: &str) -> Result<AutoOffsetReset, &'static str> {
    match value {
        "earliest" => Ok(AutoOffsetReset::Earliest),
        "latest" => Ok(AutoOffsetReset::Latest),
        "none" => Ok(AutoOffsetReset::None),
        _ => Err("write earliest, latest or none"),
    }
}

fn protocol(value: &str) -> Result<GroupProtocol, &'static str> {
    match value {
        "classic" => Ok(GroupProtocol::Classic),
        "consumer" => Ok(GroupProtocol::Consumer),
        _ => Err("write classic or consumer"),
    }
}

/// By the protocol's name, or by that of Java's class.
fn strategy(name: &str) -> Result<Strategy, &'static str> {
    match name.trim().rsplit('.').next().unwrap_or_default() {
        "range" | "RangeAssignor" => Ok(Strategy::Range),
        "roundrobin" | "RoundRobinAssignor" => Ok(Strategy::RoundRobin),
        "sticky" | "StickyAssignor" => Ok(Strategy::Sticky),
        "cooperative-sticky" | "CooperativeStickyAssignor" => Ok(Strategy::CooperativeSticky),
        _ => Err("write range, roundrobin, sticky or cooperative-sticky, several separated by commas"),
    }
}

fn isolation(value: &str) -> Result<IsolationLevel, &'static str> {
    match value {
        "read_uncommitted" => Ok(IsolationLevel::ReadUncommitted),
        "read_committed" => Ok(IsolationLevel::ReadCommitted),
        _ => Err("write read_uncommitted or read_committed"),
    }
}

fn at_level(codec: Codec, level: i32) -> Compression {
    match codec {
        Codec::Gzip => Compression::Gzip(level),
        Codec::Lz4 => Compression::Lz4(level),
        Codec::Zstd => Compression::Zstd(level),
        Codec::None | Codec::Snappy => codec.at_default_level(),
    }
}

fn meant(nearest: Option<&&str>) -> String {
    nearest.map(|it| format!("; did you mean {it}?")).unwrap_or_default()
}

/// The property that is the fewest edits away, if they are few.
fn nearest(key: &str) -> Option<&'static str> {
    let candidates = KEYS.iter().map(|known| (edit_distance(key, known), *known));
    candidates.min().filter(|(edits, _)| *edits <= 3).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(properties: &[(&str, &str)]) -> Result<ClientConfig, SettingError> {
        let mut config = super::super::config("a:1, b:2");
        apply(&mut config, properties.iter().copied()).map(|()| config)
    }

    #[test]
    fn every_key_is_known_and_its_own() {
        for key in KEYS.iter().filter(|key| !key.contains(".level") || **key == "isolation.level") {
            let tried = ["1", "true", "all", "earliest", "none", "read_committed", "x:1", "range", "classic"];
            let taken = |value: &&str| set(&mut ClientConfig::default(), key, value) == Ok(true);
            assert!(tried.iter().any(taken), "{key}");
        }
        assert!(KEYS.is_sorted());
    }

    #[test]
    fn idempotence_gives_way_only_where_nobody_asked_for_it() {
        assert!(applied(&[]).is_ok_and(|config| config.producer.enable_idempotence));
        assert!(applied(&[("acks", "1")]).is_ok_and(|config| !config.producer.enable_idempotence));
        let asked = applied(&[("acks", "1"), ("enable.idempotence", "true")]);
        assert!(matches!(asked, Err(SettingError::Contradiction(_))), "{asked:?}");
    }

    #[test]
    fn levels_belong_to_their_codec_in_either_order() {
        let config = applied(&[("compression.zstd.level", "7"), ("compression.type", "zstd")]);
        assert_eq!(config.map(|it| it.producer.compression), Ok(Compression::Zstd(7)));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |properties: &[(&str, &str)]| applied(properties).expect_err("a mistake").to_string();
        assert_eq!(error(&[("lingr.ms", "1")]), "there is no client property lingr.ms; did you mean linger.ms?");
        assert_eq!(error(&[("linger.ms", "soon")]), "linger.ms=soon: write a whole number");
        assert_eq!(error(&[("quota", "1")]), "there is no client property quota");
    }
}
