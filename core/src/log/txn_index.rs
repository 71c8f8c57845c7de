//! The transaction index of a segment: which transactions that ended in it were aborted.
//!
//! On disk (`.txnindex`): entries of 34 bytes, big-endian: version (0), producer id, first offset, last offset
//! (of the abort marker), and the last stable offset just after the marker. Most segments have none; the file
//! is made with its first entry.
//!
//! A `read_committed` fetch gets from here the list by which the client drops aborted records (KIP-98).
//! Invariant: last offsets rise strictly, for each is a marker's own.

use super::{Corrupt, field};
use crate::types::{Offset, ProducerId};

/// The bytes of one entry.
pub const ENTRY_LEN: usize = 34;
const VERSION: i16 = 0;

/// One aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its abort marker.
    pub last_offset: Offset,
    /// The last stable offset once the marker was written.
    pub last_stable_offset: Offset,
}

/// What a range of a log has of aborted transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aborted {
    /// Those that have records in the range, by the offsets of their markers.
    pub transactions: Vec<AbortedTxn>,
    /// Whether later segments cannot have more of them, so that the search ends.
    pub is_complete: bool,
}

/// The entries of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnIndex {
    entries: Vec<AbortedTxn>,
}

impl TxnIndex {
    /// No entries.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Reads the file of a segment that begins at `base_offset`.
    ///
    /// # Errors
    /// If the bytes cannot be an index of that segment. It is rebuilt from the log then.
    pub fn parse(base_offset: Offset, bytes: &[u8]) -> Result<Self, Corrupt> {
        if !bytes.len().is_multiple_of(ENTRY_LEN) {
            return Err(Corrupt::new(format!("{} bytes are no whole number of entries", bytes.len())));
        }
        let mut entries: Vec<AbortedTxn> = Vec::with_capacity(bytes.len() / ENTRY_LEN);
        for bytes in bytes.chunks_exact(ENTRY_LEN) {
            let entry = AbortedTxn::decode(bytes)?;
            if entry.last_offset < base_offset || entry.first_offset > entry.last_offset {
                return Err(Corrupt::new(format!("a marker at {} in {base_offset}", entry.last_offset)));
            }
            if entries.last().is_some_and(|last| last.last_offset >= entry.last_offset) {
                return Err(Corrupt::new(format!("the marker at {} is out of order", entry.last_offset)));
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// Adds an aborted transaction. Returns what to append to the file.
    ///
    /// # Panics
    /// If its marker is not after the last one's: offsets are given once.
    #[must_use]
    pub fn append(&mut self, aborted: AbortedTxn) -> [u8; ENTRY_LEN] {
        let rises = self.entries.last().is_none_or(|last| last.last_offset < aborted.last_offset);
        assert!(rises, "an abort marker at {} is not the newest", aborted.last_offset);
        self.entries.push(aborted);
        aborted.encode()
    }

    /// Adds to `found` the transactions that have records from `start` up to, and without, `end`.
    pub fn collect(&self, start: Offset, end: Offset, found: &mut Aborted) {
        for entry in &self.entries {
            if entry.last_offset >= start && entry.first_offset < end {
                found.transactions.push(*entry);
            }
            if entry.last_stable_offset >= end {
                found.is_complete = true;
                return;
            }
        }
    }

    /// Forgets the transactions whose marker is at `offset` or above. Returns the length to cut the file to, if
    /// that changes it.
    pub fn truncate_to(&mut self, offset: Offset) -> Option<u64> {
        let keep = self.entries.partition_point(|entry| entry.last_offset < offset);
        let shorter = keep < self.entries.len();
        self.entries.truncate(keep);
        shorter.then(|| self.file_len())
    }

    /// The entries, by the offsets of their markers.
    #[must_use]
    pub fn entries(&self) -> &[AbortedTxn] {
        &self.entries
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
}

impl AbortedTxn {
    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let version = i16::from_be_bytes(field(bytes, 0));
        if version != VERSION {
            return Err(Corrupt::new(format!("an entry of version {version}")));
        }
        Ok(Self {
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, 2))),
            first_offset: Offset(i64::from_be_bytes(field(bytes, 10))),
            last_offset: Offset(i64::from_be_bytes(field(bytes, 18))),
            last_stable_offset: Offset(i64::from_be_bytes(field(bytes, 26))),
        })
    }

    fn encode(self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        bytes[2..10].copy_from_slice(&self.producer_id.0.to_be_bytes());
        bytes[10..18].copy_from_slice(&self.first_offset.0.to_be_bytes());
        bytes[18..26].copy_from_slice(&self.last_offset.0.to_be_bytes());
        bytes[26..].copy_from_slice(&self.last_stable_offset.0.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn aborted(first: i64, last: i64, stable: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(9),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(stable),
        }
    }

    #[test]
    fn a_range_gets_those_that_reach_into_it() {
        let mut index = TxnIndex::new();
        for entry in [aborted(0, 10, 5), aborted(5, 20, 21), aborted(30, 40, 41)] {
            let _ = index.append(entry);
        }
        let mut found = Aborted::default();
        index.collect(Offset(11), Offset(20), &mut found);
        assert_eq!(found.transactions, [aborted(5, 20, 21)]);
        assert!(found.is_complete);
        let mut found = Aborted::default();
        index.collect(Offset(0), Offset(100), &mut found);
        assert_eq!(found.transactions.len(), 3);
        assert!(!found.is_complete);
    }

    #[test]
    fn bad_files() {
        let mut index = TxnIndex::new();
        let _ = index.append(aborted(0, 10, 5));
        let _ = index.append(aborted(5, 20, 21));
        let bytes = index.encode();
        assert_eq!(TxnIndex::parse(Offset(0), &bytes), Ok(index));
        assert!(TxnIndex::parse(Offset(11), &bytes).is_err());
        assert!(TxnIndex::parse(Offset(0), &bytes[1..]).is_err());
        assert!(TxnIndex::parse(Offset(0), &[&bytes[34..], &bytes[..34]].concat()).is_err());
        assert!(TxnIndex::parse(Offset(0), &[1; 34]).is_err());
    }

    proptest! {
        #[test]
        fn round_trips_and_truncates(
            steps in prop::collection::vec((0i64..20, 1i64..20), 0..40),
            cut in 0i64..800,
        ) {
            let mut index = TxnIndex::new();
            let mut last = 0;
            for (back, by) in steps {
                last += by;
                let _ = index.append(aborted((last - back).max(0), last, last + 1));
            }
            prop_assert_eq!(&TxnIndex::parse(Offset(0), &index.encode()).unwrap(), &index);
            let kept: Vec<_> = index.entries().iter().filter(|entry| entry.last_offset.0 < cut).copied().collect();
            index.truncate_to(Offset(cut));
            prop_assert_eq!(index.entries(), &kept[..]);
        }
    }
}
