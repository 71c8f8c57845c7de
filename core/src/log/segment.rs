//! One segment of a log: its file, its indexes, and where its batches are.
//!
//! **What is held in memory, and why not mapped.** The newest segment keeps its offset and time indexes as
//! plain vectors, two bytes in a thousand of the log (2 MiB a GiB), and they are written out when it is rolled,
//! now and then in between, and at shutdown. A mapped index faults pages in under the machine's lock, is
//! preallocated with ten megabytes a segment, and is written by the kernel when it likes, which no simulator
//! sees. Older segments give their indexes up beyond a bound and read them again, whole, when asked.
//!
//! [`Places`] are the exact starts of batches: every batch of the newest stretch, and one in so many bytes
//! before it. A fetch at the tail, and one that goes on where the last one ended, is answered from there.
//!
//! [`Checked`] are the stretches of the file that this process wrote or checked. Nothing else is ever sent.
//!
//! Invariants: places rise in both columns; the tail of places has no gap; a batch is noted here in the same
//! function whether it is being appended or found by recovery (S8).

use std::collections::VecDeque;

use bytes::Bytes;

use super::api::LogConfig;
use super::names::SegmentFile;
use super::offset_index::OffsetIndex;
use super::time_index::{TimeIndex, TimestampOffset};
use super::txn_index::TxnIndex;
use crate::clock::WallTime;
use crate::machine::FileId;
use crate::record::BatchHeader;
use crate::types::Offset;

/// How many batches of the tail have their place remembered one by one.
const TAIL_PLACES: usize = 1024;
/// How many bytes at least lie between two places before the tail.
const SPARSE_BYTES: u32 = 4096;
/// How many stretches of an old segment are remembered as checked.
const MAX_STRETCHES: usize = 16;

/// One segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// The first offset that may lie in it; its files' name.
    pub(crate) base: Offset,
    /// Bytes in its file.
    pub(crate) size: u32,
    pub(crate) file: Handle,
    pub(crate) indexes: Option<Indexes>,
    pub(crate) saved: Saved,
    pub(crate) places: Places,
    pub(crate) checked: Checked,
    pub(crate) times: Times,
}

/// What the index files on disk have of the indexes here, and what is being saved of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// There are no files.
    Never,
    /// The files say less: the next checkpoint saves them.
    Partly,
    Whole,
}

/// Whether the file is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handle {
    Closed,
    Opening(FileId),
    Open(FileId),
}

/// The indexes as Kafka has them.
#[derive(Clone, Debug)]
pub(crate) struct Indexes {
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
    pub(crate) aborted: TxnIndex,
    /// Bytes since the last entry.
    since_entry: u32,
}

/// What is known of the timestamps in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Of the first batch that has one: the segment's age counts from it (`segment.ms`).
    pub(crate) first: Option<i64>,
    /// The greatest, and the last offset of its batch. `None` if it must be read from the time index.
    pub(crate) greatest: Option<TimestampOffset>,
    /// No record has a greater one; after a truncation it may be too high. `None` as above.
    pub(crate) ceiling: Option<i64>,
    /// Whether batches said all that, and not only an index file, which has no checksum: nothing is deleted by that.
    pub(crate) verified: bool,
    /// When the segment was made or found, for batches without timestamps.
    pub(crate) seen: WallTime,
}

impl Times {
    /// What the segment's age counts from: its newest record, or, if none has a time, when it was made or found. `None`
    /// if the time index must be read.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.ceiling.map(|ceiling| if ceiling >= 0 { ceiling } else { self.seen.0 })
    }
}

impl Segment {
    /// A new, empty one.
    pub(crate) fn new(base: Offset, file: FileId, config: &LogConfig, now: WallTime) -> Self {
        Self {
            base,
            size: 0,
            file: Handle::Open(file),
            indexes: Some(Indexes::new(base, config)),
            saved: Saved::Never,
            places: Places::default(),
            checked: Checked::default(),
            times: Times {
                first: None,
                greatest: Some(TimestampOffset { timestamp: -1, offset: base }),
                ceiling: Some(-1),
                verified: true,
                seen: now,
            },
        }
    }

    /// One that was found, of which nothing but its name and size is known.
    pub(crate) fn found(base: Offset, size: u32, now: WallTime) -> Self {
        Self {
            base,
            size,
            file: Handle::Closed,
            indexes: None,
            saved: Saved::Whole,
            places: Places::default(),
            checked: Checked::default(),
            times: Times { first: None, greatest: None, ceiling: None, verified: false, seen: now },
        }
    }

    pub(crate) fn file_id(&self) -> Option<FileId> {
        match self.file {
            Handle::Open(file) => Some(file),
            Handle::Closed | Handle::Opening(_) => None,
        }
    }

    /// The file that is to be closed when the segment goes: also one that is being opened, since opens and closes keep
    /// their order.
    pub(crate) fn held_file(&self) -> Option<FileId> {
        match self.file {
            Handle::Open(file) | Handle::Opening(file) => Some(file),
            Handle::Closed => None,
        }
    }

    /// Takes note of a batch at the end of the file, which was appended or found there.
    pub(crate) fn note(&mut self, header: &BatchHeader, size: u32, config: &LogConfig) {
        let (start, last) = (self.size, header.last_offset());
        let relative = (header.base_offset - self.base, header.next_offset() - self.base);
        self.places.push(relative, start, header.max_timestamp);
        if self.times.first.is_none() && header.max_timestamp >= 0 {
            self.times.first = Some(header.max_timestamp);
        }
        if let Some(greatest) =
            self.times.greatest.as_mut().filter(|greatest| header.max_timestamp > greatest.timestamp)
        {
            *greatest = TimestampOffset { timestamp: header.max_timestamp, offset: last };
        }
        self.times.ceiling = self.times.ceiling.map(|ceiling| ceiling.max(header.max_timestamp));
        if let (Some(indexes), Some(greatest)) = (&mut self.indexes, self.times.greatest) {
            indexes.note(last, start, size, greatest, config);
        }
        if self.saved == Saved::Whole {
            self.saved = Saved::Partly;
        }
        self.size += size;
    }

    /// Whether the indexes take no more entries.
    pub(crate) fn is_index_full(&self) -> bool {
        let full = |indexes: &Indexes| indexes.offsets.is_full() || indexes.times.is_full();
        self.indexes.as_ref().is_some_and(full)
    }

    /// The last entry of the time index, which says the greatest timestamp of all (as Kafka closes a segment).
    fn close_time_index(&mut self) {
        if let (Some(indexes), Some(greatest)) = (&mut self.indexes, self.times.greatest)
            && greatest.timestamp >= 0
        {
            let _ = indexes.times.append(greatest.timestamp, greatest.offset, true);
        }
    }

    /// The index files as they are to be, with the segment's base offset. From now on they count as saved.
    pub(crate) fn index_files(&mut self) -> Vec<(Offset, SegmentFile, Bytes)> {
        self.saved = Saved::Whole;
        self.close_time_index();
        let Some(indexes) = &self.indexes else {
            return Vec::new();
        };
        let mut files = vec![
            (self.base, SegmentFile::OffsetIndex, indexes.offsets.encode().into()),
            (self.base, SegmentFile::TimeIndex, indexes.times.encode().into()),
        ];
        if !indexes.aborted.entries().is_empty() {
            files.push((self.base, SegmentFile::TxnIndex, indexes.aborted.encode().into()));
        }
        files
    }

    /// Cuts what is known to a file of `pos` bytes that ends before `end`; of the last stretch before it a walk may
    /// know the greatest timestamp.
    pub(crate) fn truncate(&mut self, end: Offset, pos: u32, walked: Option<TimestampOffset>) {
        self.size = pos;
        self.places.truncate(pos, end - self.base);
        self.checked.truncate(pos);
        if let Some(indexes) = &mut self.indexes {
            indexes.truncate(end, pos);
            let indexed = indexes.times.last();
            let exact = walked.or_else(|| self.places.greatest_from(indexes.offsets.last().position, self.base, end));
            // Too high for what is left, perhaps, but no record is above it: an entry that says so is true.
            let ceiling = self.times.ceiling.unwrap_or(i64::MAX);
            let bound = exact.unwrap_or(TimestampOffset { timestamp: ceiling, offset: end + -1 });
            let greatest = if bound.timestamp > indexed.timestamp { bound } else { indexed };
            (self.times.greatest, self.times.ceiling) = (Some(greatest), Some(greatest.timestamp));
        }
        if pos == 0 {
            self.times.first = None;
            self.times.ceiling = Some(-1);
            self.times.greatest = Some(TimestampOffset { timestamp: -1, offset: self.base });
        }
    }
}

impl Indexes {
    pub(crate) fn new(base: Offset, config: &LogConfig) -> Self {
        let max = config.index_size_max_bytes as usize;
        Self {
            offsets: OffsetIndex::new(base, max),
            times: TimeIndex::new(base, max),
            aborted: TxnIndex::new(),
            since_entry: 0,
        }
    }

    /// Those of a file's first `pos` bytes.
    pub(crate) fn loaded(offsets: OffsetIndex, times: TimeIndex, aborted: TxnIndex, pos: u32) -> Self {
        let since_entry = pos.saturating_sub(offsets.last().position);
        Self { offsets, times, aborted, since_entry }
    }

    /// Forgets what lies at `end` and above, `pos` bytes into the file.
    fn truncate(&mut self, end: Offset, pos: u32) {
        let _ = (self.offsets.truncate_to(end), self.times.truncate_to(end), self.aborted.truncate_to(end));
        self.since_entry = pos.saturating_sub(self.offsets.last().position);
    }

    /// Whether they say nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.offsets.is_empty() && self.times.is_empty() && self.aborted.entries().is_empty()
    }

    fn note(&mut self, last: Offset, start: u32, size: u32, greatest: TimestampOffset, config: &LogConfig) {
        if self.since_entry > config.index_interval_bytes {
            let _ = self.offsets.append(last, start);
            if greatest.timestamp >= 0 {
                let _ = self.times.append(greatest.timestamp, greatest.offset, false);
            }
            self.since_entry = 0;
        }
        self.since_entry = self.since_entry.saturating_add(size);
    }
}

/// Where batches start: relative base offsets and positions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// Some batches, each at least [`SPARSE_BYTES`] after the one before.
    sparse: Vec<Place>,
    /// Every batch up to the end of the file.
    tail: VecDeque<Place>,
    /// The greatest timestamp in each of the tail's batches.
    stamps: VecDeque<i64>,
    /// Where the last batch ends, as an offset.
    end: i64,
    /// Some batch of the tail begins later than the one before ends: compaction was there.
    has_gaps: bool,
}

/// One batch's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) relative: u32,
    pub(crate) pos: u32,
}

impl Places {
    /// Adds the batch that starts at the end of the file.
    fn push(&mut self, (relative, end): (i64, i64), pos: u32, max_timestamp: i64) {
        self.has_gaps |= !self.tail.is_empty() && relative != self.end;
        self.end = end;
        let Ok(relative) = u32::try_from(relative) else {
            return;
        };
        self.tail.push_back(Place { relative, pos });
        self.stamps.push_back(max_timestamp);
        if self.tail.len() > TAIL_PLACES
            && self.stamps.pop_front().is_some()
            && let Some(place) = self.tail.pop_front()
            && self.sparse.last().is_none_or(|last| place.pos >= last.pos.saturating_add(SPARSE_BYTES))
        {
            self.sparse.push(place);
        }
    }

    /// Takes in places that were found by a walk; those in the tail are there already.
    pub(crate) fn merge(&mut self, found: &[Place]) {
        let tail = self.tail.front().map_or(u32::MAX, |place| place.pos);
        for place in found.iter().filter(|place| place.pos < tail) {
            if let Err(at) = self.sparse.binary_search_by_key(&place.pos, |known| known.pos) {
                self.sparse.insert(at, *place);
            }
        }
    }

    /// The start of the batch that holds the offset, if that is known.
    pub(crate) fn holding(&self, relative: u32) -> Option<Place> {
        let after = self.tail.partition_point(|place| place.relative <= relative);
        if let Some(before) = after.checked_sub(1) {
            // Where offsets are missing it may end before.
            return Some(self.tail[before]).filter(|place| place.relative == relative || !self.has_gaps);
        }
        let at = self.sparse.binary_search_by_key(&relative, |place| place.relative).ok()?;
        Some(self.sparse[at])
    }

    /// A known start at or before the batch that holds the offset.
    pub(crate) fn before(&self, relative: u32) -> Option<Place> {
        let after = self.tail.partition_point(|place| place.relative <= relative);
        if let Some(before) = after.checked_sub(1) {
            return Some(self.tail[before]);
        }
        let after = self.sparse.partition_point(|place| place.relative <= relative);
        after.checked_sub(1).map(|before| self.sparse[before])
    }

    /// The last known start that lies at `limit` or before and whose offset is `upper` or below.
    pub(crate) fn boundary(&self, limit: u32, upper: i64) -> Option<Place> {
        let fits = |place: &Place| place.pos <= limit && i64::from(place.relative) <= upper;
        let after = self.tail.partition_point(fits);
        if let Some(before) = after.checked_sub(1) {
            return Some(self.tail[before]);
        }
        let after = self.sparse.partition_point(fits);
        after.checked_sub(1).map(|before| self.sparse[before])
    }

    /// The start of the batch after the one at `pos`, if every batch there is known.
    pub(crate) fn next_after(&self, pos: u32) -> Option<Place> {
        if self.tail.front()?.pos > pos {
            return None;
        }
        let after = self.tail.partition_point(|place| place.pos <= pos);
        self.tail.get(after).copied()
    }

    /// Whether every batch from `pos` on is known.
    pub(crate) fn is_dense_from(&self, pos: u32) -> bool {
        self.tail.front().is_some_and(|place| place.pos <= pos)
    }

    /// The greatest timestamp of the batches from `pos` on, and the last offset of the batch that has it, if every
    /// batch there is known; the segment ends before `end`.
    fn greatest_from(&self, pos: u32, base: Offset, end: Offset) -> Option<TimestampOffset> {
        if !self.is_dense_from(pos) {
            return None;
        }
        let from = self.tail.partition_point(|place| place.pos < pos);
        let after = |index: usize| self.tail.get(index).map_or(end, |next| base + i64::from(next.relative));
        let mut greatest = TimestampOffset { timestamp: -1, offset: base };
        for (index, &timestamp) in self.stamps.iter().enumerate().skip(from) {
            if timestamp > greatest.timestamp {
                greatest = TimestampOffset { timestamp, offset: after(index + 1) + -1 };
            }
        }
        Some(greatest)
    }

    fn truncate(&mut self, pos: u32, end: i64) {
        self.end = end;
        self.tail.truncate(self.tail.partition_point(|place| place.pos < pos));
        self.stamps.truncate(self.tail.len());
        self.sparse.truncate(self.sparse.partition_point(|place| place.pos < pos));
    }

    /// Whether no place is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.sparse.is_empty() && self.tail.is_empty()
    }

    /// Forgets all: the segment is seldom read.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Stretches of a file, in order and apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checked {
    stretches: Vec<(u32, u32)>,
}

impl Checked {
    /// Whether all of `from..to` is.
    pub(crate) fn has(&self, from: u32, to: u32) -> bool {
        self.stretches.iter().any(|&(start, end)| start <= from && to <= end)
    }

    /// Adds `from..to`. Of too many stretches the first is forgotten.
    pub(crate) fn add(&mut self, from: u32, to: u32) {
        if let Some(last) = self.stretches.last_mut().filter(|last| last.0 <= from && from <= last.1) {
            last.1 = last.1.max(to);
            return;
        }
        let (mut from, mut to) = (from, to);
        self.stretches.retain(|&(start, end)| {
            let apart = end < from || to < start;
            if !apart {
                from = from.min(start);
                to = to.max(end);
            }
            apart
        });
        let at = self.stretches.partition_point(|&(start, _)| start < from);
        self.stretches.insert(at, (from, to));
        if self.stretches.len() > MAX_STRETCHES {
            self.stretches.remove(0);
        }
    }

    fn truncate(&mut self, pos: u32) {
        self.stretches.retain(|&(start, _)| start < pos);
        if let Some(last) = self.stretches.last_mut() {
            last.1 = last.1.min(pos);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_exact_in_the_tail_and_sparse_before() {
        let mut places = Places::default();
        for batch in 0..3000_u32 {
            places.push((i64::from(batch) * 2, i64::from(batch) * 2 + 2), batch * 100, 0);
        }
        assert_eq!(places.holding(5999), Some(Place { relative: 5998, pos: 299_900 }));
        assert_eq!(places.holding(5000), Some(Place { relative: 5000, pos: 250_000 }));
        assert_eq!(places.holding(1), None);
        assert_eq!(places.before(1), Some(Place { relative: 0, pos: 0 }));
        let sparse = places.before(1000).unwrap();
        assert!(sparse.relative <= 1000 && sparse.relative > 900);
        assert_eq!(places.holding(sparse.relative), Some(sparse));
        assert_eq!(places.boundary(299_950, 5997), Some(Place { relative: 5996, pos: 299_800 }));
        assert_eq!(places.next_after(299_800), Some(Place { relative: 5998, pos: 299_900 }));
        places.truncate(299_900, 5998);
        assert_eq!(places.before(9000), Some(Place { relative: 5996, pos: 299_800 }));
    }

    #[test]
    fn an_offset_that_is_missing_lies_in_no_batch() {
        let mut places = Places::default();
        places.push((20, 21), 0, 0);
        assert_eq!(places.holding(25), Some(Place { relative: 20, pos: 0 }));
        places.push((31, 32), 100, 0);
        assert_eq!((places.holding(25), places.holding(20)), (None, Some(Place { relative: 20, pos: 0 })));
        assert_eq!(places.before(25), Some(Place { relative: 20, pos: 0 }));
    }

    #[test]
    fn checked_stretches_merge() {
        let mut checked = Checked::default();
        checked.add(100, 200);
        checked.add(300, 400);
        assert!(!checked.has(150, 350));
        checked.add(200, 300);
        assert!(checked.has(100, 400));
        checked.add(0, 50);
        assert!(checked.has(0, 50) && !checked.has(40, 110));
        checked.truncate(250);
        assert!(checked.has(100, 250) && !checked.has(100, 251));
    }
}
