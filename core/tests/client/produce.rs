//! Every record is delivered once, in order, or fails; and a definite failure is one.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_core::client::{Acks, ClientConfig, ClientError, Command, Event, ProduceRecord};
use ottla_core::record::{Compression, batches};
use ottla_core::rng::Rng;
use ottla_core::rpc::RpcConfig;
use ottla_wire::ErrorCode;

use crate::model::{Faults, Model};
use crate::world::{Servers, World};

fn config() -> ClientConfig {
    ClientConfig { bootstrap_servers: vec!["bootstrap:9092".into()], ..ClientConfig::default() }
}

fn record(partition: Option<i32>, value: u64) -> Box<ProduceRecord> {
    let value = Some(value.to_string().into_bytes().into());
    Box::new(ProduceRecord { topic: "t".into(), partition, value, ..ProduceRecord::default() })
}

fn value(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

/// What the client said of each token, compared with the logs. Counts delivered, failed, in doubt.
fn judge(world: &mut World, tokens: u64, at_most_once: bool) -> (usize, usize, usize) {
    let mut place: BTreeMap<u64, (i32, i64)> = BTreeMap::new();
    let partitions = world.model().topics["t"].partitions.len();
    for partition in 0..partitions {
        let mut last = 0;
        for (offset, bytes) in world.model().values("t", partition) {
            let token = value(&bytes);
            let twice = place.insert(token, (i32::try_from(partition).unwrap(), offset));
            assert!(!at_most_once || twice.is_none(), "{token} is there twice: {twice:?} and {partition}@{offset}");
            assert!(!at_most_once || token > last, "{token} comes after {last} in partition {partition}");
            last = token;
        }
    }
    let mut seen = BTreeMap::new();
    let (mut delivered, mut failed, mut doubtful) = (0, 0, 0);
    for event in &world.events {
        let token = match event {
            Event::Delivered { token, partition, offset } => {
                delivered += 1;
                let found = place.get(token).unwrap_or_else(|| panic!("{event}, but it is nowhere"));
                assert_eq!(found.0, partition.partition, "{event}");
                assert!(!at_most_once || offset.is_none_or(|it| it.0 == found.1), "{event}, but it is at {found:?}");
                token
            }
            Event::Failed { token, definite, .. } => {
                if *definite {
                    failed += 1
                } else {
                    doubtful += 1
                }
                assert!(!definite || !place.contains_key(token), "{event}, but it is at {:?}", place[token]);
                token
            }
            _ => continue,
        };
        assert_eq!(seen.insert(*token, ()), None, "two events for {token}");
    }
    assert_eq!(seen.len(), usize::try_from(tokens).unwrap(), "each record has its event");
    assert_eq!(world.client.buffered_bytes(), 0);
    (delivered, failed, doubtful)
}

/// Produces `count` records at random moments, then waits until all is settled.
fn produce(world: &mut World, count: u64, seed: u64) {
    let mut rng = Rng::new(seed);
    let partitions = world.model().topics["t"].partitions.len() as u64;
    for token in 1..=count {
        let partition = i32::try_from(rng.below(partitions)).unwrap();
        world.command(Command::Produce { token, record: record(Some(partition), token) });
        if rng.below(3) == 0 {
            world.run_for(Duration::from_micros(rng.below(20_000)));
        }
    }
    world.run_for(Duration::from_secs(400));
}

#[test]
fn records_are_delivered_in_order_in_a_good_world() {
    let mut world = World::new(&config(), Servers::Model(Box::new(Model::new(1, 3, 4))), 1);
    produce(&mut world, 500, 1);
    assert_eq!(judge(&mut world, 500, true), (500, 0, 0));
    assert!(world.dials <= 1 + 3 + 3, "{} dials", world.dials);
}

#[test]
fn every_codec_and_every_version_of_produce_arrives() {
    for compression in [Compression::Gzip(-1), Compression::Snappy, Compression::Lz4(1), Compression::Zstd(3)] {
        for produce_max in [3, 7, 8, 9, 12, 13] {
            let mut config = config();
            config.producer.compression = compression;
            let mut model = Model::new(1, 2, 2);
            model.produce_max = produce_max;
            let mut world = World::new(&config, Servers::Model(Box::new(model)), 1);
            produce(&mut world, 50, 1);
            assert_eq!(judge(&mut world, 50, true), (50, 0, 0));
        }
    }
}

#[test]
fn an_old_broker_that_refuses_our_api_versions_is_asked_again() {
    for api_versions_max in [0, 2, 3] {
        let mut model = Model::new(1, 2, 2);
        model.api_versions_max = api_versions_max;
        let mut world = World::new(&config(), Servers::Model(Box::new(model)), 1);
        produce(&mut world, 20, 1);
        assert_eq!(judge(&mut world, 20, true), (20, 0, 0));
    }
}

/// The heart of it: whatever breaks, a record is there once at most, in order, and the client tells the truth.
#[test]
fn with_idempotence_a_record_is_written_once_whatever_breaks() {
    let (mut delivered, mut failed, mut doubtful) = (0, 0, 0);
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut model = Model::new(seed, 3, 3);
        let mut chance = |most| if rng.below(2) == 0 { 0 } else { rng.below(most) };
        model.faults = Faults {
            refuse: chance(200),
            lie: chance(200),
            forget: chance(100),
            election: chance(100),
            too_large: chance(100),
        };
        let mut config = config();
        config.producer.batch_size = 100;
        config.producer.delivery_timeout_ms = 40_000;
        let breaks = chance(200);
        let mut world = World::new(&config, Servers::Model(Box::new(model)), seed);
        world.break_chance = breaks;
        world.refuse_chance = chance(300);
        world.latency_us = 1 + chance(100_000);
        produce(&mut world, 300, seed);
        let counts = judge(&mut world, 300, true);
        (delivered, failed, doubtful) = (delivered + counts.0, failed + counts.1, doubtful + counts.2);
    }
    let counts = (delivered, failed, doubtful);
    assert!(delivered > 16_000 && doubtful > 0, "delivered, failed and in doubt: {counts:?}");
}

#[test]
fn without_idempotence_nothing_delivered_is_missing() {
    for seed in 0..30 {
        let mut config = config();
        config.producer.enable_idempotence = false;
        config.producer.acks = Acks::Leader;
        let mut model = Model::new(seed, 3, 3);
        model.faults = Faults { refuse: 50, lie: 50, election: 20, ..Faults::default() };
        let mut world = World::new(&config, Servers::Model(Box::new(model)), seed);
        world.break_chance = 30;
        produce(&mut world, 200, seed);
        judge(&mut world, 200, false);
    }
}

#[test]
fn acks_0_is_delivered_when_it_is_sent() {
    let mut config = config();
    config.producer.enable_idempotence = false;
    config.producer.acks = Acks::None;
    let mut world = World::new(&config, Servers::Model(Box::new(Model::new(1, 1, 1))), 1);
    produce(&mut world, 50, 1);
    assert_eq!(judge(&mut world, 50, true), (50, 0, 0));
    assert!(world.events.iter().all(|event| matches!(event, Event::Delivered { offset: None, .. })));
}

#[test]
fn a_cluster_that_never_answers_fails_records_definitely_if_they_were_never_sent() {
    let mut world = World::new(&config(), Servers::Model(Box::new(Model::new(1, 1, 1))), 1);
    world.refuse_chance = 1_000;
    produce(&mut world, 10, 1);
    assert_eq!(judge(&mut world, 10, true), (0, 10, 0));
    let dials = world.dials;
    assert!((300..400).contains(&dials), "back-off grows to a second, until metadata.max.idle.ms: {dials} dials");
    world.run_for(Duration::from_secs(3_600));
    assert_eq!(world.client.next_deadline(), None, "an idle client wants nothing");
}

#[test]
fn what_cannot_be_taken_fails_at_once() {
    let mut config = config();
    config.producer.max_request_size = 1_000;
    config.producer.buffer_memory = 1_500;
    let mut world = World::new(&config, Servers::Model(Box::new(Model::new(1, 1, 1))), 1);
    let large = |bytes: usize| {
        Box::new(ProduceRecord { topic: "t".into(), value: Some(vec![b'1'; bytes].into()), ..Default::default() })
    };
    world.command(Command::Produce { token: 1, record: large(2_000) });
    world.command(Command::Produce { token: 2, record: large(900) });
    world.command(Command::Produce { token: 3, record: large(900) });
    world.command(Command::Produce { token: 4, record: record(Some(7), 4) });
    world.run_for(Duration::from_secs(1));
    let errors: Vec<_> = world.events.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "failed 1: a record of 2036 bytes exceeds max.request.size",
            "failed 3: buffer.memory is full",
            "failed 4: the topic has no partition 7",
            "delivered 2 t-0@0",
        ]
    );
}

#[test]
fn a_flush_ends_lingering_and_waits_for_what_came_before_it() {
    let mut config = config();
    config.producer.linger_ms = 60_000;
    let mut world = World::new(&config, Servers::Model(Box::new(Model::new(1, 1, 1))), 1);
    world.command(Command::Produce { token: 1, record: record(None, 1) });
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.events, []);
    world.command(Command::Flush { token: 9 });
    world.run_for(Duration::from_secs(1));
    let events: Vec<_> = world.events.iter().map(ToString::to_string).collect();
    assert_eq!(events, ["delivered 1 t-0@0", "flushed 9"]);
}

#[test]
fn an_error_that_will_not_pass_is_definite() {
    let mut world = World::new(&config(), Servers::Model(Box::new(Model::new(1, 1, 1))), 1);
    world.command(Command::Produce { token: 1, record: record(None, 1) });
    world.run_for(Duration::from_secs(1));
    world.model().topics.clear();
    world.command(Command::Produce { token: 2, record: record(None, 2) });
    world.run_for(Duration::from_secs(200));
    let error = ClientError::DeliveryTimeout(Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(world.events[1], Event::Failed { token: 2, error, definite: false });
}

/// The producers of the batches in a partition's log: id, epoch and first number.
fn producers(world: &mut World, partition: usize) -> Vec<(i64, i16, i32)> {
    let log = &world.model().topics["t"].partitions[partition].log;
    let producers = batches(log).map(|batch| batch.unwrap().header().producer);
    producers.map(|it| (it.id.0, it.epoch.0, it.base_sequence)).collect()
}

#[test]
fn partitions_keep_their_numbers_while_another_waits_for_a_new_producer_id() {
    let mut world = World::new(&config(), Servers::Model(Box::new(Model::new(1, 1, 2))), 1);
    for (token, partition) in [(1, 0), (2, 1)] {
        world.command(Command::Produce { token, record: record(Some(partition), token) });
        world.run_for(Duration::from_secs(1));
    }
    (world.model().ids.refused, world.model().next_refusal) = (true, Some((0, ErrorCode::PRODUCER_FENCED)));
    world.command(Command::Produce { token: 3, record: record(Some(0), 3) });
    world.run_for(Duration::from_secs(1));
    world.command(Command::Produce { token: 4, record: record(Some(1), 4) });
    world.run_for(Duration::from_secs(1));
    assert_eq!(producers(&mut world, 1), [(1_001, 0, 0), (1_001, 0, 1)]);
    world.model().ids.refused = false;
    world.run_for(Duration::from_secs(10));
    assert_eq!(producers(&mut world, 0), [(1_001, 0, 0), (1_002, 0, 0)]);
    assert_eq!(judge(&mut world, 4, true), (4, 0, 0));
}

#[test]
fn half_of_a_batch_that_was_too_large_takes_no_more_records() {
    let mut config = config();
    config.producer.linger_ms = 100;
    let mut model = Model::new(1, 1, 1);
    model.next_refusal = Some((0, ErrorCode::MESSAGE_TOO_LARGE));
    let mut world = World::new(&config, Servers::Model(Box::new(model)), 1);
    world.command(Command::Produce { token: 1, record: record(None, 1) });
    world.command(Command::Produce { token: 2, record: record(None, 2) });
    while world.model().next_refusal.is_some() {
        world.run_for(Duration::from_micros(100));
    }
    // The first half is on its way, or about to be, and the other waits for it.
    world.latency_us = 20_000;
    world.run_for(Duration::from_millis(3));
    world.command(Command::Produce { token: 3, record: record(None, 3) });
    world.run_for(Duration::from_secs(1));
    for token in 4..6 {
        world.command(Command::Produce { token, record: record(None, token) });
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!(judge(&mut world, 5, true), (5, 0, 0));
    let numbers: Vec<_> = (0..5).map(|number| (1_001, 0, number)).collect();
    assert_eq!(producers(&mut world, 0), numbers);
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused() {
    assert_eq!(config().check(), Ok(()));
    let mut weak = config();
    weak.producer.acks = Acks::Leader;
    assert!(weak.check().is_err());
    let wide = ClientConfig {
        rpc: RpcConfig { max_in_flight_requests_per_connection: 6, ..RpcConfig::default() },
        ..config()
    };
    assert!(wide.check().is_err());
}
