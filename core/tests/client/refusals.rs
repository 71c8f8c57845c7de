//! A member, and a coordinator that refuses, moves and forgets: whatever it says, everything is read and committed.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_core::client::assignor::Strategy;
use ottla_core::client::{
    AutoOffsetReset, ClientConfig, ClientError, Command, Event, GroupCommand, GroupEvent, GroupProtocol,
    IsolationLevel, ReadError, Start,
};
use ottla_core::record::BatchOptions;
use ottla_core::rng::Rng;
use ottla_core::types::{Offset, TopicPartition};
use ottla_wire::{ApiKey, ErrorCode};

use crate::model::{Model, Partition};
use crate::read::written;
use crate::world::{Servers, World};

fn config() -> ClientConfig {
    let mut config = ClientConfig { bootstrap_servers: vec!["bootstrap:9092".into()], ..ClientConfig::default() };
    config.reader.auto_offset_reset = AutoOffsetReset::Earliest;
    config.group.group_id = Some("g".into());
    config.group.heartbeat_interval_ms = 500;
    config.group.auto_commit_interval_ms = 300;
    config
}

fn world(config: &ClientConfig, model: Model, seed: u64) -> World {
    let mut world = World::new(config, Servers::Model(Box::new(model)), seed);
    let topics = vec!["t".into()];
    world.command(Command::Group(GroupCommand::Subscribe { topics, await_release: false }));
    world
}

/// Polls for so many steps of 50 ms. What was told, but for records, which are added to `read`.
fn poll(world: &mut World, steps: usize, read: &mut BTreeMap<i32, Vec<i64>>) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..steps {
        world.command(Command::Poll { token: 0, timeout_ms: 40 });
        world.run_for(Duration::from_millis(50));
        for event in std::mem::take(&mut world.events) {
            match &event {
                Event::Polled { records, .. } => {
                    for polled in records {
                        let offsets = polled.records.iter().map(|record| record.offset.0);
                        read.entry(polled.partition.partition).or_default().extend(offsets);
                    }
                }
                Event::Group(GroupEvent::Committed { token: None, .. }) | Event::Position { .. } => {}
                _ => told.push(event.to_string()),
            }
        }
    }
    told
}

fn check_read(read: &BTreeMap<i32, Vec<i64>>, count: i64, context: &str) {
    assert_eq!(read.len(), 3, "{context}");
    for (partition, offsets) in read {
        let mut next = 0;
        for &offset in offsets {
            assert!(offset <= next, "{context}: {partition}: {next} was left out for {offset}");
            next = next.max(offset + 1);
        }
        assert_eq!(next, count, "{context}: {partition}");
    }
}

#[test]
fn everything_is_read_and_committed_whatever_the_coordinator_says() {
    let mut refused = BTreeMap::new();
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut config = config();
        let strategies = [Strategy::Range, Strategy::CooperativeSticky, Strategy::Sticky];
        let strategy = strategies[usize::try_from(rng.below(3)).unwrap()];
        config.group.partition_assignment_strategy = vec![strategy];
        config.reader.max_poll_records = 7;
        let mut model = written(seed, 200);
        model.group.refuse = 50 + rng.below(300);
        model.group.shift = rng.below(100);
        let mut world = world(&config, model, seed);
        world.break_chance = rng.below(30);
        let mut read = BTreeMap::new();
        poll(&mut world, 600, &mut read);
        world.model().group.refuse = 0;
        world.model().group.shift = 0;
        world.break_chance = 0;
        poll(&mut world, 400, &mut read);
        let context = format!("seed {seed}, {strategy:?}");
        check_read(&read, 200, &context);
        world.command(Command::Group(GroupCommand::Close { token: 4 }));
        world.run_for(Duration::from_secs(2));
        assert!(world.events.iter().any(closed), "{context}: {:?}", world.events);
        let group = &world.model().group;
        assert!(group.left, "{context}");
        let committed: Vec<_> = group.committed.values().map(|position| position.0).collect();
        assert_eq!(committed, [200, 200, 200], "{context}");
        group.refused.iter().for_each(|(code, times)| *refused.entry(*code).or_insert(0) += times);
    }
    for code in [
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::REBALANCE_IN_PROGRESS,
        ErrorCode::ILLEGAL_GENERATION,
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::UNSTABLE_OFFSET_COMMIT,
        ErrorCode::REQUEST_TIMED_OUT,
    ] {
        assert!(refused.get(&code).is_some_and(|&times| times > 10), "{code}: {refused:?}");
    }
}

#[test]
fn every_version_of_a_groups_calls_will_do() {
    for (older, caps) in [
        (false, vec![]),
        (true, vec![(ApiKey::FindCoordinator, 3), (ApiKey::OffsetFetch, 7), (ApiKey::LeaveGroup, 3)]),
        (true, vec![(ApiKey::JoinGroup, 3), (ApiKey::SyncGroup, 2), (ApiKey::Heartbeat, 2), (ApiKey::OffsetFetch, 1)]),
        (true, vec![(ApiKey::JoinGroup, 0), (ApiKey::LeaveGroup, 0), (ApiKey::OffsetCommit, 2)]),
    ] {
        let mut model = written(1, 50);
        model.caps = caps.into_iter().collect();
        let mut world = world(&config(), model, 1);
        let mut read = BTreeMap::new();
        assert_eq!(poll(&mut world, 100, &mut read), ["assigned t-0 t-1 t-2"], "{older}");
        check_read(&read, 50, &format!("{older}"));
        world.command(Command::Group(GroupCommand::Unsubscribe { token: 4 }));
        world.run_for(Duration::from_secs(2));
        let group = &world.model().group;
        assert!(group.left && group.committed.values().all(|position| position.0 == 50), "{:?}", group.committed);
    }
}

#[test]
fn what_no_retry_mends_ends_the_membership() {
    for code in [
        ErrorCode::GROUP_AUTHORIZATION_FAILED,
        ErrorCode::FENCED_INSTANCE_ID,
        ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ErrorCode::INVALID_SESSION_TIMEOUT,
        ErrorCode::GROUP_MAX_SIZE_REACHED,
    ] {
        let mut model = written(1, 10);
        model.group.next = Some(code);
        let mut world = world(&config(), model, 1);
        let told = poll(&mut world, 100, &mut BTreeMap::new());
        assert_eq!(told, [format!("group failed: {code}: {}", code.message())]);
        // The program may try again.
        let topics = vec!["t".into()];
        world.command(Command::Group(GroupCommand::Subscribe { topics, await_release: false }));
        assert_eq!(poll(&mut world, 100, &mut BTreeMap::new()), ["assigned t-0 t-1 t-2"]);
    }
}

#[test]
fn a_log_that_was_cut_below_what_the_group_committed_is_noticed() {
    let mut model = Model::new(1, 1, 1);
    let partition = &mut model.topics.get_mut("t").unwrap().partitions[0];
    partition.write(&[0, 1, 2, 3], BatchOptions::default());
    partition.leader_epoch = 2;
    partition.write(&[104, 105], BatchOptions::default());
    // The group had read ten records, the last six of an epoch whose end nobody has any more.
    model.group.committed.insert(("t".to_owned(), 0), (10, 1));
    model.group.may_go_back = true;
    let mut world = world(&config(), model, 1);
    let mut read = BTreeMap::new();
    let told = poll(&mut world, 100, &mut read);
    assert_eq!(told, ["assigned t-0", "truncated t-0 from 10 to 4"]);
    assert_eq!(read[&0], [4, 5]);
}

#[test]
fn a_group_without_a_position_begins_where_the_setting_says() {
    for (reset, expected) in
        [(AutoOffsetReset::Earliest, Some(0)), (AutoOffsetReset::Latest, Some(10)), (AutoOffsetReset::None, None)]
    {
        let mut config = config();
        config.reader.auto_offset_reset = reset;
        config.reader.isolation_level = IsolationLevel::ReadCommitted;
        let mut world = world(&config, written(1, 10), 1);
        world.run_for(Duration::from_secs(1));
        world.command(Command::Poll { token: 0, timeout_ms: 1_000 });
        world.run_for(Duration::from_secs(2));
        let found: Vec<_> = world
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Position { offset, .. } => Some(Some(offset.0)),
                Event::ReadFailed { error: ReadError::NoPosition, .. } => Some(None),
                _ => None,
            })
            .collect();
        assert_eq!(found, [expected; 3], "{reset:?}: {:?}", world.events);
    }
}

#[test]
fn a_program_may_seek_and_pause_what_it_was_assigned() {
    let mut model = written(1, 50);
    model.group.may_go_back = true;
    let mut world = world(&config(), model, 1);
    let mut read = BTreeMap::new();
    poll(&mut world, 60, &mut read);
    check_read(&read, 50, "at first");
    let partition = TopicPartition::new("t", 1);
    world.command(Command::Pause { partitions: vec![partition.clone()] });
    world.command(Command::Seek { partition: partition.clone(), start: Start::Offset(Offset(45)) });
    poll(&mut world, 60, &mut read);
    assert_eq!(read[&1].len(), 50, "it is paused");
    world.command(Command::Resume { partitions: vec![partition] });
    poll(&mut world, 60, &mut read);
    assert_eq!(read[&1][50..], [45, 46, 47, 48, 49]);
}

/// The broker that was asked for metadata knows nothing yet of the leader whose records the group has read.
#[test]
fn a_position_of_a_later_epoch_than_the_metadata_know_is_no_cut() {
    let mut model = Model::new(1, 1, 1);
    let partition = &mut model.topics.get_mut("t").unwrap().partitions[0];
    partition.leader_epoch = 2;
    partition.write(&[0, 1, 2, 3], BatchOptions::default());
    model.group.committed.insert(("t".to_owned(), 0), (6, 3));
    let mut world = world(&config(), model, 1);
    let mut read = BTreeMap::new();
    let told = poll(&mut world, 8, &mut read);
    assert_eq!((told, read.len()), (vec!["assigned t-0".to_owned()], 0));
    let partition = &mut world.model().topics.get_mut("t").unwrap().partitions[0];
    partition.leader_epoch = 3;
    partition.write(&[4, 5, 6, 7], BatchOptions::default());
    assert_eq!(poll(&mut world, 100, &mut read), [""; 0]);
    assert_eq!(read[&0], [6, 7]);
}

#[test]
fn a_topic_that_grows_is_shared_out_anew() {
    for (strategy, expected) in [
        (Strategy::RoundRobin, vec!["revoked t-0 t-1 t-2", "assigned t-0 t-1 t-2 t-3"]),
        (Strategy::CooperativeSticky, vec!["assigned t-3"]),
    ] {
        let mut config = config();
        config.metadata_max_age_ms = 1_000;
        config.group.partition_assignment_strategy = vec![strategy];
        let mut world = world(&config, written(1, 20), 1);
        let mut read = BTreeMap::new();
        poll(&mut world, 60, &mut read);
        check_read(&read, 20, "before");
        let mut partition = Partition::default();
        partition.write(&[0, 1, 2], BatchOptions::default());
        world.model().topics.get_mut("t").unwrap().partitions.push(partition);
        assert_eq!(poll(&mut world, 100, &mut read), expected, "{strategy:?}");
        assert_eq!(read[&3], [0, 1, 2]);
    }
}

/// A member of a group whose coordinator shares out (KIP-848).
fn served() -> ClientConfig {
    let mut config = config();
    config.group.group_protocol = GroupProtocol::Consumer;
    config
}

#[test]
fn a_served_member_that_is_unknown_comes_back_as_the_same() {
    for code in [ErrorCode::FENCED_MEMBER_EPOCH, ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::GROUP_ID_NOT_FOUND] {
        let mut world = world(&served(), written(1, 10), 1);
        let mut read = BTreeMap::new();
        assert_eq!(poll(&mut world, 40, &mut read), ["assigned t-0 t-1 t-2"], "{code}");
        world.model().group.next_beat = Some(code);
        let told = poll(&mut world, 60, &mut read);
        assert_eq!(told, ["lost t-0 t-1 t-2", "assigned t-0 t-1 t-2"], "{code}");
        let beats = &world.model().group.beats;
        assert_eq!(beats.iter().filter(|(_, epoch)| *epoch == 0).count(), 2, "{code}: {beats:?}");
        assert!(beats.iter().all(|(id, _)| *id == beats[0].0), "{code}: {beats:?}");
    }
}

#[test]
fn a_group_that_does_not_let_a_served_member_in_fails_it() {
    let mut model = written(1, 10);
    model.group.next_beat = Some(ErrorCode::GROUP_ID_NOT_FOUND);
    let mut world = world(&served(), model, 1);
    let told = poll(&mut world, 60, &mut BTreeMap::new());
    assert!(told.len() == 1 && told[0].starts_with("group failed: GROUP_ID_NOT_FOUND"), "{told:?}");
}

#[test]
fn who_closes_while_its_join_is_on_its_way_leaves() {
    let mut world = world(&served(), written(1, 10), 1);
    world.command(Command::Poll { token: 0, timeout_ms: 40 });
    while world.model().group.beats.is_empty() {
        world.run_for(Duration::from_micros(50));
    }
    world.command(Command::Group(GroupCommand::Close { token: 4 }));
    world.run_for(Duration::from_secs(1));
    let beats = &world.model().group.beats;
    assert!(beats.len() == 2 && beats[1] == (beats[0].0.clone(), -1), "{beats:?}");
}

fn pattern(pattern: &str) -> Command {
    Command::Group(GroupCommand::SubscribePattern { pattern: pattern.into(), await_release: false })
}

#[test]
fn a_first_pattern_that_is_none_is_refused_too() {
    let mut world = World::new(&config(), Servers::Model(Box::new(written(1, 10))), 1);
    world.command(pattern("("));
    let told: Vec<_> = std::mem::take(&mut world.events).iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].starts_with("group failed: INVALID_REGULAR_EXPRESSION"), "{told:?}");
    world.command(pattern("t"));
    assert_eq!(poll(&mut world, 60, &mut BTreeMap::new()), ["assigned t-0 t-1 t-2"]);
    world.command(Command::Group(GroupCommand::Unsubscribe { token: 1 }));
    world.command(pattern("("));
    world.run_for(Duration::from_secs(1));
    let told: Vec<_> = world.events.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|it| it.starts_with("group failed")) && told.contains(&"unsubscribed 1".into()),
        "{told:?}"
    );
    assert!(world.model().group.left);
}

#[test]
fn a_pattern_is_looked_for_even_if_other_metadata_are_on_their_way() {
    for moment in 0..40 {
        let mut world = World::new(&config(), Servers::Model(Box::new(written(1, 10))), 1);
        world.command(Command::Assign { partition: TopicPartition::new("t", 0), start: Start::Earliest });
        world.run_for(Duration::from_micros(250 * moment));
        world.command(pattern("t"));
        let told = poll(&mut world, 60, &mut BTreeMap::new());
        assert_eq!(told, ["assigned t-0 t-1 t-2"], "{moment}");
    }
}

#[test]
fn who_reads_a_topic_that_is_forbidden_is_told_and_what_is_not_there_is_not_asked_for_all_the_time() {
    let mut model = written(1, 10);
    model.topics.get_mut("t").unwrap().refused = Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    let mut world = World::new(&config(), Servers::Model(Box::new(model)), 1);
    let partition = TopicPartition::new("t", 0);
    world.command(Command::Assign { partition: partition.clone(), start: Start::Earliest });
    world.run_for(Duration::from_secs(20));
    let error = ReadError::Broker(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(world.events, [Event::ReadFailed { partition: partition.clone(), error }]);
    assert!(world.model().looks < 4, "{}", world.model().looks);
    // Allowed, it can be assigned again; and a partition that is not there is waited for with patience.
    world.model().topics.get_mut("t").unwrap().refused = None;
    world.command(Command::Assign { partition, start: Start::Earliest });
    world.command(Command::Assign { partition: TopicPartition::new("t", 7), start: Start::Earliest });
    world.model().looks = 0;
    let mut read = BTreeMap::new();
    poll(&mut world, 400, &mut read);
    assert_eq!(read[&0].len(), 10);
    assert!((15..40).contains(&world.model().looks), "{}", world.model().looks);
}

#[test]
fn racks_come_and_go_unnoticed_where_no_member_has_one() {
    for (rack, expected) in [("", 0), ("r", 2)] {
        let mut config = config();
        config.metadata_max_age_ms = 1_000;
        config.reader.client_rack = rack.into();
        let mut model = written(1, 10);
        model.has_racks = true;
        let mut world = world(&config, model, 1);
        let mut read = BTreeMap::new();
        assert_eq!(poll(&mut world, 40, &mut read), ["assigned t-0 t-1 t-2"]);
        world.model().has_racks = false;
        assert_eq!(poll(&mut world, 60, &mut read).len(), expected, "{rack}");
    }
}

/// A member that has read something, and whose coordinator takes no commits from now on.
fn read_and_refused(config: &ClientConfig, code: ErrorCode) -> World {
    let mut world = world(config, written(1, 10), 1);
    let mut read = BTreeMap::new();
    while read.is_empty() {
        poll(&mut world, 1, &mut read);
    }
    world.model().group.no_commits = Some(code);
    poll(&mut world, 1, &mut read);
    world
}

fn closed(event: &Event) -> bool {
    matches!(event, Event::Group(GroupEvent::Closed { token: 4 }))
}

/// The commit of what was read of a topic that is gone is not repeated until its time is over.
#[test]
fn a_deleted_topic_holds_nobody_up() {
    let mut world = read_and_refused(&config(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    world.command(Command::Group(GroupCommand::Close { token: 4 }));
    world.run_for(Duration::from_secs(2));
    assert!(world.events.iter().any(closed), "{:?}", world.events);
    let committed = |event: &Event| matches!(event, Event::Group(GroupEvent::Committed { .. }));
    assert!(!world.events.iter().any(committed) && world.model().group.left, "{:?}", world.events);
}

#[test]
fn who_cannot_commit_leaves_all_the_same() {
    let mut world = read_and_refused(&config(), ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    world.command(Command::Group(GroupCommand::Close { token: 4 }));
    world.run_for(Duration::from_secs(29));
    assert!(!world.events.iter().any(closed) && !world.model().group.left);
    world.run_for(Duration::from_secs(2));
    assert!(world.events.iter().any(closed) && world.model().group.left);
}

#[test]
fn what_a_served_member_wanted_to_commit_before_it_was_fenced_is_not_committed() {
    let mut config = served();
    config.group.enable_auto_commit = false;
    let mut world = read_and_refused(&config, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    world.command(Command::Group(GroupCommand::Commit { token: 5, positions: None, retry: true }));
    world.model().group.next_beat = Some(ErrorCode::FENCED_MEMBER_EPOCH);
    let mut told = Vec::new();
    while !told.iter().any(|it: &String| it.starts_with("assigned")) {
        told.extend(poll(&mut world, 1, &mut BTreeMap::new()));
    }
    world.model().group.no_commits = None;
    told.extend(poll(&mut world, 60, &mut BTreeMap::new()));
    let failed = format!("{}", ClientError::Rebalanced);
    assert!(told.iter().any(|it| it.contains(&failed)) && told.len() == 3, "{told:?}");
    assert!(world.model().group.committed.is_empty());
}
