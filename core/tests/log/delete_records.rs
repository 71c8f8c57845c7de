//! DeleteRecords, as a client asks for it.

use ottla_wire::api::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use ottla_wire::{ApiKey, ErrorCode, Message};

use crate::broker::World;

const VERSION: i16 = 2;

fn request(name: &str, timeout_ms: i32) -> DeleteRecordsRequest<'_> {
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: -1 }];
    DeleteRecordsRequest { topics: vec![DeleteRecordsTopic { name, partitions }], timeout_ms }
}

/// What an answer says of its one partition.
fn outcome(answer: &crate::broker::Answer) -> (ErrorCode, i64) {
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
