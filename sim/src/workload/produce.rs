//! Clients that write: batches of unique values, sent again until their fate is known or they are given up.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ottla_core::record::{BatchBuilder, BatchOptions, Compression, NewRecord, Producer};
use ottla_core::types::{ProducerEpoch, ProducerId, TopicPartition};
use ottla_wire::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::api::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use ottla_wire::{ApiKey, DecodeError, ErrorCode, Message, Reader, Records};
use serde::Deserialize;

use crate::client::Ctx;
use crate::client::ask::Ask;
use crate::history::{Era, Outcome, PartitionIndex, TOMBSTONE_NUMBER, ValueId, Write};
use crate::scenario::Span;
use crate::time::{MILLISECOND, Nanos, SECOND};

use super::Kind;
use super::load::{Burst, Load};

/// `produce = { topic = "t", clients = 3, every = "5ms" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Produce {
    /// To all partitions of this topic.
    pub topic: String,
    /// How many.
    pub clients: u16,
    /// Which.
    pub client: Kind,
    /// The mean time between two batches of one client.
    pub every: Span,
    /// -1, 0 or 1.
    pub acks: i16,
    /// Whether a record is written once whatever is retried.
    pub idempotent: bool,
    /// none, gzip, snappy, lz4 or zstd.
    pub codec: String,
    /// The most records in one batch.
    pub records: u32,
    /// The most bytes in one value.
    pub value_bytes: u32,
    /// The most batches of one client that are not answered.
    pub in_flight: u32,
    /// How long a client waits for an answer.
    pub timeout: Span,
    /// The sequence number that producers start with, where they are known nowhere.
    pub first_sequence: i32,
    /// Whether load comes in phases: idle, trickle, burst, one hot partition.
    pub phases: bool,
    /// Of a hundred acknowledged batches, so many are sent again, as by a client that lost the answer. Only of
    /// idempotent producers with acks=-1, for which that changes nothing.
    pub again: u32,
    /// The keys that records have.
    pub keys: Keys,
}

/// `keys = { count = 50, deletes = 10 }`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// Records have one of so many, or none if 0.
    pub count: u64,
    /// Of a hundred records with a key so many are tombstones.
    pub deletes: u64,
}

impl Keys {
    /// The key of a value.
    fn of(self, id: ValueId) -> Option<u64> {
        (self.count > 0).then(|| id % self.count)
    }

    /// Whether a value is none, but deletes its key. Keys follow each other: this is to meet them all.
    const fn deletes(self, id: ValueId) -> bool {
        self.count > 0 && (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 100 < self.deletes
    }
}

impl Default for Produce {
    fn default() -> Self {
        Self {
            topic: "t".into(),
            clients: 1,
            client: Kind::default(),
            every: Span(20 * MILLISECOND),
            acks: -1,
            idempotent: true,
            codec: "none".into(),
            records: 5,
            value_bytes: 100,
            in_flight: 5,
            timeout: Span(2_000 * MILLISECOND),
            first_sequence: 0,
            phases: true,
            again: 0,
            keys: Keys::default(),
        }
    }
}

/// How long a batch is tried.
const DELIVERY_TIMEOUT: Nanos = 30 * SECOND;
/// How long a client waits before it tries again.
const RETRY: Nanos = 100 * MILLISECOND;

/// One client that writes.
#[derive(Clone, Debug)]
pub struct ProduceActor {
    params: Produce,
    version: i16,
    compression: Compression,
    identity: Identity,
    /// Which identity is in use; a batch of an older one is given up.
    generation: u64,
    sequences: Vec<i32>,
    queue: VecDeque<Batch>,
    /// Acknowledged batches that are sent again, each at its time.
    echoes: Vec<Batch>,
    flying: BTreeMap<u64, Batch>,
    next_tag: u64,
    load: Load,
    until: Nanos,
    stopped: bool,
}

/// Who the producer is to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// Nobody: no idempotence.
    None,
    /// It is to ask, at the earliest then.
    Wanted(Nanos),
    /// It has asked.
    Asked,
    /// It is this one.
    Known(ProducerId, ProducerEpoch),
}

#[derive(Clone, Debug)]
struct Batch {
    tag: u64,
    generation: u64,
    partition: i32,
    index: PartitionIndex,
    producer: Producer,
    first: ValueId,
    count: u64,
    bytes: Bytes,
    /// When it was last sent.
    asked: Era,
    retry_at: Nanos,
    give_up_at: Nanos,
    /// It was acknowledged, and is sent again.
    is_echo: bool,
}

impl ProduceActor {
    /// A client that writes from `at` until `until`, or until the load ends. `which` tells it from others.
    #[must_use]
    pub fn new(params: Produce, partitions: i32, at: Nanos, until: Nanos, which: u64) -> Self {
        let newest = if params.codec == "zstd" { 7..=12 } else { 3..=12 };
        let versions: Vec<i16> = newest.collect();
        let version = versions[usize::try_from(which).unwrap_or(0) % versions.len()];
        let first = params.first_sequence;
        Self {
            identity: if params.idempotent { Identity::Wanted(at) } else { Identity::None },
            compression: compression(&params.codec),
            sequences: vec![first; usize::try_from(partitions).unwrap_or(0)],
            load: Load::new(&params, partitions, at),
            params,
            version,
            generation: 0,
            queue: VecDeque::new(),
            echoes: Vec::new(),
            flying: BTreeMap::new(),
            next_tag: 0,
            until,
            stopped: false,
        }
    }

    pub(super) fn next_wake(&self, in_flight: usize) -> Nanos {
        if in_flight >= self.in_flight() {
            return u64::MAX;
        }
        match self.identity {
            Identity::Wanted(_) if self.stopped && self.queue.is_empty() => u64::MAX,
            Identity::Wanted(at) => at,
            Identity::Asked => u64::MAX,
            Identity::None | Identity::Known(..) => self.next_batch_at().min(self.next_echo_at()),
        }
    }

    fn next_batch_at(&self) -> Nanos {
        match self.queue.front() {
            Some(batch) => batch.retry_at,
            None if self.stopped => u64::MAX,
            None => self.load.next_at,
        }
    }

    fn next_echo_at(&self) -> Nanos {
        self.echoes.iter().map(|echo| echo.retry_at).min().unwrap_or(u64::MAX)
    }

    pub(super) fn is_done(&self) -> bool {
        self.stopped && self.queue.is_empty() && self.flying.is_empty()
    }

    pub(super) fn next_ask(&mut self, ctx: &mut Ctx<'_>, in_flight: usize) -> Option<Ask> {
        self.stopped |= !ctx.load || ctx.now >= self.until;
        if self.stopped {
            self.echoes.clear();
        }
        if in_flight >= self.in_flight() || self.next_wake(in_flight) > ctx.now {
            return None;
        }
        if let Identity::Wanted(_) = self.identity {
            self.identity = Identity::Asked;
            return Some(Ask::new(ApiKey::InitProducerId, 1, 0, &InitProducerIdRequest::default()));
        }
        let mut batch = if self.next_echo_at() <= ctx.now {
            let due = self.echoes.iter().position(|echo| echo.retry_at <= ctx.now)?;
            self.echoes.swap_remove(due)
        } else {
            match self.queue.pop_front() {
                Some(batch) => batch,
                None => self.make(ctx)?,
            }
        };
        batch.asked = ctx.judge.history.era();
        let ask = self.produce(&batch);
        self.flying.insert(batch.tag, batch);
        Some(ask)
    }

    pub(super) fn on_answer(&mut self, ctx: &mut Ctx<'_>, ask: &Ask, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        if ask.api_key == ApiKey::InitProducerId {
            let answer = InitProducerIdResponse::decode(body, ask.api_version)?;
            self.identity = if answer.error_code == ErrorCode::NONE {
                Identity::Known(ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch))
            } else {
                Identity::Wanted(ctx.now + RETRY)
            };
            return Ok(());
        }
        let answer = ProduceResponse::decode(body, ask.api_version)?;
        let Some(batch) = self.flying.remove(&ask.tag) else { return Ok(()) };
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        match partitions.into_iter().find(|partition| partition.index == batch.partition) {
            Some(answer) => self.settle(ctx, batch, answer.error_code, answer.base_offset),
            None => ctx.judge.report("W1", format!("a Produce answer leaves out partition {}", batch.partition)),
        }
        Ok(())
    }

    pub(super) fn on_unanswered(&mut self, ctx: &mut Ctx<'_>, ask: &Ask) {
        if let Some(batch) = self.flying.remove(&ask.tag) {
            ctx.judge.sent(batch.first, batch.count);
        }
    }

    pub(super) fn on_lost(&mut self, ctx: &mut Ctx<'_>, ask: &Ask) {
        if ask.api_key == ApiKey::InitProducerId {
            self.identity = Identity::Wanted(ctx.now);
        } else if let Some(batch) = self.flying.remove(&ask.tag).filter(|batch| !batch.is_echo) {
            self.again(ctx, batch, 0);
        }
    }

    /// Every lost batch was put back; nothing is in flight, so they go out again in their order.
    pub(super) fn on_down(&mut self, _ctx: &mut Ctx<'_>) {
        self.queue.make_contiguous().sort_by_key(|batch| batch.tag);
    }

    fn in_flight(&self) -> usize {
        usize::try_from(self.params.in_flight.max(1)).unwrap_or(usize::MAX)
    }

    fn settle(&mut self, ctx: &mut Ctx<'_>, batch: Batch, error: ErrorCode, base_offset: i64) {
        if batch.is_echo {
            return echoed(ctx, &batch, error, base_offset);
        }
        if error == ErrorCode::NONE {
            ctx.judge.acked(batch.first, batch.count, base_offset, batch.asked);
            return self.echo(ctx, batch);
        }
        // Its place in the sequence is taken, but nobody knows at which offset.
        if error == ErrorCode::DUPLICATE_SEQUENCE_NUMBER {
            return unknown(ctx, &batch);
        }
        let earlier = self.is_behind(&batch);
        let retriable = error.is_retriable() || error == ErrorCode::KAFKA_STORAGE_ERROR;
        if retriable || (error == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER && earlier) {
            return self.again(ctx, batch, RETRY);
        }
        if error == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER && batch.generation == self.generation {
            ctx.judge.out_of_sequence(batch.index, batch.producer);
        }
        unknown(ctx, &batch);
        self.begin_anew(ctx);
    }

    /// Some acknowledged batches are sent again, soon or late.
    fn echo(&mut self, ctx: &mut Ctx<'_>, batch: Batch) {
        let may = self.params.again > 0 && self.params.idempotent && self.params.acks == -1 && !self.stopped;
        if !may || ctx.draw().below(100) >= u64::from(self.params.again) {
            return;
        }
        self.next_tag += 1;
        let retry_at = ctx.now + ctx.draw().log_between(MILLISECOND, SECOND);
        self.echoes.push(Batch { tag: self.next_tag, retry_at, is_echo: true, ..batch });
    }

    /// Whether an earlier batch of its partition has no fate yet.
    fn is_behind(&self, batch: &Batch) -> bool {
        let earlier = |other: &Batch| !other.is_echo && other.partition == batch.partition && other.tag < batch.tag;
        self.queue.iter().any(earlier) || self.flying.values().any(earlier)
    }

    fn again(&mut self, ctx: &mut Ctx<'_>, mut batch: Batch, wait: Nanos) {
        if batch.generation != self.generation {
            return unknown(ctx, &batch);
        }
        if ctx.now >= batch.give_up_at {
            unknown(ctx, &batch);
            return self.begin_anew(ctx);
        }
        batch.retry_at = ctx.now + wait;
        let place = self.queue.partition_point(|other| other.tag < batch.tag);
        self.queue.insert(place, batch);
    }

    /// A place in the sequence is lost: all that was numbered is given up, and another identity is asked for.
    fn begin_anew(&mut self, ctx: &mut Ctx<'_>) {
        if self.identity == Identity::None {
            return;
        }
        self.generation += 1;
        self.identity = Identity::Wanted(ctx.now + RETRY);
        self.sequences.fill(self.params.first_sequence);
        for batch in std::mem::take(&mut self.queue) {
            unknown(ctx, &batch);
        }
    }

    /// A new batch, if it is time for one.
    fn make(&mut self, ctx: &mut Ctx<'_>) -> Option<Batch> {
        if self.stopped {
            return None;
        }
        let Burst { partition, count } = self.load.burst(ctx)?;
        let index = ctx.judge.history.partition(&TopicPartition::new(self.params.topic.as_str(), partition));
        let first = ctx.judge.history.next_value();
        for _ in 0..count {
            let value = ctx.judge.history.next_value();
            let (key, deletes) = (self.params.keys.of(value), self.params.keys.deletes(value));
            ctx.judge.history.invoke(Write { key, deletes, ..self.write(ctx.id, ctx.now, index) });
        }
        let producer = self.producer(partition, count);
        let bytes = self.encode(ctx, producer, first, count);
        self.next_tag += 1;
        Some(Batch {
            tag: self.next_tag,
            generation: self.generation,
            partition,
            index,
            producer,
            first,
            count,
            bytes,
            asked: ctx.judge.history.era(),
            retry_at: ctx.now,
            give_up_at: ctx.now + DELIVERY_TIMEOUT,
            is_echo: false,
        })
    }

    const fn write(&self, client: u16, invoked: Nanos, partition: PartitionIndex) -> Write {
        Write {
            partition,
            client,
            acks: self.params.acks,
            idempotent: self.params.idempotent,
            invoked,
            in_order: false,
            outcome: Outcome::Pending,
            promised: false,
            read: false,
            key: None,
            deletes: false,
        }
    }

    fn encode(&self, ctx: &mut Ctx<'_>, producer: Producer, first: ValueId, count: u64) -> Bytes {
        let options = BatchOptions { compression: self.compression, producer, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        let most = u64::from(self.params.value_bytes);
        for id in first..first + count {
            let mut value = vec![0; 8 + usize::try_from(ctx.draw().below(most + 1)).unwrap_or(0)];
            let number = id.to_be_bytes();
            value[..8].copy_from_slice(&number);
            let timestamp = ctx.wall_ms;
            let key = self.params.keys.of(id).map(u64::to_be_bytes);
            let key = key.as_ref().map(|key| &key[..]);
            let of_tombstone: [(&[u8], _); 1] = [(TOMBSTONE_NUMBER, Some(&number[..]))];
            let (value, headers) =
                if self.params.keys.deletes(id) { (None, &of_tombstone[..]) } else { (Some(&value[..]), &[][..]) };
            builder.append(&NewRecord { timestamp, key, value, headers });
        }
        builder.build().into()
    }

    /// The producer's fields of its next batch to a partition.
    fn producer(&mut self, partition: i32, count: u64) -> Producer {
        let Identity::Known(id, epoch) = self.identity else {
            return Producer { id: ProducerId::NONE, epoch: ProducerEpoch::NONE, base_sequence: -1 };
        };
        let sequence = &mut self.sequences[usize::try_from(partition).unwrap_or(0)];
        let base_sequence = *sequence;
        let next = (i64::from(base_sequence) + i64::try_from(count).unwrap_or(0)) % (1 << 31);
        *sequence = i32::try_from(next).expect("below 2^31");
        Producer { id, epoch, base_sequence }
    }

    fn produce(&self, batch: &Batch) -> Ask {
        let records = Some(Records::Slice(&batch.bytes));
        let partition = PartitionProduceData { index: batch.partition, records };
        let topic = TopicProduceData {
            name: &self.params.topic,
            partition_data: vec![partition],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.params.acks,
            timeout_ms: 1_500,
            topic_data: vec![topic],
        };
        let mut ask = Ask::new(ApiKey::Produce, self.version, batch.tag, &request);
        ask.answered = self.params.acks != 0;
        ask
    }
}

/// The answer to a batch that was acknowledged and sent again: the same offset, or that it is too old to know.
fn echoed(ctx: &mut Ctx<'_>, batch: &Batch, error: ErrorCode, base_offset: i64) {
    if error == ErrorCode::NONE {
        ctx.judge.acked_again(batch.first, batch.count, base_offset);
    } else if error == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER {
        ctx.judge.out_of_sequence(batch.index, batch.producer);
    }
}

fn unknown(ctx: &mut Ctx<'_>, batch: &Batch) {
    for value in batch.first..batch.first + batch.count {
        ctx.judge.history.complete(value, Outcome::Unknown);
    }
}

pub(super) fn compression(codec: &str) -> Compression {
    match codec {
        "gzip" => Compression::Gzip(-1),
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4(9),
        "zstd" => Compression::Zstd(3),
        _ => Compression::None,
    }
}
