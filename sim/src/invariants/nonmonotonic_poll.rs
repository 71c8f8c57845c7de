//! nonmonotonic-poll: a reader goes back, or gets a record again, without having asked for it.
//! Source: the Jepsen Kafka workload.

use super::by_reader::ByReader;
use super::{Fact, Verdict};

pub(super) const CODE: &str = "nonmonotonic-poll";

/// Remembers where each reader is.
#[derive(Clone, Debug, Default)]
pub(super) struct NonmonotonicPoll {
    at: ByReader,
}

impl NonmonotonicPoll {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        let before = self.at.follow(fact);
        if let (Fact::Polled { reader, partition, offset, .. }, Some(before)) = (fact, before)
            && before >= *offset
        {
            return Err(format!("reader {reader} of partition {partition} gets {offset} after {before}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::polled;
    use super::*;

    #[test]
    fn a_reader_that_goes_back_is_a_violation_unless_it_asked() {
        let mut checker = NonmonotonicPoll::default();
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(0, 7, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(1, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert!(polled(0, 7, 1, |fact| checker.check(fact)).is_err());
        assert_eq!(checker.check(&Fact::Sought { reader: 0, partition: 0, to: None }), Ok(()));
        assert_eq!(polled(0, 1, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(checker.check(&Fact::Sought { reader: 0, partition: 0, to: Some(4) }), Ok(()));
        assert!(polled(0, 3, 1, |fact| checker.check(fact)).is_err());
    }
}
