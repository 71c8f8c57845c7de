//! One broker under test and the operations that cases are made of.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, Operation, Stop};
use crate::records::{self, Record};

/// How long a client's operation may take, its own time-outs included.
const OPERATION_LIMIT: Duration = Duration::from_secs(100);
/// How long a reader goes on without all that it was promised.
const READ_DEADLINE_MS: u64 = 20_000;
/// The same for a million records.
const BULK_READ_DEADLINE_MS: u64 = 80_000;

/// How long a member of a group may sit.
const MEMBER_DEADLINE_MS: u64 = 90_000;

/// A member of a group, at work.
#[derive(Debug)]
pub struct Member {
    operation: Operation,
    output: PathBuf,
}

impl Member {
    /// What it has read so far: partition and offset of each record, in order.
    pub fn read(&self) -> Result<Vec<(i32, i64)>, Stop> {
        if self.output.exists() { Ok(records::load_offsets_so_far(&self.output)?) } else { Ok(Vec::new()) }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool, Stop> {
        Ok(self.operation.process.has_ended()?)
    }

    /// Ends it as a crash would; what it has read.
    pub fn kill(mut self) -> Result<Vec<(i32, i64)>, Stop> {
        self.operation.process.kill()?;
        self.read()
    }

    /// Waits until it has left; what it has read.
    pub fn finish(self) -> Result<Vec<(i32, i64)>, Stop> {
        self.operation.finish(OPERATION_LIMIT)?;
        if self.output.exists() { Ok(records::load_offsets(&self.output)?) } else { Ok(Vec::new()) }
    }
}

/// What a member of a group speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// JoinGroup and SyncGroup.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer,
}

impl Protocol {
    /// As in `group.protocol`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// How a member is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// What it speaks.
    pub protocol: Protocol,
    /// By which names it would have partitions shared out in the classic protocol, best first; none: as it likes.
    pub strategies: &'static [&'static str],
}

impl Manner {
    /// JoinGroup and SyncGroup, as the client likes it.
    pub const CLASSIC: Self = Self { protocol: Protocol::Classic, strategies: &[] };
    /// ConsumerGroupHeartbeat.
    pub const CONSUMER: Self = Self { protocol: Protocol::Consumer, strategies: &[] };
}

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub struct Writing {
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub codec: &'static str,
    /// `0`, `1` or `all`.
    pub acks: &'static str,
    /// With an idempotent producer.
    pub idempotent: bool,
}

impl Default for Writing {
    fn default() -> Self {
        Self { codec: "none", acks: "all", idempotent: false }
    }
}

/// What a writer told.
#[derive(Debug, Clone)]
pub struct Written {
    /// Partition and offset of each record as acknowledged, where the client is told.
    pub offsets: Option<Vec<(i32, i64)>>,
    /// Whether the client sends the timestamps that it is given.
    pub timestamps: bool,
}

/// What a reader read.
#[derive(Debug, Clone)]
pub struct Seen {
    /// In the order of arrival.
    pub records: Vec<Record>,
    /// The client shows null and empty keys and values alike.
    pub blurs_nulls: bool,
}

/// The offsets that a client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// The log start offset.
    pub earliest: i64,
    /// The high watermark.
    pub latest: i64,
    /// The first offset at or after the timestamp, -1 for none.
    pub at: i64,
}

/// One broker and where to put files.
#[derive(Debug)]
pub struct Bench {
    bootstrap: String,
    scratch: PathBuf,
    reference: Client,
    ours: Result<Client, String>,
    topics: Cell<u32>,
}

impl Bench {
    /// Works on the broker at `bootstrap`, with files in `scratch`; `ours` is Ottla's client, or why there is none.
    pub const fn new(bootstrap: String, scratch: PathBuf, reference: Client, ours: Result<Client, String>) -> Self {
        Self { bootstrap, scratch, reference, ours, topics: Cell::new(0) }
    }

    /// Ottla's own client, whatever the broker.
    pub fn ours(&self) -> Result<&Client, Stop> {
        self.ours.as_ref().map_err(|why| Stop::Unsupported(why.clone()))
    }

    /// The client that prepares and stands in.
    pub const fn reference(&self) -> &Client {
        &self.reference
    }

    /// `host:port` of the broker.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Where files may be put.
    pub const fn scratch(&self) -> &PathBuf {
        &self.scratch
    }

    /// A topic name that was not used before.
    pub fn fresh_name(&self, purpose: &str) -> String {
        self.topics.set(self.topics.get() + 1);
        format!("{purpose}-{}", self.topics.get())
    }

    /// Creates a topic through the reference client; gives its name.
    pub fn topic(&self, purpose: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<String, Stop> {
        let topic = self.fresh_name(purpose);
        let configs: BTreeMap<_, _> = configs.iter().copied().collect();
        let request = json!({ "topic": topic, "partitions": partitions, "configs": configs });
        self.ask(&self.reference, "create", request)?;
        Ok(topic)
    }

    /// Writes `records` in order.
    pub fn write(&self, client: &Client, topic: &str, records: &[Record], how: Writing) -> Result<Written, Stop> {
        let (input, output) = (self.scratch.join("to-write"), self.scratch.join("acknowledged"));
        records::save(&input, records)?;
        if output.exists() {
            std::fs::remove_file(&output)?;
        }
        let request = json!({
            "topic": topic, "input": input, "output": output,
            "codec": how.codec, "acks": how.acks, "idempotent": how.idempotent,
        });
        let answer = self.ask(client, "write", request)?;
        let offsets = if output.exists() { Some(records::load_offsets(&output)?) } else { None };
        Ok(Written { offsets, timestamps: answer["timestamps"] != json!(false) })
    }

    /// Reads from each partition `counts` records, starting at `starts` (0 where it is silent).
    pub fn read(
        &self,
        client: &Client,
        topic: &str,
        starts: &BTreeMap<i32, i64>,
        counts: &BTreeMap<i32, usize>,
    ) -> Result<Seen, Stop> {
        let output = self.scratch.join("was-read");
        if output.exists() {
            std::fs::remove_file(&output)?;
        }
        let starts: BTreeMap<_, _> = counts.keys().map(|p| (*p, starts.get(p).copied().unwrap_or(0))).collect();
        let is_bulk = counts.values().sum::<usize>() > 100_000;
        let deadline = if is_bulk { BULK_READ_DEADLINE_MS } else { READ_DEADLINE_MS };
        let request = json!({
            "topic": topic, "starts": starts, "counts": counts, "output": output, "deadline_ms": deadline,
        });
        let answer = self.ask(client, "read", request)?;
        Ok(Seen { records: records::load(&output)?, blurs_nulls: answer["blurs_nulls"] == json!(true) })
    }

    /// Asks for a partition's offsets.
    pub fn offsets(&self, client: &Client, topic: &str, partition: i32, timestamp: i64) -> Result<Offsets, Stop> {
        let request = json!({ "topic": topic, "partition": partition, "timestamp": timestamp });
        let answer = self.ask(client, "offsets", request)?;
        let number = |name: &str| {
            answer[name].as_i64().ok_or_else(|| Stop::Failed(format!("the offsets answer has no {name}: {answer}")))
        };
        Ok(Offsets { earliest: number("earliest")?, latest: number("latest")?, at: number("at")? })
    }

    /// The number of partitions of a topic, which the question must not create.
    pub fn partitions(&self, client: &Client, topic: &str) -> Result<i64, Stop> {
        let answer = self.ask(client, "metadata", json!({ "topic": topic }))?;
        answer["partitions"].as_i64().ok_or_else(|| Stop::Failed(format!("no partitions in {answer}")))
    }

    /// The client's own admin API over the life of a topic.
    pub fn admin(&self, client: &Client, topic: &str) -> Result<Value, Stop> {
        self.ask(client, "admin", json!({ "topic": topic }))
    }

    /// Lets a member of a group sit until it has read `count` records (0: any number) or nothing has come for `idle`.
    pub fn member(
        &self,
        client: &Client,
        manner: Manner,
        (topic, group): (&str, &str),
        count: usize,
        idle: Duration,
    ) -> Result<Member, Stop> {
        let dir = self.scratch.join(self.fresh_name("member"));
        let output = dir.join("read");
        let request = json!({
            "bootstrap": self.bootstrap, "protocol": manner.protocol.name(), "strategies": manner.strategies,
            "topic": topic, "group": group,
            "count": count, "output": output,
            "idle_ms": u64::try_from(idle.as_millis()).unwrap_or(u64::MAX), "deadline_ms": MEMBER_DEADLINE_MS,
        });
        Ok(Member { operation: client.start(&dir, "member", &request)?, output })
    }

    fn ask(&self, client: &Client, operation: &str, mut request: Value) -> Result<Value, Stop> {
        request["bootstrap"] = json!(self.bootstrap);
        client.ask(&self.scratch, operation, &request, OPERATION_LIMIT)
    }
}
