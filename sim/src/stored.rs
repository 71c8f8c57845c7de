//! Records of a log as they lie on the disk, read without the machine's help.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_core::record::{Record, batches};
use ottla_core::types::TopicPartition;

use crate::disk::Disk;

/// No batch of records here is larger.
const INFLATED: u64 = 64 << 20;

/// Of each key of a log the offset of the last record.
pub type Kept = BTreeMap<u64, i64>;

/// Reads the records of a log below an offset, in order. What the cleaner has swapped in counts for what it replaces.
pub fn each_record(disk: &Disk, log: &TopicPartition, below: i64, mut take: impl FnMut(&Record<'_>)) {
    let mut scratch = Vec::new();
    for (_, bytes) in segments(disk, log) {
        for batch in batches(&bytes).map_while(Result::ok) {
            if batch.header().base_offset.0 >= below {
                return;
            }
            if batch.header().attributes.is_control() {
                continue;
            }
            let Ok(records) = batch.records(&mut scratch, INFLATED) else { continue };
            records.flatten().for_each(|record| take(&record));
        }
    }
}

/// What is there of each key that is a number.
#[must_use]
pub fn kept(disk: &Disk, log: &TopicPartition) -> Kept {
    let mut kept = Kept::new();
    each_record(disk, log, i64::MAX, |record| {
        if let Some(key) = record.key.and_then(|key| key.try_into().ok()).map(u64::from_be_bytes) {
            kept.insert(key, record.offset.0);
        }
    });
    kept
}

/// The segments of a log by their base offsets.
fn segments(disk: &Disk, log: &TopicPartition) -> BTreeMap<i64, Bytes> {
    let (mut named, mut swaps) = (BTreeMap::new(), BTreeMap::new());
    for (_, path, ino) in disk.files() {
        let Some(file) = path.strip_prefix(&format!("{log}/")) else { continue };
        let (stem, segments) = match file.strip_suffix(".swap") {
            Some(stem) => (stem, &mut swaps),
            None => (file, &mut named),
        };
        if let Some(base) = stem.strip_suffix(".log").and_then(|base| base.parse().ok()) {
            segments.insert(base, disk.peek(ino));
        }
    }
    for (base, bytes) in swaps {
        let last = batches(&bytes).map_while(Result::ok).last().map_or(base, |last| last.header().last_offset().0);
        named.retain(|at, _| !(base..=last).contains(at));
        named.insert(base, bytes);
    }
    named
}
