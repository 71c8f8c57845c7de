//! The client and the real machine: what is delivered is in the log, once, and what is read is the log.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_core::client::{
    AdminReply, AdminRequest, AutoOffsetReset, ClientConfig, Command, Event, ProduceRecord, Resource, Start,
};
use ottla_core::record::Compression;
use ottla_core::rng::Rng;
use ottla_core::types::{Offset, TopicPartition};

use crate::disk::Crash;
use crate::node::Node;
use crate::world::{Servers, World};

const PARTITIONS: i32 = 3;

fn config() -> ClientConfig {
    let mut config = ClientConfig { bootstrap_servers: vec!["bootstrap:9092".into()], ..ClientConfig::default() };
    config.reader.auto_offset_reset = AutoOffsetReset::Earliest;
    config
}

/// A world with a topic `t`.
fn world(config: &ClientConfig, seed: u64) -> World {
    let mut world = World::new(config, Servers::Real(Box::new(Node::new(seed, &[]))), seed);
    world.run_for(Duration::from_secs(5));
    let request = AdminRequest::CreateTopic {
        name: "t".into(),
        partitions: PARTITIONS,
        replication_factor: 1,
        configs: Vec::new(),
    };
    let events = ask(&mut world, request);
    assert!(matches!(events[..], [Event::AdminDone { reply: AdminReply::TopicCreated { .. }, .. }]), "{events:?}");
    world
}

fn ask(world: &mut World, request: AdminRequest) -> Vec<Event> {
    world.command(Command::Admin { token: 1, request: Box::new(request) });
    world.run_for(Duration::from_secs(5));
    std::mem::take(&mut world.events)
}

fn record(partition: i32, value: u64) -> Box<ProduceRecord> {
    let value = Some(value.to_string().into_bytes().into());
    Box::new(ProduceRecord { topic: "t".into(), partition: Some(partition), value, ..ProduceRecord::default() })
}

/// Reads all partitions from their starts, until nothing more comes.
fn read_all(world: &mut World, max_polls: usize) -> BTreeMap<i32, Vec<(i64, u64)>> {
    let mut read: BTreeMap<i32, Vec<(i64, u64)>> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let partition = TopicPartition::new("t", partition);
        world.command(Command::Assign { partition, start: Start::Earliest });
    }
    let mut empty = 0;
    for _ in 0..max_polls {
        world.command(Command::Poll { token: 5, timeout_ms: 3_000 });
        while !world.events.iter().any(|event| matches!(event, Event::Polled { .. })) {
            world.run_for(Duration::from_millis(20));
        }
        empty += 1;
        for event in std::mem::take(&mut world.events) {
            match event {
                Event::Polled { records, .. } => {
                    for polled in records {
                        empty = 0;
                        let into = read.entry(polled.partition.partition).or_default();
                        into.extend(polled.records.iter().map(|it| (it.offset.0, value(it.value.as_deref()))));
                    }
                }
                Event::Position { .. } => {}
                other => panic!("{other}"),
            }
        }
        if empty == 3 {
            break;
        }
    }
    read
}

fn value(bytes: Option<&[u8]>) -> u64 {
    std::str::from_utf8(bytes.unwrap()).unwrap().parse().unwrap()
}

#[test]
fn what_is_written_is_read_and_topics_come_and_go() {
    let mut world = world(&config(), 1);
    for token in 0..300 {
        world.command(Command::Produce { token, record: record(i32::try_from(token % 3).unwrap(), token) });
    }
    world.run_for(Duration::from_secs(2));
    let delivered = world.events.iter().filter(|event| matches!(event, Event::Delivered { .. })).count();
    assert_eq!(delivered, 300, "{:?}", world.events);
    world.events.clear();
    let read = read_all(&mut world, 100);
    for (partition, read) in &read {
        let exact: Vec<_> =
            (0..100).map(|at| (at, u64::try_from(at * 3).unwrap() + u64::from(partition.unsigned_abs()))).collect();
        assert_eq!(read, &exact);
    }
    assert_eq!(read.len(), 3);

    let partition = TopicPartition::new("t", 0);
    let end = ask(&mut world, AdminRequest::ListOffset { partition: partition.clone(), timestamp: -1 });
    assert!(
        matches!(end[..], [Event::AdminDone { reply: AdminReply::Offset { offset: Offset(100), .. }, .. }]),
        "{end:?}"
    );
    let before = Some(Offset(40));
    let deleted = ask(&mut world, AdminRequest::DeleteRecords { partition: partition.clone(), before });
    assert!(
        matches!(deleted[..], [Event::AdminDone { reply: AdminReply::LogStart { offset: Offset(40) }, .. }]),
        "{deleted:?}"
    );
    let altered = ask(
        &mut world,
        AdminRequest::AlterConfigs {
            resource: Resource::Topic,
            name: "t".into(),
            entries: vec![("retention.ms".into(), Some("1000000".into()))],
        },
    );
    assert!(matches!(altered[..], [Event::AdminDone { reply: AdminReply::Done, .. }]), "{altered:?}");

    // What was read is gone: the reader goes where auto.offset.reset says.
    world.command(Command::Assign { partition, start: Start::Offset(Offset(10)) });
    world.command(Command::Poll { token: 6, timeout_ms: 3_000 });
    world.run_for(Duration::from_secs(4));
    let events: Vec<_> = std::mem::take(&mut world.events).iter().map(ToString::to_string).collect();
    assert_eq!(events, ["position t-0@40", "polled 6 t-0@40..100"]);

    // A reader that went on asking for the topic would create it anew.
    for partition in 0..PARTITIONS {
        world.command(Command::Unassign { partition: TopicPartition::new("t", partition) });
    }
    let dropped = ask(&mut world, AdminRequest::DeleteTopic { name: "t".into() });
    assert!(matches!(dropped[..], [Event::AdminDone { reply: AdminReply::Done, .. }]), "{dropped:?}");
    let again = ask(&mut world, AdminRequest::DeleteTopic { name: "gone".into() });
    assert!(!matches!(again[..], [Event::AdminDone { .. }]), "{again:?}");
}

/// Each Fetch brings one batch, and a partition is empty: no Fetch waits for the empty one alone (KAFKA-17182).
#[test]
fn a_partition_without_news_does_not_hold_up_another() {
    let mut config = config();
    config.producer.batch_size = 1;
    config.reader.max_partition_fetch_bytes = 1;
    config.reader.max_poll_records = 1;
    let mut world = world(&config, 3);
    for token in 0..100 {
        world.command(Command::Produce { token, record: record(0, token) });
    }
    world.run_for(Duration::from_secs(2));
    world.events.clear();
    for partition in 0..2 {
        world.command(Command::Assign { partition: TopicPartition::new("t", partition), start: Start::Earliest });
    }
    for token in 0..400 {
        world.command(Command::Poll { token, timeout_ms: 1_000 });
        world.run_for(Duration::from_millis(20));
    }
    let read =
        world.events.iter().filter(|event| matches!(event, Event::Polled { records, .. } if !records.is_empty()));
    assert_eq!(read.count(), 100);
}

#[test]
fn a_reader_starts_at_the_end_or_at_a_time() {
    let mut world = world(&config(), 2);
    for token in 0..10 {
        let mut record = record(0, token);
        record.timestamp_ms = Some(1_000 + i64::try_from(token).unwrap() * 100);
        world.command(Command::Produce { token, record });
    }
    world.run_for(Duration::from_secs(1));
    world.events.clear();
    let partition = TopicPartition::new("t", 0);
    for (start, position) in [
        (Start::Timestamp { ms: 1_450 }, 5),
        (Start::Timestamp { ms: 9_999 }, 10),
        (Start::Latest, 10),
        (Start::Earliest, 0),
    ] {
        world.command(Command::Assign { partition: partition.clone(), start });
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.client.position(&partition), Some(Offset(position)), "{start:?}");
    }
}

/// Connections break, the broker is killed and loses power; delivered is in the log once, and the log is what is read.
#[test]
fn exactly_once_through_broken_connections_and_crashes() {
    let mut delivered = 0;
    for seed in 0..25 {
        let mut rng = Rng::new(seed);
        let mut config = config();
        config.producer.batch_size = 200;
        config.producer.compression =
            [Compression::None, Compression::Lz4(1), Compression::Zstd(3)][rng.below(3) as usize];
        config.reader.max_poll_records = 1 + rng.below(50) as usize;
        let mut world = world(&config, seed);
        world.break_chance = rng.below(100);
        world.refuse_chance = rng.below(200);
        world.latency_us = 1 + rng.below(50_000);
        for token in 1..=300 {
            let partition = i32::try_from(rng.below(3)).unwrap();
            world.command(Command::Produce { token, record: record(partition, token) });
            if rng.below(4) == 0 {
                world.run_for(Duration::from_micros(rng.below(40_000)));
            }
            if rng.below(100) == 0 {
                let crash = if rng.below(2) == 0 { Crash::Kill } else { Crash::Power(rng.next_u64()) };
                world.restart(crash);
            }
        }
        world.run_for(Duration::from_secs(300));
        let events = std::mem::take(&mut world.events);
        world.break_chance /= 2;
        let read = read_all(&mut world, 10_000);
        delivered += judge(&events, &read, seed);
    }
    assert!(delivered > 6_000, "progress: {delivered}");
}

fn judge(events: &[Event], read: &BTreeMap<i32, Vec<(i64, u64)>>, seed: u64) -> usize {
    let mut place = BTreeMap::new();
    for (&partition, values) in read {
        for pair in values.windows(2) {
            assert!(pair[0].0 + 1 == pair[1].0, "seed {seed}: {partition}: {pair:?} read one after the other");
            assert!(pair[0].1 < pair[1].1, "seed {seed}: {partition}: {pair:?} are out of order");
        }
        for &(offset, token) in values {
            let twice = place.insert(token, (partition, offset));
            assert_eq!(twice, None, "seed {seed}: {token} is there twice");
        }
    }
    let mut delivered = 0;
    let mut seen = 0;
    for event in events {
        match event {
            Event::Delivered { token, partition, offset } => {
                delivered += 1;
                let found = place.get(token).copied();
                let said = (partition.partition, offset.map_or(found.unwrap_or_default().1, |offset| offset.0));
                assert_eq!(found, Some(said), "seed {seed}: {event}");
            }
            Event::Failed { token, definite, .. } => {
                assert!(!definite || !place.contains_key(token), "seed {seed}: {event}, but it is there");
            }
            other => panic!("seed {seed}: {other}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 300, "seed {seed}: each record has its event");
    delivered
}

/// Nobody has asked for metadata before.
#[test]
fn a_brokers_settings_are_asked_of_that_broker() {
    let mut world = World::new(&config(), Servers::Real(Box::new(Node::new(3, &[]))), 3);
    world.run_for(Duration::from_secs(5));
    for name in ["1", "", "x"] {
        let request = AdminRequest::DescribeConfigs { resource: Resource::Broker, name: name.into() };
        let events = ask(&mut world, request);
        let done = matches!(events[..], [Event::AdminDone { reply: AdminReply::Configs { .. }, .. }]);
        assert_eq!(done, name != "x", "{name}: {events:?}");
    }
}
