//! JoinGroup: a member comes, comes back, or has something new to say.

use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ErrorCode;

use super::member::Parked;
use super::{ClassicGroup, ClassicState, Member};
use crate::coordinator::answer::{Answer, JoinAnswer};
use crate::coordinator::image::Change;
use crate::coordinator::request::JoinRequest;
use crate::coordinator::timers::Timer;
use crate::coordinator::turn::{Followup, Turn};
use crate::machine::Ticket;
use crate::planted::Plant;

/// How long a member that has never been in a generation may wait for one. It cannot send heartbeats meanwhile, and
/// nobody sees it hang up: it must ask again.
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(300);

/// A JoinGroup and who sent it.
#[derive(Clone, Copy)]
pub(in crate::coordinator) struct Joining<'a> {
    pub request: &'a JoinRequest<'a>,
    pub ticket: Ticket,
}

impl Joining<'_> {
    fn refuse(self, member_id: &str, code: ErrorCode, turn: &mut Turn<'_>) {
        turn.answer(self.ticket, Answer::Join(JoinAnswer::refused(member_id, code)));
    }
}

impl ClassicGroup {
    /// Somebody joins.
    pub fn on_join(&mut self, joining: Joining<'_>, turn: &mut Turn<'_>) {
        let request = joining.request;
        if !self.has_room_for(request, turn) {
            let was_member = self.members.contains_key(request.member_id);
            self.remove_member(request.member_id, turn);
            joining.refuse("", ErrorCode::GROUP_MAX_SIZE_REACHED, turn);
            self.after_removal(was_member, turn);
        } else if !self.can_follow(request) {
            joining.refuse(request.member_id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL, turn);
        } else if request.member_id.is_empty() {
            self.join_new(joining, turn);
        } else if self.pending_joins.contains(request.member_id) {
            // Its id was given to a member without an instance.
            match request.instance_id {
                None => self.add(request.member_id.into(), joining, turn),
                Some(_) => joining.refuse(request.member_id, ErrorCode::UNKNOWN_MEMBER_ID, turn),
            }
        } else {
            match self.check_member(request.member_id, request.instance_id) {
                Ok(()) => self.join_again(joining, turn),
                Err(code) => joining.refuse(request.member_id, code, turn),
            }
        }
    }

    /// `group.max.size`. In a rebalance those who come first are in, beside static members, whose places are kept; a
    /// group above the size shrinks so.
    fn has_room_for(&self, request: &JoinRequest<'_>, turn: &Turn<'_>) -> bool {
        let max = usize::try_from(turn.settings.groups.max_size).unwrap_or(usize::MAX);
        let same_instance = |it: &Member| it.instance_id.is_some() && it.instance_id.as_deref() == request.instance_id;
        let is_known = |it: &Member| *it.id == *request.member_id || same_instance(it);
        let others = self.members.values().filter(|it| !is_known(it));
        match self.state {
            ClassicState::Empty => true,
            ClassicState::Preparing { .. } => {
                others.filter(|it| it.has_joined() || it.instance_id.is_some()).count() < max
            }
            ClassicState::Completing { .. } | ClassicState::Stable => {
                self.members.values().any(is_known) || others.count() < max
            }
        }
    }

    /// Whether the group and the member have a protocol in common.
    fn can_follow(&self, request: &JoinRequest<'_>) -> bool {
        let Some(common) = self.common_protocols() else {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        };
        self.protocol_type.as_deref() == Some(request.protocol_type)
            && request.protocols.iter().any(|protocol| common.contains(protocol.name))
    }

    fn join_new(&mut self, joining: Joining<'_>, turn: &mut Turn<'_>) {
        let request = joining.request;
        let id: Arc<str> = request.new_member_id().into();
        if let Some(instance) = request.instance_id {
            match self.instances.get(instance).cloned() {
                Some(old) if !self.adds_beside(turn) => self.replace(&old, id, joining, turn),
                Some(_) | None => self.add(id, joining, turn),
            }
        } else if request.knows_member_id_required && !turn.settings.planted.has(Plant::Grp08) {
            self.give_id(&id, joining, turn);
        } else {
            self.add(id, joining, turn);
        }
    }

    /// GRP-03: whether a static member that comes back is another.
    fn adds_beside(&self, turn: &Turn<'_>) -> bool {
        turn.settings.planted.has(Plant::Grp03) && matches!(self.state, ClassicState::Preparing { .. })
    }

    /// A client whose first answer is lost would leave a member behind that nobody is: so it is first only told its
    /// id, and becomes a member when it comes back with it (KIP-394).
    fn give_id(&mut self, id: &Arc<str>, joining: Joining<'_>, turn: &mut Turn<'_>) {
        let max = usize::try_from(turn.settings.groups.max_size).unwrap_or(usize::MAX);
        if self.pending_joins.len() >= max {
            return joining.refuse("", ErrorCode::GROUP_MAX_SIZE_REACHED, turn);
        }
        self.pending_joins.insert(id.clone());
        let session = Duration::from_millis(joining.request.session_timeout_ms.try_into().unwrap_or(0));
        turn.set(Timer::Session { group: self.id.clone(), member: id.clone() }, session);
        joining.refuse(id, ErrorCode::MEMBER_ID_REQUIRED, turn);
    }

    fn add(&mut self, id: Arc<str>, joining: Joining<'_>, turn: &mut Turn<'_>) {
        let mut member = Member::new(id.clone(), joining.request);
        if self.members.is_empty() {
            self.protocol_type = Some(joining.request.protocol_type.into());
        }
        self.leader.get_or_insert_with(|| id.clone());
        if let Some(instance) = &member.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
        member.parked = Some(Parked::Join(joining.ticket));
        self.pending_joins.remove(&id);
        turn.set(Timer::Session { group: self.id.clone(), member: id.clone() }, NEW_MEMBER_TIMEOUT);
        self.members.insert(id, member);
        if let ClassicState::Preparing { initial: Some(delay) } = &mut self.state {
            delay.joined = true;
        }
        self.rebalance(turn);
    }

    /// A static member has come back without its id: it has a new one, and whoever is left of the old one is fenced.
    fn replace(&mut self, old: &Arc<str>, id: Arc<str>, joining: Joining<'_>, turn: &mut Turn<'_>) {
        let mut before = self.members.remove(old).expect("an instance is a member");
        before.dismiss(ErrorCode::FENCED_INSTANCE_ID, old, turn);
        turn.timers.cancel(&Timer::Session { group: self.id.clone(), member: old.clone() });
        let led = self.is_leader(old);
        if led {
            self.leader = Some(id.clone());
        }
        let instance = before.instance_id.clone().expect("a static member has an instance");
        self.instances.insert(instance, id.clone());
        let mut member = Member { id: id.clone(), is_new: false, ..before.clone() };
        member.update(joining.request);
        turn.renew_session(&self.id, &member);
        self.members.insert(id.clone(), member);

        let chosen = self.choose_protocol();
        if self.state == ClassicState::Stable && chosen == self.protocol {
            return self.replace_quietly(id, before, joining, turn);
        }
        self.park_join(&id, joining.ticket, turn);
        match self.state {
            // The leader may have been told the old id already, and would assign nothing to the new one.
            ClassicState::Completing { .. } | ClassicState::Stable => self.prepare(turn),
            ClassicState::Empty | ClassicState::Preparing { .. } => self.begin_if_all_joined(turn),
        }
    }

    /// The generation goes on with the new id, which the log must know before the member does.
    fn replace_quietly(&mut self, id: Arc<str>, before: Member, joining: Joining<'_>, turn: &mut Turn<'_>) {
        let metadata = self.metadata(|member| member.assignment.clone());
        if !turn.settings.planted.has(Plant::Grp04) {
            turn.outcome.changes.push(Change::Group { group: self.id.clone(), metadata: Some(Arc::new(metadata)) });
        }
        let leads = self.is_leader(&id);
        let answer = if joining.request.knows_skip_assignment {
            JoinAnswer { skip_assignment: leads, ..self.joined(&id, leads) }
        } else {
            // A client that cannot be told to skip the assignment must not take itself for the leader (KIP-814).
            let leader = if leads { before.id.clone() } else { self.leader.clone().unwrap_or_default() };
            JoinAnswer { leader, ..self.joined(&id, false) }
        };
        turn.answer(joining.ticket, Answer::Join(answer));
        turn.outcome.followup = Some(Followup::Replaced { group: self.id.clone(), new: id, old: Box::new(before) });
    }

    /// The replacement could not be written: the member is who it was.
    pub fn restore(&mut self, new: &str, old: Member, turn: &mut Turn<'_>) {
        if !self.members.contains_key(new) {
            return;
        }
        let led = self.is_leader(new);
        self.remove_member(new, turn);
        if led {
            self.leader = Some(old.id.clone());
        }
        if let Some(instance) = &old.instance_id {
            self.instances.insert(instance.clone(), old.id.clone());
        }
        turn.renew_session(&self.id, &old);
        self.members.insert(old.id.clone(), old);
    }

    fn join_again(&mut self, joining: Joining<'_>, turn: &mut Turn<'_>) {
        let request = joining.request;
        let member = &self.members[request.member_id];
        let (unchanged, id) = (member.says(&request.protocols), member.id.clone());
        match self.state {
            ClassicState::Empty => return joining.refuse(&id, ErrorCode::UNKNOWN_MEMBER_ID, turn),
            // It did not get the answer to its first request.
            ClassicState::Completing { .. } if unchanged => {
                let answer = self.joined(&id, self.is_leader(&id));
                return turn.answer(joining.ticket, Answer::Join(answer));
            }
            // A leader that joins has seen something that its metadata does not say: new partitions, perhaps.
            ClassicState::Stable if unchanged && !self.is_leader(&id) => {
                let answer = self.joined(&id, false);
                return turn.answer(joining.ticket, Answer::Join(answer));
            }
            ClassicState::Preparing { .. } | ClassicState::Completing { .. } | ClassicState::Stable => {}
        }
        self.members.get_mut(&id).expect("it was checked").update(request);
        self.park_join(&id, joining.ticket, turn);
        self.rebalance(turn);
    }

    fn park_join(&mut self, id: &str, ticket: Ticket, turn: &mut Turn<'_>) {
        let member = self.members.get_mut(id).expect("who is parked is a member");
        member.park(Parked::Join(ticket), turn);
    }
}

impl JoinRequest<'_> {
    /// For a member that has none.
    pub(in crate::coordinator) fn new_member_id(&self) -> String {
        let name = self.instance_id.unwrap_or(self.client_id);
        format!("{name}-{}", hyphenated(self.uuid.0))
    }
}

/// As Java writes a UUID, and so as the ids of members end: `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
fn hyphenated(bits: u128) -> String {
    let digits = format!("{bits:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
