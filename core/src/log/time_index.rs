//! The time index of a segment: the greatest timestamp seen so far, and the offset of the record that has it.
//!
//! On disk (`.timeindex`): entries of 12 bytes, big-endian: a timestamp in milliseconds and a relative offset.
//! An entry `(t, o)` says: every record *after* offset `o`'s batch that has a timestamp above `t` lies above it,
//! and none up to `o` has a timestamp above `t`. So timestamps rise strictly although records' do not.
//!
//! Invariants: timestamps rise strictly; offsets do not fall. One entry is kept free for the one that closes a
//! segment, as in Kafka: [`TimeIndex::is_full`] says so one entry early.

use super::{Corrupt, field};
use crate::record::NO_TIMESTAMP;
use crate::types::Offset;

/// The bytes of one entry.
pub const ENTRY_LEN: usize = 12;

/// A timestamp and the offset of the record that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Milliseconds since 1970; -1 if the index has nothing at or before the target.
    pub timestamp: i64,
    /// The offset; the segment's base offset if there is nothing.
    pub offset: Offset,
}

/// The entries of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeIndex {
    base_offset: Offset,
    entries: Vec<Entry>,
    max_entries: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    timestamp: i64,
    relative_offset: u32,
}

impl TimeIndex {
    /// No entries. `max_bytes` is `index.size.max.bytes`.
    #[must_use]
    pub const fn new(base_offset: Offset, max_bytes: usize) -> Self {
        Self { base_offset, entries: Vec::new(), max_entries: max_bytes / ENTRY_LEN }
    }

    /// Reads a file of a segment that ends before `end_offset`.
    ///
    /// # Errors
    /// If the bytes cannot be an index of that segment. It is rebuilt from the log then.
    pub fn parse(base_offset: Offset, max_bytes: usize, bytes: &[u8], end_offset: Offset) -> Result<Self, Corrupt> {
        if !bytes.len().is_multiple_of(ENTRY_LEN) {
            return Err(Corrupt::new(format!("{} bytes are no whole number of entries", bytes.len())));
        }
        let entries: Vec<Entry> = bytes.chunks_exact(ENTRY_LEN).map(Entry::decode).collect();
        let rising = |pair: &[Entry]| {
            pair[0].timestamp < pair[1].timestamp && pair[0].relative_offset <= pair[1].relative_offset
        };
        if let Some(at) = entries.windows(2).position(|pair| !rising(pair)) {
            return Err(Corrupt::new(format!("entry {} is not after entry {at}", at + 1)));
        }
        match entries.last() {
            Some(last) if base_offset + last.relative_offset.into() >= end_offset => Err(Corrupt::new(format!(
                "the last entry is of offset {}, the segment ends before {end_offset}",
                base_offset + last.relative_offset.into()
            ))),
            _ => Ok(Self { base_offset, entries, max_entries: max_bytes / ENTRY_LEN }),
        }
    }

    /// Adds an entry if `timestamp` is above all before it. Returns what to append to the file.
    ///
    /// `closing` uses the entry that is kept free for the end of a segment.
    #[must_use]
    pub fn append(&mut self, timestamp: i64, offset: Offset, closing: bool) -> Option<[u8; ENTRY_LEN]> {
        let relative = i32::try_from(offset - self.base_offset).ok()?;
        let relative_offset = u32::try_from(relative).ok()?;
        let full = if closing { self.entries.len() >= self.max_entries } else { self.is_full() };
        let last = self.last();
        if full || timestamp <= last.timestamp || offset < last.offset {
            return None;
        }
        let entry = Entry { timestamp, relative_offset };
        self.entries.push(entry);
        Some(entry.encode())
    }

    /// The greatest entry with a timestamp at or below `target`: the first record with a timestamp of `target`
    /// or more lies at its offset or above.
    #[must_use]
    pub fn lookup(&self, target: i64) -> TimestampOffset {
        let after = self.entries.partition_point(|entry| entry.timestamp <= target);
        self.at(after.checked_sub(1))
    }

    /// Forgets the entries at `offset` and above. Returns the length to cut the file to, if that changes it.
    pub fn truncate_to(&mut self, offset: Offset) -> Option<u64> {
        let keep = self.entries.partition_point(|entry| self.base_offset + entry.relative_offset.into() < offset);
        let shorter = keep < self.entries.len();
        self.entries.truncate(keep);
        shorter.then(|| self.file_len())
    }

    /// The last entry: the greatest timestamp that is indexed.
    #[must_use]
    pub fn last(&self) -> TimestampOffset {
        self.at(self.entries.len().checked_sub(1))
    }

    /// Whether only the closing entry can still be added.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.entries.len() + 1 >= self.max_entries
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the index says, in order.
    pub fn entries(&self) -> impl Iterator<Item = TimestampOffset> + '_ {
        (0..self.entries.len()).map(|index| self.at(Some(index)))
    }

    /// The length of the file that holds these entries, in bytes.
    #[must_use]
    pub const fn file_len(&self) -> u64 {
        (self.entries.len() * ENTRY_LEN) as u64
    }

    /// The whole file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.entries.iter().flat_map(|entry| entry.encode()).collect()
    }

    fn at(&self, index: Option<usize>) -> TimestampOffset {
        resolve(self.base_offset, index.map(|index| self.entries[index]))
    }
}

/// [`TimeIndex::lookup`] over the bytes of a file. Safe on any bytes; a half entry at the end is ignored.
#[must_use]
pub fn lookup_bytes(base_offset: Offset, bytes: &[u8], target: i64) -> TimestampOffset {
    let (entries, _) = bytes.as_chunks::<ENTRY_LEN>();
    let after = entries.partition_point(|entry| Entry::decode(entry).timestamp <= target);
    resolve(base_offset, after.checked_sub(1).map(|index| Entry::decode(&entries[index])))
}

/// [`TimeIndex::last`] over the bytes of a file.
#[must_use]
pub fn last_of_bytes(base_offset: Offset, bytes: &[u8]) -> TimestampOffset {
    let (entries, _) = bytes.as_chunks::<ENTRY_LEN>();
    resolve(base_offset, entries.last().map(|entry| Entry::decode(entry)))
}

fn resolve(base_offset: Offset, entry: Option<Entry>) -> TimestampOffset {
    entry.map_or(TimestampOffset { timestamp: NO_TIMESTAMP, offset: base_offset }, |entry| TimestampOffset {
        timestamp: entry.timestamp,
        offset: base_offset + entry.relative_offset.into(),
    })
}

impl Entry {
    fn decode(bytes: &[u8]) -> Self {
        Self { timestamp: i64::from_be_bytes(field(bytes, 0)), relative_offset: u32::from_be_bytes(field(bytes, 8)) }
    }

    fn encode(self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Offset = Offset(100);

    #[test]
    fn only_a_greater_timestamp_makes_an_entry() {
        let mut index = TimeIndex::new(BASE, 1 << 20);
        assert_eq!(index.append(7, Offset(103), false), Some([0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 3]));
        assert!(index.append(7, Offset(105), false).is_none());
        assert!(index.append(6, Offset(105), false).is_none());
        assert!(index.append(8, Offset(102), false).is_none());
        assert!(index.append(8, Offset(103), false).is_some());
    }

    #[test]
    fn the_last_entry_is_kept_for_closing() {
        let mut index = TimeIndex::new(BASE, 2 * ENTRY_LEN);
        assert!(index.append(1, Offset(101), false).is_some());
        assert!(index.is_full());
        assert!(index.append(2, Offset(102), false).is_none());
        assert!(index.append(2, Offset(102), true).is_some());
        assert!(index.append(3, Offset(103), true).is_none());
    }

    #[test]
    fn a_file_of_another_segment_or_torn_is_corrupt() {
        let mut index = TimeIndex::new(BASE, 1 << 20);
        let _ = index.append(7, Offset(103), false);
        let mut bytes = index.encode();
        assert!(TimeIndex::parse(BASE, 1 << 20, &bytes, Offset(104)).is_ok());
        assert!(TimeIndex::parse(BASE, 1 << 20, &bytes, Offset(103)).is_err());
        bytes.extend([0; 12]);
        assert!(TimeIndex::parse(BASE, 1 << 20, &bytes, Offset(104)).is_err());
        assert!(TimeIndex::parse(BASE, 1 << 20, &bytes[..13], Offset(104)).is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_the_records(
            records in prop::collection::vec(0i64..200, 0..80),
            target in -2i64..210,
            cut in 95i64..190,
        ) {
            let mut index = TimeIndex::new(BASE, 1 << 20);
            for (&timestamp, offset) in records.iter().zip(100..) {
                let _ = index.append(timestamp, Offset(offset), false);
            }
            prop_assert_eq!(index.last().timestamp, records.iter().copied().max().unwrap_or(-1));
            for _ in 0..2 {
                let bytes = index.encode();
                prop_assert_eq!(&TimeIndex::parse(BASE, 1 << 20, &bytes, Offset(1000)).unwrap(), &index);
                let found = index.lookup(target);
                prop_assert_eq!(lookup_bytes(BASE, &bytes, target), found);
                prop_assert_eq!(last_of_bytes(BASE, &bytes), index.last());
                // No record before the entry's has the timestamp that is looked for.
                let before = usize::try_from(found.offset.0 - 100).unwrap();
                prop_assert!(records[..before].iter().all(|&timestamp| timestamp < target.max(0)));
                index.truncate_to(Offset(cut));
                prop_assert!(index.is_empty() || index.last().offset < Offset(cut));
            }
        }
    }
}
