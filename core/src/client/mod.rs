//! A Kafka client as a state machine: the simulator drives it, and so do the CLI and any Rust program, with
//! tokio. It speaks to Ottla and to Apache Kafka alike.
//!
//! One call is one whole step, `(now, input) -> effects`, as with the broker's machine:
//!
//! ```text
//! let config = ClientConfig { bootstrap_servers: vec!["a:9092".into()], ..ClientConfig::default() };
//! let mut client = Client::new(&config, seed);
//! client.handle(now, ClientInput::Command(Command::Produce { token: 1, record }), &mut effects);
//! // carry out effects: Connect, Send, Close; look at events: Delivered { token: 1, .. }
//! // call handle(Timeout) at next_deadline()
//! ```
//!
//! * [`Producer`](producer): accumulator, idempotence, retries; [`partitioner`]: Java's choice of partitions
//! * `reader`: partitions that the program or the group assigns, fetch sessions, positions
//! * `group`: membership, committed positions; [`assignor`]: who reads what
//! * `admin`: the cluster, topics, settings, deletion of records, groups and their offsets
//! * `metadata`: who leads what, kept fresh
//!
//! Invariants: each Produce command ends in exactly one Delivered or Failed; a failure is `definite` only if the
//! record will never appear (I6); with idempotence a record appears once at most, and records of one partition in
//! the order of their commands. Every queue is bounded by a setting of Kafka's name ([`ClientConfig`]).
//!
//! Absent on purpose: threads, sockets, name resolution and framing, which are the driver's; waiting for room
//! (`max.block.ms` covers metadata only: a command that finds `buffer.memory` full fails at once).

mod admin;
pub mod assignor;
mod boundary;
mod config;
mod coordination;
mod group;
mod metadata;
pub mod partitioner;
mod producer;
mod reader;
mod turn;

pub use admin::{
    AdminReply, AdminRequest, BrokerDescription, ClusterDescription, CommittedOffset, CompactionDescription,
    ConfigEntry, ConfigSource, GroupDescription, GroupMember, ListedGroup, LogDescription, PartitionDescription,
    QuorumDescription, QuorumMember, Resource, TopicDescription,
};
pub use boundary::{
    ClientEffect, ClientEffects, ClientError, ClientInput, Command, CommittedPosition, Event, FetchedRecord,
    GroupCommand, GroupEvent, PolledRecords, ProduceRecord, ReadError, Start,
};
pub use config::{
    Acks, AutoOffsetReset, ClientConfig, GroupConfig, GroupProtocol, IsolationLevel, ProducerConfig, ReaderConfig,
};

use std::time::Duration;

use crate::clock::{Instant, Now};
use crate::rng::Rng;
use crate::rpc::{Answer, CallId, Outcome, Peer, Pool, RpcError, Sink};
use crate::types::{Offset, TopicPartition};

use admin::Admin;
use group::Group;
use metadata::Metadata;
use producer::Producer;
use reader::Reader;
use turn::{Turn, Wake};

/// The client. See the module for the contract.
#[derive(Clone, Debug)]
pub struct Client {
    rng: Rng,
    pool: Pool,
    metadata: Metadata,
    producer: Producer,
    reader: Reader,
    group: Group,
    admin: Admin,
    /// When time alone makes something due, connections apart.
    wake: Wake,
    sink: Sink,
}

impl Client {
    /// A client that knows only where to begin; it dials when it has something to do.
    ///
    /// # Panics
    /// If the configuration contradicts itself: see [`ClientConfig::check`].
    #[must_use]
    pub fn new(config: &ClientConfig, seed: u64) -> Self {
        config.check().expect("the caller checked the configuration");
        let mut rng = Rng::new(seed);
        let mut pool = Pool::new(config.rpc.clone(), rng.next_u64());
        let mut sink = Sink::default();
        for (place, address) in (0..).zip(&config.bootstrap_servers) {
            pool.set_address(Peer::Bootstrap(place), address, &mut sink);
        }
        let metadata = Metadata::new(config);
        let producer = Producer::new(&config.producer, config.backoff(), &config.rpc);
        let max_age = Duration::from_millis(config.metadata_max_age_ms);
        let reader = Reader::new(&config.reader, config.backoff(), max_age);
        let group = Group::new(config);
        let admin = Admin::new(config.default_api_timeout_ms, config.backoff());
        Self { rng, pool, metadata, producer, reader, group, admin, wake: Wake::default(), sink }
    }

    /// One step.
    pub fn handle(&mut self, now: Now, input: ClientInput, out: &mut ClientEffects) {
        let mut events = std::mem::take(&mut out.events);
        let moved = self.take(now, input, &mut events);
        if moved || self.wake.is_due(now.monotonic) {
            self.pump(now, &mut events);
        }
        out.events = events;
        out.finish(&mut self.sink.actions);
    }

    /// When [`ClientInput::Timeout`] must be handed in; it may lie in the past.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.pool.next_deadline(), self.wake.at()].into_iter().flatten().min()
    }

    /// When the request or dial that is the next to be given up is given up; `None` if none is under way.
    #[must_use]
    pub fn request_deadline(&self) -> Option<Instant> {
        self.pool.next_deadline()
    }

    /// How many bytes of `buffer.memory` are taken: while any are, records wait to be delivered or to fail.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.producer.buffered_bytes()
    }

    /// Where the program stands in a partition that it reads; `None` while that is not known.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.reader.position(partition).map(|place| place.offset)
    }

    /// What the group has assigned to this member, without what was given up or lost.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.group.owned()
    }

    /// As whom the group's coordinator knows this client: member id and generation; `None` while it does not.
    #[must_use]
    pub fn member(&self) -> Option<(&str, i32)> {
        self.group.member()
    }

    /// Takes an input in. Whether there may be something to send.
    fn take(&mut self, now: Now, input: ClientInput, events: &mut Vec<Event>) -> bool {
        let at = now.monotonic;
        match input {
            ClientInput::Opened { conn, token, result } => {
                self.pool.on_opened(at, (conn, token), result, &mut self.sink);
            }
            ClientInput::Frame { conn, bytes } => self.pool.on_frame(at, conn, bytes, &mut self.sink),
            ClientInput::Closed { conn } => self.pool.on_closed(at, conn, &mut self.sink),
            ClientInput::Timeout => self.pool.on_timeout(at, &mut self.sink),
            ClientInput::Command(command) => return self.on_command(now, command, events),
        }
        true
    }

    fn on_command(&mut self, now: Now, command: Command, events: &mut Vec<Event>) -> bool {
        let (parts, mut turn) = self.parts(now, events);
        match command {
            Command::Produce { token, record } => return parts.producer.produce(token, record, &mut turn),
            Command::Flush { token } => parts.producer.flush(token),
            Command::Assign { partition, start } => parts.reader.assign(partition, start),
            Command::Unassign { partition } => parts.reader.unassign(&partition),
            Command::Poll { token, timeout_ms } => {
                parts.group.on_poll(parts.reader, now.monotonic);
                parts.reader.poll(token, Duration::from_millis(timeout_ms), &mut turn);
            }
            Command::Pause { partitions } => partitions.into_iter().for_each(|it| parts.reader.pause(it)),
            Command::Resume { partitions } => partitions.iter().for_each(|it| parts.reader.resume(it)),
            Command::Seek { partition, start } => parts.group.seek(partition, start, parts.reader),
            Command::Group(command) => parts.group.command(command, parts.reader, &mut turn),
            Command::Admin { token, request } => parts.admin.request(token, *request, &mut turn),
        }
        true
    }

    /// Lets every part do what it can, until nothing more happens.
    fn pump(&mut self, now: Now, events: &mut Vec<Event>) {
        self.wake = Wake::default();
        loop {
            for outcome in std::mem::take(&mut self.sink.outcomes) {
                self.on_outcome(now, outcome, events);
            }
            let (parts, mut turn) = self.parts(now, events);
            parts.producer.pump(&mut turn);
            parts.group.pump(parts.reader, &mut turn);
            parts.reader.pump(&mut turn);
            parts.admin.pump(&mut turn);
            self.metadata.pump(now.monotonic, &mut self.pool, &mut self.rng, &mut self.sink, &mut self.wake);
            if self.sink.outcomes.is_empty() {
                break;
            }
        }
    }

    fn on_outcome(&mut self, now: Now, outcome: Outcome, events: &mut Vec<Event>) {
        match outcome {
            Outcome::Answered(answer) => self.on_result(now, answer.call, Ok(&answer), events),
            Outcome::Failed { call, error } => self.on_result(now, call, Err(error), events),
            Outcome::Up { .. } => {}
            Outcome::Down { .. } => self.metadata.on_down(),
        }
    }

    /// A call has its result: it goes to the part that made the call.
    fn on_result(&mut self, now: Now, call: CallId, result: Result<&Answer, RpcError>, events: &mut Vec<Event>) {
        if self.metadata.owns(call) {
            let (pool, rng, sink) = (&mut self.pool, &mut self.rng, &mut self.sink);
            return self.metadata.on_result(now.monotonic, result, pool, rng, sink);
        }
        let (parts, mut turn) = self.parts(now, events);
        parts.producer.on_result(call, result, &mut turn);
        parts.reader.on_result(call, result, &mut turn);
        parts.group.on_result(call, result, parts.reader, &mut turn);
        parts.admin.on_result(call, result, &mut turn);
    }

    /// The parts that work for the program, and all that they work with.
    fn parts<'a>(&'a mut self, now: Now, events: &'a mut Vec<Event>) -> (Parts<'a>, Turn<'a>) {
        let Self { rng, pool, metadata, producer, reader, group, admin, wake, sink } = self;
        (Parts { producer, reader, group, admin }, Turn { now, rng, pool, metadata, wake, sink, events })
    }
}

struct Parts<'a> {
    producer: &'a mut Producer,
    reader: &'a mut Reader,
    group: &'a mut Group,
    admin: &'a mut Admin,
}
