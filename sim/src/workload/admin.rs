//! A client that changes topics: makes and deletes its own, deletes records, alters settings.

use ottla_wire::api::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::api::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::api::delete_topics::DeleteTopicsRequest;
use ottla_wire::api::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_wire::{ApiKey, DecodeError, Reader};
use serde::Deserialize;

use crate::client::Ctx;
use crate::client::ask::Ask;
use crate::scenario::Span;
use crate::time::{MILLISECOND, Nanos};

/// `admin = { every = "1s", delete_records = true }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// The mean time between two requests.
    pub every: Span,
    /// The topic whose records are deleted and whose settings change.
    pub topic: String,
    /// Whether topics of its own are made and deleted.
    pub topics: bool,
    /// Whether records are deleted.
    pub delete_records: bool,
    /// Whether settings change.
    pub alter_configs: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            every: Span(500 * MILLISECOND),
            topic: "t".into(),
            topics: true,
            delete_records: false,
            alter_configs: true,
        }
    }
}

/// One client that changes topics.
#[derive(Clone, Debug)]
pub struct AdminActor {
    params: Admin,
    partitions: i32,
    next_at: Nanos,
    until: Nanos,
    stopped: bool,
}

/// The type of a topic in AlterConfigs.
const TOPIC: i8 = 2;
/// To set, and to go back to the default.
const SET: i8 = 0;
const DELETE: i8 = 1;

impl AdminActor {
    /// A client that changes things from `at` until `until`.
    #[must_use]
    pub const fn new(params: Admin, partitions: i32, at: Nanos, until: Nanos) -> Self {
        Self { params, partitions, next_at: at, until, stopped: false }
    }

    pub(super) fn next_wake(&self, in_flight: usize) -> Nanos {
        if in_flight > 0 || self.stopped { u64::MAX } else { self.next_at }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.stopped
    }

    pub(super) fn next_ask(&mut self, ctx: &mut Ctx<'_>, in_flight: usize) -> Option<Ask> {
        self.stopped |= !ctx.load || ctx.now >= self.until;
        if in_flight > 0 || self.stopped || ctx.now < self.next_at {
            return None;
        }
        self.next_at = ctx.now + 1 + ctx.draw().exponential(self.params.every.0);
        let mut kinds = Vec::new();
        if self.params.topics {
            kinds.extend([Self::create_topic as fn(&Self, &mut Ctx<'_>) -> Ask, Self::delete_topic]);
        }
        if self.params.delete_records {
            kinds.push(Self::delete_records);
        }
        if self.params.alter_configs {
            kinds.push(Self::alter_config);
        }
        let kind = kinds.get(ctx.draw().index(kinds.len()))?;
        Some(kind(self, ctx))
    }

    /// Whatever the answer is, it goes on: what matters is what others see.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "every actor has it")]
    pub(super) const fn on_answer(&self, _: &Ctx<'_>, _: &Ask, _: &Reader<'_>) -> Result<(), DecodeError> {
        Ok(())
    }

    fn create_topic(&self, ctx: &mut Ctx<'_>) -> Ask {
        let name = own_topic(ctx);
        let num_partitions = i32::try_from(ctx.draw().between(1, 3)).unwrap_or(1);
        let topic = CreatableTopic { name: &name, num_partitions, replication_factor: 1, ..CreatableTopic::default() };
        let version = 2 + i16::try_from(ctx.draw().below(6)).unwrap_or(0);
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        Ask::new(ApiKey::CreateTopics, version, 0, &request)
    }

    fn delete_topic(&self, ctx: &mut Ctx<'_>) -> Ask {
        let name = own_topic(ctx);
        let request =
            DeleteTopicsRequest { topic_names: vec![&name], timeout_ms: 1000, ..DeleteTopicsRequest::default() };
        Ask::new(ApiKey::DeleteTopics, 1 + i16::try_from(ctx.draw().below(5)).unwrap_or(0), 0, &request)
    }

    fn delete_records(&self, ctx: &mut Ctx<'_>) -> Ask {
        let partition_index = i32::try_from(ctx.draw().below(u64::from(self.partitions.unsigned_abs()))).unwrap_or(0);
        let written = i64::try_from(ctx.judge.history.next_value()).unwrap_or(0) / i64::from(self.partitions.max(1));
        let offset = match ctx.draw().below(10) {
            // Everything that is there.
            0 => -1,
            _ => i64::try_from(ctx.draw().below(written.unsigned_abs())).unwrap_or(0) / 2,
        };
        let partitions = vec![DeleteRecordsPartition { partition_index, offset }];
        let topic = DeleteRecordsTopic { name: &self.params.topic, partitions };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000 };
        Ask::new(ApiKey::DeleteRecords, i16::try_from(ctx.draw().below(3)).unwrap_or(0), 0, &request)
    }

    fn alter_config(&self, ctx: &mut Ctx<'_>) -> Ask {
        let (name, low, high) = match ctx.draw().below(4) {
            0 => ("segment.bytes", 1 << 20, 1 << 24),
            1 => ("segment.ms", 200, 60_000),
            2 => ("index.interval.bytes", 1, 10_000),
            _ => ("max.message.bytes", 100_000, 2_000_000),
        };
        let value = ctx.draw().log_between(low, high).to_string();
        let config_operation = if ctx.draw().chance(0.3) { DELETE } else { SET };
        let config = AlterableConfig { name, config_operation, value: Some(&value) };
        let resource =
            AlterConfigsResource { resource_type: TOPIC, resource_name: &self.params.topic, configs: vec![config] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        Ask::new(ApiKey::IncrementalAlterConfigs, 1, 0, &request)
    }
}

fn own_topic(ctx: &mut Ctx<'_>) -> String {
    let which = ctx.draw().below(4);
    format!("own-{}-{which}", ctx.id)
}
