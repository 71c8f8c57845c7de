//! From one generation to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::ErrorCode;

use super::member::Parked;
use super::protocols::spoken_by_all;
use super::{ClassicGroup, ClassicState, InitialDelay, Member};
use crate::coordinator::answer::{Answer, JoinAnswer, SyncAnswer};
use crate::coordinator::image::Change;
use crate::coordinator::timers::Timer;
use crate::coordinator::turn::Turn;

/// The least time between two attempts to make a generation that nobody joins, whatever the members' timeouts are.
const MIN_RETRY: Duration = Duration::from_millis(100);

/// A deadline that is seen so late was slept through.
const SLEPT_THROUGH: Duration = Duration::from_secs(1);

impl ClassicGroup {
    /// Something has changed: a new generation, unless one is under way, which perhaps can now begin.
    pub(super) fn rebalance(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            ClassicState::Preparing { .. } => self.begin_if_all_joined(turn),
            ClassicState::Empty | ClassicState::Completing { .. } | ClassicState::Stable => self.prepare(turn),
        }
    }

    /// Everyone is to join again.
    pub fn prepare(&mut self, turn: &mut Turn<'_>) {
        self.recall(ErrorCode::REBALANCE_IN_PROGRESS, turn);
        if self.is_empty() {
            // Members that start together had better be in one generation.
            let wait_ms = turn.settings.groups.initial_rebalance_delay_ms;
            let left_ms = self.rebalance_timeout_ms().saturating_sub(wait_ms);
            let initial = InitialDelay { wait_ms, left_ms, joined: false };
            self.enter(ClassicState::Preparing { initial: Some(initial) }, turn.now.wall);
            turn.set(Timer::Join { group: self.id.clone() }, Duration::from_millis(wait_ms));
            return;
        }
        self.enter(ClassicState::Preparing { initial: None }, turn.now.wall);
        turn.set(Timer::Join { group: self.id.clone() }, Duration::from_millis(self.rebalance_timeout_ms()));
        self.begin_if_all_joined(turn);
    }

    /// A group that has come from the other protocol has members and nobody who leads them: they are to join again.
    pub fn elect_and_prepare(&mut self, turn: &mut Turn<'_>) {
        if self.leader.is_none() && !self.members.is_empty() {
            self.leader = self.members.keys().next().cloned();
            self.prepare(turn);
        }
    }

    /// Whoever waits is to ask again, of another group. They live as before, should there be none.
    pub fn dismiss_all(&mut self, turn: &mut Turn<'_>) {
        for member in self.members.values_mut() {
            let id = member.id.clone();
            member.dismiss(ErrorCode::REBALANCE_IN_PROGRESS, &id, turn);
            turn.renew_session(&self.id, member);
        }
    }

    /// The generation is over before it had an assignment, if it has none: who waits for it is told why.
    pub(super) fn recall(&mut self, why: ErrorCode, turn: &mut Turn<'_>) {
        turn.timers.cancel(&Timer::Sync { group: self.id.clone() });
        let completing = matches!(self.state, ClassicState::Completing { .. });
        for member in self.members.values_mut() {
            member.must_sync = false;
            if completing {
                member.assignment = Bytes::new();
                if member.answer_sync(SyncAnswer::refused(why), turn) {
                    turn.renew_session(&self.id, member);
                }
            }
        }
    }

    /// Begins the generation, if nobody is missing and an empty group's first members have had their time.
    pub(super) fn begin_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        let all = self.members.values().all(Member::has_joined) && self.pending_joins.is_empty();
        if self.state == (ClassicState::Preparing { initial: None }) && all {
            self.begin_generation(turn);
        }
    }

    /// The time for joining is up.
    pub fn on_join_deadline(&mut self, turn: &mut Turn<'_>) {
        let ClassicState::Preparing { initial } = self.state else { return };
        match initial {
            Some(delay) if delay.joined && delay.left_ms > 0 => {
                let wait_ms = turn.settings.groups.initial_rebalance_delay_ms.min(delay.left_ms);
                let left_ms = delay.left_ms.saturating_sub(delay.wait_ms);
                self.state =
                    ClassicState::Preparing { initial: Some(InitialDelay { wait_ms, left_ms, joined: false }) };
                turn.set(Timer::Join { group: self.id.clone() }, Duration::from_millis(wait_ms));
            }
            Some(_) | None => {
                self.state = ClassicState::Preparing { initial: None };
                self.begin_generation(turn);
            }
        }
    }

    /// Who has joined is in the next generation; so are static members, who may be restarting (KIP-345).
    fn begin_generation(&mut self, turn: &mut Turn<'_>) {
        turn.timers.cancel(&Timer::Join { group: self.id.clone() });
        let absent = |member: &&Member| !member.has_joined() && member.instance_id.is_none();
        let absent: Vec<Arc<str>> = self.members.values().filter(absent).map(|member| member.id.clone()).collect();
        for id in absent {
            self.remove_member(&id, turn);
        }
        if self.members.is_empty() {
            return self.become_empty(turn);
        }
        if !self.elect_leader() {
            // Static members alone, none of whom has joined. Their sessions decide.
            let wait = Duration::from_millis(self.rebalance_timeout_ms()).max(MIN_RETRY);
            turn.set(Timer::Join { group: self.id.clone() }, wait);
            return;
        }
        self.generation = next(self.generation);
        self.protocol = self.choose_protocol();
        self.subscribed = self.read_subscriptions();
        self.enter(ClassicState::Completing { written: false }, turn.now.wall);
        self.announce(turn);
        let wait = Duration::from_millis(self.rebalance_timeout_ms()).max(MIN_RETRY);
        turn.set(Timer::Sync { group: self.id.clone() }, wait);
    }

    /// Nobody is left: a generation without members.
    fn become_empty(&mut self, turn: &mut Turn<'_>) {
        self.generation = next(self.generation);
        (self.protocol, self.leader) = (None, None);
        self.subscribed = self.read_subscriptions();
        self.enter(ClassicState::Empty, turn.now.wall);
        let metadata = Some(Arc::new(self.metadata(|_| Bytes::new())));
        turn.outcome.changes.push(Change::Group { group: self.id.clone(), metadata });
    }

    /// A leader who has joined; whether there is one.
    fn elect_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(Member::has_joined) {
            return true;
        }
        let joined = self.members.values().find(|member| member.has_joined()).map(|member| member.id.clone());
        let found = joined.is_some();
        self.leader = joined.or_else(|| self.leader.take());
        found
    }

    /// Everyone who has joined is told the generation, the leader also who is in it.
    fn announce(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.joined(&id, self.is_leader(&id));
            let member = self.members.get_mut(&id).expect("the id is a member's");
            member.is_new = false;
            member.must_sync = true;
            if let Some(Parked::Join(ticket)) = member.parked {
                member.parked = None;
                turn.answer(ticket, Answer::Join(answer));
            }
            turn.renew_session(&self.id, member);
        }
    }

    /// What a member of this generation is told when it joins.
    pub(super) fn joined(&self, member: &Arc<str>, with_members: bool) -> JoinAnswer {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().filter(|_| with_members).map(|member| member.joined(protocol));
        JoinAnswer {
            error: ErrorCode::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member.clone(),
            members: members.collect(),
        }
    }

    /// The protocol that everyone speaks and most like best; of several, the one that the leader likes best.
    pub(super) fn choose_protocol(&self) -> Option<Arc<str>> {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id)).or(self.members.values().next())?;
        let common = self.common_protocols()?;
        let mut votes = BTreeMap::new();
        for member in self.members.values() {
            let favourite = member.protocols.iter().find(|(name, _)| common.contains(&**name));
            if let Some((favourite, _)) = favourite {
                *votes.entry(&**favourite).or_insert(0_usize) += 1;
            }
        }
        let most = votes.values().max()?;
        let liked_most = |name: &Arc<str>| votes.get(&**name) == Some(most);
        leader.protocols.iter().map(|(name, _)| name).find(|name| liked_most(name)).cloned()
    }

    /// `None` without members.
    pub(super) fn common_protocols(&self) -> Option<BTreeSet<&str>> {
        spoken_by_all(self.members.values().map(|member| &member.protocols))
    }

    /// The longest that a member wants to be waited for.
    fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0);
        u64::try_from(longest).unwrap_or(0)
    }

    /// Takes a member out, whoever waits in its name; a leader is followed by another member.
    pub(super) fn remove_member(&mut self, id: &str, turn: &mut Turn<'_>) {
        turn.timers.cancel(&Timer::Session { group: self.id.clone(), member: id.into() });
        self.pending_joins.remove(id);
        if let Some(mut member) = self.members.remove(id) {
            member.dismiss(ErrorCode::UNKNOWN_MEMBER_ID, "", turn);
            if let Some(instance) = &member.instance_id {
                self.instances.remove(instance);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// A member has been silent for too long.
    pub fn on_session_deadline(&mut self, id: &str, late: Duration, turn: &mut Turn<'_>) {
        let was_member = match self.members.get(id) {
            None if self.pending_joins.contains(id) => false,
            None => return,
            Some(member) if member.is_waiting() => return, // Its session begins anew with the answer.
            // The coordinator slept: the member's heartbeats may be waiting at the door.
            Some(member) if late > SLEPT_THROUGH => return turn.renew_session(&self.id, member),
            Some(_) => true,
        };
        self.remove_member(id, turn);
        self.after_removal(was_member, turn);
    }

    /// Somebody is gone, a member or only an id that was given out.
    pub(super) fn after_removal(&mut self, was_member: bool, turn: &mut Turn<'_>) {
        match self.state {
            ClassicState::Stable | ClassicState::Completing { .. } if was_member => self.prepare(turn),
            ClassicState::Preparing { .. } => self.begin_if_all_joined(turn),
            ClassicState::Empty | ClassicState::Stable | ClassicState::Completing { .. } => {}
        }
    }
}

impl Member {
    /// Answers the SyncGroup that is parked; whether there was one.
    pub(super) fn answer_sync(&mut self, answer: SyncAnswer, turn: &mut Turn<'_>) -> bool {
        let Some(Parked::Sync(ticket)) = self.parked else { return false };
        self.parked = None;
        turn.answer(ticket, Answer::Sync(answer));
        true
    }

    /// Tells whoever waits in the member's name to go; with the id that a joiner is told.
    pub(in crate::coordinator) fn dismiss(&mut self, why: ErrorCode, id: &str, turn: &mut Turn<'_>) {
        match self.parked.take() {
            Some(Parked::Join(ticket)) => turn.answer(ticket, Answer::Join(JoinAnswer::refused(id, why))),
            Some(Parked::Sync(ticket)) => turn.answer(ticket, Answer::Sync(SyncAnswer::refused(why))),
            None => {}
        }
    }

    /// Parks a request; an older one that nobody can be waiting for any more is told to try again.
    pub(super) fn park(&mut self, parked: Parked, turn: &mut Turn<'_>) {
        let id = self.id.clone();
        self.dismiss(ErrorCode::REBALANCE_IN_PROGRESS, &id, turn);
        self.parked = Some(parked);
    }
}

/// The number of the next generation; they begin anew when they are used up.
fn next(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}
