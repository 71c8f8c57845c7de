//! SyncGroup and Heartbeat: a member asks for its assignment, and lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::ErrorCode;

use super::member::Parked;
use super::{ClassicGroup, ClassicState};
use crate::coordinator::answer::{Answer, SyncAnswer};
use crate::coordinator::image::Change;
use crate::coordinator::request::{HeartbeatRequest, SyncRequest};
use crate::coordinator::timers::Timer;
use crate::coordinator::turn::{Followup, Turn};
use crate::machine::Ticket;

impl ClassicGroup {
    /// A member asks for its assignment; the leader brings everyone's.
    pub fn on_sync(&mut self, request: &SyncRequest<'_>, ticket: Ticket, turn: &mut Turn<'_>) {
        if let Err(code) = self.check_sync(request) {
            return turn.answer(ticket, Answer::Sync(SyncAnswer::refused(code)));
        }
        match self.state {
            ClassicState::Completing { written } => {
                self.note_sync(request.member_id, turn);
                let member = self.members.get_mut(request.member_id).expect("it was checked");
                member.park(Parked::Sync(ticket), turn);
                // One generation has one assignment: the leader's first.
                if self.is_leader(request.member_id) && !written {
                    self.write_assignments(request, turn);
                }
            }
            ClassicState::Stable => {
                self.note_sync(request.member_id, turn);
                let assignment = self.members[request.member_id].assignment.clone();
                turn.answer(ticket, Answer::Sync(self.synced(assignment)));
                // It may have been long on its way back, and has just been told that it is in its place.
                self.renew(request.member_id, turn);
            }
            ClassicState::Empty | ClassicState::Preparing { .. } => {
                let refused = SyncAnswer::refused(ErrorCode::REBALANCE_IN_PROGRESS);
                turn.answer(ticket, Answer::Sync(refused));
            }
        }
    }

    fn check_sync(&self, request: &SyncRequest<'_>) -> Result<(), ErrorCode> {
        self.check_member(request.member_id, request.instance_id)?;
        if request.generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let differs = |theirs: Option<&str>, ours: &Option<Arc<str>>| match (theirs, ours) {
            (Some(theirs), Some(ours)) => *theirs != **ours,
            _ => false,
        };
        if differs(request.protocol_type, &self.protocol_type) || differs(request.protocol, &self.protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        Ok(())
    }

    /// The member need not be waited for any more.
    fn note_sync(&mut self, id: &str, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get_mut(id) {
            member.must_sync = false;
        }
        if !self.members.values().any(|member| member.must_sync) {
            turn.timers.cancel(&Timer::Sync { group: self.id.clone() });
        }
    }

    fn write_assignments(&mut self, request: &SyncRequest<'_>, turn: &mut Turn<'_>) {
        let of_members = request.assignments.iter().filter_map(|(id, assignment)| {
            let (id, _) = self.members.get_key_value(*id)?;
            Some((id.clone(), Bytes::copy_from_slice(assignment)))
        });
        let assignments: BTreeMap<Arc<str>, Bytes> = of_members.collect();
        self.state = ClassicState::Completing { written: true };
        let metadata = self.metadata(|member| assignments.get(&member.id).cloned().unwrap_or_default());
        turn.outcome.changes.push(Change::Group { group: self.id.clone(), metadata: Some(Arc::new(metadata)) });
        let (group, generation) = (self.id.clone(), self.generation);
        turn.outcome.followup = Some(Followup::Assigned { group, generation, assignments });
    }

    /// The assignments of this generation are committed, unless the group has gone on.
    pub fn on_assigned(&mut self, generation: i32, assignments: &BTreeMap<Arc<str>, Bytes>, turn: &mut Turn<'_>) {
        if !self.awaits_assignment(generation) {
            return;
        }
        self.enter(ClassicState::Stable, turn.now.wall);
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        for member in self.members.values_mut() {
            member.assignment = assignments.get(&member.id).cloned().unwrap_or_default();
            let answer = SyncAnswer {
                error: ErrorCode::NONE,
                protocol_type: protocol_type.clone(),
                protocol: protocol.clone(),
                assignment: member.assignment.clone(),
            };
            if member.answer_sync(answer, turn) {
                turn.renew_session(&self.id, member);
            }
        }
    }

    /// They could not be written: everyone is to join again.
    pub fn on_not_assigned(&mut self, generation: i32, why: ErrorCode, turn: &mut Turn<'_>) {
        if self.awaits_assignment(generation) {
            self.recall(why, turn);
            self.prepare(turn);
        }
    }

    fn awaits_assignment(&self, generation: i32) -> bool {
        self.state == (ClassicState::Completing { written: true }) && self.generation == generation
    }

    fn synced(&self, assignment: Bytes) -> SyncAnswer {
        SyncAnswer {
            error: ErrorCode::NONE,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    /// The time for asking for assignments is up: who has not is taken for dead.
    pub fn on_sync_deadline(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.state, ClassicState::Completing { .. } | ClassicState::Stable) {
            return;
        }
        let silent = self.members.values().filter(|member| member.must_sync).map(|member| member.id.clone());
        let silent: Vec<Arc<str>> = silent.collect();
        if silent.is_empty() {
            return;
        }
        for id in silent {
            self.remove_member(&id, turn);
        }
        self.prepare(turn);
    }

    /// A member lives.
    pub fn on_heartbeat(&mut self, request: &HeartbeatRequest<'_>, turn: &mut Turn<'_>) -> ErrorCode {
        if let Err(code) = self.check_member(request.member_id, request.instance_id) {
            return code;
        }
        if request.generation != self.generation {
            return ErrorCode::ILLEGAL_GENERATION;
        }
        self.renew(request.member_id, turn);
        match self.state {
            ClassicState::Preparing { .. } => ErrorCode::REBALANCE_IN_PROGRESS,
            ClassicState::Empty => ErrorCode::UNKNOWN_MEMBER_ID,
            ClassicState::Completing { .. } | ClassicState::Stable => ErrorCode::NONE,
        }
    }

    /// The member's session begins anew, as after a commit.
    pub fn renew(&self, id: &str, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get(id) {
            turn.renew_session(&self.id, member);
        }
    }
}
