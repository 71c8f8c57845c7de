//! R6 ReadStability: what was read once is read again at that offset, by everybody, unless it was deleted.
//! Source: correctness condition of Kafka's consumers; KIP-320.

use std::collections::BTreeSet;

use super::by_offset::ByOffset;
use super::by_reader::ByReader;
use super::{Fact, Verdict};
use crate::history::PartitionIndex;

pub(super) const CODE: &str = "R6";

/// Remembers what was read where, and where each reader is.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadStability {
    read: ByOffset,
    at: ByReader,
    /// What is passed over there may have gone: of each key the last stays ([`super::last_of_key`]).
    compacted: BTreeSet<PartitionIndex>,
}

impl ReadStability {
    fn is_compacted(&self, fact: &Fact<'_>) -> bool {
        matches!(fact, Fact::Polled { partition, .. } if self.compacted.contains(partition))
    }

    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Compacted { partition } = fact {
            self.compacted.insert(*partition);
        }
        let before = self.at.follow(fact).filter(|_| !self.is_compacted(fact));
        let Fact::Polled { partition, offset, value, .. } = fact else { return Ok(()) };
        // Between what a reader has passed and what it gets next, nobody may have read a third record.
        if let Some(before) = before
            && let Some((lost, known)) = self.read.first_in(*partition, before.saturating_add(1), *offset)
        {
            return Err(format!("partition {partition}: {lost} was read as value {known}, and is now passed over"));
        }
        match self.read.insert(*partition, *offset, *value) {
            Some(known) if known != *value => {
                Err(format!("partition {partition}: {offset} was read as value {known}, and is now {value}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::polled;
    use super::*;

    #[test]
    fn an_offset_keeps_its_value() {
        let mut checker = ReadStability::default();
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(1, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert!(polled(2, 5, 2, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn what_was_read_is_not_passed_over() {
        let mut checker = ReadStability::default();
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(1, 4, 9, |fact| checker.check(fact)), Ok(()));
        assert!(polled(1, 6, 2, |fact| checker.check(fact)).is_err());
        let mut checker = ReadStability::default();
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(1, 4, 9, |fact| checker.check(fact)), Ok(()));
        assert_eq!(checker.check(&Fact::Sought { reader: 1, partition: 0, to: None }), Ok(()));
        assert_eq!(polled(1, 6, 2, |fact| checker.check(fact)), Ok(()));
    }
}
