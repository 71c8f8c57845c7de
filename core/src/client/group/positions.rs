//! What the group has committed (OffsetFetch): where to begin in partitions that were assigned, and for the program.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::api::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponseTopics,
};
use ottla_wire::api::{Request, Response};
use ottla_wire::{ErrorCode, Uuid};

use crate::clock::Instant;
use crate::rpc::{Answer, CallId, Lane, RpcError};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

use super::super::boundary::{ClientError, CommittedPosition, Event, GroupEvent};
use super::super::coordination::cap;
use super::super::turn::Turn;
use super::commits::blames_coordinator;
use super::coordinator::Coordinator;
use super::protocol::by_topic;
use super::{Identity, Rules};

#[derive(Clone, Debug, Default)]
pub(super) struct Fetches {
    /// Assigned partitions whose positions are not known, each with the number of its assignment.
    awaited: BTreeMap<TopicPartition, u64>,
    next_number: u64,
    /// The question for them.
    standing: Question,
    /// The program's questions, by number.
    asked: BTreeMap<u64, (Asked, Question)>,
}

/// A question of the program.
#[derive(Clone, Debug)]
struct Asked {
    token: u64,
    deadline: Instant,
}

#[derive(Clone, Debug, Default)]
struct Question {
    partitions: Vec<(TopicPartition, u64)>,
    call: Option<CallId>,
    /// The ids of the topics, as they were sent.
    ids: BTreeMap<Arc<str>, Uuid>,
    retry_at: Instant,
    attempts: u32,
    error: Option<ErrorCode>,
}

/// What the coordinator says of one partition.
pub(super) type Found = Result<Option<CommittedPosition>, ErrorCode>;

/// The most questions of the program that wait.
const MOST_QUESTIONS: usize = 10_000;

impl Fetches {
    /// A partition was assigned: where does it begin?
    pub(super) fn await_position(&mut self, partition: TopicPartition) {
        self.next_number += 1;
        self.awaited.insert(partition, self.next_number);
    }

    /// Where it begins is said otherwise, or it is not ours any more.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.awaited.remove(partition);
    }

    /// The program wants to know.
    pub(super) fn ask(
        &mut self,
        token: u64,
        partitions: Vec<TopicPartition>,
        deadline: Instant,
        events: &mut Vec<Event>,
    ) {
        if self.asked.len() >= MOST_QUESTIONS {
            return events.push(Event::Group(GroupEvent::PositionsNotKnown { token, error: ClientError::BufferFull }));
        }
        let partitions = partitions.into_iter().map(|partition| (partition, 0)).collect();
        self.next_number += 1;
        let question = Question { partitions, ..Question::default() };
        self.asked.insert(self.next_number, (Asked { token, deadline }, question));
    }

    pub(super) fn pump(
        &mut self,
        identity: &Identity,
        coordinator: &mut Coordinator,
        rules: &Rules,
        turn: &mut Turn<'_>,
    ) {
        if self.standing.call.is_none() {
            self.standing.partitions = self.awaited.iter().map(|(it, &number)| (it.clone(), number)).collect();
        }
        if !self.standing.partitions.is_empty() {
            self.standing.pump(identity, coordinator, rules, turn);
        }
        let now = turn.at();
        self.asked.retain(|_, (asked, question)| {
            let late = asked.deadline <= now;
            if late {
                let (token, error) = (asked.token, ClientError::ApiTimeout(question.error));
                turn.events.push(Event::Group(GroupEvent::PositionsNotKnown { token, error }));
            }
            !late
        });
        for (asked, question) in self.asked.values_mut() {
            turn.wake.by(asked.deadline);
            question.pump(identity, coordinator, rules, turn);
        }
    }

    /// The result of a call, if it is ours. What is said of partitions that were assigned is returned.
    pub(super) fn on_result(
        &mut self,
        call: CallId,
        result: Result<&Answer, RpcError>,
        coordinator: &mut Coordinator,
        rules: &Rules,
        turn: &mut Turn<'_>,
    ) -> Vec<(TopicPartition, Found)> {
        if self.standing.call == Some(call) {
            let found = self.standing.on_result(result, coordinator, rules, turn);
            return self.settle(found);
        }
        let ours = self.asked.iter_mut().find(|(_, (_, question))| question.call == Some(call));
        let Some((&number, (asked, question))) = ours else { return Vec::new() };
        let token = asked.token;
        let found = question.on_result(result, coordinator, rules, turn);
        if found.len() < question.partitions.len() {
            return Vec::new();
        }
        let failed = found.iter().find_map(|(_, it)| it.as_ref().err().copied());
        turn.events.push(match failed {
            Some(code) => Event::Group(GroupEvent::PositionsNotKnown { token, error: ClientError::Broker(code) }),
            None => {
                let positions = found.into_iter().map(|((partition, _), it)| (partition, it.ok().flatten()));
                Event::Group(GroupEvent::PositionsKept { token, positions: positions.collect() })
            }
        });
        self.asked.remove(&number);
        Vec::new()
    }

    /// Of what was found, what is still awaited: not what was given up, or given up and assigned anew.
    fn settle(&mut self, found: Vec<((TopicPartition, u64), Found)>) -> Vec<(TopicPartition, Found)> {
        let mut settled = Vec::new();
        for ((partition, number), found) in found {
            if self.awaited.get(&partition) == Some(&number) {
                self.awaited.remove(&partition);
                settled.push((partition, found));
            }
        }
        settled
    }
}

impl Question {
    fn pump(&mut self, identity: &Identity, coordinator: &mut Coordinator, rules: &Rules, turn: &mut Turn<'_>) {
        if self.call.is_some() {
            return;
        }
        if self.retry_at > turn.at() {
            return turn.wake.by(self.retry_at);
        }
        let Some(route) = coordinator.route(Lane::Group, rules, turn) else { return };
        self.attempts += 1;
        let names: BTreeSet<&Arc<str>> = self.partitions.iter().map(|(partition, _)| &partition.topic).collect();
        self.ids = names.iter().filter_map(|&name| Some((name.clone(), turn.metadata.id_of(name)?))).collect();
        let cap = cap(self.ids.len() == names.len());
        let request = self.request(identity, rules);
        match turn.pool.send(turn.now.monotonic, route, (&request, cap), turn.sink) {
            Ok(call) => self.call = Some(call),
            Err(_) => self.delay(ErrorCode::UNSUPPORTED_VERSION, rules, turn),
        }
    }

    fn request<'a>(&'a self, identity: &'a Identity, rules: &'a Rules) -> Request<'a> {
        let topics = by_topic(self.partitions.iter().map(|(it, _)| (it, it.partition)));
        let older =
            topics.iter().map(|(name, indexes)| OffsetFetchRequestTopic { name, partition_indexes: indexes.clone() });
        let newer = topics.iter().map(|(name, indexes)| OffsetFetchRequestTopics {
            name,
            topic_id: self.ids.get(*name).copied().unwrap_or(Uuid::ZERO),
            partition_indexes: indexes.clone(),
        });
        let group_id = &*rules.group_id;
        // A member of KIP-848 is told of its own epoch only: an older one may have partitions that are another's now.
        let member = Some(identity).filter(|it| rules.is_served() && it.is_member());
        let group = OffsetFetchRequestGroup {
            group_id,
            member_id: member.map(|it| &*it.member_id),
            member_epoch: member.map_or(-1, |it| it.generation),
            topics: Some(newer.collect()),
        };
        // What a transaction is about to commit counts when it has: nobody wants to begin before that (KIP-447).
        OffsetFetchRequest { group_id, topics: Some(older.collect()), groups: vec![group], require_stable: true }.into()
    }

    /// What an answer says of partitions; what may be known later is left out, and asked for again.
    fn on_result(
        &mut self,
        result: Result<&Answer, RpcError>,
        coordinator: &mut Coordinator,
        rules: &Rules,
        turn: &mut Turn<'_>,
    ) -> Vec<((TopicPartition, u64), Found)> {
        self.call = None;
        let Ok(Ok(Response::OffsetFetch(response))) = result.map(Answer::decode) else {
            coordinator.lose();
            self.delay(ErrorCode::NETWORK_EXCEPTION, rules, turn);
            return Vec::new();
        };
        let code = response.groups.first().map_or(response.error_code, |group| group.error_code);
        if blames_coordinator(code) {
            coordinator.lose();
        }
        // The next heartbeat brings the epoch, or says that the member is none.
        let passes = [ErrorCode::STALE_MEMBER_EPOCH, ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::GROUP_ID_NOT_FOUND];
        let passes = passes.contains(&code);
        if code.is_retriable() || (passes && rules.is_served()) {
            self.delay(code, rules, turn);
            return Vec::new();
        }
        let mut found = Vec::new();
        for (partition, number) in &self.partitions {
            let said = if code.is_error() { Err(code) } else { self.find(&response, partition) };
            if said == Err(ErrorCode::UNKNOWN_TOPIC_ID) {
                // It was made anew; or the coordinator does not know it yet.
                turn.metadata.request();
            }
            if !said.as_ref().is_err_and(|code| code.is_retriable()) {
                found.push(((partition.clone(), *number), said));
            }
        }
        if found.len() < self.partitions.len() {
            self.delay(ErrorCode::UNSTABLE_OFFSET_COMMIT, rules, turn);
        } else {
            self.attempts = 0;
        }
        found
    }

    fn delay(&mut self, code: ErrorCode, rules: &Rules, turn: &mut Turn<'_>) {
        self.error = Some(code);
        self.retry_at = turn.now.monotonic + rules.backoff.delay(self.attempts, turn.rng);
        turn.wake.by(self.retry_at);
    }

    /// What an answer, whose whole is no error, says of a partition.
    fn find(&self, response: &OffsetFetchResponse<'_>, partition: &TopicPartition) -> Found {
        let TopicPartition { topic, partition } = partition;
        let said = match response.groups.first() {
            Some(group) => {
                let id = self.ids.get(topic).copied();
                let is_it = |it: &&OffsetFetchResponseTopics<'_>| {
                    if it.topic_id == Uuid::ZERO { it.name == &**topic } else { Some(it.topic_id) == id }
                };
                let topic = group.topics.iter().find(is_it);
                let found = topic.and_then(|topic| topic.partitions.iter().find(|it| it.partition_index == *partition));
                found.map(|it| (it.error_code, it.committed_offset, it.committed_leader_epoch, it.metadata))
            }
            None => {
                let topic = response.topics.iter().find(|it| it.name == &**topic);
                let found = topic.and_then(|topic| topic.partitions.iter().find(|it| it.partition_index == *partition));
                found.map(|it| (it.error_code, it.committed_offset, it.committed_leader_epoch, it.metadata))
            }
        };
        let (code, offset, epoch, metadata) = said.ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
        if code.is_error() {
            return Err(code);
        }
        Ok((offset >= 0).then(|| CommittedPosition {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(epoch),
            metadata: metadata.unwrap_or_default().into(),
        }))
    }
}
