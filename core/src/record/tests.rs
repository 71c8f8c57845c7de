//! Batches through the whole of the module: built, scanned, read back; and against the `kafka-protocol` crate.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "indices of a few records"
)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::records as oracle;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::*;

const LIMIT: u64 = 1 << 24;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// A record that owns its parts.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn owned(headers: std::ops::Range<usize>) -> impl Strategy<Value = Owned> {
    let bytes = || proptest::option::of(vec(any::<u8>(), 0..200));
    (prop_oneof![-1..2_000_000_000_000_i64, Just(i64::MAX)], bytes(), bytes(), vec(("[a-z]{0,9}", bytes()), headers))
        .prop_map(|(timestamp, key, value, headers)| Owned { timestamp, key, value, headers })
}

fn build(records: &[Owned], options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            record.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
        builder.append(&NewRecord {
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        });
    }
    builder.build()
}

fn read(batch: &[u8]) -> Vec<Owned> {
    let batch = RecordBatch::first_of(batch).unwrap();
    let mut scratch = Vec::new();
    let records = batch.records(&mut scratch, LIMIT).unwrap();
    records
        .map(|record| {
            let record = record.unwrap();
            Owned {
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record
                    .headers
                    .iter()
                    .map(|(key, value)| {
                        let key = String::from_utf8(key.to_vec()).unwrap();
                        (key, value.map(<[u8]>::to_vec))
                    })
                    .collect(),
            }
        })
        .collect()
}

fn options(codec: Codec) -> BatchOptions {
    BatchOptions {
        base_offset: Offset(7),
        leader_epoch: LeaderEpoch(3),
        compression: codec.at_default_level(),
        producer: Producer { id: ProducerId(4000), epoch: ProducerEpoch(2), base_sequence: 11 },
        transactional: true,
        ..BatchOptions::default()
    }
}

/// A small batch of two records, one without a key.
fn sample(codec: Codec) -> Vec<u8> {
    let record = |timestamp, key: Option<&[u8]>| Owned {
        timestamp,
        key: key.map(<[u8]>::to_vec),
        value: Some(b"value value value value".to_vec()),
        headers: vec![("h".into(), None)],
    };
    let records = [record(1_000, Some(b"k")), record(900, None)];
    build(&records, options(codec))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_built_is_scanned_and_read_back(records in vec(owned(0..3), 1..40)) {
        for codec in CODECS {
            let batch = build(&records, options(codec));
            let facts = scan(&batch, LIMIT).unwrap();
            prop_assert_eq!(facts.record_count as usize, records.len());
            prop_assert!(facts.contiguous);
            prop_assert_eq!(facts.attributes.codec(), Ok(codec));
            prop_assert_eq!(facts.last_offset(), Offset(7 + records.len() as i64 - 1));
            let keyless = records.iter().position(|record| record.key.is_none());
            prop_assert_eq!(facts.first_keyless, keyless.map(|index| index as u32));
            let times = || records.iter().map(|record| record.timestamp);
            prop_assert_eq!(facts.timestamps.max, times().max().unwrap());
            prop_assert_eq!(facts.timestamps.header_max, facts.timestamps.max);
            let min = times().filter(|&time| time != NO_TIMESTAMP).min();
            prop_assert_eq!(facts.timestamps.min, min.unwrap_or(NO_TIMESTAMP));
            if let Some(min) = min {
                let first = times().position(|time| time == min).unwrap();
                prop_assert_eq!(facts.timestamps.min_offset_delta as usize, first);
            }
            prop_assert_eq!(&read(&batch), &records);
        }
    }

    #[test]
    fn the_oracle_reads_what_we_write(records in vec(owned(0..2), 1..20)) {
        for codec in CODECS {
            let batch = build(&records, options(codec));
            let set = oracle::RecordBatchDecoder::decode(&mut Bytes::from(batch)).unwrap();
            let read: Vec<Owned> = set.records.iter().map(of_oracle).collect();
            prop_assert_eq!(&read, &records);
            for (index, record) in set.records.iter().enumerate() {
                prop_assert_eq!(record.offset, 7 + index as i64);
                prop_assert_eq!(record.producer_id, 4000);
                prop_assert_eq!(record.producer_epoch, 2);
                prop_assert_eq!(record.sequence, 11 + index as i32);
                prop_assert_eq!(record.partition_leader_epoch, 3);
                prop_assert!(record.transactional && !record.control);
            }
        }
    }

    #[test]
    fn we_read_what_the_oracle_writes(records in vec(owned(0..2), 1..20)) {
        for codec in CODECS {
            // It writes linked LZ4 blocks, which Kafka refuses and we too.
            let compression = match codec {
                Codec::None => oracle::Compression::None,
                Codec::Gzip => oracle::Compression::Gzip,
                Codec::Snappy => oracle::Compression::Snappy,
                Codec::Lz4 => continue,
                Codec::Zstd => oracle::Compression::Zstd,
            };
            let mut out = BytesMut::new();
            let theirs: Vec<_> = records
                .iter()
                .enumerate()
                .map(|(index, record)| to_oracle(index, record))
                .collect();
            let encode = oracle::RecordEncodeOptions { version: 2, compression };
            oracle::RecordBatchEncoder::encode(&mut out, &theirs, &encode).unwrap();
            let facts = scan(&out, LIMIT).unwrap();
            prop_assert_eq!(facts.attributes.codec(), Ok(codec));
            prop_assert!(facts.contiguous);
            prop_assert_eq!(&read(&out), &records);
            // It takes the least timestamp as the base, we the first, as Kafka does.
            let least = records.iter().map(|record| record.timestamp).min();
            if codec == Codec::None && Some(records[0].timestamp) == least {
                prop_assert_eq!(&build(&records, options(codec))[..], &out[..]);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..400), codec in 0..8_u8) {
        let _ = scan(&bytes, LIMIT);
        // With the length, the magic and the CRC made right the bytes reach the record parser.
        if bytes.len() >= HEADER_LEN {
            bytes[16] = 2;
            bytes[22] = codec;
            bytes[57..61].copy_from_slice(&i32::from(codec).to_be_bytes());
            resealed(&mut bytes);
            let _ = scan(&bytes, LIMIT);
            let batch = RecordBatch::first_of(&bytes).unwrap();
            if let Ok(records) = batch.records(&mut Vec::new(), LIMIT) {
                for record in records.flatten() {
                    record.headers.iter().for_each(drop);
                }
            }
        }
    }

    #[test]
    fn the_walk_and_the_records_agree(
        records in vec(owned(0..2), 1..5),
        flips in vec((any::<prop::sample::Index>(), prop_oneof![0..20_u8, any::<u8>()]), 0..3),
    ) {
        let mut batch = build(&records, options(Codec::None));
        for (at, byte) in flips {
            let at = HEADER_LEN + at.index(batch.len() - HEADER_LEN);
            batch[at] = byte;
        }
        resealed(&mut batch);
        let view = RecordBatch::first_of(&batch).unwrap();
        let mut scratch = Vec::new();
        let read: Vec<_> = view.records(&mut scratch, LIMIT).unwrap().collect();
        match scan(&batch, LIMIT) {
            Ok(facts) => {
                let read: Vec<Record> = read.into_iter().map(Result::unwrap).collect();
                prop_assert_eq!(facts.record_count as usize, read.len());
                let keyless = read.iter().position(|record| record.key.is_none());
                prop_assert_eq!(facts.first_keyless, keyless.map(|index| index as u32));
                let max = read.iter().map(|record| record.timestamp).max().unwrap();
                prop_assert_eq!(facts.timestamps.max, max.max(NO_TIMESTAMP));
                let offsets = read.iter().map(|record| record.offset.0);
                prop_assert_eq!(facts.contiguous, offsets.eq(7..7 + records.len() as i64));
            }
            Err(ScanError::Record { problem: RecordProblem::OffsetDelta(_), .. }) => {}
            Err(error) => prop_assert!(read.iter().any(Result::is_err), "{}", error),
        }
    }

    #[test]
    fn records_longer_than_the_window_are_scanned(lens in vec(0..200_000_usize, 1..4), codec in 1..5_usize) {
        let records: Vec<Owned> = lens
            .iter()
            .map(|&len| Owned {
                timestamp: len as i64,
                key: (len % 2 == 0).then(|| vec![b'k'; len]),
                value: Some((0..len).map(|at| (at * at / 7) as u8).collect()),
                headers: vec![("h".into(), Some(vec![1; len / 2]))],
            })
            .collect();
        let batch = build(&records, options(CODECS[codec]));
        let plain = scan(&build(&records, options(Codec::None)), LIMIT).unwrap();
        let facts = scan(&batch, LIMIT).unwrap();
        prop_assert_eq!(BatchFacts { size: plain.size, attributes: plain.attributes, ..facts }, plain);
        prop_assert_eq!(&read(&batch), &records);
    }
}

fn of_oracle(record: &oracle::Record) -> Owned {
    Owned {
        timestamp: record.timestamp,
        key: record.key.as_ref().map(|key| key.to_vec()),
        value: record.value.as_ref().map(|value| value.to_vec()),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (key.to_string(), value.as_ref().map(|value| value.to_vec())))
            .collect(),
    }
}

fn to_oracle(index: usize, record: &Owned) -> oracle::Record {
    oracle::Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: 4000,
        producer_epoch: 2,
        timestamp_type: oracle::TimestampType::Creation,
        offset: 7 + index as i64,
        sequence: 11 + index as i32,
        timestamp: record.timestamp,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (key.clone().into(), value.clone().map(Bytes::from)))
            .collect(),
    }
}

/// Makes length and CRC right again.
fn resealed(batch: &mut [u8]) {
    let len = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&len.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn any_flipped_bit_that_the_leader_does_not_write_is_noticed() {
    for codec in CODECS {
        let batch = sample(codec);
        for at in (8..12).chain(16..batch.len()) {
            for bit in 0..8 {
                let mut bad = batch.clone();
                bad[at] ^= 1 << bit;
                assert!(scan(&bad, LIMIT).is_err(), "{codec:?} byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn a_batch_cut_anywhere_is_cut_and_not_malformed() {
    for codec in CODECS {
        let batch = sample(codec);
        for len in 0..batch.len() {
            let cut = batches(&batch[..len]).next();
            match len {
                0 => assert!(cut.is_none()),
                _ => assert!(matches!(cut, Some(Err(BatchError::Cut { at: 0, have, .. })) if have == len)),
            }
            assert!(scan(&batch[..len], LIMIT).is_err());
        }
    }
}

#[test]
fn compressed_records_cut_anywhere_are_refused() {
    for codec in CODECS {
        let batch = sample(codec);
        for len in HEADER_LEN..batch.len() {
            let mut cut = batch[..len].to_vec();
            resealed(&mut cut);
            assert!(matches!(scan(&cut, LIMIT), Err(ScanError::Record { .. })), "{codec:?} {len}");
        }
    }
}

#[test]
fn a_run_of_batches_is_walked_and_its_end_is_told() {
    let mut run = sample(Codec::None);
    let first = run.len();
    run.extend(sample(Codec::Zstd));
    let whole = run.len();
    run.extend(&sample(Codec::Lz4)[..30]);
    let mut walk = batches(&run);
    assert_eq!(walk.next().unwrap().unwrap().bytes(), &run[..first]);
    assert_eq!(walk.next().unwrap().unwrap().bytes(), &run[first..whole]);
    assert_eq!(walk.position(), whole);
    assert!(matches!(
        walk.next(),
        Some(Err(BatchError::Cut { at, have: 30, .. })) if at == whole
    ));
    assert!(walk.next().is_none());

    run[first + 16] = 1;
    let what = Malformation::Magic(1);
    let error = batches(&run).nth(1).unwrap().unwrap_err();
    assert_eq!(error, BatchError::Malformed { at: first, what });
    assert_eq!(scan(&run[..whole], LIMIT), Err(ScanError::Trailing(whole - first)));
}

#[test]
fn the_head_is_the_only_thing_that_a_leader_changes() {
    let batch = sample(Codec::Lz4);
    let head = BatchHead::new(Offset(1 << 40), LeaderEpoch(9), batch.len() - 16);
    let appended = [&head.0[..], &batch[16..]].concat();
    let facts = scan(&appended, LIMIT).unwrap();
    assert_eq!(facts.base_offset, Offset(1 << 40));
    assert_eq!(facts.leader_epoch, LeaderEpoch(9));
    let rest = |batch: &[u8]| BatchFacts {
        base_offset: Offset(0),
        leader_epoch: LeaderEpoch(0),
        ..scan(batch, LIMIT).unwrap()
    };
    assert_eq!(rest(&appended), rest(&batch));
}

#[test]
fn gaps_and_empty_batches_are_facts() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append_at(2, &NewRecord::default());
    builder.append_at(5, &NewRecord::default());
    builder.keep_last_offset_delta(9);
    let facts = scan(&builder.build(), LIMIT).unwrap();
    assert!(!facts.contiguous);
    assert_eq!((facts.record_count, facts.last_offset_delta), (2, 9));

    let mut empty = BatchBuilder::new(BatchOptions::default());
    empty.keep_last_offset_delta(9);
    let facts = scan(&empty.build(), LIMIT).unwrap();
    assert_eq!((facts.record_count, facts.last_offset_delta), (0, 9));
    assert_eq!(facts.timestamps.max, NO_TIMESTAMP);
}

#[test]
fn offsets_that_do_not_rise_are_refused() {
    // The second record's offset delta lies after its length, attributes and timestamp delta.
    let mut batch =
        build(&vec![Owned { timestamp: 5, key: None, value: None, headers: vec![] }; 2], BatchOptions::default());
    let second = HEADER_LEN + 7;
    assert_eq!(batch[second..], [12, 0, 0, 2, 1, 1, 0]);
    for (delta, zigzag) in [(0, 0), (-1, 1), (2, 4)] {
        batch[second + 3] = zigzag;
        resealed(&mut batch);
        let problem = RecordProblem::OffsetDelta(delta);
        assert_eq!(scan(&batch, LIMIT), Err(ScanError::Record { index: 1, problem }));
    }
}

#[test]
fn a_compression_bomb_stops_at_the_limit() {
    let record = Owned { timestamp: 0, key: None, value: Some(vec![0; 3 << 20]), headers: vec![] };
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = build(std::slice::from_ref(&record), options(codec));
        assert_eq!(scan(&batch, LIMIT).unwrap().inflated_size, (3 << 20) + 13, "{codec:?}");
        let limit = 1 << 20;
        let problem = RecordProblem::Inflate(InflateError::TooLarge { limit });
        assert_eq!(scan(&batch, limit), Err(ScanError::Record { index: 0, problem }), "{codec:?}");
        let exact = (3 << 20) + 13;
        assert!(scan(&batch, exact).is_ok());
        assert!(scan(&batch, exact - 1).is_err());
    }
}

#[test]
fn snappy_is_read_raw_and_in_concatenated_streams() {
    let plain = sample(Codec::None);
    let records = &plain[HEADER_LEN..];
    let with_payload = |payload: &[u8]| {
        let mut batch = plain[..HEADER_LEN].to_vec();
        batch[22] |= 2;
        batch.extend_from_slice(payload);
        resealed(&mut batch);
        batch
    };
    let raw = snap::raw::Encoder::new().compress_vec(records).unwrap();
    assert_eq!(read(&with_payload(&raw)), read(&plain));
    assert_eq!(scan(&with_payload(&raw), LIMIT).unwrap().inflated_size, records.len() as u64);

    let mut twice = Vec::new();
    Compression::Snappy.compress(&records[..10], &mut twice);
    Compression::Snappy.compress(&records[10..], &mut twice);
    assert_eq!(read(&with_payload(&twice)), read(&plain));

    // A declared size that no block of this length can have is not believed.
    let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    assert!(scan(&with_payload(&bomb), u64::MAX).is_err());
}

#[test]
fn linked_lz4_blocks_and_bytes_after_the_frame_are_refused() {
    let plain = sample(Codec::None);
    let with_payload = |payload: &[u8]| {
        let mut batch = plain[..HEADER_LEN].to_vec();
        batch[22] |= 3;
        batch.extend_from_slice(payload);
        resealed(&mut batch);
        scan(&batch, LIMIT)
    };
    let mut frame = Vec::new();
    Compression::Lz4(9).compress(&plain[HEADER_LEN..], &mut frame);
    assert!(with_payload(&frame).is_ok());
    frame.push(0);
    assert!(with_payload(&frame).is_err());

    let mut linked = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
    std::io::Write::write_all(&mut linked, &plain[HEADER_LEN..]).unwrap();
    assert!(with_payload(&linked.finish().0).is_err());
}

#[test]
fn every_level_is_taken() {
    let plain = sample(Codec::None);
    let records = plain[HEADER_LEN..].repeat(50);
    let levels =
        (-1..=9).map(Compression::Gzip).chain((1..=17).map(Compression::Lz4)).chain((-7..=23).map(Compression::Zstd));
    for compression in levels {
        let (mut small, mut back) = (Vec::new(), Vec::new());
        compression.compress(&records, &mut small);
        let codec = compression.codec();
        codec.inflate(&small, LIMIT, &mut back).unwrap();
        assert_eq!(back, records, "{compression:?}");
    }
}
