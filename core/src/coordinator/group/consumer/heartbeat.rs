//! ConsumerGroupHeartbeat of a member that joins or goes on: who it is, what it wants, what it is to have.

use std::sync::Arc;

use ottla_wire::ErrorCode;

use super::draft::{Draft, Refused};
use super::{LEFT, LEFT_FOR_A_WHILE, regex};
use crate::clock::WallTime;
use crate::coordinator::answer::ConsumerHeartbeatAnswer;
use crate::coordinator::assignor::Partitions;
use crate::coordinator::consumer_image::{ConsumerChange, CurrentAssignment, Subscription, partitions_of};
use crate::coordinator::request::ConsumerHeartbeatRequest;
use crate::coordinator::settings::GroupSettings;
use crate::planted::Plant;

/// The longest name that a record's key can have, in bytes.
const MAX_NAME: usize = i16::MAX as usize;

/// Whether the request is one, whatever the group is.
pub(in crate::coordinator) fn check(
    request: &ConsumerHeartbeatRequest<'_>,
    settings: &GroupSettings,
) -> Result<(), Refused> {
    let invalid = |what: &str| Err(Refused::new(ErrorCode::INVALID_REQUEST, what));
    let is_empty = |name: Option<&str>| name.is_some_and(str::is_empty);
    if request.member_id.is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if is_empty(request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if request.group.len() > MAX_NAME || request.member_id.len() > MAX_NAME {
        return invalid("A name is too long.");
    }
    match request.member_epoch {
        0 if request.rebalance_timeout_ms.is_none() => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if request.topics.is_none() && request.regex.is_none() => {
            let what = "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.";
            return invalid(what);
        }
        LEFT_FOR_A_WHILE if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        0.. | LEFT | LEFT_FOR_A_WHILE => {}
        _ => return invalid("MemberEpoch is invalid."),
    }
    let allowed = &settings.consumer_groups.assignors;
    if let Some(assignor) = request.assignor.filter(|wanted| !allowed.iter().any(|it| it == wanted)) {
        let what = format!("ServerAssignor {assignor} is not supported. Supported assignors: {}.", allowed.join(", "));
        return Err(Refused::new(ErrorCode::UNSUPPORTED_ASSIGNOR, what));
    }
    match request.regex {
        Some(pattern) if !pattern.is_empty() => regex::check(pattern),
        _ => Ok(()),
    }
}

impl Draft<'_> {
    /// A member joins or goes on; `changed` if there may be other topics than the group has last seen.
    pub fn heartbeat(
        &mut self,
        request: &ConsumerHeartbeatRequest<'_>,
        changed: bool,
        (settings, now): (&GroupSettings, WallTime),
    ) -> Result<(Arc<str>, ConsumerHeartbeatAnswer), Refused> {
        let before = self.image.current_of(request.member_id);
        let member = self.admit(request, settings)?;
        let bump = self.subscribe(&member, request);
        self.refresh(bump, changed, now);
        self.assign(settings, now);
        // A join of who is in already may be an old one that comes late, over a connection that was given up: it says
        // nothing of what the member has taken since.
        let rejoins = request.member_epoch == 0 && before.epoch > 0 && !self.planted.has(Plant::Grp19);
        let owned = request.owned.as_ref().filter(|_| !rejoins);
        let after = self.reconcile(&member, owned);
        // Who says everything is told everything: it may have lost an answer.
        let says_topics = request.topics.is_some() || request.regex.is_some();
        let is_full = request.rebalance_timeout_ms.is_some() && says_topics && request.owned.is_some();
        let has = partitions_of(&after.assigned);
        // And so is who owns something else: it may have heard something older last.
        let differs = request.owned.as_ref().is_some_and(|owned| *owned != has) && !self.planted.has(Plant::Grp19);
        let tell = request.member_epoch == 0 || is_full || differs || has != partitions_of(&before.assigned);
        // Where an assignment has to wait, who brings it about is to come back in time for it.
        let interval_ms = settings.heartbeat_interval_of(&self.group);
        let interval_ms = self.assignment_due_in(settings, now).map_or(interval_ms, |wait| interval_ms.min(wait));
        let answer = ConsumerHeartbeatAnswer {
            member_id: Some(member.clone()),
            member_epoch: after.epoch,
            heartbeat_interval_ms: interval_ms.try_into().unwrap_or(i32::MAX),
            assignment: tell.then_some(has),
            ..ConsumerHeartbeatAnswer::default()
        };
        Ok((member, answer))
    }

    /// Whether the member may speak; who joins gets a place.
    fn admit(&mut self, request: &ConsumerHeartbeatRequest<'_>, settings: &GroupSettings) -> Result<Arc<str>, Refused> {
        let joins = request.member_epoch == 0;
        let known = self.image.members.get_key_value(request.member_id).map(|(id, _)| id.clone());
        let of_instance = request.instance_id.and_then(|instance| self.image.instances.get(instance)).cloned();
        let max = usize::try_from(settings.consumer_groups.max_size).unwrap_or(usize::MAX);
        match (request.instance_id, of_instance, known) {
            (Some(_), Some(owner), _) if joins => {
                self.take_over(&owner, request)?;
                Ok(request.member_id.into())
            }
            (Some(instance), Some(owner), _) if *owner != *request.member_id => {
                let what = format!("Static member {} with instance id {instance} was fenced.", request.member_id);
                Err(Refused::new(ErrorCode::FENCED_INSTANCE_ID, what))
            }
            (None, _, Some(member)) | (Some(_), Some(member), _) => {
                check_epoch(&self.image.current_of(&member), request.member_epoch, request.owned.as_ref())?;
                Ok(member)
            }
            (_, None, known) if joins => {
                if known.is_none() && self.image.members.len() >= max {
                    let what = format!("The consumer group has reached its maximum capacity of {max} members.");
                    return Err(Refused::new(ErrorCode::GROUP_MAX_SIZE_REACHED, what));
                }
                Ok(request.member_id.into())
            }
            (Some(instance), ..) => {
                Err(Refused::new(ErrorCode::UNKNOWN_MEMBER_ID, format!("Instance id {instance} is unknown.")))
            }
            (None, ..) => {
                let what = format!("Member {} is not a member of group {}.", request.member_id, self.group);
                Err(Refused::new(ErrorCode::UNKNOWN_MEMBER_ID, what))
            }
        }
    }

    /// A static member comes back, or another process in its place: what the instance had is the new member's. Only if
    /// the old one has left, or is of the classic protocol; the same one has not heard that it is in.
    fn take_over(&mut self, owner: &Arc<str>, request: &ConsumerHeartbeatRequest<'_>) -> Result<(), Refused> {
        let current = self.image.current_of(owner);
        let is_classic = self.image.members.get(owner).is_some_and(|it| it.classic.is_some());
        if **owner == *request.member_id && current.epoch != LEFT_FOR_A_WHILE {
            return Ok(());
        }
        if current.epoch != LEFT_FOR_A_WHILE && !is_classic {
            let what = format!("Static member {} cannot join: its instance id is owned by {owner}.", request.member_id);
            return Err(Refused::new(ErrorCode::UNRELEASED_INSTANCE_ID, what));
        }
        self.replace(owner, &request.member_id.into());
        Ok(())
    }

    /// What a static member was and had is another's from now on, who begins at epoch 0.
    pub fn replace(&mut self, old: &Arc<str>, new: &Arc<str>) {
        let current = CurrentAssignment { epoch: 0, previous_epoch: 0, ..(*self.image.current_of(old)).clone() };
        let subscription = self.image.members.get(old).cloned();
        let partitions = self.image.targets.get(old).cloned();
        if old != new {
            self.forget_member(old);
            self.push(ConsumerChange::Member { member: new.clone(), subscription });
            self.push(ConsumerChange::Target { member: new.clone(), partitions });
        }
        self.push(ConsumerChange::Current { member: new.clone(), current: Some(Arc::new(current)) });
    }

    /// Takes in what the member says of itself; whether that asks for another assignment.
    fn subscribe(&mut self, member: &Arc<str>, request: &ConsumerHeartbeatRequest<'_>) -> bool {
        let before = self.image.members.get(member).cloned();
        let old = before.as_deref().cloned().unwrap_or_default();
        let next = Subscription {
            instance_id: request.instance_id.map(Into::into).or_else(|| old.instance_id.clone()),
            rack_id: request.rack_id.map(Into::into).or_else(|| old.rack_id.clone()),
            client_id: kept(&old.client_id, request.client_id),
            client_host: kept(&old.client_host, request.client_host),
            topics: match &request.topics {
                Some(topics) => topics.iter().map(|topic| Arc::from(*topic)).collect(),
                None => old.topics.clone(),
            },
            regex: match request.regex {
                Some(regex) => (!regex.is_empty()).then(|| regex.into()),
                None => old.regex.clone(),
            },
            rebalance_timeout_ms: request.rebalance_timeout_ms.unwrap_or(old.rebalance_timeout_ms),
            assignor: request.assignor.map(Into::into).or_else(|| old.assignor.clone()),
            classic: None,
        };
        if before.is_some() && next == old {
            return false;
        }
        self.enlist(member, before, next)
    }

    /// Writes what a member is subscribed to; whether that asks for another assignment.
    pub fn enlist(&mut self, member: &Arc<str>, before: Option<Arc<Subscription>>, next: Subscription) -> bool {
        let wants = |it: &Subscription| (it.topics.clone(), it.regex.clone(), it.assignor.clone(), it.rack_id.clone());
        let bump = before.as_deref().is_none_or(|before| wants(before) != wants(&next));
        self.push(ConsumerChange::Member { member: member.clone(), subscription: Some(Arc::new(next)) });
        self.forget_regex(before.and_then(|it| it.regex.clone()));
        bump
    }
}

/// The same text is not kept twice.
fn kept(old: &Arc<str>, new: &str) -> Arc<str> {
    if **old == *new { old.clone() } else { new.into() }
}

/// Whether the member is at the epoch that it says. One epoch back it may be, if it owns nothing that it may not: it
/// has not had the answer that took it on.
fn check_epoch(current: &CurrentAssignment, epoch: i32, owned: Option<&Partitions>) -> Result<(), Refused> {
    let fenced = |how: &str| {
        let known = current.epoch;
        let what = format!("The member's epoch ({epoch}) is {how} than the one known here ({known}): it must rejoin.");
        Err(Refused::new(ErrorCode::FENCED_MEMBER_EPOCH, what))
    };
    if epoch == 0 || epoch == current.epoch {
        return Ok(());
    }
    if epoch > current.epoch {
        return fenced("greater");
    }
    let may_own = |(topic, partitions): (&ottla_wire::Uuid, &std::collections::BTreeSet<i32>)| {
        partitions.iter().all(|it| current.assigned.get(topic).is_some_and(|of| of.contains_key(it)))
    };
    if epoch == current.previous_epoch && owned.is_some_and(|owned| owned.iter().all(may_own)) {
        return Ok(());
    }
    fenced("smaller")
}
