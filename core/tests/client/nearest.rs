//! Reading from the replica that the leader names (KIP-392), and from the leader again.

use std::time::Duration;

use ottla_core::client::{AutoOffsetReset, ClientConfig, Command, Event, Start};
use ottla_core::types::{Offset, TopicPartition};
use ottla_wire::ErrorCode;

use crate::model::{Near, Partition};
use crate::read::{value, written};
use crate::world::{Servers, World};

const COUNT: u64 = 200;

/// A client in a rack, and a follower there that has all of its partition's log and knows it committed.
fn near_by(rack: &str, change: impl FnOnce(&mut Near)) -> World {
    let mut config = ClientConfig { bootstrap_servers: vec!["bootstrap:9092".into()], ..ClientConfig::default() };
    config.reader.auto_offset_reset = AutoOffsetReset::None;
    config.reader.client_rack = rack.into();
    config.reader.max_partition_fetch_bytes = 300;
    config.metadata_max_age_ms = 3_000;
    let mut model = written(1, COUNT);
    let partition = &mut model.topics.get_mut("t").unwrap().partitions[0];
    // The first broker answers for the bootstrap server, too.
    let id = if partition.leader == 1 { 2 } else { 1 };
    let mut near = Near { id, high_watermark: partition.end, end: partition.end, ..Near::default() };
    change(&mut near);
    partition.near = Some(near);
    World::new(&config, Servers::Model(Box::new(model)), 1)
}

fn partition(world: &mut World) -> &mut Partition {
    &mut world.model().topics.get_mut("t").unwrap().partitions[0]
}

/// How often the follower was asked since, and how often the leader was.
fn asked(world: &mut World) -> (u32, u32) {
    std::mem::take(&mut partition(world).near.as_mut().unwrap().asked)
}

/// Reads on for a while; nothing else happens.
fn read(world: &mut World, polls: u64) -> Vec<u64> {
    let mut values = Vec::new();
    for token in 0..polls {
        world.command(Command::Poll { token, timeout_ms: 100 });
        world.run_for(Duration::from_millis(150));
        for event in std::mem::take(&mut world.events) {
            let Event::Polled { records, .. } = event else { panic!("{event}") };
            values.extend(records.iter().flat_map(|polled| polled.records.iter().map(value)));
        }
    }
    values
}

fn begin(world: &mut World) {
    let partition = TopicPartition::new("t", 0);
    world.command(Command::Assign { partition, start: Start::Offset(Offset(0)) });
}

fn all() -> Vec<u64> {
    (0..COUNT).collect()
}

#[test]
fn who_has_a_rack_reads_from_whom_the_leader_names() {
    for (rack, is_near) in [("r", true), ("", false)] {
        let mut world = near_by(rack, |_| {});
        begin(&mut world);
        assert_eq!(read(&mut world, 100), all());
        let (near, leader) = asked(&mut world);
        assert!(if is_near { near > 20 && leader < 10 } else { near == 0 }, "{rack}: {near} and {leader}");
    }
}

#[test]
fn the_leader_is_asked_again_in_time() {
    let mut world = near_by("r", |_| {});
    begin(&mut world);
    read(&mut world, 10);
    asked(&mut world);
    world.run_for(Duration::from_secs(5));
    read(&mut world, 10);
    let (near, leader) = asked(&mut world);
    assert!(near > 0 && (1..=3).contains(&leader), "{near} and {leader}");
}

#[test]
fn who_is_refused_reads_from_the_leader() {
    for refuses in [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::OFFSET_OUT_OF_RANGE,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::OFFSET_NOT_AVAILABLE,
    ] {
        let mut world = near_by("r", |near| near.refuses = Some(refuses));
        begin(&mut world);
        assert_eq!(read(&mut world, 200), all(), "{refuses:?}");
        let (near, leader) = asked(&mut world);
        // It is tried again after a while, and not all the time.
        assert!((1..=20).contains(&near) && leader > 20, "{refuses:?}: {near} and {leader}");
    }
}

#[test]
fn who_does_not_know_yet_what_is_committed_is_asked_again() {
    let mut world = near_by("r", |near| near.high_watermark = -1);
    begin(&mut world);
    assert!(read(&mut world, 1).is_empty());
    let end = partition(&mut world).end;
    partition(&mut world).near.as_mut().unwrap().high_watermark = end;
    assert_eq!(read(&mut world, 100), all());
    let (near, leader) = asked(&mut world);
    assert!(near > 20 && leader < 10, "{near} and {leader}");
}

#[test]
fn who_cannot_be_reached_is_not_waited_for() {
    let mut world = near_by("r", |_| {});
    world.down = partition(&mut world).near.map(|near| near.id);
    begin(&mut world);
    assert_eq!(read(&mut world, 200), all());
    assert_eq!(asked(&mut world).0, 0);
    world.down = None;
    world.run_for(Duration::from_secs(15));
    read(&mut world, 10);
    assert!(asked(&mut world).0 > 0, "it is there again");
}
