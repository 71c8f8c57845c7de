//! G2: once a member has been told the next assignment of its group, nobody who has an older one is taken for a member
//! with it: not to join, to say that it lives, or to commit. Source: KIP-345, KAFKA-2555; the Jepsen workload's view of
//! zombies.
//!
//! Assignments are told when they are committed, so their order is one and survives every crash. One that was current
//! before another was is never current again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Op, Seen, Verdict};
use crate::groups::AssignmentId;
use crate::time::Nanos;

pub(super) const CODE: &str = "G2";

/// The assignments of each group, as far as they are known to have been current.
#[derive(Clone, Debug, Default)]
pub(super) struct Fencing {
    groups: BTreeMap<Arc<str>, Vec<Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    assignment: AssignmentId,
    /// It has been current before this.
    since: Nanos,
    /// Another has been current after it, and before this: for good.
    over: Option<Nanos>,
}

impl Fencing {
    pub(super) fn check(&mut self, op: &Op<'_>, seen: &Seen<'_>) -> Verdict {
        let (Seen::Synced { me, .. } | Seen::Alive { me, .. }) = seen else { return Ok(()) };
        if me.assignment == 0 {
            return Ok(());
        }
        if !self.groups.contains_key(op.group) {
            self.groups.insert(op.group.into(), Vec::new());
        }
        let known = self.groups.get_mut(op.group).expect("it was just made");
        let mut is_new = true;
        for other in known.iter_mut() {
            if other.assignment == me.assignment {
                is_new = false;
                if other.over.is_some_and(|over| over < op.asked) {
                    let (group, assignment, id) = (op.group, me.assignment, me.id);
                    return Err(format!("{group} takes {id} for a member by assignment {assignment}, which is over"));
                }
            } else if other.since < op.asked && other.over.is_none() {
                other.over = Some(op.told);
            }
        }
        if is_new {
            known.push(Known { assignment: me.assignment, since: op.told, over: None });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{me, op};
    use super::*;

    fn alive(checker: &mut Fencing, assignment: u64, asked: u64, told: u64) -> Verdict {
        checker.check(&op(1, asked, told), &Seen::Alive { me: me("m", assignment), calm: true })
    }

    #[test]
    fn what_was_superseded_does_not_come_back() {
        let mut checker = Fencing::default();
        assert_eq!(alive(&mut checker, 1, 0, 1), Ok(()));
        assert_eq!(alive(&mut checker, 2, 2, 4), Ok(()));
        assert_eq!(alive(&mut checker, 1, 3, 5), Ok(()), "it may have been answered before the other");
        assert_eq!(alive(&mut checker, 2, 6, 7), Ok(()));
        assert!(alive(&mut checker, 1, 6, 7).is_err());
    }

    #[test]
    fn what_overlaps_has_no_order() {
        let mut checker = Fencing::default();
        assert_eq!(alive(&mut checker, 1, 0, 5), Ok(()));
        assert_eq!(alive(&mut checker, 2, 1, 6), Ok(()));
        assert_eq!(alive(&mut checker, 1, 7, 8), Ok(()), "1 may have followed 2");
        assert!(alive(&mut checker, 2, 9, 10).is_err(), "and then 2 is over");
    }
}
