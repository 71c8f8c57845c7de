//! What a broker may have to change in a batch before it appends it: the timestamps of the header, and the codec.
//!
//! A restamp touches 10 bytes of the header, which the CRC covers. CRCs are linear, so the new one follows
//! from the old one and the 40 header bytes that it covers, in the time of some multiplications whatever the
//! batch's length; and a batch that was damaged since its scan stays recognisably damaged. A recompression
//! moves the inflated bytes from one codec to the other; the records themselves stay as they are.
//!
//! Both are for a batch that was scanned. Restamping is cheap enough for the machine itself; recompressing
//! is the work of a job, one call a batch.

use super::builder;
use super::compression::{Codec, Compression};
use super::header::{BatchHeader, CRC_START, HEADER_LEN, Producer, RecordBatch, TimestampType};
use super::policy::{Refusal, check_size};
use super::scan::ScanError;

/// What must be changed in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// Nothing: the bytes go to the log as they came, but for the head.
    Keep,
    /// The header's timestamps: see [`restamped_header`].
    Restamp(Stamp),
    /// The codec, and with it perhaps the timestamps: see [`rewrite`].
    Recompress {
        /// The codec that the topic asks for.
        compression: Compression,
        /// The header's timestamps.
        stamp: Stamp,
    },
}

/// The two fields of a header that say what its timestamps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Whose time it is.
    pub timestamp_type: TimestampType,
    /// The greatest, in ms; every record's, if it is the broker's.
    pub max_timestamp: i64,
}

/// The header that a batch has after a restamp; its other bytes stay.
pub fn restamped_header(old: &BatchHeader, stamp: Stamp) -> [u8; HEADER_LEN] {
    resealed(
        old,
        BatchHeader {
            attributes: old.attributes.with_timestamp_type(stamp.timestamp_type),
            max_timestamp: stamp.max_timestamp,
            ..*old
        },
    )
}

/// The header that a batch has when it is sent as another producer's, or at another place of its sequence; its
/// other bytes stay.
pub fn resequenced_header(old: &BatchHeader, producer: Producer) -> [u8; HEADER_LEN] {
    resealed(old, BatchHeader { producer, ..*old })
}

/// The bytes of `header`, which takes the place of `old` before the same records.
fn resealed(old: &BatchHeader, mut header: BatchHeader) -> [u8; HEADER_LEN] {
    let covered = |header: &BatchHeader| crc32c::crc32c(&header.to_bytes()[CRC_START..]);
    let difference = covered(old) ^ covered(&header);
    let rest_len = old.size().saturating_sub(HEADER_LEN);
    header.crc = old.crc ^ crc32c::crc32c_combine(difference, 0, rest_len);
    header.to_bytes()
}

/// The batch as it is to be appended, offset and epoch apart.
///
/// `max_message_bytes` bounds the result, as a batch may grow; `inflated_limit` bounds what is inflated.
pub fn rewrite(
    batch: &RecordBatch<'_>,
    rewrite: &Rewrite,
    max_message_bytes: u32,
    inflated_limit: u64,
) -> Result<Vec<u8>, Refusal> {
    let out = match *rewrite {
        Rewrite::Keep => batch.bytes().to_vec(),
        Rewrite::Restamp(stamp) => {
            let header = restamped_header(batch.header(), stamp);
            [&header[..], batch.payload()].concat()
        }
        Rewrite::Recompress { compression, stamp } => {
            recompress(batch, compression, stamp, inflated_limit).map_err(|error| error.refusal())?
        }
    };
    check_size(u32::try_from(out.len()).unwrap_or(u32::MAX), max_message_bytes)?;
    Ok(out)
}

fn recompress(
    batch: &RecordBatch<'_>,
    compression: Compression,
    stamp: Stamp,
    inflated_limit: u64,
) -> Result<Vec<u8>, ScanError> {
    let mut out = vec![0; HEADER_LEN];
    let mut scratch = Vec::new();
    let problem = |error: super::InflateError| ScanError::Record { index: 0, problem: error.into() };
    if compression.codec() == Codec::None {
        let codec = batch.header().attributes.codec().map_err(problem)?;
        let inflated = codec.inflate(batch.payload(), inflated_limit, &mut out);
        inflated.map_err(problem)?;
    } else {
        let inflated = batch.inflated(&mut scratch, inflated_limit);
        compression.compress(inflated.map_err(problem)?, &mut out);
    }
    let old = batch.header();
    let attributes = old.attributes.with_codec(compression.codec());
    let header = BatchHeader {
        attributes: attributes.with_timestamp_type(stamp.timestamp_type),
        max_timestamp: stamp.max_timestamp,
        ..*old
    };
    builder::seal(&mut out, header);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, BatchFacts, BatchOptions, NewRecord, scan};
    use super::*;

    const LIMIT: u64 = 1 << 24;

    fn batch(codec: Codec, records: i64) -> Vec<u8> {
        let mut builder =
            BatchBuilder::new(BatchOptions { compression: codec.at_default_level(), ..BatchOptions::default() });
        for timestamp in 0..records {
            builder.append(&NewRecord { timestamp, value: Some(b"some value"), ..NewRecord::default() });
        }
        builder.build()
    }

    fn append_time(max_timestamp: i64) -> Stamp {
        Stamp { timestamp_type: TimestampType::LogAppendTime, max_timestamp }
    }

    fn facts(batch: &[u8]) -> BatchFacts {
        scan(batch, LIMIT).unwrap()
    }

    #[test]
    fn a_restamp_gives_the_crc_that_the_bytes_have() {
        for records in [0, 1, 2, 1000] {
            let old = batch(Codec::Lz4, records);
            let view = RecordBatch::first_of(&old).unwrap();
            let how = Rewrite::Restamp(append_time(77));
            let new = rewrite(&view, &how, u32::MAX, LIMIT).unwrap();
            let mut sealed = new.clone();
            builder::seal(&mut sealed, *RecordBatch::first_of(&new).unwrap().header());
            assert_eq!(new, sealed);
            assert_eq!(facts(&new).timestamps.header_max, 77);
            assert_eq!(facts(&new).timestamp_type(), TimestampType::LogAppendTime);
        }
    }

    #[test]
    fn a_restamp_does_not_hide_damage() {
        let mut old = batch(Codec::None, 9);
        *old.last_mut().unwrap() ^= 1;
        let view = RecordBatch::first_of(&old).unwrap();
        let how = Rewrite::Restamp(append_time(77));
        let new = rewrite(&view, &how, u32::MAX, LIMIT).unwrap();
        assert!(matches!(scan(&new, LIMIT), Err(ScanError::Crc { .. })));
    }

    #[test]
    fn recompression_keeps_all_but_the_codec() {
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        for (from, to) in codecs.iter().flat_map(|from| codecs.map(|to| (*from, to))) {
            let old = batch(from, 300);
            let view = RecordBatch::first_of(&old).unwrap();
            let how = Rewrite::Recompress {
                compression: to.at_default_level(),
                stamp: Stamp { timestamp_type: TimestampType::CreateTime, max_timestamp: 299 },
            };
            let new = rewrite(&view, &how, u32::MAX, LIMIT).unwrap();
            assert_eq!(new, batch(to, 300), "{from:?} to {to:?}");
        }
    }

    #[test]
    fn what_grows_past_the_limit_is_too_large() {
        let old = batch(Codec::Zstd, 300);
        let view = RecordBatch::first_of(&old).unwrap();
        let how = Rewrite::Recompress { compression: Compression::None, stamp: append_time(77) };
        let max = u32::try_from(old.len()).unwrap();
        let refusal = rewrite(&view, &how, max, LIMIT).unwrap_err();
        assert_eq!(refusal.code, ottla_wire::ErrorCode::MESSAGE_TOO_LARGE);
    }
}
