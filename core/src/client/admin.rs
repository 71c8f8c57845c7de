//! Requests that change or describe one thing each: a topic, a partition's start, a setting.
//!
//! Each is sent to whom it concerns (a partition's leader, or any broker, which forwards it), and again while the
//! error may pass, until `default.api.timeout.ms` is over. What was sent and not answered may have been done:
//! such a failure is not definite.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::api::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::api::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::api::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::api::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_wire::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::api::{Request, Response};
use ottla_wire::{ErrorCode, Uuid};

use crate::clock::Instant;
use crate::rpc::{Answer, Backoff, CallId, Lane, Readiness, Route, RpcError};
use crate::types::{LeaderEpoch, Offset};

use super::boundary::{AdminReply, AdminRequest, ClientError, Event};
use super::metadata::Pick;
use super::turn::Turn;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Admin {
    /// In the order of the commands.
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    timeout: Duration,
    backoff: Backoff,
}

#[derive(Clone, Debug)]
struct Task {
    token: u64,
    request: AdminRequest,
    deadline: Instant,
    call: Option<CallId>,
    retry_at: Instant,
    attempts: u32,
    /// Whether an attempt may have done it, for all that we know.
    doubtful: bool,
    error: Option<ClientError>,
}

/// The most requests that wait or are in flight: a program that asks for more is told so.
const MOST_TASKS: usize = 10_000;

impl Admin {
    pub(super) fn new(default_api_timeout_ms: u64, backoff: Backoff) -> Self {
        Self { tasks: BTreeMap::new(), next_task: 0, timeout: Duration::from_millis(default_api_timeout_ms), backoff }
    }

    pub(super) fn request(&mut self, token: u64, request: AdminRequest, turn: &mut Turn<'_>) {
        if self.tasks.len() >= MOST_TASKS {
            let error = ClientError::BufferFull;
            return turn.events.push(Event::AdminFailed { token, error, definite: true });
        }
        let (deadline, retry_at) = (turn.at() + self.timeout, Instant(0));
        let task = Task { token, request, deadline, call: None, retry_at, attempts: 0, doubtful: false, error: None };
        self.tasks.insert(self.next_task, task);
        self.next_task += 1;
    }

    /// Sends what can be sent, and gives up what is too late.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        let now = turn.at();
        let late: Vec<_> = self.tasks.iter().filter(|(_, task)| task.deadline <= now).map(|(&key, _)| key).collect();
        for task in late.iter().filter_map(|key| self.tasks.remove(key)) {
            let definite = !task.doubtful && task.call.is_none();
            let error = task.error.unwrap_or(ClientError::Rpc(RpcError::TimedOut));
            turn.events.push(Event::AdminFailed { token: task.token, error, definite });
        }
        for task in self.tasks.values_mut() {
            turn.wake.by(task.deadline);
            if task.call.is_none() && task.retry_at > now {
                turn.wake.by(task.retry_at);
            } else if task.call.is_none() {
                task.send(self.backoff, turn);
            }
        }
    }

    /// The result of a call, if it is ours.
    pub(super) fn on_result(&mut self, call: CallId, result: Result<&Answer, RpcError>, turn: &mut Turn<'_>) {
        let found = self.tasks.iter_mut().find(|(_, task)| task.call == Some(call));
        let Some((&key, task)) = found else { return };
        task.call = None;
        let outcome = result.and_then(|answer| answer.decode().map_err(RpcError::Malformed));
        let outcome = match &outcome {
            Ok(response) => task.request.reply(response).map_err(ClientError::Broker),
            Err(error) => Err(ClientError::Rpc(*error)),
        };
        let passing = match &outcome {
            Ok(_) => false,
            Err(ClientError::Broker(code)) => code.is_retriable(),
            Err(_) => true,
        };
        task.doubtful |= !matches!(&outcome, Err(ClientError::Broker(code)) if proves_absence(*code));
        if passing {
            turn.metadata.request();
            task.retry_at = turn.at() + self.backoff.delay(task.attempts, turn.rng);
            task.error = outcome.err();
            return;
        }
        let task = self.tasks.remove(&key).expect("it was found above");
        let token = task.token;
        turn.events.push(match outcome {
            Ok(reply) => Event::AdminDone { token, reply },
            Err(error) => Event::AdminFailed { token, error, definite: !task.doubtful },
        });
    }
}

/// Whether a request that was refused with this code did nothing. What timed out at the broker, or what it began
/// and then lost its office over, may be done yet.
fn proves_absence(code: ErrorCode) -> bool {
    const PERHAPS_BEGUN: &[ErrorCode] = &[
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::UNKNOWN_SERVER_ERROR,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::NOT_CONTROLLER,
        ErrorCode::KAFKA_STORAGE_ERROR,
    ];
    !PERHAPS_BEGUN.contains(&code)
}

impl Task {
    fn send(&mut self, backoff: Backoff, turn: &mut Turn<'_>) {
        let Some(route) = self.route(turn) else { return };
        self.attempts += 1;
        let request = self.request.to_wire(turn, self.deadline);
        match turn.pool.send(turn.now.monotonic, route, (&request, i16::MAX), turn.sink) {
            Ok(call) => self.call = Some(call),
            Err(error) => {
                self.error = Some(ClientError::Rpc(error));
                self.retry_at = turn.now.monotonic + backoff.delay(self.attempts, turn.rng);
                turn.wake.by(self.retry_at);
            }
        }
    }

    /// Whom to send it to, if that is possible now.
    fn route(&self, turn: &mut Turn<'_>) -> Option<Route> {
        let now = turn.at();
        let Some(partition) = self.request.partition() else {
            let Turn { pool, metadata, rng, sink, .. } = turn;
            return match metadata.any_broker(now, Lane::Slow, pool, rng, sink) {
                Pick::Ready(route) => Some(route),
                Pick::Wait(at) => {
                    at.into_iter().for_each(|at| turn.wake.by(at));
                    None
                }
            };
        };
        let _in_use = turn.metadata.topic(now, &partition.topic);
        let Some((leader, _)) = turn.metadata.leader_and_epoch(&partition.topic, partition.partition) else {
            turn.metadata.request();
            return None;
        };
        let route = Route::to(leader, Lane::Slow);
        match turn.pool.connect(now, route, turn.sink) {
            Readiness::Ready => return Some(route),
            Readiness::Later(at) => turn.wake.by(at),
            Readiness::Unknown => turn.metadata.request(),
            Readiness::Busy | Readiness::Connecting | Readiness::Idle => {}
        }
        None
    }
}

impl AdminRequest {
    /// The partition whose leader it concerns.
    fn partition(&self) -> Option<&crate::types::TopicPartition> {
        match self {
            Self::DeleteRecords { partition, .. } | Self::ListOffset { partition, .. } => Some(partition),
            Self::CreateTopic { .. } | Self::DeleteTopic { .. } | Self::AlterConfig { .. } => None,
        }
    }

    fn to_wire(&self, turn: &Turn<'_>, deadline: Instant) -> Request<'_> {
        let left = deadline.since(turn.at()).as_millis();
        let timeout_ms = i32::try_from(left).unwrap_or(i32::MAX).min(30_000);
        match self {
            Self::CreateTopic { name, partitions, replication_factor, configs } => {
                let configs = configs.iter();
                let configs = configs.map(|(name, value)| CreatableTopicConfig { name, value: Some(value) });
                let topic = CreatableTopic {
                    name,
                    num_partitions: *partitions,
                    replication_factor: *replication_factor,
                    configs: configs.collect(),
                    ..CreatableTopic::default()
                };
                CreateTopicsRequest { topics: vec![topic], timeout_ms, validate_only: false }.into()
            }
            Self::DeleteTopic { name } => DeleteTopicsRequest {
                topics: vec![DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO }],
                topic_names: vec![name],
                timeout_ms,
            }
            .into(),
            Self::DeleteRecords { partition, before } => {
                let partitions = vec![DeleteRecordsPartition {
                    partition_index: partition.partition,
                    offset: before.map_or(-1, |offset| offset.0),
                }];
                let topics = vec![DeleteRecordsTopic { name: &partition.topic, partitions }];
                DeleteRecordsRequest { topics, timeout_ms }.into()
            }
            Self::AlterConfig { resource, name, key, value } => alter(resource.code(), name, key, value.as_deref()),
            Self::ListOffset { partition, timestamp } => {
                let index = partition.partition;
                let current = turn.metadata.leader_and_epoch(&partition.topic, index).map_or(-1, |(_, epoch)| epoch.0);
                let partitions = vec![ListOffsetsPartition {
                    partition_index: index,
                    current_leader_epoch: current,
                    timestamp: *timestamp,
                }];
                let topics = vec![ListOffsetsTopic { name: &partition.topic, partitions }];
                ListOffsetsRequest { replica_id: -1, topics, timeout_ms, ..ListOffsetsRequest::default() }.into()
            }
        }
    }

    /// What an answer says.
    fn reply(&self, response: &Response<'_>) -> Result<AdminReply, ErrorCode> {
        let checked = |code: ErrorCode, reply: AdminReply| if code.is_error() { Err(code) } else { Ok(reply) };
        let lacking = Err(ErrorCode::UNKNOWN_SERVER_ERROR);
        #[expect(clippy::wildcard_enum_match_arm, reason = "no other answer is asked for")]
        match response {
            Response::CreateTopics(response) => response
                .topics
                .first()
                .map_or(lacking, |it| checked(it.error_code, AdminReply::TopicCreated { id: it.topic_id })),
            Response::DeleteTopics(response) => {
                response.responses.first().map_or(lacking, |it| checked(it.error_code, AdminReply::Done))
            }
            Response::DeleteRecords(response) => {
                let found = response.topics.first().and_then(|topic| topic.partitions.first());
                found.map_or(lacking, |it| {
                    checked(it.error_code, AdminReply::LogStart { offset: Offset(it.low_watermark) })
                })
            }
            Response::IncrementalAlterConfigs(response) => {
                response.responses.first().map_or(lacking, |it| checked(it.error_code, AdminReply::Done))
            }
            Response::ListOffsets(response) => {
                let found = response.topics.first().and_then(|topic| topic.partitions.first());
                found.map_or(lacking, |it| {
                    let (offset, leader_epoch) = (Offset(it.offset), LeaderEpoch(it.leader_epoch));
                    checked(it.error_code, AdminReply::Offset { offset, leader_epoch, timestamp_ms: it.timestamp })
                })
            }
            _ => lacking,
        }
    }
}

fn alter<'a>(resource_type: i8, resource_name: &'a str, key: &'a str, value: Option<&'a str>) -> Request<'a> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    let config_operation = if value.is_some() { SET } else { DELETE };
    let configs = vec![AlterableConfig { name: key, config_operation, value }];
    let resources = vec![AlterConfigsResource { resource_type, resource_name, configs }];
    IncrementalAlterConfigsRequest { resources, validate_only: false }.into()
}
