//! Batches as real clients sent them: each must be read, and come through every codec unharmed.
//!
//! `golden/batches/<client>-<codec>.bin` are the record fields of one Produce request each, of four records with
//! key `key-N`, twelve times `value-N `, one header and the timestamp 1700000000000. The clients: Java 4.3.1,
//! librdkafka 2.16 (by confluent-kafka), franz-go 1.22, Sarama 1.61, kafka-go 0.4.51, kafka-python 3.0,
//! aiokafka 0.14 and kafkajs 2.2. librdkafka, franz-go and kafkajs send raw snappy, the others framed.

use std::path::Path;

use ottla_core::record::{Codec, RecordBatch, Rewrite, Stamp, TimestampType, TopicPolicy, rewrite, scan, validate};

const LIMIT: u64 = 1 << 20;
const TIME: i64 = 1_700_000_000_000;
const CODECS: [(&str, Codec); 5] = [
    ("none", Codec::None),
    ("gzip", Codec::Gzip),
    ("snappy", Codec::Snappy),
    ("lz4", Codec::Lz4),
    ("zstd", Codec::Zstd),
];

#[test]
fn every_clients_batches_are_taken_and_read() {
    let mut seen = 0;
    each(|name, bytes| {
        let facts = scan(bytes, LIMIT).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (_, codec) = CODECS.iter().find(|(suffix, _)| name.ends_with(suffix)).expect("a codec");
        assert_eq!(facts.attributes.codec(), Ok(*codec), "{name}");
        let policy = TopicPolicy {
            max_message_bytes: 1 << 20,
            compacted: true,
            timestamp_type: TimestampType::CreateTime,
            before_max_ms: 0,
            after_max_ms: 0,
            compression: None,
        };
        let accepted = validate(&facts, &policy, 7, TIME);
        let accepted = accepted.unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        assert_eq!(accepted.rewrite, Rewrite::Keep, "{name}");
        check_records(name, bytes);
        seen += 1;
    });
    assert_eq!(seen, 38);
}

#[test]
fn every_clients_batches_come_through_every_codec() {
    each(|name, bytes| {
        let batch = RecordBatch::first_of(bytes).expect("a whole batch");
        for (_, codec) in CODECS {
            let how = Rewrite::Recompress {
                compression: codec.at_default_level(),
                stamp: Stamp { timestamp_type: TimestampType::CreateTime, max_timestamp: TIME },
            };
            let out = rewrite(&batch, &how, 1 << 20, LIMIT).expect("a good batch");
            assert_eq!(scan(&out, LIMIT).expect("a good batch").attributes.codec(), Ok(codec));
            check_records(name, &out);
        }
    });
}

fn check_records(name: &str, bytes: &[u8]) {
    let batch = RecordBatch::first_of(bytes).expect("a whole batch");
    let mut scratch = Vec::new();
    let records = batch.records(&mut scratch, LIMIT).expect("it was scanned");
    let mut count = 0;
    for (index, record) in records.enumerate() {
        let record = record.expect("it was scanned");
        let value = format!("value-{index} ").repeat(12);
        assert_eq!(record.key, Some(format!("key-{index}").as_bytes()), "{name}");
        assert_eq!(record.value, Some(value.as_bytes()), "{name}");
        assert_eq!(record.timestamp, TIME, "{name}");
        let headers: Vec<_> = record.headers.iter().collect();
        assert_eq!(headers, [(&b"header"[..], Some(format!("h{index}").as_bytes()))], "{name}");
        count += 1;
    }
    assert_eq!(count, 4, "{name}");
}

fn each(mut check: impl FnMut(&str, &[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/batches");
    for entry in directory.read_dir().expect("the golden batches are in the repository") {
        let path = entry.expect("a readable directory").path();
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        check(&name, &std::fs::read(&path).expect("a readable file"));
    }
}
