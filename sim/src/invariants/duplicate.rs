//! duplicate: one value at two offsets, by acknowledgements or reads. Source: the Jepsen Kafka workload. Of a
//! producer without idempotence that is normal, since it sends again what it does not know the fate of.
//!
//! Kafka's brokers know of a producer by its records. A replica that is made where a log begins later knows nothing of
//! those that were deleted, and who leads with it takes them once more.

use std::collections::BTreeSet;

use super::{Fact, Verdict};
use crate::history::{PartitionIndex, ValueId};

pub(super) const CODE: &str = "duplicate";

/// Remembers where each value was.
#[derive(Clone, Debug, Default)]
pub(super) struct Duplicate {
    /// By the value, which numbers the writes from 1 on.
    places: Vec<Option<(PartitionIndex, i64)>>,
    /// Below each of these somebody knows nothing of a partition.
    forgotten: BTreeSet<(PartitionIndex, i64)>,
}

impl Duplicate {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Polled { partition, offset, value, write: Some(write), .. } = fact
            && write.idempotent
        {
            return self.see(*value, *partition, *offset);
        }
        if let Fact::Forgotten { partition, below } = fact {
            self.forgotten.insert((*partition, *below));
        }
        // An acknowledgement that a power loss may undo says nothing about the place.
        if let Fact::Acked { value, write, offset, .. } = fact
            && write.idempotent
            && write.acks == -1
        {
            return self.see(*value, write.partition, *offset);
        }
        Ok(())
    }

    fn see(&mut self, value: ValueId, partition: PartitionIndex, offset: i64) -> Verdict {
        match self.put(value, (partition, offset)) {
            Some(known) if known != (partition, offset) && !self.may_be_again(known, (partition, offset)) => {
                let (old_partition, old_offset) = known;
                Err(format!(
                    "value {value} is at {offset} of partition {partition}, and at {old_offset} of {old_partition}"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether the first of two was deleted, and then somebody came who did not know it.
    fn may_be_again(&self, old: (PartitionIndex, i64), new: (PartitionIndex, i64)) -> bool {
        let ((partition, first), (other, second)) = (old.min(new), old.max(new));
        partition == other && self.forgotten.range((partition, first + 1)..=(partition, second)).next().is_some()
    }

    /// Remembers where a value was seen; answers where it was before.
    fn put(&mut self, value: ValueId, place: (PartitionIndex, i64)) -> Option<(PartitionIndex, i64)> {
        let index = usize::try_from(value).expect("there are fewer writes than addresses");
        if self.places.len() <= index {
            self.places.resize(index + 1, None);
        }
        self.places[index].replace(place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{acked, polled};
    use super::*;

    #[test]
    fn a_value_at_two_offsets_is_a_violation() {
        let mut checker = Duplicate::default();
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(1, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert!(polled(1, 6, 1, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn what_was_deleted_before_a_replica_was_made_may_come_again() {
        for (below, may) in [(5, false), (6, true), (8, true), (9, false)] {
            let mut checker = Duplicate::default();
            assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
            assert_eq!(checker.check(&Fact::Forgotten { partition: 0, below }), Ok(()));
            assert_eq!(polled(0, 8, 1, |fact| checker.check(fact)).is_ok(), may, "{below}");
        }
    }

    #[test]
    fn an_acknowledgement_says_where_a_value_is() {
        let mut checker = Duplicate::default();
        assert_eq!(acked(1, 5, |fact| checker.check(fact)), Ok(()));
        assert_eq!(acked(1, 5, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert!(acked(1, 0, |fact| checker.check(fact)).is_err());
    }
}
