//! What every client must be able to do.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::bench::{Bench, Offsets, Seen, Writing, Written};
use super::client::{Client, Stop};
use super::judge::{counts, expect_equal, expect_same};
use crate::records::{Random, Record};

/// A case: its name on the command line, and what is done.
pub type Case = (&'static str, fn(&Bench, &Client) -> Result<(), Stop>);

/// Kafka's error codes that cases expect.
const UNKNOWN_TOPIC_OR_PARTITION: i64 = 3;
const MESSAGE_TOO_LARGE: i64 = 10;

/// All cases in the order of the table.
pub const CASES: &[Case] = &[
    ("one", |bench, client| round_trip(bench, client, &bulk(1, 1), Writing::default())),
    ("codec-none", |bench, client| with_codec(bench, client, "none")),
    ("codec-gzip", |bench, client| with_codec(bench, client, "gzip")),
    ("codec-snappy", |bench, client| with_codec(bench, client, "snappy")),
    ("codec-lz4", |bench, client| with_codec(bench, client, "lz4")),
    ("codec-zstd", |bench, client| with_codec(bench, client, "zstd")),
    ("content", |bench, client| round_trip(bench, client, &peculiar(), Writing::default())),
    ("null-record", |bench, client| round_trip(bench, client, &[Record::new(0, None, None)], Writing::default())),
    ("null-header", null_header),
    ("big", big),
    ("too-large", too_large),
    ("acks-0", |bench, client| with_acks(bench, client, "0")),
    ("acks-1", |bench, client| with_acks(bench, client, "1")),
    ("idempotent", idempotent),
    ("keys", keys),
    ("from-offset", from_offset),
    ("by-timestamp", by_timestamp),
    ("log-append-time", log_append_time),
    ("auto-create", auto_create),
    ("unknown-topic", unknown_topic),
    ("admin", admin),
    ("million", million),
];

/// What a client gets wrong with every broker: shown as n/a.
pub const KNOWN_DEFECTS: &[(&str, &str, &str)] = &[
    ("aiokafka", "unknown-topic", "its admin client's metadata request creates the topic"),
    ("kcat", "unknown-topic", "its metadata request for one topic creates it"),
    ("kafka-go", "acks-0", "it sends batches that it does not wait for over several connections, in any order"),
    ("kafka-go", "log-append-time", "it reads the record's own time, whatever the batch says"),
];

/// `count` records of text over `partitions` partitions, each with a key, 100 letters and one header.
fn bulk(count: u64, partitions: u64) -> Vec<Record> {
    let mut random = Random::new(count);
    (0..count)
        .map(|number| {
            let partition = i32::try_from(random.below(partitions)).unwrap_or(0);
            let key = format!("key-{number}");
            let mut record = Record::new(partition, Some(key.as_bytes()), Some(&random.letters(100)));
            record.headers = vec![("source".to_owned(), Some(b"interop".to_vec()))];
            record
        })
        .collect()
}

/// One of each peculiar record; with timestamps. Text only, so that kcat can carry it too, but for the last ones.
pub fn peculiar() -> Vec<Record> {
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let mut records = vec![
        Record::new(0, Some(b"key"), Some(b"value")),
        Record::new(0, None, Some(b"a null key")),
        Record::new(0, Some(b"a tombstone"), None),
        Record::new(0, Some(b"an empty value"), Some(b"")),
        Record::new(0, Some(b""), Some(b"an empty key")),
        Record::new(1, Some(b""), Some(b"")),
        Record::new(1, Some("clé".as_bytes()), Some("valeur … 漢字 🦦".as_bytes())),
        Record::new(1, Some(&[0, 255, 10, 9, 13]), Some(&[0, 1, 2, 254, 255, 10, 13])),
    ];
    let mut with_headers = Record::new(1, Some(b"headers"), Some(b"of all kinds"));
    with_headers.headers = vec![
        header("twice", Some(b"first")),
        header("twice", Some(b"second")),
        header("empty", Some(b"")),
        header("binary", Some(&[255, 128])),
        header("ключ", Some("значение".as_bytes())),
    ];
    records.push(with_headers);
    for (number, record) in (0..).zip(&mut records) {
        record.timestamp = 1_700_000_000_000 + 1_000 * number;
    }
    records
}

/// Writes with the client; reads with it too, or with the reference where it cannot.
fn round_trip(bench: &Bench, client: &Client, records: &[Record], how: Writing) -> Result<(), Stop> {
    let partitions = counts(records).keys().max().map_or(1, |last| last + 1);
    let topic = bench.topic("round-trip", partitions, &[])?;
    write_and_check(bench, client, &topic, records, how)
}

fn write_and_check(bench: &Bench, client: &Client, topic: &str, records: &[Record], how: Writing) -> Result<(), Stop> {
    let written = bench.write(client, topic, records, how)?;
    let read = read_back(bench, client, topic, records)?;
    expect_same(records, &written, &read, &BTreeMap::new())
}

fn read_back(bench: &Bench, client: &Client, topic: &str, records: &[Record]) -> Result<Seen, Stop> {
    let (starts, counts) = (BTreeMap::new(), counts(records));
    match bench.read(client, topic, &starts, &counts) {
        Err(Stop::Unsupported(_)) => bench.read(bench.reference(), topic, &starts, &counts),
        other => other,
    }
}

fn with_codec(bench: &Bench, client: &Client, codec: &'static str) -> Result<(), Stop> {
    round_trip(bench, client, &bulk(1_000, 3), Writing { codec, ..Writing::default() })
}

fn with_acks(bench: &Bench, client: &Client, acks: &'static str) -> Result<(), Stop> {
    round_trip(bench, client, &bulk(1_000, 2), Writing { acks, ..Writing::default() })
}

fn idempotent(bench: &Bench, client: &Client) -> Result<(), Stop> {
    round_trip(bench, client, &bulk(5_000, 3), Writing { idempotent: true, ..Writing::default() })
}

fn null_header(bench: &Bench, client: &Client) -> Result<(), Stop> {
    let mut record = Record::new(0, None, Some(b"value"));
    record.headers = vec![("null".to_owned(), None), ("empty".to_owned(), Some(Vec::new()))];
    round_trip(bench, client, &[record], Writing::default())
}

/// Values up to just below the default `max.message.bytes` of 1,048,588.
fn big(bench: &Bench, client: &Client) -> Result<(), Stop> {
    let mut random = Random::new(7);
    let topic = bench.topic("big", 1, &[])?;
    let mut records = Vec::new();
    for length in [100_000, 1_000_000, 1, 1_048_400] {
        let record = Record::new(0, Some(b"big"), Some(&random.letters(length)));
        // One call each: no client may put two of them into a batch.
        bench.write(client, &topic, std::slice::from_ref(&record), Writing::default())?;
        records.push(record);
    }
    let read = read_back(bench, client, &topic, &records)?;
    expect_same(&records, &Written { offsets: None, timestamps: true }, &read, &BTreeMap::new())
}

/// A record above the topic's `max.message.bytes` is refused by name, and the partition goes on.
fn too_large(bench: &Bench, client: &Client) -> Result<(), Stop> {
    let topic = bench.topic("too-large", 1, &[("max.message.bytes", "100000")])?;
    let large = Record::new(0, Some(b"large"), Some(&Random::new(1).letters(200_000)));
    match bench.write(client, &topic, &[large], Writing::default()) {
        Err(Stop::Refused { code: MESSAGE_TOO_LARGE, .. }) => {}
        Err(Stop::Unsupported(why)) => return Err(Stop::Unsupported(why)),
        other => return Err(Stop::Failed(format!("expected MESSAGE_TOO_LARGE (10), got {other:?}"))),
    }
    write_and_check(bench, client, &topic, &bulk(10, 1), Writing::default())
}

/// A key's partition is that of the Java producer: its default partitioner's for these keys and seven partitions.
fn keys(bench: &Bench, client: &Client) -> Result<(), Stop> {
    const PARTITIONS: &str = "20655406042242622321506140160145501332151032221562661362014345534661011530106603";
    if !["java", "ottla"].contains(&client.name) {
        return Err(Stop::Unsupported("its partitioner is another, or its script chooses partitions".to_owned()));
    }
    let letter = |length: u32, place: u32| char::from_u32(u32::from(b'a') + (length * 7 + place * 3) % 26);
    let key = |length: u32| (0..length).filter_map(|place| letter(length, place)).collect::<String>();
    let keys = (0..80).map(key);
    let records: Vec<_> = keys.map(|key| Record::new(-1, Some(key.as_bytes()), Some(b"value"))).collect();
    let topic = bench.topic("keys", 7, &[])?;
    let written = bench.write(client, &topic, &records, Writing::default())?;
    let partitions = written.offsets.unwrap_or_default().iter().map(|(partition, _)| partition.to_string()).collect();
    expect_equal("the partitions of the keys", &PARTITIONS.to_owned(), &partitions)
}

/// From the middle of a batch.
fn from_offset(bench: &Bench, client: &Client) -> Result<(), Stop> {
    let topic = bench.topic("from-offset", 1, &[])?;
    let records = bulk(100, 1);
    let mut written =
        bench.write(bench.reference(), &topic, &records, Writing { codec: "lz4", ..Writing::default() })?;
    let starts = BTreeMap::from([(0, 37)]);
    let read = bench.read(client, &topic, &starts, &BTreeMap::from([(0, 63)]))?;
    written.offsets = None;
    expect_same(&records[37..], &written, &read, &starts)
}

/// Looks up offsets by time, inside batches and at their borders, and outside of all.
fn by_timestamp(bench: &Bench, client: &Client) -> Result<(), Stop> {
    let topic = bench.topic("by-timestamp", 1, &[])?;
    let mut records = bulk(150, 1);
    let start = now_ms() - 3_600_000;
    for (number, record) in (0..).zip(&mut records) {
        record.timestamp = start + 1_000 * number;
    }
    for batch in records.chunks(50) {
        bench.write(bench.reference(), &topic, batch, Writing::default())?;
    }
    let wanted = [(start - 1, 0), (start, 0), (start + 49_001, 50), (start + 120_500, 121), (start + 149_000, 149)];
    for (timestamp, at) in wanted.into_iter().chain([(start + 149_001, -1)]) {
        let expected = Offsets { earliest: 0, latest: 150, at };
        let got = bench.offsets(client, &topic, 0, timestamp)?;
        expect_equal(&format!("offsets for {timestamp} (first record: {start}, one a second)"), &expected, &got)?;
    }
    Ok(())
}

/// The broker's clock replaces the client's, in compressed batches too.
fn log_append_time(bench: &Bench, client: &Client) -> Result<(), Stop> {
    let topic = bench.topic("log-append-time", 1, &[("message.timestamp.type", "LogAppendTime")])?;
    let mut records = bulk(100, 1);
    records.iter_mut().for_each(|record| record.timestamp = 1_000_000_000_000);
    let before = now_ms();
    let mut written = bench.write(client, &topic, &records, Writing { codec: "gzip", ..Writing::default() })?;
    let after = now_ms();
    written.timestamps = false;
    for reader in [client, bench.reference()] {
        let read = match bench.read(reader, &topic, &BTreeMap::new(), &counts(&records)) {
            Err(Stop::Unsupported(_)) => continue,
            other => other?,
        };
        expect_same(&records, &written, &read, &BTreeMap::new())?;
        if let Some(wrong) = read.records.iter().find(|record| !(before..=after).contains(&record.timestamp)) {
            let text = format!("{} read a time outside {before}..={after}: {wrong:?}", reader.name);
            return Err(Stop::Failed(text));
        }
    }
    Ok(())
}

fn auto_create(bench: &Bench, client: &Client) -> Result<(), Stop> {
    let topic = bench.fresh_name("auto-create");
    write_and_check(bench, client, &topic, &bulk(10, 1), Writing::default())?;
    expect_equal("partitions of the topic", &1, &bench.partitions(bench.reference(), &topic)?)
}

/// The question names the error, and does not create the topic.
fn unknown_topic(bench: &Bench, client: &Client) -> Result<(), Stop> {
    let topic = bench.fresh_name("unknown");
    for asked in [client, bench.reference()] {
        match bench.partitions(asked, &topic) {
            Err(Stop::Refused { code: UNKNOWN_TOPIC_OR_PARTITION, .. }) => {}
            Err(Stop::Unsupported(why)) => return Err(Stop::Unsupported(why)),
            other => {
                let text = format!("{}: expected UNKNOWN_TOPIC_OR_PARTITION (3), got {other:?}", asked.name);
                return Err(Stop::Failed(text));
            }
        }
    }
    Ok(())
}

fn admin(bench: &Bench, client: &Client) -> Result<(), Stop> {
    let mut got = bench.admin(client, &bench.fresh_name("admin"))?;
    got["ok"].take();
    let expected = json!({ "ok": null, "listed": true, "partitions": 5, "config": "3600000", "deleted": true });
    expect_equal("the admin API", &expected, &got)
}

fn million(bench: &Bench, client: &Client) -> Result<(), Stop> {
    if !client.is_fast {
        return Err(Stop::Unsupported("too slow for a million records".to_owned()));
    }
    round_trip(bench, client, &bulk(1_000_000, 4), Writing { codec: "lz4", ..Writing::default() })
}

/// The wall clock, in ms since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
