//! Requests that change or describe one thing each: a topic, a partition's start, settings, a group.
//!
//! Each is sent to whom it concerns (a partition's leader, a group's coordinator, which is looked for first, or any
//! broker, which forwards it), and again while the error may pass, until `default.api.timeout.ms` is over. What was
//! sent and not answered may have been done: such a failure is not definite.
//!
//! * `request`, `reply`: what can be asked, and what comes back; `groups`, `quorum`: both, of them

mod groups;
mod quorum;
mod reply;
mod request;

pub use groups::{CommittedOffset, GroupDescription, GroupMember, ListedGroup};
pub use quorum::{QuorumDescription, QuorumMember};
pub use reply::{
    AdminReply, BrokerDescription, ClusterDescription, CompactionDescription, ConfigEntry, ConfigSource,
    LogDescription, PartitionDescription, TopicDescription,
};
pub use request::{AdminRequest, Resource};

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::api::Response;

use crate::clock::Instant;
use crate::rpc::{Answer, Backoff, CallId, Lane, Readiness, Route, RpcError};
use crate::types::{BrokerId, TopicPartition};

use super::boundary::{ClientError, Event};
use super::coordination::{Found, find_coordinator};
use super::turn::Turn;
use reply::Refusal;
use request::Addressee;

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
    /// Of the group that it concerns, once that is known.
    coordinator: Option<BrokerId>,
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
        let task = Task {
            token,
            request,
            deadline,
            call: None,
            coordinator: None,
            retry_at,
            attempts: 0,
            doubtful: false,
            error: None,
        };
        self.tasks.insert(self.next_task, task);
        self.next_task += 1;
    }

    /// Sends what can be sent, and gives up what is too late.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        let now = turn.at();
        let late: Vec<_> = self.tasks.iter().filter(|(_, task)| task.deadline <= now).map(|(&key, _)| key).collect();
        for mut task in late.iter().filter_map(|key| self.tasks.remove(key)) {
            task.doubtful |= task.call.is_some();
            task.fail(turn);
        }
        let mut hopeless = Vec::new();
        for (&key, task) in &mut self.tasks {
            turn.wake.by(task.deadline);
            if task.call.is_none() && task.retry_at > now {
                turn.wake.by(task.retry_at);
            } else if task.call.is_none() && !task.send(turn) {
                hopeless.push(key);
            }
        }
        for task in hopeless.iter().filter_map(|key| self.tasks.remove(key)) {
            task.fail(turn);
        }
    }

    /// The result of a call, if it is ours.
    pub(super) fn on_result(&mut self, call: CallId, result: Result<&Answer, RpcError>, turn: &mut Turn<'_>) {
        let found = self.tasks.iter_mut().find(|(_, task)| task.call == Some(call));
        let Some((&key, task)) = found else { return };
        task.call = None;
        let decoded = result.and_then(|answer| answer.decode().map_err(RpcError::Malformed));
        let outcome = match &decoded {
            Ok(Response::FindCoordinator(response)) => {
                let found = Found::new(response);
                match Refusal::check(found.error, found.message) {
                    Ok(()) => {
                        turn.metadata.on_endpoint(found.endpoint, turn.pool, turn.sink);
                        task.coordinator = Some(BrokerId(found.endpoint.0));
                        return;
                    }
                    Err(refusal) => Err(refusal.into()),
                }
            }
            Ok(response) => {
                learn(response, turn);
                let reply = reply::reply(response);
                task.doubtful |= !matches!(&reply, Err(refusal) if proves_absence(refusal.code));
                reply.map_err(ClientError::from)
            }
            Err(error) => {
                task.doubtful = true;
                Err(ClientError::Rpc(*error))
            }
        };
        match outcome {
            Ok(reply) => {
                let token = task.token;
                self.tasks.remove(&key);
                turn.events.push(Event::AdminDone { token, reply });
            }
            Err(error) => {
                let passing = error.code().is_none_or(|code| task.request.may_pass(code));
                task.error = Some(error);
                task.coordinator = None;
                if passing {
                    turn.metadata.request();
                    task.retry_at = turn.at() + self.backoff.delay(task.attempts, turn.rng);
                } else if let Some(task) = self.tasks.remove(&key) {
                    task.fail(turn);
                }
            }
        }
    }
}

/// Brokers that an answer names can be asked from now on.
fn learn(response: &Response<'_>, turn: &mut Turn<'_>) {
    if let Response::Metadata(response) = response {
        for broker in &response.brokers {
            turn.metadata.on_endpoint((broker.node_id, broker.host, broker.port), turn.pool, turn.sink);
        }
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
    /// Sends it, if that is possible now. Whether there is hope.
    fn send(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(route) = self.route(turn) else { return true };
        self.attempts += 1;
        let left = self.deadline.since(turn.at()).as_millis();
        let timeout_ms = i32::try_from(left).unwrap_or(i32::MAX).min(30_000);
        let (request, cap) = match self.request.addressee() {
            Addressee::Coordinator(group) if self.coordinator.is_none() => (find_coordinator(group), i16::MAX),
            Addressee::Leader(TopicPartition { topic, partition }) => {
                let known = turn.metadata.leader_and_epoch(topic, *partition);
                self.request.to_wire(timeout_ms, known.map_or(-1, |(_, epoch)| epoch.0))
            }
            Addressee::Any | Addressee::Broker(_) | Addressee::Coordinator(_) => self.request.to_wire(timeout_ms, -1),
        };
        match turn.pool.send(turn.now.monotonic, route, (&request, cap), turn.sink) {
            Ok(call) => self.call = Some(call),
            Err(error) => self.error = Some(ClientError::Rpc(error)),
        }
        self.call.is_some()
    }

    fn fail(self, turn: &mut Turn<'_>) {
        let error = self.error.unwrap_or(ClientError::Rpc(RpcError::TimedOut));
        turn.events.push(Event::AdminFailed { token: self.token, error, definite: !self.doubtful });
    }

    /// Whom to send it to, if that is possible now.
    fn route(&self, turn: &mut Turn<'_>) -> Option<Route> {
        let now = turn.at();
        let broker = match (self.request.addressee(), self.coordinator) {
            (Addressee::Any, _) | (Addressee::Coordinator(_), None) => return turn.any_broker(Lane::Slow),
            (Addressee::Broker(broker), _) | (Addressee::Coordinator(_), Some(broker)) => broker,
            (Addressee::Leader(partition), _) => {
                let _in_use = turn.metadata.topic(now, &partition.topic);
                let Some(leader) = turn.metadata.leader(&partition.topic, partition.partition) else {
                    turn.metadata.request();
                    return None;
                };
                leader
            }
        };
        let route = Route::to(broker, Lane::Slow);
        match turn.pool.connect(now, route, turn.sink) {
            Readiness::Ready => return Some(route),
            Readiness::Later(at) => turn.wake.by(at),
            Readiness::Unknown => turn.metadata.request_brokers(),
            Readiness::Busy | Readiness::Connecting | Readiness::Idle => {}
        }
        None
    }
}
