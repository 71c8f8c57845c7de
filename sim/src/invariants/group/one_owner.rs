//! G1: no partition is owned by two members of one generation. Source: KAFKA-16147; the consumer's own contract. Of two
//! generations, [`super::fencing`] says that one is over.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Op, Seen, Verdict};
use crate::groups::AssignmentId;
use crate::history::PartitionIndex;

pub(super) const CODE: &str = "G1";

/// Remembers whose each partition is in each assignment.
#[derive(Clone, Debug, Default)]
pub(super) struct OneOwner {
    owners: BTreeMap<(AssignmentId, PartitionIndex), Owner>,
}

#[derive(Clone, Debug)]
struct Owner {
    id: Arc<str>,
    instance: Option<Arc<str>>,
}

impl OneOwner {
    pub(super) fn check(&mut self, op: &Op<'_>, seen: &Seen<'_>) -> Verdict {
        let Seen::Synced { me, partitions } = seen else { return Ok(()) };
        for partition in *partitions {
            let new = || Owner { id: me.id.into(), instance: me.instance.map(Into::into) };
            let owner = self.owners.entry((me.assignment, *partition)).or_insert_with(new);
            // A static member that has restarted has another id, and what it had.
            let is_same = *owner.id == *me.id || me.instance.is_some() && owner.instance.as_deref() == me.instance;
            if !is_same {
                return Err(format!("{}: partition {partition} is {}'s and {}'s at once", op.group, owner.id, me.id));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{me, op};
    use super::*;
    use crate::groups::Me;

    #[test]
    fn one_assignment_gives_a_partition_to_one_member() {
        let mut checker = OneOwner::default();
        let mut synced = |me, partitions| checker.check(&op(1, 0, 1), &Seen::Synced { me, partitions });
        assert_eq!(synced(me("a", 1), &[0, 1]), Ok(()));
        assert_eq!(synced(me("a", 1), &[0, 1]), Ok(()));
        assert_eq!(synced(me("b", 1), &[2]), Ok(()));
        assert_eq!(synced(me("b", 2), &[0]), Ok(()), "the next assignment is another");
        assert!(synced(me("b", 1), &[1]).is_err());
    }

    #[test]
    fn an_instance_keeps_what_it_had() {
        let mut checker = OneOwner::default();
        let mut synced = |id, instance| {
            let me = Me { id, instance: Some(instance), assignment: 1 };
            checker.check(&op(1, 0, 1), &Seen::Synced { me, partitions: &[0] })
        };
        assert_eq!(synced("a", "i"), Ok(()));
        assert_eq!(synced("b", "i"), Ok(()));
        assert!(synced("c", "j").is_err());
    }
}
