//! A full disk: what has expired goes, or the disk would be full for ever.

use std::time::Duration;

use ottla_core::log::*;
use ottla_core::machine::DiskError;
use ottla_core::types::Offset;

use crate::disk::Crash;
use crate::world::{World, batch, small};
use crate::{batches, logged};

const CHECK: Duration = Duration::from_secs(301);

/// A log of which all but the last segments are to go, on a disk that has not a byte left.
fn full(segment_bytes: u32, batches: &[bytes::Bytes]) -> World {
    let mut config = small();
    config.default_log.segment_bytes = segment_bytes;
    config.default_log.retention_bytes = i64::from(segment_bytes);
    let mut world = World::new(config);
    world.create();
    for bytes in batches {
        world.append(bytes, true).unwrap();
    }
    world.run();
    // What goes already has gone.
    world.pass(Duration::from_secs(1));
    world.run();
    world.set_high_watermark(world.offsets().log_end);
    world.disk.room = 0;
    world.append(&batch(1, 0), true).unwrap();
    world.run();
    assert!(world.events.iter().any(|event| matches!(event, LogEvent::DirFull { .. })));
    assert_eq!(world.append(&batch(1, 0), true), Err(AppendError::Storage));
    world.events.clear();
    world
}

#[test]
fn a_full_disk_is_freed_by_what_has_expired() {
    let batches: Vec<_> = (0..80).map(|_| batch(1000, 0)).collect();
    let mut world = full(300_000, &batches);
    let segments = world.logs.view(world.log()).unwrap().segments.len();
    assert!(segments > 5, "{segments}");
    world.pass(CHECK);
    world.run();
    assert!(world.disk.room < 1000, "the files go when their time has come");
    for _ in 0..3 {
        world.pass(Duration::from_secs(1));
        world.run();
    }
    assert!(world.events.iter().any(|event| matches!(event, LogEvent::DirSpace { .. })));
    let left = world.logs.view(world.log()).unwrap().segments.len();
    assert!(left <= 3, "{left} segments are left");
    let start = world.offsets().log_start;
    let saved = world.events.contains(&LogEvent::LogStartSaved { log: world.log(), offset: start });
    assert!(start > Offset::ZERO && saved);
    let end = world.append(&batch(1, 0), true).unwrap().base_offset;
    world.run();
    world.restart(Crash::Power(1));
    assert_eq!((world.offsets().log_start, world.offsets().durable), (start, end + 1));
}

#[test]
fn deleted_records_make_room_on_a_full_disk() {
    let batches: Vec<_> = (0..80).map(|_| batch(1000, 0)).collect();
    let mut world = full(300_000, &batches);
    let start = world.logs.view(world.log()).unwrap().segments[5].0 + 7;
    world.delete_records(start);
    let saved = LogEvent::LogStartSaved { log: world.log(), offset: start };
    world.run();
    assert!(!world.events.contains(&saved));
    for _ in 0..3 {
        world.pass(Duration::from_secs(1));
        world.run();
    }
    assert!(world.events.contains(&saved));
}

/// Whatever crashes, and whichever operation finds no room: no hole, and nothing that counts is missed.
#[test]
fn a_crash_while_a_full_disk_is_freed_leaves_no_hole() {
    let batches = batches(100);
    let (whole, prepared) = (logged(&batches), full(1000, &batches));
    let segments = prepared.logs.view(prepared.log()).unwrap().segments.len();
    let mut starts = std::collections::BTreeSet::new();
    for operations in 0_u64..200 {
        let mut world = prepared.clone();
        let failing = operations % 5 == 4;
        if failing {
            world.disk.fail.insert(world.disk.done + operations / 5, DiskError::Full);
        }
        world.pass(CHECK);
        let is_over = !(0..operations).all(|_| world.step());
        for crash in [Crash::Kill, Crash::Power(operations), Crash::Power(operations + 1000)] {
            let mut world = world.clone();
            for _ in 0..2 {
                let boot = world.restart(crash);
                assert_eq!(boot.logs[0].damage, None, "{crash:?} after {operations}");
                let (start, end) = (world.offsets().log_start, prepared.offsets().log_end);
                assert_eq!(world.offsets().log_end, end, "{crash:?} after {operations}");
                let read = world.read_all(start).unwrap();
                let first = ottla_core::record::batches(&read).next().unwrap().unwrap();
                assert_eq!(first.header().base_offset, start, "{crash:?} after {operations}");
                assert!(whole.ends_with(&read), "{crash:?} after {operations}");
                starts.insert(start);
            }
        }
        if is_over && !failing {
            break;
        }
    }
    assert_eq!(starts.len(), segments, "each goes by itself: {starts:?}");
}

/// The journal's claim names a batch, and a log without its segment is damaged. It is not the last segment, where the
/// one that follows is not durable.
#[test]
fn what_the_journal_claims_stays_on_a_full_disk() {
    let mut config = small();
    config.default_log.segment_bytes = 1000;
    let mut prepared = World::new(config);
    prepared.create();
    let segments = |world: &World| world.logs.view(world.log()).unwrap().segments.len();
    while segments(&prepared) < 5 {
        prepared.append(&batch(2, 0), true).unwrap();
        prepared.run();
    }
    // The next batch is of a new segment.
    while prepared.logs.view(prepared.log()).unwrap().segments.last().unwrap().1 < 900 {
        prepared.append(&batch(2, 0), true).unwrap();
        prepared.run();
    }
    let mut claimed_before = 0;
    for number in 1..40 {
        let mut world = prepared.clone();
        world.disk.fail.insert(world.disk.done + number, DiskError::Full);
        world.append(&batch(2, 0), true).unwrap();
        world.run();
        world.disk.room = 0;
        world.set_high_watermark(world.offsets().written);
        world.delete_records(world.offsets().written);
        world.run();
        let last = world.logs.view(world.log()).unwrap().segments.last().unwrap().0;
        claimed_before += usize::from(world.offsets().durable <= last && segments(&world) == 2);
        for crash in [Crash::Kill, Crash::Power(number), Crash::Power(number + 1000)] {
            assert_eq!(world.clone().restart(crash).logs[0].damage, None, "{crash:?}, operation {number}");
        }
    }
    assert!(claimed_before > 0);
}
