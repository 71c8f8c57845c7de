//! group-skip: a member that begins where its group has committed passes over nothing that the group has not read.
//! Source: poll-skip of the Jepsen Kafka workload, for all consumers of a group together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Op, Seen, Verdict};
use crate::history::PartitionIndex;

pub(super) const CODE: &str = "group-skip";

/// How far each group has read in each partition.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupSkip {
    passed: BTreeMap<(Arc<str>, PartitionIndex), i64>,
}

impl GroupSkip {
    #[expect(clippy::wildcard_enum_match_arm, reason = "a rule looks at what it is about")]
    pub(super) fn check(&mut self, op: &Op<'_>, seen: &Seen<'_>) -> Verdict {
        let (partition, to, committed) = match seen {
            Seen::Began { partition, at, committed } => (*partition, *at, *committed),
            Seen::Passed { partition, next } => (*partition, *next, false),
            _ => return Ok(()),
        };
        let passed = self.passed.entry((op.group.into(), partition)).or_insert(0);
        if committed && to > *passed {
            return Err(format!("{} begins partition {partition} at {to}, and has read up to {passed}", op.group));
        }
        *passed = to.max(*passed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::op;
    use super::*;

    #[test]
    fn a_group_begins_where_it_was() {
        let mut checker = GroupSkip::default();
        let mut see = |seen| checker.check(&op(1, 0, 1), &seen);
        assert_eq!(see(Seen::Began { partition: 0, at: 5, committed: false }), Ok(()));
        assert_eq!(see(Seen::Passed { partition: 0, next: 9 }), Ok(()));
        assert_eq!(see(Seen::Began { partition: 0, at: 7, committed: true }), Ok(()));
        assert_eq!(see(Seen::Began { partition: 0, at: 9, committed: true }), Ok(()));
        assert!(see(Seen::Began { partition: 0, at: 10, committed: true }).is_err());
        assert!(see(Seen::Began { partition: 1, at: 1, committed: true }).is_err());
    }
}
