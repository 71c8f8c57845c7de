//! DeleteRecords, as a client asks for it.

use std::time::Duration;

use ottla_wire::api::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use ottla_wire::{ApiKey, ErrorCode, Message};

use crate::world::World;

const VERSION: i16 = 2;

fn request(name: &str, timeout_ms: i32) -> DeleteRecordsRequest<'_> {
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: -1 }];
    DeleteRecordsRequest { topics: vec![DeleteRecordsTopic { name, partitions }], timeout_ms }
}

/// What an answer says of its one partition.
fn outcome(answer: &crate::world::Answer) -> (ErrorCode, i64) {
    let answer = DeleteRecordsResponse::decode(&mut answer.body(), VERSION).unwrap();
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

#[test]
fn records_are_deleted_only_where_the_policy_has_delete() {
    let mut world = World::new(&[]);
    for (name, policy, expected) in [
        ("kept", "compact", (ErrorCode::POLICY_VIOLATION, -1)),
        ("both", "compact,delete", (ErrorCode::NONE, 0)),
        ("deleted", "delete", (ErrorCode::NONE, 0)),
    ] {
        let configs = vec![CreatableTopicConfig { name: "cleanup.policy", value: Some(policy) }];
        let topic = CreatableTopic { name, num_partitions: 1, replication_factor: 1, configs, ..Default::default() };
        let create = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        world.call(ApiKey::CreateTopics, 5, &create);
        let answer = world.call(ApiKey::DeleteRecords, VERSION, &request(name, 1000));
        assert_eq!(outcome(&answer), expected, "{policy}");
    }
}

/// A partition that is named twice waits for one start, in two places of the answer.
#[test]
fn a_partition_named_twice_is_answered_twice_and_at_once() {
    let mut world = World::new(&[]);
    world.create_topic("t", 1);
    assert_eq!(world.produce("t", 0, -1, 1000), Some(ErrorCode::NONE));
    let mut twice = request("t", 60_000);
    twice.topics.extend(twice.topics.clone());
    let sent = world.send(ApiKey::DeleteRecords, VERSION, &twice);
    world.run_for(Duration::from_secs(1));
    let answer = world.answer_to(sent, ApiKey::DeleteRecords, VERSION).expect("an answer within a second");
    let answer = DeleteRecordsResponse::decode(&mut answer.body(), VERSION).unwrap();
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let told: Vec<_> = partitions.map(|it| (it.error_code, it.low_watermark)).collect();
    assert_eq!(told, [(ErrorCode::NONE, 1); 2]);
}

/// The new start cannot be saved on a full disk, and the client is told when its time is up.
#[test]
fn who_waits_for_records_to_be_deleted_on_a_full_disk_is_answered_in_time() {
    let mut world = World::new(&[]);
    world.create_topic("t", 1);
    assert_eq!(world.produce("t", 0, -1, 1000), Some(ErrorCode::NONE));
    world.node.disk.room = 0;
    let sent = world.send(ApiKey::DeleteRecords, VERSION, &request("t", 700));
    let answer = |world: &World| world.answer_to(sent, ApiKey::DeleteRecords, VERSION).as_ref().map(outcome);
    world.run_for(Duration::from_millis(699));
    assert_eq!(answer(&world), None);
    world.run_for(Duration::from_millis(2));
    assert_eq!(answer(&world), Some((ErrorCode::REQUEST_TIMED_OUT, -1)));
    // It comes about when there is room, and the next one is told so.
    world.node.disk.room = 1 << 30;
    world.run_for(Duration::from_secs(2));
    let answer = world.call(ApiKey::DeleteRecords, VERSION, &request("t", 700));
    assert_eq!(outcome(&answer), (ErrorCode::NONE, 1));
}
