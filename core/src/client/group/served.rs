//! Membership in a group whose assignments the coordinator makes (KIP-848): one call, the heartbeat, joins, goes on and
//! leaves.
//!
//! The coordinator gives a partition to nobody before its last owner has said in a heartbeat that he has it no more. So
//! a member first gives up what it is to have no more, then takes what is new, and says so at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_wire::api::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ottla_wire::api::{Request, Response};
use ottla_wire::{ErrorCode, Uuid};

use crate::clock::Instant;
use crate::pattern::Pattern;
use crate::rpc::{Answer, CallId, Lane, Route, RpcError};
use crate::types::TopicPartition;

use super::super::boundary::ClientError;
use super::super::reader::Reader;
use super::super::turn::Turn;
use super::{Group, Identity, Phase, Retry, blames_coordinator};

#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    call: Option<CallId>,
    next_at: Instant,
    /// What the member is to own, until it does.
    target: Option<BTreeSet<(Uuid, i32)>>,
    /// What the coordinator knows that the member owns, and what it is being told.
    told: BTreeSet<TopicPartition>,
    telling: Option<BTreeSet<TopicPartition>>,
    /// Whether it is to be told even if that is what it knows.
    acknowledge: bool,
    /// Whether it has said what it owns, and not been heard: what it does not own by that may be given to others, so it
    /// takes nothing more until it is.
    is_unheard: bool,
    /// Whether the target is new: it is answered, even if the member owns just that already. The coordinator may have
    /// given it something and taken it back before it was taken here.
    is_new: bool,
    /// Whether the program was told of an assignment.
    greeted: bool,
}

/// Epochs that say what a member wants.
const JOIN: i32 = 0;
const LEAVE: i32 = -1;
/// Of a static member: for a while.
const LEAVE_FOR_A_WHILE: i32 = -2;

/// The rebalance time-out is what it was.
const UNCHANGED: i32 = -1;

impl Served {
    pub(super) fn owns(&self, call: CallId) -> bool {
        self.call == Some(call)
    }
}

impl Group {
    /// Comes nearer to what the member is to own. A poll must wait for that. Whether there was something to do.
    pub(super) fn reconcile(&mut self, reader: &mut Reader, turn: &mut Turn<'_>) -> bool {
        let Phase::Served(served) = &mut self.phase else { return false };
        if !reader.is_polling() || self.handover.is_some() {
            return false;
        }
        let Some(target) = served.target.take() else { return false };
        let (now, wanted) = (turn.now.monotonic, self.wanted.as_ref());
        let names = wanted.iter().flat_map(|wanted| &wanted.topics);
        let names: BTreeMap<_, _> = names.map(|name| (turn.metadata.topic(now, name).id, name.clone())).collect();
        let name_of = |id: &Uuid| names.get(id).or_else(|| turn.metadata.name_of(*id)).cloned();
        let part = target.iter().filter_map(|(id, index)| Some(TopicPartition::new(name_of(id)?, *index)));
        let part: BTreeSet<_> = part.collect();
        if part.len() < target.len() {
            // A topic that is new here; or one that is not wanted any more, of which the next assignment knows.
            turn.metadata.request();
        }
        let settled = part.len() == target.len() && part.is_superset(&self.owned);
        let revoked: BTreeSet<_> = self.owned.difference(&part).cloned().collect();
        if !revoked.is_empty() {
            served.target = (!settled).then_some(target);
            self.commit_before_joining(reader, turn);
            self.give_up(revoked, reader, turn);
            return true;
        }
        let added: Vec<_> = part.difference(&self.owned).cloned().collect();
        if !added.is_empty() && served.is_unheard {
            served.target = Some(target);
            return false;
        }
        served.target = (!settled).then_some(target);
        served.acknowledge |= std::mem::take(&mut served.is_new);
        if !added.is_empty() || (settled && !served.greeted) {
            served.greeted = true;
            self.take(added, reader, turn);
        }
        settled
    }

    /// Sends a heartbeat, if one is due, or if there is something to say.
    pub(super) fn beat_served(&mut self, turn: &mut Turn<'_>) {
        let Phase::Served(served) = &self.phase else { return };
        if served.call.is_some() {
            return;
        }
        // What has changed is said at once, and all of it anew when an answer was lost or an error.
        let all = self.rejoin || !self.identity.is_member() || self.retry.failures > 0;
        let news = served.acknowledge || served.told != self.owned;
        let due = if all || news { self.retry.at } else { served.next_at };
        if due > turn.at() {
            return turn.wake.by(due);
        }
        let Some(route) = self.coordinator.route(Lane::Group, &self.rules, turn) else { return };
        if self.identity.member_id.is_empty() {
            let id = u128::from(turn.rng.next_u64()) << 64 | u128::from(turn.rng.next_u64());
            self.identity.member_id = Uuid(id).to_string().into();
        }
        let epoch = if self.identity.is_member() { self.identity.generation } else { JOIN };
        let Some(owned) = self.owned_by_id(turn) else {
            turn.metadata.request();
            return self.delay(turn);
        };
        let topics = self.wanted.iter().flat_map(|wanted| &wanted.topics);
        let pattern = self.wanted.as_ref().and_then(|wanted| wanted.pattern.as_ref());
        let timeout = i32::try_from(self.rules.max_poll_interval.as_millis()).expect("the configuration was checked");
        let request = Request::from(ConsumerGroupHeartbeatRequest {
            rack_id: Some(&*self.rules.rack).filter(|rack| all && !rack.is_empty()),
            rebalance_timeout_ms: if all { timeout } else { UNCHANGED },
            subscribed_topic_names: all.then(|| topics.map(|name| &**name).collect()),
            // An empty one takes an earlier one back.
            subscribed_topic_regex: pattern
                .map(Pattern::text)
                .or(self.identity.is_member().then_some(""))
                .filter(|_| all),
            server_assignor: self.rules.remote_assignor.as_deref().filter(|_| all),
            topic_partitions: (all || news).then_some(owned),
            ..self.heartbeat_of(epoch)
        });
        match turn.pool.send(turn.now.monotonic, route, (&request, i16::MAX), turn.sink) {
            Ok(call) => {
                self.rejoin = false;
                let Phase::Served(served) = &mut self.phase else { return };
                (served.call, served.telling) = (Some(call), Some(self.owned.clone()));
                served.acknowledge = false;
                served.is_unheard |= all || news;
            }
            // The broker does not know the protocol; another may.
            Err(_) => self.delay(turn),
        }
    }

    fn heartbeat_of(&self, member_epoch: i32) -> ConsumerGroupHeartbeatRequest<'_> {
        ConsumerGroupHeartbeatRequest {
            group_id: &self.rules.group_id,
            member_id: &self.identity.member_id,
            member_epoch,
            instance_id: self.rules.instance_id.as_deref(),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    /// What the member owns, by the ids of topics; `None` if one is not known, so that nothing can be said.
    fn owned_by_id(&self, turn: &mut Turn<'_>) -> Option<Vec<TopicPartitions>> {
        let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for partition in &self.owned {
            let id = turn.metadata.topic(turn.now.monotonic, &partition.topic).id;
            topics.entry(id).or_default().push(partition.partition);
        }
        if topics.contains_key(&Uuid::ZERO) {
            return None;
        }
        Some(topics.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect())
    }

    pub(super) fn on_beat_served(
        &mut self,
        result: Result<&Answer, RpcError>,
        reader: &mut Reader,
        turn: &mut Turn<'_>,
    ) {
        let Phase::Served(served) = &mut self.phase else { return };
        served.call = None;
        let Ok(Ok(Response::ConsumerGroupHeartbeat(response))) = result.map(Answer::decode) else {
            self.coordinator.lose();
            return self.delay(turn);
        };
        match response.error_code {
            ErrorCode::NONE => self.on_epoch(&response, turn.at()),
            code @ (ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID) => {
                self.become_unknown(code, reader, turn);
            }
            // The group is gone, or is a classic one now: whoever joins makes it anew. To a join it is the last word.
            code @ ErrorCode::GROUP_ID_NOT_FOUND if self.identity.is_member() => {
                self.become_unknown(code, reader, turn);
            }
            code if code.is_retriable() => {
                if blames_coordinator(code) {
                    self.coordinator.lose();
                }
                self.delay(turn);
            }
            code => self.fail(ClientError::Broker(code), reader, turn),
        }
    }

    fn on_epoch(&mut self, response: &ConsumerGroupHeartbeatResponse<'_>, now: Instant) {
        let Phase::Served(served) = &mut self.phase else { return };
        let interval = u64::try_from(response.heartbeat_interval_ms).unwrap_or(0).max(1);
        served.next_at = now + Duration::from_millis(interval);
        served.told = served.telling.take().unwrap_or_default();
        served.is_unheard = false;
        if let Some(assignment) = &response.assignment {
            let topics = assignment.topic_partitions.iter();
            let partitions = topics.flat_map(|it| it.partitions.iter().map(|&index| (it.topic_id, index)));
            (served.target, served.is_new) = (Some(partitions.collect()), true);
        }
        let member_id = response.member_id.map_or_else(|| self.identity.member_id.clone(), Into::into);
        self.identity = Identity { member_id, generation: response.member_epoch };
        self.retry = Retry::default();
    }

    /// Says that the member goes.
    pub(super) fn send_leave_served(&mut self, route: Route, turn: &mut Turn<'_>) -> Result<CallId, RpcError> {
        let epoch = if self.rules.instance_id.is_some() { LEAVE_FOR_A_WHILE } else { LEAVE };
        let request = Request::from(self.heartbeat_of(epoch));
        turn.pool.send(turn.now.monotonic, route, (&request, i16::MAX), turn.sink)
    }
}
