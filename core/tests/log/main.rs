//! The logs on a disk with three layers: what survives what.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::wildcard_enum_match_arm,
    reason = "the numbers are small, and what a test does not look for it passes over"
)]

mod compaction;
mod cuts;
mod disk;
mod full;
mod leftovers;
mod log_starts;
mod model;
mod recovery;
mod scripts;
mod stops;
mod world;

use std::time::Duration;

use disk::Crash;
use ottla_core::log::*;
use ottla_core::machine::DiskError;
use ottla_core::record;
use ottla_core::types::{LeaderEpoch, Offset, TopicPartition};
use world::{World, batch, idempotent, small};

/// The bytes that a log of these batches holds, each with its offset and leader epoch 1.
fn logged(batches: &[bytes::Bytes]) -> Vec<u8> {
    let (mut all, mut offset) = (Vec::new(), 0);
    for bytes in batches {
        let facts = record::scan(bytes, 1 << 20).unwrap();
        all.extend(record::BatchHead::new(Offset(offset), LeaderEpoch(1), bytes.len() - 16).0);
        all.extend_from_slice(&bytes[16..]);
        offset += i64::from(facts.last_offset_delta) + 1;
    }
    all
}

fn batches(count: usize) -> Vec<bytes::Bytes> {
    (0..count).map(|index| batch(1 + index % 3, 1000 + 10 * i64::try_from(index).unwrap())).collect()
}

/// A world with a log of so many batches, all durable.
fn filled(count: usize) -> (World, Vec<bytes::Bytes>) {
    let mut world = World::new(small());
    world.create();
    let batches = batches(count);
    for bytes in &batches {
        world.append(bytes, true).unwrap();
    }
    world.run();
    (world, batches)
}

#[test]
fn what_was_appended_is_read_and_durable() {
    let (mut world, batches) = filled(100);
    let offsets = world.offsets();
    assert_eq!(offsets.durable, offsets.log_end);
    assert!(world.events.iter().any(|event| matches!(event, LogEvent::Created { .. })));
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
    assert!(world.logs.view(world.log()).unwrap().segments.len() > 3);
    assert_eq!(world.read(Offset(-1), 100), ReadPlan::OutOfRange);
    assert_eq!(world.read(offsets.log_end + 1, 100), ReadPlan::OutOfRange);
    assert!(world.disk.open_files() < 8, "{} files are open", world.disk.open_files());
}

#[test]
fn an_append_is_readable_when_written_and_durable_later() {
    let mut world = World::new(small());
    world.create();
    world.run();
    world.append(&batch(2, 5), false).unwrap();
    assert_eq!(world.offsets().written, Offset(0));
    assert_eq!(world.read(Offset(0), 100), ReadPlan::Empty);
    assert!(world.step());
    assert_eq!(world.offsets().written, Offset(2));
    assert_eq!(world.offsets().durable, Offset(0));
    assert!(matches!(world.read(Offset(0), 100), ReadPlan::Ready { .. }));
    world.run();
    assert_eq!(world.offsets().durable, Offset(2));
}

#[test]
fn a_check_ends_where_what_is_written_does() {
    let (mut world, mut batches) = filled(5);
    world.shutdown();
    // After a clean stop the bytes are as yet unchecked, so a read walks over them.
    world.restart(Crash::Kill);
    world.disk.jobs_overtake = true;
    for _ in 0..2 {
        batches.push(batch(1, 0));
        world.append(&batch(1, 0), false).unwrap();
        assert!(matches!(world.find(TimestampQuery::Greatest), TimestampPlan::Found { .. }));
    }
    batches.push(batch(1, 0));
    world.append(&batch(1, 0), false).unwrap();
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
}

#[test]
fn a_segment_is_given_up_after_its_answer_is_taken() {
    let mut world = World::new(LogManagerConfig { cold_segments: 0, ..small() });
    world.create();
    let batches = batches(60);
    for bytes in &batches {
        world.append(bytes, true).unwrap();
    }
    world.run();
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
}

#[test]
fn a_bad_batch_far_back_is_never_sent() {
    for byte in 0..200 {
        let (mut world, _) = filled(40);
        world.restart(Crash::Kill);
        world.disk.bytes("t-0/00000000000000000000.log")[byte] ^= 1;
        assert_eq!(world.read_all(Offset(0)), Err(ReadPlan::Storage), "byte {byte}");
        assert!(world.events.iter().any(|event| matches!(event, LogEvent::Damaged { .. })));
    }
}

/// No CRC covers a batch's offset. Wherever the first read of it begins, the index knows better.
#[test]
fn a_batch_with_a_wrong_offset_is_never_sent() {
    let (mut world, batches) = filled(40);
    world.restart(Crash::Kill);
    let (intact, name) = (logged(&batches), "t-0/00000000000000000000.log");
    let (mut pos, mut offset) = (0, Offset(0));
    for (number, bytes) in batches.iter().take(15).enumerate() {
        for bit in 0..16 {
            world.restart(Crash::Kill);
            world.disk.bytes(name)[pos + 7 - bit / 8] ^= 1 << (bit % 8);
            assert_eq!(world.read(offset, 150), ReadPlan::Storage, "offset {offset}, bit {bit}");
            world.restart(Crash::Kill);
            let found = world.find(TimestampQuery::AtOrAfter(1000 + 10 * i64::try_from(number).unwrap()));
            assert_eq!(found, TimestampPlan::Storage, "time of offset {offset}, bit {bit}");
            world.disk.bytes(name)[pos + 7 - bit / 8] ^= 1 << (bit % 8);
        }
        pos += bytes.len();
        offset = offset + i64::from(record::scan(bytes, 1 << 20).unwrap().last_offset_delta) + 1;
    }
    world.restart(Crash::Kill);
    assert_eq!(world.read_all(Offset(0)).unwrap()[..pos], intact[..pos]);
}

#[test]
fn duplicates_are_answered_with_the_first_offsets() {
    let mut world = World::new(small());
    world.create();
    let first = world.append(&idempotent(9, 0, 0, 3), true).unwrap();
    world.append(&idempotent(9, 0, 3, 2), true).unwrap();
    assert_eq!(world.append(&idempotent(9, 0, 9, 1), true), Err(AppendError::OutOfOrderSequence));
    world.run();
    for crash in [Crash::Kill, Crash::Power(9)] {
        world.restart(crash);
        let again = world.append(&idempotent(9, 0, 0, 3), true).unwrap();
        assert_eq!(again, Appended { duplicate: true, ..first });
    }
    assert_eq!(world.offsets().log_end, Offset(5));
}

#[test]
fn a_producer_outlives_its_records_whenever_the_process_dies() {
    let mut world = World::new(small());
    world.create();
    let mut crashes = 0;
    for sequence in (0..60).step_by(3) {
        world.append(&idempotent(9, 0, sequence, 3), true).unwrap();
        world.run();
        // The next batch may roll the log, and all below it is deleted.
        let mut dying = world.clone();
        let next = dying.append(&idempotent(9, 0, sequence + 3, 3), true).unwrap();
        dying.set_high_watermark(next.base_offset);
        dying.delete_records(next.base_offset);
        loop {
            let mut died = dying.clone();
            died.restart(Crash::Kill);
            let again = died.append(&idempotent(9, 0, sequence, 3), true);
            assert!(again.as_ref().is_ok_and(|again| again.duplicate), "sequence {sequence}: {again:?}");
            crashes += 1;
            if !dying.step() {
                break;
            }
        }
    }
    assert!(crashes > 200, "{crashes}");
}

#[test]
fn truncation_survives_power_loss_and_offsets_are_given_anew() {
    let (mut world, batches) = filled(40);
    let keep = 25;
    let end = batches[..keep].iter().map(|bytes| i64::from(record::scan(bytes, 1 << 20).unwrap().record_count)).sum();
    world.truncate(Offset(end));
    world.run();
    assert_eq!(world.offsets().log_end, Offset(end));
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches[..keep]));
    let mut now = batches[..keep].to_vec();
    for bytes in &batches[..10] {
        world.append(bytes, true).unwrap();
        now.push(bytes.clone());
    }
    world.run();
    for crash in [Crash::Kill, Crash::Power(4)] {
        let boot = world.restart(crash);
        assert_eq!(boot.logs[0].damage, None);
        assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&now));
    }
}

#[test]
fn deleted_records_are_gone_and_their_segments_later() {
    let (mut world, _) = filled(60);
    let third = world.logs.view(world.log()).unwrap().segments[2].0;
    world.delete_records(third + 1);
    assert_eq!(world.offsets().log_start, third + 1);
    world.run();
    assert!(world.events.iter().any(|event| matches!(event, LogEvent::LogStartSaved { .. })));
    assert_eq!(world.logs.view(world.log()).unwrap().segments[0].0, third);
    assert_eq!(world.read(Offset(0), 100), ReadPlan::OutOfRange);
    let left = |world: &World| world.disk.names().iter().filter(|name| name.contains(".deleted")).count();
    assert!(left(&world) > 0);
    world.pass(Duration::from_millis(200));
    world.run();
    assert_eq!(left(&world), 0);
    world.restart(Crash::Power(8));
    assert_eq!(world.offsets().log_start, third + 1);
}

#[test]
fn a_log_made_anew_does_not_begin_where_the_deleted_one_did() {
    for between in [None, Some(Crash::Kill), Some(Crash::Power(3))] {
        let (mut world, _) = filled(15);
        world.delete_records(world.offsets().log_end);
        world.run();
        world.delete();
        world.run();
        if let Some(crash) = between {
            world.restart(crash);
        }
        world.create();
        let batches = batches(5);
        for bytes in &batches {
            world.append(bytes, true).unwrap();
        }
        world.run();
        for crash in [Crash::Kill, Crash::Power(5)] {
            world.restart(crash);
            assert_eq!(world.offsets().log_start, Offset(0));
            assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
        }
    }
}

#[test]
fn a_cut_below_the_log_start_uses_no_offset_again() {
    let rotten = |world: &mut World| {
        let segment = world.logs.view(world.log()).unwrap().segments.last().unwrap().0;
        world.disk.bytes(&format!("t-0/{:020}.log", segment.0))[70] ^= 1;
    };
    for spoil in [rotten, |_: &mut World| ()] {
        let (mut world, _) = filled(15);
        // In the second case these are lost with the power, as under `flush=async`.
        let end = world.offsets().log_end + 3;
        world.append(&batch(3, 0), false).unwrap();
        while world.offsets().written < end {
            assert!(world.step());
        }
        world.delete_records(end);
        while world.step() {}
        assert_eq!(world.offsets().log_start, end);
        spoil(&mut world);
        for crash in [Crash::Power(3), Crash::Kill, Crash::Power(5)] {
            let boot = world.restart(crash);
            assert_eq!(boot.logs[0].damage, None, "nothing that is damaged counts");
            let offsets = world.offsets();
            assert_eq!((offsets.log_start, offsets.log_end), (end, end));
        }
        assert_eq!(world.append(&batch(1, 0), true).unwrap().base_offset, end);
        world.run();
        for crash in [Crash::Kill, Crash::Power(7)] {
            assert_eq!(world.restart(crash).logs[0].damage, None);
            assert_eq!((world.offsets().log_start, world.offsets().log_end), (end, end + 1));
        }
    }
}

#[test]
fn retention_by_size_and_by_age_spares_what_is_above_the_high_watermark() {
    let mut config = small();
    config.default_log.retention_bytes = 5000;
    let mut world = World::new(config);
    world.create();
    let now = world.now.wall.0;
    for _ in 0..100 {
        world.append(&batch(2, now), true).unwrap();
    }
    world.run();
    world.pass(Duration::from_secs(301));
    world.run();
    assert_eq!(world.offsets().log_start, Offset(0), "the high watermark is 0");
    world.set_high_watermark(world.offsets().log_end);
    world.pass(Duration::from_secs(301));
    world.run();
    let size = world.logs.view(world.log()).unwrap().size;
    assert!((5000..7000).contains(&size), "{size} bytes are left");
    world.pass(Duration::from_secs(8 * 24 * 3600));
    world.run();
    assert_eq!(world.offsets().log_start, world.offsets().log_end);
    assert_eq!(world.logs.view(world.log()).unwrap().segments.len(), 1);
    world.append(&batch(2, now), true).unwrap();
    world.run();
    world.restart(Crash::Power(5));
    assert_eq!(world.offsets().log_start, Offset(200));
    assert_eq!(world.offsets().log_end, Offset(202));
}

/// A committed log that is old enough to go whole.
fn expired() -> World {
    let mut world = World::new(small());
    world.create();
    let now = world.now.wall.0;
    for _ in 0..20 {
        world.append(&batch(2, now), true).unwrap();
    }
    world.run();
    world.set_high_watermark(world.offsets().log_end);
    world
}

/// A deletion takes its time on a slow disk, and retention looks again meanwhile.
#[test]
fn a_log_that_goes_whole_gets_one_new_segment() {
    for (operations, further) in (0..40).flat_map(|operations| [(operations, 1), (operations, 3)]) {
        let mut world = expired();
        world.pass(Duration::from_secs(8 * 24 * 3600));
        (0..operations).all(|_| world.step());
        for _ in 0..further {
            world.pass(Duration::from_secs(301));
        }
        world.run();
        let kept = batch(2, world.now.wall.0);
        world.append(&kept, true).unwrap();
        world.run();
        world.restart(Crash::Power(1));
        assert_eq!(world.boot().logs[0].damage, None, "after {operations}");
        let offsets = world.offsets();
        assert_eq!((offsets.log_start, offsets.log_end), (Offset(40), Offset(42)), "after {operations}");
    }
}

/// A start may take longer than retention waits, and the broker's default is not what every log is kept by: not the
/// metadata log, for one.
#[test]
fn nothing_goes_before_somebody_says_what_is_kept() {
    // The first look at old segments reads their time indexes.
    let look_twice = |world: &mut World| {
        for _ in 0..2 {
            world.pass(Duration::from_secs(301));
            world.run();
        }
        world.offsets().log_start
    };
    let mut world = expired();
    world.restart_slowly(0, None);
    while world.step() {}
    world.set_high_watermark(world.offsets().log_end);
    world.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(look_twice(&mut world), Offset(0));
    let log = world.log();
    world.logs.set_config(log, small().default_log);
    assert_eq!(look_twice(&mut world), Offset(40));
}

/// The last batch that was written lies in a segment that is gone.
#[test]
fn what_does_not_fit_after_all_was_deleted_is_cut_where_the_log_begins() {
    let mut world = expired();
    world.pass(Duration::from_secs(8 * 24 * 3600));
    world.run();
    assert_eq!(world.offsets().log_start, Offset(40));
    let kept = batch(2, world.now.wall.0);
    world.disk.fail.insert(world.disk.done + 1, DiskError::Full);
    world.append(&kept, true).unwrap();
    world.run();
    assert_eq!(world.disk.bytes("t-0/00000000000000000040.log").len(), 0);
    world.pass(Duration::from_secs(2));
    world.run();
    world.append(&kept, true).unwrap();
    world.run();
    assert_eq!(world.read_all(Offset(40)).unwrap().len(), kept.len());
    world.restart(Crash::Power(1));
    assert_eq!(world.boot().logs[0].damage, None);
    assert_eq!(world.offsets().log_end, Offset(42));
}

#[test]
fn a_deleted_log_is_gone_and_may_be_made_anew() {
    let (mut world, batches) = filled(30);
    world.delete();
    world.create();
    world.append(&batches[0], true).unwrap();
    world.run();
    assert!(world.events.iter().any(|event| matches!(event, LogEvent::Deleted { .. })));
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches[..1]));
    world.pass(Duration::from_millis(200));
    world.run();
    assert!(!world.disk.names().iter().any(|name| name.contains("delete")), "{:?}", world.disk.names());
    let boot = world.restart(Crash::Power(2));
    assert_eq!(boot.logs.len(), 1);
    assert_eq!(boot.missing, []);
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches[..1]));
}

#[test]
fn a_failed_write_or_sync_stops_the_directory() {
    for nth in 1..30 {
        let (mut world, batches) = filled(10);
        let before = world.offsets().durable;
        world.disk.fail.insert(world.disk.done + nth, DiskError::Io(5));
        for bytes in &batches {
            let _ = world.append(bytes, true);
        }
        world.run();
        if !world.events.iter().any(|event| matches!(event, LogEvent::DirOffline { .. })) {
            continue;
        }
        let durable = world.offsets().durable;
        assert_eq!(world.append(&batches[0], true), Err(AppendError::Storage));
        world.shutdown();
        let boot = world.restart(Crash::Power(nth));
        assert_eq!(boot.logs[0].damage, None, "failing operation {nth}");
        assert!(world.offsets().log_end >= durable && durable >= before);
        world.append(&batches[0], true).unwrap();
        world.run();
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    for room in (0..3000).step_by(97) {
        let (mut world, batches) = filled(10);
        world.disk.room = room;
        let mut accepted = batches.clone();
        for bytes in batches.iter().cycle().take(40) {
            if world.append(bytes, true).is_ok() {
                accepted.push(bytes.clone());
            }
            world.step();
        }
        world.run();
        assert!(world.events.iter().any(|event| matches!(event, LogEvent::DirFull { .. })));
        assert_eq!(world.append(&batches[0], true), Err(AppendError::Storage));
        assert_eq!(world.offsets().log_end, world.offsets().written);
        let before = world.read_all(Offset::ZERO).unwrap();
        world.disk.room = 1 << 30;
        world.pass(Duration::from_secs(2));
        world.run();
        assert!(world.events.iter().any(|event| matches!(event, LogEvent::DirSpace { .. })));
        world.append(&batches[0], true).unwrap();
        world.run();
        assert_eq!(world.offsets().durable, world.offsets().log_end);
        let after = world.read_all(Offset::ZERO).unwrap();
        assert!(after.starts_with(&before) && after.len() > before.len());
        let boot = world.restart(Crash::Power(room));
        assert_eq!(boot.logs[0].damage, None);
        assert_eq!(world.read_all(Offset::ZERO).unwrap(), after);
    }
}

#[test]
fn timestamps_are_found_to_the_record() {
    let (mut world, _) = filled(60);
    for _ in 0..2 {
        for (target, want) in [(0, 0), (1000, 0), (1011, 2), (1012, 3), (1100, 19)] {
            let plan = world.find(TimestampQuery::AtOrAfter(target));
            assert!(
                matches!(plan, TimestampPlan::Found { offset, .. } if offset == Offset(want)),
                "at or after {target}: {plan:?}"
            );
        }
        assert_eq!(world.find(TimestampQuery::AtOrAfter(100_000)), TimestampPlan::NotFound);
        let greatest = world.find(TimestampQuery::Greatest);
        assert!(matches!(greatest, TimestampPlan::Found { timestamp: 1592, .. }), "{greatest:?}");
        world.restart(Crash::Kill);
    }
}

#[test]
fn a_record_behind_a_deleted_one_of_its_time_is_found() {
    let mut world = World::new(small());
    world.create();
    for timestamps in [[2000, 900], [1000, 1500]] {
        let mut builder = record::BatchBuilder::new(record::BatchOptions::default());
        for timestamp in timestamps {
            builder.append(&record::NewRecord { timestamp, key: None, value: None, headers: &[] });
        }
        world.append(&builder.build().into(), true).unwrap();
    }
    world.run();
    world.delete_records(Offset(1));
    let plan = world.find(TimestampQuery::AtOrAfter(1200));
    assert!(matches!(plan, TimestampPlan::Found { offset: Offset(3), timestamp: 1500, .. }), "{plan:?}");
    let plan = world.find(TimestampQuery::AtOrAfter(800));
    assert!(matches!(plan, TimestampPlan::Found { offset: Offset(1), timestamp: 900, .. }), "{plan:?}");
}

#[test]
fn a_file_is_not_closed_while_an_answer_refers_to_it() {
    let mut config = small();
    config.cold_segments = 0;
    let mut world = World::new(config);
    world.create();
    for bytes in batches(100) {
        world.append(&bytes, true).unwrap();
    }
    world.run();
    world.restart(Crash::Kill);
    let log = world.log();
    // A segment is given up as soon as nobody asks for it.
    let ticket = Ticket(1);
    let request = ReadRequest { from: Offset(0), max_bytes: 100, min_one_batch: true, upper: Offset(i64::MAX), ticket };
    let mut out = ottla_core::machine::Effects::new();
    assert_eq!(world.logs.read(log, request, &mut out), ReadPlan::Pending);
    out.drain().for_each(|effect| world.disk.push(effect));
    let range = loop {
        assert!(world.step_unsettled());
        let answer = |event| match event {
            LogEvent::ReadDone { plan: ReadPlan::Ready { range, .. }, .. } => Some(range),
            _ => None,
        };
        if let Some(range) = world.logs.take_events().into_iter().find_map(answer) {
            break range;
        }
        world.settle();
    };
    let pin = world.logs.pin(range);
    world.run();
    assert!(world.disk.read(range.file, range.pos.into(), range.len).is_ok());
    drop(pin);
    world.run();
    assert!(world.disk.read(range.file, 0, 1).is_err(), "nobody refers to it any more");
}

#[test]
fn a_file_that_goes_is_not_closed_while_an_answer_refers_to_it() {
    for delete in [
        World::delete as fn(&mut World),
        |world| world.truncate(Offset(0)),
        |world| {
            world.delete_records(world.offsets().log_end);
        },
    ] {
        let (mut world, _) = filled(15);
        let ReadPlan::Ready { range, .. } = world.read(Offset(0), 100) else {
            panic!("the log is good");
        };
        let (pin, other) = (world.logs.pin(range), world.logs.pin(range));
        let before = world.disk.read(range.file, range.pos.into(), range.len).unwrap();
        delete(&mut world);
        world.run();
        world.pass(Duration::from_secs(1));
        world.run();
        drop(other);
        world.run();
        let left = world.disk.read(range.file, range.pos.into(), range.len);
        assert!(left.is_ok_and(|left| left == before || left.is_empty()), "the file is there, whole or cut");
        drop(pin);
        world.pass(Duration::from_millis(1));
        world.run();
        let is_the_log = world.logs.find(&world::partition()).is_some();
        let is_active = is_the_log && world.logs.view(world.log()).unwrap().segments[0].0 == Offset(0);
        assert_eq!(world.disk.read(range.file, 0, 1).is_ok(), is_active);
    }
}

#[test]
fn a_cold_read_that_fails_is_no_gap() {
    for bytes in [false, true] {
        let (mut world, batches) = filled(60);
        world.restart(Crash::Kill);
        world.events.clear();
        // The segment is opened and its indexes are read first; only the walk over its batches fails.
        let ticket = Ticket(77);
        let log = world.log();
        let mut out = ottla_core::machine::Effects::new();
        if bytes {
            world.logs.read_bytes(log, Offset(0), ticket, &mut out);
        } else {
            let request =
                ReadRequest { from: Offset(0), max_bytes: 500, min_one_batch: true, upper: Offset(i64::MAX), ticket };
            assert_eq!(world.logs.read(log, request, &mut out), ReadPlan::Pending);
        }
        out.drain().for_each(|effect| world.disk.push(effect));
        while !world.disk.next_is_a_job() {
            assert!(world.step());
        }
        world.disk.fail.insert(world.disk.done + 1, DiskError::Io(5));
        world.run();
        let answers: Vec<_> = world.events.iter().filter(|event| !matches!(event, LogEvent::Damaged { .. })).collect();
        match answers[..] {
            [LogEvent::ReadDone { plan: ReadPlan::Storage, .. }] if !bytes => {}
            [LogEvent::BytesDone { bytes: None, .. }] if bytes => {}
            _ => panic!("{answers:?}"),
        }
        assert!(world.events.iter().any(|event| matches!(event, LogEvent::Damaged { .. })));
        // The next process reads what this one could not.
        world.restart(Crash::Kill);
        assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
    }
}

#[test]
fn a_log_that_is_deleted_while_its_directory_is_synced_fails_nothing() {
    for steps in 0..30 {
        let mut world = World::new(small());
        world.disk.syncs_are_late = true;
        world.create();
        world.append(&batch(1, 0), true).unwrap();
        for _ in 0..steps {
            world.step();
        }
        world.delete();
        world.run();
        let failed = world.events.iter().find(|event| matches!(event, LogEvent::DirOffline { .. }));
        assert_eq!(failed, None, "{steps} steps");
        assert!(world.events.iter().any(|event| matches!(event, LogEvent::Deleted { .. })));
        world.create();
        world.append(&batch(1, 0), true).unwrap();
        world.run();
        assert_eq!(world.offsets().durable, Offset(1), "{steps} steps");
    }
}

#[test]
fn a_thousand_logs_made_at_once_need_few_more_files_than_they_have() {
    let mut world = World::new(small());
    world.run();
    for number in 0..1000 {
        world.create_of(TopicPartition::new("many", number));
    }
    let mut most = 0;
    for _ in 0..100 {
        while world.step() {
            most = most.max(world.disk.open_files());
        }
        world.pass(Duration::from_millis(1));
    }
    let created = world.events.iter().filter(|event| matches!(event, LogEvent::Created { .. })).count();
    assert_eq!(created, 1000);
    assert!(most < 1200, "{most} files were open");
}
