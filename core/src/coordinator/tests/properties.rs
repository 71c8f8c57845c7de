//! Whatever is asked in whatever order, with appends that fail, a high watermark that lags, coordinators that change
//! and time that passes:
//!
//! * each ticket is answered exactly once, and none is lost meanwhile (the world holds who waits against the shard);
//! * the hard state equals a rebuild from the log, of all of it and of what is committed (S8);
//! * a generation has one leader, and each member of it one assignment, of which none is told before it is committed;
//! * instances are one member's (G7), members are bounded (G10);
//! * left alone, everyone is told something and every member is forgotten (L).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::Writer;
use ottla_wire::consumer_protocol::{AssignedPartitions, ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::group::{ClassicGroup, ClassicState, Group, Parked};
use super::super::timers::Timer;
use super::*;

const GROUPS: [&str; 3] = ["g", "h", "i"];
const MAX_SIZE: usize = 3;

/// A random thing to do: what, and with which of what there is.
type Op = (u8, u8, u8, u16);

/// What members have been told of a generation: of which life of which group it is.
type Generation = (Arc<str>, u32, i32);

#[derive(Default)]
struct Told {
    /// How often each group has not been there.
    lives: BTreeMap<Arc<str>, u32>,
    leaders: BTreeMap<Generation, Arc<str>>,
    assignments: BTreeMap<(Generation, Arc<str>), bytes::Bytes>,
    /// Members with the last generation that they were told.
    members: Vec<(Arc<str>, Arc<str>, i32)>,
    /// What each ticket asked for: the group, and the member and generation of a SyncGroup; and in which life of the
    /// group: the answer may wait for what is not committed, and outlive it.
    asked: BTreeMap<Ticket, (Arc<str>, Arc<str>, i32, u32)>,
    /// How often each kind of answer was seen.
    seen: BTreeMap<String, u32>,
}

impl Told {
    fn life(&self, group: &str) -> u32 {
        self.lives.get(group).copied().unwrap_or(0)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for some answers")]
    fn look(&mut self, world: &mut World) {
        for (ticket, answer) in std::mem::take(&mut world.answers) {
            *self.seen.entry(kind(&answer)).or_default() += 1;
            let Some((group, member, generation, life)) = self.asked.remove(&ticket) else { continue };
            match answer {
                Answer::Join(it) if it.error == ErrorCode::MEMBER_ID_REQUIRED => {
                    self.members.push((group, it.member_id, 0));
                }
                Answer::Join(it) if it.error == ErrorCode::NONE => self.joined(group, life, &it),
                Answer::Sync(it) if it.error == ErrorCode::NONE => {
                    let key = ((group.clone(), life, generation), member);
                    let first = self.assignments.entry(key).or_insert_with(|| it.assignment.clone());
                    assert_eq!(*first, it.assignment, "one generation has one assignment");
                    let committed = &world.shard.committed;
                    let is_known = committed.group(&group).is_some() || committed.consumer(&group).is_some();
                    // What made it may be committed with what ended it.
                    let all = world.committed == world.log.len();
                    assert!(is_known || all, "{group} has an assignment that is not committed");
                }
                _ => {}
            }
        }
        for group in GROUPS {
            // A consumer group's generations are its members' epochs: another life, in which nobody leads.
            if world.shard.groups.live.get(group).and_then(Group::classic).is_none() {
                *self.lives.entry(group.into()).or_default() += 1;
            }
        }
        let excess = self.members.len().saturating_sub(12);
        self.members.drain(..excess);
    }

    fn joined(&mut self, group: Arc<str>, life: u32, answer: &JoinAnswer) {
        let key = (group.clone(), life, answer.generation);
        if !answer.members.is_empty() {
            let leader = self.leaders.entry(key).or_insert_with(|| answer.leader.clone());
            // A static leader may come back under another id.
            let same_instance = leader.split('-').next() == answer.leader.split('-').next();
            assert!(*leader == answer.leader || same_instance, "two leaders: {leader} and {}", answer.leader);
            assert!(answer.members.iter().any(|it| it.member_id == answer.member_id), "the leader is a member");
            assert!(answer.members.len() <= MAX_SIZE);
        }
        self.members.retain(|(of, id, _)| !(*of == group && *id == answer.member_id));
        self.members.push((group, answer.member_id.clone(), answer.generation));
    }
}

/// An answer without its particulars.
fn kind(answer: &Answer) -> String {
    match answer {
        Answer::Join(it) => format!("Join {}", it.error),
        Answer::Sync(it) => format!("Sync {}", it.error),
        Answer::Heartbeat(error) => format!("Heartbeat {error}"),
        Answer::Leave(it) => format!("Leave {}", it.members[0].error),
        Answer::Commit(it) => format!("Commit {}", it.topics[0].partitions[0].error),
        Answer::Delete { groups } => format!("Delete {}", groups[0].1),
        Answer::DeleteOffsets(it) => {
            format!("DeleteOffsets {}", it.topics.first().map_or(it.error, |it| it.partitions[0].error))
        }
        Answer::ConsumerHeartbeat(it) => format!("Member {}", it.error),
        Answer::FetchOffsets(_) | Answer::Describe(_) | Answer::ConsumerDescribe(_) | Answer::List { .. } => {
            "a look".to_owned()
        }
    }
}

/// What the random runs must have come to, or they prove nothing.
const SEEN: [&str; 27] = [
    "Commit ILLEGAL_GENERATION",
    "Commit NONE",
    "Commit REBALANCE_IN_PROGRESS",
    "Commit COORDINATOR_NOT_AVAILABLE",
    "Delete NONE",
    "Delete NON_EMPTY_GROUP",
    "DeleteOffsets GROUP_SUBSCRIBED_TO_TOPIC",
    "DeleteOffsets NONE",
    "Heartbeat NONE",
    "Heartbeat REBALANCE_IN_PROGRESS",
    "Join FENCED_INSTANCE_ID",
    "Join GROUP_MAX_SIZE_REACHED",
    "Join INCONSISTENT_GROUP_PROTOCOL",
    "Join NONE",
    "Join NOT_COORDINATOR",
    "Join UNKNOWN_MEMBER_ID",
    "Leave NONE",
    "Member COORDINATOR_NOT_AVAILABLE",
    "Member FENCED_MEMBER_EPOCH",
    "Member GROUP_ID_NOT_FOUND",
    "Member GROUP_MAX_SIZE_REACHED",
    "Member NONE",
    "Member UNKNOWN_MEMBER_ID",
    "Member UNRELEASED_INSTANCE_ID",
    "Sync COORDINATOR_NOT_AVAILABLE",
    "Sync NONE",
    "Sync NOT_COORDINATOR",
];

fn step(world: &mut World, told: &mut Told, (what, which, more, amount): Op) {
    let someone = told.members.get(usize::from(which) % told.members.len().max(1)).cloned();
    let (group, member, generation) = someone.unwrap_or_else(|| (GROUPS[0].into(), "x".into(), 1));
    let generation = if more.is_multiple_of(16) { generation + 1 } else { generation };
    // A little help, or most runs would be of nothing but members that are not.
    let group_of_leader = world.shard.groups.live.get(GROUPS[usize::from(which) % 3]).and_then(Group::classic);
    let leader = group_of_leader
        .and_then(|group| group.leader.clone().map(|leader| (group.id.clone(), leader, group.generation)));
    match what % 36 {
        0..=6 => join(world, told, which, more, None),
        7..=11 => join(world, told, which, more, Some((&group, &member))),
        12..=14 => {
            let (group, member, generation) = leader.unwrap_or((group, member, generation));
            sync(world, told, &group, &member, generation, amount);
        }
        15..=17 => sync(world, told, &group, &member, generation, amount),
        18..=19 => {
            let heartbeat = HeartbeatRequest { group: &group, generation, member_id: &member, instance_id: None };
            world.ask(&Request::Heartbeat(heartbeat));
        }
        20 => {
            let leaving = LeavingMember { member_id: &member, instance_id: None, reason: None };
            world.ask(&Request::Leave(LeaveRequest { group: &group, members: vec![leaving] }));
        }
        21..=23 => commit(world, &group, &member, if more.is_multiple_of(3) { -1 } else { generation }, amount),
        24 => {
            world.ask(&Request::Delete { groups: vec![&group] });
        }
        25 => {
            let topics = vec![("t", vec![0, 1])];
            world.ask(&Request::DeleteOffsets(DeleteOffsetsRequest { group: &group, topics }));
        }
        26 => {
            world.ask(&Request::Describe { group: &group });
            let (topics, require_stable) = (None, more.is_multiple_of(2));
            let fetch =
                FetchOffsetsRequest { group: &group, member_id: None, member_epoch: -1, require_stable, topics };
            world.ask(&Request::FetchOffsets(fetch));
        }
        27 => world.pass(Duration::from_millis(u64::from(amount))),
        28 => world.pass(Duration::from_millis(u64::from(amount) / 32)),
        29 => {
            world.advance(world.now.monotonic + Duration::from_millis(u64::from(amount)));
            world.time_out();
        }
        30 => {
            world.held = more % 8 < 3;
            if !world.held {
                world.commit(world.log.len());
            } else if more.is_multiple_of(2) {
                world.fails = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
            }
        }
        32..=35 => consumer(world, &group, &member, which, more),
        _ if more.is_multiple_of(4) => {
            world.reload();
            for group in GROUPS {
                *told.lives.entry(group.into()).or_default() += 1;
            }
        }
        _ => commit_some(world, usize::from(more)),
    }
}

/// A member of a consumer group joins one that is perhaps a classic one, goes on, or leaves.
fn consumer(world: &mut World, group: &str, member: &str, which: u8, more: u8) {
    let group = if which.is_multiple_of(3) { group } else { GROUPS[usize::from(which) % 3] };
    let id = match more % 4 {
        0 => member.to_owned(),
        number => format!("k{number}"),
    };
    let epoch = world.shard.groups.image.consumer(group).map_or(0, |image| image.current_of(&id).epoch);
    let member_epoch = match more % 16 {
        0..=6 => 0,
        7..=12 => epoch.max(0),
        13 => -1,
        14 => -2,
        _ => epoch + 1,
    };
    let joins = member_epoch == 0;
    let instance_id = (more.is_multiple_of(5) || member_epoch == -2).then_some("static1");
    world.ask(&Request::ConsumerHeartbeat(ConsumerHeartbeatRequest {
        group,
        member_id: &id,
        member_epoch,
        instance_id,
        rebalance_timeout_ms: joins.then_some(5_000),
        topics: joins.then(|| if which.is_multiple_of(2) { vec!["t"] } else { vec!["t", "u"] }),
        owned: Some(super::super::assignor::Partitions::new()),
        client_id: "k",
        client_host: "/h",
        ..ConsumerHeartbeatRequest::default()
    }));
}

/// What a consumer of these topics says.
fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut out = Writer::new();
    let topics = topics.to_vec();
    ConsumerProtocolSubscription { topics, ..Default::default() }.encode_versioned(&mut out, 0);
    out.into_bytes()
}

/// One partition of `t`.
fn assignment(partition: i32) -> Vec<u8> {
    let assigned_partitions = vec![AssignedPartitions { topic: "t", partitions: vec![partition] }];
    let mut out = Writer::new();
    ConsumerProtocolAssignment { assigned_partitions, user_data: None }.encode_versioned(&mut out, 0);
    out.into_bytes()
}

/// The high watermark rises by some batches.
fn commit_some(world: &mut World, batches: usize) {
    let above: Vec<usize> = world.ends.iter().copied().filter(|end| *end > world.committed).collect();
    if let Some(end) = above.get(batches % above.len().max(1)) {
        world.commit(*end);
    }
}

fn join(world: &mut World, told: &mut Told, which: u8, more: u8, member: Option<(&str, &str)>) {
    let client = ["a", "b", "c", "d"][usize::from(which) % 4];
    let group = member.map_or(GROUPS[usize::from(more) % 3], |(group, _)| group);
    let instance_id = match member {
        Some((_, id)) => id.split('-').next().filter(|name| name.starts_with("static")),
        None if more.is_multiple_of(5) => Some(["static1", "static2"][usize::from(which) % 2]),
        None => None,
    };
    let metadata = subscription(if which.is_multiple_of(2) { &["t"] } else { &["t", "u"] });
    let request = JoinRequest {
        group,
        member_id: member.map_or("", |(_, id)| id),
        instance_id,
        uuid: ottla_wire::Uuid(u128::from(world.asked + 1)),
        client_id: client,
        client_host: "/h",
        protocol_type: if more % 32 == 31 { "other" } else { "consumer" },
        protocols: match more % 4 {
            0 => vec![Protocol { name: "x", metadata: &metadata }],
            _ => vec![Protocol { name: "y", metadata: &[] }, Protocol { name: "x", metadata: &metadata }],
        },
        session_timeout_ms: 6_000 + 1_000 * i32::from(which % 8),
        rebalance_timeout_ms: i32::from(more) * 100,
        knows_member_id_required: more.is_multiple_of(3),
        knows_skip_assignment: more.is_multiple_of(2),
        reason: None,
    };
    let group: Arc<str> = group.into();
    let life = told.life(&group);
    told.asked.insert(Ticket { conn: ConnId(1), frame: world.asked + 1 }, (group, "".into(), 0, life));
    world.ask(&Request::Join(request));
}

fn sync(world: &mut World, told: &mut Told, group: &Arc<str>, member: &Arc<str>, generation: i32, amount: u16) {
    let bytes = assignment(i32::from(amount % 3));
    let others = told.members.iter().filter(|(of, ..)| of == group).map(|(_, id, _)| (&**id, &bytes[..]));
    let others: Vec<_> = others.collect();
    let request = SyncRequest {
        group,
        generation,
        member_id: member,
        instance_id: None,
        protocol_type: None,
        protocol: None,
        assignments: others,
    };
    let key = (group.clone(), member.clone(), generation, told.life(group));
    told.asked.insert(Ticket { conn: ConnId(1), frame: world.asked + 1 }, key);
    world.ask(&Request::Sync(request));
}

fn commit(world: &mut World, group: &str, member: &str, generation: i32, amount: u16) {
    let offset = i64::from(amount);
    let partition = CommitPartition { partition: i32::from(amount % 3), offset, leader_epoch: -1, metadata: None };
    let topic = CommitTopic { name: "t", id: ottla_wire::Uuid::ZERO, partitions: vec![partition] };
    world.ask(&Request::Commit(CommitRequest {
        group,
        generation,
        member_id: if generation < 0 { "" } else { member },
        instance_id: None,
        knows_member_epochs: true,
        retention_ms: (amount.is_multiple_of(7)).then_some(1_000),
        topics: vec![topic],
    }));
}

/// What holds at any time.
fn check(world: &World) {
    let shard = &world.shard;
    assert_eq!(shard.groups.image, rebuilt(&world.settings, &world.log).committed, "S8: speculative");
    assert_eq!(shard.committed, rebuilt(&world.settings, &world.log[..world.committed]).committed, "S8: committed");
    let waiting = shard.waiting.iter().map(|it| it.ticket);
    let parked = shard.groups.parked().map(|(ticket, _)| ticket);
    let held: Vec<Ticket> = waiting.chain(parked).collect();
    assert_eq!(held.len(), world.open.len(), "a ticket is lost or held twice");
    assert!(held.iter().all(|ticket| world.open.contains(ticket)));
    for group in shard.groups.live.values().filter_map(Group::classic) {
        check_group(shard, group);
        if world.committed == world.log.len() {
            check_stable(shard, group);
        }
    }
    for timer in shard.timers.all() {
        match timer {
            Timer::Session { group, member } => match &shard.groups.live[group] {
                Group::Classic(group) => {
                    assert!(group.members.contains_key(member) || group.pending_joins.contains(member), "{timer:?}");
                }
                Group::Consumer(_) => assert!(has_member(shard, group, member), "{timer:?}"),
            },
            Timer::Join { group } => {
                let group = shard.groups.live[group].classic().unwrap();
                assert!(matches!(group.state, ClassicState::Preparing { .. }), "{timer:?}");
            }
            Timer::Sync { group } => {
                let group = shard.groups.live[group].classic().unwrap();
                assert!(matches!(group.state, ClassicState::Completing { .. } | ClassicState::Stable), "{timer:?}");
            }
            Timer::Revoke { group, member } | Timer::Rejoin { group, member } => {
                assert!(has_member(shard, group, member), "{timer:?}");
            }
            Timer::Expiry => {}
        }
    }
}

fn has_member(shard: &Shard, group: &str, member: &str) -> bool {
    shard.groups.image.consumer(group).is_some_and(|image| image.members.contains_key(member))
}

/// When all is committed, what the members of a stable group have is what the log says (S8).
fn check_stable(shard: &Shard, group: &ClassicGroup) {
    if group.state == ClassicState::Stable {
        let written = shard.committed.group(&group.id).expect("a stable group is in the log");
        let has = group.members.values().map(|it| (&it.id, &it.assignment));
        assert!(has.eq(written.members.iter().map(|it| (&it.id, &it.assignment))), "{group:?} but {written:?}");
        assert_eq!((group.generation, &group.leader), (written.generation, &written.leader));
    }
}

fn check_group(shard: &Shard, group: &ClassicGroup) {
    let timers: BTreeSet<&Timer> = shard.timers.all().collect();
    let session = |id: &Arc<str>| Timer::Session { group: group.id.clone(), member: id.clone() };
    // In a rebalance there are those who have joined, and those who may no more.
    let max = if matches!(group.state, ClassicState::Preparing { .. }) { 2 * MAX_SIZE } else { MAX_SIZE };
    assert!(group.members.len() <= max && group.pending_joins.len() <= MAX_SIZE, "G10");
    assert_eq!(group.members.is_empty(), group.leader.is_none(), "{group:?}");
    for member in group.members.values() {
        assert!(member.is_waiting() || timers.contains(&session(&member.id)), "{} never dies", member.id);
        if let Some(instance) = &member.instance_id {
            assert_eq!(group.instances.get(instance), Some(&member.id), "G7");
        }
    }
    assert_eq!(group.instances.len(), group.members.values().filter(|it| it.instance_id.is_some()).count(), "G7");
    assert!(group.pending_joins.iter().all(|id| timers.contains(&session(id))));
    let parked = |what: fn(&Parked) -> bool| group.members.values().any(|it| it.parked.as_ref().is_some_and(what));
    let (joining, syncing) = (parked(|it| matches!(it, Parked::Join(_))), parked(|it| matches!(it, Parked::Sync(_))));
    match group.state {
        ClassicState::Empty => {
            assert!(group.members.is_empty());
            assert!(!group.pending_joins.is_empty() || shard.groups.image.knows(&group.id), "{group:?}");
        }
        ClassicState::Preparing { .. } => {
            assert!(!syncing && timers.contains(&Timer::Join { group: group.id.clone() }), "{group:?}");
        }
        ClassicState::Completing { .. } => assert!(!joining && !group.members.is_empty()),
        ClassicState::Stable => assert!(!joining && !syncing && !group.members.is_empty()),
    }
}

/// Everyone is left alone for long enough.
fn check_end(world: &mut World) {
    world.held = false;
    world.fails = None;
    world.commit(world.log.len());
    world.pass(Duration::from_secs(3_600));
    check(world);
    assert!(world.open.is_empty(), "nobody answers {:?}", world.open);
    let members = |group: &Group| match group {
        Group::Classic(group) => group.members.len() + group.pending_joins.len(),
        Group::Consumer(group) => world.shard.groups.image.consumer(&group.id).map_or(0, |it| it.members.len()),
    };
    assert!(world.shard.groups.live.values().all(|group| members(group) == 0), "ghosts");
    world.reload();
}

#[test]
fn whatever_is_asked() {
    let settings = settings(&[
        ("group.max.size", "3"),
        ("group.initial.rebalance.delay.ms", "500"),
        ("group.consumer.max.size", "3"),
        ("offsets.retention.minutes", "1"),
        ("offsets.retention.check.interval.ms", "20000"),
        ("ottla.max.groups", "3"),
    ]);
    let config = Config { cases: 256, failure_persistence: None, ..Config::default() };
    let ops = prop::collection::vec(any::<Op>(), 0..200);
    let seen = std::cell::RefCell::new(BTreeMap::<String, u32>::new());
    let run = |ops: Vec<Op>| {
        let (mut world, mut told) = (World::new(settings.clone()), Told::default());
        world.set_topic("t", Some(3));
        for op in ops {
            step(&mut world, &mut told, op);
            told.look(&mut world);
            check(&world);
        }
        check_end(&mut world);
        for (kind, count) in told.seen {
            *seen.borrow_mut().entry(kind).or_default() += count;
        }
        Ok(())
    };
    TestRunner::new(config).run(&ops, run).unwrap_or_else(|error| panic!("{error}"));
    let seen = seen.into_inner();
    let missing: Vec<_> = SEEN.iter().filter(|kind| seen.get(**kind).is_none_or(|count| *count < 5)).collect();
    assert!(missing.is_empty(), "hardly seen: {missing:?} of {seen:#?}");
}
