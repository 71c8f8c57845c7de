//! Compares what was sent with what was read, and says precisely what differs first.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::bench::{Seen, Written};
use super::client::Stop;
use crate::records::Record;

/// How many records each partition holds.
pub fn counts(records: &[Record]) -> BTreeMap<i32, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        *counts.entry(record.partition).or_insert(0) += 1;
    }
    counts
}

/// `read` holds exactly `sent`: per partition in order, at consecutive offsets from `starts`, with equal content, and
/// with the timestamps sent, where they were. What the writer was told agrees.
pub fn expect_same(sent: &[Record], written: &Written, seen: &Seen, starts: &BTreeMap<i32, i64>) -> Result<(), Stop> {
    let mut next: BTreeMap<i32, i64> = starts.clone();
    let mut queues = by_partition(&seen.records);
    for (index, record) in sent.iter().enumerate() {
        let offset = next.entry(record.partition).or_insert(0);
        let got = queues.get_mut(&record.partition).and_then(Iterator::next);
        let Some(got) = got else {
            let had = counts(&seen.records).get(&record.partition).copied().unwrap_or(0);
            return Err(Stop::Failed(format!("record {index} was not read ({had} of its partition were): {record:?}")));
        };
        let is_same_time = record.timestamp < 0 || !written.timestamps || got.timestamp == record.timestamp;
        if got.offset != *offset || !got.same_content(record, seen.blurs_nulls) || !is_same_time {
            return Err(Stop::Failed(format!(
                "record {index}, expected at offset {offset}\n  sent {record:?}\n  read {got:?}"
            )));
        }
        let told = written.offsets.as_ref().and_then(|offsets| offsets.get(index));
        if told.is_some_and(|told| *told != (record.partition, *offset)) {
            return Err(Stop::Failed(format!("record {index} was acknowledged as {told:?}, read as {got:?}")));
        }
        *offset += 1;
    }
    match queues.values_mut().find_map(Iterator::next) {
        Some(surplus) => Err(Stop::Failed(format!("more was read than was written: {surplus:?}"))),
        None => Ok(()),
    }
}

fn by_partition(records: &[Record]) -> BTreeMap<i32, impl Iterator<Item = &Record>> {
    let mut queues: BTreeMap<i32, Vec<&Record>> = BTreeMap::new();
    for record in records {
        queues.entry(record.partition).or_default().push(record);
    }
    queues.into_iter().map(|(partition, queue)| (partition, queue.into_iter())).collect()
}

/// One number for the content of a topic, whatever the order of its partitions.
pub fn content_hash(records: &[Record]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (partition, queue) in by_partition(records) {
        partition.hash(&mut hasher);
        for record in queue {
            (&record.key, &record.value, &record.headers).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Fails with a sentence unless both are equal.
pub fn expect_equal<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, got: &T) -> Result<(), Stop> {
    if expected == got { Ok(()) } else { Err(Stop::Failed(format!("{what}: expected {expected:?}, got {got:?}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64, value: &str) -> Record {
        Record { offset, ..Record::new(partition, None, Some(value.as_bytes())) }
    }

    fn judge(read: &[Record]) -> Result<(), Stop> {
        let sent = [record(0, -1, "a"), record(1, -1, "b"), record(0, -1, "c")];
        let written = Written { offsets: Some(vec![(0, 0), (1, 0), (0, 1)]), timestamps: true };
        let seen = Seen { records: read.to_vec(), blurs_nulls: false };
        expect_same(&sent, &written, &seen, &BTreeMap::new())
    }

    #[test]
    fn only_the_same_records_at_the_right_offsets_pass() {
        let good = [record(1, 0, "b"), record(0, 0, "a"), record(0, 1, "c")];
        judge(&good).unwrap();
        judge(&good[..2]).unwrap_err();
        judge(&[record(1, 0, "b"), record(0, 0, "c"), record(0, 1, "a")]).unwrap_err();
        judge(&[record(1, 0, "b"), record(0, 0, "a"), record(0, 2, "c")]).unwrap_err();
        judge(&[&good[..], &[record(1, 1, "b")]].concat()).unwrap_err();
        assert_eq!(content_hash(&good), content_hash(&[record(0, 0, "a"), record(0, 1, "c"), record(1, 0, "b")]));
        assert_ne!(content_hash(&good), content_hash(&good[..2]));
    }

    #[test]
    fn an_acknowledged_offset_that_is_another_fails() {
        let sent = [record(0, -1, "a")];
        let written = Written { offsets: Some(vec![(0, 7)]), timestamps: true };
        let seen = Seen { records: vec![record(0, 0, "a")], blurs_nulls: false };
        expect_same(&sent, &written, &seen, &BTreeMap::new()).unwrap_err();
    }
}
