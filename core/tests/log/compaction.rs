//! A pass of the cleaner on the disk: what a crash at each of its operations leaves, and what else happens meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_core::log::*;
use ottla_core::machine::DiskError;
use ottla_core::record::{self, BatchBuilder, BatchOptions, NewRecord, Producer};
use ottla_core::types::{Offset, ProducerEpoch, ProducerId, TopicPartition};

use crate::disk::Crash;
use crate::world::{TOPIC, World, partition, small};

const BACKOFF: Duration = Duration::from_secs(1);
/// Of the process, and of the power, which keeps now this and now that of what is not synced.
fn crashes(number: u64) -> [Crash; 3] {
    [Crash::Kill, Crash::Power(2 * number), Crash::Power(2 * number + 1)]
}

fn compacted() -> LogManagerConfig {
    let mut config = small();
    config.default_log.compact = true;
    config.default_log.delete = false;
    config.cleaner.backoff = BACKOFF;
    config
}

/// A batch that gives a key a value, or deletes it.
fn put(key: u32, value: Option<&str>, sequence: i32) -> Bytes {
    put_by(3, key, value, sequence)
}

fn put_by(producer: i64, key: u32, value: Option<&str>, sequence: i32) -> Bytes {
    let producer = Producer { id: ProducerId(producer), epoch: ProducerEpoch(0), base_sequence: sequence };
    let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
    let key = key.to_be_bytes();
    let value = value.map(str::as_bytes);
    builder.append(&NewRecord { timestamp: 1000, key: Some(&key), value, headers: &[] });
    builder.build().into()
}

/// A log of so many batches over ten keys, all of them committed.
fn filled(config: LogManagerConfig, count: i32) -> World {
    let mut world = World::new(config);
    world.create();
    world.run();
    append(&mut world, 0..count);
    world
}

fn append(world: &mut World, numbers: std::ops::Range<i32>) {
    for number in numbers {
        let value = format!("value {number} of a length that fills a segment soon");
        world.append(&put(number.cast_unsigned() % 10, Some(&value), number), true).unwrap();
    }
    world.run();
    let end = world.offsets().durable;
    world.set_high_watermark(end);
}

/// The last value of each key, as a reader from the start sees them; offsets ascend.
fn values(world: &mut World) -> BTreeMap<Vec<u8>, (Offset, Option<Vec<u8>>)> {
    let from = world.offsets().log_start;
    let (mut values, mut last) = (BTreeMap::new(), Offset(-1));
    let bytes = world.read_all(from).expect("the log can be read");
    for batch in record::batches(&bytes) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        assert!(batch.header().base_offset > last, "offsets ascend");
        last = batch.header().last_offset();
        let mut scratch = Vec::new();
        for record in batch.records(&mut scratch, 1 << 20).unwrap() {
            let record = record.unwrap();
            values.insert(record.key.unwrap().to_vec(), (record.offset, record.value.map(<[u8]>::to_vec)));
        }
    }
    values
}

fn records(world: &mut World) -> usize {
    let from = world.offsets().log_start;
    let bytes = world.read_all(from).unwrap();
    record::batches(&bytes).map(|batch| usize::try_from(batch.unwrap().header().record_count).unwrap()).sum()
}

/// Time for a check of the cleaner, and for all that follows.
fn clean(world: &mut World) {
    world.pass(BACKOFF);
    world.run();
}

#[test]
fn a_log_is_compacted_and_read() {
    let mut world = filled(compacted(), 200);
    let (before, segments) = (values(&mut world), world.logs.view(world.log()).unwrap().segments.len());
    clean(&mut world);
    assert_eq!(values(&mut world), before);
    let after = world.logs.view(world.log()).unwrap();
    assert_eq!(after.segments.len(), segments, "each was as large as a segment may be");
    assert!(records(&mut world) < 45, "{} records", records(&mut world));
    let totals = world.logs.cleaner_totals();
    assert_eq!((totals.passes, totals.given_up), (1, 0));
    assert!(totals.bytes_read > totals.bytes_written && totals.keys == 10);
    // It is clean: nothing is done again.
    clean(&mut world);
    assert_eq!(world.logs.cleaner_totals().passes, 1);
    // From any offset there is something to read, or the end.
    for offset in 0..=200 {
        assert!(matches!(world.read(Offset(offset), 100), ReadPlan::Ready { .. } | ReadPlan::Empty), "{offset}");
    }
    world.shutdown();
    world.restart(Crash::Kill);
    assert_eq!(values(&mut world), before);
    assert_eq!(world.logs.cleaner_view(world.log()).unwrap().clean_to, after.segments.last().unwrap().0);
    append(&mut world, 200..400);
    clean(&mut world);
    assert_eq!(values(&mut world).len(), 10);
    assert!(records(&mut world) < 45);
    assert!(world.logs.view(world.log()).unwrap().segments.len() < segments + 4, "small ones become one");
    assert!(world.disk.open_files() < 10, "{} files are open", world.disk.open_files());
    world.pass(Duration::from_secs(1));
    world.run();
    assert!(!world.disk.names().iter().any(|name| name.contains(".deleted") || name.contains(".swap")));
}

#[test]
fn a_crash_at_any_operation_leaves_the_old_or_the_new() {
    let prepared = {
        let mut world = filled(compacted(), 50);
        clean(&mut world);
        append(&mut world, 50..90);
        world
    };
    let mut expected = prepared.clone();
    let expected = values(&mut expected);
    let mut finished = false;
    for operations in 0_u64.. {
        for crash in crashes(operations) {
            let mut world = prepared.clone();
            world.pass(BACKOFF);
            finished = !(0..operations).all(|_| world.step());
            for again in [false, true] {
                world.restart(crash);
                assert_eq!(values(&mut world), expected, "{crash:?} after {operations} operations, again {again}");
                // The next pass goes over whatever was left.
                if again {
                    append(&mut world, 90..120);
                    clean(&mut world);
                    assert_eq!(values(&mut world).len(), 10, "{crash:?} after {operations}");
                    assert!(records(&mut world) < 45, "{crash:?} after {operations}: {}", records(&mut world));
                    assert_eq!(world.logs.cleaner_totals().given_up, 0);
                }
            }
        }
        if finished {
            assert!(operations > 60, "it was over after {operations}");
            break;
        }
    }
}

/// A start that ends a swap may crash, too, at each of its operations.
#[test]
fn a_crash_while_a_start_ends_a_swap_leaves_the_same() {
    let mut world = filled(compacted(), 60);
    let expected = values(&mut world.clone());
    world.pass(BACKOFF);
    let mut swaps = 0_u64;
    while world.step() {
        if world.disk.names().iter().any(|name| name.ends_with(".log.swap")) {
            swaps += 1;
            for operations in (swaps % 3..60).step_by(3) {
                for crash in crashes(operations) {
                    let mut world = world.clone();
                    world.restart_slowly(operations, None);
                    world.restart(crash);
                    assert_eq!(values(&mut world), expected, "{crash:?} after {operations} operations");
                }
            }
        }
    }
    assert!(swaps > 8, "{swaps}");
}

/// What the cleaner wrote is bad when a start would put it in place: of that log nothing is known any more, and nothing
/// is changed; the log beside it is none the worse.
#[test]
fn a_bad_swap_is_one_logs_damage() {
    let mut world = filled(compacted(), 60);
    world.create_of(TopicPartition::new("u", 0));
    world.run();
    let expected = values(&mut world.clone());
    world.pass(BACKOFF);
    let swap = |world: &World| world.disk.names().into_iter().find(|name| name.ends_with(".log.swap"));
    while swap(&world).is_none() {
        assert!(world.step(), "the cleaner swaps");
    }
    let file = swap(&world).unwrap();
    let whole = world.clone();
    world.disk.bytes(&file)[50] ^= 1;
    for again in [false, true] {
        let boot = world.restart(Crash::Kill);
        let damage = |topic: &str| {
            let found = boot.logs.iter().find(|log| &*log.partition.topic == topic).expect("it is there");
            (found.topic_id, found.damage.clone().map(|damage| damage.to_string()))
        };
        let (topic_id, why) = damage("t");
        assert_eq!(topic_id, TOPIC, "again {again}");
        assert!(why.is_some_and(|why| why.contains(".log.swap")), "again {again}");
        assert_eq!(damage("u"), (TOPIC, None), "again {again}");
        assert_eq!(world.disk.names(), whole.disk.names(), "again {again}");
    }
    // Whoever mends it finds all that there was.
    world.disk.bytes(&file)[50] ^= 1;
    let boot = world.restart(Crash::Kill);
    assert!(boot.logs.iter().all(|log| log.damage.is_none()));
    assert_eq!(values(&mut world), expected);
}

/// What a start could not read of a swap is no damage of the log's bits, and the log is all that it was at the next
/// one, whatever was saved for the log beside it.
#[test]
fn a_swap_that_cannot_be_read_costs_nothing() {
    let mut config = compacted();
    config.high_watermark_checkpoint_interval = BACKOFF / 2;
    let mut world = filled(config, 60);
    world.delete_records(Offset(3));
    let other = TopicPartition::new("u", 0);
    world.create_of(other.clone());
    world.run();
    world.pass(BACKOFF / 2);
    world.run();
    let (expected, before) = (values(&mut world.clone()), world.offsets());
    world.pass(BACKOFF / 2);
    while !world.disk.names().iter().any(|name| name.ends_with(".log.swap")) {
        assert!(world.step(), "the cleaner swaps");
    }
    let mut unread = 0;
    for number in 1..40 {
        let mut world = world.clone();
        let boot = world.restart_failing(number, DiskError::Io(5));
        let found = boot.logs.iter().find(|log| log.partition == partition());
        let Some(damage) = found.and_then(|found| found.damage.as_ref()) else { continue };
        if !damage.why.contains(".log.swap") {
            continue;
        }
        unread += 1;
        assert!(damage.unreadable, "operation {number}: {damage}");
        let found = found.map(|found| (found.offsets.log_start, found.offsets.log_end, found.high_watermark));
        assert_eq!(found, Some((before.log_start, before.log_end, Offset(60))), "operation {number}");
        world.raise_another(&other);
        let boot = world.restart(Crash::Kill);
        assert!(boot.logs.iter().all(|log| log.damage.is_none()), "operation {number}");
        assert_eq!(values(&mut world), expected, "operation {number}");
    }
    assert!(unread >= 2, "its open and its walk: {unread}");
}

#[test]
fn a_failure_of_any_operation_loses_nothing() {
    let prepared = filled(compacted(), 60);
    let expected = values(&mut prepared.clone());
    for error in [DiskError::Io(5), DiskError::Full] {
        for number in 1..80 {
            let mut world = prepared.clone();
            world.disk.fail.insert(world.disk.done + number, error);
            clean(&mut world);
            world.restart(Crash::Kill);
            assert_eq!(values(&mut world), expected, "{error:?} at {number}");
            assert!(world.boot().logs.iter().all(|log| log.damage.is_none()), "{error:?} at {number}");
        }
    }
}

#[test]
fn what_is_not_committed_is_not_touched() {
    let mut world = filled(compacted(), 200);
    world.set_high_watermark(Offset(100));
    clean(&mut world);
    let view = world.logs.view(world.log()).unwrap();
    let to = world.logs.cleaner_view(world.log()).unwrap().clean_to;
    assert!(to > Offset(50) && to <= Offset(100), "{to}");
    assert!(view.segments.iter().any(|(base, _)| *base == to));
}

/// What is not committed may be cut, and then the batch before it is the last of its producer again.
#[test]
fn the_last_committed_batch_of_a_producer_stays_whatever_follows_it() {
    let mut world = World::new(compacted());
    world.create();
    world.run();
    for sequence in 0..2 {
        world.append(&put_by(4, 0, Some("soon there is another"), sequence), true).unwrap();
    }
    append(&mut world, 0..200);
    let committed = world.offsets().durable;
    for sequence in 2..4 {
        world.append(&put_by(4, 1, Some("this may be cut"), sequence), true).unwrap();
    }
    world.run();
    clean(&mut world);
    let (from, mut left) = (world.offsets().log_start, Vec::new());
    let bytes = world.read_all(from).expect("the log can be read");
    for batch in record::batches(&bytes) {
        let header = *batch.unwrap().header();
        if header.producer.id == ProducerId(4) && header.base_offset < committed {
            left.push((header.producer.base_sequence, header.record_count));
        }
    }
    assert_eq!(left, [(1, 0)]);
}

#[test]
fn a_cut_waits_for_a_swap_and_for_the_checkpoint() {
    let prepared = filled(compacted(), 60);
    let keys = values(&mut prepared.clone()).len();
    for operations in (0..100).step_by(3) {
        let mut world = prepared.clone();
        world.pass(BACKOFF);
        (0..operations).all(|_| world.step());
        world.truncate(Offset(25));
        world.run();
        assert_eq!(world.offsets().log_end, Offset(25), "after {operations}");
        assert!(world.logs.cleaner_view(world.log()).unwrap().clean_to <= Offset(25));
        // What is written there now is not clean, whatever the cleaner did before.
        world.set_high_watermark(Offset(25));
        let next = world.logs.producers(world.log())[0].last_sequence + 1;
        append(&mut world, next..next + 100);
        let expected = values(&mut world);
        clean(&mut world);
        world.restart(Crash::Power(0));
        assert_eq!(values(&mut world), expected, "after {operations}");
        assert_eq!(expected.len(), keys);
    }
}

/// A follower whose leader has deleted all that follows its log drops it, while it is being compacted.
#[test]
fn a_log_that_begins_anew_during_a_pass_is_compacted_later() {
    let prepared = filled(compacted(), 60);
    for (operations, begin) in (0_u64..).flat_map(|operations| [(operations, Offset(500)), (operations, Offset(20))]) {
        let mut world = prepared.clone();
        world.pass(BACKOFF);
        let is_over = !(0..operations).all(|_| world.step());
        world.begin_at(begin);
        world.run();
        assert_eq!((world.offsets().log_start, world.offsets().log_end), (begin, begin), "after {operations}");
        append(&mut world, 0..100);
        let expected = values(&mut world);
        assert_eq!(expected.len(), 10);
        clean(&mut world);
        let view = world.logs.cleaner_view(world.log()).unwrap();
        assert_eq!((view.uncleanable, view.is_running), (None, false), "after {operations}");
        assert!(view.clean_to > begin + 20, "{} after {operations}", view.clean_to);
        assert!(records(&mut world) < 45, "after {operations}");
        assert!(!world.disk.names().iter().any(|name| name.ends_with(".log.swap")), "after {operations}");
        for crash in [Crash::Kill, Crash::Power(operations)] {
            assert_eq!(world.restart(crash).logs[0].damage, None, "after {operations}");
            assert!(world.offsets().log_start == begin && values(&mut world) == expected, "after {operations}");
        }
        if is_over {
            assert!(operations > 60, "it was over after {operations}");
            break;
        }
    }
}

#[test]
fn deleted_records_go_and_a_deleted_log_too() {
    let prepared = filled(compacted(), 60);
    for operations in (0..100).step_by(3) {
        let mut world = prepared.clone();
        world.pass(BACKOFF);
        (0..operations).all(|_| world.step());
        let mut other = world.clone();
        world.delete_records(Offset(45));
        world.run();
        world.restart(Crash::Power(0));
        assert_eq!(world.offsets().log_start, Offset(45), "after {operations}");
        assert!(values(&mut world).len() == 10);
        // A new log of the name is not clean because the old one was.
        other.delete();
        other.create();
        other.run();
        assert!(other.logs.find(&partition()).is_some());
        append(&mut other, 0..60);
        let expected = values(&mut other);
        other.restart(Crash::Power(0));
        assert_eq!(other.logs.cleaner_view(other.log()).unwrap().clean_to, Offset::ZERO, "after {operations}");
        assert_eq!(values(&mut other), expected);
    }
}

#[test]
fn a_log_that_cannot_be_cleaned_is_left_and_the_others_go_on() {
    let mut world = filled(compacted(), 200);
    world.restart(Crash::Kill);
    let end = world.offsets().durable;
    world.set_high_watermark(end);
    world.disk.bytes("t-0/00000000000000000000.log")[100] ^= 1;
    clean(&mut world);
    let view = world.logs.cleaner_view(world.log()).unwrap();
    assert!(view.uncleanable.as_ref().is_some_and(|why| why.contains("CRC")), "{view:?}");
    assert_eq!(view.clean_to, Offset::ZERO);
    clean(&mut world);
    assert_eq!(world.logs.cleaner_totals().given_up, 1);
}

#[test]
fn tombstones_stay_until_their_time_and_go_then() {
    let mut config = compacted();
    config.default_log.compaction.delete_retention_ms = 60_000;
    let mut world = filled(config, 60);
    for key in 0..5 {
        world.append(&put(key, None, 60 + key as i32), true).unwrap();
    }
    append(&mut world, 65..66);
    // Into a segment that is written no more.
    for number in 66..120 {
        let value = format!("value {number} of a length that fills a segment soon");
        world.append(&put(9, Some(&value), number), true).unwrap();
    }
    append(&mut world, 120..121);
    clean(&mut world);
    let tombstones = |world: &mut World| values(world).values().filter(|(_, value)| value.is_none()).count();
    assert!(tombstones(&mut world) >= 4);
    for (passed, left) in [(30, true), (31, false)] {
        world.pass(Duration::from_secs(passed));
        world.run();
        append_more(&mut world);
        clean(&mut world);
        assert_eq!(tombstones(&mut world) > 0, left, "after {passed} s more");
    }
}

/// More of one key, so that the log is dirty.
fn append_more(world: &mut World) {
    let next = world.logs.producers(world.log())[0].last_sequence + 1;
    for number in next..next + 120 {
        let value = format!("value {number} of a length that fills a segment soon");
        world.append(&put(9, Some(&value), number), true).unwrap();
    }
    world.run();
    let end = world.offsets().durable;
    world.set_high_watermark(end);
}

#[test]
fn a_log_whose_policy_was_compact_is_still_read() {
    let mut world = filled(compacted(), 200);
    clean(&mut world);
    let expected = values(&mut world);
    world.shutdown();
    world.config.default_log.compact = false;
    world.restart(Crash::Kill);
    assert_eq!(values(&mut world), expected);
}

/// Where compaction took batches from, a cut ends the log above the last one that is left.
#[test]
fn a_log_that_was_cut_in_a_gap_is_known_to_end_there() {
    let mut prepared = filled(compacted(), 200);
    clean(&mut prepared);
    assert!(records(&mut prepared) < 45);
    for cut in (1..195).step_by(3).map(Offset) {
        let mut world = prepared.clone();
        world.truncate(cut);
        world.run();
        assert_eq!(world.offsets().log_end, cut);
        for crash in [Some(Crash::Kill), Some(Crash::Power(cut.0.cast_unsigned())), None] {
            let mut world = world.clone();
            if crash.is_none() {
                world.shutdown();
            }
            for again in [false, true] {
                let boot = world.restart(crash.unwrap_or(Crash::Kill));
                assert_eq!(boot.logs[0].damage, None, "cut at {cut}, {crash:?}, again {again}");
                let (end, durable) = (world.offsets().log_end, world.offsets().durable);
                assert_eq!((end, durable), (cut, cut), "cut at {cut}, {crash:?}, again {again}");
            }
            let next = world.logs.producers(world.log()).first().map_or(0, |view| view.last_sequence + 1);
            append(&mut world, next..next + 3);
            let expected = values(&mut world);
            assert_eq!(world.restart(Crash::Kill).logs[0].damage, None, "cut at {cut}, {crash:?}, appended");
            assert_eq!((world.offsets().log_end, values(&mut world)), (cut + 3, expected), "cut at {cut}, {crash:?}");
        }
    }
}
