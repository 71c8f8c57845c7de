//! What a shard does with consumer groups (KIP-848): drafts, and the timers that follow from what is written.
//!
//! Timers of members follow hard state: they are set and cancelled when a change is in the log, so that one that cannot
//! be written leaves nobody who never dies.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ErrorCode;

use super::answer::{ConsumerHeartbeatAnswer, DescribedConsumerGroup, JoinAnswer, LeaveAnswer, SyncAnswer};
use super::consumer_image::{ConsumerChange, ConsumerImage, MemberState};
use super::group::{ClassicGroup, ConsumerGroup, Draft, Group, LEFT, LEFT_FOR_A_WHILE, Refused, check_heartbeat};
use super::groups::Groups;
use super::image::{Change, GroupsImage};
use super::request::{ConsumerHeartbeatRequest, HeartbeatRequest, JoinRequest, LeaveRequest, SyncRequest};
use super::timers::Timer;
use super::turn::Turn;
use crate::planted::Plant;

/// A deadline that is seen so late was slept through.
const SLEPT_THROUGH: Duration = Duration::from_secs(1);

impl Groups {
    pub(super) fn on_consumer_heartbeat(
        &mut self,
        request: &ConsumerHeartbeatRequest<'_>,
        turn: &mut Turn<'_>,
    ) -> ConsumerHeartbeatAnswer {
        let answer = check_heartbeat(request, turn.settings).and_then(|()| match request.member_epoch {
            LEFT | LEFT_FOR_A_WHILE => self.consumer_leaves(request, turn),
            _ => self.consumer_goes_on(request, turn),
        });
        answer.unwrap_or_else(|Refused { code, message }| ConsumerHeartbeatAnswer::refused(code, Some(message)))
    }

    fn consumer_goes_on(
        &mut self,
        request: &ConsumerHeartbeatRequest<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerHeartbeatAnswer, Refused> {
        let mut draft = self.draft(request, turn)?;
        let version = turn.topics.version();
        let seen = self.live.get(request.group).and_then(Group::consumer).and_then(|group| group.seen_topics);
        let outcome = draft.heartbeat(request, seen != Some(version), (turn.settings, turn.now.wall));
        let (member, answer) = outcome?;
        let group = draft.group.clone();
        turn.outcome.changes.append(&mut draft.changes);
        match self.live.get_mut(request.group) {
            Some(Group::Consumer(group)) => group.seen_topics = Some(version),
            // They are in another kind of group now, or will be: whoever waits is to join that.
            Some(Group::Classic(group)) => group.dismiss_all(turn),
            None => {}
        }
        turn.timers.cancel(&Timer::Rejoin { group: group.clone(), member: member.clone() });
        let session = consumer_session(&group, turn);
        turn.set(Timer::Session { group, member }, session);
        Ok(answer)
    }

    fn consumer_leaves(
        &self,
        request: &ConsumerHeartbeatRequest<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerHeartbeatAnswer, Refused> {
        let mut draft = self.draft(request, turn)?;
        let answer = draft.leave(request)?;
        if request.member_epoch == LEFT {
            draft.after_removal(turn.settings, turn.now.wall);
        }
        turn.outcome.changes.append(&mut draft.changes);
        Ok(answer)
    }

    /// The group of a heartbeat; a new one, if somebody joins where nobody is.
    fn draft<'a>(&'a self, request: &ConsumerHeartbeatRequest<'_>, turn: &Turn<'a>) -> Result<Draft<'a>, Refused> {
        let (id, joins) = (request.group, request.member_epoch == 0);
        let not_found = |what: String| Err(Refused::new(ErrorCode::GROUP_ID_NOT_FOUND, what));
        if let Some(draft) = self.draft_of(id, turn) {
            return Ok(draft);
        }
        match self.live.get(id) {
            None if id.is_empty() => Err(Refused::new(ErrorCode::INVALID_REQUEST, "GroupId can't be empty.")),
            None if !joins => not_found(format!("Group {id} not found.")),
            None if self.live.len() >= turn.settings.max_groups => {
                Err(Refused::new(ErrorCode::COORDINATOR_NOT_AVAILABLE, "There are too many groups."))
            }
            None => Ok(Draft::new(id.into(), Cow::default(), turn)),
            Some(Group::Classic(group)) if joins && group.is_empty() => {
                let mut draft = Draft::new(group.id.clone(), Cow::default(), turn);
                if self.image.group(id).is_some() {
                    draft.changes.push(Change::Group { group: group.id.clone(), metadata: None });
                }
                Ok(draft)
            }
            Some(Group::Classic(group)) if joins => {
                let mut draft = Draft::new(group.id.clone(), Cow::default(), turn);
                draft.take_in(group, turn.settings, turn.now.wall)?;
                Ok(draft)
            }
            Some(_) => not_found(format!("Group {id} is not a consumer group.")),
        }
    }

    /// A consumer group that is there.
    fn draft_of<'a>(&'a self, id: &str, turn: &Turn<'a>) -> Option<Draft<'a>> {
        let (group, image) = (self.live.get(id).and_then(Group::consumer)?, self.image.consumer(id)?);
        Some(Draft::new(group.id.clone(), Cow::Borrowed(image), turn))
    }

    pub(super) fn describe_consumers(&self, id: &str, turn: &Turn<'_>) -> DescribedConsumerGroup {
        let refused = |what| DescribedConsumerGroup::refused(id, ErrorCode::GROUP_ID_NOT_FOUND, Some(what));
        match (self.live.get(id), self.image.consumer(id)) {
            (Some(Group::Consumer(group)), Some(image)) => {
                image.describe(&group.id, &turn.settings.consumer_groups.assignors, turn.topics)
            }
            (None, _) => refused(format!("Group {id} not found.")),
            (Some(_), _) => refused(format!("Group {id} is not a consumer group.")),
        }
    }

    /// Takes an empty group away.
    pub(super) fn remove_consumers(&self, id: &str, turn: &mut Turn<'_>) {
        if let Some(mut draft) = self.draft_of(id, turn) {
            draft.remove_group();
            turn.outcome.changes.append(&mut draft.changes);
        }
    }

    /// JoinGroup to a consumer group. One that nobody is in makes room for a classic one, which the client finds when
    /// it asks again.
    pub(super) fn join_consumers(&self, request: &JoinRequest<'_>, turn: &mut Turn<'_>) -> JoinAnswer {
        let Some(mut draft) = self.draft_of(request.group, turn) else {
            return JoinAnswer::refused(request.member_id, ErrorCode::UNKNOWN_MEMBER_ID);
        };
        if draft.image.members.is_empty() {
            self.remove_consumers(request.group, turn);
            return JoinAnswer::refused(request.member_id, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
        }
        match draft.join_classic(request, (turn.settings, turn.now.wall)) {
            Err(refused) => refused,
            Ok(answer) => {
                let (group, member) = (draft.group.clone(), answer.member_id.clone());
                turn.set(
                    Timer::Session { group: group.clone(), member: member.clone() },
                    millis(request.session_timeout_ms),
                );
                // Until it asks for its assignment.
                turn.set(Timer::Rejoin { group, member }, millis(request.rebalance_timeout_ms));
                turn.outcome.changes.append(&mut draft.changes);
                answer
            }
        }
    }

    /// SyncGroup to a consumer group.
    pub(super) fn sync_consumers(&self, request: &SyncRequest<'_>, turn: &mut Turn<'_>) -> SyncAnswer {
        let Some(draft) = self.draft_of(request.group, turn) else {
            return SyncAnswer::refused(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        match draft.sync_classic(request) {
            Err(code) => SyncAnswer::refused(code),
            Ok((member, answer)) => {
                let session = session_of(&draft.group, &draft.image, &member, turn);
                let group = draft.group;
                turn.timers.cancel(&Timer::Rejoin { group: group.clone(), member: member.clone() });
                turn.set(Timer::Session { group, member }, session);
                answer
            }
        }
    }

    /// Heartbeat to a consumer group.
    pub(super) fn heartbeat_consumers(&self, request: &HeartbeatRequest<'_>, turn: &mut Turn<'_>) -> ErrorCode {
        let Some(draft) = self.draft_of(request.group, turn) else { return ErrorCode::UNKNOWN_MEMBER_ID };
        match draft.heartbeat_classic(request) {
            Err(code) => code,
            Ok((member, must_join)) => {
                let session = session_of(&draft.group, &draft.image, &member, turn);
                let timeout_ms = draft.image.members.get(&member).map_or(0, |it| it.rebalance_timeout_ms);
                let rejoin = Timer::Rejoin { group: draft.group.clone(), member: member.clone() };
                turn.set(Timer::Session { group: draft.group, member }, session);
                if must_join && !turn.timers.is_set(&rejoin) {
                    turn.set(rejoin, millis(timeout_ms));
                }
                if must_join { ErrorCode::REBALANCE_IN_PROGRESS } else { ErrorCode::NONE }
            }
        }
    }

    /// LeaveGroup to a consumer group.
    pub(super) fn leave_consumers(&self, request: &LeaveRequest<'_>, turn: &mut Turn<'_>) -> LeaveAnswer {
        let mut members = Vec::new();
        if let Some(mut draft) = self.draft_of(request.group, turn) {
            members = draft.leave_classic(request);
            if !draft.changes.is_empty() {
                draft.after_removal(turn.settings, turn.now.wall);
            }
            turn.outcome.changes.append(&mut draft.changes);
        }
        LeaveAnswer { error: ErrorCode::NONE, members }
    }

    /// A member's time is up, for so long already.
    pub(super) fn on_consumer_timer(&self, timer: &Timer, late: Duration, turn: &mut Turn<'_>) {
        let (Timer::Session { group, member } | Timer::Revoke { group, member } | Timer::Rejoin { group, member }) =
            timer
        else {
            return;
        };
        let Some(mut draft) = self.draft_of(group, turn) else { return };
        if !draft.image.members.contains_key(member) {
            return;
        }
        if late > SLEPT_THROUGH {
            // The coordinator slept: what the member has to say may be waiting at the door.
            return turn.set(timer.clone(), session_of(&draft.group, &draft.image, member, turn));
        }
        let had = draft.image.current.get(member).cloned().filter(|_| draft.planted.has(Plant::Grp18));
        draft.remove(member);
        if had.is_some() {
            draft.push(ConsumerChange::Current { member: member.clone(), current: had });
        }
        draft.after_removal(turn.settings, turn.now.wall);
        turn.outcome.changes.append(&mut draft.changes);
    }

    /// A change is in the log: the group and the timers of its members follow.
    pub(super) fn after_consumer_change(&mut self, id: &Arc<str>, change: &ConsumerChange, turn: &mut Turn<'_>) {
        match change {
            ConsumerChange::Epoch(Some(_)) => self.become_consumers(id, turn),
            ConsumerChange::Epoch(None) => self.end_consumers(id, turn),
            ConsumerChange::Member { member, subscription: None } => {
                if self.image.consumer(id).is_none_or(|image| !image.members.contains_key(member)) {
                    let (group, member) = (id.clone(), member.clone());
                    turn.timers.cancel(&Timer::Session { group: group.clone(), member: member.clone() });
                    turn.timers.cancel(&Timer::Rejoin { group: group.clone(), member: member.clone() });
                    turn.timers.cancel(&Timer::Revoke { group, member });
                }
            }
            ConsumerChange::Current { member, .. } => {
                if let Some(image) = self.image.consumer(id) {
                    time_revocation(id, member, image, turn);
                }
            }
            ConsumerChange::Member { .. }
            | ConsumerChange::Regex { .. }
            | ConsumerChange::Target { .. }
            | ConsumerChange::TargetEpoch(_) => {}
        }
    }

    fn become_consumers(&mut self, id: &Arc<str>, turn: &mut Turn<'_>) {
        match self.live.get(id) {
            Some(Group::Consumer(_)) => return,
            Some(Group::Classic(group)) => {
                turn.timers.cancel(&Timer::Join { group: id.clone() });
                turn.timers.cancel(&Timer::Sync { group: id.clone() });
                let taken_in = self.image.consumer(id).map(|image| &image.members);
                let known = group.members.keys().chain(&group.pending_joins);
                let gone = known.filter(|member| taken_in.is_none_or(|it| !it.contains_key(*member)));
                for member in gone {
                    turn.timers.cancel(&Timer::Session { group: id.clone(), member: member.clone() });
                }
            }
            None => {}
        }
        self.live.insert(id.clone(), Group::Consumer(ConsumerGroup::new(id.clone())));
    }

    /// What a consumer group that is no more leaves behind is its offsets, or members that have gone over.
    fn end_consumers(&mut self, id: &Arc<str>, turn: &mut Turn<'_>) {
        self.live.remove(id);
        if !self.image.knows(id) {
            return;
        }
        let mut group = match self.image.group(id) {
            Some(metadata) => ClassicGroup::load(id.clone(), metadata),
            None => ClassicGroup::new(id.clone()),
        };
        for member in group.members.values() {
            turn.renew_session(&group.id, member);
        }
        group.elect_and_prepare(turn);
        self.live.insert(id.clone(), Group::Classic(group));
    }

    /// A change will not be in the log: whoever it would have been about lives on, or never was.
    pub(super) fn forget_consumer_change(&mut self, id: &Arc<str>, change: &ConsumerChange, turn: &mut Turn<'_>) {
        if let Some(Group::Consumer(group)) = self.live.get_mut(id) {
            group.seen_topics = None;
        }
        let (ConsumerChange::Member { member, .. } | ConsumerChange::Current { member, .. }) = change else { return };
        let timer = Timer::Session { group: id.clone(), member: member.clone() };
        match self.image.consumer(id).filter(|image| image.members.contains_key(member)) {
            // Of a classic group that would have gone over, who was in it still is.
            None if self.live.get(id).and_then(Group::classic).is_some_and(|group| group.has_session(member)) => {}
            None => {
                turn.timers.cancel(&timer);
                turn.timers.cancel(&Timer::Rejoin { group: id.clone(), member: member.clone() });
            }
            Some(image) => {
                if !turn.timers.is_set(&timer) {
                    turn.set(timer, session_of(id, image, member, turn));
                }
                if !turn.timers.is_set(&Timer::Revoke { group: id.clone(), member: member.clone() }) {
                    time_revocation(id, member, image, turn);
                }
            }
        }
    }
}

/// The group's members begin anew after a start.
pub(super) fn start(group: &ConsumerGroup, image: &GroupsImage, turn: &mut Turn<'_>) {
    let Some(image) = image.consumer(&group.id) else { return };
    for member in image.members.keys() {
        let timer = Timer::Session { group: group.id.clone(), member: member.clone() };
        turn.set(timer, session_of(&group.id, image, member, turn));
        time_revocation(&group.id, member, image, turn);
    }
}

/// `consumer.session.timeout.ms` of the group.
fn consumer_session(group: &str, turn: &Turn<'_>) -> Duration {
    Duration::from_millis(turn.settings.session_timeout_of(group))
}

/// The session of a member, whatever it speaks.
fn session_of(group: &str, image: &ConsumerImage, member: &str, turn: &Turn<'_>) -> Duration {
    let classic = image.members.get(member).and_then(|it| it.classic.as_ref());
    classic.map_or_else(|| consumer_session(group, turn), |classic| millis(classic.session_timeout_ms))
}

/// A timeout of the protocol; below zero it is none.
fn millis(timeout_ms: i32) -> Duration {
    Duration::from_millis(timeout_ms.try_into().unwrap_or(0))
}

/// A member that is to give partitions up has its rebalance timeout for it.
fn time_revocation(group: &Arc<str>, member: &Arc<str>, image: &ConsumerImage, turn: &mut Turn<'_>) {
    let timer = Timer::Revoke { group: group.clone(), member: member.clone() };
    let Some(subscription) = image.members.get(member) else { return };
    if image.current_of(member).state == MemberState::Unrevoked {
        turn.set(timer, millis(subscription.rebalance_timeout_ms));
    } else {
        turn.timers.cancel(&timer);
    }
}
