//! A program that writes unique values with core's producer.
//!
//! When load and faults are over it goes on until each partition has taken a record, or refused it for good: a
//! producer that never comes back from a fault is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::client::{Acks, ClientConfig, ClientError, Command, Event, ProduceRecord, partitioner};
use ottla_core::types::{Offset, TopicPartition};

use super::{LOOK, RETRY, base_config, size};
use crate::client::Ctx;
use crate::draw::Draw;
use crate::history::{Era, Outcome, PartitionIndex, ValueId, Write};
use crate::time::Nanos;
use crate::workload::Produce;
use crate::workload::load::{Burst, Load};
use crate::workload::produce::compression;

/// See the module.
#[derive(Clone, Debug)]
pub struct Writer {
    topic: Arc<str>,
    partitions: i32,
    acks: Acks,
    idempotent: bool,
    value_bytes: u64,
    /// Whether keys choose the partitions.
    keyed: bool,
    /// The most records without a fate.
    most: usize,
    load: Load,
    until: Nanos,
    burst: Burst,
    /// Values without a fate, and when they were handed in.
    waiting: BTreeMap<ValueId, Era>,
    flush: Option<Flush>,
    flushes: u64,
    /// Where the record lies that was delivered last, and when that was: the next of its batch comes with it.
    delivered: Option<(Nanos, PartitionIndex, i64)>,
    ending: Option<Ending>,
}

/// A flush that is not over.
#[derive(Clone, Copy, Debug)]
struct Flush {
    token: u64,
    /// All values below were handed in before.
    before: ValueId,
}

/// Load and faults are over.
#[derive(Clone, Debug)]
struct Ending {
    /// Partitions that have not answered since.
    open: BTreeSet<i32>,
    /// Those that are to get a record now.
    next: Vec<i32>,
    retry_at: Nanos,
}

impl Writer {
    /// A program that writes from `at` until `until`, or until the load ends, and the client that it uses.
    #[must_use]
    pub fn new(params: &Produce, partitions: i32, at: Nanos, until: Nanos, draw: Draw) -> (Self, ClientConfig) {
        let mut config = base_config(params.timeout.0, draw);
        let idempotent = params.idempotent && params.acks == -1;
        let in_flight = usize::try_from(params.in_flight.clamp(1, 5)).unwrap_or(1);
        config.rpc.max_in_flight_requests_per_connection = in_flight;
        let linger_ms = [0, 0, 1, 5, 20][draw.and(10).index(5)];
        let shortest = config.rpc.request_timeout_ms + linger_ms;
        let producer = &mut config.producer;
        producer.acks = match params.acks {
            0 => Acks::None,
            1 => Acks::Leader,
            _ => Acks::All,
        };
        producer.enable_idempotence = idempotent;
        producer.first_sequence = params.first_sequence;
        producer.linger_ms = linger_ms;
        producer.batch_size = size(draw.and(11), 200, 200_000);
        producer.buffer_memory = size(draw.and(12), 50_000, 5_000_000);
        producer.max_request_size = size(draw.and(13), 10_000, 1 << 20);
        producer.compression = compression(&params.codec);
        producer.delivery_timeout_ms = shortest + draw.and(14).log_between(1, 30_000);
        producer.max_block_ms = draw.and(15).log_between(500, 30_000);
        let program = Self {
            topic: params.topic.as_str().into(),
            partitions,
            acks: producer.acks,
            idempotent,
            value_bytes: u64::from(params.value_bytes),
            keyed: draw.and(16).chance(0.25),
            most: size(draw.and(17), 20, 2_000),
            load: Load::new(params, partitions, at),
            until,
            burst: Burst { partition: 0, count: 0 },
            waiting: BTreeMap::new(),
            flush: None,
            flushes: 0,
            delivered: None,
            ending: None,
        };
        (program, config)
    }

    pub(super) fn next_wake(&self) -> Nanos {
        match &self.ending {
            Some(ending) if self.waiting.is_empty() && !ending.open.is_empty() => ending.retry_at,
            Some(_) => u64::MAX,
            None if self.waiting.len() >= self.most => u64::MAX,
            None => self.load.next_at,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        let answered = self.ending.as_ref().is_some_and(|ending| ending.open.is_empty() && ending.next.is_empty());
        answered && self.waiting.is_empty() && self.flush.is_none()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn next_command(&mut self, ctx: &mut Ctx<'_>) -> Option<Command> {
        if !ctx.load {
            let partition = self.next_at_the_end(ctx.now)?;
            return Some(self.record(ctx, partition, None));
        }
        if self.waiting.len() >= self.most {
            return None;
        }
        if self.burst.count == 0 {
            if ctx.now < self.load.next_at {
                return None;
            }
            if ctx.now >= self.until {
                self.load.next_at = ctx.now + LOOK;
                return None;
            }
            if self.flush.is_none() && ctx.draw().chance(0.02) {
                return Some(self.flush(ctx.judge.history.next_value()));
            }
            self.burst = self.load.burst(ctx)?;
        }
        self.burst.count -= 1;
        let key = self.keyed.then(|| Bytes::copy_from_slice(&ctx.draw().bits().to_be_bytes()[..3]));
        let partition = key.as_ref().map_or(self.burst.partition, |key| partitioner::by_key(key, self.partitions));
        Some(self.record(ctx, partition, key))
    }

    /// Answers whether the event was to be expected.
    pub(super) fn on_event(&mut self, ctx: &mut Ctx<'_>, event: Event) -> bool {
        match event {
            Event::Delivered { token, partition, offset } => {
                let asked = self.waiting.remove(&token);
                asked.is_some_and(|asked| self.on_delivered(ctx, (token, asked), &partition, offset))
            }
            Event::Failed { token, error, definite } => {
                let refused = definite && matches!(error, ClientError::Broker(_));
                if let (Some(ending), true) = (&mut self.ending, refused)
                    && let Some(write) = ctx.judge.history.write(token)
                {
                    ending.open.remove(&ctx.judge.history.name(write.partition).partition);
                }
                let outcome = if definite { Outcome::Refused } else { Outcome::Unknown };
                ctx.judge.history.complete(token, outcome);
                self.waiting.remove(&token).is_some()
            }
            Event::Flushed { token } => {
                let flush = self.flush.take_if(|flush| flush.token == token);
                let first = self.waiting.first_key_value().map_or(ValueId::MAX, |(first, _)| *first);
                flush.is_some_and(|flush| first >= flush.before)
            }
            Event::Polled { .. }
            | Event::Position { .. }
            | Event::Truncated { .. }
            | Event::ReadFailed { .. }
            | Event::Group(_)
            | Event::AdminDone { .. }
            | Event::AdminFailed { .. } => false,
        }
    }

    /// Answers whether it is where it was sent to.
    fn on_delivered(
        &mut self,
        ctx: &mut Ctx<'_>,
        (token, asked): (ValueId, Era),
        partition: &TopicPartition,
        offset: Option<Offset>,
    ) -> bool {
        let Some(write) = ctx.judge.history.write(token).copied() else { return false };
        if let Some(ending) = &mut self.ending {
            ending.open.remove(&partition.partition);
        }
        let offset = offset.map(|offset| offset.0);
        let place = (ctx.now, write.partition, offset.unwrap_or(-1));
        let goes_on = self.delivered.is_some_and(|(now, index, offset)| {
            (now, index) == (place.0, place.1) && (place.2 == offset + 1 || place.2 == -1)
        });
        ctx.judge.history.acked_batches += u64::from(!goes_on);
        self.delivered = Some(place);
        ctx.judge.acked_value(token, offset, asked);
        ctx.judge.history.name(write.partition) == partition
    }

    /// Everything was handed in and has ended: the partitions that are still to answer get a record each.
    fn next_at_the_end(&mut self, now: Nanos) -> Option<i32> {
        let all = 0..self.partitions;
        let ending = self.ending.get_or_insert_with(|| Ending { open: all.collect(), next: Vec::new(), retry_at: now });
        if ending.next.is_empty() && self.waiting.is_empty() && ending.retry_at <= now {
            ending.next = ending.open.iter().copied().collect();
            ending.retry_at = now + RETRY;
        }
        ending.next.pop()
    }

    fn flush(&mut self, before: ValueId) -> Command {
        self.flushes += 1;
        let token = self.flushes;
        self.flush = Some(Flush { token, before });
        Command::Flush { token }
    }

    fn record(&mut self, ctx: &mut Ctx<'_>, partition: i32, key: Option<Bytes>) -> Command {
        let index = ctx.judge.history.partition(&TopicPartition::new(self.topic.clone(), partition));
        let token = ctx.judge.history.invoke(Write {
            partition: index,
            client: ctx.id,
            acks: self.acks.code(),
            idempotent: self.idempotent,
            in_order: self.idempotent,
            invoked: ctx.now,
            outcome: Outcome::Pending,
            promised: false,
            read: false,
            key: None,
            deletes: false,
        });
        self.waiting.insert(token, ctx.judge.history.era());
        let rest = usize::try_from(ctx.draw().below(self.value_bytes + 1)).unwrap_or(0);
        let mut value = vec![0; 8 + rest];
        value[..8].copy_from_slice(&token.to_be_bytes());
        let record = ProduceRecord {
            topic: self.topic.clone(),
            partition: key.is_none().then_some(partition),
            key,
            value: Some(value.into()),
            ..ProduceRecord::default()
        };
        Command::Produce { token, record: Box::new(record) }
    }
}
