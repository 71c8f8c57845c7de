//! The offset index of a segment: sparse pairs of an offset and where its batch lies in the file.
//!
//! On disk (`.index`): entries of 8 bytes, big-endian, an offset relative to the segment's base and a position.
//! Kafka writes the *last* offset of the batch that starts at the position; so do we. Both columns only rise.
//!
//! The newest segment's entries are held here; the file is a copy of them that grows. An older segment's file
//! is searched as it was read, by [`lookup_bytes`].
//!
//! Invariants: offsets rise strictly; positions rise strictly; there are at most `index.size.max.bytes` of them.
//! Absent on purpose: any memory map. An index is read in whole and is 2 bytes in a thousand of its log.

use super::{Corrupt, field};
use crate::types::Offset;

/// The bytes of one entry.
pub const ENTRY_LEN: usize = 8;

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetPosition {
    /// The last offset of a batch (or the base offset, if the index has nothing before the target).
    pub offset: Offset,
    /// The byte at which the batch starts.
    pub position: u32,
}

/// The entries of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetIndex {
    base_offset: Offset,
    entries: Vec<Entry>,
    max_entries: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    relative_offset: u32,
    position: u32,
}

impl OffsetIndex {
    /// No entries. `max_bytes` is `index.size.max.bytes`.
    #[must_use]
    pub const fn new(base_offset: Offset, max_bytes: usize) -> Self {
        Self { base_offset, entries: Vec::new(), max_entries: max_bytes / ENTRY_LEN }
    }

    /// Reads a file whose segment has `log_len` bytes.
    ///
    /// # Errors
    /// If the bytes cannot be an index of that segment. It is rebuilt from the log then.
    pub fn parse(base_offset: Offset, max_bytes: usize, bytes: &[u8], log_len: u32) -> Result<Self, Corrupt> {
        if !bytes.len().is_multiple_of(ENTRY_LEN) {
            return Err(Corrupt::new(format!("{} bytes are no whole number of entries", bytes.len())));
        }
        let entries: Vec<Entry> = bytes.chunks_exact(ENTRY_LEN).map(Entry::decode).collect();
        let rising =
            |pair: &[Entry]| pair[0].relative_offset < pair[1].relative_offset && pair[0].position < pair[1].position;
        if let Some(at) = entries.windows(2).position(|pair| !rising(pair)) {
            return Err(Corrupt::new(format!("entry {} is not after entry {at}", at + 1)));
        }
        match entries.last() {
            Some(last) if last.position >= log_len => {
                Err(Corrupt::new(format!("the last entry is at {}, the log has {log_len} bytes", last.position)))
            }
            Some(last) if i32::try_from(last.relative_offset).is_err() => {
                Err(Corrupt::new("an offset is more than 2^31 from its base"))
            }
            _ => Ok(Self { base_offset, entries, max_entries: max_bytes / ENTRY_LEN }),
        }
    }

    /// Adds an entry: the batch that starts at `position` ends with `last_offset`. Returns what to append to
    /// the file; `None` if the index is full or would not rise (the segment is then rolled, or goes unindexed).
    #[must_use]
    pub fn append(&mut self, last_offset: Offset, position: u32) -> Option<[u8; ENTRY_LEN]> {
        let relative = i32::try_from(last_offset - self.base_offset).ok()?;
        let relative_offset = u32::try_from(relative).ok()?;
        let rises = |last: &Entry| relative_offset > last.relative_offset && position > last.position;
        if self.is_full() || !self.entries.last().is_none_or(rises) {
            return None;
        }
        let entry = Entry { relative_offset, position };
        self.entries.push(entry);
        Some(entry.encode())
    }

    /// The greatest entry at or below `target`; the segment's start if there is none. The batch that holds
    /// `target` starts at that position or after it.
    #[must_use]
    pub fn lookup(&self, target: Offset) -> OffsetPosition {
        let after = self.entries.partition_point(|entry| self.base_offset + entry.relative_offset.into() <= target);
        self.at(after.checked_sub(1))
    }

    /// The greatest entry whose position is at most `position`: a place below it where a batch starts.
    #[must_use]
    pub fn lookup_position(&self, position: u32) -> OffsetPosition {
        let after = self.entries.partition_point(|entry| entry.position <= position);
        self.at(after.checked_sub(1))
    }

    /// Forgets the entries at `offset` and above. Returns the length to cut the file to, if that changes it.
    pub fn truncate_to(&mut self, offset: Offset) -> Option<u64> {
        let keep = self.entries.partition_point(|entry| self.base_offset + entry.relative_offset.into() < offset);
        let shorter = keep < self.entries.len();
        self.entries.truncate(keep);
        shorter.then(|| self.file_len())
    }

    /// The last entry; the segment's start if there is none.
    #[must_use]
    pub fn last(&self) -> OffsetPosition {
        self.at(self.entries.len().checked_sub(1))
    }

    /// Whether no entry can be added.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.entries.len() >= self.max_entries
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
    pub fn entries(&self) -> impl Iterator<Item = OffsetPosition> + '_ {
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

    fn at(&self, index: Option<usize>) -> OffsetPosition {
        let entry = index.map(|index| self.entries[index]);
        resolve(self.base_offset, entry)
    }
}

/// [`OffsetIndex::lookup`] over the bytes of a file. Safe on any bytes; a half entry at the end is ignored.
#[must_use]
pub fn lookup_bytes(base_offset: Offset, bytes: &[u8], target: Offset) -> OffsetPosition {
    let below = |entry: Entry| base_offset + entry.relative_offset.into() <= target;
    resolve(base_offset, last_where(bytes, below))
}

/// [`OffsetIndex::lookup_position`] over the bytes of a file.
#[must_use]
pub fn lookup_position_bytes(base_offset: Offset, bytes: &[u8], position: u32) -> OffsetPosition {
    resolve(base_offset, last_where(bytes, |entry| entry.position <= position))
}

/// The last entry for which `below` holds; it holds for a prefix of them.
fn last_where(bytes: &[u8], below: impl Fn(Entry) -> bool) -> Option<Entry> {
    let (entries, _) = bytes.as_chunks::<ENTRY_LEN>();
    let after = entries.partition_point(|entry| below(Entry::decode(entry)));
    after.checked_sub(1).map(|index| Entry::decode(&entries[index]))
}

fn resolve(base_offset: Offset, entry: Option<Entry>) -> OffsetPosition {
    entry.map_or(OffsetPosition { offset: base_offset, position: 0 }, |entry| OffsetPosition {
        offset: base_offset + entry.relative_offset.into(),
        position: entry.position,
    })
}

impl Entry {
    fn decode(bytes: &[u8]) -> Self {
        Self { relative_offset: u32::from_be_bytes(field(bytes, 0)), position: u32::from_be_bytes(field(bytes, 4)) }
    }

    fn encode(self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        bytes[..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes[4..].copy_from_slice(&self.position.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Offset = Offset(100);

    fn index(entries: &[(i64, u32)]) -> OffsetIndex {
        let mut index = OffsetIndex::new(BASE, 1 << 20);
        for &(offset, position) in entries {
            index.append(Offset(offset), position).expect("the entries rise");
        }
        index
    }

    #[test]
    fn lookup_gives_the_greatest_entry_at_or_below() {
        let index = index(&[(110, 4096), (120, 8192)]);
        for (target, offset, position) in
            [(100, 100, 0), (109, 100, 0), (110, 110, 4096), (119, 110, 4096), (999, 120, 8192)]
        {
            let found = OffsetPosition { offset: Offset(offset), position };
            assert_eq!(index.lookup(Offset(target)), found, "{target}");
        }
    }

    #[test]
    fn append_refuses_what_does_not_rise_or_fit() {
        let mut index = OffsetIndex::new(BASE, 3 * ENTRY_LEN);
        assert!(index.append(Offset(99), 10).is_none());
        assert_eq!(index.append(Offset(110), 4096), Some([0, 0, 0, 10, 0, 0, 16, 0]));
        assert!(index.append(Offset(110), 5000).is_none());
        assert!(index.append(Offset(111), 4096).is_none());
        assert!(index.append(BASE + (1 << 31), 5000).is_none());
        assert!(index.append(BASE + ((1 << 31) - 1), 5000).is_some());
        assert!(!index.is_full());
    }

    #[test]
    fn a_file_that_kafka_left_preallocated_or_torn_is_corrupt() {
        let mut bytes = index(&[(110, 4096), (120, 8192)]).encode();
        assert!(OffsetIndex::parse(BASE, 1 << 20, &bytes, 8193).is_ok());
        assert!(OffsetIndex::parse(BASE, 1 << 20, &bytes, 8192).is_err());
        bytes.extend([0; 8]);
        assert!(OffsetIndex::parse(BASE, 1 << 20, &bytes, 9000).is_err());
        bytes.pop();
        assert!(OffsetIndex::parse(BASE, 1 << 20, &bytes, 9000).is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(
            steps in prop::collection::vec((1i64..50, 1u32..5000), 0..60),
            targets in prop::collection::vec(90i64..3500, 1..20),
            cut in 90i64..3500,
        ) {
            let mut model: Vec<(i64, u32)> = Vec::new();
            let (mut offset, mut position) = (100, 0);
            for (by, bytes) in steps {
                offset += by;
                position += bytes;
                model.push((offset, position));
            }
            let mut index = index(&model);
            for round in 0..2 {
                let bytes = index.encode();
                prop_assert_eq!(&OffsetIndex::parse(BASE, 1 << 20, &bytes, u32::MAX).unwrap(), &index);
                for &target in &targets {
                    let found = model.iter().rfind(|entry| entry.0 <= target).copied().unwrap_or((100, 0));
                    let found = OffsetPosition { offset: Offset(found.0), position: found.1 };
                    prop_assert_eq!(index.lookup(Offset(target)), found);
                    prop_assert_eq!(lookup_bytes(BASE, &bytes, Offset(target)), found);
                    let place = u32::try_from(target).unwrap() * 40;
                    let found = model.iter().rfind(|entry| entry.1 <= place).map_or(0, |entry| entry.1);
                    prop_assert_eq!(index.lookup_position(place).position, found);
                    prop_assert_eq!(lookup_position_bytes(BASE, &bytes, place).position, found);
                }
                if round == 0 {
                    let before = model.len();
                    model.retain(|entry| entry.0 < cut);
                    let shorter = index.truncate_to(Offset(cut));
                    prop_assert_eq!(shorter, (model.len() < before).then_some(model.len() as u64 * 8));
                }
            }
        }
    }
}
