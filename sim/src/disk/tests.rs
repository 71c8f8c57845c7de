//! The disk as a driver sees it: issue, run, crash, look.

use super::*;
use crate::time::{MICROSECOND, MILLISECOND, SECOND};
use ottla_core::machine::LogDirId;

const SPEEDS: Speeds = Speeds { write: 10 * MICROSECOND, sync: MILLISECOND, read: MILLISECOND, bandwidth: 0 };

struct Bench {
    disk: Disk,
    now: Nanos,
    ops: u64,
}

impl Bench {
    fn new(preset: Preset) -> Self {
        let disk = Disk::new(Draws::new(1), 0, 1, preset, SPEEDS);
        Self { disk, now: 0, ops: 0 }
    }

    fn issue(&mut self, operation: Operation) -> OpId {
        self.ops += 1;
        self.disk.issue(self.now, OpId(self.ops), operation);
        OpId(self.ops)
    }

    fn action(&mut self, action: FileAction) -> OpId {
        self.issue(Operation::Action(Box::new(action)))
    }

    fn write(&mut self, file: u32, pos: u64, bytes: &'static [u8]) -> OpId {
        let head = Bytes::from_static(bytes);
        let rest = Bytes::new();
        self.issue(Operation::Write { file: FileId(file), pos, head, rest })
    }

    fn sync(&mut self, file: u32) -> OpId {
        self.issue(Operation::Sync { file: FileId(file) })
    }

    fn create(&mut self, file: u32, name: &str) -> OpId {
        let (file, path, mode) = (FileId(file), path(name), OpenMode::Create);
        self.action(FileAction::Open { file, path, mode })
    }

    /// Runs until nothing is left to do; the completions in order.
    fn run(&mut self) -> Vec<Completed> {
        let mut all = Vec::new();
        while let Some(due) = self.disk.next_due() {
            self.now = self.now.max(due);
            all.extend(self.disk.step(self.now));
        }
        all
    }

    fn read(&mut self, name: &str) -> Vec<u8> {
        let file = self.disk.files().into_iter().find(|(_, path, _)| path == name);
        file.map_or_else(Vec::new, |(_, _, ino)| self.disk.peek(ino).to_vec())
    }
}

fn path(name: &str) -> Path {
    Path::new(LogDirId(0), name)
}

fn results(completed: &[Completed]) -> Vec<String> {
    completed.iter().map(|done| format!("{} {}", done.op, done.result)).collect()
}

#[test]
fn writes_are_carried_out_in_the_order_of_their_issue() {
    for seed in 0..50 {
        let mut bench = Bench::new(Preset::Adversarial);
        bench.disk.draws = Draws::new(seed);
        bench.create(1, "a");
        let ops: Vec<OpId> = (0..20).map(|_| bench.write(1, 0, b"x")).collect();
        let done: Vec<OpId> = bench.run().iter().skip(1).map(|done| done.op).collect();
        assert_eq!(done, ops);
    }
}

#[test]
fn a_sync_waits_for_the_writes_before_it() {
    for seed in 0..50 {
        let mut bench = Bench::new(Preset::Adversarial);
        bench.disk.draws = Draws::new(seed);
        bench.create(1, "a");
        bench.action(FileAction::SyncDir { path: path("") });
        bench.run();
        bench.action(FileAction::SyncDir { path: path("") });
        bench.write(1, 0, b"hello");
        bench.sync(1);
        bench.run();
        bench.disk.lose_power();
        assert_eq!(bench.read("a"), b"hello");
    }
}

#[test]
fn a_directory_sync_may_overtake_what_it_did_not_wait_for() {
    let vanished = (0..50).filter(|seed| {
        let mut bench = Bench::new(Preset::Adversarial);
        bench.disk.draws = Draws::new(*seed);
        bench.create(1, "a");
        bench.action(FileAction::SyncDir { path: path("") });
        bench.run();
        bench.disk.lose_power();
        bench.disk.files().is_empty()
    });
    assert!(vanished.count() > 5);
}

#[test]
fn a_kill_loses_the_queue_and_keeps_the_page_cache() {
    let mut bench = Bench::new(Preset::Adversarial);
    bench.create(1, "a");
    bench.write(1, 0, b"kept");
    bench.run();
    bench.write(1, 0, b"lost");
    assert_eq!(bench.disk.kill(), 1);
    assert!(bench.run().is_empty());
    assert_eq!(bench.read("a"), b"kept");
}

#[test]
fn a_failed_sync_is_told_and_the_next_one_covers_nothing() {
    let mut bench = Bench::new(Preset::Ordered);
    bench.create(1, "a");
    bench.run();
    bench.action(FileAction::SyncDir { path: path("") });
    bench.run();
    bench.write(1, 0, b"data");
    bench.disk.faults.arm_errors(OpKind::Sync, 1);
    bench.sync(1);
    let first = results(&bench.run());
    bench.sync(1);
    let second = results(&bench.run());
    assert_eq!(first, ["#3 done", "#4 failed: I/O error 5"]);
    assert_eq!(second, ["#5 done"]);
    assert_eq!(bench.read("a"), b"data");
    bench.disk.lose_power();
    assert_ne!(bench.read("a"), b"data");
}

#[test]
fn a_full_disk_takes_part_of_a_write_and_recovers_with_space() {
    let mut bench = Bench::new(Preset::Ordered);
    bench.create(1, "a");
    bench.run();
    bench.disk.set_free_space(2);
    bench.write(1, 0, b"data");
    assert_eq!(results(&bench.run()), ["#2 failed: no space left on device"]);
    assert!(bench.read("a").len() < 4);
    bench.disk.set_free_space(1000);
    bench.write(1, 0, b"data");
    assert_eq!(results(&bench.run()), ["#3 done"]);
    let hits: Vec<Hit> = bench.disk.faults.take_hits().collect();
    assert_eq!(hits, [Hit::NoSpace]);
}

#[test]
fn errors_strike_as_often_as_armed() {
    let mut bench = Bench::new(Preset::Ordered);
    bench.create(1, "a");
    bench.run();
    bench.disk.faults.arm_errors(OpKind::Read, 2);
    let (file, pos, len) = (FileId(1), 0, 10);
    for _ in 0..3 {
        bench.action(FileAction::Read { file, pos, len });
    }
    let mut done = results(&bench.run());
    done.sort();
    let failed = done.iter().filter(|text| text.contains("failed")).count();
    assert_eq!((failed, done.len()), (2, 3), "{done:?}");
}

#[test]
fn a_slow_disk_is_slow_and_says_so() {
    let mut bench = Bench::new(Preset::Ordered);
    bench.create(1, "a");
    bench.run();
    bench.disk.faults.stall(bench.now + SECOND);
    bench.write(1, 0, b"late");
    bench.run();
    assert!(bench.now > SECOND);
    assert!(bench.disk.faults.take_hits().any(|hit| hit == Hit::Slow));
}

#[test]
fn a_range_being_sent_outlives_the_name() {
    let mut bench = Bench::new(Preset::Ordered);
    bench.create(1, "a");
    bench.write(1, 0, b"data");
    bench.run();
    let ino = bench.disk.ino(FileId(1)).expect("open");
    bench.action(FileAction::Remove { path: path("a") });
    bench.run();
    assert_eq!(bench.disk.read_ino(ino, 1, 2).bytes, &b"at"[..]);
    assert!(bench.disk.files().is_empty());
}

#[test]
fn rot_is_found_by_a_cold_read_only() {
    let mut bench = Bench::new(Preset::Ordered);
    bench.disk.plant_file(&path("t-0/0.log"), &[7; 5000]).expect("a fresh path");
    assert_eq!(bench.disk.rot(1, |name| name.ends_with(".index")), None);
    let hit = bench.disk.rot(1, |name| name.ends_with(".log"));
    assert_eq!(hit.map(|(_, path)| path).as_deref(), Some("t-0/0.log"));
    let mode = OpenMode::Existing;
    let (file, path) = (FileId(1), path("t-0/0.log"));
    bench.action(FileAction::Open { file, path, mode });
    bench.run();
    for (pos, len) in [(0, 5000), (0, 5000)] {
        bench.action(FileAction::Read { file, pos, len });
        bench.run();
        bench.disk.evict();
    }
    assert_eq!(bench.disk.faults.take_hits().next(), Some(Hit::RotRead));
}

#[test]
fn a_sync_of_much_takes_longer_than_one_of_little() {
    let speeds = Speeds { bandwidth: 1_000_000, ..SPEEDS };
    let mut bench = Bench::new(Preset::Ordered);
    bench.disk = Disk::new(Draws::new(1), 0, 1, Preset::Ordered, speeds);
    bench.create(1, "a");
    bench.create(2, "b");
    bench.write(1, 0, &[7; 500_000]);
    bench.write(2, 0, b"little");
    let (much, little) = (bench.sync(1), bench.sync(2));
    let done: Vec<OpId> = bench.run().iter().filter(|done| done.sync).map(|done| done.op).collect();
    assert_eq!(done, [little, much]);
    assert!(bench.now >= SECOND / 2);
}
