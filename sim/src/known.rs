//! Batches that were read before. What their records hold is a function of their bytes, so bytes that come again,
//! for another reader or after a seek, are recognised by their digest, and neither checked nor inflated anew.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use ottla_core::record::RecordBatch;
use xxhash_rust::xxh3::xxh3_128;

use crate::history::{TOMBSTONE_NUMBER, ValueId};

/// The batches that were read, never looked at in order.
#[derive(Clone, Debug, Default)]
pub struct KnownBatches {
    values: HashMap<u128, Values, BuildHasherDefault<OfDigest>>,
    scratch: Vec<u8>,
}

/// The records of a batch: each one's offset, and its value's number; 0 if it has none.
pub type Values = Arc<[(i64, ValueId)]>;

/// The most that a batch is inflated to.
const INFLATED: u64 = 64 << 20;

/// A digest is a hash already.
#[derive(Clone, Copy, Debug, Default)]
struct OfDigest(u64);

impl Hasher for OfDigest {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a digest is a number");
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = u64::try_from(digest >> 64).expect("half of 128 bits");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl KnownBatches {
    /// What a batch holds; nothing if it is a control batch. `None` if its CRC is wrong, or it cannot be read.
    pub fn values(&mut self, batch: &RecordBatch<'_>) -> Option<Values> {
        let digest = xxh3_128(batch.bytes());
        if let Some(values) = self.values.get(&digest) {
            return Some(Arc::clone(values));
        }
        let values = self.read(batch)?;
        self.values.insert(digest, Arc::clone(&values));
        Some(values)
    }

    fn read(&mut self, batch: &RecordBatch<'_>) -> Option<Values> {
        batch.check_crc().ok()?;
        if batch.header().attributes.is_control() {
            return Some(Arc::default());
        }
        let records = batch.records(&mut self.scratch, INFLATED).ok()?;
        let read = records.map(|record| {
            let record = record.ok()?;
            let of_tombstone = || record.headers.iter().find(|(name, _)| *name == TOMBSTONE_NUMBER)?.1;
            Some((record.offset.0, number(record.value.or_else(of_tombstone))))
        });
        read.collect()
    }
}

/// The number that a value, or the header of a tombstone, begins with; 0 if it is too short for one.
pub fn number(bytes: Option<&[u8]>) -> ValueId {
    bytes.and_then(|bytes| bytes.first_chunk::<8>()).map_or(0, |id| u64::from_be_bytes(*id))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_core::record::batches;

    use super::*;
    use crate::invariants::test_batch;

    fn read(known: &mut KnownBatches, bytes: &Bytes) -> Option<Vec<(i64, ValueId)>> {
        let batch = batches(bytes).next().expect("a batch").expect("a header that can be read");
        known.values(&batch).map(|values| values.to_vec())
    }

    #[test]
    fn the_same_bytes_are_the_same_values_and_other_bytes_are_looked_at() {
        let mut known = KnownBatches::default();
        let batch = test_batch(7, 0, &[&5_u64.to_be_bytes(), b"short"]);
        for _ in 0..2 {
            assert_eq!(read(&mut known, &batch), Some(vec![(7, 5), (8, 0)]));
        }
        let mut rotten = batch.to_vec();
        *rotten.last_mut().expect("it is not empty") ^= 1;
        assert_eq!(read(&mut known, &rotten.into()), None);
        let elsewhere = test_batch(9, 0, &[&5_u64.to_be_bytes(), b"short"]);
        assert_eq!(read(&mut known, &elsewhere), Some(vec![(9, 5), (10, 0)]));
    }
}
