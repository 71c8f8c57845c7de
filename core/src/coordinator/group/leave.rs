//! LeaveGroup: members go, or an operator removes them.

use ottla_wire::ErrorCode;

use super::ClassicGroup;
use crate::coordinator::answer::{LeaveAnswer, LeftMember};
use crate::coordinator::request::{LeaveRequest, LeavingMember};
use crate::coordinator::turn::Turn;

/// What was removed.
enum Removed {
    /// A member.
    Member,
    /// An id that had been given out.
    Id,
}

impl ClassicGroup {
    /// Members go; then there is one rebalance, if there must be one.
    pub fn on_leave(&mut self, request: &LeaveRequest<'_>, turn: &mut Turn<'_>) -> LeaveAnswer {
        let (mut members, mut gone, mut was_member) = (Vec::new(), false, false);
        for leaving in &request.members {
            let removed = self.leave(leaving, turn);
            gone |= removed.is_ok();
            was_member |= matches!(removed, Ok(Removed::Member));
            members.push(LeftMember::new(leaving, removed.err().unwrap_or(ErrorCode::NONE)));
        }
        if gone {
            self.after_removal(was_member, turn);
        }
        LeaveAnswer { error: ErrorCode::NONE, members }
    }

    fn leave(&mut self, leaving: &LeavingMember<'_>, turn: &mut Turn<'_>) -> Result<Removed, ErrorCode> {
        if leaving.member_id.is_empty() {
            // An operator names static members by their instances.
            let instance = leaving.instance_id.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            let id = self.instances.get(instance).cloned().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            self.remove_member(&id, turn);
            return Ok(Removed::Member);
        }
        if self.pending_joins.contains(leaving.member_id) {
            self.remove_member(leaving.member_id, turn);
            return Ok(Removed::Id);
        }
        self.check_member(leaving.member_id, leaving.instance_id)?;
        self.remove_member(leaving.member_id, turn);
        Ok(Removed::Member)
    }
}
