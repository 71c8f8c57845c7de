//! poll-skip: a reader passes over an offset without having asked for it. Source: the Jepsen Kafka workload.
//! What one broker without a cleaner wrote has no holes; what it inherited may have.

use std::collections::BTreeMap;

use super::{Fact, Verdict};
use crate::history::PartitionIndex;

pub(super) const CODE: &str = "poll-skip";

/// Remembers what each reader must get next, where that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct PollSkip {
    next: BTreeMap<(u16, PartitionIndex), i64>,
    /// Below which offset a log may have holes.
    holes: BTreeMap<PartitionIndex, i64>,
}

impl PollSkip {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Sought { reader, partition, to } = fact {
            let key = (*reader, *partition);
            match to {
                Some(to) => self.next.insert(key, *to),
                None => self.next.remove(&key),
            };
        }
        if let Fact::Inherited { partition, end } = fact {
            self.holes.insert(*partition, *end);
        }
        let Fact::Polled { reader, partition, offset, .. } = fact else { return Ok(()) };
        let holes = self.holes.get(partition).copied().unwrap_or(0);
        match self.next.insert((*reader, *partition), offset + 1) {
            Some(next) if next.max(holes) < *offset => {
                Err(format!("reader {reader} of partition {partition} gets {offset}, and {next} comes next"))
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
    fn what_was_inherited_may_have_holes() {
        let mut checker = PollSkip::default();
        assert_eq!(checker.check(&Fact::Inherited { partition: 0, end: 10 }), Ok(()));
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(0, 10, 2, |fact| checker.check(fact)), Ok(()));
        assert!(polled(0, 12, 3, |fact| checker.check(fact)).is_err());
    }
}
