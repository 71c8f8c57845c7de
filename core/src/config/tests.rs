//! The table against itself and against the structs that read it, and the layers from end to end.

use std::collections::BTreeSet;

use super::*;

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Every key that a struct reads.
fn keys_read() -> BTreeSet<&'static str> {
    let structs = [
        NodeConfig::KEYS,
        NetworkConfig::KEYS,
        QuorumConfig::KEYS,
        MetadataLogConfig::KEYS,
        BrokerSessions::KEYS,
        TopicCreation::KEYS,
        StorageConfig::KEYS,
        CleanerConfig::KEYS,
        ReplicationConfig::KEYS,
        FetchConfig::KEYS,
        GroupConfig::KEYS,
        ConsumerGroupConfig::KEYS,
        OffsetsConfig::KEYS,
        TransactionConfig::KEYS,
        QuotaConfig::KEYS,
        Limits::KEYS,
        SegmentConfig::KEYS,
        RetentionConfig::KEYS,
        CompactionConfig::KEYS,
        AppendConfig::KEYS,
        ReplicaSafety::KEYS,
    ];
    // Read by listeners.rs and check.rs, and by consumer groups from their overrides.
    let by_hand = [
        "listeners",
        "advertised.listeners",
        "listener.security.protocol.map",
        "inter.broker.listener.name",
        "security.inter.broker.protocol",
        "controller.listener.names",
        "broker.id",
        "consumer.session.timeout.ms",
        "consumer.heartbeat.interval.ms",
        "consumer.assignment.interval.ms",
    ];
    let mut read: BTreeSet<_> = structs.concat().into_iter().chain(by_hand).collect();
    // What a topic falls back to is read through the topic's key.
    for key in keys(Scope::Topic).iter().filter(|key| read.contains(key.name)).collect::<Vec<_>>() {
        read.extend(key.synonyms.iter().map(|(name, _)| *name));
    }
    read
}

#[test]
fn each_row_is_sound() {
    for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
        let names: BTreeSet<_> = keys(scope).iter().map(|key| key.name).collect();
        assert_eq!(names.len(), keys(scope).len(), "a key stands once in {scope:?}");
        for key in keys(scope) {
            assert!(key.doc.ends_with('.'), "{} has a sentence", key.name);
            if let Some(default) = key.default {
                key.check(default).unwrap_or_else(|error| panic!("the default of {} is valid: {error}", key.name));
            }
            for (from, _) in key.synonyms {
                assert!(find(Scope::Broker, from).is_some(), "{} falls back to {from}, which is a row", key.name);
            }
        }
    }
}

#[test]
fn what_has_an_effect_is_read() {
    let read = keys_read();
    for key in [Scope::Broker, Scope::Topic, Scope::Group].into_iter().flat_map(keys) {
        match key.effect {
            Effect::Used => assert!(read.contains(key.name), "{} is marked used, but nothing reads it", key.name),
            Effect::Ignored => {}
            Effect::Refused => assert!(refusal::covers(key.name), "{} has a way to go", key.name),
        }
    }
    for name in &read {
        let row = [Scope::Broker, Scope::Topic, Scope::Group].into_iter().find_map(|scope| find(scope, name));
        assert!(row.is_some(), "{name} is read, and is a row");
    }
}

#[test]
fn a_default_has_the_effect_of_what_it_is_the_default_of() {
    for key in [Scope::Topic, Scope::Group].into_iter().flat_map(keys).filter(|key| key.effect != Effect::Refused) {
        for broker in key.synonyms.iter().filter_map(|(name, _)| find(Scope::Broker, name)) {
            assert_eq!(broker.effect, key.effect, "{} and {}", broker.name, key.name);
        }
    }
}

#[test]
fn defaults_are_kafkas() {
    let config = BrokerConfig::for_test(1, &[]);
    assert_eq!(config.coordinators.groups.initial_rebalance_delay_ms, 3000);
    assert_eq!(config.network.request_max_bytes, 104_857_600);
    assert_eq!(config.storage.flush, FlushMode::Quorum);
    assert_eq!(config.storage.flush_max_delay_ms(), 10);
    let topic = config.topic(&Overrides::new());
    assert_eq!(topic.retention.retention_ms, Some(604_800_000));
    assert_eq!(topic.retention.retention_bytes, None);
    assert_eq!(topic.segment.max_ms, 604_800_000);
    assert_eq!(topic.segment.bytes(), 1 << 30);
    assert_eq!(topic.append.max_message_bytes, 1_048_588);
    assert_eq!(topic.retention.cleanup_policy, CleanupPolicy { delete: true, compact: false });
}

#[test]
fn a_topic_takes_the_first_value_from_its_overrides_down() {
    let config = BrokerConfig::for_test(1, &[("log.retention.hours", "2"), ("log.retention.minutes", "3")]);
    assert_eq!(config.topic(&Overrides::new()).retention.retention_ms, Some(180_000));
    let (config, errors) = config.with_dynamic(overrides(&[("log.retention.ms", "5")]), Overrides::new());
    assert_eq!(errors, []);
    assert_eq!(config.topic(&Overrides::new()).retention.retention_ms, Some(5));
    let (config, _) = config.with_dynamic(Overrides::new(), overrides(&[("log.retention.ms", "-1")]));
    assert_eq!(config.topic(&Overrides::new()).retention.retention_ms, None);
    let topic = config.topic(&overrides(&[("retention.ms", "7"), ("cleanup.policy", "compact, delete")]));
    assert_eq!(topic.retention.retention_ms, Some(7));
    assert_eq!(topic.retention.cleanup_policy, CleanupPolicy { delete: true, compact: true });
}

#[test]
fn an_invalid_value_in_the_metadata_is_left_out() {
    let config = BrokerConfig::for_test(1, &[]);
    let (changed, errors) = config.with_dynamic(overrides(&[("message.max.bytes", "x")]), Overrides::new());
    assert_eq!(errors.len(), 1);
    assert_eq!(changed, config);
    assert_eq!(config.topic(&overrides(&[("retention.ms", "x")])), config.topic(&Overrides::new()));
}

/// Each is valid where it was given, the one by an operator of all brokers, the other of this one.
#[test]
fn settings_that_contradict_each_other_take_nothing_else_with_them() {
    let config = BrokerConfig::for_test(1, &[]);
    let cluster = [("log.cleaner.min.compaction.lag.ms", "600000"), ("min.insync.replicas", "2")];
    let broker = [("log.cleaner.max.compaction.lag.ms", "300000"), ("log.retention.ms", "5")];
    let (changed, errors) = config.with_dynamic(overrides(&cluster), overrides(&broker));
    assert_eq!(errors.len(), 1);
    let topic = changed.topic(&Overrides::new());
    assert_eq!(topic.safety.min_insync_replicas, 2, "the controller counts with that, too");
    assert_eq!((topic.compaction.min_lag_ms, topic.retention.retention_ms), (600_000, Some(5)));
}

#[test]
fn stronger_origins_win_in_any_order() {
    let mut fixed = StaticConfig::default();
    fixed.set("num.partitions", "1", Origin::Flag).expect("valid");
    fixed.set("num.partitions", "2", Origin::Environment).expect("valid");
    fixed.set("num.partitions", "3", Origin::File { line: 9 }).expect("valid");
    assert_eq!(fixed.get("num.partitions"), Some(("1", Origin::Flag)));
    fixed.set("log.dir", "a", Origin::File { line: 1 }).expect("valid");
    fixed.set("log.dir", "b", Origin::File { line: 2 }).expect("valid");
    assert_eq!(fixed.get("log.dir"), Some(("b", Origin::File { line: 2 })));
}

#[track_caller]
fn check_set(key: &str, value: &str, expected: &str) {
    let error = StaticConfig::default().set(key, value, Origin::File { line: 3 }).expect_err("refused");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_bad_line_is_named_with_its_remedy() {
    check_set("num.partitons", "1", "line 3: Unknown configuration num.partitons; did you mean num.partitions?");
    check_set(
        "num.partitions",
        "0",
        "line 3: Invalid value 0 for configuration num.partitions: Value must be at least 1",
    );
    check_set(
        "authorizer.class.name",
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "line 3: authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer is not supported; Ottla \
         has no authorizer yet: remove the line and let only trusted networks reach the listeners",
    );
    check_set(
        "controller.quorum.voters",
        "1@localhost:9093",
        "line 3: controller.quorum.voters=1@localhost:9093 is not supported; give \
         controller.quorum.bootstrap.servers=HOST:PORT on every node and start the first controller once with \
         --new-cluster",
    );
}

#[track_caller]
fn check_topic(pairs: &[(&str, &str)], expected: Result<(), &str>) {
    let result = check_topic_overrides(&overrides(pairs), &TopicDefaults::default());
    assert_eq!(result.as_ref().map_err(|error| error.what.as_str()), expected.as_ref().map_err(|text| *text));
}

#[test]
fn consumers_are_sent_to_replicas_by_kafkas_own_classes_or_not_at_all() {
    let key = "replica.selector.class";
    let selector = |settings: &[(&str, &str)]| BrokerConfig::for_test(1, settings).replication.replica_selector;
    let [leader, by_rack] = super::words::REPLICA_SELECTORS else { panic!("there are two") };
    assert_eq!(selector(&[]), ReplicaSelector::Leader);
    assert_eq!(selector(&[(key, leader)]), ReplicaSelector::Leader);
    assert_eq!(selector(&[(key, by_rack)]), ReplicaSelector::RackAware);
    let refused = StaticConfig::default().set(key, "com.example.Mine", Origin::Flag).unwrap_err().what;
    let names = format!("String must be one of: {leader}, {by_rack}");
    assert_eq!(refused, format!("Invalid value com.example.Mine for configuration {key}: {names}"));
}

#[test]
fn topic_overrides_fail_in_kafkas_words() {
    check_topic(&[("retention.ms", " 5 "), ("preallocate", "TRUE"), ("cleanup.policy", "")], Ok(()));
    check_topic(&[("foo", "1")], Err("Unknown topic config name: foo"));
    check_topic(
        &[("retention.ms", "abc")],
        Err("Invalid value abc for configuration retention.ms: Not a number of type LONG"),
    );
    check_topic(
        &[("segment.bytes", "99999999999")],
        Err("Invalid value 99999999999 for configuration segment.bytes: Not a number of type INT"),
    );
    check_topic(
        &[("cleanup.policy", "none")],
        Err("Invalid value none for configuration cleanup.policy: String must be one of: compact, delete"),
    );
    check_topic(
        &[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")],
        Err("conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"),
    );
    check_topic(&[("remote.storage.enable", "true")], Err("remote.storage.enable=true is not supported"));
    check_topic(&[("leader.replication.throttled.replicas", "0:1,1:2")], Ok(()));
}

#[track_caller]
fn check_change(pairs: &[(&str, &str)], for_cluster: bool, expected: Result<(), &str>) {
    let current = BrokerConfig::for_test(1, &[]);
    let result = check_broker_change(&Overrides::new(), &overrides(pairs), for_cluster, &current);
    assert_eq!(result.as_ref().map_err(|error| error.what.as_str()), expected.as_ref().map_err(|text| *text));
}

#[test]
fn broker_changes_are_held_to_their_level() {
    check_change(&[("log.retention.ms", "5")], true, Ok(()));
    check_change(&[("log.retention.ms", "5")], false, Ok(()));
    check_change(&[("flush", "async")], true, Ok(()));
    check_change(&[("flush", "async")], false, Err("Broker-level flush cannot be altered"));
    check_change(&[("num.partitions", "5")], true, Err("Cannot update these configs dynamically: Set(num.partitions)"));
    check_change(
        &[("listeners", "PLAINTEXT://:1")],
        true,
        Err("Cannot update these configs at default cluster level: Set(listeners)"),
    );
    check_change(
        &[("log.retention.ms", "0")],
        true,
        Err("log.retention.ms must be unlimited (-1) or, greater than or equal to 1"),
    );
}

#[track_caller]
fn check_node(settings: &[(&str, &str)], expected: &str) {
    let mut fixed = StaticConfig::default();
    for (key, value) in settings {
        fixed.set(key, value, Origin::Flag).expect("valid by itself");
    }
    let error = BrokerConfig::new(Layers::of(fixed)).expect_err("they do not fit together");
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn listeners_fit_the_roles() {
    let node = [("process.roles", "broker,controller"), ("node.id", "1"), ("controller.listener.names", "C")];
    let with = |more: &[(&'static str, &'static str)]| [&node[..], more].concat();
    check_node(&[("node.id", "1")], "process.roles is required");
    check_node(&[("process.roles", "broker")], "node.id is required");
    check_node(&with(&[("listeners", "PLAINTEXT://:9092")]), "controller.listener.names must contain");
    check_node(&with(&[("listeners", "X://:1,C://:2")]), "No security protocol defined for listener X");
    check_node(&with(&[("listeners", "SSL://:1,C://:2")]), "listener SSL has the security protocol SSL");
    check_node(&with(&[("listeners", "PLAINTEXT://:1,C://:1")]), "Each listener must have a different port");
    check_node(&with(&[("listeners", "PLAINTEXT:1,C://:1")]), "Unable to parse PLAINTEXT:1");
    let config = BrokerConfig::for_test(1, &[("listeners", "PLAINTEXT://0.0.0.0:1,CONTROLLER://[::1]:2")]);
    assert_eq!(config.listeners.inter_broker, "PLAINTEXT");
    let advertised: Vec<_> = config.listeners.advertised.iter().map(ToString::to_string).collect();
    assert_eq!(advertised, ["PLAINTEXT://:1", "CONTROLLER://[::1]:2"]);
}

#[test]
fn described_rows_name_their_source() {
    let config = BrokerConfig::for_test(1, &[("log.retention.hours", "2"), ("ssl.key.password", "secret")]);
    let row = |rows: Vec<Described>, name: &str| rows.into_iter().find(|row| row.key.name == name).expect("a row");
    let inherited = row(describe_topic(&Overrides::new(), &config.layers), "retention.ms");
    assert_eq!(inherited.value.as_deref(), Some("7200000"));
    assert_eq!(inherited.source, Source::StaticBroker);
    let own = row(describe_topic(&overrides(&[("retention.ms", "9")]), &config.layers), "retention.ms");
    assert_eq!((own.value.as_deref(), own.source), (Some("9"), Source::Topic));
    assert_eq!(own.synonyms.len(), 3, "its own, the static hours, the default hours");
    let secret = row(describe_broker(&config.layers), "ssl.key.password");
    assert_eq!((secret.value, secret.source), (None, Source::StaticBroker));
    let dynamic = describe_cluster_default(&overrides(&[("log.retention.ms", "4")]));
    assert_eq!((dynamic.len(), dynamic[0].source), (1, Source::DynamicDefaultBroker));
}

#[test]
fn a_group_stays_within_the_brokers_bounds() {
    let broker = BrokerConfig::for_test(1, &[]);
    let check = |value| check_group_overrides(&overrides(&[("consumer.session.timeout.ms", value)]), &broker);
    assert_eq!(check("50000"), Ok(()));
    assert!(check("70000").is_err());
    assert!(check("1000").is_err());
    let check = |value| check_group_overrides(&overrides(&[("consumer.assignment.interval.ms", value)]), &broker);
    assert_eq!((check("0"), check("15000")), (Ok(()), Ok(())));
    assert!(check("15001").is_err());
    assert!(check_group_overrides(&overrides(&[("session.timeout.ms", "50000")]), &broker).is_err());
}
