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

/// After a cut below what is durable, what is appended waits for the journal, and the file still has what was cut.
#[test]
fn a_cut_of_what_is_not_written_yet_does_not_read_what_was_there_before() {
    let mut config = small();
    config.default_log.segment_bytes = 1 << 20;
    config.default_log.index_interval_bytes = 4096;
    config.checkpoint_bytes = 1 << 30;
    let mut prepared = World::new(config);
    prepared.create();
    for _ in 0..1500 {
        prepared.append(&batch(1, 1000), false).unwrap();
    }
    prepared.append(&batch(1, 1000), true).unwrap();
    prepared.run();
    assert_eq!(prepared.offsets().durable, Offset(1501));
    prepared.truncate(Offset(100));
    while prepared.offsets().log_end != Offset(100) {
        assert!(prepared.step());
    }
    for sequence in 0..1300 {
        let bytes = idempotent(8, 0, sequence, 1);
        prepared.append_as(&bytes, AppendOrigin::Client, LeaderEpoch(2), true).unwrap();
    }
    assert_eq!(prepared.offsets().written, Offset(100), "it is held back");
    // Far back the batch is looked for; what producers did below the high watermark is read again.
    for (cut, high_watermark, room) in [(150, 0, true), (1390, 1395, true), (150, 0, false), (1390, 1395, false)] {
        let mut world = prepared.clone();
        world.set_high_watermark(Offset(high_watermark));
        world.truncate(Offset(cut));
        let again = world.logs.offsets(world.log()).unwrap().log_end > Offset(cut);
        world.truncate(Offset(cut - 10));
        if !room {
            world.disk.fail.insert(world.disk.done + 40, ottla_core::machine::DiskError::Full);
        }
        world.run();
        let damage = world.events.iter().find(|event| matches!(event, LogEvent::Damaged { .. }));
        assert_eq!(damage, None, "cut at {cut}, room {room}, waits {again}");
        let end = world.offsets().log_end;
        assert!(end == Offset(cut - 10) || !room && end <= Offset(cut - 10), "{end}, cut at {cut}, room {room}");
        world.pass(std::time::Duration::from_secs(2));
        world.run();
        let next = i32::try_from(end.0).unwrap() - 100;
        world.append_as(&idempotent(8, 0, next, 1), AppendOrigin::Client, LeaderEpoch(2), true).unwrap();
        world.run();
        assert_eq!(world.offsets().durable, end + 1, "cut at {cut}, room {room}");
        assert_eq!(world.restart(Crash::Power(1)).logs[0].damage, None, "cut at {cut}, room {room}");
    }
}

/// A log of several segments, of which somebody is about to read an older one, so many steps ago. Its file is closed.
fn reading(steps: Option<usize>) -> (World, Vec<(Offset, u32)>) {
    let (mut world, _) = filled(100);
    let segments = world.logs.view(world.log()).unwrap().segments;
    assert!(segments.len() > 3);
    if let Some(steps) = steps {
        let (from, ticket) = (segments[1].0, Ticket(77));
        let request = ReadRequest { from, max_bytes: 100, min_one_batch: true, upper: Offset(i64::MAX), ticket };
        let log = world.log();
        assert_eq!(world.logs.read(log, request, &mut world.out), ReadPlan::Pending);
        (0..steps).all(|_| world.step());
        world.settle();
    }
    (world, segments)
}

#[test]
fn a_segment_that_is_being_opened_can_be_the_one_that_is_written() {
    for steps in 0..10 {
        let (mut world, segments) = reading(Some(steps));
        let base = segments[1].0;
        world.truncate(base);
        world.append(&batch(1, 0), true).unwrap();
        world.run();
        assert!(world.events.iter().any(|event| matches!(event, LogEvent::ReadDone { ticket: Ticket(77), .. })));
        assert_eq!(world.offsets().durable, base + 1, "after {steps}");
        assert!(world.read_all(Offset::ZERO).is_ok(), "after {steps}");
        assert_eq!(world.restart(Crash::Power(1)).logs[0].damage, None, "after {steps}");
        assert_eq!(world.offsets().log_end, base + 1, "after {steps}");
    }
}

#[test]
fn a_segment_that_goes_while_it_is_being_opened_is_closed() {
    let files = |steps: Option<usize>, go: fn(&mut World)| {
        let (mut world, _) = reading(steps);
        go(&mut world);
        world.run();
        world.disk.open_files()
    };
    for go in [|world: &mut World| world.truncate(Offset(0)), World::delete] {
        let without = files(None, go);
        for steps in 0..10 {
            assert_eq!(files(Some(steps), go), without, "after {steps}");
        }
    }
}
