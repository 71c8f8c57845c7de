//! Cuts, and what of the log is still on its way then.

use ottla_core::log::*;
use ottla_core::types::{LeaderEpoch, Offset};

use crate::disk::Crash;
use crate::filled;
use crate::world::{World, batch, idempotent, small};

/// A checkpoint is being made above where the log is cut, and the log grows past it with other records before the
/// snapshot is gone for certain.
#[test]
fn a_snapshot_of_what_was_cut_is_never_believed() {
    let mut seen = 0;
    for (steps, more) in (0..60).flat_map(|steps| (6..11).map(move |more| (steps, more))) {
        let (mut world, _) = filled(0);
        for sequence in 0..10 {
            world.append(&idempotent(9, 0, sequence, 1), true).unwrap();
            world.run();
        }
        world.disk.syncs_are_late = steps % 2 == 0;
        for sequence in 10..19 {
            world.append(&idempotent(9, 0, sequence, 1), false).unwrap();
        }
        (0..steps).all(|_| world.step());
        world.truncate(Offset(10));
        while world.offsets().log_end != Offset(10) {
            assert!(world.step());
        }
        for sequence in 0..more {
            let bytes = idempotent(8, 0, sequence, 1);
            world.append_as(&bytes, AppendOrigin::Client, LeaderEpoch(2), true).unwrap();
        }
        while world.step() {
            let is_snapshot = |name: &&String| name.ends_with(".snapshot");
            if world.offsets().durable <= Offset(10) || world.disk.names_to_come_back().find(is_snapshot).is_none() {
                continue;
            }
            for seed in 0..3 {
                let mut world = world.clone();
                let boot = world.restart(Crash::Power(seed));
                let what = format!("{steps} steps, {more} more, seed {seed}");
                assert_eq!(boot.logs[0].damage, None, "{what}");
                let producers = world.logs.producers(world.log());
                let last = |id| producers.iter().find(|view| view.producer_id == id).map(|view| view.last_sequence);
                let end = i32::try_from(world.offsets().log_end.0).unwrap();
                assert_eq!((last(8), last(9)), (Some(end - 11), Some(9)), "{what}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
}
