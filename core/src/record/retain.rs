//! What compaction leaves of a batch: some of its records, or its header alone.
//!
//! A batch keeps its base offset, last offset, producer, epoch, sequence and leader epoch, whatever goes (KIP-98).
//! Records that stay keep their bytes, unless a delete horizon takes the place of the base timestamp (KIP-534): then
//! the timestamp deltas are written anew.

use super::NO_TIMESTAMP;
use super::builder::{self, BatchBuilder, BatchOptions};
use super::compression::Compression;
use super::header::{BatchHeader, HEADER_LEN, RecordBatch, TimestampType};
use super::records::{RecordProblem, Records};

/// The batch with those of its records that `kept` says, in order, and with this delete horizon.
///
/// `inflated` are its records' bytes.
pub fn retain(
    batch: &RecordBatch<'_>,
    inflated: &[u8],
    kept: &[bool],
    delete_horizon_ms: Option<i64>,
) -> Result<Vec<u8>, RecordProblem> {
    let header = batch.header();
    let compression = header.attributes.codec()?.at_default_level();
    if delete_horizon_ms != header.delete_horizon_ms() {
        return rebuilt(header, inflated, kept, delete_horizon_ms, compression);
    }
    let mut records = Records::new(header, inflated);
    let mut bytes = vec![0; HEADER_LEN];
    let (mut count, mut max_timestamp) = (0, NO_TIMESTAMP);
    let mut start = 0;
    for &is_kept in kept {
        let Some(record) = records.next().transpose()? else { break };
        let end = inflated.len() - records.remaining();
        if is_kept {
            bytes.extend_from_slice(&inflated[start..end]);
            count += 1;
            max_timestamp = max_timestamp.max(record.timestamp);
        }
        start = end;
    }
    if compression != Compression::None {
        let mut compressed = vec![0; HEADER_LEN];
        compression.compress(&bytes[HEADER_LEN..], &mut compressed);
        bytes = compressed;
    }
    builder::seal(&mut bytes, BatchHeader { record_count: count, max_timestamp, ..*header });
    Ok(bytes)
}

/// The header alone, which says that there were records up to the last offset, and whose.
pub fn emptied(header: &BatchHeader) -> Vec<u8> {
    let attributes = header.attributes.with_codec(super::Codec::None).with_delete_horizon(false);
    let header = BatchHeader { attributes, base_timestamp: NO_TIMESTAMP, record_count: 0, ..*header };
    let mut bytes = vec![0; HEADER_LEN];
    builder::seal(&mut bytes, header);
    bytes
}

fn rebuilt(
    header: &BatchHeader,
    inflated: &[u8],
    kept: &[bool],
    delete_horizon_ms: Option<i64>,
    compression: Compression,
) -> Result<Vec<u8>, RecordProblem> {
    let stamped = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: header.base_offset,
        leader_epoch: header.leader_epoch,
        compression,
        append_time: stamped.then_some(header.max_timestamp),
        producer: header.producer,
        transactional: header.attributes.is_transactional(),
        control: header.attributes.is_control(),
        delete_horizon_ms,
    });
    for (record, _) in Records::new(header, inflated).zip(kept).filter(|(_, kept)| **kept) {
        builder.append_record(&record?);
    }
    builder.keep_last_offset_delta(header.last_offset_delta);
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::super::{BatchFacts, Codec, NewRecord, Producer, scan_batch};
    use super::*;
    use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    const PRODUCER: Producer = Producer { id: ProducerId(9), epoch: ProducerEpoch(2), base_sequence: 40 };

    fn batch(codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: Offset(100),
            leader_epoch: LeaderEpoch(5),
            compression: codec.at_default_level(),
            producer: PRODUCER,
            ..BatchOptions::default()
        });
        for timestamp in [70, 90, 80, 60] {
            let headers = [(&b"h"[..], None)];
            builder.append(&NewRecord { timestamp, key: Some(b"k"), value: Some(b"value"), headers: &headers });
        }
        builder.build()
    }

    fn facts(bytes: &[u8]) -> BatchFacts {
        scan_batch(&RecordBatch::first_of(bytes).unwrap(), 1 << 20).unwrap()
    }

    #[test]
    fn some_records_stay_as_they_are() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            for horizon in [None, Some(1_000_000)] {
                let old = batch(codec);
                let old = RecordBatch::first_of(&old).unwrap();
                let mut scratch = Vec::new();
                let inflated = old.inflated(&mut scratch, 1 << 20).unwrap();
                let new = retain(&old, inflated, &[true, false, true, false], horizon).unwrap();
                let new = RecordBatch::first_of(&new).unwrap();
                new.check_crc().unwrap();
                let header = new.header();
                assert_eq!((header.base_offset, header.last_offset()), (Offset(100), Offset(103)));
                assert_eq!((header.producer, header.leader_epoch), (PRODUCER, LeaderEpoch(5)));
                assert_eq!((header.record_count, header.max_timestamp), (2, 80));
                assert_eq!(header.attributes.codec(), Ok(codec));
                assert_eq!(header.delete_horizon_ms(), horizon);
                let mut inflated = Vec::new();
                let left: Vec<_> = new.records(&mut inflated, 1 << 20).unwrap().map(Result::unwrap).collect();
                let was: Vec<_> = Records::new(old.header(), old.inflated(&mut scratch.clone(), 1 << 20).unwrap())
                    .map(|record| record.map(|record| (record.offset, record.timestamp, record.sequence)).unwrap())
                    .collect();
                let left: Vec<_> =
                    left.iter().map(|record| (record.offset, record.timestamp, record.sequence)).collect();
                assert_eq!(left, [was[0], was[2]]);
            }
        }
    }

    #[test]
    fn an_empty_batch_says_where_it_was_and_whose() {
        let bytes = emptied(RecordBatch::first_of(&batch(Codec::Lz4)).unwrap().header());
        assert_eq!(bytes.len(), HEADER_LEN);
        let facts = facts(&bytes);
        assert_eq!((facts.record_count, facts.base_offset, facts.last_offset_delta), (0, Offset(100), 3));
        assert_eq!((facts.producer, facts.attributes.codec()), (PRODUCER, Ok(Codec::None)));
    }
}
