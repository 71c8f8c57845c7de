//! The metadata quorum of several whole machines: their logs, their disks, their connections.
//!
//! A cluster is born on one node; the others find it by `controller.quorum.bootstrap.servers`, read its log, and become
//! voters. Then processes die, power goes, connections hang, and clients make topics.

#![allow(clippy::wildcard_enum_match_arm, reason = "what a test does not look for it passes over")]
#![allow(clippy::cast_possible_truncation, reason = "a test's numbers are small")]

mod deletions;
#[path = "../log/disk.rs"]
#[allow(dead_code, dropping_copy_types, reason = "the tests of the logs use more of it")]
mod disk;
mod forwarding;
mod nearest;
mod snapshots;
mod unclean;
mod world;

use ottla_core::planted::Planted;
use world::World;

#[test]
fn three_nodes_become_one_quorum() {
    for seed in 0..3 {
        let mut world = World::new(3, 0, Planted::default(), seed);
        world.run(30_000);
        world.heal();
        world.run(5_000);
        world.check_settled();
        assert!(world.epochs() == 1 && world.acked() > 50, "{seed}: {} {}", world.epochs(), world.acked());
    }
}

/// A follower has less patience than a fetch that has nothing to say waits at the leader by default.
#[test]
fn an_idle_quorum_keeps_its_leader_however_short_its_timeouts_are() {
    const SHORT: [&[(&str, &str)]; 2] =
        [&[("controller.quorum.fetch.timeout.ms", "400")], &[("controller.quorum.request.timeout.ms", "400")]];
    for settings in SHORT {
        let mut world = World::new(3, 0, Planted::default(), 1);
        world.knobs.settings = settings;
        world.run(10_000);
        world.heal();
        world.run(20_000);
        world.check_settled();
        assert_eq!(world.epochs(), 1, "{settings:?}");
    }
}

/// Who is on its way out, and comes to lead the quorum before anybody else heard of it, does not wait for its session
/// to end.
#[test]
fn a_broker_that_is_to_stop_and_becomes_the_controller_goes_at_once() {
    let mut led = 0;
    for seed in 0..12 {
        let mut world = World::new(3, 0, Planted::default(), seed);
        world.knobs.quiet = true;
        world.knobs.settings = &[("broker.session.timeout.ms", "60000")];
        world.run(10_000);
        let controller = world.controller();
        let leaves = (controller + 1) % 3;
        world.send_away(controller, 60_000);
        world.shut_down(leaves);
        world.run(5_000);
        assert!(world.has_stopped(leaves), "{seed}: {}", world.describe());
        led += usize::from(world.controller() == leaves);
    }
    assert!(led > 2, "{led}");
}

/// A minute of trouble; how many epochs it had, and how many topics were acknowledged.
fn troubled(planted: Planted, seed: u64) -> (usize, usize) {
    let mut world = World::new(if seed.is_multiple_of(4) { 5 } else { 3 }, 600, planted, seed);
    world.run(60_000);
    world.heal();
    world.run(20_000);
    world.check_settled();
    (world.epochs(), world.acked())
}

#[test]
fn what_is_acknowledged_survives_whatever_happens() {
    let mut elections = 0;
    for seed in 0..5 {
        let (epochs, acked) = troubled(Planted::default(), seed);
        elections += epochs;
        assert!(acked > 10, "{seed}: {acked}");
    }
    assert!(elections > 15, "{elections}");
}

#[test]
fn three_replicas_are_one_log() {
    for seed in 0..2 {
        let mut world = World::new(3, 0, Planted::default(), seed);
        world.produce(50);
        world.run(20_000);
        world.heal();
        world.run(5_000);
        world.check_settled();
        world.check_replicated();
        assert!(world.written() > 100, "{seed}: {}", world.written());
    }
}

/// What a fetch brings may take longer than the controller's questions have time.
#[test]
fn a_follower_on_a_slow_link_gets_what_it_asks_for() {
    let mut world = World::new(3, 0, Planted::default(), 1);
    (world.knobs.quiet, world.knobs.fetch_ms) = (true, 2_200);
    world.run(10_000);
    world.produce(50);
    world.run(30_000);
    world.heal();
    world.run(20_000);
    world.check_settled();
    world.check_replicated();
    assert!(world.written() > 50, "{}", world.written());
}

/// It would be asked through the same connection next time it leads, perhaps long before a fetch has no time left.
#[test]
fn nobody_waits_for_a_leader_before() {
    let mut world = World::new(3, 0, Planted::default(), 1);
    world.knobs.quiet = true;
    world.run(10_000);
    world.produce(50);
    world.run(5_000);
    let leader = |world: &World, node: usize| world.machine(node).image().partition("r", 0).and_then(|it| it.leader);
    let before = leader(&world, 0).expect("somebody leads");
    let node = usize::try_from(before.0).unwrap();
    world.cut_off(node);
    world.run(1_000);
    assert!(world.hanging(node) > 0);
    world.run(22_000);
    assert_ne!(leader(&world, (node + 1) % 3), Some(before));
    assert_eq!(world.hanging(node), 0);
}

/// A minute of trouble; how many records were acknowledged.
fn replicated(planted: Planted, seed: u64) -> usize {
    let mut world = World::new(3, 3_000, planted, seed);
    world.produce(50);
    world.run(60_000);
    world.heal();
    world.run(40_000);
    world.check_settled();
    world.check_replicated();
    world.written()
}

#[test]
fn what_is_acknowledged_is_on_every_replica_whatever_happens() {
    for seed in 0..6 {
        let written = replicated(Planted::default(), seed);
        assert!(written > 100, "{seed}: {written}");
    }
}

/// The same worlds notice what is switched on here. Those of `core/src/raft` are smaller, and notice more.
#[cfg(feature = "planted-bugs")]
mod planted {
    use super::*;
    use ottla_core::planted::Plant;

    fn is_seen(plant: Plant) {
        let planted = Planted::default().with(plant);
        let seen = (0..60).any(|seed| std::panic::catch_unwind(|| troubled(planted, seed)).is_err());
        assert!(seen, "{plant} is not seen");
    }

    #[test]
    fn raft_15_votes_for_short_logs() {
        is_seen(Plant::Raft15);
    }
}
