//! The cross matrix: every reader reads what every writer wrote, with every codec that the writer has.

use std::collections::BTreeMap;

use super::bench::{Bench, Writing, Written};
use super::cases::peculiar;
use super::client::{Client, Stop};
use super::judge::{content_hash, counts, expect_same};
use crate::records::{Random, Record};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// What one writer wrote, and where.
#[derive(Debug)]
pub struct Sent {
    topic: String,
    records: Vec<Record>,
    timestamps: bool,
}

/// Writes the peculiar records, or text where the client cannot carry those, with each codec.
pub fn write(bench: &Bench, writer: &Client) -> Result<Sent, Stop> {
    let topic = bench.topic("matrix", 2, &[])?;
    let mut done = Sent { topic, records: Vec::new(), timestamps: true };
    let mut reason = None;
    for codec in CODECS {
        for set in [peculiar(), text(codec)] {
            match bench.write(writer, &done.topic, &set, Writing { codec, ..Writing::default() }) {
                Ok(written) => {
                    done.records.extend(set);
                    done.timestamps &= written.timestamps;
                }
                Err(Stop::Unsupported(why)) => reason = Some(why),
                Err(other) => return Err(other),
            }
        }
    }
    match reason {
        Some(why) if done.records.is_empty() => Err(Stop::Unsupported(why)),
        _ => Ok(done),
    }
}

/// Reads all of it and compares by hash, then record by record to say what differs.
pub fn read(bench: &Bench, reader: &Client, sent: &Sent) -> Result<(), Stop> {
    let read = bench.read(reader, &sent.topic, &BTreeMap::new(), &counts(&sent.records))?;
    let written = Written { offsets: None, timestamps: sent.timestamps };
    expect_same(&sent.records, &written, &read, &BTreeMap::new())?;
    let (wanted, got) = (content_hash(&sent.records), content_hash(&read.records));
    if wanted == got || read.blurs_nulls {
        Ok(())
    } else {
        Err(Stop::Failed(format!("hash {got:016x} in place of {wanted:016x}")))
    }
}

fn text(codec: &str) -> Vec<Record> {
    let mut random = Random::new(11);
    let record = |number| {
        let key = format!("{codec}-{number}");
        Record::new(number % 2, Some(key.as_bytes()), Some(&random.letters(50)))
    };
    (0..100).map(record).collect()
}
