//! All groups of a shard: which of them a request is for.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ErrorCode;

use super::answer::{
    Answer, DescribedGroup, GroupState, GroupType, JoinAnswer, LeaveAnswer, LeftMember, ListedGroup, SyncAnswer,
};
use super::consumer_image::ConsumerImage;
use super::consumers;
use super::group::CONSUMER;
use super::group::{ClassicGroup, ConsumerGroup, Group, Joining, Parked};
use super::image::{Change, GroupsImage, OffsetKey};
use super::request::{JoinRequest, LeaveRequest, ListRequest, Request};
use super::settings::GroupSettings;
use super::timers::{Timer, Timers};
use super::turn::{Followup, Turn};
use crate::machine::Ticket;

/// The groups as they live, and what the log says of them and of their offsets, up to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    pub image: GroupsImage,
    /// Every group that the image knows, and those that have not got that far.
    pub live: BTreeMap<Arc<str>, Group>,
    /// The last group that the search for expired offsets has seen, if it has not come to the end.
    pub expired_up_to: Option<Arc<str>>,
}

impl Groups {
    /// The groups that the log knows; nobody is in them yet but by what it says.
    pub fn load(image: GroupsImage) -> Self {
        let simple = image.offset_groups().map(|id| (id.clone(), Group::Classic(ClassicGroup::new(id.clone()))));
        let mut live: BTreeMap<_, _> = simple.collect();
        for (id, metadata) in image.groups() {
            live.insert(id.clone(), Group::Classic(ClassicGroup::load(id.clone(), metadata)));
        }
        for (id, _) in image.consumers() {
            live.insert(id.clone(), Group::Consumer(ConsumerGroup::new(id.clone())));
        }
        Self { image, live, expired_up_to: None }
    }

    /// The sessions of all members begin anew; a group that has become too large is to shrink.
    pub fn start(&mut self, turn: &mut Turn<'_>) {
        let max = usize::try_from(turn.settings.groups.max_size).unwrap_or(usize::MAX);
        for group in self.live.values_mut() {
            let group = match group {
                Group::Classic(group) => group,
                Group::Consumer(group) => {
                    consumers::start(group, &self.image, turn);
                    continue;
                }
            };
            for member in group.members.values() {
                turn.renew_session(&group.id, member);
            }
            if group.members.len() > max {
                group.prepare(turn);
            }
            group.elect_and_prepare(turn);
        }
    }

    pub fn on_request(&mut self, request: &Request<'_>, ticket: Ticket, turn: &mut Turn<'_>) {
        match request {
            Request::Join(it) => self.on_join(it, ticket, turn),
            Request::Sync(it) if self.is_of_consumers(it.group) => {
                let answer = self.sync_consumers(it, turn);
                turn.answer(ticket, Answer::Sync(answer));
            }
            Request::Heartbeat(it) if self.is_of_consumers(it.group) => {
                let code = self.heartbeat_consumers(it, turn);
                turn.answer(ticket, Answer::Heartbeat(code));
            }
            Request::Sync(it) => match self.find(it.group) {
                Ok(group) => group.on_sync(it, ticket, turn),
                Err(code) => turn.answer(ticket, Answer::Sync(SyncAnswer::refused(code))),
            },
            Request::Heartbeat(it) => {
                let code = self.find(it.group).map_or_else(|code| code, |group| group.on_heartbeat(it, turn));
                turn.answer(ticket, Answer::Heartbeat(code));
            }
            Request::Leave(it) => {
                let answer = self.on_leave(it, turn);
                turn.answer(ticket, Answer::Leave(answer));
            }
            Request::ConsumerHeartbeat(it) => {
                let answer = self.on_consumer_heartbeat(it, turn);
                turn.answer(ticket, Answer::ConsumerHeartbeat(answer));
            }
            Request::ConsumerDescribe { group } => {
                let described = self.describe_consumers(group, turn);
                turn.answer(ticket, Answer::ConsumerDescribe(described));
            }
            Request::Commit(it) => {
                let answer = self.on_commit(it, turn);
                turn.answer(ticket, Answer::Commit(answer));
            }
            Request::FetchOffsets(it) => {
                turn.answer(ticket, Answer::FetchOffsets(super::offsets::fetch(&self.image, it)));
            }
            Request::Describe { group } => turn.answer(ticket, Answer::Describe(self.describe(group))),
            Request::List(it) => {
                turn.answer(ticket, Answer::List { error: ErrorCode::NONE, groups: self.list(it) });
            }
            Request::Delete { groups } => {
                let results = groups.iter().map(|group| ((*group).into(), self.delete(group, turn)));
                let groups = results.collect();
                turn.answer(ticket, Answer::Delete { groups });
            }
            Request::DeleteOffsets(it) => {
                let answer = self.on_delete_offsets(it, turn);
                turn.answer(ticket, Answer::DeleteOffsets(answer));
            }
        }
    }

    fn is_of_consumers(&self, group: &str) -> bool {
        matches!(self.live.get(group), Some(Group::Consumer(_)))
    }

    /// The group of a member's request.
    fn find(&mut self, group: &str) -> Result<&mut ClassicGroup, ErrorCode> {
        match self.live.get_mut(group) {
            Some(Group::Classic(group)) => Ok(group),
            None if group.is_empty() => Err(ErrorCode::INVALID_GROUP_ID),
            Some(Group::Consumer(_)) | None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    /// A group, made, as a classic one, if there is none and there is room for it.
    pub(super) fn find_or_create(&mut self, id: &str, settings: &GroupSettings) -> Option<&mut Group> {
        let has_room = self.live.len() < settings.max_groups;
        match self.live.entry(id.into()) {
            Entry::Vacant(_) if !has_room => None,
            Entry::Vacant(vacant) => {
                let group = ClassicGroup::new(vacant.key().clone());
                Some(vacant.insert(Group::Classic(group)))
            }
            Entry::Occupied(occupied) => Some(occupied.into_mut()),
        }
    }

    fn on_join(&mut self, request: &JoinRequest<'_>, ticket: Ticket, turn: &mut Turn<'_>) {
        if let Err(code) = self.check_join(request, turn) {
            return turn.answer(ticket, Answer::Join(JoinAnswer::refused(request.member_id, code)));
        }
        let Some(group) = self.find_or_create(request.group, turn.settings) else {
            // One of a bounded number: there may be room when others have expired.
            let refused = JoinAnswer::refused(request.member_id, ErrorCode::COORDINATOR_NOT_AVAILABLE);
            return turn.answer(ticket, Answer::Join(refused));
        };
        match group {
            Group::Classic(group) => {
                group.on_join(Joining { request, ticket }, turn);
                self.prune(request.group, turn.timers);
            }
            Group::Consumer(_) => {
                let answer = self.join_consumers(request, turn);
                turn.answer(ticket, Answer::Join(answer));
            }
        }
    }

    fn check_join(&self, request: &JoinRequest<'_>, turn: &Turn<'_>) -> Result<(), ErrorCode> {
        let limits = &turn.settings.groups;
        let timeout = u64::try_from(request.session_timeout_ms).unwrap_or(0);
        if request.group.is_empty() {
            Err(ErrorCode::INVALID_GROUP_ID)
        } else if !(limits.min_session_timeout_ms..=limits.max_session_timeout_ms).contains(&timeout) {
            Err(ErrorCode::INVALID_SESSION_TIMEOUT)
        } else if !request.member_id.is_empty() && !self.live.contains_key(request.group) {
            Err(ErrorCode::UNKNOWN_MEMBER_ID)
        } else {
            Ok(())
        }
    }

    fn on_leave(&mut self, request: &LeaveRequest<'_>, turn: &mut Turn<'_>) -> LeaveAnswer {
        let everyone = |code| request.members.iter().map(|member| LeftMember::new(member, code)).collect();
        if self.is_of_consumers(request.group) {
            return self.leave_consumers(request, turn);
        }
        let answer = match self.find(request.group) {
            Ok(group) => group.on_leave(request, turn),
            Err(ErrorCode::UNKNOWN_MEMBER_ID) => {
                LeaveAnswer { error: ErrorCode::NONE, members: everyone(ErrorCode::UNKNOWN_MEMBER_ID) }
            }
            Err(code) => LeaveAnswer { error: code, members: everyone(ErrorCode::NONE) },
        };
        self.prune(request.group, turn.timers);
        answer
    }

    fn describe(&self, group: &str) -> DescribedGroup {
        match self.live.get(group) {
            Some(Group::Classic(group)) => group.describe(),
            Some(Group::Consumer(_)) => not_found(group, format!("Group {group} is not a classic group.")),
            None => not_found(group, format!("Group {group} not found.")),
        }
    }

    /// The state of each group, in the order of their names.
    pub fn states(&self) -> impl Iterator<Item = GroupState> {
        self.live.iter().map(|(id, group)| match group {
            Group::Classic(group) => group.state_name(),
            Group::Consumer(_) => self.image.consumer(id).map_or(GroupState::Empty, ConsumerImage::state),
        })
    }

    fn list(&self, request: &ListRequest<'_>) -> Vec<ListedGroup> {
        let lower = |filter: &[&str]| filter.iter().map(|it| it.to_ascii_lowercase()).collect::<BTreeSet<_>>();
        let (states, types) = (lower(&request.states), lower(&request.types));
        let among =
            |name: &str, filter: &BTreeSet<String>| filter.is_empty() || filter.contains(&name.to_ascii_lowercase());
        let listed = self.live.iter().zip(self.states()).map(|((id, group), state)| {
            let (kind, protocol_type) = match group {
                Group::Classic(group) => (GroupType::Classic, group.protocol_type.clone().unwrap_or_default()),
                Group::Consumer(_) => (GroupType::Consumer, CONSUMER.into()),
            };
            ListedGroup { group: id.clone(), protocol_type, state, kind }
        });
        listed.filter(|it| among(it.state.name(), &states) && among(it.kind.name(), &types)).collect()
    }

    /// Forgets an empty group and what it has committed.
    fn delete(&self, id: &str, turn: &mut Turn<'_>) -> ErrorCode {
        let Some((id, group)) = self.live.get_key_value(id) else { return ErrorCode::GROUP_ID_NOT_FOUND };
        let is_empty = match group {
            Group::Classic(group) => group.is_empty(),
            Group::Consumer(_) => self.image.consumer(id).is_none_or(|image| image.members.is_empty()),
        };
        if !is_empty {
            return ErrorCode::NON_EMPTY_GROUP;
        }
        for (topic, partitions) in self.image.offsets(id).into_iter().flatten() {
            for partition in partitions.keys() {
                let at = OffsetKey { group: id.clone(), topic: topic.clone(), partition: *partition };
                turn.outcome.changes.push(Change::Offset { at, offset: None });
            }
        }
        match group {
            Group::Classic(_) => turn.outcome.changes.push(Change::Group { group: id.clone(), metadata: None }),
            Group::Consumer(_) => self.remove_consumers(id, turn),
        }
        ErrorCode::NONE
    }

    /// A timer that has been due for so long.
    pub fn on_timer(&mut self, timer: &Timer, late: Duration, turn: &mut Turn<'_>) {
        let (Timer::Session { group: id, .. }
        | Timer::Revoke { group: id, .. }
        | Timer::Rejoin { group: id, .. }
        | Timer::Join { group: id }
        | Timer::Sync { group: id }) = timer
        else {
            return;
        };
        let group = match self.live.get_mut(id) {
            None => return,
            Some(Group::Consumer(_)) => return self.on_consumer_timer(timer, late, turn),
            Some(Group::Classic(group)) => group,
        };
        match timer {
            Timer::Session { member, .. } => group.on_session_deadline(member, late, turn),
            Timer::Join { .. } => group.on_join_deadline(turn),
            Timer::Sync { .. } => group.on_sync_deadline(turn),
            Timer::Revoke { .. } | Timer::Rejoin { .. } | Timer::Expiry => {}
        }
        self.prune(id, turn.timers);
    }

    /// What a batch has led to, now that it is committed; or why it is not (yet).
    pub fn follow_up(&mut self, followup: Followup, outcome: Result<(), Unwritten>, turn: &mut Turn<'_>) {
        let (Followup::Assigned { group, .. } | Followup::Replaced { group, .. }) = &followup;
        let Some(group) = self.live.get_mut(group).and_then(Group::classic_mut) else { return };
        match (followup, outcome) {
            (Followup::Assigned { generation, assignments, .. }, Ok(())) => {
                group.on_assigned(generation, &assignments, turn);
            }
            (Followup::Assigned { generation, .. }, Err(unwritten)) => {
                group.on_not_assigned(generation, unwritten.code(), turn);
            }
            (Followup::Replaced { new, old, .. }, Err(Unwritten::Never(_))) => group.restore(&new, *old, turn),
            // Late is not never: the new member may be in the log, and the old one is fenced either way.
            (Followup::Replaced { .. }, Ok(()) | Err(Unwritten::Late)) => {}
        }
    }

    /// Follows what was appended.
    pub fn replay(&mut self, changes: &[Change], turn: &mut Turn<'_>) {
        for change in changes {
            self.image.replay(change);
        }
        for change in changes {
            match change {
                Change::Group { group, metadata: None } => self.remove_empty(group, turn.timers),
                Change::Offset { at, offset: None } => self.prune(&at.group, turn.timers),
                Change::Consumer { group, change } => self.after_consumer_change(group, change, turn),
                Change::Group { .. } | Change::Offset { .. } | Change::Other => {}
            }
        }
    }

    /// What was decided will not be in the log: a group that would have begun with it is not there.
    pub fn forget(&mut self, changes: &[Change], turn: &mut Turn<'_>) {
        for change in changes {
            match change {
                Change::Offset { at: OffsetKey { group, .. }, .. } | Change::Group { group, .. } => {
                    self.prune(group, turn.timers);
                }
                Change::Consumer { group, change } => self.forget_consumer_change(group, change, turn),
                Change::Other => {}
            }
        }
    }

    /// Forgets a group that nobody is in, or is about to join, and the log knows nothing of.
    pub fn prune(&mut self, id: &str, timers: &mut Timers) {
        let Some(group) = self.live.get(id).and_then(Group::classic) else { return };
        if group.is_empty() && group.pending_joins.is_empty() && !self.image.knows(id) {
            self.remove_empty(id, timers);
        }
    }

    fn remove_empty(&mut self, id: &str, timers: &mut Timers) {
        let Some(group) = self.live.get(id).and_then(Group::classic) else { return };
        if group.is_empty() {
            // Whoever has come to the consumer group in its place with an id that was given out here lives on there.
            let members = self.image.consumer(id).map(|image| &image.members);
            let gone = group.pending_joins.iter().filter(|member| members.is_none_or(|it| !it.contains_key(*member)));
            for member in gone {
                timers.cancel(&Timer::Session { group: group.id.clone(), member: member.clone() });
            }
            self.live.remove(id);
        }
    }

    /// Everyone who is parked, with the answer that sends them elsewhere.
    pub fn parked(&self) -> impl Iterator<Item = (Ticket, Answer)> {
        let code = ErrorCode::NOT_COORDINATOR;
        let members = self.live.values().filter_map(Group::classic).flat_map(|group| group.members.values());
        members.filter_map(move |member| match member.parked? {
            Parked::Join(ticket) => Some((ticket, Answer::Join(JoinAnswer::refused(&member.id, code)))),
            Parked::Sync(ticket) => Some((ticket, Answer::Sync(SyncAnswer::refused(code)))),
        })
    }
}

fn not_found(group: &str, message: String) -> DescribedGroup {
    DescribedGroup { message: Some(message), ..DescribedGroup::refused(group, ErrorCode::GROUP_ID_NOT_FOUND) }
}

/// Why a batch is not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// It is not in the log: what members are told.
    Never(ErrorCode),
    /// It is in the log, and may yet be committed.
    Late,
}

impl Unwritten {
    /// What members are told.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Never(code) => code,
            Self::Late => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        }
    }
}
