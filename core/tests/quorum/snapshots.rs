//! Metadata snapshots of whole machines: written often and small, read by who was away, and cut short by crashes.

use ottla_core::planted::Planted;

use crate::world::World;

/// A snapshot every few topics, read in pieces, and little of the log kept.
const SMALL: &[(&str, &str)] = &[
    ("metadata.log.max.record.bytes.between.snapshots", "3000"),
    ("internal.metadata.log.segment.bytes", "40000"),
    ("metadata.max.retention.bytes", "20000"),
    ("controller.quorum.fetch.snapshot.max.bytes", "700"),
];

/// Who is not there for a moment finds what it needs in the log.
const LESS_SMALL: &[(&str, &str)] =
    &[("metadata.log.max.record.bytes.between.snapshots", "20000"), ("metadata.max.retention.bytes", "-1")];

fn small(nodes: usize, trouble_ms: u64, seed: u64) -> World {
    let mut world = World::new(nodes, trouble_ms, Planted::default(), seed);
    world.knobs.settings = SMALL;
    world.delete_topics();
    world
}

fn settle(world: &mut World) {
    world.heal();
    world.run(20_000);
    world.check_settled();
}

#[test]
fn a_follower_that_was_away_is_brought_back_by_a_snapshot() {
    for seed in 0..3 {
        let mut world = small(3, 0, seed);
        world.run(15_000);
        let before = world.installed();
        world.send_away(2, 20_000);
        world.run(20_000);
        assert!(world.installed() == before && world.snapshots() > 10, "{seed}: {}", world.snapshots());
        settle(&mut world);
        assert!(world.installed() > before, "{seed}: {} {before}", world.installed());
        assert!(world.epochs() <= 2, "{seed}: {}", world.epochs());
    }
}

#[test]
fn who_comes_late_joins_from_a_snapshot() {
    for seed in 0..3 {
        let mut world = small(3, 0, seed);
        world.run(2);
        world.send_away(2, 20_000);
        world.run(19_000);
        let (start, end) = world.log_of_metadata(0);
        assert!(start.0 > 0 && end > start, "{seed}: {start} {end}");
        settle(&mut world);
        assert!(world.installed() >= 1, "{seed}: {}", world.installed());
    }
}

/// Every node starts anew from its own snapshot and the log behind it.
#[test]
fn all_start_anew_from_their_snapshots() {
    for seed in 0..3 {
        let mut world = small(3, 0, seed);
        world.knobs.settings = LESS_SMALL;
        world.run(20_000);
        for node in 0..3 {
            world.send_away(node, 1_000);
        }
        let before = world.installed();
        world.run(10_000);
        settle(&mut world);
        assert_eq!(world.installed(), before, "{seed}");
    }
}

/// A node that is brought back by a snapshot dies at each of the first operations of its disk.
#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new() {
    let mut installed = 0;
    for operation in 0..40 {
        let mut world = small(3, 0, operation % 7);
        world.run(5_000);
        world.send_away(2, 10_000);
        world.run(9_990);
        world.dies_after(2, 2 * operation, operation % 4 < 2);
        world.run(3_000);
        world.heal();
        world.run(5_000);
        world.check_settled();
        installed += world.installed();
    }
    assert!(installed >= 40, "{installed}");
}

#[test]
fn with_snapshots_what_is_acknowledged_survives_whatever_happens() {
    let (mut snapshots, mut installed) = (0, 0);
    for seed in 0..8 {
        let mut world = small(if seed % 4 == 0 { 5 } else { 3 }, 600, seed);
        world.run(60_000);
        settle(&mut world);
        assert!(world.acked() > 10, "{seed}: {}", world.acked());
        snapshots += world.snapshots();
        installed += world.installed();
    }
    assert!(snapshots > 100 && installed > 3, "{snapshots} {installed}");
}
