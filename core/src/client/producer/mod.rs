//! Writing records: batches, their requests, and what becomes of them.
//!
//! * `topic`: which partition a record goes to, and the batch it joins there
//! * `partition`: the order of batches, and the producer's sequence
//! * `sender`: requests to leaders; `verdict`: what their errors mean
//! * `identity`: the producer id
//!
//! | a batch is | on | becomes |
//! |---|---|---|
//! | open | full, `linger.ms` over, flush, one behind it | built, and in flight when its leader can take it |
//! | in flight | acknowledged, or known as a duplicate | delivered |
//! | in flight | an error that may pass; a lost connection | waiting, with back-off, then in flight again |
//! | in flight | an error that will not pass | failed |
//! | any | `delivery.timeout.ms` over | failed, definitely if no attempt can have been written |

mod batch;
mod identity;
mod partition;
mod sender;
mod topic;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ErrorCode;

use crate::record::Compression;
use crate::rpc::{Answer, Backoff, CallId, RpcError};
use crate::types::TopicPartition;

use super::turn::Turn;
use super::{Acks, ClientError, Event, ProduceRecord, ProducerConfig};

use batch::Batch;
use identity::Identity;
use sender::Sender;
use topic::{Placed, Topic, Waiting};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Producer {
    rules: Rules,
    identity: Identity,
    sender: Sender,
    topics: BTreeMap<Arc<str>, Topic>,
    /// What all records take that are neither delivered nor failed.
    buffered: usize,
    /// The number of the next batch.
    next_number: u64,
    /// Flushes that wait: a token, and the number before which all must be done.
    flushes: Vec<(u64, u64)>,
}

/// The configuration, as the parts need it.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    acks: Acks,
    idempotent: bool,
    first_sequence: i32,
    /// One batch of a partition at a time: without idempotence nothing else keeps the order over retries.
    in_order: bool,
    batch_size: usize,
    linger: Duration,
    buffer_memory: usize,
    max_request_size: usize,
    compression: Compression,
    delivery_timeout: Duration,
    max_block: Duration,
    ignore_keys: bool,
    backoff: Backoff,
    request_timeout_ms: u64,
}

impl Producer {
    pub(super) fn new(config: &ProducerConfig, backoff: Backoff, rpc: &crate::rpc::RpcConfig) -> Self {
        let rules = Rules {
            acks: config.acks,
            idempotent: config.enable_idempotence,
            first_sequence: config.first_sequence,
            in_order: rpc.max_in_flight_requests_per_connection == 1,
            batch_size: config.batch_size,
            linger: Duration::from_millis(config.linger_ms),
            buffer_memory: config.buffer_memory,
            max_request_size: config.max_request_size,
            compression: config.compression,
            delivery_timeout: Duration::from_millis(config.delivery_timeout_ms),
            max_block: Duration::from_millis(config.max_block_ms),
            ignore_keys: config.partitioner_ignore_keys,
            backoff,
            request_timeout_ms: rpc.request_timeout_ms,
        };
        Self {
            rules,
            identity: Identity::default(),
            sender: Sender::default(),
            topics: BTreeMap::new(),
            buffered: 0,
            next_number: 0,
            flushes: Vec::new(),
        }
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffered
    }

    /// Takes a record in. Whether there may be something to do at once.
    pub(super) fn produce(&mut self, token: u64, record: Box<ProduceRecord>, turn: &mut Turn<'_>) -> bool {
        let size = record.buffered_size();
        let refusal = if size > self.rules.max_request_size {
            Some(ClientError::RecordTooLarge(size))
        } else {
            (self.buffered + size > self.rules.buffer_memory).then_some(ClientError::BufferFull)
        };
        if let Some(error) = refusal {
            turn.events.push(Event::Failed { token, error, definite: true });
            return false;
        }
        self.buffered += size;
        let name = record.topic.clone();
        let timestamp_ms = record.timestamp_ms.unwrap_or(turn.now.wall.0);
        let waiting = Waiting { token, record, timestamp_ms, number: self.next_number, since: turn.at() };
        self.next_number += 1;
        let known = !turn.metadata.topic(turn.at(), &name).partitions.is_empty();
        let topic = self.topics.entry(name.clone()).or_default();
        if !known || !topic.waiting.is_empty() {
            topic.waiting.push_back(waiting);
            return true;
        }
        let placed = topic.place(&name, &waiting, &self.rules, turn);
        self.on_placed(placed, &waiting, turn)
    }

    /// A flush: nothing lingers until all that was handed in before is done.
    pub(super) fn flush(&mut self, token: u64) {
        self.flushes.push((token, self.next_number));
    }

    /// Does all that can be done now.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        self.place_waiting(turn);
        self.expire(turn);
        self.perform_resets(turn);
        let Self { rules, identity, sender, topics, .. } = self;
        let lacks_id = || topics.values().flat_map(|topic| topic.partitions.values()).any(|it| it.needs_id());
        if rules.idempotent && lacks_id() {
            identity.pump(rules.backoff, turn);
        }
        let done = sender.pump(topics, rules, identity.id(), !self.flushes.is_empty(), turn);
        for (partition, batch) in done {
            self.deliver(&partition, &batch, None, turn);
        }
        self.end_flushes(turn);
        self.wake(turn);
    }

    /// The result of a call that was ours.
    pub(super) fn on_result(&mut self, call: CallId, result: Result<&Answer, RpcError>, turn: &mut Turn<'_>) {
        if self.identity.owns(call) {
            if let Err(code) = self.identity.on_result(result, self.rules.backoff, turn) {
                self.fail_unsent(code, turn);
            }
            return;
        }
        for (partition, fate) in self.sender.on_result(call, result, &mut self.topics, &self.rules, turn) {
            match fate {
                sender::Fate::Delivered(batch, offset) => self.deliver(&partition, &batch, offset, turn),
                sender::Fate::Failed(batch, error) => self.fail(&batch, &error, !batch.doubtful, turn),
            }
        }
    }

    fn on_placed(&mut self, placed: Placed, waiting: &Waiting, turn: &mut Turn<'_>) -> bool {
        match placed {
            Placed::Joined => false,
            Placed::Filled => true,
            Placed::Began => {
                turn.wake.by(turn.at() + self.rules.linger);
                self.rules.linger.is_zero()
            }
            Placed::Refused(error) => {
                self.refuse(waiting, error, turn);
                false
            }
        }
    }

    fn refuse(&mut self, waiting: &Waiting, error: ClientError, turn: &mut Turn<'_>) {
        self.buffered -= waiting.record.buffered_size();
        turn.events.push(Event::Failed { token: waiting.token, error, definite: true });
    }

    /// Places the records whose topics are known by now, and fails those that waited too long.
    fn place_waiting(&mut self, turn: &mut Turn<'_>) {
        let now = turn.at();
        let names: Vec<_> =
            self.topics.iter().filter(|(_, it)| !it.waiting.is_empty()).map(|(it, _)| it.clone()).collect();
        for name in names {
            let metadata = turn.metadata.topic(now, &name);
            let (known, error) = (!metadata.partitions.is_empty(), metadata.error);
            let hopeless = error.is_some_and(|error| !error.is_retriable());
            let topic = self.topics.get_mut(&name).expect("the name is of a topic");
            let late = |waiting: &Waiting| waiting.since + self.rules.max_block <= now;
            let ready = topic.waiting.iter().take_while(|it| known || hopeless || late(it)).count();
            let ready: Vec<_> = topic.waiting.drain(..ready).collect();
            for waiting in ready {
                if known {
                    let topic = self.topics.get_mut(&name).expect("the name is of a topic");
                    let placed = topic.place(&name, &waiting, &self.rules, turn);
                    self.on_placed(placed, &waiting, turn);
                } else {
                    let error = error.filter(|_| hopeless).map_or(ClientError::NoMetadata(error), ClientError::Broker);
                    self.refuse(&waiting, error, turn);
                }
            }
        }
    }

    /// Fails the batches whose time is over.
    fn expire(&mut self, turn: &mut Turn<'_>) {
        let mut expired = Vec::new();
        for partition in self.topics.values_mut().flat_map(|topic| topic.partitions.values_mut()) {
            let timeout = self.rules.delivery_timeout;
            while partition.queue.front().is_some_and(|batch| batch.deadline(timeout) <= turn.at()) {
                let batch = &partition.queue[0];
                let definite = !batch.doubtful && batch.flight.is_none();
                expired.push((partition.give_up(0, definite), definite));
            }
        }
        for (batch, definite) in expired {
            let error = ClientError::DeliveryTimeout(batch.last_error);
            self.fail(&batch, &error, definite, turn);
        }
    }

    fn perform_resets(&mut self, turn: &mut Turn<'_>) {
        let mut lost = Vec::new();
        for partition in self.topics.values_mut().flat_map(|topic| topic.partitions.values_mut()) {
            if let Some((batches, used_up)) = partition.perform_reset() {
                lost.extend(batches);
                if used_up {
                    self.identity.discard();
                }
            }
        }
        for batch in lost {
            self.fail(&batch, &ClientError::SequenceLost, false, turn);
        }
    }

    /// No producer id is to be had: what was never sent fails.
    fn fail_unsent(&mut self, code: ErrorCode, turn: &mut Turn<'_>) {
        let mut unsent = Vec::new();
        for partition in self.topics.values_mut().flat_map(|topic| topic.partitions.values_mut()) {
            let (fresh, sent): (Vec<_>, Vec<_>) =
                std::mem::take(&mut partition.queue).into_iter().partition(|batch| batch.attempts == 0);
            partition.queue = sent.into();
            unsent.extend(fresh);
        }
        for batch in unsent {
            self.fail(&batch, &ClientError::Broker(code), true, turn);
        }
    }

    fn deliver(
        &mut self,
        partition: &TopicPartition,
        batch: &Batch,
        offset: Option<crate::types::Offset>,
        turn: &mut Turn<'_>,
    ) {
        self.buffered -= batch.memory;
        for (delta, &token) in (0..).zip(&batch.tokens) {
            let offset = offset.map(|base| base + delta);
            turn.events.push(Event::Delivered { token, partition: partition.clone(), offset });
        }
    }

    fn fail(&mut self, batch: &Batch, error: &ClientError, definite: bool, turn: &mut Turn<'_>) {
        self.buffered -= batch.memory;
        let failed = |&token| Event::Failed { token, error: error.clone(), definite };
        turn.events.extend(batch.tokens.iter().map(failed));
    }

    fn end_flushes(&mut self, turn: &mut Turn<'_>) {
        if self.flushes.is_empty() {
            return;
        }
        let waiting = self.topics.values().filter_map(|topic| topic.waiting.front()).map(|it| it.number);
        let partitions = self.topics.values().flat_map(|topic| topic.partitions.values());
        let queued = partitions.filter_map(|partition| partition.queue.front()).map(|batch| batch.number);
        let oldest = waiting.chain(queued).min().unwrap_or(u64::MAX);
        self.flushes.retain(|&(token, before)| {
            if before <= oldest {
                turn.events.push(Event::Flushed { token });
            }
            before > oldest
        });
    }

    /// Says when time alone makes something due.
    fn wake(&mut self, turn: &mut Turn<'_>) {
        for topic in self.topics.values() {
            if let Some(first) = topic.waiting.front() {
                turn.wake.by(first.since + self.rules.max_block);
            }
            let now = turn.at();
            let wakes = topic.partitions.values().filter_map(|it| it.wake(now, &self.rules));
            wakes.for_each(|at| turn.wake.by(at));
        }
    }
}
