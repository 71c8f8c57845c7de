//! Where a member is in the partitions that it was given.

use ottla_core::types::TopicPartition;
use ottla_wire::api::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ottla_wire::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic};
use ottla_wire::{ApiKey, DecodeError, ErrorCode, Message, Reader};

use crate::client::Ctx;
use crate::client::ask::Ask;
use crate::groups::{Op, PENDING, Seen};
use crate::history::PartitionIndex;
use crate::invariants::Fact;
use crate::time::Nanos;
use crate::workload::read::take_batches;

/// The timestamp of ListOffsets that stands for the beginning of a log.
const EARLIEST: i64 = -2;

/// One partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its number in the topic.
    pub partition: i32,
    /// Its place in the history.
    pub index: PartitionIndex,
    /// What comes next; `None` if nothing is committed, and it begins where the log does.
    pub next: Option<i64>,
    /// What it has committed last.
    pub committed: Option<i64>,
}

/// Its partitions.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    topic: String,
    group: String,
    pub all: Vec<Place>,
}

impl Places {
    /// These partitions, of which nothing is known yet.
    pub fn new(ctx: &mut Ctx<'_>, group: &str, topic: &str, partitions: &[i32]) -> Self {
        let place = |partition: &i32| Place {
            partition: *partition,
            index: ctx.judge.history.partition(&TopicPartition::new(topic, *partition)),
            next: None,
            committed: None,
        };
        let all = partitions.iter().map(place).collect();
        Self { topic: topic.into(), group: group.into(), all }
    }

    /// Their places in the history.
    pub fn indexes(&self) -> Vec<PartitionIndex> {
        self.all.iter().map(|place| place.index).collect()
    }

    pub fn of_mut(&mut self, partition: i32) -> Option<&mut Place> {
        self.all.iter_mut().find(|place| place.partition == partition)
    }

    /// Whether something was read that is not committed.
    pub fn are_ahead(&self) -> bool {
        self.all.iter().any(|place| place.next.is_some() && place.next != place.committed)
    }

    /// What to ask for next, if there is anything to read.
    pub fn next_ask(&self, version: i16) -> Option<Ask> {
        if self.all.iter().any(|place| place.next.is_none()) {
            let lost = self.all.iter().filter(|place| place.next.is_none());
            let partitions = lost.map(|place| ListOffsetsPartition {
                partition_index: place.partition,
                timestamp: EARLIEST,
                ..ListOffsetsPartition::default()
            });
            let topic = ListOffsetsTopic { name: &self.topic, partitions: partitions.collect() };
            let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
            return Some(Ask::new(ApiKey::ListOffsets, 1 + version % 7, 0, &request));
        }
        if self.all.is_empty() {
            return None;
        }
        let partitions = self.all.iter().map(|place| FetchPartition {
            partition: place.partition,
            fetch_offset: place.next.unwrap_or(0),
            partition_max_bytes: 100_000,
            ..FetchPartition::default()
        });
        let topic = FetchTopic { topic: &self.topic, partitions: partitions.collect(), ..FetchTopic::default() };
        let request = FetchRequest {
            max_wait_ms: 20,
            min_bytes: 1,
            max_bytes: 200_000,
            topics: vec![topic],
            ..Default::default()
        };
        Some(Ask::new(ApiKey::Fetch, 4 + version % 9, 0, &request))
    }

    /// It begins to read a partition where something is committed.
    pub fn begin(&mut self, ctx: &mut Ctx<'_>, partition: i32, at: i64) {
        let group = self.group.clone();
        let Some(place) = self.of_mut(partition) else { return };
        (place.next, place.committed) = (Some(at), Some(at));
        place.started(ctx, &group, at, true);
    }

    /// Where logs begin, or records.
    pub fn on_answer(&mut self, ctx: &mut Ctx<'_>, ask: &Ask, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        let group = self.group.clone();
        if ask.api_key == ApiKey::ListOffsets {
            let answer = ListOffsetsResponse::decode(body, ask.api_version)?;
            for it in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                let place = self.of_mut(it.partition_index).filter(|place| place.next.is_none());
                if let Some(place) = place.filter(|_| it.error_code == ErrorCode::NONE) {
                    place.next = Some(it.offset);
                    place.started(ctx, &group, it.offset, false);
                }
            }
            return Ok(());
        }
        let answer = FetchResponse::decode(body, ask.api_version)?;
        for it in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let Some(place) = self.of_mut(it.partition_index) else { continue };
            let Some(mut next) = place.next else { continue };
            if it.error_code == ErrorCode::OFFSET_OUT_OF_RANGE {
                ctx.judge.fact(&Fact::Sought { reader: ctx.id, partition: place.index, to: None });
                place.next = None;
            } else if it.error_code == ErrorCode::NONE {
                let bytes = it.records.as_ref().and_then(|records| records.as_slice()).unwrap_or_default();
                take_batches(ctx, ctx.id, place.index, &mut next, bytes);
                place.next = Some(next);
                let seen = Seen::Passed { partition: place.index, next };
                ctx.judge.group(look(&group, ctx.now), seen);
            }
        }
        Ok(())
    }
}

impl Place {
    fn started(&self, ctx: &mut Ctx<'_>, group: &str, at: i64, committed: bool) {
        ctx.judge.fact(&Fact::Sought { reader: ctx.id, partition: self.index, to: Some(at) });
        ctx.judge.group(look(group, ctx.now), Seen::Began { partition: self.index, at, committed });
    }
}

/// Something that a member does by itself.
const fn look(group: &str, now: Nanos) -> Op<'_> {
    Op { id: 0, group, asked: now, told: PENDING }
}
