//! Many members: how often they are asked to join again.

use std::sync::Arc;

use ottla_wire::Uuid;

use super::*;

fn join(world: &mut World, member_id: &str, instance_id: Option<&str>) -> Ticket {
    let request = JoinRequest {
        group: "g",
        member_id,
        instance_id,
        uuid: Uuid(u128::from(world.asked + 1)),
        client_id: "c",
        client_host: "/h",
        protocol_type: "consumer",
        protocols: vec![Protocol { name: "range", metadata: &[] }],
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 300_000,
        knows_member_id_required: true,
        knows_skip_assignment: true,
        reason: None,
    };
    world.ask(&Request::Join(request))
}

/// What a JoinGroup was answered with, if it was.
fn joined(world: &World, ticket: Ticket) -> Option<&JoinAnswer> {
    let answer = world.answers.iter().find(|(of, _)| *of == ticket);
    if let Some((_, Answer::Join(answer))) = answer { Some(answer) } else { None }
}

/// Everyone of a generation asks for its assignment, the leader last.
fn sync_all(world: &mut World, members: &[Arc<str>], leader: &str, generation: i32) {
    let order = members.iter().filter(|id| ***id != *leader).map(|id| &**id).chain([leader]);
    for member_id in order {
        world.ask(&Request::Sync(SyncRequest {
            group: "g",
            generation,
            member_id,
            instance_id: None,
            protocol_type: None,
            protocol: None,
            assignments: members.iter().map(|id| (&**id, id.as_bytes())).collect(),
        }));
    }
    assert!(world.open.is_empty(), "everyone has an assignment");
}

#[test]
fn fifty_members_that_come_at_once_are_settled_in_two_generations_without_any_delay() {
    let mut world = World::new(settings(&[("group.initial.rebalance.delay.ms", "0")]));
    let mut tickets = Vec::new();
    for _ in 0..50 {
        let first = join(&mut world, "", None);
        let id = joined(&world, first).expect("the id is given at once").member_id.clone();
        tickets.push(join(&mut world, &id, None));
        world.time_out();
    }
    // The first had a generation of its own; its heartbeat tells it to join the others.
    let first = joined(&world, tickets[0]).expect("nobody was waited for").clone();
    assert_eq!((first.generation, first.members.len()), (1, 1));
    tickets[0] = join(&mut world, &first.member_id, None);
    let answers: Vec<JoinAnswer> =
        tickets.iter().map(|it| joined(&world, *it).expect("all are there").clone()).collect();
    assert!(answers.iter().all(|it| it.error == ErrorCode::NONE && it.generation == 2));
    assert_eq!(answers.iter().map(|it| it.members.len()).sum::<usize>(), 50, "one leader is told of all");
    let ids: Vec<Arc<str>> = answers.iter().map(|it| it.member_id.clone()).collect();
    sync_all(&mut world, &ids, &answers[0].leader, 2);
}

#[test]
fn static_members_that_restart_one_by_one_stay_in_their_generation() {
    let mut world = World::new(settings(&[]));
    let instances: Vec<String> = (0..20).map(|number| format!("i{number}")).collect();
    let tickets: Vec<Ticket> = instances.iter().map(|it| join(&mut world, "", Some(it))).collect();
    world.pass(Duration::from_secs(10));
    let answers: Vec<JoinAnswer> = tickets.iter().map(|it| joined(&world, *it).unwrap().clone()).collect();
    let ids: Vec<Arc<str>> = answers.iter().map(|it| it.member_id.clone()).collect();
    sync_all(&mut world, &ids, &answers[0].leader, 1);
    for instance in &instances {
        let ticket = join(&mut world, "", Some(instance));
        let answer = joined(&world, ticket).expect("nobody is waited for").clone();
        assert_eq!((answer.error, answer.generation), (ErrorCode::NONE, 1));
        assert_eq!(answer.skip_assignment, answer.leader == answer.member_id, "the leader leaves it as it is");
    }
}

/// A commit of a few bytes a partition, whose records each repeat a long name.
#[test]
fn a_commit_of_too_many_bytes_is_refused_before_it_is_made() {
    let mut world = World::new(GroupSettings { max_batch_bytes: 1 << 20, ..settings(&[]) });
    let group = "g".repeat(32_000);
    for (count, error) in [(32, ErrorCode::NONE), (33, ErrorCode::INVALID_COMMIT_OFFSET_SIZE)] {
        let one = CommitPartition { partition: 0, offset: 1, leader_epoch: -1, metadata: None };
        let topics = vec![CommitTopic { name: "t", id: Uuid::default(), partitions: vec![one; count] }];
        let request = Request::Commit(CommitRequest {
            group: &group,
            generation: -1,
            member_id: "",
            instance_id: None,
            knows_member_epochs: true,
            retention_ms: None,
            topics,
        });
        let ticket = Ticket { conn: ConnId(1), frame: u64::try_from(count).unwrap() };
        let decision = world.shard.on_request(world.now, &request, ticket);
        let is_made = error == ErrorCode::NONE;
        assert_eq!(decision.records.len(), if is_made { count } else { 0 });
        if is_made {
            let told = world.shard.on_failed(world.now, ErrorCode::MESSAGE_TOO_LARGE);
            assert_eq!(told.len(), 1);
        } else {
            let [(_, Answer::Commit(answer))] = &decision.answers[..] else { panic!("{decision:?}") };
            assert!(answer.topics[0].partitions.iter().all(|it| it.error == error));
        }
    }
}

/// Tombstones repeat a long name too: what a request repeats is deleted once, and of more than a log takes no more is
/// made than shows it.
#[test]
fn a_deletion_of_too_many_bytes_is_not_made() {
    let mut world = World::new(GroupSettings { max_batch_bytes: 1 << 20, ..settings(&[]) });
    let group = "g".repeat(32_000);
    for from in [0, 30] {
        let partitions = from..from + 30;
        let commit = |partition| CommitPartition { partition, offset: 1, leader_epoch: -1, metadata: None };
        let partitions = partitions.map(commit).collect();
        world.ask(&Request::Commit(CommitRequest {
            group: &group,
            generation: -1,
            member_id: "",
            instance_id: None,
            knows_member_epochs: true,
            retention_ms: None,
            topics: vec![CommitTopic { name: "t", id: Uuid::default(), partitions }],
        }));
    }
    assert_eq!(world.shard.offsets_count(), 60);
    let ticket = Ticket { conn: ConnId(1), frame: 1 };
    let topics = vec![("t", vec![7; 1000]), ("t", vec![7, 8])];
    let request = Request::DeleteOffsets(DeleteOffsetsRequest { group: &group, topics });
    assert_eq!(world.shard.on_request(world.now, &request, ticket).records.len(), 2);
    let _ = world.shard.on_failed(world.now, ErrorCode::MESSAGE_TOO_LARGE);
    let made = world.shard.on_request(world.now, &Request::Delete { groups: vec![&group] }, ticket).records;
    assert!(made.iter().map(Record::size).sum::<usize>() > 1 << 20, "the log refuses it");
    assert!(made.len() < 60, "{}", made.len());
}

/// A classic group whose offsets of a topic take many batches, and one of another topic behind them.
fn many_offsets() -> World {
    let mut world = World::new(settings(&[]));
    for (topic, partitions) in [("t", 5000), ("u", 1)] {
        world.set_topic(topic, Some(partitions));
        let partitions = (0..partitions)
            .map(|partition| CommitPartition { partition, offset: 1, leader_epoch: -1, metadata: None })
            .collect();
        let group = if topic == "t" { "g" } else { "h" };
        world.ask(&Request::Commit(CommitRequest {
            group,
            generation: -1,
            member_id: "",
            instance_id: None,
            knows_member_epochs: true,
            retention_ms: None,
            topics: vec![CommitTopic { name: topic, id: Uuid::default(), partitions }],
        }));
    }
    assert_eq!(world.shard.offsets_count(), 5001);
    world
}

/// No batch of tombstones has more than this.
fn largest_batch(world: &World, from: usize) -> usize {
    world.ends[from..].windows(2).map(|it| it[1] - it[0]).max().unwrap_or_default()
}

#[test]
fn many_offsets_of_one_topic_go_in_batches_that_a_log_takes() {
    let mut world = many_offsets();
    world.forget(world.shard.offsets_of(&["t".into()]));
    assert_eq!(world.shard.offsets_count(), 1);
    assert!(world.ends.len() > 5 && largest_batch(&world, 1) <= 1024, "{:?}", world.ends);
}

#[test]
fn a_deletion_that_could_not_be_written_is_made_up_for() {
    for reloads in [false, true] {
        let mut world = many_offsets();
        world.set_topic("t", None);
        if reloads {
            world.reload();
            world.forget(world.shard.stale_offsets(&[]));
        } else {
            world.fails = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
            // The clocks do not agree: that stops expiry, not this.
            world.now.wall.0 += 100_000_000;
            world.pass(Duration::from_secs(700));
        }
        assert_eq!(world.shard.offsets_count(), 1);
        assert!(largest_batch(&world, 1) <= 1024, "{:?}", world.ends);
    }
}

#[test]
fn many_offsets_of_one_group_expire_in_batches_that_a_log_takes() {
    let mut world = many_offsets();
    world.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(world.shard.offsets_count(), 0);
    assert!(largest_batch(&world, 1) <= 1024, "{:?}", world.ends);
}
