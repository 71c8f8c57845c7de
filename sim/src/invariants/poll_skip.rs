//! poll-skip: a reader passes over an offset without having asked for it. Source: the Jepsen Kafka workload.
//! What one broker without a cleaner wrote has no holes; what it inherited may have.

use std::collections::BTreeMap;

use super::by_reader::ByReader;
use super::{Fact, Verdict};
use crate::history::PartitionIndex;

pub(super) const CODE: &str = "poll-skip";

/// Remembers where each reader is.
#[derive(Clone, Debug, Default)]
pub(super) struct PollSkip {
    at: ByReader,
    /// Below which offset a log may have holes.
    holes: BTreeMap<PartitionIndex, i64>,
}

impl PollSkip {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Inherited { partition, end } = fact {
            self.holes.insert(*partition, *end);
        }
        if let Fact::Compacted { partition, below } = fact {
            let holes = self.holes.entry(*partition).or_default();
            *holes = *below.max(holes);
        }
        let before = self.at.follow(fact);
        let (Fact::Polled { reader, partition, offset, .. }, Some(before)) = (fact, before) else { return Ok(()) };
        let next = before.saturating_add(1);
        let holes = self.holes.get(partition).copied().unwrap_or(0);
        if next.max(holes) < *offset {
            return Err(format!("reader {reader} of partition {partition} gets {offset}, and {next} comes next"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::polled;
    use super::*;

    #[test]
    fn a_reader_gets_every_offset_from_the_place_that_it_sought() {
        let mut checker = PollSkip::default();
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(0, 6, 2, |fact| checker.check(fact)), Ok(()));
        assert!(polled(0, 8, 3, |fact| checker.check(fact)).is_err());
        assert_eq!(checker.check(&Fact::Sought { reader: 0, partition: 0, to: None }), Ok(()));
        assert_eq!(polled(0, 20, 4, |fact| checker.check(fact)), Ok(()));
        assert_eq!(checker.check(&Fact::Sought { reader: 0, partition: 0, to: Some(7) }), Ok(()));
        assert!(polled(0, 8, 3, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn what_is_compacted_may_have_holes_as_far_as_the_cleaner_was() {
        let mut checker = PollSkip::default();
        assert_eq!(checker.check(&Fact::Compacted { partition: 0, below: 10 }), Ok(()));
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(0, 10, 2, |fact| checker.check(fact)), Ok(()));
        assert!(polled(0, 12, 3, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn what_was_inherited_may_have_holes() {
        let mut checker = PollSkip::default();
        assert_eq!(checker.check(&Fact::Inherited { partition: 0, end: 10 }), Ok(()));
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(0, 10, 2, |fact| checker.check(fact)), Ok(()));
        assert!(polled(0, 12, 3, |fact| checker.check(fact)).is_err());
    }
}
