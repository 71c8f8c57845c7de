//! S6: after a failed write or sync nothing later in that log is acknowledged by that process.
//! Source: the fsync paper (ATC'20), KAFKA-10778; promise P6.

use std::collections::BTreeMap;

use ottla_core::types::TopicPartition;

use super::{Fact, Verdict};

pub(super) const CODE: &str = "S6";

/// Remembers, for each log that failed in this process, from where on nothing may be acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct FailStop {
    failed: BTreeMap<TopicPartition, i64>,
}

impl FailStop {
    /// The log has moved to other nodes: who has it again here begins anew.
    pub(super) fn forget(&mut self, log: &TopicPartition) {
        self.failed.remove(log);
    }

    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Booted = fact {
            self.failed.clear();
        } else if let Fact::StorageFailed { log, followed } = fact {
            // What is deleted was answered before, by a process that was well.
            self.failed.entry((*log).clone()).or_insert(followed.synced.max(followed.gone()));
        } else if let Fact::Acked { log, write, offset, .. } = fact
            && let Some(from) = self.failed.get(log)
            && write.acks == -1
            && offset >= from
        {
            return Err(format!("{log} acknowledges {offset}, and its storage failed with {from} synced"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{acked, followed, log};
    use super::*;

    #[test]
    fn what_was_synced_before_may_be_acknowledged_later_may_not() {
        let mut followed = followed(&[(0, 1), (1, 2), (2, 3)], 0);
        followed.synced = 2;
        let mut checker = FailStop::default();
        assert_eq!(checker.check(&Fact::StorageFailed { log: &log(), followed: &followed }), Ok(()));
        assert_eq!(acked(1, 1, |fact| checker.check(fact)), Ok(()));
        assert!(acked(1, 2, |fact| checker.check(fact)).is_err());
        followed.note_deleted(3);
        let mut other = FailStop::default();
        assert_eq!(other.check(&Fact::StorageFailed { log: &log(), followed: &followed }), Ok(()));
        assert_eq!(acked(1, 2, |fact| other.check(fact)), Ok(()), "it was deleted since");
        assert!(acked(1, 3, |fact| other.check(fact)).is_err());
        assert_eq!(checker.check(&Fact::Booted), Ok(()));
        assert_eq!(acked(1, 2, |fact| checker.check(fact)), Ok(()));
    }
}
