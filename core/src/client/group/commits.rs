//! Commits of positions (OffsetCommit), in the order in which they were asked for: one is in flight at a time, so that
//! a later one is never overtaken by the retry of an earlier one.
//!
//! A commit belongs to the generation in which it was asked for. When the group has gone on it fails, for then the
//! partitions may belong to another member.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_wire::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponseTopic,
};
use ottla_wire::api::{Request, Response};
use ottla_wire::{ErrorCode, Uuid};

use crate::clock::Instant;
use crate::rpc::{Answer, CallId, Lane, RpcError};
use crate::types::{Offset, TopicPartition};

use super::super::boundary::{ClientError, CommittedPosition, Event, GroupEvent};
use super::super::coordination::cap;
use super::super::turn::Turn;
use super::coordinator::Coordinator;
use super::protocol::by_topic;
use super::{Identity, Rules};

pub(super) type Positions = BTreeMap<TopicPartition, CommittedPosition>;

#[derive(Clone, Debug, Default)]
pub(super) struct Commits {
    queue: VecDeque<Commit>,
    /// What this member knows to be committed of what it owns.
    known: BTreeMap<TopicPartition, Offset>,
}

#[derive(Clone, Debug)]
struct Commit {
    order: Order,
    identity: Identity,
    /// What it was asked for was lost: it fails even if the member has its id again.
    lapsed: bool,
    deadline: Instant,
    call: Option<CallId>,
    /// The ids of the topics, as they were sent.
    ids: BTreeMap<Arc<str>, Uuid>,
    retry_at: Instant,
    attempts: u32,
    /// Whether an attempt may have done it, for all that we know.
    doubtful: bool,
    error: Option<ErrorCode>,
}

/// What is to be committed.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// `None`: it is an automatic commit.
    pub(super) token: Option<u64>,
    pub(super) positions: Positions,
    /// Whether to try again what may succeed then.
    pub(super) retry: bool,
}

/// What a commit's answer says of the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Unchanged,
    /// The group rebalances.
    Rebalancing,
    /// The coordinator does not know this generation or member.
    Unknown(ErrorCode),
    /// The member can do nothing in the group.
    Hopeless(ErrorCode),
}

/// The most commits that wait: a program that asks for more is told so.
const MOST_COMMITS: usize = 10_000;

impl Commits {
    /// Asks for a commit, to be done before a deadline.
    pub(super) fn add(&mut self, order: Order, identity: Identity, deadline: Instant, events: &mut Vec<Event>) {
        if order.positions.is_empty() || self.queue.len() >= MOST_COMMITS {
            let Some(token) = order.token else { return };
            events.push(if order.positions.is_empty() {
                Event::Group(GroupEvent::Committed { token: Some(token), positions: Vec::new() })
            } else {
                Event::Group(GroupEvent::CommitFailed { token, error: ClientError::BufferFull, definite: true })
            });
            return;
        }
        let (call, retry_at, attempts) = (None, Instant(0), 0);
        let (ids, lapsed, doubtful, error) = (BTreeMap::new(), false, false, None);
        let commit = Commit { order, identity, lapsed, deadline, call, ids, retry_at, attempts, doubtful, error };
        self.queue.push_back(commit);
    }

    /// Whether none is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a position is known to be committed.
    pub(super) fn is_known(&self, partition: &TopicPartition, offset: Offset) -> bool {
        self.known.get(partition) == Some(&offset)
    }

    /// The coordinator says that this is committed.
    pub(super) fn learn(&mut self, partition: TopicPartition, offset: Offset) {
        self.known.insert(partition, offset);
    }

    /// The partition is not ours any more.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.known.remove(partition);
    }

    /// The member lost everything: what it wanted to commit may be another's to commit.
    pub(super) fn lapse(&mut self) {
        self.queue.iter_mut().for_each(|commit| commit.lapsed |= commit.identity.is_member());
    }

    pub(super) fn owns(&self, call: CallId) -> bool {
        self.queue.front().is_some_and(|commit| commit.call == Some(call))
    }

    /// Sends the next commit, if it can be sent, and gives up what is too late or of no use.
    pub(super) fn pump(
        &mut self,
        identity: &Identity,
        coordinator: &mut Coordinator,
        rules: &Rules,
        turn: &mut Turn<'_>,
    ) {
        let now = turn.at();
        while let Some(commit) = self.queue.front_mut() {
            let error = if commit.deadline <= now {
                Some(ClientError::ApiTimeout(commit.error))
            } else {
                // The epoch of a member of KIP-848 grows while it keeps what it has: only another member is another.
                let same = commit.identity.member_id == identity.member_id && !commit.lapsed;
                if rules.is_served() && commit.call.is_none() && same {
                    commit.identity = identity.clone();
                }
                let other = commit.lapsed || commit.identity != *identity;
                (commit.call.is_none() && other).then_some(ClientError::Rebalanced)
            };
            if let Some(error) = error {
                let commit = self.queue.pop_front().expect("it was just seen");
                commit.fail(error, turn.events);
                continue;
            }
            turn.wake.by(commit.deadline);
            if commit.call.is_some() {
                return;
            }
            if commit.retry_at > now {
                return turn.wake.by(commit.retry_at);
            }
            return commit.send(coordinator, rules, turn);
        }
    }

    /// The result of the call of the first commit.
    pub(super) fn on_result(
        &mut self,
        result: Result<&Answer, RpcError>,
        identity: &Identity,
        coordinator: &mut Coordinator,
        rules: &Rules,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        let mut commit = self.queue.pop_front().expect("its call is in flight");
        commit.call = None;
        let Ok(Ok(Response::OffsetCommit(response))) = result.map(Answer::decode) else {
            coordinator.lose();
            commit.doubtful = true;
            commit.error = Some(ErrorCode::NETWORK_EXCEPTION);
            self.retry_or_fail(commit, rules, turn);
            return Verdict::Unchanged;
        };
        let mut codes = commit.codes(&response);
        if commit.order.token.is_none() {
            commit.leave_out_unknown(&mut codes, turn);
        }
        let Some(code) = codes.iter().copied().find(|code| code.is_error()) else {
            let positions = commit.order.positions;
            self.known.extend(positions.iter().map(|(partition, it)| (partition.clone(), it.offset)));
            let (token, positions): (_, Vec<_>) = (commit.order.token, positions.into_iter().collect());
            // Of an automatic one all may have been left out.
            if token.is_some() || !positions.is_empty() {
                turn.events.push(Event::Group(GroupEvent::Committed { token, positions }));
            }
            return Verdict::Unchanged;
        };
        commit.doubtful |= codes.iter().any(|code| code.is_none() || !proves_absence(*code));
        commit.error = Some(code);
        if blames_coordinator(code) {
            coordinator.lose();
        }
        if code == ErrorCode::UNKNOWN_TOPIC_ID {
            // It was made anew; or the coordinator does not know it yet.
            turn.metadata.request();
        }
        if code.is_retriable() {
            self.retry_or_fail(commit, rules, turn);
            return Verdict::Unchanged;
        }
        if code == ErrorCode::STALE_MEMBER_EPOCH {
            // The next heartbeat brings the new one.
            self.retry_or_fail(commit, rules, turn);
            return Verdict::Rebalancing;
        }
        let unknown = match code {
            ErrorCode::ILLEGAL_GENERATION | ErrorCode::UNKNOWN_MEMBER_ID => true,
            // From version 9 on a member is told so if the group itself is gone.
            ErrorCode::GROUP_ID_NOT_FOUND => commit.identity.is_member(),
            _ => false,
        };
        let rebalanced = unknown || code == ErrorCode::REBALANCE_IN_PROGRESS;
        // Of another generation than the present one nothing is learnt, and nothing by one who is no member.
        let ours = commit.identity == *identity && identity.is_member();
        commit.fail(if rebalanced { ClientError::Rebalanced } else { ClientError::Broker(code) }, turn.events);
        match code {
            ErrorCode::REBALANCE_IN_PROGRESS if ours => Verdict::Rebalancing,
            code if unknown && ours => Verdict::Unknown(code),
            ErrorCode::FENCED_INSTANCE_ID | ErrorCode::GROUP_AUTHORIZATION_FAILED if ours => Verdict::Hopeless(code),
            _ => Verdict::Unchanged,
        }
    }

    fn retry_or_fail(&mut self, mut commit: Commit, rules: &Rules, turn: &mut Turn<'_>) {
        if commit.order.retry {
            commit.retry_at = turn.now.monotonic + rules.backoff.delay(commit.attempts, turn.rng);
            return self.queue.push_front(commit);
        }
        let code = commit.error.unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
        commit.fail(ClientError::Broker(code), turn.events);
    }
}

impl Commit {
    fn send(&mut self, coordinator: &mut Coordinator, rules: &Rules, turn: &mut Turn<'_>) {
        let Some(route) = coordinator.route(Lane::Group, rules, turn) else { return };
        self.attempts += 1;
        let names: BTreeSet<&Arc<str>> = self.order.positions.keys().map(|partition| &partition.topic).collect();
        self.ids = names.iter().filter_map(|&name| Some((name.clone(), turn.metadata.id_of(name)?))).collect();
        let cap = cap(self.ids.len() == names.len());
        let request = self.request(rules);
        match turn.pool.send(turn.now.monotonic, route, (&request, cap), turn.sink) {
            Ok(call) => self.call = Some(call),
            Err(_) => {
                self.error = Some(ErrorCode::UNSUPPORTED_VERSION);
                self.retry_at = turn.now.monotonic + rules.backoff.delay(self.attempts, turn.rng);
                turn.wake.by(self.retry_at);
            }
        }
    }

    fn request<'a>(&'a self, rules: &'a Rules) -> Request<'a> {
        let partitions = self.order.positions.iter().map(|(partition, position)| {
            let position = OffsetCommitRequestPartition {
                partition_index: partition.partition,
                committed_offset: position.offset.0,
                committed_leader_epoch: position.leader_epoch.0,
                committed_metadata: Some(&position.metadata),
            };
            (partition, position)
        });
        let topics = by_topic(partitions).into_iter();
        let topics =
            topics.map(|(name, partitions)| OffsetCommitRequestTopic { name, topic_id: self.id_of(name), partitions });
        // One who is not a member is no instance either.
        let group_instance_id = rules.instance_id.as_deref().filter(|_| self.identity.is_member());
        OffsetCommitRequest {
            group_id: &rules.group_id,
            generation_id_or_member_epoch: self.identity.generation,
            member_id: &self.identity.member_id,
            group_instance_id,
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        }
        .into()
    }

    /// What an answer says of each partition.
    fn codes(&self, response: &OffsetCommitResponse<'_>) -> Vec<ErrorCode> {
        let code = |partition: &TopicPartition| {
            let id = self.id_of(&partition.topic);
            let is_it = |it: &&OffsetCommitResponseTopic<'_>| {
                if it.topic_id == Uuid::ZERO { it.name == &*partition.topic } else { it.topic_id == id }
            };
            let topic = response.topics.iter().find(is_it)?;
            let found = topic.partitions.iter().find(|it| it.partition_index == partition.partition)?;
            Some(found.error_code)
        };
        self.order.positions.keys().map(|it| code(it).unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR)).collect()
    }

    /// Nobody asked for an automatic commit, and what is waited for until it has ended is not to wait for a topic that
    /// was deleted: that is left out.
    fn leave_out_unknown(&mut self, codes: &mut Vec<ErrorCode>, turn: &mut Turn<'_>) {
        const UNKNOWN: &[ErrorCode] = &[ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_ID];
        if !codes.iter().any(|code| UNKNOWN.contains(code)) {
            return;
        }
        turn.metadata.request();
        let mut said = codes.iter();
        self.order.positions.retain(|_, _| said.next().is_none_or(|code| !UNKNOWN.contains(code)));
        codes.retain(|code| !UNKNOWN.contains(code));
    }

    /// The topic's id as it was sent; none is zero.
    fn id_of(&self, name: &str) -> Uuid {
        self.ids.get(name).copied().unwrap_or(Uuid::ZERO)
    }

    fn fail(self, error: ClientError, events: &mut Vec<Event>) {
        if let Some(token) = self.order.token {
            let definite = !self.doubtful && self.call.is_none();
            events.push(Event::Group(GroupEvent::CommitFailed { token, error, definite }));
        }
    }
}

/// Whether another coordinator, or a later time, may do better.
pub(super) fn blames_coordinator(code: ErrorCode) -> bool {
    [ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::REQUEST_TIMED_OUT].contains(&code)
}

/// Whether a commit that was refused with this code was not done. One whose records were written and not replicated
/// in time may be done yet, and one that a coordinator lost with its office.
fn proves_absence(code: ErrorCode) -> bool {
    const PERHAPS_WRITTEN: &[ErrorCode] = &[
        ErrorCode::UNKNOWN_SERVER_ERROR,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::KAFKA_STORAGE_ERROR,
    ];
    !PERHAPS_WRITTEN.contains(&code)
}
