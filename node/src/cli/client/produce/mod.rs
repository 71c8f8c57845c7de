//! `ottla produce`: records from arguments, from a file or from standard input.
//!
//! A thread reads the input in large blocks; records are slices of a block, and all records of a block are handed to
//! the producer at once. So nothing is done for a record alone but what a record needs.

mod input;
mod json;
mod parse;

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde_json::json;

use self::input::{Blocks, Splitter};
use self::parse::Shape;
use super::progress::Progress;
use super::{ClientArgs, ProducerArgs, block_on, explain, reach};
use crate::cli::{Failure, Output, print};
use crate::client::{Delivered, Deliveries, Delivery, Error, ErrorCode, ProduceRecord, Producer};
use crate::signals;

/// What may be on its way before more is read: less than `buffer.memory`, so that nobody waits for room.
const MOST_UNDER_WAY: usize = 24 << 20;
/// How many characters JSON may take for a byte, as in \u0000.
const JSON_BYTE: usize = 6;
/// How long nothing may move before the reason is told.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(in crate::cli) struct ProduceArgs {
    /// To which topic
    topic: String,
    /// The values of records; without any, and without --file, each line of standard input is a record
    values: Vec<String>,
    /// Each line of this file is a record
    #[arg(short = 'F', long, value_name = "FILE", conflicts_with = "values")]
    file: Option<PathBuf>,
    #[command(flatten)]
    shape: ShapeArgs,
    #[command(flatten)]
    producer: ProducerArgs,
    /// Say where each record was written
    #[arg(short, long)]
    verbose: bool,
    /// How that is said
    #[arg(short = 'o', long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    client: ClientArgs,
}

/// How a line becomes a record.
#[derive(Debug, Args)]
struct ShapeArgs {
    /// The key of all records
    #[arg(short, long, conflicts_with = "key_separator")]
    key: Option<String>,
    /// What ends the key in a line; \t, \n, \r, \0 and \xNN are understood
    #[arg(short = 'K', long, value_name = "SEPARATOR", value_parser = parse::bytes)]
    key_separator: Option<Bytes>,
    /// What ends a record
    #[arg(short = 'D', long, default_value = "\\n", value_parser = parse::bytes)]
    delimiter: Bytes,
    /// A header of all records, as in -H trace=7; NAME alone is a null header; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// To which partition; by the key, or any, if not given
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// The timestamp of all records, in ms since 1970
    #[arg(long, value_name = "MS")]
    timestamp: Option<i64>,
    /// Take empty keys and values as null
    #[arg(short = 'Z', long)]
    null: bool,
    /// Each line is a JSON object as `consume -o json` writes it: value, perhaps key, headers, partition, timestamp
    #[arg(short = 'J', long, conflicts_with_all = ["key_separator", "null"])]
    json: bool,
    /// Stop after so many records
    #[arg(short = 'n', long = "count", value_name = "N")]
    count: Option<u64>,
}

pub(in crate::cli) fn run(args: &ProduceArgs) -> Result<(), Failure> {
    let shape = Shape::new(&args.topic, &args.shape).map_err(Failure::usage)?;
    // Values that are typed do not wait for others.
    let linger = if args.values.is_empty() { "5" } else { "0" };
    let mut own = vec![
        ("batch.size", "1000000"),
        ("buffer.memory", "67108864"),
        ("linger.ms", linger),
        // How long a topic is looked for, which there may not be.
        ("max.block.ms", "10000"),
    ];
    own.extend(args.producer.properties());
    let config = args.client.config(&own)?;
    block_on(async {
        let interrupted = signals::interrupted()?;
        reach(&config).await?;
        let producer = Producer::new(&config).map_err(Failure::new)?;
        let under_way = VecDeque::new();
        let most = config.producer.max_request_size;
        let longest_line = if args.shape.json { most.saturating_mul(JSON_BYTE) } else { most };
        let mut work = Work { producer, args, longest_line, under_way, weight: 0, delivered: 0, interrupted: false };
        let records = work.produce(shape, interrupted).await;
        let rest = work.finish().await;
        records.and(rest)?;
        match work.interrupted {
            // Whoever runs this has to know that not all of the input was written.
            true => Err(Failure::new(format!("interrupted after {} records", work.delivered))),
            false => Ok(()),
        }
    })
}

/// What is on its way.
struct Work<'a> {
    producer: Producer,
    args: &'a ProduceArgs,
    longest_line: usize,
    under_way: VecDeque<UnderWay>,
    /// About how many bytes of `buffer.memory` are taken.
    weight: usize,
    delivered: usize,
    /// Whether the input was left in the middle: not what is typed, which nobody else ends.
    interrupted: bool,
}

enum UnderWay {
    Together { deliveries: Deliveries, weight: usize },
    Each(Vec<Delivery>),
}

impl Work<'_> {
    /// An interruption ends the reading of the input and nothing else: what was handed in has a fate, which is told.
    async fn produce(&mut self, mut shape: Shape, interrupted: impl Future<Output = ()>) -> Result<(), Failure> {
        let args = self.args;
        if !args.values.is_empty() {
            let values = args.values.iter().map(|value| Bytes::copy_from_slice(value.as_bytes()));
            let records = values.map(|line| shape.record(line)).collect::<Result<Vec<_>, _>>();
            return self.hand_in(records.map_err(Failure::new)?).await;
        }
        let mut blocks = Blocks::open(args.file.as_deref())?;
        let typed = args.file.is_none() && io::stdin().is_terminal();
        let mut splitter = Splitter::new(args.shape.delimiter.clone(), self.longest_line);
        let progress = Progress::new("written", None, !typed && !args.verbose);
        let mut left = args.shape.count.unwrap_or(u64::MAX);
        let mut number = 0_u64;
        let mut interrupted = pin!(interrupted);
        while left > 0 {
            let block = tokio::select! {
                biased;
                () = &mut interrupted => {
                    self.interrupted = !typed;
                    break;
                }
                block = blocks.next() => block?,
            };
            let ended = block.is_none();
            let mut records = Vec::new();
            let split = splitter.split(block, &mut |line| {
                if left > 0 {
                    number += 1;
                    records.push(shape.record(line).map_err(|error| format!("line {number}: {error}"))?);
                    left -= 1;
                }
                Ok(())
            });
            // What stands before a line that is wrong is written all the same, whatever block it came with.
            self.hand_in(records).await?;
            split?;
            if typed {
                self.settle(0).await?;
            }
            progress.set(self.delivered as u64);
            if ended {
                break;
            }
        }
        progress.finish();
        Ok(())
    }

    async fn hand_in(&mut self, records: Vec<ProduceRecord>) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        if self.args.verbose || !self.args.values.is_empty() {
            let mut each = Vec::new();
            let mut refused = None;
            for record in records {
                match self.producer.enqueue(record).await {
                    Ok(delivery) => each.push(delivery),
                    Err(error) => {
                        refused = Some(self.failure(&error));
                        break;
                    }
                }
            }
            self.under_way.push_back(UnderWay::Each(each));
            return match refused {
                Some(failure) => Err(failure),
                None => self.settle(4).await,
            };
        }
        let weight = records.iter().map(ProduceRecord::buffered_size).sum();
        let deliveries = self.producer.enqueue_all(records).await.map_err(|error| self.failure(&error))?;
        self.weight += weight;
        self.under_way.push_back(UnderWay::Together { deliveries, weight });
        self.settle(usize::MAX).await
    }

    /// Waits until no more than so many blocks are on their way, and not too many bytes. A failure is told when all of
    /// these have their fate, which is told first.
    async fn settle(&mut self, blocks: usize) -> Result<(), Failure> {
        let mut settled = Ok(());
        while self.under_way.len() > blocks || self.weight > MOST_UNDER_WAY {
            let Some(first) = self.under_way.pop_front() else { break };
            let one = match first {
                UnderWay::Together { deliveries, weight } => self.settle_together(deliveries, weight).await,
                UnderWay::Each(each) => self.settle_each(each).await,
            };
            settled = settled.and(one);
        }
        settled
    }

    async fn settle_together(&mut self, deliveries: Deliveries, weight: usize) -> Result<(), Failure> {
        let report = self.patiently(deliveries).await;
        self.weight -= weight;
        let report = report.map_err(|error| self.failure(&error))?;
        self.delivered += report.delivered;
        let Some((_, error)) = report.failed.first() else { return Ok(()) };
        let (failed, all) = (report.failed.len(), report.failed.len() + report.delivered);
        let failure = self.failure(error).message;
        Err(Failure::new(format!("{failed} of {all} records were not written: {failure}")))
    }

    async fn settle_each(&mut self, each: Vec<Delivery>) -> Result<(), Failure> {
        let (mut said, mut settled) = (String::new(), Ok(()));
        for delivery in each {
            match self.patiently(delivery).await {
                Ok(delivered) => {
                    self.delivered += 1;
                    said += &self.line(&delivered);
                }
                Err(error) => settled = settled.and(Err(self.failure(&error))),
            }
        }
        print(&said)?;
        settled
    }

    /// Awaits, and says what the matter is if it takes long.
    async fn patiently<T>(&self, mut fate: impl Future<Output = T> + Unpin) -> T {
        if let Ok(fate) = tokio::time::timeout(PATIENCE, &mut fate).await {
            return fate;
        }
        if let Some(trouble) = self.producer.trouble() {
            let _ = writeln!(io::stderr(), "waiting: {trouble}");
        }
        fate.await
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        let flush = self.producer.clone();
        let flush = tokio::spawn(async move { flush.flush().await });
        let settled = self.settle(0).await;
        flush.abort();
        settled
    }

    fn line(&self, delivered: &Delivered) -> String {
        let (partition, offset) = (delivered.partition.partition, delivered.offset.map(|offset| offset.0));
        match self.args.output {
            Output::Json => {
                format!("{}\n", json!({ "topic": self.args.topic, "partition": partition, "offset": offset }))
            }
            Output::Table => match offset {
                Some(offset) => format!("written to partition {partition} at offset {offset}\n"),
                None => format!("sent to partition {partition}\n"),
            },
        }
    }

    fn failure(&self, error: &Error) -> Failure {
        let topic = &self.args.topic;
        if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) {
            return Failure::new(format!("topic {topic} does not exist; `ottla topic create {topic}` makes it"));
        }
        Failure::new(explain(&format!("topic {topic}"), error))
    }
}
