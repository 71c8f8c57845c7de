//! A client that changes topics: makes and deletes its own, deletes records, alters settings, moves partitions.

use ottla_core::controller::METADATA_TOPIC;
use ottla_core::types::TopicPartition;
use ottla_wire::api::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_wire::api::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use ottla_wire::api::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_wire::api::describe_quorum::{
    DescribeQuorumPartition, DescribeQuorumRequest, DescribeQuorumResponse, DescribeQuorumTopic,
};
use ottla_wire::api::elect_leaders::ElectLeadersRequest;
use ottla_wire::api::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use ottla_wire::api::remove_raft_voter::RemoveRaftVoterRequest;
use ottla_wire::{ApiKey, DecodeError, ErrorCode, Message, Reader, Uuid};
use serde::Deserialize;

use crate::client::Ctx;
use crate::client::ask::Ask;
use crate::metadata::{ChangeId, Register};
use crate::scenario::Span;
use crate::time::{MILLISECOND, Nanos};

use super::Kind;

/// `admin = { every = "1s", delete_records = true }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Which client.
    pub client: Kind,
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
    /// Among so many brokers its partitions move, three to each; 0: they stay. Only frames ask for that.
    pub moves: u16,
    /// Whether preferred leaders are elected. Only frames ask for that.
    pub elections: bool,
    /// Whether voters of the metadata quorum are removed, which come back by themselves. Only frames ask for that.
    pub voters: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            client: Kind::default(),
            every: Span(500 * MILLISECOND),
            topic: "t".into(),
            topics: true,
            delete_records: false,
            alter_configs: true,
            moves: 0,
            elections: false,
            voters: false,
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
    /// The change that is asked for and not answered, if it is one of the metadata.
    waiting: Option<ChangeId>,
    /// The partition all of whose records are to be deleted.
    deleting: Option<i32>,
    /// The voters, as they were described last.
    voters: Vec<(i32, Uuid)>,
    /// Whether the node that was asked does not lead the quorum: another is asked next.
    elsewhere: bool,
}

/// A change, however it is asked for.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A topic of its own is made.
    Create { name: String, partitions: i32 },
    /// A topic of its own is deleted.
    Delete { name: String },
    /// Records are deleted: those before an offset, or all.
    DeleteRecords { partition: i32, before: Option<i64> },
    /// A setting of the topic changes, or goes back to its default.
    Alter { key: &'static str, value: Option<String> },
    /// A partition moves to these brokers, or a move under way is taken back.
    Move { partition: i32, replicas: Option<Vec<i32>> },
    /// Preferred leaders lead again.
    Elect,
}

impl Change {
    /// What it is to leave in the metadata; nothing of that if it deletes records.
    pub(super) fn ask(&self, topic: &str, ctx: &mut Ctx<'_>) -> Option<ChangeId> {
        let (register, leaves) = match self {
            Self::Create { name, partitions } => (Register::Topic(name.clone()), Some(partitions.to_string())),
            Self::Delete { name } => (Register::Topic(name.clone()), None),
            Self::Alter { key, value } => (Register::Setting(topic.to_owned(), (*key).to_owned()), value.clone()),
            Self::DeleteRecords { partition, before } => {
                if let Some(deletions) = &mut ctx.judge.deletions {
                    deletions.asked(&TopicPartition::new(topic, *partition), *before);
                }
                return None;
            }
            Self::Move { .. } | Self::Elect => return None,
        };
        Some(ctx.judge.metadata.ask(ctx.now, register, leaves))
    }
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
        let voters = Vec::new();
        let (stopped, elsewhere) = (false, false);
        Self { params, partitions, next_at: at, until, stopped, waiting: None, deleting: None, voters, elsewhere }
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
        if self.params.voters && ctx.draw().chance(0.5) {
            return Some(self.remove_voter(ctx));
        }
        let change = draw_change(&self.params, self.partitions, ctx)?;
        self.waiting = change.ask(&self.params.topic, ctx);
        self.deleting =
            if let Change::DeleteRecords { partition, before: None } = change { Some(partition) } else { None };
        Some(self.frame(ctx, &change))
    }

    /// Whatever the answer is, it goes on: what matters is what others see, and what is there in the end.
    pub(super) fn on_answer(&mut self, ctx: &mut Ctx<'_>, ask: &Ask, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        if ask.api_key == ApiKey::DescribeQuorum {
            let answer = DescribeQuorumResponse::decode(body, ask.api_version)?;
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let voters = partitions.flat_map(|partition| &partition.current_voters);
            self.voters = voters.map(|voter| (voter.replica_id, voter.replica_directory_id)).collect();
        }
        if ask.api_key == ApiKey::DeleteRecords {
            let answer = DeleteRecordsResponse::decode(body, ask.api_version)?;
            let told =
                answer.topics.iter().flat_map(|topic| &topic.partitions).find(|it| it.error_code == ErrorCode::NONE);
            if let (Some(partition), Some(told), Some(deletions)) =
                (self.deleting.take(), told, &mut ctx.judge.deletions)
            {
                deletions.told(&TopicPartition::new(self.params.topic.as_str(), partition), told.low_watermark);
            }
        }
        let Some(change) = self.waiting.take() else { return Ok(()) };
        let version = ask.api_version;
        let error = if ask.api_key == ApiKey::CreateTopics {
            CreateTopicsResponse::decode(body, version)?.topics.first().map(|it| it.error_code)
        } else if ask.api_key == ApiKey::DeleteTopics {
            DeleteTopicsResponse::decode(body, version)?.responses.first().map(|it| it.error_code)
        } else {
            IncrementalAlterConfigsResponse::decode(body, version)?.responses.first().map(|it| it.error_code)
        };
        match error {
            Some(ErrorCode::NONE) => ctx.judge.metadata.done(ctx.now, change),
            Some(ErrorCode::TOPIC_ALREADY_EXISTS) => ctx.judge.metadata.exists(ctx.now, change),
            Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                ctx.judge.metadata.refused(ctx.now, change);
            }
            error => self.elsewhere = error == Some(ErrorCode::NOT_CONTROLLER),
        }
        Ok(())
    }

    /// The answer never came: nobody knows whether the change did.
    pub(super) const fn on_lost(&mut self) {
        (self.waiting, self.deleting) = (None, None);
    }

    pub(super) const fn hangs_up(&mut self) -> bool {
        std::mem::replace(&mut self.elsewhere, false)
    }

    /// A voter is removed, of those that were described last; or they are described.
    fn remove_voter(&mut self, ctx: &mut Ctx<'_>) -> Ask {
        let known = std::mem::take(&mut self.voters);
        if let Some((voter_id, voter_directory_id)) = known.get(ctx.draw().index(known.len())).copied() {
            let request = RemoveRaftVoterRequest { voter_id, voter_directory_id, ..RemoveRaftVoterRequest::default() };
            return Ask::new(ApiKey::RemoveRaftVoter, 0, 0, &request);
        }
        let partitions = vec![DescribeQuorumPartition { partition_index: 0 }];
        let topics = vec![DescribeQuorumTopic { topic_name: METADATA_TOPIC, partitions }];
        Ask::new(ApiKey::DescribeQuorum, 2, 0, &DescribeQuorumRequest { topics })
    }

    /// A change as a request, in a version that is drawn.
    fn frame(&self, ctx: &mut Ctx<'_>, change: &Change) -> Ask {
        let mut version = |versions: u64| i16::try_from(ctx.draw().below(versions)).unwrap_or(0);
        match change {
            Change::Create { name, partitions } => {
                let num_partitions = *partitions;
                let topic = CreatableTopic { name, num_partitions, replication_factor: 1, ..CreatableTopic::default() };
                let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
                Ask::new(ApiKey::CreateTopics, 2 + version(6), 0, &request)
            }
            Change::Delete { name } => {
                let topic_names = vec![&**name];
                let request = DeleteTopicsRequest { topic_names, timeout_ms: 1000, ..DeleteTopicsRequest::default() };
                Ask::new(ApiKey::DeleteTopics, 1 + version(5), 0, &request)
            }
            Change::DeleteRecords { partition, before } => {
                let partition = DeleteRecordsPartition { partition_index: *partition, offset: before.unwrap_or(-1) };
                let topic = DeleteRecordsTopic { name: &self.params.topic, partitions: vec![partition] };
                let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000 };
                Ask::new(ApiKey::DeleteRecords, version(3), 0, &request)
            }
            Change::Move { partition, replicas } => {
                let partition = ReassignablePartition { partition_index: *partition, replicas: replicas.clone() };
                let topic = ReassignableTopic { name: &self.params.topic, partitions: vec![partition] };
                let request = AlterPartitionReassignmentsRequest {
                    topics: vec![topic],
                    ..AlterPartitionReassignmentsRequest::default()
                };
                Ask::new(ApiKey::AlterPartitionReassignments, version(2), 0, &request)
            }
            Change::Elect => {
                let request = ElectLeadersRequest { topic_partitions: None, ..ElectLeadersRequest::default() };
                Ask::new(ApiKey::ElectLeaders, version(3), 0, &request)
            }
            Change::Alter { key, value } => {
                let config_operation = if value.is_some() { SET } else { DELETE };
                let config = AlterableConfig { name: key, config_operation, value: value.as_deref() };
                let resource = AlterConfigsResource {
                    resource_type: TOPIC,
                    resource_name: &self.params.topic,
                    configs: vec![config],
                };
                let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
                Ask::new(ApiKey::IncrementalAlterConfigs, 1, 0, &request)
            }
        }
    }
}

/// Draws a change of the kinds that `params` allows, if it allows any.
pub(super) fn draw_change(params: &Admin, partitions: i32, ctx: &mut Ctx<'_>) -> Option<Change> {
    if params.moves > 0 && ctx.draw().chance(0.5) {
        return Some(move_partition(ctx, partitions, params.moves));
    }
    if params.elections && ctx.draw().chance(0.5) {
        return Some(Change::Elect);
    }
    let mut kinds: Vec<fn(&mut Ctx<'_>, i32) -> Change> = Vec::new();
    if params.topics {
        kinds.extend([create as fn(&mut Ctx<'_>, i32) -> Change, delete]);
    }
    if params.delete_records {
        kinds.push(delete_records);
    }
    if params.alter_configs {
        kinds.push(alter);
    }
    let kind = kinds.get(ctx.draw().index(kinds.len()))?;
    Some(kind(ctx, partitions))
}

fn create(ctx: &mut Ctx<'_>, _: i32) -> Change {
    let name = own_topic(ctx);
    Change::Create { name, partitions: i32::try_from(ctx.draw().between(1, 3)).unwrap_or(1) }
}

fn delete(ctx: &mut Ctx<'_>, _: i32) -> Change {
    Change::Delete { name: own_topic(ctx) }
}

fn delete_records(ctx: &mut Ctx<'_>, partitions: i32) -> Change {
    let partition = i32::try_from(ctx.draw().below(u64::from(partitions.unsigned_abs()))).unwrap_or(0);
    let written = i64::try_from(ctx.judge.history.next_value()).unwrap_or(0) / i64::from(partitions.max(1));
    let before = match ctx.draw().below(10) {
        0 => None,
        _ => Some(i64::try_from(ctx.draw().below(written.unsigned_abs())).unwrap_or(0) / 2),
    };
    Change::DeleteRecords { partition, before }
}

fn move_partition(ctx: &mut Ctx<'_>, partitions: i32, brokers: u16) -> Change {
    let partition = i32::try_from(ctx.draw().below(u64::from(partitions.unsigned_abs()))).unwrap_or(0);
    if ctx.draw().chance(0.1) {
        return Change::Move { partition, replicas: None };
    }
    let mut left: Vec<i32> = (0..i32::from(brokers)).collect();
    let replicas = (0..3.min(brokers)).map(|_| left.remove(ctx.draw().index(left.len()))).collect();
    Change::Move { partition, replicas: Some(replicas) }
}

fn alter(ctx: &mut Ctx<'_>, _: i32) -> Change {
    let (key, low, high) = match ctx.draw().below(4) {
        0 => ("segment.bytes", 1 << 20, 1 << 24),
        1 => ("segment.ms", 200, 60_000),
        2 => ("index.interval.bytes", 1, 10_000),
        _ => ("max.message.bytes", 100_000, 2_000_000),
    };
    let value = ctx.draw().log_between(low, high).to_string();
    let value = if ctx.draw().chance(0.3) { None } else { Some(value) };
    Change::Alter { key, value }
}

fn own_topic(ctx: &mut Ctx<'_>) -> String {
    let which = ctx.draw().below(4);
    format!("own-{}-{which}", ctx.id)
}
