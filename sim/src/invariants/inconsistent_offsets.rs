//! inconsistent-offsets: one offset carries two values, by acknowledgements or reads.
//! Source: the Jepsen Kafka workload.

use super::by_offset::ByOffset;
use super::{Fact, Verdict};
use crate::history::{PartitionIndex, ValueId};

pub(super) const CODE: &str = "inconsistent-offsets";

/// Remembers which value each offset has.
#[derive(Clone, Debug, Default)]
pub(super) struct InconsistentOffsets {
    values: ByOffset,
}

impl InconsistentOffsets {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Polled { partition, offset, value, .. } = fact {
            return self.see(*partition, *offset, *value);
        }
        // An acknowledgement that a power loss may undo says nothing about the offset.
        if let Fact::Acked { value, write, offset, .. } = fact
            && write.acks == -1
        {
            return self.see(write.partition, *offset, *value);
        }
        Ok(())
    }

    fn see(&mut self, partition: PartitionIndex, offset: i64, value: ValueId) -> Verdict {
        match self.values.insert(partition, offset, value) {
            Some(known) if known != value => {
                Err(format!("partition {partition}: {offset} has value {known} and value {value}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{acked, polled};
    use super::*;

    #[test]
    fn two_values_at_one_offset_are_a_violation() {
        let mut checker = InconsistentOffsets::default();
        assert_eq!(acked(1, 5, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert!(polled(0, 5, 2, |fact| checker.check(fact)).is_err());
    }
}
