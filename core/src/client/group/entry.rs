//! Getting into a generation: JoinGroup, the leader's sharing out, SyncGroup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::api::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use ottla_wire::api::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_wire::api::{Request, Response};

use crate::clock::Instant;
use crate::rpc::{Answer, Lane, RpcError};

use super::super::assignor::{Candidate, Plan, Strategy, Topic, Topics};
use super::super::boundary::ClientError;
use super::super::metadata::Metadata;
use super::super::reader::Reader;
use super::super::turn::Turn;
use super::protocol::{self, CONSUMER, Standing};
use super::served::Served;
use super::{Group, Identity, Phase, Retry, Rules, blames_coordinator};

/// What the leader has to do.
#[derive(Clone, Debug)]
pub(super) struct SharingOut {
    strategy: Strategy,
    members: Vec<Candidate>,
    /// The coordinator has the assignment still: the leader, a static member, was only away (KIP-814).
    skip: bool,
}

/// How much longer than the rebalance an answer to JoinGroup may take.
const GRACE: Duration = Duration::from_secs(5);

impl Group {
    /// Sends JoinGroup, if it is time and somebody can be asked.
    pub(super) fn join(&mut self, turn: &mut Turn<'_>) {
        let now = turn.at();
        if self.retry.at > now {
            return turn.wake.by(self.retry.at);
        }
        let Some(route) = self.coordinator.route(Lane::Join, &self.rules, turn) else { return };
        let metadata = self.metadata();
        let request = join_request(&self.rules, &self.identity, &metadata);
        let deadline = now + self.rules.request_timeout.max(self.rules.max_poll_interval + GRACE);
        match turn.pool.send_until(deadline, route, (&request, i16::MAX), turn.sink) {
            Ok(call) => {
                self.phase = Phase::Joining { call: Some(call) };
                self.rejoin = false;
                self.heartbeat.end();
            }
            Err(_) => self.delay(turn),
        }
    }

    /// What this member tells the leader, for each strategy that may be chosen.
    fn metadata(&self) -> Vec<(Strategy, Vec<u8>)> {
        let none = BTreeSet::new();
        let standing = Standing {
            topics: self.wanted.as_ref().map_or(&none, |wanted| &wanted.topics),
            owned: &self.owned,
            generation: self.identity.generation,
            previous: (&self.previous.0, self.previous.1),
            rack: &self.rules.rack,
        };
        let strategies = self.rules.strategies.iter();
        strategies.map(|&strategy| (strategy, protocol::subscription(strategy, &standing))).collect()
    }

    pub(super) fn on_joined(&mut self, result: Result<&Answer, RpcError>, reader: &mut Reader, turn: &mut Turn<'_>) {
        self.phase = Phase::Joining { call: None };
        let Ok(Ok(Response::JoinGroup(response))) = result.map(Answer::decode) else {
            self.coordinator.lose();
            return self.delay(turn);
        };
        match response.error_code {
            ErrorCode::NONE => self.on_generation(&response, reader, turn),
            // KIP-394: from now on the coordinator knows us, and a retry makes no second member.
            ErrorCode::MEMBER_ID_REQUIRED => self.identity.member_id = response.member_id.into(),
            code => self.on_entry_refused(code, reader, turn),
        }
    }

    fn on_generation(&mut self, response: &JoinGroupResponse<'_>, reader: &mut Reader, turn: &mut Turn<'_>) {
        let chosen = response.protocol_name.and_then(Strategy::from_name);
        let Some(strategy) = chosen.filter(|chosen| self.rules.strategies.contains(chosen)) else {
            return self.fail(ClientError::Broker(ErrorCode::INCONSISTENT_GROUP_PROTOCOL), reader, turn);
        };
        self.identity = Identity { member_id: response.member_id.into(), generation: response.generation_id };
        self.retry = Retry::default();
        self.heartbeat.begin(turn.at(), &self.rules);
        self.shared_out = None;
        if response.leader != response.member_id {
            self.phase = Phase::Syncing { call: None, strategy, parts: Vec::new() };
            return;
        }
        let members = response.members.iter();
        let members =
            members.map(|it| protocol::candidate(strategy, (it.member_id, it.group_instance_id), it.metadata));
        match members.collect() {
            Ok(members) => {
                let skip = response.skip_assignment;
                self.phase = Phase::SharingOut(Box::new(SharingOut { strategy, members, skip }));
            }
            Err(_) => self.fail(ClientError::Broker(ErrorCode::INCONSISTENT_GROUP_PROTOCOL), reader, turn),
        }
    }

    /// Shares the partitions out, if all that is needed is known. Whether it was.
    pub(super) fn share_out(&mut self, turn: &mut Turn<'_>) -> bool {
        let Phase::SharingOut(task) = &self.phase else { return false };
        let names: BTreeSet<_> = task.members.iter().flat_map(|member| &member.topics).collect();
        // All are asked for before any is missed.
        let known = names.iter().filter(|name| turn.metadata.topic(turn.now.monotonic, name).is_known()).count();
        if known < names.len() {
            return false;
        }
        // Where brokers are is of no use to members that do not say where they are themselves.
        let with_racks = task.members.iter().any(|member| member.rack.is_some());
        let now = turn.now.monotonic;
        let topics: Topics =
            names.iter().map(|&name| (name.clone(), seen(turn.metadata, now, name, with_racks))).collect();
        let plan = if task.skip { Plan::new() } else { task.strategy.assign(&task.members, &topics) };
        let parts = plan.iter().map(|(id, partitions)| (id.clone(), protocol::assignment(partitions))).collect();
        let strategy = task.strategy;
        self.shared_out = Some((topics, with_racks));
        self.phase = Phase::Syncing { call: None, strategy, parts };
        true
    }

    /// Whether the topics that this member shared out have other partitions now, or those are elsewhere.
    pub(super) fn topics_changed(&self, turn: &mut Turn<'_>) -> bool {
        let Some((topics, with_racks)) = &self.shared_out else { return false };
        let now = turn.now.monotonic;
        // All are looked at, so that each is in use.
        topics.iter().filter(|(name, before)| seen(turn.metadata, now, name, *with_racks) != **before).count() > 0
    }

    /// Sends SyncGroup, if somebody can be asked.
    pub(super) fn sync(&mut self, turn: &mut Turn<'_>) {
        let Some(route) = self.coordinator.route(Lane::Join, &self.rules, turn) else { return };
        let Phase::Syncing { strategy, parts, .. } = &self.phase else { return };
        let strategy = *strategy;
        let parts = parts.iter();
        let request = Request::from(SyncGroupRequest {
            group_id: &self.rules.group_id,
            generation_id: self.identity.generation,
            member_id: &self.identity.member_id,
            group_instance_id: self.rules.instance_id.as_deref(),
            protocol_type: Some(CONSUMER),
            protocol_name: Some(strategy.name()),
            assignments: parts
                .map(|(member_id, assignment)| SyncGroupRequestAssignment { member_id, assignment })
                .collect(),
        });
        match turn.pool.send(turn.now.monotonic, route, (&request, i16::MAX), turn.sink) {
            Ok(call) => self.phase = Phase::Syncing { call: Some(call), strategy, parts: Vec::new() },
            Err(_) => {
                self.phase = Phase::Joining { call: None };
                self.delay(turn);
            }
        }
    }

    pub(super) fn on_synced(&mut self, result: Result<&Answer, RpcError>, reader: &mut Reader, turn: &mut Turn<'_>) {
        // Whatever goes wrong: the next attempt begins with JoinGroup.
        self.phase = Phase::Joining { call: None };
        let Ok(Ok(Response::SyncGroup(response))) = result.map(Answer::decode) else {
            self.coordinator.lose();
            return self.delay(turn);
        };
        match response.error_code {
            ErrorCode::NONE => match protocol::part(response.assignment) {
                Ok(part) => self.phase = Phase::Stable { part: Some(part) },
                Err(_) => self.delay(turn),
            },
            code => self.on_entry_refused(code, reader, turn),
        }
    }

    /// JoinGroup or SyncGroup was refused.
    fn on_entry_refused(&mut self, code: ErrorCode, reader: &mut Reader, turn: &mut Turn<'_>) {
        match code {
            ErrorCode::REBALANCE_IN_PROGRESS => self.delay(turn),
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => self.become_unknown(code, reader, turn),
            code if code.is_retriable() => {
                if blames_coordinator(code) {
                    self.coordinator.lose();
                }
                self.delay(turn);
            }
            code => self.fail(ClientError::Broker(code), reader, turn),
        }
    }

    /// The coordinator does not know this generation, or this member. One that draws its own id keeps it: if it is
    /// known after all, it comes back as the same, and its instance is not taken by one that is gone.
    pub(super) fn become_unknown(&mut self, code: ErrorCode, reader: &mut Reader, turn: &mut Turn<'_>) {
        self.lose(reader, turn);
        self.identity.generation = -1;
        if code != ErrorCode::ILLEGAL_GENERATION && !self.rules.is_served() {
            self.identity = Identity::none();
        }
        if !matches!(self.phase, Phase::Leaving(_) | Phase::Out) {
            let served = self.rules.is_served();
            self.phase = if served { Phase::Served(Served::default()) } else { Phase::Joining { call: None } };
            self.delay(turn);
        }
    }
}

fn join_request<'a>(rules: &'a Rules, identity: &'a Identity, metadata: &'a [(Strategy, Vec<u8>)]) -> Request<'a> {
    let ms = |time: Duration| i32::try_from(time.as_millis()).expect("the configuration was checked");
    let protocols = metadata.iter();
    let protocols = protocols.map(|(strategy, metadata)| JoinGroupRequestProtocol { name: strategy.name(), metadata });
    JoinGroupRequest {
        group_id: &rules.group_id,
        session_timeout_ms: ms(rules.session_timeout),
        rebalance_timeout_ms: ms(rules.max_poll_interval),
        member_id: &identity.member_id,
        group_instance_id: rules.instance_id.as_deref(),
        protocol_type: CONSUMER,
        protocols: protocols.collect(),
        reason: None,
    }
    .into()
}

/// How many partitions a topic has, and where, if that counts; none, if there is no such topic.
fn seen(metadata: &mut Metadata, now: Instant, name: &Arc<str>, with_racks: bool) -> Topic {
    const ABSENT: &[ErrorCode] = &[
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::INVALID_TOPIC_EXCEPTION,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
    ];
    let topic = metadata.topic(now, name);
    if topic.error.is_some_and(|code| ABSENT.contains(&code)) {
        return Topic::default();
    }
    let racks = if with_racks { topic.racks.clone() } else { BTreeMap::new() };
    Topic { partitions: topic.count(), racks }
}
