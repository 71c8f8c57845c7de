//! Consumer groups, in frames: a group's life, over crashes of the broker, and what is refused.

use std::time::Duration;

use ottla_core::machine::DiskError;
use ottla_wire::api::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use ottla_wire::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use ottla_wire::api::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_wire::api::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use ottla_wire::api::fetch::FetchResponse;
use ottla_wire::api::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_wire::api::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use ottla_wire::api::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use ottla_wire::api::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use ottla_wire::api::list_groups::{ListGroupsRequest, ListGroupsResponse};
use ottla_wire::api::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use ottla_wire::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use ottla_wire::api::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
};
use ottla_wire::api::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponse,
};
use ottla_wire::api::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use ottla_wire::api::{Request as Body, Response as AnswerBody};
use ottla_wire::{ApiKey, ErrorCode, Message, Uuid};

use crate::disk::Crash;
use crate::world::{Request, World};

const SETTINGS: &[(&str, &str)] = &[
    ("offsets.topic.replication.factor", "1"),
    ("offsets.topic.num.partitions", "3"),
    ("group.initial.rebalance.delay.ms", "0"),
];

const JOIN: i16 = 7;
const SYNC: i16 = 5;
const COMMIT: i16 = 8;
const FETCH_OFFSETS: i16 = 8;

/// A node with a topic of two partitions, where somebody has looked for a coordinator.
fn world() -> World {
    let mut world = World::new(SETTINGS);
    world.create_topic("t", 2);
    let found = find(&mut world, "g");
    assert_eq!(found, (ErrorCode::NONE, 1));
    world
}

fn find(world: &mut World, group: &str) -> (ErrorCode, i32) {
    let request = FindCoordinatorRequest { coordinator_keys: vec![group], ..Default::default() };
    let answer = world.call(ApiKey::FindCoordinator, 4, &request);
    let answer = FindCoordinatorResponse::decode(&mut answer.body(), 4).unwrap();
    assert_eq!(answer.coordinators[0].key, group);
    (answer.coordinators[0].error_code, answer.coordinators[0].node_id)
}

fn send_join(world: &mut World, member_id: &str) -> Request {
    let request = JoinGroupRequest {
        group_id: "g",
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id,
        protocol_type: "consumer",
        protocols: vec![JoinGroupRequestProtocol { name: "range", metadata: b"subscription" }],
        ..Default::default()
    };
    world.send(ApiKey::JoinGroup, JOIN, &request)
}

/// A member's place, as the coordinator told it.
#[derive(Clone, Debug, PartialEq)]
struct Joined {
    error: ErrorCode,
    generation: i32,
    member_id: String,
    leader: String,
    members: Vec<String>,
}

fn joined(world: &World, request: Request) -> Option<Joined> {
    let answer = world.answer_to(request, ApiKey::JoinGroup, JOIN)?;
    let answer = JoinGroupResponse::decode(&mut answer.body(), JOIN).unwrap();
    Some(Joined {
        error: answer.error_code,
        generation: answer.generation_id,
        member_id: answer.member_id.to_owned(),
        leader: answer.leader.to_owned(),
        members: answer.members.iter().map(|member| member.member_id.to_owned()).collect(),
    })
}

/// A new member is told its id.
fn new_member(world: &mut World) -> String {
    let request = send_join(world, "");
    let told = joined(world, request).expect("an answer at once");
    assert_eq!(told.error, ErrorCode::MEMBER_ID_REQUIRED);
    assert!(!told.member_id.is_empty());
    told.member_id
}

fn send_sync(world: &mut World, generation_id: i32, member_id: &str, assignments: &[(&str, &[u8])]) -> Request {
    let assignments =
        assignments.iter().map(|&(member_id, assignment)| SyncGroupRequestAssignment { member_id, assignment });
    let request = SyncGroupRequest {
        group_id: "g",
        generation_id,
        member_id,
        protocol_type: Some("consumer"),
        protocol_name: Some("range"),
        assignments: assignments.collect(),
        ..Default::default()
    };
    world.send(ApiKey::SyncGroup, SYNC, &request)
}

fn synced(world: &World, request: Request) -> Option<(ErrorCode, Vec<u8>)> {
    let answer = world.answer_to(request, ApiKey::SyncGroup, SYNC)?;
    let answer = SyncGroupResponse::decode(&mut answer.body(), SYNC).unwrap();
    Some((answer.error_code, answer.assignment.to_vec()))
}

fn heartbeat(world: &mut World, generation_id: i32, member_id: &str) -> ErrorCode {
    let request = HeartbeatRequest { group_id: "g", generation_id, member_id, ..Default::default() };
    let answer = world.call(ApiKey::Heartbeat, 3, &request);
    HeartbeatResponse::decode(&mut answer.body(), 3).unwrap().error_code
}

fn send_commit(world: &mut World, by: (i32, &str), topic: &str, partition: i32, offset: i64) -> Request {
    let partitions = vec![OffsetCommitRequestPartition {
        partition_index: partition,
        committed_offset: offset,
        committed_metadata: Some("note"),
        ..Default::default()
    }];
    let request = OffsetCommitRequest {
        group_id: "g",
        generation_id_or_member_epoch: by.0,
        member_id: by.1,
        topics: vec![OffsetCommitRequestTopic { name: topic, partitions, ..Default::default() }],
        ..Default::default()
    };
    world.send(ApiKey::OffsetCommit, COMMIT, &request)
}

fn committed(world: &World, request: Request) -> Option<ErrorCode> {
    let answer = world.answer_to(request, ApiKey::OffsetCommit, COMMIT)?;
    let answer = OffsetCommitResponse::decode(&mut answer.body(), COMMIT).unwrap();
    Some(answer.topics[0].partitions[0].error_code)
}

fn commit(world: &mut World, by: (i32, &str), topic: &str, partition: i32, offset: i64) -> ErrorCode {
    let request = send_commit(world, by, topic, partition, offset);
    world.run_for(Duration::from_secs(1));
    committed(world, request).expect("an answer")
}

/// What nobody's member commits.
const ALONE: (i32, &str) = (-1, "");

/// Everything that the group has committed: topic, partition, offset.
fn offsets(world: &mut World) -> (ErrorCode, Vec<(String, i32, i64)>) {
    let group = OffsetFetchRequestGroup { group_id: "g", topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let answer = world.call(ApiKey::OffsetFetch, FETCH_OFFSETS, &request);
    let answer = OffsetFetchResponse::decode(&mut answer.body(), FETCH_OFFSETS).unwrap();
    let topics = answer.groups[0].topics.iter();
    let offsets = topics.flat_map(|topic| {
        topic.partitions.iter().map(|it| (topic.name.to_owned(), it.partition_index, it.committed_offset))
    });
    (answer.groups[0].error_code, offsets.collect())
}

/// Two members in one generation, the leader first, each with an assignment.
fn two_members(world: &mut World) -> (i32, String, String) {
    let (one, other) = (new_member(world), new_member(world));
    let first = send_join(world, &one);
    world.run_for(Duration::from_secs(1));
    let alone = joined(world, first).expect("nobody else is waited for");
    assert_eq!((alone.error, &alone.leader, &alone.member_id), (ErrorCode::NONE, &one, &one));
    let assigned = send_sync(world, alone.generation, &one, &[(&one, b"all")]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(synced(world, assigned), Some((ErrorCode::NONE, b"all".to_vec())));

    let second = send_join(world, &other);
    world.run_for(Duration::from_secs(1));
    assert_eq!(joined(world, second), None, "it waits for the first");
    assert_eq!(heartbeat(world, alone.generation, &one), ErrorCode::REBALANCE_IN_PROGRESS);
    let first = send_join(world, &one);
    world.run_for(Duration::from_secs(1));
    let (first, second) = (joined(world, first).unwrap(), joined(world, second).unwrap());
    assert_eq!((first.error, second.error), (ErrorCode::NONE, ErrorCode::NONE));
    assert_eq!(first.generation, second.generation);
    assert!(first.generation > alone.generation);
    assert_eq!((&first.leader, &second.leader), (&one, &one));
    assert_eq!((first.members.len(), second.members.len()), (2, 0), "the leader is told everyone");

    let follower = send_sync(world, second.generation, &other, &[]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(synced(world, follower), None, "it waits for the leader");
    let leader = send_sync(world, first.generation, &one, &[(&one, b"p0"), (&other, b"p1")]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(synced(world, leader), Some((ErrorCode::NONE, b"p0".to_vec())));
    assert_eq!(synced(world, follower), Some((ErrorCode::NONE, b"p1".to_vec())));
    (first.generation, one, other)
}

#[test]
fn two_members_share_a_topic_and_go_on_after_every_crash() {
    for crash in [Crash::Kill, Crash::Power(3)] {
        let mut world = world();
        let (generation, one, other) = two_members(&mut world);
        assert_eq!(commit(&mut world, (generation, &one), "t", 0, 17), ErrorCode::NONE);
        assert_eq!(commit(&mut world, (generation, &other), "t", 1, 4), ErrorCode::NONE);
        assert_eq!(commit(&mut world, (generation, &one), "t", 0, 23), ErrorCode::NONE);
        assert_eq!(commit(&mut world, (generation - 1, &one), "t", 0, 1), ErrorCode::ILLEGAL_GENERATION);
        let all = (ErrorCode::NONE, vec![("t".to_owned(), 0, 23), ("t".to_owned(), 1, 4)]);
        assert_eq!(offsets(&mut world), all);

        world.restart(crash, None);
        assert_eq!(find(&mut world, "g"), (ErrorCode::NONE, 1));
        assert_eq!(offsets(&mut world), all);
        assert_eq!(heartbeat(&mut world, generation, &one), ErrorCode::NONE);
        assert_eq!(heartbeat(&mut world, generation, &other), ErrorCode::NONE);
        assert_eq!(commit(&mut world, (generation, &other), "t", 1, 5), ErrorCode::NONE);

        let members = vec![MemberIdentity { member_id: &one, ..Default::default() }];
        let request = LeaveGroupRequest { group_id: "g", members, ..Default::default() };
        let answer = world.call(ApiKey::LeaveGroup, 4, &request);
        let answer = LeaveGroupResponse::decode(&mut answer.body(), 4).unwrap();
        assert_eq!((answer.error_code, answer.members[0].error_code), (ErrorCode::NONE, ErrorCode::NONE));
        assert_eq!(heartbeat(&mut world, generation, &other), ErrorCode::REBALANCE_IN_PROGRESS);
        let last = send_join(&mut world, &other);
        world.run_for(Duration::from_secs(1));
        let last = joined(&world, last).unwrap();
        assert_eq!((last.error, last.members), (ErrorCode::NONE, vec![other.clone()]));
    }
}

#[test]
fn fifty_members_at_once_settle_in_one_rebalance() {
    // With Kafka's three seconds before a group's first rebalance.
    let mut world = World::new(&SETTINGS[..2]);
    assert_eq!(find(&mut world, "g"), (ErrorCode::NONE, 1));
    let members: Vec<String> = (0..50).map(|_| new_member(&mut world)).collect();
    let joins: Vec<Request> = members.iter().map(|member| send_join(&mut world, member)).collect();
    assert_eq!(world.node.machine.view().groups.asking, 50);
    world.run_for(Duration::from_secs(10));
    let told: Vec<Joined> = joins.iter().map(|join| joined(&world, *join).expect("an answer")).collect();
    assert!(told.iter().all(|it| (it.error, it.generation) == (ErrorCode::NONE, 1)), "{told:?}");
    let leader = told.iter().find(|it| it.member_id == it.leader).expect("a leader");
    assert_eq!(leader.members.len(), 50);
    let view = world.node.machine.view().groups;
    assert_eq!((view.serving, view.groups, view.asking), (3, vec![("CompletingRebalance", 1)], 0));
}

#[test]
fn nothing_is_told_before_the_log_is_read() {
    let mut world = world();
    for offset in 0..50 {
        assert_eq!(commit(&mut world, ALONE, "t", 0, offset), ErrorCode::NONE);
    }
    world.restart_until_ready(Crash::Kill);
    let early = send_commit(&mut world, ALONE, "t", 0, 1);
    assert_eq!(committed(&world, early), Some(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    assert_eq!(heartbeat(&mut world, 1, "m"), ErrorCode::NONE, "who beats goes on meanwhile");
    let list = world.send(ApiKey::ListGroups, 4, &ListGroupsRequest::default());
    let list = world.answer_to(list, ApiKey::ListGroups, 4).expect("an answer at once");
    let list = ListGroupsResponse::decode(&mut list.body(), 4).unwrap();
    assert_eq!(list.error_code, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    world.run_for(Duration::from_secs(1));
    assert_eq!(offsets(&mut world), (ErrorCode::NONE, vec![("t".to_owned(), 0, 49)]));
}

#[test]
fn a_log_that_cannot_be_read_at_once_is_read_again() {
    let mut base = world();
    assert_eq!(commit(&mut base, ALONE, "t", 0, 7), ErrorCode::NONE);
    base.restart_until_ready(Crash::Kill);
    let mut again = 0;
    for nth in 1..12 {
        let mut world = base.clone();
        let fails = world.node.disk.done + nth;
        world.node.disk.fail.insert(fails, DiskError::Io(5));
        world.run_for(Duration::from_millis(100));
        let is_offline = |world: &World| world.node.machine.view().log_dirs[0].health == "offline";
        again += usize::from(world.node.machine.view().groups.loading > 0 && !is_offline(&world));
        world.run_for(Duration::from_secs(1));
        if !is_offline(&world) {
            assert_eq!(offsets(&mut world), (ErrorCode::NONE, vec![("t".to_owned(), 0, 7)]), "operation {nth}");
        }
    }
    assert!(again > 0);
}

#[test]
fn without_the_topic_nobody_coordinates() {
    let mut world = World::new(&SETTINGS[1..]);
    world.create_topic("t", 1);
    // Three replicas are wanted, and there is one broker.
    assert_eq!(find(&mut world, "g"), (ErrorCode::COORDINATOR_NOT_AVAILABLE, -1));
    assert_eq!(find(&mut world, "g"), (ErrorCode::COORDINATOR_NOT_AVAILABLE, -1));
    let told = world.node.notes.iter().filter(|note| note.contains("__consumer_offsets cannot be made")).count();
    assert_eq!(told, 1, "{:?}", world.node.notes);
    assert_eq!(commit(&mut world, ALONE, "t", 0, 1), ErrorCode::NOT_COORDINATOR);
    let list = world.call(ApiKey::ListGroups, 4, &ListGroupsRequest::default());
    let list = ListGroupsResponse::decode(&mut list.body(), 4).unwrap();
    assert_eq!((list.error_code, list.groups.len()), (ErrorCode::NONE, 0));
}

#[test]
fn coordinators_of_other_things_are_refused_for_good() {
    let mut world = world();
    let request = FindCoordinatorRequest { key: "transactional", key_type: 1, ..Default::default() };
    let answer = world.call(ApiKey::FindCoordinator, 2, &request);
    let answer = FindCoordinatorResponse::decode(&mut answer.body(), 2).unwrap();
    assert_eq!((answer.error_code, answer.node_id), (ErrorCode::INVALID_REQUEST, -1));
}

#[test]
fn the_topic_is_internal() {
    let mut world = world();
    let topics =
        ["__consumer_offsets", "t"].map(|name| MetadataRequestTopic { name: Some(name), ..Default::default() });
    let answer =
        world.call(ApiKey::Metadata, 9, &MetadataRequest { topics: Some(topics.into()), ..Default::default() });
    let answer = MetadataResponse::decode(&mut answer.body(), 9).unwrap();
    let seen: Vec<_> = answer.topics.iter().map(|it| (it.is_internal, it.partitions.len())).collect();
    assert_eq!(seen, [(true, 3), (false, 2)]);

    let refused = Some(ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(world.produce("__consumer_offsets", 0, -1, 1000), refused);
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: -1 }];
    let topics = vec![DeleteRecordsTopic { name: "__consumer_offsets", partitions }];
    let answer = world.call(ApiKey::DeleteRecords, 2, &DeleteRecordsRequest { topics, timeout_ms: 1000 });
    let answer = DeleteRecordsResponse::decode(&mut answer.body(), 2).unwrap();
    assert_eq!(Some(answer.topics[0].partitions[0].error_code), refused);

    // But whoever wants to can read it.
    assert_eq!(commit(&mut world, ALONE, "t", 0, 1), ErrorCode::NONE);
    let read: usize = (0..3)
        .map(|partition| {
            let fetch = world.send_fetch("__consumer_offsets", partition, 0, 0);
            let answer = world.answer_to(fetch, ApiKey::Fetch, 12).expect("an answer");
            let answer = FetchResponse::decode(&mut answer.body(), 12).unwrap();
            answer.responses[0].partitions[0].records.as_ref().map_or(0, |it| it.len())
        })
        .sum();
    assert!(read > 100, "{read}");
}

#[test]
fn offsets_of_what_is_not_there_are_refused_and_the_others_kept() {
    let mut world = world();
    assert_eq!(commit(&mut world, ALONE, "t", 2, 1), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(commit(&mut world, ALONE, "u", 0, 1), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 9,
        committed_metadata: None,
        ..Default::default()
    };
    let id = world.topic_id("t");
    let topics = [(id, vec![partition(7), partition(1)]), (Uuid(99), vec![partition(0)])];
    let topics =
        topics.map(|(topic_id, partitions)| OffsetCommitRequestTopic { topic_id, partitions, ..Default::default() });
    let request = OffsetCommitRequest { group_id: "g", topics: topics.into(), ..Default::default() };
    let answer = world.call(ApiKey::OffsetCommit, 10, &request);
    let answer = OffsetCommitResponse::decode(&mut answer.body(), 10).unwrap();
    let mut told: Vec<_> = answer
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|it| (topic.topic_id, it.partition_index, it.error_code)))
        .collect();
    told.sort_by_key(|(topic, partition, _)| (topic.0 != id.0, *partition));
    let unknown = (Uuid(99), 0, ErrorCode::UNKNOWN_TOPIC_ID);
    assert_eq!(told, [(id, 1, ErrorCode::NONE), (id, 7, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), unknown]);
    assert_eq!(answer.topics.len(), 2);

    let topics = [id, Uuid(99)].map(|topic_id| OffsetFetchRequestTopics {
        topic_id,
        partition_indexes: vec![1],
        ..Default::default()
    });
    let group = OffsetFetchRequestGroup { group_id: "g", topics: Some(topics.into()), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let answer = world.call(ApiKey::OffsetFetch, 10, &request);
    let answer = OffsetFetchResponse::decode(&mut answer.body(), 10).unwrap();
    assert_eq!((answer.groups.len(), answer.groups[0].error_code), (1, ErrorCode::NONE));
    let mut told: Vec<_> = answer.groups[0]
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|it| (topic.topic_id, it.committed_offset, it.error_code)))
        .collect();
    told.sort_by_key(|(topic, ..)| topic.0 != id.0);
    assert_eq!(told, [(id, 9, ErrorCode::NONE), (Uuid(99), -1, ErrorCode::UNKNOWN_TOPIC_ID)]);
}

/// An offset may have a long text beside it.
#[test]
fn an_offset_that_is_asked_for_twice_is_told_once() {
    let mut world = world();
    assert_eq!(commit(&mut world, ALONE, "t", 0, 7), ErrorCode::NONE);
    let topic = || OffsetFetchRequestTopics { name: "t", partition_indexes: vec![0, 0, 1, 0], ..Default::default() };
    let group = || OffsetFetchRequestGroup {
        group_id: "g",
        topics: Some(vec![topic(), topic()]),
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest { groups: vec![group(), group()], ..Default::default() };
    let answer = world.call(ApiKey::OffsetFetch, FETCH_OFFSETS, &request);
    let answer = OffsetFetchResponse::decode(&mut answer.body(), FETCH_OFFSETS).unwrap();
    let topics = answer.groups.iter().flat_map(|group| &group.topics);
    let told = topics.flat_map(|topic| topic.partitions.iter().map(|it| (it.partition_index, it.committed_offset)));
    assert_eq!(told.collect::<Vec<_>>(), [(0, 7), (1, -1)]);
}

#[test]
fn an_old_client_is_told_a_groups_error_of_each_partition() {
    let mut world = World::new(SETTINGS);
    let topics = Some(vec![OffsetFetchRequestTopic { name: "t", partition_indexes: vec![0, 5] }]);
    let request = OffsetFetchRequest { group_id: "g", topics, ..Default::default() };
    let answer = world.call(ApiKey::OffsetFetch, 1, &request);
    let answer = OffsetFetchResponse::decode(&mut answer.body(), 1).unwrap();
    let told: Vec<_> = answer.topics[0].partitions.iter().map(|it| (it.partition_index, it.error_code)).collect();
    assert_eq!(told, [(0, ErrorCode::NOT_COORDINATOR), (5, ErrorCode::NOT_COORDINATOR)]);
}

#[test]
fn a_deleted_topic_takes_its_offsets_with_it() {
    for restarts in [false, true] {
        let mut world = world();
        world.create_topic("u", 1);
        assert_eq!(commit(&mut world, ALONE, "t", 0, 7), ErrorCode::NONE);
        assert_eq!(commit(&mut world, ALONE, "u", 0, 8), ErrorCode::NONE);
        let request = DeleteTopicsRequest { topic_names: vec!["t"], timeout_ms: 1000, ..Default::default() };
        let answer = world.call(ApiKey::DeleteTopics, 5, &request);
        let answer = DeleteTopicsResponse::decode(&mut answer.body(), 5).unwrap();
        assert_eq!(answer.responses[0].error_code, ErrorCode::NONE);
        world.run_for(Duration::from_secs(1));
        if restarts {
            world.restart(Crash::Kill, None);
        }
        assert_eq!(offsets(&mut world), (ErrorCode::NONE, vec![("u".to_owned(), 0, 8)]));
    }
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let mut world = world();
    let (generation, one, other) = two_members(&mut world);
    assert_eq!(commit(&mut world, (generation, &one), "t", 0, 7), ErrorCode::NONE);
    let list = |world: &mut World| {
        let answer = world.call(ApiKey::ListGroups, 5, &ListGroupsRequest::default());
        let answer = ListGroupsResponse::decode(&mut answer.body(), 5).unwrap();
        assert_eq!(answer.error_code, ErrorCode::NONE);
        let groups = answer.groups.iter().map(|it| format!("{} {} {}", it.group_id, it.group_state, it.group_type));
        groups.collect::<Vec<_>>()
    };
    assert_eq!(list(&mut world), ["g Stable Classic"]);

    let request = DescribeGroupsRequest { groups: vec!["g", "nobody"], include_authorized_operations: true };
    let answer = world.call(ApiKey::DescribeGroups, 6, &request);
    let answer = DescribeGroupsResponse::decode(&mut answer.body(), 6).unwrap();
    let [group, nobody] = &answer.groups[..] else { panic!("{answer:?}") };
    assert_eq!((group.group_id, group.group_state, group.protocol_data), ("g", "Stable", "range"));
    assert_eq!(
        (nobody.group_id, nobody.group_state, nobody.error_code),
        ("nobody", "Dead", ErrorCode::GROUP_ID_NOT_FOUND)
    );
    assert_eq!((group.authorized_operations, nobody.authorized_operations), (3400, i32::MIN));
    let members: Vec<_> =
        group.members.iter().map(|it| (it.client_host, it.member_metadata, it.member_assignment)).collect();
    assert_eq!(members.len(), 2);
    assert!(members.iter().all(|it| it.0 == "/127.0.0.1" && it.1 == b"subscription" && it.2.starts_with(b"p")));
    let answer = world.call(ApiKey::DescribeGroups, 5, &request);
    let answer = DescribeGroupsResponse::decode(&mut answer.body(), 5).unwrap();
    assert_eq!((answer.groups[1].group_state, answer.groups[1].error_code), ("Dead", ErrorCode::NONE));

    let delete = |world: &mut World, names: &[&str]| {
        let answer = world.call(ApiKey::DeleteGroups, 2, &DeleteGroupsRequest { groups_names: names.to_vec() });
        let answer = DeleteGroupsResponse::decode(&mut answer.body(), 2).unwrap();
        answer.results.iter().map(|it| it.error_code).collect::<Vec<_>>()
    };
    let refused = [ErrorCode::NON_EMPTY_GROUP, ErrorCode::GROUP_ID_NOT_FOUND];
    assert_eq!(delete(&mut world, &["g", "nobody"]), refused);
    for member_id in [&*one, &*other] {
        let members = vec![MemberIdentity { member_id, ..Default::default() }];
        world.call(ApiKey::LeaveGroup, 4, &LeaveGroupRequest { group_id: "g", members, ..Default::default() });
    }
    assert_eq!(list(&mut world), ["g Empty Classic"]);

    let partitions = [0, 9].map(|partition_index| OffsetDeleteRequestPartition { partition_index });
    let topics = vec![OffsetDeleteRequestTopic { name: "t", partitions: partitions.into() }];
    let answer = world.call(ApiKey::OffsetDelete, 0, &OffsetDeleteRequest { group_id: "g", topics });
    let answer = OffsetDeleteResponse::decode(&mut answer.body(), 0).unwrap();
    let mut told: Vec<_> = answer.topics[0].partitions.iter().map(|it| (it.partition_index, it.error_code)).collect();
    told.sort_by_key(|(partition, _)| *partition);
    assert_eq!(told, [(0, ErrorCode::NONE), (9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)]);
    assert_eq!((answer.error_code, answer.topics.len()), (ErrorCode::NONE, 1));

    assert_eq!(delete(&mut world, &["g"]), [ErrorCode::NONE]);
    assert_eq!(list(&mut world), Vec::<String>::new());
    world.restart(Crash::Kill, None);
    assert_eq!(list(&mut world), Vec::<String>::new());
}

#[test]
fn who_goes_is_not_waited_for() {
    let mut world = world();
    let (generation, one, _) = two_members(&mut world);
    let third = new_member(&mut world);
    let parked = send_join(&mut world, &third);
    world.run_for(Duration::from_secs(1));
    assert_eq!(joined(&world, parked), None);
    assert_eq!(world.node.machine.view().groups.asking, 1);
    world.leave(parked);
    assert_eq!(world.node.machine.view().groups.asking, 0);
    // The answer to it is nobody's, and hurts nobody.
    assert_eq!(heartbeat(&mut world, generation, &one), ErrorCode::REBALANCE_IN_PROGRESS);
    world.run_for(Duration::from_secs(120));
    assert_eq!(world.node.machine.view().groups.asking, 0);
}

#[test]
fn a_commit_that_does_not_fit_is_not_told_and_not_kept() {
    let mut base = world();
    assert_eq!(commit(&mut base, ALONE, "t", 0, 1), ErrorCode::NONE);
    let (mut kept, mut lost) = (0, 0);
    for room in (0..900).step_by(11) {
        let mut world = base.clone();
        world.node.disk.room = room;
        let request = send_commit(&mut world, ALONE, "t", 0, 2);
        world.run_for(Duration::from_secs(10));
        let told = committed(&world, request);
        assert!(told.is_some(), "room for {room} bytes: a commit is answered");
        world.node.disk.room = 1 << 40;
        world.run_for(Duration::from_secs(5));
        let (error, seen) = offsets(&mut world);
        assert_eq!(error, ErrorCode::NONE);
        let is_kept = seen == [("t".to_owned(), 0, 2)];
        assert!(is_kept || seen == [("t".to_owned(), 0, 1)], "room for {room} bytes: {seen:?}");
        assert!(is_kept || told != Some(ErrorCode::NONE), "room for {room} bytes");
        (kept, lost) = (kept + usize::from(is_kept), lost + usize::from(!is_kept));
        world.restart(Crash::Power(room), None);
        assert_eq!(offsets(&mut world), (ErrorCode::NONE, seen), "room for {room} bytes");
        assert_eq!(commit(&mut world, ALONE, "t", 0, 3), ErrorCode::NONE);
    }
    assert!(kept > 5 && lost > 5, "{kept} kept, {lost} lost");
}

#[test]
fn a_disk_that_fails_ends_no_commit_in_silence() {
    let mut told = std::collections::BTreeSet::new();
    for nth in 1..12 {
        let mut world = world();
        assert_eq!(commit(&mut world, ALONE, "t", 0, 1), ErrorCode::NONE);
        let fails = world.node.disk.done + nth;
        world.node.disk.fail.insert(fails, DiskError::Io(5));
        let request = send_commit(&mut world, ALONE, "t", 0, 2);
        world.run_for(Duration::from_secs(10));
        let code = committed(&world, request).expect("an answer");
        told.insert(code.0);
        world.node.disk.fail.clear();
        world.restart(Crash::Kill, None);
        assert!(world.node.ready, "{:?}", world.node.notes);
        let (error, seen) = offsets(&mut world);
        assert_eq!(error, ErrorCode::NONE);
        assert!(code != ErrorCode::NONE || seen == [("t".to_owned(), 0, 2)], "operation {nth}: {seen:?}");
    }
    assert!(told.len() > 1, "{told:?}");
}

/// An empty request of every API in every version, with what must be there filled in.
#[test]
fn every_version_is_answered() {
    let mut world = world();
    let keys = [
        ApiKey::FindCoordinator,
        ApiKey::JoinGroup,
        ApiKey::SyncGroup,
        ApiKey::Heartbeat,
        ApiKey::LeaveGroup,
        ApiKey::OffsetCommit,
        ApiKey::OffsetFetch,
        ApiKey::OffsetDelete,
        ApiKey::DescribeGroups,
        ApiKey::ListGroups,
        ApiKey::DeleteGroups,
    ];
    for key in keys {
        for version in key.versions() {
            let answer = world.call_any(key, version, &body(key));
            let read = AnswerBody::decode(&mut answer.body(), key, version);
            assert!(read.is_ok(), "{key} {version}: {read:?}");
        }
    }
}

fn body(key: ApiKey) -> Body<'static> {
    let topics = vec![OffsetFetchRequestTopic { name: "t", partition_indexes: vec![0] }];
    let group = OffsetFetchRequestGroup { group_id: "g", topics: None, ..Default::default() };
    match key {
        ApiKey::FindCoordinator => {
            FindCoordinatorRequest { key: "g", key_type: 0, coordinator_keys: vec!["g", "h"] }.into()
        }
        ApiKey::JoinGroup => JoinGroupRequest { group_id: "g", session_timeout_ms: 1, ..Default::default() }.into(),
        ApiKey::SyncGroup => SyncGroupRequest { group_id: "g", ..Default::default() }.into(),
        ApiKey::Heartbeat => HeartbeatRequest { group_id: "g", ..Default::default() }.into(),
        ApiKey::LeaveGroup => LeaveGroupRequest { group_id: "g", ..Default::default() }.into(),
        ApiKey::OffsetCommit => OffsetCommitRequest { group_id: "g", ..Default::default() }.into(),
        ApiKey::OffsetFetch => {
            OffsetFetchRequest { group_id: "g", topics: Some(topics), groups: vec![group], ..Default::default() }.into()
        }
        ApiKey::OffsetDelete => OffsetDeleteRequest { group_id: "g", ..Default::default() }.into(),
        ApiKey::DescribeGroups => DescribeGroupsRequest { groups: vec!["g"], ..Default::default() }.into(),
        ApiKey::ListGroups => ListGroupsRequest::default().into(),
        ApiKey::DeleteGroups => DeleteGroupsRequest { groups_names: vec!["h"] }.into(),
        other => panic!("{other} is no API of groups"),
    }
}

/// A million commits of a thousand keys, with the cleaner behind them.
#[test]
fn a_million_commits_leave_what_the_live_keys_take() {
    const SEGMENT: i64 = 1 << 20;
    let segment = SEGMENT.to_string();
    let cleaned = [
        ("offsets.topic.num.partitions", "1"),
        ("offsets.topic.segment.bytes", &segment),
        ("log.cleaner.backoff.ms", "500"),
        ("log.segment.delete.delay.ms", "0"),
    ];
    let mut world = World::new(&[SETTINGS, &cleaned].concat());
    world.create_topic("t", 1000);
    assert_eq!(find(&mut world, "g"), (ErrorCode::NONE, 1));
    for offset in 1..=1000_i64 {
        let of = |partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset,
            committed_metadata: Some("note"),
            ..Default::default()
        };
        let topics =
            vec![OffsetCommitRequestTopic { name: "t", partitions: (0..1000).map(of).collect(), ..Default::default() }];
        let request = OffsetCommitRequest {
            group_id: "g",
            generation_id_or_member_epoch: ALONE.0,
            member_id: ALONE.1,
            topics,
            ..Default::default()
        };
        let request = world.send(ApiKey::OffsetCommit, COMMIT, &request);
        world.run_for(Duration::from_millis(100));
        assert_eq!(committed(&world, request), Some(ErrorCode::NONE), "{offset}");
    }
    world.run_for(Duration::from_secs(60));
    let view = world.node.machine.view();
    let log = view.partitions.iter().find(|it| it.topic == "__consumer_offsets").expect("it is there");
    assert!(log.log_end >= 1_000_000, "{}", log.log_end);
    // One that is written, one that is not dirty enough, and the keys: 100 bytes each at the most.
    let most = 3 * SEGMENT + 1000 * 100;
    assert!(i64::try_from(log.size).is_ok_and(|size| size < most), "{} bytes in {:?}", log.size, log.segments);
    world.restart(Crash::Power(3), None);
    let (error, offsets) = offsets(&mut world);
    assert_eq!((error, offsets.len()), (ErrorCode::NONE, 1000));
    assert!(offsets.iter().all(|(_, _, offset)| *offset == 1000), "{offsets:?}");
}

/// Each reading of a log would begin with the stepped clock, and find both clocks to agree.
#[test]
fn a_clock_that_stepped_before_a_shard_was_read_removes_nothing() {
    let mut world = world();
    assert_eq!(commit(&mut world, ALONE, "t", 0, 1), ErrorCode::NONE);
    world.stepped_ms = 30 * 24 * 3_600_000;
    world.node.disk.room = 0;
    let request = send_commit(&mut world, ALONE, "t", 0, 2);
    world.run_for(Duration::from_secs(10));
    assert_ne!(committed(&world, request), Some(ErrorCode::NONE), "the log has lost its end: it is read anew");
    world.node.disk.room = 1 << 40;
    world.run_for(Duration::from_secs(3600));
    assert_eq!(offsets(&mut world), (ErrorCode::NONE, vec![("t".to_owned(), 0, 1)]));
}

#[test]
fn commits_that_fail_again_and_again_hold_back_no_timer() {
    let mut world = World::new(&[SETTINGS, &[("message.max.bytes", "60")]].concat());
    world.create_topic("t", 2);
    assert_eq!(find(&mut world, "g"), (ErrorCode::NONE, 1));
    let member = new_member(&mut world);
    let fail = |world: &mut World| {
        let request = send_commit(world, ALONE, "t", 0, 1);
        world.run_for(Duration::from_millis(400));
        assert_eq!(committed(world, request), Some(ErrorCode::INVALID_COMMIT_OFFSET_SIZE));
    };
    (0..150).for_each(|_| fail(&mut world));
    let request = send_join(&mut world, &member);
    (0..5).for_each(|_| fail(&mut world));
    let told = joined(&world, request).expect("its id has gone by, with the session that it was given");
    assert_eq!(told.error, ErrorCode::UNKNOWN_MEMBER_ID);
}
