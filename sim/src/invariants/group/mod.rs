//! The rules of consumer groups, G1 to G10 but for G6, which is about transactions; by what clients saw alone.

mod assigned;
mod committed;
mod fencing;
mod group_skip;
mod known_member;
mod no_ghost;
mod one_instance;
mod one_owner;

pub use no_ghost::OLD;

use super::{Fact, Verdict, Violation, of};
use crate::groups::{Op, Seen};

/// All rules of groups.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupRules {
    one_owner: one_owner::OneOwner,
    fencing: fencing::Fencing,
    committed: committed::Committed,
    one_instance: one_instance::OneInstance,
    assigned: assigned::AsAssigned,
    known_member: known_member::KnownMember,
    no_ghost: no_ghost::NoGhost,
    group_skip: group_skip::GroupSkip,
}

/// Every code, with what it says.
pub const CODES: [(&str, &str); 10] = [
    (one_owner::CODE, "no partition is two members' at once"),
    (fencing::CODE, "who has a superseded assignment is refused"),
    (committed::LOST, "an acknowledged offset survives the coordinator's process"),
    (committed::OLD, "what is fetched is what was committed last"),
    (committed::EXPIRED, "no offset is forgotten before its time"),
    (one_instance::CODE, "an instance is one member, and its replacement is kept"),
    (assigned::CODE, "a member has what its leader gave it"),
    (known_member::CODE, "a coordinator knows its members and their group"),
    (no_ghost::CODE, "nobody is a member who has not come back with the id that it was given"),
    (group_skip::CODE, "a group passes nothing over"),
];

impl GroupRules {
    /// Shows a fact to every rule.
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Result<(), Violation> {
        let Fact::Group { op, seen } = fact else { return Ok(()) };
        of(one_owner::CODE, self.one_owner.check(op, seen))?;
        of(fencing::CODE, self.fencing.check(op, seen))?;
        self.committed.check(op, seen)?;
        of(one_instance::CODE, self.one_instance.check(op, seen))?;
        of(assigned::CODE, self.assigned.check(op, seen))?;
        of(known_member::CODE, self.known_member.check(op, seen))?;
        of(no_ghost::CODE, self.no_ghost.check(op, seen))?;
        of(group_skip::CODE, self.group_skip.check(op, seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::Me;

    /// A request about group `g`.
    pub(super) const fn op(id: u64, asked: u64, told: u64) -> Op<'static> {
        Op { id, group: "g", asked, told }
    }

    /// A dynamic member.
    pub(super) const fn me(id: &str, assignment: u64) -> Me<'_> {
        Me { id, instance: None, assignment, reads_all: true }
    }
}
