//! What a start finds: after a stop, a kill, a power loss, a failed directory, and files that cannot be read.

use std::time::Duration;

use bytes::Bytes;
use ottla_core::log::*;
use ottla_core::machine::{DiskError, LogDirId, Path};
use ottla_core::record;
use ottla_core::types::{LeaderEpoch, Offset, TopicPartition};

use super::disk::Crash;
use super::world::{self, World, batch, idempotent, small};
use super::{batches, filled, logged};

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

/// A start that finds the clean mark believes all that it sees, a vote above all: what is saved beside it later, and
/// may not be durable yet, must not be there.
#[test]
fn nothing_is_saved_beside_a_clean_mark() {
    let find = |world: &World, name: &str| world.disk.names().into_iter().find(|other| other.ends_with(name));
    let vote = |world: &mut World| find(world, "quorum-state").map(|name| world.disk.bytes(&name).clone());
    let mut seen = 0;
    for steps in 0..60 {
        let (mut world, _) = filled(10);
        world.logs.shutdown(world.now, None, &mut world.out);
        for _ in 0..steps {
            world.step();
        }
        let path = Path::new(LogDirId(0), "t-0/quorum-state");
        world.logs.save(SaveRequest { path, bytes: Bytes::from("vote"), ticket: Ticket(0) }, &mut world.out);
        while find(&world, ".kafka_cleanshutdown").is_none() && world.step() {}
        let before = vote(&mut world);
        seen += u32::from(before.is_some());
        while world.step() {}
        assert_eq!(vote(&mut world), before, "saved after {steps} steps");
    }
    assert!(seen > 0, "what is saved early in a stop is there");
}

#[test]
fn recovery_points_do_not_outlive_the_stop_that_wrote_them() {
    const POINTS: &str = "recovery-point-offset-checkpoint";
    for crash in [Crash::Kill, Crash::Power(1)] {
        let (mut world, _) = filled(10);
        world.shutdown();
        let has_points = |world: &World| world.disk.names().iter().any(|name| name.ends_with(POINTS));
        assert!(has_points(&world));
        world.restart(crash);
        assert!(!has_points(&world), "logs may be cut from now on, and nobody would write the points anew");
        world.restart(Crash::Power(2));
        assert!(!has_points(&world), "the removal is durable when the start is over");
    }
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

/// A time index has no checksum: by a flipped bit of it no record goes early, and none stays for ever.
#[test]
fn nothing_is_deleted_by_what_a_time_index_says_alone() {
    let spoil: [fn(&mut Vec<u8>); 4] = [
        |_| (),
        |bytes| bytes.chunks_mut(12).for_each(|entry| entry[2] ^= 1),
        |bytes| bytes.chunks_mut(12).for_each(|entry| entry[1] ^= 1),
        |bytes| bytes.truncate(5),
    ];
    for (case, spoil) in spoil.into_iter().enumerate() {
        let mut world = World::new(small());
        world.create();
        let written_at = world.now.wall.0;
        for _ in 0..100 {
            world.append(&batch(2, written_at), true).unwrap();
        }
        world.run();
        let end = world.offsets().log_end;
        world.set_high_watermark(end);
        world.shutdown();
        let indexes = world.disk.names().into_iter().filter(|name| name.ends_with(".timeindex"));
        let indexes: Vec<String> = indexes.collect();
        assert!(indexes.len() > 3, "{indexes:?}");
        indexes.iter().for_each(|name| spoil(world.disk.bytes(name)));
        world.restart(Crash::Kill);
        world.set_high_watermark(end);
        let mut look = |times: u32| {
            for _ in 0..times {
                world.pass(Duration::from_secs(301));
                world.run();
            }
            world.offsets().log_start
        };
        assert_eq!(look(4), Offset(0), "case {case}: nothing is a week old");
        // The first look finds out how old a segment is, the second deletes it.
        assert_eq!(look(8 * 24 * 12), end, "case {case}: everything is a week old");
        assert_eq!(world.boot().logs[0].damage, None);
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

/// A log is made where the journal claims what another of its name and topic had, and so many steps later there is a
/// crash: that one's claim is not held against it. Whether it was durable by then.
fn made_again(world: &mut World, batch: &Bytes, steps: u64) -> bool {
    world.create();
    world.append(batch, true).unwrap();
    for _ in 0..steps {
        if !world.step() {
            world.pass(Duration::from_millis(1));
        }
    }
    let durable = world.offsets().durable > Offset::ZERO;
    let boot = world.restart(if steps.is_multiple_of(2) { Crash::Kill } else { Crash::Power(steps) });
    assert_eq!(boot.logs.first().and_then(|found| found.damage.clone()), None, "after {steps} steps");
    assert_eq!(boot.logs.len() + boot.missing.len(), 1, "after {steps} steps");
    if durable {
        let only = logged(std::slice::from_ref(batch));
        assert_eq!(world.read_all(Offset::ZERO).unwrap(), only, "after {steps} steps");
    }
    durable
}

/// A partition moved away, and is back after a start: the journal claims what its log had, until it is made anew.
#[test]
fn a_log_that_comes_again_is_not_damaged_by_what_it_had_before() {
    let durable = (0..80).filter(|steps| {
        let (mut world, batches) = filled(30);
        world.delete();
        while !world.disk.names().iter().any(|name| name.contains("-delete")) {
            assert!(world.step());
        }
        let boot = world.restart(Crash::Kill);
        assert_eq!((boot.logs.len(), boot.missing.len()), (0, 1));
        made_again(&mut world, &batches[0], *steps)
    });
    let durable = durable.count();
    assert!((20..80).contains(&durable), "{durable}");
}

/// A replica is made anew where it is: until the journal says so it claims what the old one had.
#[test]
fn a_log_that_is_made_anew_is_not_damaged_by_what_it_was() {
    let durable = (0..80).filter(|steps| {
        let (mut world, batches) = filled(30);
        world.delete();
        made_again(&mut world, &batches[0], *steps)
    });
    let durable = durable.count();
    assert!((20..80).contains(&durable), "{durable}");
}

/// The journal's block that tells of the deletion does not fit: what it claimed before stands until there is room.
#[test]
fn a_log_that_is_made_anew_in_a_full_directory_is_not_damaged_by_what_it_was() {
    let mut full = 0;
    for (number, steps) in (1..12).flat_map(|number| (0..40).map(move |steps| (number, steps))) {
        let (mut world, batches) = filled(30);
        world.create_of(TopicPartition::new("u", 0));
        world.run();
        world.events.clear();
        world.delete();
        world.append_to(&TopicPartition::new("u", 0));
        world.disk.fail.insert(world.disk.done + number, DiskError::Full);
        world.run();
        if !world.events.iter().any(|event| matches!(event, LogEvent::DirFull { .. })) {
            continue;
        }
        full += 1;
        world.pass(Duration::from_secs(1));
        while !world.events.iter().any(|event| matches!(event, LogEvent::DirSpace { .. })) {
            assert!(world.step());
        }
        world.create();
        let _ = world.append(&batches[0], true);
        (0..steps).all(|_| world.step());
        let crash = if steps % 2 == 0 { Crash::Kill } else { Crash::Power(steps) };
        let boot = world.restart(crash);
        let damaged = boot.logs.iter().find(|found| found.damage.is_some());
        assert_eq!(damaged.map(|found| &found.damage), None, "operation {number} fails, then {steps} steps");
    }
    assert!(full > 40, "{full}");
}
