//! What a start finds of files that were being written, and of bad ones.

use ottla_core::log::*;
use ottla_core::types::{LeaderEpoch, Offset};

use crate::disk::Crash;
use crate::world::{batch, idempotent};
use crate::{filled, logged};

/// Removals are carried out at any time: one that a start has asked for must not take what is being saved later.
#[test]
fn a_late_removal_takes_no_file_of_this_process() {
    let mut begun = 0;
    for steps in 0..60 {
        let (mut world, _) = filled(0);
        for sequence in 0..20 {
            world.append(&idempotent(9, 0, sequence, 1), true).unwrap();
            world.run();
        }
        let snapshot = world.disk.names().into_iter().rfind(|name| name.ends_with(".snapshot")).unwrap();
        world.disk.bytes(&snapshot)[5] ^= 1;
        let left = ["t-0/leader-epoch-checkpoint.tmp", "log-start-offset-checkpoint.tmp", "flush-journal.tmp"];
        for name in left {
            world.disk.plant(name, vec![1]);
        }
        world.disk.removals_wait = true;
        world.restart(Crash::Kill);
        world.disk.trace = Some(Vec::new());
        for sequence in 20..30 {
            world.append(&idempotent(9, 0, sequence, 1), true).unwrap();
        }
        world.delete_records(Offset(2));
        let is_over = !(0..steps).all(|_| world.step());
        let trace = world.disk.trace.take().unwrap();
        begun += usize::from(left.iter().any(|name| trace.iter().any(|line| line.contains(&format!("create {name}")))));
        world.disk.removals_wait = false;
        world.run();
        let failed = world.events.iter().find(|event| matches!(event, LogEvent::DirOffline { .. }));
        assert_eq!(failed, None, "after {steps} steps");
        assert_eq!(world.offsets().durable, Offset(30), "after {steps} steps");
        let names = world.disk.names();
        assert!(!names.iter().any(|name| name.ends_with(".tmp.deleted")), "after {steps} steps: {names:?}");
        assert_eq!(world.restart(Crash::Kill).logs[0].damage, None);
        assert_eq!(world.offsets().log_start, Offset(2));
        if is_over {
            break;
        }
    }
    assert!(begun > 5, "{begun}");
}

/// What a crash leaves of a leftover goes at the next start.
#[test]
fn leftovers_go_at_last() {
    let (mut world, _) = filled(5);
    let left = ["a.tmp", "a.tmp.deleted", "t-0/a.tmp", "t-0/b.tmp.deleted", "t-0/c.checkpoint.part"];
    for name in left {
        world.disk.plant(name, vec![1]);
    }
    world.disk.removals_wait = true;
    world.restart(Crash::Kill);
    world.disk.removals_wait = false;
    world.restart(Crash::Kill);
    let names = world.disk.names();
    assert!(!names.iter().any(|name| name.contains(".tmp") || name.contains(".part")), "{names:?}");
}

/// Recovery begins where the index of a segment says that a batch starts. If none does there, the index is to blame.
#[test]
fn a_spoilt_index_costs_a_start_nothing() {
    for (clean, count) in [(false, 40), (false, 47), (true, 40)] {
        let (mut prepared, batches) = filled(count);
        if clean {
            prepared.shutdown();
        }
        let intact = logged(&batches);
        let last = prepared.disk.names().into_iter().rfind(|name| name.ends_with(".index")).unwrap();
        let len = prepared.disk.bytes(&last).len();
        assert!(len >= 16, "{last} has {len} bytes");
        for (byte, bit) in (0..len).flat_map(|byte| [(byte, 0), (byte, 3)]) {
            let what = format!("{count} batches, byte {byte}, bit {bit}, clean {clean}");
            let mut world = prepared.clone();
            world.disk.bytes(&last)[byte] ^= 1 << bit;
            for start in 0..2 {
                let boot = world.restart(Crash::Kill);
                assert_eq!(boot.logs[0].damage, None, "{what}, start {start}");
                assert_eq!(world.read_all(Offset::ZERO).as_ref(), Ok(&intact), "{what}, start {start}");
            }
            world.append_as(&batch(1, 0), AppendOrigin::Client, LeaderEpoch(1), true).unwrap();
            world.run();
            assert_eq!(world.restart(Crash::Kill).logs[0].damage, None, "{what}, after an append");
        }
    }
}
