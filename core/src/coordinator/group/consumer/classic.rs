//! Members of the classic protocol inside a consumer group, on their way to the other protocol or back: what they say
//! by JoinGroup, SyncGroup and Heartbeat is brought under the same epochs, and a generation is a member's epoch.
//!
//! They are told to join again whenever there is something for them: another epoch, partitions to give up, partitions
//! that have become free.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::consumer_protocol::{
    AssignedPartitions, ConsumerProtocolAssignment, ConsumerProtocolSubscription, OwnedPartitions,
};
use ottla_wire::{ErrorCode, Uuid, Writer};

use super::draft::Draft;
use crate::clock::WallTime;
use crate::coordinator::answer::{JoinAnswer, SyncAnswer};
use crate::coordinator::assignor::Partitions;
use crate::coordinator::consumer_image::{
    ClassicMember, CurrentAssignment, MemberState, Owned, Subscription, partitions_of,
};
use crate::coordinator::group::CONSUMER;
use crate::coordinator::group::protocols::spoken_by_all;
use crate::coordinator::request::{HeartbeatRequest, JoinRequest, SyncRequest};
use crate::coordinator::settings::GroupSettings;
use crate::coordinator::topics::Topics;

/// The newest version of an assignment.
const LATEST: i16 = 3;

/// A subscription of the classic protocol, as it is kept of a member of a consumer group.
pub(in crate::coordinator) fn subscription_of(
    protocols: &[(Arc<str>, Bytes)],
    speaks: &str,
    of: Subscription,
    session_timeout_ms: i32,
) -> Option<Subscription> {
    let (_, metadata) = protocols.iter().find(|(name, _)| **name == *speaks)?;
    let wire = ConsumerProtocolSubscription::decode_versioned(metadata).ok()?;
    Some(Subscription {
        rack_id: wire.rack_id.filter(|rack| !rack.is_empty()).map(Into::into),
        topics: wire.topics.into_iter().map(Arc::from).collect(),
        classic: Some(ClassicMember { session_timeout_ms, protocols: protocols.to_vec() }),
        ..of
    })
}

impl Draft<'_> {
    /// A member joins, or joins again, by JoinGroup: its id and what it is told.
    pub fn join_classic(
        &mut self,
        request: &JoinRequest<'_>,
        (settings, now): (&GroupSettings, WallTime),
    ) -> Result<JoinAnswer, JoinAnswer> {
        let refused = |code| JoinAnswer::refused(request.member_id, code);
        let protocols: Vec<(Arc<str>, Bytes)> =
            request.protocols.iter().map(|it| (it.name.into(), Bytes::copy_from_slice(it.metadata))).collect();
        let Some((protocol, metadata)) = protocols.first().cloned().filter(|_| self.can_follow(request)) else {
            return Err(refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
        };
        let (_, owned) = owned_by(&metadata, self.topics);
        let member = self.admit_classic(request, &owned, settings)?;
        let before = self.image.members.get(&member).cloned();
        let of = Subscription {
            instance_id: request.instance_id.map(Into::into),
            client_id: request.client_id.into(),
            client_host: request.client_host.into(),
            rebalance_timeout_ms: request.rebalance_timeout_ms.max(0),
            ..Subscription::default()
        };
        let next = subscription_of(&protocols, &protocol, of, request.session_timeout_ms);
        let next = next.ok_or_else(|| refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL))?;
        let bump = before.as_deref() != Some(&next) && self.enlist(&member, before, next);
        self.refresh(bump, true, now);
        self.assign(settings, now);
        let current = self.reconcile(&member, Some(&owned));
        Ok(JoinAnswer {
            error: ErrorCode::NONE,
            generation: current.epoch,
            protocol_type: Some(CONSUMER.into()),
            protocol: Some(protocol),
            // Nobody leads: assignments are made here.
            leader: "".into(),
            skip_assignment: false,
            member_id: member,
            members: Vec::new(),
        })
    }

    /// Whether the member and those of the classic protocol that are here have a protocol in common.
    fn can_follow(&self, request: &JoinRequest<'_>) -> bool {
        let others = self.image.members.iter().filter(|(id, _)| ***id != *request.member_id);
        let common = spoken_by_all(others.filter_map(|(_, it)| Some(&it.classic.as_ref()?.protocols)));
        let is_common = |name: &str| common.as_ref().is_none_or(|common| common.contains(name));
        request.protocol_type == CONSUMER && request.protocols.iter().any(|it| is_common(it.name))
    }

    /// With an id that is not known a member comes that was just given it (KIP-394). Kafka takes everybody for such a
    /// one; but who has partitions was put out of the group and has not heard of it, and would go on with what is
    /// another's by now.
    fn admit_classic(
        &mut self,
        request: &JoinRequest<'_>,
        owned: &Partitions,
        settings: &GroupSettings,
    ) -> Result<Arc<str>, JoinAnswer> {
        let refused = |code| JoinAnswer::refused(request.member_id, code);
        let is_new = request.member_id.is_empty();
        let owner = request.instance_id.and_then(|instance| self.image.instances.get(instance)).cloned();
        let max = usize::try_from(settings.consumer_groups.max_size).unwrap_or(usize::MAX);
        let is_known = owner.is_some() || self.image.members.contains_key(request.member_id);
        if !is_known && self.image.members.len() >= max {
            return Err(refused(ErrorCode::GROUP_MAX_SIZE_REACHED));
        }
        let id: Arc<str> = if is_new { request.new_member_id().into() } else { request.member_id.into() };
        match (request.instance_id, owner) {
            (None, _) if is_new && request.knows_member_id_required => {
                Err(JoinAnswer::refused(&id, ErrorCode::MEMBER_ID_REQUIRED))
            }
            (None, _) if !is_known && !owned.is_empty() => Err(refused(ErrorCode::UNKNOWN_MEMBER_ID)),
            (None, _) => Ok(id),
            (Some(_), Some(owner)) if is_new => {
                self.replace(&owner, &id);
                Ok(id)
            }
            (Some(_), None) if is_new => Ok(id),
            (Some(_), Some(owner)) if owner == id => Ok(id),
            (Some(_), Some(_)) => Err(refused(ErrorCode::FENCED_INSTANCE_ID)),
            (Some(_), None) => Err(refused(ErrorCode::UNKNOWN_MEMBER_ID)),
        }
    }

    /// The member of the classic protocol that a request is of, at its epoch.
    fn find_generation(
        &self,
        (id, instance, generation): (&str, Option<&str>, i32),
    ) -> Result<(Arc<str>, Arc<CurrentAssignment>), ErrorCode> {
        let member = self.find(id, instance).map_err(|refused| refused.code)?;
        if self.image.members.get(&member).is_none_or(|it| it.classic.is_none()) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        let current = self.image.current_of(&member);
        if current.epoch == generation { Ok((member, current)) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
    }

    /// A member asks for what it is to have at its epoch.
    pub fn sync_classic(&self, request: &SyncRequest<'_>) -> Result<(Arc<str>, SyncAnswer), ErrorCode> {
        let who = (request.member_id, request.instance_id, request.generation);
        let (member, current) = self.find_generation(who)?;
        let classic = self.image.members.get(&member).and_then(|it| it.classic.as_ref());
        let (protocol, metadata) =
            classic.and_then(|it| it.protocols.first()).ok_or(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)?;
        let differs = |theirs: Option<&str>, ours: &str| theirs.is_some_and(|theirs| theirs != ours);
        if differs(request.protocol_type, CONSUMER) || differs(request.protocol, protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        // One that has still to give something up has joined for that already, and goes on with what it keeps.
        if self.image.epoch.epoch > current.epoch && current.state != MemberState::Unrevoked {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        let version = metadata.first_chunk().map_or(0, |version| i16::from_be_bytes(*version)).clamp(0, LATEST);
        let answer = SyncAnswer {
            error: ErrorCode::NONE,
            protocol_type: Some(CONSUMER.into()),
            protocol: Some(protocol.clone()),
            assignment: encode_assignment(&partitions_of(&current.assigned), self.topics, version),
        };
        Ok((member, answer))
    }

    /// A member lives; whether it is to join again.
    pub fn heartbeat_classic(&self, request: &HeartbeatRequest<'_>) -> Result<(Arc<str>, bool), ErrorCode> {
        let who = (request.member_id, request.instance_id, request.generation);
        let (member, current) = self.find_generation(who)?;
        let must_join = current.epoch < self.image.epoch.epoch
            || current.state == MemberState::Unrevoked
            || current.state == MemberState::Unreleased && self.is_all_free(&member, &current);
        Ok((member, must_join))
    }

    /// Whether nobody has any more what the member waits for.
    fn is_all_free(&self, member: &Arc<str>, current: &CurrentAssignment) -> bool {
        let target = self.image.targets.get(member).cloned().unwrap_or_default();
        let wanted = target.iter().flat_map(|(topic, partitions)| partitions.iter().map(|it| (*topic, *it)));
        let missing: BTreeSet<(Uuid, i32)> =
            wanted.filter(|(topic, partition)| current.given_at(*topic, *partition).is_none()).collect();
        self.taken(member, &missing).is_empty()
    }
}

/// What a member says that it owns, of topics that there are, and as of which generation, or -1.
pub(super) fn owned_by(metadata: &[u8], topics: &Topics) -> (i32, Partitions) {
    let wire = ConsumerProtocolSubscription::decode_versioned(metadata).unwrap_or_default();
    let mut owned = Partitions::new();
    for OwnedPartitions { topic, partitions } in wire.owned_partitions {
        if let Some(topic) = topics.get(topic).filter(|_| !partitions.is_empty()) {
            owned.entry(topic.id).or_default().extend(partitions);
        }
    }
    (wire.generation_id, owned)
}

/// What a member of the classic protocol was assigned, of topics that there are, as of a generation; `None`: it cannot
/// be read.
pub(in crate::coordinator) fn assignment_of(bytes: &[u8], generation: i32, topics: &Topics) -> Option<Owned> {
    let mut owned = Owned::new();
    if bytes.is_empty() {
        return Some(owned);
    }
    let wire = ConsumerProtocolAssignment::decode_versioned(bytes).ok()?;
    for AssignedPartitions { topic, partitions } in wire.assigned_partitions {
        if let Some(topic) = topics.get(topic).filter(|_| !partitions.is_empty()) {
            owned.entry(topic.id).or_default().extend(partitions.into_iter().map(|it| (it, generation)));
        }
    }
    Some(owned)
}

/// For a member of the classic protocol; a topic that is no more has no name to be told by.
pub(in crate::coordinator) fn encode_assignment(partitions: &Partitions, topics: &Topics, version: i16) -> Bytes {
    let named = partitions.iter().filter_map(|(id, partitions)| {
        let topic = topics.name(*id)?;
        Some(AssignedPartitions { topic, partitions: partitions.iter().copied().collect() })
    });
    let mut out = Writer::new();
    ConsumerProtocolAssignment { assigned_partitions: named.collect(), user_data: None }
        .encode_versioned(&mut out, version);
    out.into_bytes().into()
}
