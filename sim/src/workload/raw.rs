//! A client that sends what no good client sends: old and unknown versions, frames cut short or full of lies.

use ottla_wire::api::api_versions::ApiVersionsRequest;
use ottla_wire::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::api::metadata::MetadataRequest;
use ottla_wire::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::{ApiKey, DecodeError, Reader, Records};
use serde::Deserialize;

use crate::client::Ctx;
use crate::client::ask::Ask;
use crate::scenario::Span;
use crate::time::{MILLISECOND, Nanos};

/// `raw = { every = "100ms" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    /// The mean time between two frames.
    pub every: Span,
    /// The topic that it asks for.
    pub topic: String,
    /// Whether it sends frames that cannot be read, too.
    pub hostile: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self { every: Span(100 * MILLISECOND), topic: "t".into(), hostile: true }
    }
}

/// One such client.
#[derive(Clone, Debug)]
pub struct RawActor {
    params: Raw,
    next_at: Nanos,
    until: Nanos,
    stopped: bool,
}

impl RawActor {
    /// A client that misbehaves from `at` until `until`.
    #[must_use]
    pub const fn new(params: Raw, at: Nanos, until: Nanos) -> Self {
        Self { params, next_at: at, until, stopped: false }
    }

    pub(super) fn next_wake(&self, in_flight: usize) -> Nanos {
        if in_flight > 4 || self.stopped { u64::MAX } else { self.next_at }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.stopped
    }

    pub(super) fn next_ask(&mut self, ctx: &mut Ctx<'_>, in_flight: usize) -> Option<Ask> {
        self.stopped |= !ctx.load || ctx.now >= self.until;
        if in_flight > 4 || self.stopped || ctx.now < self.next_at {
            return None;
        }
        self.next_at = ctx.now + 1 + ctx.draw().exponential(self.params.every.0);
        let mut ask = self.good(ctx);
        if self.params.hostile && ctx.draw().chance(0.3) {
            ask.spoil(ctx.draw());
        }
        Some(ask)
    }

    /// Any answer will do that can be told apart.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "every actor has it")]
    pub(super) const fn on_answer(&self, _: &Ctx<'_>, _: &Ask, _: &Reader<'_>) -> Result<(), DecodeError> {
        Ok(())
    }

    /// A frame that can be read, though perhaps in a version that nobody uses, of a topic that is not there.
    fn good(&self, ctx: &mut Ctx<'_>) -> Ask {
        let small = i16::try_from(ctx.draw().below(16)).unwrap_or(0);
        let topic = if ctx.draw().chance(0.5) { &*self.params.topic } else { "nobody-has-this" };
        match ctx.draw().below(4) {
            0 => Ask::new(ApiKey::ApiVersions, small % 5, 0, &ApiVersionsRequest::default()),
            1 => {
                let request = MetadataRequest {
                    topics: if small > 2 { Some(Vec::new()) } else { None },
                    allow_auto_topic_creation: false,
                    ..MetadataRequest::default()
                };
                Ask::new(ApiKey::Metadata, 1 + small % 12, 0, &request)
            }
            2 => stale_fetch(ctx, topic, 4 + small % 9),
            _ => bad_produce(ctx, topic, 3 + small % 10),
        }
    }
}

/// A Fetch of a session that nobody has, of a partition or an epoch that nobody has.
fn stale_fetch(ctx: &mut Ctx<'_>, topic: &str, version: i16) -> Ask {
    let number = |ctx: &mut Ctx<'_>, below: u64| i32::try_from(ctx.draw().below(below)).unwrap_or(0);
    let partition = FetchPartition {
        partition: number(ctx, 5) - 1,
        fetch_offset: i64::from(number(ctx, 1000)) - 10,
        current_leader_epoch: number(ctx, 100) - 2,
        partition_max_bytes: number(ctx, 1000),
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic, partitions: vec![partition], ..FetchTopic::default() };
    let request = FetchRequest {
        max_wait_ms: 10,
        session_id: number(ctx, 3),
        session_epoch: number(ctx, 4) - 1,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    Ask::new(ApiKey::Fetch, version, 0, &request)
}

/// A Produce whose records are no batch.
fn bad_produce(ctx: &mut Ctx<'_>, topic: &str, version: i16) -> Ask {
    let length = ctx.draw().index(100);
    let byte = u8::try_from(ctx.draw().below(256)).unwrap_or(0);
    let bytes = vec![byte; length];
    let records = Some(Records::Slice(&bytes));
    let partition = PartitionProduceData { index: 0, records };
    let topic = TopicProduceData { name: topic, partition_data: vec![partition], ..TopicProduceData::default() };
    let request = ProduceRequest { acks: 1, timeout_ms: 100, topic_data: vec![topic], ..ProduceRequest::default() };
    Ask::new(ApiKey::Produce, version, 0, &request)
}
