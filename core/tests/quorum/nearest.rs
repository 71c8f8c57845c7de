//! Fetching from the nearest replica (KIP-392): whom leaders send consumers to, and what followers answer them.

use bytes::Bytes;
use ottla_core::planted::Planted;
use ottla_core::types::BrokerId;
use ottla_wire::api::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ottla_wire::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic};
use ottla_wire::{ApiKey, ErrorCode, Message, Reader, Uuid};

use crate::world::{Knobs, World};

const BY_RACK: &[(&str, &str)] =
    &[("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector")];

/// What a consumer asks of partition 0 of topic `r`.
#[derive(Clone, Copy)]
struct Asked {
    version: i16,
    rack: &'static str,
    offset: i64,
    leader_epoch: i32,
    max_wait_ms: i32,
    session: (i32, i32),
}

const ASKED: Asked = Asked { version: 12, rack: "", offset: 0, leader_epoch: -1, max_wait_ms: 0, session: (0, -1) };

/// What it is answered.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    error: ErrorCode,
    preferred: i32,
    high_watermark: i64,
    bytes: usize,
}

/// Three nodes in racks of their own, with a topic of three replicas and records in it; who leads, and who follows.
pub(crate) fn written(settings: &'static [(&'static str, &'static str)]) -> (World, usize, [usize; 2]) {
    let mut world = World::new(3, 0, Planted::default(), 1);
    world.knobs = Knobs { settings, quiet: true, racks: true, ..Knobs::default() };
    world.run(10_000);
    world.produce(50);
    world.run(5_000);
    world.heal();
    world.run(2_000);
    let leader = world.machine(0).image().partition("r", 0).and_then(|it| it.leader).expect("somebody leads");
    let leader = usize::try_from(leader.0).unwrap();
    (world, leader, [(leader + 1) % 3, (leader + 2) % 3])
}

/// High watermark and end of the log that a node has.
pub(crate) fn stands(world: &World, node: usize) -> (i64, i64) {
    let view = world.machine(node).view();
    let it = view.partitions.iter().find(|it| it.topic == "r" && it.partition == 0).unwrap();
    (it.high_watermark, it.log_end)
}

fn send(world: &mut World, to: (usize, Option<u64>), asked: Asked) -> u64 {
    let partition = FetchPartition {
        fetch_offset: asked.offset,
        current_leader_epoch: asked.leader_epoch,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let partitions = if asked.session.1 > 0 { vec![] } else { vec![partition] };
    let topics = vec![FetchTopic { topic: "r", topic_id: Uuid::ZERO, partitions }];
    let request = FetchRequest {
        max_wait_ms: asked.max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_id: asked.session.0,
        session_epoch: asked.session.1,
        topics: if asked.session.1 > 0 { vec![] } else { topics },
        rack_id: asked.rack,
        ..Default::default()
    };
    world.read(to, ApiKey::Fetch, asked.version, &request)
}

fn told(bytes: &Bytes, version: i16) -> (i32, Vec<Told>) {
    let answer = FetchResponse::decode(&mut Reader::new(bytes), version).unwrap();
    assert_eq!(answer.error_code, ErrorCode::NONE);
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let told = partitions.map(|it| Told {
        error: it.error_code,
        preferred: it.preferred_read_replica,
        high_watermark: it.high_watermark,
        bytes: it.records.and_then(|records| records.as_slice()).map_or(0, <[u8]>::len),
    });
    (answer.session_id, told.collect())
}

fn fetch(world: &mut World, node: usize, asked: Asked) -> Told {
    let link = send(world, (node, None), asked);
    world.run(100);
    let (_, bytes) = world.answer_to(link, ApiKey::Fetch, asked.version).expect("it does not wait");
    told(&bytes, asked.version).1.remove(0)
}

fn rack_of(node: usize) -> &'static str {
    ["r0", "r1", "r2"][node]
}

#[test]
fn a_leader_sends_a_consumer_to_the_follower_in_its_rack() {
    let (mut world, leader, [near, _]) = written(BY_RACK);
    let (high_watermark, end) = stands(&world, leader);
    assert!(end > 10, "{end}");
    let preferred = i32::try_from(near).unwrap();
    for (asked, expected) in [
        (Asked { rack: rack_of(near), ..ASKED }, (ErrorCode::NONE, preferred)),
        (Asked { rack: rack_of(near), offset: end, ..ASKED }, (ErrorCode::NONE, preferred)),
        (Asked { rack: rack_of(near), offset: end + 1, ..ASKED }, (ErrorCode::OFFSET_OUT_OF_RANGE, -1)),
        (Asked { rack: rack_of(near), version: 10, ..ASKED }, (ErrorCode::NONE, -1)),
        (Asked { rack: rack_of(leader), ..ASKED }, (ErrorCode::NONE, -1)),
        (Asked { rack: "elsewhere", ..ASKED }, (ErrorCode::NONE, -1)),
        (ASKED, (ErrorCode::NONE, -1)),
    ] {
        let told = fetch(&mut world, leader, asked);
        let (rack, offset, version) = (asked.rack, asked.offset, asked.version);
        assert_eq!((told.error, told.preferred), expected, "{rack} {offset} {version}");
        if told.error == ErrorCode::NONE {
            assert_eq!((told.bytes == 0, told.high_watermark), (told.preferred >= 0, high_watermark), "{rack}");
        }
    }
}

/// The leader sends nobody to the replica in the rack, and answers itself.
fn is_served_by_the_leader(world: &mut World, leader: usize, near: usize) {
    let told = fetch(world, leader, Asked { rack: rack_of(near), ..ASKED });
    assert_eq!((told.error, told.preferred), (ErrorCode::NONE, -1));
    assert!(told.bytes > 0);
}

#[test]
fn nobody_is_sent_anywhere_unless_the_operator_says_so() {
    let (mut world, leader, [near, _]) = written(&[]);
    is_served_by_the_leader(&mut world, leader, near);
}

#[test]
fn nobody_is_sent_to_who_is_out_of_service() {
    let (mut world, leader, [near, _]) = written(BY_RACK);
    world.send_away(near, 60_000);
    world.run(20_000);
    let broker = BrokerId(i32::try_from(near).unwrap());
    assert!(!world.machine(leader).image().is_active(broker));
    is_served_by_the_leader(&mut world, leader, near);
}

#[test]
fn an_incremental_answer_names_the_replica_each_time() {
    let (mut world, leader, [near, _]) = written(BY_RACK);
    let asked = Asked { rack: rack_of(near), session: (0, 0), max_wait_ms: 1_000, ..ASKED };
    let link = send(&mut world, (leader, None), asked);
    world.run(100);
    let (_, bytes) = world.answer_to(link, ApiKey::Fetch, asked.version).expect("it does not wait");
    let (session, first) = told(&bytes, asked.version);
    send(&mut world, (leader, Some(link)), Asked { session: (session, 1), ..asked });
    world.run(100);
    let (_, bytes) = world.answer_to(link, ApiKey::Fetch, asked.version).expect("it does not wait");
    assert_eq!(told(&bytes, asked.version), (session, first));
}

#[test]
fn a_follower_serves_consumers_up_to_its_high_watermark() {
    let (mut world, leader, [near, _]) = written(BY_RACK);
    let (high_watermark, end) = stands(&world, near);
    assert_eq!((high_watermark, end), stands(&world, leader));
    let epoch = world.machine(near).image().partition("r", 0).unwrap().leader_epoch.0;
    for (asked, expected) in [
        (Asked { leader_epoch: epoch, ..ASKED }, ErrorCode::NONE),
        (Asked { offset: end, ..ASKED }, ErrorCode::NONE),
        (Asked { offset: end + 1, ..ASKED }, ErrorCode::OFFSET_OUT_OF_RANGE),
        (Asked { offset: -1, ..ASKED }, ErrorCode::OFFSET_OUT_OF_RANGE),
        (Asked { leader_epoch: epoch + 1, ..ASKED }, ErrorCode::UNKNOWN_LEADER_EPOCH),
        (Asked { version: 10, ..ASKED }, ErrorCode::NOT_LEADER_OR_FOLLOWER),
    ] {
        let told = fetch(&mut world, near, asked);
        let (offset, version) = (asked.offset, asked.version);
        assert_eq!((told.error, told.preferred), (expected, -1), "{offset} {version} {}", asked.leader_epoch);
        if told.error == ErrorCode::NONE {
            assert_eq!((told.high_watermark, told.bytes > 0), (high_watermark, offset < end));
        }
    }
}

#[test]
fn where_a_log_ends_only_its_leader_says() {
    let (mut world, _, [near, _]) = written(BY_RACK);
    let partitions = vec![ListOffsetsPartition { timestamp: -1, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: "r", partitions }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let link = world.read((near, None), ApiKey::ListOffsets, 7, &request);
    world.run(100);
    let (_, bytes) = world.answer_to(link, ApiKey::ListOffsets, 7).unwrap();
    let answer = ListOffsetsResponse::decode(&mut Reader::new(&bytes), 7).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[test]
fn who_waits_at_a_follower_is_answered_when_a_record_is_committed() {
    let (mut world, leader, [near, _]) = written(BY_RACK);
    for _ in 0..5 {
        let (_, offset) = stands(&world, near);
        let link = send(&mut world, (near, None), Asked { offset, max_wait_ms: 20_000, ..ASKED });
        world.run(600);
        let written = world.now_ms();
        world.write(leader, 0);
        world.run(1_000);
        let (at, bytes) = world.answer_to(link, ApiKey::Fetch, ASKED.version).expect("it is committed");
        let (_, told) = told(&bytes, ASKED.version);
        assert_eq!((told[0].error, told[0].high_watermark), (ErrorCode::NONE, offset + 1));
        assert!(told[0].bytes > 0);
        // Not only when the follower asks again, half a second later.
        assert!(at - written < 200, "{}", at - written);
    }
}

#[test]
fn what_may_be_committed_is_not_out_of_range() {
    let (mut world, leader, [near, other]) = written(BY_RACK);
    // It is in sync for half a second yet, and the high watermark waits for it.
    world.send_away(other, 60_000);
    world.write(leader, 0);
    world.run(100);
    let (high_watermark, end) = stands(&world, near);
    assert_eq!(high_watermark + 1, end);
    let waits = fetch(&mut world, near, Asked { offset: high_watermark, ..ASKED });
    assert_eq!((waits.error, waits.bytes), (ErrorCode::NONE, 0));
    assert_eq!(fetch(&mut world, near, Asked { offset: end, ..ASKED }).error, ErrorCode::NONE);
    assert_eq!(fetch(&mut world, near, Asked { offset: end + 1, ..ASKED }).error, ErrorCode::OFFSET_OUT_OF_RANGE);
}
