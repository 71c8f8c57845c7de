//! `ottla bench`: how fast a broker, any broker, takes and gives records.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use ottla_core::rng::Rng;
use serde_json::json;

use super::progress::Progress;
use super::{ClientArgs, OutputArgs, ProducerArgs, block_on, bounds, explain, reach, table};
use crate::cli::{Failure, Output, print};
use crate::client::{
    Admin, ClientConfig, Consumer, Error, ErrorCode, NewTopic, Offset, ProduceRecord, Producer, Start, TopicPartition,
};

/// Records that are handed in at once, at most.
const TOGETHER: u64 = 4_000;
/// What they take of `buffer.memory`, at most.
const BYTES_TOGETHER: u64 = 4 << 20;
/// What each takes beside its value.
const OVERHEAD: u64 = 36;
/// What values are cut from: bytes that no codec makes smaller.
const NOISE: usize = 1 << 20;
/// How long nothing may come before the broker is given up.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(in crate::cli) struct BenchArgs {
    /// The topic, which is made if it is not there; one of its own, deleted afterwards, if not given
    #[arg(short, long)]
    topic: Option<String>,
    /// How many records
    #[arg(short = 'n', long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// How many bytes each value has
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    size: u32,
    /// How many partitions a topic gets that is made
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    #[command(flatten)]
    producer: ProducerArgs,
    /// Only one of both
    #[arg(long, value_enum)]
    only: Option<Work>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    Produce,
    Consume,
}

/// What was measured.
struct Measured {
    work: &'static str,
    records: u64,
    bytes: u64,
    time: Duration,
}

pub(in crate::cli) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let config = config(args)?;
    let measured = block_on(async {
        reach(&config).await?;
        let admin = Admin::new(&config).map_err(Failure::new)?;
        let name = args.topic.clone().unwrap_or_else(|| format!("ottla-bench-{}", std::process::id()));
        prepare(&admin, &name, args).await?;
        let measured = tokio::select! {
            measured = measure(&admin, &config, &name, args) => measured,
            _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
        };
        if args.topic.is_none() {
            let deleted = admin.delete_topic(&name).await;
            deleted.map_err(|error| Failure::new(explain(&format!("topic {name}"), &error)))?;
        }
        measured
    })?;
    print(&match args.output.output {
        Output::Table => as_table(&measured),
        Output::Json => {
            let object = |it: &Measured| {
                let seconds = it.time.as_secs_f64();
                json!({ "work": it.work, "records": it.records, "bytes": it.bytes, "seconds": seconds })
            };
            super::json(&measured.iter().map(object).collect())?
        }
    })
}

fn config(args: &BenchArgs) -> Result<ClientConfig, Failure> {
    let mut own = vec![
        ("batch.size", "1000000"),
        ("buffer.memory", "67108864"),
        ("auto.offset.reset", "earliest"),
        ("max.poll.records", "4000"),
        ("max.partition.fetch.bytes", "4194304"),
    ];
    own.extend(args.producer.properties());
    args.client.config(&own)
}

async fn prepare(admin: &Admin, name: &str, args: &BenchArgs) -> Result<(), Failure> {
    let topic = NewTopic { name: name.into(), partitions: Some(args.partitions), ..NewTopic::default() };
    match admin.create_topic(topic).await {
        Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(()),
        created => created.map(|_| ()).map_err(|error| Failure::new(explain(&format!("topic {name}"), &error))),
    }
}

async fn measure(admin: &Admin, config: &ClientConfig, name: &str, args: &BenchArgs) -> Result<Vec<Measured>, Failure> {
    let explain = |error: Error| Failure::new(explain(&format!("topic {name}"), &error));
    let described = admin.describe_topics(&[name]).await.map_err(explain)?;
    let partitions = described.topics.iter().flat_map(|topic| &topic.partitions);
    let partitions: Vec<_> = partitions.map(|partition| TopicPartition::new(name, partition.index)).collect();
    let before = bounds(admin, &partitions).await.into_iter().collect::<Result<Vec<_>, _>>().map_err(explain)?;
    let mut measured = Vec::new();
    if args.only != Some(Work::Consume) {
        measured.push(produce(config, name, args).await?);
    }
    if args.only != Some(Work::Produce) {
        // What was there before is read only if nothing is written.
        let from = |(start, end): (Offset, Offset)| if args.only.is_none() { end } else { start };
        let places = partitions.into_iter().zip(before.into_iter().map(from)).collect();
        measured.push(consume(config, places, args).await?);
    }
    Ok(measured)
}

async fn produce(config: &ClientConfig, name: &str, args: &BenchArgs) -> Result<Measured, Failure> {
    let producer = Producer::new(config).map_err(Failure::new)?;
    let progress = Progress::new("written", Some(args.records), true);
    let noise = noise();
    let template = ProduceRecord { topic: name.into(), ..ProduceRecord::default() };
    let size = usize::try_from(args.size).unwrap_or(NOISE);
    let (mut at, mut made, mut under_way) = (0, 0, std::collections::VecDeque::new());
    let begun = Instant::now();
    while made < args.records {
        let count = together(args.size).min(args.records - made);
        let records = (0..count).map(|_| {
            at = (at + 61) % (NOISE - size);
            ProduceRecord { value: Some(noise.slice(at..at + size)), ..template.clone() }
        });
        under_way.push_back(producer.enqueue_all(records.collect()).await.map_err(Failure::new)?);
        made += count;
        if under_way.len() > 64 {
            settle(under_way.pop_front()).await?;
        }
        progress.set(made);
    }
    producer.flush().await.map_err(Failure::new)?;
    let time = begun.elapsed();
    for deliveries in under_way {
        settle(Some(deliveries)).await?;
    }
    progress.finish();
    Ok(Measured { work: "produce", records: made, bytes: made * u64::from(args.size), time })
}

/// How many records of this size are handed in at once: no more than a few batches hold, or all of them would wait for
/// room, and one by one be as long as they are many.
fn together(size: u32) -> u64 {
    TOGETHER.min(BYTES_TOGETHER / (u64::from(size) + OVERHEAD)).max(1)
}

async fn settle(deliveries: Option<crate::client::Deliveries>) -> Result<(), Failure> {
    let Some(deliveries) = deliveries else { return Ok(()) };
    match deliveries.await.map_err(Failure::new)?.failed.into_iter().next() {
        Some((_, error)) => Err(Failure::new(format!("a record was not written: {error}"))),
        None => Ok(()),
    }
}

async fn consume(
    config: &ClientConfig,
    places: Vec<(TopicPartition, Offset)>,
    args: &BenchArgs,
) -> Result<Measured, Failure> {
    let mut consumer = Consumer::new(config).map_err(Failure::new)?;
    for (partition, offset) in places {
        consumer.assign(partition, Start::Offset(offset)).map_err(Failure::new)?;
    }
    let progress = Progress::new("read", Some(args.records), true);
    let (mut records, mut bytes) = (0, 0);
    let begun = Instant::now();
    let mut last = begun;
    while records < args.records {
        let polled = consumer.poll(Duration::from_millis(500)).await.map_err(Failure::new)?;
        for record in polled.iter().flat_map(|polled| &polled.records) {
            records += 1;
            bytes += record.value.as_ref().map_or(0, Bytes::len) as u64;
        }
        if !polled.is_empty() {
            last = Instant::now();
        } else if last.elapsed() > SILENCE {
            let why = format!("only {records} of {} records are there; write more first", args.records);
            return Err(Failure::new(why));
        }
        progress.set(records);
    }
    progress.finish();
    Ok(Measured { work: "consume", records, bytes, time: last.duration_since(begun) })
}

fn noise() -> Bytes {
    let mut rng = Rng::new(1);
    (0..NOISE / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect::<Vec<_>>().into()
}

#[expect(clippy::cast_precision_loss, reason = "figures of a measurement")]
fn as_table(measured: &[Measured]) -> String {
    let row = |it: &Measured| {
        let seconds = it.time.as_secs_f64().max(1e-9);
        vec![
            it.work.to_owned(),
            it.records.to_string(),
            format!("{seconds:.2}"),
            format!("{:.0}", it.records as f64 / seconds),
            format!("{:.1}", it.bytes as f64 / seconds / 1e6),
        ]
    };
    table(&["WORK", "RECORDS", "SECONDS", "RECORDS/S", "MB/S"], measured.iter().map(row))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::client::{Acks, Codec};

    #[derive(Parser)]
    struct Bench {
        #[command(flatten)]
        args: BenchArgs,
    }

    /// The codec, and whose acknowledgement counts, under these words.
    fn configured(words: &[&str]) -> (Codec, Acks) {
        let bench = Bench::try_parse_from(["bench"].iter().chain(words)).expect("they are known");
        let producer = config(&bench.args).expect("they fit").producer;
        (producer.compression.codec(), producer.acks)
    }

    #[test]
    fn what_nobody_said_by_a_flag_is_left_to_the_properties() {
        assert_eq!(configured(&[]), (Codec::None, Acks::All));
        assert_eq!(configured(&["-z", "lz4", "-a", "0"]), (Codec::Lz4, Acks::None));
        assert_eq!(configured(&["-X", "compression.type=zstd", "-X", "acks=1"]), (Codec::Zstd, Acks::Leader));
    }

    #[test]
    fn large_records_are_handed_in_by_their_bytes() {
        assert_eq!(together(0), TOGETHER);
        assert_eq!(together(100), TOGETHER);
        assert_eq!(together(1_000_000), 4);
        assert_eq!(together(u32::MAX), 1);
    }
}
