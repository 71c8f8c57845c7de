//! Consumer groups of KIP-848, in frames: over crashes of the broker, topics that grow, and what the tools ask.

use std::time::Duration;

use ottla_wire::api::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::api::consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use ottla_wire::api::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ottla_wire::api::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::api::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse};
use ottla_wire::api::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use ottla_wire::api::find_coordinator::FindCoordinatorRequest;
use ottla_wire::api::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use ottla_wire::api::list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use ottla_wire::api::list_groups::{ListGroupsRequest, ListGroupsResponse};
use ottla_wire::{ApiKey, ErrorCode, Message, Uuid};

use crate::disk::Crash;
use crate::world::World;

const SETTINGS: &[(&str, &str)] = &[
    ("offsets.topic.replication.factor", "1"),
    ("offsets.topic.num.partitions", "3"),
    ("group.consumer.assignment.interval.ms", "0"),
];

fn world() -> World {
    let mut world = World::new(SETTINGS);
    world.create_topic("t", 2);
    look_for(&mut world);
    world
}

fn look_for(world: &mut World) {
    let request = FindCoordinatorRequest { coordinator_keys: vec!["g"], ..Default::default() };
    world.call(ApiKey::FindCoordinator, 4, &request);
}

/// What a member was told: its id, its epoch, and its partitions if they are others.
type Told = (ErrorCode, String, i32, Option<Vec<(Uuid, Vec<i32>)>>);

fn beat(world: &mut World, member_id: &str, member_epoch: i32, owned: Option<Vec<TopicPartitions>>) -> Told {
    beat_and_again(world, member_id, member_epoch, owned).0
}

/// The same, and after how many milliseconds the member is to come again.
fn beat_and_again(
    world: &mut World,
    member_id: &str,
    member_epoch: i32,
    owned: Option<Vec<TopicPartitions>>,
) -> (Told, i32) {
    let joins = member_epoch == 0;
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g",
        member_id,
        member_epoch,
        rebalance_timeout_ms: if joins { 60_000 } else { -1 },
        subscribed_topic_names: joins.then(|| vec!["t"]),
        topic_partitions: if joins { Some(Vec::new()) } else { owned },
        ..Default::default()
    };
    let version = i16::from(!member_id.is_empty());
    let answer = world.call(ApiKey::ConsumerGroupHeartbeat, version, &request);
    let answer = ConsumerGroupHeartbeatResponse::decode(&mut answer.body(), version).unwrap();
    let assigned = answer
        .assignment
        .map(|assignment| assignment.topic_partitions.into_iter().map(|it| (it.topic_id, it.partitions)).collect());
    let told = (answer.error_code, answer.member_id.unwrap_or_default().to_owned(), answer.member_epoch, assigned);
    (told, answer.heartbeat_interval_ms)
}

/// Gives the group settings of its own.
fn configure(world: &mut World, group: &str, settings: &[(&str, &str)]) -> ErrorCode {
    let set = |&(name, value)| AlterableConfig { name, config_operation: 0, value: Some(value) };
    let configs = settings.iter().map(set).collect();
    let resource = AlterConfigsResource { resource_type: GROUP, resource_name: group, configs };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = world.call(ApiKey::IncrementalAlterConfigs, 1, &request);
    IncrementalAlterConfigsResponse::decode(&mut answer.body(), 1).unwrap().responses[0].error_code
}

/// The resource type of groups.
const GROUP: i8 = 32;

/// The partitions alone.
fn partitions(told: &Told) -> Option<Vec<i32>> {
    Some(told.3.as_ref()?.iter().flat_map(|(_, partitions)| partitions.clone()).collect())
}

#[test]
fn members_share_a_topic_that_grows_and_go_on_after_every_crash() {
    for crash in [Crash::Kill, Crash::Power(3)] {
        let mut world = world();
        let first = beat(&mut world, "a", 0, None);
        assert_eq!((first.0, &*first.1, first.2, partitions(&first)), (ErrorCode::NONE, "a", 1, Some(vec![0, 1])));
        let topic_id = first.3.as_ref().unwrap()[0].0;
        let owned = |partitions: &[i32]| Some(vec![TopicPartitions { topic_id, partitions: partitions.to_vec() }]);

        // A client that does not draw its id is given one.
        let second = beat(&mut world, "", 0, None);
        assert_eq!((second.0, second.2, partitions(&second)), (ErrorCode::NONE, 2, Some(vec![])));
        let other = second.1;
        assert_eq!(other.len(), 22);
        let keeps = beat(&mut world, "a", 1, owned(&[0, 1]));
        assert_eq!((keeps.2, partitions(&keeps)), (1, Some(vec![0])));

        world.restart(crash, None);
        look_for(&mut world);
        let gave = beat(&mut world, "a", 1, owned(&[0]));
        assert_eq!((gave.0, gave.2, partitions(&gave)), (ErrorCode::NONE, 2, None));
        assert_eq!(partitions(&beat(&mut world, &other, 2, None)), Some(vec![1]));
        assert_eq!(beat(&mut world, &other, 7, None).0, ErrorCode::FENCED_MEMBER_EPOCH);

        let grown = CreatePartitionsTopic { name: "t", count: 4, assignments: None };
        let request = CreatePartitionsRequest { topics: vec![grown], timeout_ms: 10_000, ..Default::default() };
        world.call(ApiKey::CreatePartitions, 3, &request);
        let more = beat(&mut world, "a", 2, owned(&[0]));
        assert_eq!((more.2, partitions(&more).map(|it| it.len())), (3, Some(2)));
        assert_eq!(partitions(&beat(&mut world, &other, 2, None)).map(|it| it.len()), Some(2));

        assert_eq!(beat(&mut world, &other, -1, None).2, -1);
        world.run_for(Duration::from_secs(1));
        let all = beat(&mut world, "a", 3, None);
        assert_eq!((all.2, partitions(&all)), (4, Some(vec![0, 1, 2, 3])));
    }
}

#[test]
fn tools_see_it_as_what_it_is() {
    let mut world = world();
    beat(&mut world, "a", 0, None);
    let request = ConsumerGroupDescribeRequest { group_ids: vec!["g", "nobody"], include_authorized_operations: true };
    let answer = world.call(ApiKey::ConsumerGroupDescribe, 1, &request);
    let answer = ConsumerGroupDescribeResponse::decode(&mut answer.body(), 1).unwrap();
    let group = answer.groups.iter().find(|it| it.group_id == "g").unwrap();
    assert_eq!((group.group_state, group.group_epoch, group.assignor_name), ("Stable", 1, "uniform"));
    let member = &group.members[0];
    assert_eq!((member.member_id, member.member_epoch, member.member_type), ("a", 1, 1));
    assert_eq!(member.subscribed_topic_names, ["t"]);
    assert_eq!(member.assignment, member.target_assignment);
    assert_eq!((member.assignment.topic_partitions[0].topic_name, group.authorized_operations > 0), ("t", true));
    let nobody = answer.groups.iter().find(|it| it.group_id == "nobody").unwrap();
    assert_eq!(nobody.error_code, ErrorCode::GROUP_ID_NOT_FOUND);

    let request = DescribeGroupsRequest { groups: vec!["g"], ..Default::default() };
    let answer = world.call(ApiKey::DescribeGroups, 6, &request);
    let answer = DescribeGroupsResponse::decode(&mut answer.body(), 6).unwrap();
    assert_eq!((answer.groups[0].error_code, answer.groups[0].group_state), (ErrorCode::GROUP_ID_NOT_FOUND, "Dead"));

    let request = ListGroupsRequest { types_filter: vec!["consumer"], ..Default::default() };
    let answer = world.call(ApiKey::ListGroups, 5, &request);
    let answer = ListGroupsResponse::decode(&mut answer.body(), 5).unwrap();
    let listed = &answer.groups[0];
    assert_eq!((listed.group_id, listed.group_type, listed.group_state), ("g", "Consumer", "Stable"));
    assert_eq!(listed.protocol_type, "consumer");
}

#[test]
fn it_is_advertised_with_its_feature() {
    let mut world = world();
    let request = ApiVersionsRequest { client_software_name: "test", client_software_version: "1" };
    let answer = world.call(ApiKey::ApiVersions, 4, &request);
    let answer = ApiVersionsResponse::decode(&mut answer.body(), 4).unwrap();
    let range = answer.api_keys.iter().find(|it| it.api_key == ApiKey::ConsumerGroupHeartbeat.code()).unwrap();
    assert_eq!((range.min_version, range.max_version), (0, 1));
    let level = answer.finalized_features.iter().find(|it| it.name == "group.version").map(|it| it.max_version_level);
    assert_eq!(level, Some(1));
}

#[test]
fn without_the_protocol_nobody_is_in_such_a_group() {
    let settings = [SETTINGS, &[("group.coordinator.rebalance.protocols", "classic")]].concat();
    let mut world = World::new(&settings);
    look_for(&mut world);
    assert_eq!(beat(&mut world, "a", 0, None).0, ErrorCode::UNSUPPORTED_VERSION);
}

#[test]
fn a_group_obeys_its_own_settings_within_the_brokers_bounds() {
    let mut world = world();
    assert_eq!(beat_and_again(&mut world, "a", 0, None).1, 5000);
    let session = ("consumer.session.timeout.ms", "60000");
    assert_eq!(configure(&mut world, "g", &[session, ("consumer.heartbeat.interval.ms", "7000")]), ErrorCode::NONE);
    assert_eq!(beat_and_again(&mut world, "a", 1, None).1, 7000);
    for refused in [("consumer.session.timeout.ms", "60001"), ("consumer.heartbeat.interval.ms", "15001"), ("a", "b")] {
        assert_eq!(configure(&mut world, "g", &[refused]), ErrorCode::INVALID_CONFIG, "{refused:?}");
    }
    assert_eq!(configure(&mut world, "", &[session]), ErrorCode::INVALID_REQUEST);
    world.restart(Crash::Kill, None);
    look_for(&mut world);
    assert_eq!(beat_and_again(&mut world, "a", 1, None).1, 7000);

    let resource = DescribeConfigsResource { resource_type: GROUP, resource_name: "g", configuration_keys: None };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = world.call(ApiKey::DescribeConfigs, 4, &request);
    let answer = DescribeConfigsResponse::decode(&mut answer.body(), 4).unwrap();
    let value = |name: &str| answer.results[0].configs.iter().find(|it| it.name == name).and_then(|it| it.value);
    assert_eq!(value("consumer.session.timeout.ms"), Some("60000"));
    assert_eq!(value("consumer.assignment.interval.ms"), Some("0"));
    let answer =
        world.call(ApiKey::ListConfigResources, 1, &ListConfigResourcesRequest { resource_types: vec![GROUP] });
    let answer = ListConfigResourcesResponse::decode(&mut answer.body(), 1).unwrap();
    assert_eq!(answer.config_resources.iter().map(|it| it.resource_name).collect::<Vec<_>>(), ["g"]);

    // Without its own session of a minute it would have lost its place.
    world.run_for(Duration::from_secs(50));
    assert_eq!(beat(&mut world, "a", 1, None).0, ErrorCode::NONE);
    world.run_for(Duration::from_secs(61));
    assert_eq!(beat(&mut world, "a", 1, None).0, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn two_assignments_have_a_while_between_them_and_who_waits_comes_back_in_time() {
    let mut world = World::new(&[&SETTINGS[..2], &[("group.consumer.assignment.interval.ms", "4500")]].concat());
    world.create_topic("t", 4);
    look_for(&mut world);
    assert_eq!(partitions(&beat(&mut world, "a", 0, None)).unwrap().len(), 4);
    let (second, again) = beat_and_again(&mut world, "b", 0, None);
    assert_eq!((second.0, second.2, partitions(&second)), (ErrorCode::NONE, 1, Some(vec![])));
    assert!((1..4500).contains(&again), "the next assignment is due before {again} ms have passed");
    assert_eq!(beat_and_again(&mut world, "a", 1, None).0.2, 1, "no partition has moved");
    let (third, _) = beat_and_again(&mut world, "c", 0, None);
    assert_eq!(third.2, 1);
    world.run_for(Duration::from_millis(u64::try_from(again).unwrap()));
    let (second, again) = beat_and_again(&mut world, "b", 1, None);
    assert_eq!((second.2, again), (3, 5000), "one assignment for both");
    assert_eq!(beat(&mut world, "c", 1, None).2, 3);
    let request = ConsumerGroupDescribeRequest { group_ids: vec!["g"], include_authorized_operations: false };
    let answer = world.call(ApiKey::ConsumerGroupDescribe, 1, &request);
    let answer = ConsumerGroupDescribeResponse::decode(&mut answer.body(), 1).unwrap();
    assert_eq!((answer.groups[0].group_epoch, answer.groups[0].assignment_epoch), (3, 3));
}
