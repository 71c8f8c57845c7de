//! Elections by an operator's word, of who lacks what was acknowledged: from then on nothing more may be lost.

use bytes::Bytes;
use ottla_core::planted::Planted;
use ottla_core::types::BrokerId;
use ottla_wire::api::create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use ottla_wire::api::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::api::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest,
};
use ottla_wire::api::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use ottla_wire::{ApiKey, Message, Reader};

use crate::world::{Knobs, World};

fn tell<'a>(world: &mut World, node: usize, api_key: ApiKey, version: i16, request: &impl Message<'a>) -> Bytes {
    let link = world.read((node, None), api_key, version, request);
    world.run(2_000);
    let (_, answer) = world.answer_to(link, api_key, version).unwrap_or_else(|| panic!("{api_key:?} is not answered"));
    answer
}

/// Who an operator is told that led last, where nobody does.
fn last_known(world: &mut World, node: usize) -> Option<Vec<i32>> {
    let topics = vec![TopicRequest { name: "r" }];
    let request = DescribeTopicPartitionsRequest { topics, ..Default::default() };
    let answer = tell(world, node, ApiKey::DescribeTopicPartitions, 0, &request);
    let mut answer = DescribeTopicPartitionsResponse::decode(&mut Reader::new(&answer), 0).unwrap();
    answer.topics.remove(0).partitions.remove(0).last_known_elr
}

fn write(world: &mut World, node: usize, records: usize) {
    for _ in 0..records {
        world.write(node, 0);
        world.run(20);
    }
    world.run(1_000);
}

/// Start and end of the log that a node has.
fn bounds(world: &World, node: usize) -> (i64, i64) {
    let view = world.machine(node).view();
    let it = view.partitions.iter().find(|it| it.topic == "r").expect("it has a replica");
    (it.log_start, it.log_end)
}

/// Nodes 0 and 1 have a partition; 1 is away when `records` more are written to it, and all are deleted. Then 0 is
/// away, and 1 leads by an operator's word.
fn led_by_who_was_away(records: usize) -> World {
    let mut world = World::new(3, 0, Planted::default(), 1);
    world.knobs = Knobs { quiet: true, ..Knobs::default() };
    world.run(10_000);
    let assignments = vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![0, 1] }];
    let topic =
        CreatableTopic { name: "r", num_partitions: -1, replication_factor: -1, assignments, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
    tell(&mut world, 2, ApiKey::CreateTopics, 5, &request);
    write(&mut world, 0, 5);
    world.send_away(1, 30_000);
    world.run(21_000);
    write(&mut world, 0, records);
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: -1 }];
    let topics = vec![DeleteRecordsTopic { name: "r", partitions }];
    tell(&mut world, 0, ApiKey::DeleteRecords, 2, &DeleteRecordsRequest { topics, timeout_ms: 1_000 });
    let end = 5 + i64::try_from(records).unwrap();
    assert_eq!(bounds(&world, 0), (end, end));
    assert_eq!(last_known(&mut world, 2), Some(vec![]));
    world.send_away(0, 40_000);
    world.run(21_000);
    assert_eq!(last_known(&mut world, 2), Some(vec![0]));
    let topic_partitions = Some(vec![TopicPartitions { topic: "r", partitions: vec![0] }]);
    let request = ElectLeadersRequest { election_type: 1, topic_partitions, timeout_ms: 5_000 };
    tell(&mut world, 2, ApiKey::ElectLeaders, 2, &request);
    let partition = world.machine(2).image().partition("r", 0).cloned().expect("it is there");
    world.forget_records();
    assert_eq!((partition.leader, partition.isr), (Some(BrokerId(1)), vec![BrokerId(1)]));
    world
}

/// What was deleted has come back by that; where it was, records are written again. A replica that begins after them
/// would lack them, and may not come to lead.
#[test]
fn who_has_deleted_more_than_the_leader_has_begins_anew() {
    for written_before in [0, 3, 20] {
        let mut world = led_by_who_was_away(10);
        assert_eq!(bounds(&world, 1), (0, 5));
        write(&mut world, 1, written_before);
        world.run(30_000);
        let in_sync = world.machine(2).image().partition("r", 0).map(|it| it.isr.len());
        assert_eq!(in_sync, Some(2), "{written_before}");
        write(&mut world, 1, 3);
        let end = 5 + i64::try_from(written_before).unwrap() + 3;
        assert_eq!((bounds(&world, 0), bounds(&world, 1)), ((0, end), (0, end)));
    }
}

/// What counted in the last process says what this one can prove, and not what counts now.
#[test]
fn who_counted_what_was_not_durable_proves_nothing_before_it_has_stopped_in_good_order() {
    let mut world = World::new(3, 0, Planted::default(), 1);
    world.knobs = Knobs { quiet: true, settings: &[("flush", "async")], ..Knobs::default() };
    world.run(10_000);
    let mut comes_back = |settings, in_good_order: bool, doubted: usize| {
        world.knobs.settings = settings;
        if in_good_order {
            world.shut_down(1);
            world.run(5_000);
            assert!(world.has_stopped(1));
        }
        world.send_away(1, 1_000);
        world.run(10_000);
        let nodes = world.describe();
        assert_eq!(nodes.matches("broker 1 is registered; it may have lost records").count(), doubted, "{nodes}");
    };
    comes_back(&[("flush", "async")], true, 0);
    comes_back(&[], false, 1);
    comes_back(&[], false, 2);
    comes_back(&[], true, 2);
    comes_back(&[], false, 2);
    comes_back(&[("flush", "async")], false, 2);
    comes_back(&[], true, 2);
}
