//! The logs on a disk with three layers: what survives what.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::wildcard_enum_match_arm,
    reason = "the numbers are small, and what a test does not look for it passes over"
)]

mod disk;
mod model;
mod scripts;
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
fn a_start_that_cannot_read_costs_nothing_that_is_written() {
    let (mut world, mut batches) = filled(5);
    batches.push(batch(1, 0));
    world.append(&batch(1, 0), false).unwrap();
    assert!(world.step());
    let end = world.offsets().written;
    assert!(world.offsets().durable < end);
    // The first operation is the list of the directory.
    let boot = world.restart_failing(2, DiskError::Io(5));
    assert_eq!(boot.offline.len(), 1);
    let boot = world.restart(Crash::Kill);
    assert_eq!((boot.offline.len(), boot.logs[0].offsets.log_end), (0, end));
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
}

#[test]
fn a_log_that_cannot_say_whose_it_is_is_kept_for_a_better_start() {
    let (mut world, batches) = filled(5);
    let unread = (1..30).find(|number| {
        let boot = world.restart_failing(*number, DiskError::Io(5));
        let damage = boot.logs.first().and_then(|log| log.damage.as_ref());
        damage.is_some_and(|damage| damage.why.contains("partition.metadata"))
    });
    assert!(unread.is_some(), "one of the first operations reads it");
    let boot = world.restart(Crash::Kill);
    assert_eq!((boot.logs[0].topic_id, boot.logs[0].damage.clone()), (world::TOPIC, None));
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
    world.disk.bytes("t-0/partition.metadata").truncate(20);
    let boot = world.restart(Crash::Kill);
    assert!(boot.logs[0].damage.is_some(), "a file that says nothing is not taken for one that is not there");
}

#[test]
fn a_restart_finds_what_was_there() {
    for crash in [Crash::Kill, Crash::Power(1)] {
        let (mut world, batches) = filled(60);
        let before = world.offsets();
        let boot = world.restart(crash);
        assert_eq!(boot.clean, [None]);
        assert_eq!(boot.logs.len(), 1);
        assert_eq!(boot.logs[0].damage, None);
        assert_eq!(boot.logs[0].topic_id, world::TOPIC);
        assert_eq!(world.offsets().log_end, before.log_end);
        assert_eq!(world.offsets().durable, before.log_end);
        assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
        world.append(&batch(1, 0), true).unwrap();
        world.run();
        assert_eq!(world.offsets().durable, before.log_end + 1);
    }
}

#[test]
fn a_clean_stop_is_known_at_the_start_and_only_once() {
    let (mut world, batches) = filled(60);
    world.shutdown();
    assert_eq!(world.append(&batch(1, 0), true), Err(AppendError::Storage));
    let boot = world.restart(Crash::Power(3));
    assert_eq!(boot.clean, [Some(ottla_core::types::BrokerEpoch(5))]);
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
    let boot = world.restart(Crash::Kill);
    assert_eq!(boot.clean, [None]);
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
}

#[test]
fn a_torn_tail_is_cut_and_damage_is_not() {
    let (mut world, batches) = filled(30);
    let end = world.offsets().log_end;
    let last = *world.logs.view(world.log()).unwrap().segments.last().unwrap();
    let file = format!("t-0/{:020}.log", last.0.0);
    world.disk.bytes(&file).extend([7; 40]);
    world.restart(Crash::Kill);
    assert_eq!(world.offsets().log_end, end);
    assert_eq!(world.disk.bytes(&file).len(), last.1 as usize);
    world.disk.bytes(&file)[last.1 as usize - 1] ^= 1;
    let boot = world.restart(Crash::Kill);
    let damage = boot.logs[0].damage.clone().expect("a durable batch is damaged");
    assert_eq!(damage.segment, last.0);
    assert_eq!(world.append(&batch(1, 0), true), Err(AppendError::Storage));
    assert_eq!(world.read(Offset(0), 100), ReadPlan::Storage);
    assert_eq!(world.disk.bytes(&file).len(), last.1 as usize, "what is damaged is not cut");
    let boot = world.restart(Crash::Kill);
    assert!(boot.logs[0].damage.is_some(), "the next start sees it too");
    drop(batches);
}

#[test]
fn what_a_failed_sync_lost_is_not_believed() {
    // No checkpoint is due at the next append, so the operations are the write and its sync.
    let (mut world, mut batches) = filled(31);
    let end = world.offsets().log_end;
    world.disk.fail.insert(world.disk.done + 2, DiskError::Io(5));
    world.append(&batch(1, 0), true).unwrap();
    world.run();
    assert_eq!(world.offsets().durable, end);
    let boot = world.restart(Crash::Kill);
    assert_eq!((boot.logs[0].damage.clone(), boot.logs[0].offsets.log_end), (None, end));
    batches.push(batch(2, 7));
    world.append(&batch(2, 7), true).unwrap();
    world.run();
    assert_eq!(world.offsets().durable, end + 2);
    let boot = world.restart(Crash::Power(3));
    assert_eq!(boot.logs[0].damage, None);
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
}

/// The disk loses the write of a claim, and the next sync fails: what was answered by that claim is still there.
#[test]
fn what_is_valid_on_the_disk_is_kept_though_the_journal_lost_its_claim() {
    let (mut world, mut batches) = filled(31);
    let before = world.disk.bytes("flush-journal").clone();
    world.append(&batch(1, 0), true).unwrap();
    world.run();
    batches.push(batch(1, 0));
    let end = world.offsets().durable;
    let journal = world.disk.bytes("flush-journal");
    assert!(journal.len() > before.len());
    journal[before.len()..].fill(0);
    world.disk.fail.insert(world.disk.done + 2, DiskError::Io(5));
    world.append(&batch(1, 1), true).unwrap();
    world.run();
    let boot = world.restart(Crash::Kill);
    assert_eq!((boot.logs[0].damage.clone(), boot.logs[0].offsets.log_end), (None, end));
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
}

#[test]
fn with_a_damaged_journal_no_log_is_cut() {
    let (mut world, _) = filled(0);
    for bytes in &batches(20) {
        world.append(bytes, true).unwrap();
        world.run();
    }
    // The last claims of the log go, and a later one of another tells that they are no torn end.
    world.create_of(TopicPartition::new("u", 0));
    world.run();
    world.create_of(TopicPartition::new("v", 0));
    world.run();
    let len = world.disk.bytes("flush-journal").len();
    let last = *world.logs.view(world.log()).unwrap().segments.last().unwrap();
    let file = format!("t-0/{:020}.log", last.0.0);
    // With the log's name in the journal, and without.
    for from in [len / 4, 8] {
        let mut world = world.clone();
        world.disk.bytes("flush-journal")[from..len - 90].fill(0);
        let mut sound = world.clone();
        let end = sound.offsets().log_end;
        let boot = sound.restart(Crash::Kill);
        let found = &boot.logs[0];
        assert_eq!((found.damage.clone(), found.offsets.log_end), (None, end), "nothing is wrong with the log");
        world.disk.bytes(&file)[last.1 as usize - 1] ^= 1;
        for start in ["the first", "the next", "the one after it"] {
            let boot = world.restart(Crash::Kill);
            assert!(boot.logs[0].damage.is_some(), "{start} start, from {from} of {len}");
            assert_eq!(world.disk.bytes(&file).len(), last.1 as usize);
        }
    }
}

#[test]
fn a_clean_mark_that_cannot_be_read_goes_too() {
    let (mut world, _) = filled(5);
    let end = world.offsets().log_end;
    world.shutdown();
    world.disk.bytes(".kafka_cleanshutdown")[0] ^= 1;
    let boot = world.restart(Crash::Kill);
    assert_eq!((boot.clean[0], boot.logs[0].offsets.log_end), (None, end));
    assert!(!world.disk.names().iter().any(|name| name == ".kafka_cleanshutdown"), "the next start may read it");
}

#[test]
fn a_damaged_journal_is_not_replaced_before_every_log_is_found() {
    let (mut world, _) = filled(20);
    world.create_of(TopicPartition::new("u", 0));
    world.run();
    let end = world.offsets().log_end;
    for marked in [false, true] {
        if marked {
            // No mark of a failed directory may make more of it: the record is durable, its claim is not.
            world.disk.fail.insert(world.disk.done + 3, DiskError::Io(5));
            world.append(&batch(1, 0), true).unwrap();
            world.run();
        }
        let end = end + i64::from(marked);
        // The block goes that names the log.
        let mut world = world.clone();
        world.disk.bytes("flush-journal")[8..30].fill(0);
        let is_whole = |mut world: World, what: &str| {
            for start in ["the next", "the one after it"] {
                let boot = world.restart(Crash::Kill);
                let found = boot.logs.iter().find(|found| found.partition == world::partition()).unwrap();
                let found = (found.damage.clone(), found.offsets.log_end);
                assert_eq!(found, (None, end), "{start} start after {what}, marked: {marked}");
            }
        };
        let mut steps = 0;
        loop {
            let mut killed = world.clone();
            let mut failed = world.clone();
            if !killed.restart_slowly(steps, None) {
                break;
            }
            is_whole(killed, &format!("{steps} operations"));
            failed.restart_slowly(u64::MAX, Some(steps));
            // And the mark makes the next start believe nothing but the journal.
            failed.fail_directory();
            is_whole(failed, &format!("a failure of operation {steps}"));
            steps += 1;
        }
        assert!(steps > 20, "{steps}");
    }
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

#[test]
fn a_spoilt_index_is_not_believed() {
    let (mut world, batches) = filled(60);
    world.restart(Crash::Kill);
    let index = world.disk.bytes("t-0/00000000000000000000.index");
    assert!(index.len() >= 16);
    index[7] = index[7].wrapping_add(3);
    let from = Offset(7);
    let ReadPlan::Ready { end, .. } = world.read(from, 200) else {
        panic!("the log is good");
    };
    assert!(end > from);
    assert_eq!(world.read_all(Offset::ZERO).unwrap(), logged(&batches));
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
fn a_snapshot_that_cannot_be_read_is_kept() {
    let (mut world, _) = filled(0);
    for sequence in 0..30 {
        world.append(&idempotent(9, 0, sequence, 1), true).unwrap();
        world.run();
    }
    let snapshots = |world: &World| -> Vec<String> {
        world.disk.names().into_iter().filter(|name| name.ends_with(".snapshot")).collect()
    };
    let before = snapshots(&world);
    assert!(!before.is_empty());
    let mut unread = 0;
    for nth in 1..60 {
        let mut world = world.clone();
        world.disk.trace = Some(Vec::new());
        let boot = world.restart_failing(nth, DiskError::Io(5));
        let trace = world.disk.trace.take().unwrap();
        let failed = trace.iter().take(nth as usize).next_back().unwrap();
        unread += usize::from(failed.contains("snapshot as"));
        assert_eq!(snapshots(&world), before, "operation {nth}: {failed}");
        let removed = trace.iter().find(|effect| effect.starts_with("remove") && effect.ends_with(".snapshot"));
        assert_eq!(removed, None, "operation {nth}: {failed}");
        let usable = boot.logs.first().filter(|found| found.damage.is_none() && world.logs.is_usable(found.dir));
        if usable.is_some() {
            assert!(world.append(&idempotent(9, 0, 29, 1), true).unwrap().duplicate, "operation {nth}: {failed}");
        }
    }
    assert!(unread > 0, "a snapshot was to be read");
}

#[test]
fn a_snapshot_above_the_claim_is_not_believed() {
    for durable in [0, 3] {
        let (mut world, _) = filled(0);
        for sequence in 0..30 {
            world.append(&idempotent(9, 0, sequence, 1), true).unwrap();
            world.run();
        }
        let name = world.disk.names().into_iter().rfind(|name| name.ends_with(".snapshot")).unwrap();
        let at: i64 = name["t-0/".len()..].trim_end_matches(".snapshot").parse().unwrap();
        let snapshot = world.disk.bytes(&name).clone();
        world.truncate(Offset(durable));
        world.run();
        let end = i64::from(durable != 0) * durable;
        assert_eq!(world.offsets().durable, Offset(end));
        // It goes, but a power loss may bring its name back; and the new records reach further than it did.
        for sequence in 0..32 {
            world.append(&idempotent(8, 0, sequence, 1), false).unwrap();
        }
        while world.offsets().written.0 <= at {
            assert!(world.step());
        }
        assert!(world.offsets().durable.0 < at, "nobody waits for a sync");
        world.disk.plant(&name, snapshot);
        let boot = world.restart(Crash::Kill);
        assert_eq!(boot.logs[0].damage, None);
        assert!(boot.logs[0].offsets.log_end.0 > at, "what was written is there");
        let producers = world.logs.producers(world.log());
        let known = |id| producers.iter().find(|view| view.producer_id == id).map(|view| i64::from(view.last_sequence));
        assert_eq!(known(8), Some(boot.logs[0].offsets.log_end.0 - end - 1));
        assert_eq!(known(9), (durable > 0).then_some(durable - 1), "its later records are gone");
    }
}

/// A log of which all but the last so many records are deleted, and which is then cut below them: it begins anew
/// there. Without records left, the log's start is not saved yet.
fn beginning_anew(left: i64) -> (World, Offset) {
    let (mut world, _) = filled(40);
    let start = world.offsets().log_end + -left;
    world.delete_records(start);
    if left > 0 {
        world.run();
        world.pass(Duration::from_millis(200));
        world.run();
    }
    world.truncate(start + -1);
    assert_eq!((world.offsets().log_start, world.offsets().log_end), (start, start));
    (world, start)
}

/// The log is the old one, or begins at `start` with these batches or none; and it goes on.
fn check_begun(mut world: World, crash: Crash, batches: &[bytes::Bytes], start: Offset, what: &str) {
    let durable = world.offsets().durable;
    let boot = world.restart(crash);
    assert_eq!(boot.logs[0].damage, None, "{what}");
    let offsets = boot.logs[0].offsets;
    assert!(offsets.log_start <= start && offsets.log_end >= durable, "{what}: {offsets:?}, and {durable} was durable");
    let found = world.read_all(start).unwrap();
    let first = record::batches(&found).next().map(|batch| *batch.unwrap().header());
    if let Some(first) = first.filter(|first| first.leader_epoch == LeaderEpoch(2)) {
        assert_eq!(first.base_offset, start, "{what}");
        let crcs =
            |bytes: &[u8]| -> Vec<_> { record::batches(bytes).map(|batch| batch.unwrap().header().crc).collect() };
        let ours: Vec<_> = batches.iter().flat_map(|bytes| crcs(bytes)).collect();
        assert!(ours.starts_with(&crcs(&found)), "{what}");
    }
    world.append(&batch(1, 0), true).unwrap();
    world.run();
    assert_eq!(world.offsets().durable, offsets.log_end + 1, "{what}");
}

#[test]
fn a_log_that_begins_anew_is_one_log_or_the_other_whatever_fails() {
    let more = batches(4);
    let append = |world: &mut World| {
        for bytes in &more {
            let _ = world.append_as(bytes, AppendOrigin::Client, LeaderEpoch(2), true);
        }
    };
    let mut anew = 0;
    for (nth, left) in (1..60).flat_map(|nth| [(nth, 0), (nth, 3)]) {
        let (mut world, start) = beginning_anew(left);
        append(&mut world);
        world.disk.fail.insert(world.disk.done + nth, DiskError::Io(5));
        world.run();
        let crashes = [Crash::Kill, Crash::Power(nth), Crash::Power(nth + 100)];
        for crash in crashes {
            let what = format!("{left} left, operation {nth} fails, {crash:?}");
            check_begun(world.clone(), crash, &more, start, &what);
        }
        let (mut world, start) = beginning_anew(left);
        append(&mut world);
        for _ in 0..nth {
            world.step();
        }
        anew += usize::from(world.offsets().durable > start);
        for crash in crashes {
            check_begun(world.clone(), crash, &more, start, &format!("{left} left, {nth} operations, {crash:?}"));
        }
    }
    assert!(anew > 5, "{anew}");
}

#[test]
fn a_start_goes_on_without_a_directory_that_fails() {
    let mut config = small();
    config.dirs = 2;
    let mut world = World::new(config);
    let logs: Vec<_> = (0..6).map(|partition| TopicPartition::new("t", partition)).collect();
    for partition in &logs {
        world.create_of(partition.clone());
        world.append(&batch(1, 0), true).ok();
    }
    world.run();
    // Something is there to be walked over, so that a failure finds logs in the middle of it.
    for name in world.disk.names().into_iter().filter(|name| name.ends_with(".log")) {
        world.disk.bytes(&name).extend([7; 40]);
    }
    let boot = world.clone().restart(Crash::Kill);
    assert_eq!(boot.logs.iter().filter(|found| found.dir.0 == 1).count(), 3, "they lie in both");
    let mut offline = [0; 2];
    for nth in 1..150 {
        let mut world = world.clone();
        let boot = world.restart_failing(nth, DiskError::Io(5));
        assert!(boot.offline.len() < 2, "operation {nth}: {:?}", boot.offline);
        for dir in &boot.offline {
            offline[usize::from(dir.0)] += 1;
            assert!(world.logs.is_offline(*dir), "operation {nth}");
        }
        let left = (0..2).map(ottla_core::machine::LogDirId).filter(|dir| !boot.offline.contains(dir));
        for dir in left {
            assert_eq!(boot.logs.iter().filter(|found| found.dir == dir).count(), 3, "operation {nth}");
        }
    }
    assert!(offline.iter().all(|count| *count > 1), "{offline:?}");
}

#[test]
fn a_log_that_has_records_says_whose_it_is() {
    let mut with_records = 0;
    for steps in 0..40 {
        for crash in [Crash::Kill, Crash::Power(steps), Crash::Power(steps + 100)] {
            let mut world = World::new(small());
            world.create();
            world.append(&batch(1, 0), true).unwrap();
            for _ in 0..steps {
                world.step();
            }
            let before = world.offsets();
            let boot = world.restart(crash);
            let found = boot.logs.first();
            let end = found.map_or(Offset(0), |found| found.offsets.log_end);
            let promised = if crash == Crash::Kill { before.written } else { before.durable };
            assert!(end >= promised, "{steps} steps, {crash:?}: {found:?}");
            if let Some(found) = found.filter(|found| found.offsets.log_end > Offset(0)) {
                assert_eq!(found.topic_id, world::TOPIC, "{steps} steps, {crash:?}");
                with_records += 1;
            }
        }
    }
    assert!(with_records > 20, "{with_records}");
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
