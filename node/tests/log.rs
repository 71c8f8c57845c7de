//! `ottla log` on directories that this test writes and then damages.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use ottla_core::log::leader_epoch_cache::LeaderEpochCache;
use ottla_core::log::offset_index::OffsetIndex;
use ottla_core::record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_core::types::{LeaderEpoch, Offset};

/// A log directory with the partition `t-0`: one segment of three batches with two records each.
struct LogDir {
    root: tempfile::TempDir,
    /// Where each batch begins, and where the last one ends.
    positions: Vec<u32>,
}

impl LogDir {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut log = Vec::new();
        let mut positions = vec![0];
        for base in [0, 2, 4] {
            log.extend_from_slice(&batch(base));
            positions.push(u32::try_from(log.len()).expect("short"));
        }
        let dir = root.path().join("t-0");
        fs::create_dir(&dir).expect("a directory");
        let mut index = OffsetIndex::new(Offset(0), 1_000);
        let _ = index.append(Offset(3), positions[1]);
        let mut epochs = LeaderEpochCache::new();
        epochs.assign(LeaderEpoch(7), Offset(0));
        let files = [
            ("00000000000000000000.log", log),
            ("00000000000000000000.index", index.encode()),
            ("leader-epoch-checkpoint", epochs.encode()),
        ];
        for (name, bytes) in files {
            fs::write(dir.join(name), bytes).expect("a file");
        }
        Self { root, positions }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("t-0").join(name)
    }

    fn log(&self) -> PathBuf {
        self.file("00000000000000000000.log")
    }

    /// Inverts the byte at `position` of the log.
    fn rot(&self, position: u32) {
        let mut bytes = fs::read(self.log()).expect("the log");
        bytes[usize::try_from(position).expect("short")] ^= 0xff;
        fs::write(self.log(), bytes).expect("written");
    }

    /// Verifies, and holds exit code and parts of the report to what is expected.
    #[track_caller]
    fn check(&self, code: i32, parts: &[&str]) {
        let (found, text) = run(&["verify"], self.root.path());
        assert_eq!(found, Some(code), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing from {text}");
        }
    }
}

fn batch(base_offset: i64) -> Vec<u8> {
    let options =
        BatchOptions { base_offset: Offset(base_offset), leader_epoch: LeaderEpoch(7), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    for value in [b"one".as_slice(), b"two"] {
        builder.append(&NewRecord { timestamp: 1_000, key: Some(b"k"), value: Some(value), headers: &[] });
    }
    builder.build()
}

/// `ottla log` with these arguments on `dir`: the exit code, and all that was printed.
fn run(args: &[&str], dir: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let output = command.arg("log").args(args).arg(dir).output().expect("the binary starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("output is UTF-8"))
}

#[test]
fn a_good_log_is_good() {
    let dir = LogDir::new();
    dir.check(0, &["t-0: ok, offsets 0..6 in 1 segments, 3 batches, 6 records"]);
}

#[test]
fn rot_is_damage_at_its_batch() {
    let dir = LogDir::new();
    dir.rot(dir.positions[1] + 70);
    let place = format!("damage: 00000000000000000000.log at byte {}: the stored CRC", dir.positions[1]);
    dir.check(3, &["t-0: NOT OK", &place, "1 of 1 partitions are damaged"]);
}

#[test]
fn an_incomplete_last_batch_is_a_torn_tail_and_no_damage() {
    let dir = LogDir::new();
    let file = OpenOptions::new().write(true).open(dir.log()).expect("the log");
    file.set_len(u64::from(dir.positions[3]) - 5).expect("cut");
    let place = format!("torn tail: 00000000000000000000.log at byte {}: the batch is cut", dir.positions[2]);
    dir.check(0, &[&place, "offsets 0..4"]);
}

#[test]
fn what_is_derived_is_held_to_the_log() {
    let dir = LogDir::new();
    let mut index = OffsetIndex::new(Offset(0), 1_000);
    let _ = index.append(Offset(3), dir.positions[1] + 1);
    fs::write(dir.file("00000000000000000000.index"), index.encode()).expect("written");
    let mut epochs = LeaderEpochCache::new();
    epochs.assign(LeaderEpoch(6), Offset(0));
    fs::write(dir.file("leader-epoch-checkpoint"), epochs.encode()).expect("written");
    dir.check(3, &["derived: 00000000000000000000.index: offset 3 is not at byte", "of epoch 7 in the log"]);
}

#[test]
fn offsets_that_fall_are_damage() {
    let dir = LogDir::new();
    let mut file = OpenOptions::new().append(true).open(dir.log()).expect("the log");
    file.write_all(&batch(4)).expect("appended");
    dir.check(3, &["offset 4 is below 6"]);
}

#[test]
fn a_dump_shows_batches_records_and_what_is_derived() {
    let dir = LogDir::new();
    let (code, text) = run(&["dump", "--records"], dir.root.path());
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "t-0/00000000000000000000.log\n  pos=0 offsets=0..=1 records=2",
        "epoch=7 codec=none",
        "    offset=5 time=1000 key=\"k\" value=\"two\"\n",
        "t-0/00000000000000000000.index\n  offset=3 pos=",
        "t-0/leader-epoch-checkpoint\n  epoch=7 start=0\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing from {text}");
    }
    let (_, alone) = run(&["dump", "--records"], &dir.root.path().join("t-0"));
    assert_eq!(alone, text, "one partition's directory will do");
}

#[test]
fn a_directory_without_logs_is_named() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    let (code, text) = run(&["verify"], empty.path());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("has no directory of a partition"), "{text}");
}
