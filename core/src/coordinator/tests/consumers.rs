//! Consumer groups of clients that keep to the protocol, and of some that do not: answers are lost, clients crash,
//! change their minds, come back under another id; appends fail, the high watermark lags, the coordinator changes,
//! topics come, grow and go.
//!
//! * no partition is two members', by the log (G1) or by what clients believe they have;
//! * no member's epoch is above the target's, nor that above the group's; an instance is one member's (G7);
//! * the hard state equals a rebuild from the log (S8), and every ticket is answered once;
//! * left in peace, members come to have every partition of what they are subscribed to, and nothing else;
//! * left alone, they are forgotten.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::assignor::Partitions;
use super::super::timers::Timer;
use super::*;

const GROUP: &str = "g";
const CLIENTS: usize = 5;
const SUBSCRIPTIONS: [(&[&str], Option<&str>); 4] =
    [(&["t"], None), (&["t", "u"], None), (&[], Some("[tu]")), (&["u"], Some("v.*"))];

/// A random thing to do: what, and with which of what there is.
type Op = (u8, u8, u8, u16);

/// A client, as it sees itself.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    /// 0: it has yet to join.
    epoch: i32,
    owned: Partitions,
    /// What it was last told that it may have.
    assigned: Partitions,
    subscription: usize,
    instance: Option<&'static str>,
    /// What it has asked and not been told.
    asked: Option<Ticket>,
    lives: u32,
    /// Whether what it asked said everything, and whether that has ever been heard.
    says_all: bool,
    heard: bool,
}

struct Crowd {
    clients: Vec<Client>,
    seen: BTreeMap<String, u32>,
}

impl Crowd {
    fn new() -> Self {
        let client = |number: usize| Client {
            id: format!("c{number}.0"),
            instance: [None, None, None, Some("i"), Some("j")][number],
            subscription: number % SUBSCRIPTIONS.len(),
            ..Client::default()
        };
        Self { clients: (0..CLIENTS).map(client).collect(), seen: BTreeMap::new() }
    }

    /// The client says how it is; `full`: everything.
    fn beat(&mut self, world: &mut World, number: usize, full: bool) {
        let client = &mut self.clients[number];
        // Who has waited for too long says everything again.
        client.heard &= client.asked.is_none();
        let joins = client.epoch == 0;
        let (topics, regex) = SUBSCRIPTIONS[client.subscription];
        let says = joins || full || !client.heard;
        client.says_all = says;
        let request = ConsumerHeartbeatRequest {
            group: GROUP,
            member_id: &client.id,
            member_epoch: client.epoch,
            instance_id: client.instance,
            rack_id: None,
            rebalance_timeout_ms: says.then_some(10_000),
            topics: says.then(|| topics.to_vec()),
            regex: says.then_some(regex.unwrap_or("")),
            assignor: None,
            owned: Some(client.owned.clone()),
            client_id: "c",
            client_host: "/h",
        };
        client.asked = Some(world.ask(&Request::ConsumerHeartbeat(request)));
    }

    fn leave(&mut self, world: &mut World, number: usize, for_a_while: bool) {
        let client = &mut self.clients[number];
        let for_a_while = for_a_while && client.instance.is_some();
        let request = ConsumerHeartbeatRequest {
            group: GROUP,
            member_id: &client.id,
            member_epoch: if for_a_while { -2 } else { -1 },
            instance_id: client.instance,
            ..ConsumerHeartbeatRequest::default()
        };
        world.ask(&Request::ConsumerHeartbeat(request));
        self.restart(number);
    }

    /// The client's process is another one, which knows nothing of the last.
    fn restart(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.lives += 1;
        *client = Client {
            id: format!("c{number}.{}", client.lives),
            subscription: client.subscription,
            instance: client.instance,
            lives: client.lives,
            ..Client::default()
        };
    }

    /// Answers reach those who wait for them, but for the lost ones.
    fn look(&mut self, world: &mut World, lost: bool) {
        for (ticket, answer) in std::mem::take(&mut world.answers) {
            let Answer::ConsumerHeartbeat(answer) = answer else { continue };
            *self.seen.entry(answer.error.to_string()).or_default() += 1;
            let Some(client) = self.clients.iter_mut().find(|it| it.asked == Some(ticket)) else { continue };
            client.asked = None;
            if lost || answer.error != ErrorCode::NONE {
                client.heard = false;
            } else if client.says_all {
                client.heard = true;
            }
            if lost {
                *self.seen.entry("lost".to_owned()).or_default() += 1;
                continue;
            }
            if answer.error == ErrorCode::NONE {
                client.epoch = answer.member_epoch;
                if let Some(assigned) = answer.assignment {
                    client.assigned = assigned;
                }
                // It gives up at once what it may not have any more.
                client.owned = client.assigned.clone();
            } else if matches!(
                answer.error,
                ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND
            ) {
                // It gives up everything and begins anew.
                (client.epoch, client.owned, client.assigned) = (0, Partitions::new(), Partitions::new());
            }
        }
    }
}

fn step(world: &mut World, crowd: &mut Crowd, (what, which, more, amount): Op) {
    let number = usize::from(which) % CLIENTS;
    match what % 24 {
        0..=10 => crowd.beat(world, number, more.is_multiple_of(8)),
        11 => {
            crowd.clients[number].subscription = usize::from(more) % SUBSCRIPTIONS.len();
            crowd.clients[number].heard = false;
            crowd.beat(world, number, true);
        }
        12 => crowd.leave(world, number, more.is_multiple_of(2)),
        13 => crowd.restart(number),
        14 => {
            let name = ["t", "u", "v1", "v2"][usize::from(which) % 4];
            let count = world.topics.get(name).map_or(0, |it| it.partitions);
            world.set_topic(name, (more % 4 > 0).then_some((count + i32::from(more % 3)).clamp(1, 6)));
        }
        15 => world.pass(Duration::from_millis(u64::from(amount) / 8)),
        16 => world.pass(Duration::from_millis(u64::from(amount))),
        17 => world.advance(world.now.monotonic + Duration::from_millis(u64::from(amount))),
        18 => world.held = true,
        19 | 20 => {
            world.held = false;
            world.commit(world.log.len());
        }
        21 => world.fails = Some(ErrorCode::NOT_ENOUGH_REPLICAS),
        22 => {
            // Rubbish of somebody who is perhaps a member.
            let id = crowd.clients[number].id.clone();
            world.ask(&Request::ConsumerHeartbeat(ConsumerHeartbeatRequest {
                group: GROUP,
                member_id: &id,
                member_epoch: i32::from(more % 8) - 1,
                ..ConsumerHeartbeatRequest::default()
            }));
            // If that passes for the member's, the answer is lost to the member, which says everything next.
            crowd.clients[number].heard = false;
        }
        _ if more.is_multiple_of(3) => {
            world.reload();
            for client in &mut crowd.clients {
                client.asked = None;
            }
        }
        _ => world.time_out(),
    }
    crowd.look(world, more % 16 == 15);
}

/// What holds at any time.
fn check(world: &World, crowd: &Crowd) {
    let shard = &world.shard;
    assert_eq!(shard.groups.image, rebuilt(&world.settings, &world.log).committed, "S8: speculative");
    assert_eq!(shard.committed, rebuilt(&world.settings, &world.log[..world.committed]).committed, "S8: committed");
    let Some(image) = shard.groups.image.consumer(GROUP) else { return };
    let mut owned = BTreeSet::new();
    for (member, current) in &image.current {
        assert!(image.members.contains_key(member), "{member} has something and is nobody");
        assert!(current.epoch <= image.target_epoch.epoch, "{member} is ahead of the target");
        for (topic, partitions) in current.assigned.iter().chain(&current.revoking) {
            for partition in partitions.keys() {
                assert!(owned.insert((*topic, *partition)), "G1: {topic}-{partition} is also {member}'s");
            }
        }
        assert!(
            shard.timers.is_set(&Timer::Session { group: GROUP.into(), member: member.clone() }),
            "{member} never dies"
        );
    }
    assert!(image.target_epoch.epoch <= image.epoch.epoch);
    assert!(image.targets.keys().eq(image.members.keys()) || image.target_epoch.epoch < image.epoch.epoch);
    for (instance, member) in &image.instances {
        assert_eq!(image.members[member].instance_id.as_ref(), Some(instance), "G7");
    }
    check_beliefs(shard, crowd);
}

/// Of those who are members by what is committed, none believes that it has what it may not have.
fn check_beliefs(shard: &Shard, crowd: &Crowd) {
    let Some(image) = shard.committed.consumer(GROUP) else { return };
    for client in crowd.clients.iter().filter(|client| client.epoch > 0) {
        let Some(current) = image.current.get(&*client.id).filter(|it| it.epoch == client.epoch) else { continue };
        for (topic, partitions) in &client.owned {
            for partition in partitions {
                assert!(current.given_at(*topic, *partition).is_some(), "{client:?} but {current:?}");
            }
        }
    }
}

/// Everyone goes on in peace, until nothing changes any more: everyone has what it wants.
fn check_peace(world: &mut World, crowd: &mut Crowd) {
    world.held = false;
    world.fails = None;
    world.commit(world.log.len());
    crowd.look(world, false);
    // Whoever was left behind by a restart dies.
    for _ in 0..25 {
        for number in 0..CLIENTS {
            crowd.beat(world, number, false);
            crowd.look(world, false);
        }
        world.pass(Duration::from_secs(4));
    }
    let image = world.shard.groups.image.consumer(GROUP).expect("everyone is in it");
    assert_eq!(image.members.len(), CLIENTS, "{:?}", image.members.keys());
    assert_eq!(image.state(), GroupState::Stable, "{image:?}");
    let mut had = BTreeSet::new();
    let mut wanted = BTreeSet::new();
    for client in &crowd.clients {
        let (topics, regex) = SUBSCRIPTIONS[client.subscription];
        let wants = |name: &str| match regex {
            _ if topics.contains(&name) => true,
            Some("[tu]") => name == "t" || name == "u",
            Some(_) => name.starts_with('v'),
            None => false,
        };
        let all = world.topics.names().filter(|name| wants(name)).filter_map(|name| world.topics.get(name));
        let all: BTreeSet<_> = all.flat_map(|it| (0..it.partitions).map(move |partition| (it.id, partition))).collect();
        let has = client.owned.iter().flat_map(|(topic, of)| of.iter().map(move |partition| (*topic, *partition)));
        for place in has {
            assert!(
                all.contains(&place) && had.insert(place),
                "{client:?} has what it has not asked for, or another has"
            );
        }
        wanted.extend(all);
    }
    assert_eq!(had, wanted, "nobody has what is missing");
}

#[test]
fn whatever_members_do() {
    let settings = settings(&[("ottla.max.groups", "3")]);
    let config = Config { cases: 128, failure_persistence: None, ..Config::default() };
    let ops = prop::collection::vec(any::<Op>(), 0..150);
    let seen = std::cell::RefCell::new(BTreeMap::<String, u32>::new());
    let run = |ops: Vec<Op>| {
        let (mut world, mut crowd) = (World::new(settings.clone()), Crowd::new());
        world.set_topic("t", Some(3));
        world.set_topic("u", Some(2));
        for op in ops {
            step(&mut world, &mut crowd, op);
            check(&world, &crowd);
        }
        check_peace(&mut world, &mut crowd);
        check(&world, &crowd);
        world.pass(Duration::from_secs(200));
        let left = world.shard.groups.image.consumer(GROUP).map_or(0, |image| image.members.len());
        assert_eq!(left, 0, "ghosts");
        for (kind, count) in crowd.seen {
            *seen.borrow_mut().entry(kind).or_default() += count;
        }
        Ok(())
    };
    TestRunner::new(config).run(&ops, run).unwrap_or_else(|error| panic!("{error}"));
    let seen = seen.into_inner();
    for kind in [
        "NONE",
        "lost",
        "FENCED_MEMBER_EPOCH",
        "UNKNOWN_MEMBER_ID",
        "UNRELEASED_INSTANCE_ID",
        "COORDINATOR_NOT_AVAILABLE",
    ] {
        assert!(seen.get(kind).is_some_and(|count| *count >= 5), "hardly seen: {kind} of {seen:#?}");
    }
}
