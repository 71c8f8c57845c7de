//! Clients that read: from wherever they like while the load goes on, and everything in the end.

use ottla_core::record::{BatchError, batches};
use ottla_core::types::TopicPartition;
use ottla_wire::api::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use ottla_wire::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic};
use ottla_wire::{ApiKey, DecodeError, ErrorCode, Message, Reader};
use serde::Deserialize;

use crate::client::Ctx;
use crate::client::ask::Ask;
use crate::history::PartitionIndex;
use crate::invariants::Fact;
use crate::scenario::Span;
use crate::time::{MILLISECOND, Nanos, SECOND};

use super::Kind;

/// `read = { topic = "t", clients = 2 }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Read {
    /// All partitions of this topic.
    pub topic: String,
    /// How many.
    pub clients: u16,
    /// Which.
    pub client: Kind,
    /// How long the broker may wait for the least bytes.
    pub max_wait: Span,
    /// The least bytes of an answer that does not wait.
    pub min_bytes: i32,
    /// The most bytes of an answer.
    pub max_bytes: i32,
    /// How often a client starts again, from a place that it draws.
    pub seek: Span,
}

impl Default for Read {
    fn default() -> Self {
        Self {
            topic: "t".into(),
            clients: 1,
            client: Kind::default(),
            max_wait: Span(500 * MILLISECOND),
            min_bytes: 1,
            max_bytes: 1 << 20,
            seek: Span(5_000 * MILLISECOND),
        }
    }
}

/// The timestamps of ListOffsets that stand for the ends of a log.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// How long a client waits before it tries again.
const RETRY: Nanos = 100 * MILLISECOND;
/// How long one that reads everything waits for an end that was acknowledged.
const PATIENCE: Nanos = 30 * SECOND;

/// One client that reads.
#[derive(Clone, Debug)]
pub struct ReadActor {
    params: Read,
    version: i16,
    /// Tells it from others in the history.
    reader: u16,
    partitions: Vec<Place>,
    /// Whether it reads everything once, from the start to the end.
    all: bool,
    wait_until: Nanos,
    /// Until then it waits for the end of a log to reach what was acknowledged.
    patient_until: Nanos,
    seek_at: Nanos,
    until: Nanos,
    /// The timestamp whose offset it was not told of some partition: others are read meanwhile.
    refused: Option<i64>,
    stopped: bool,
}

/// Where it is in one partition.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// What it asks for next; `None` before it knows where the log begins.
    next: Option<i64>,
    /// Where the log began when it asked.
    start: Option<i64>,
    /// Where the log ended when it asked, if it is to read up to there.
    end: Option<i64>,
    index: PartitionIndex,
}

impl ReadActor {
    /// A client that roams from `at` until `until`. `which` tells it from others.
    #[must_use]
    pub fn new(params: Read, partitions: i32, at: Nanos, until: Nanos, which: u64) -> Self {
        let count = usize::try_from(partitions).unwrap_or(0);
        Self {
            version: 4 + i16::try_from(which % 9).unwrap_or(0),
            reader: u16::try_from(which).unwrap_or(u16::MAX),
            partitions: vec![Place::default(); count],
            all: false,
            wait_until: at,
            patient_until: at,
            seek_at: at.saturating_add(params.seek.0),
            params,
            until,
            refused: None,
            stopped: false,
        }
    }

    /// A client that reads everything of a topic, once, from `at` on.
    #[must_use]
    pub fn all(topic: &str, partitions: i32, at: Nanos, which: u64) -> Self {
        let params = Read { topic: topic.into(), max_wait: Span(10 * MILLISECOND), ..Read::default() };
        let patient_until = at.saturating_add(PATIENCE);
        Self { all: true, patient_until, ..Self::new(params, partitions, at, u64::MAX, which) }
    }

    /// Where each partition began, for those that were read to their end.
    pub fn starts(&self) -> impl Iterator<Item = (PartitionIndex, i64)> {
        let complete = self.partitions.iter().filter(|place| place.is_complete());
        complete.filter_map(|place| Some((place.index, place.start?)))
    }

    /// Those that were not.
    pub fn unread(&self) -> impl Iterator<Item = PartitionIndex> {
        self.partitions.iter().filter(|place| self.all && !place.is_complete()).map(|place| place.index)
    }

    pub(super) fn next_wake(&self, in_flight: usize) -> Nanos {
        if in_flight > 0 || self.is_done() { u64::MAX } else { self.wait_until }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.stopped
    }

    pub(super) fn on_up(&mut self, ctx: &mut Ctx<'_>) {
        for (index, place) in (0..).zip(&mut self.partitions) {
            place.index = ctx.judge.history.partition(&TopicPartition::new(self.params.topic.as_str(), index));
        }
    }

    pub(super) fn next_ask(&mut self, ctx: &mut Ctx<'_>, in_flight: usize) -> Option<Ask> {
        let complete = self.all && self.partitions.iter().all(|place| place.is_complete());
        self.stopped |= complete || (!self.all && (!ctx.load || ctx.now >= self.until));
        if in_flight > 0 || self.stopped || ctx.now < self.wait_until {
            return None;
        }
        self.wait_until = ctx.now + MILLISECOND;
        if !self.all && ctx.now >= self.seek_at {
            self.seek(ctx);
        }
        let refused = self.refused.take();
        let lost = |place: &Place| place.next.is_none();
        if refused.is_none() && self.partitions.iter().any(lost) {
            return Some(self.list_offsets(EARLIEST, lost));
        }
        let endless = |place: &Place| place.end.is_none();
        if refused != Some(LATEST) && self.all && self.partitions.iter().any(endless) {
            return Some(self.list_offsets(LATEST, endless));
        }
        Some(self.fetch())
    }

    pub(super) fn on_answer(&mut self, ctx: &mut Ctx<'_>, ask: &Ask, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        if ask.api_key == ApiKey::ListOffsets {
            let answer = ListOffsetsResponse::decode(body, ask.api_version)?;
            for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                let Some(place) = place_mut(&mut self.partitions, partition.partition_index) else { continue };
                if partition.error_code != ErrorCode::NONE {
                    self.wait_until = ctx.now + RETRY;
                    self.refused = Some(if ask.tag == LATEST.unsigned_abs() { LATEST } else { EARLIEST });
                } else if ask.tag == LATEST.unsigned_abs() {
                    // What acks=1 was told can be read when it is durable, which may be a moment later.
                    if partition.offset < ctx.judge.history.owed(place.index) && ctx.now < self.patient_until {
                        self.wait_until = ctx.now + RETRY;
                    } else {
                        place.end = Some(partition.offset);
                    }
                } else {
                    place.next = Some(partition.offset);
                    place.start = Some(partition.offset);
                }
            }
            return Ok(());
        }
        let answer = FetchResponse::decode(body, ask.api_version)?;
        if answer.error_code != ErrorCode::NONE {
            self.wait_until = ctx.now + RETRY;
        }
        for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            self.take(ctx, partition);
        }
        Ok(())
    }

    fn take(&mut self, ctx: &mut Ctx<'_>, partition: &PartitionData<'_>) {
        let Some(place) = place_mut(&mut self.partitions, partition.partition_index) else { return };
        let Some(next) = place.next else { return };
        match partition.error_code {
            ErrorCode::NONE => (),
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                ctx.judge.fact(&Fact::Sought { reader: self.reader, partition: place.index, to: None });
                place.next = None;
                return;
            }
            _ => {
                self.wait_until = ctx.now + RETRY;
                return;
            }
        }
        let bytes = partition.records.as_ref().and_then(|records| records.as_slice()).unwrap_or_default();
        let mut next = next;
        if !take_batches(ctx, self.reader, place.index, &mut next, bytes) {
            self.wait_until = ctx.now + RETRY;
        }
        place.next = Some(next);
    }

    /// Starts again from some place that it has passed.
    fn seek(&mut self, ctx: &mut Ctx<'_>) {
        self.seek_at = ctx.now + ctx.draw().exponential(self.params.seek.0);
        for place in &mut self.partitions {
            if let Some(next) = place.next {
                let start = place.start.unwrap_or(0);
                let back = ctx.draw().below(u64::try_from(next - start).unwrap_or(0) + 1);
                place.next = Some(next - i64::try_from(back).unwrap_or(0));
                ctx.judge.fact(&Fact::Sought { reader: self.reader, partition: place.index, to: place.next });
            }
        }
    }

    fn list_offsets(&self, timestamp: i64, wanted: impl Fn(&Place) -> bool) -> Ask {
        let partitions = (0..).zip(&self.partitions).filter(|(_, place)| wanted(place));
        let partitions = partitions.map(|(partition_index, _)| ListOffsetsPartition {
            partition_index,
            timestamp,
            ..ListOffsetsPartition::default()
        });
        let topic = ListOffsetsTopic { name: &self.params.topic, partitions: partitions.collect() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
        Ask::new(ApiKey::ListOffsets, 1 + self.version % 7, timestamp.unsigned_abs(), &request)
    }

    fn fetch(&self) -> Ask {
        let wanted = |place: &Place| place.next.is_some() && !place.is_complete();
        let partitions = (0..).zip(&self.partitions).filter(|(_, place)| wanted(place));
        let partitions = partitions.map(|(partition, place)| FetchPartition {
            partition,
            fetch_offset: place.next.unwrap_or(0),
            partition_max_bytes: self.params.max_bytes,
            ..FetchPartition::default()
        });
        let topic = FetchTopic { topic: &self.params.topic, partitions: partitions.collect(), ..FetchTopic::default() };
        let request = FetchRequest {
            max_wait_ms: i32::try_from(self.params.max_wait.0 / MILLISECOND).unwrap_or(i32::MAX),
            min_bytes: self.params.min_bytes,
            max_bytes: self.params.max_bytes,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        Ask::new(ApiKey::Fetch, self.version, 0, &request)
    }
}

impl Place {
    fn is_complete(&self) -> bool {
        matches!((self.next, self.end), (Some(next), Some(end)) if next >= end)
    }
}

fn place_mut(partitions: &mut [Place], index: i32) -> Option<&mut Place> {
    partitions.get_mut(usize::try_from(index).ok()?)
}

/// Reads what a fetch of a partition brought, from `next` on, which then is what comes after it. Answers whether all of
/// it could be read.
pub(super) fn take_batches(
    ctx: &mut Ctx<'_>,
    reader: u16,
    partition: PartitionIndex,
    next: &mut i64,
    bytes: &[u8],
) -> bool {
    for batch in batches(bytes) {
        let batch = match batch {
            Ok(batch) => Some(batch),
            // A response may end in the middle of a batch.
            Err(BatchError::Cut { .. }) => break,
            Err(BatchError::Malformed { .. }) => None,
        };
        let values = batch.as_ref().and_then(|batch| ctx.judge.known.values(batch));
        let (Some(batch), Some(values)) = (batch, values) else {
            ctx.judge.refused_bad(partition, *next);
            return false;
        };
        let from = *next;
        for (offset, value) in values.iter().filter(|(offset, _)| *offset >= from) {
            ctx.judge.polled(reader, partition, *offset, *value);
        }
        *next = from.max(batch.header().next_offset().0);
    }
    true
}
