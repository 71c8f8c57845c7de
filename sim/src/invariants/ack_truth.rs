//! I3 AckTruth: an acknowledged offset holds that record. Source: KIP-98; Redpanda #5356 (a duplicate answered
//! with a wrong offset). Judged against the log when the answer comes, and by what is read in the end.

use super::by_offset::ByOffset;
use super::{Fact, Verdict};
use crate::history::Outcome;

pub(super) const CODE: &str = "I3";

/// Remembers what was read where.
#[derive(Clone, Debug, Default)]
pub(super) struct AckTruth {
    read: ByOffset,
}

impl AckTruth {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Acked { log, offset, followed: Some(followed), value, .. } = fact
            && followed.find(*offset).is_none()
            && *offset >= followed.holes
            && *offset >= followed.start()
        {
            return Err(format!("{log} acknowledges value {value} at {offset}, where it has nothing"));
        }
        if let Fact::Polled { partition, offset, value, .. } = fact {
            self.read.insert(*partition, *offset, *value);
        }
        let Fact::AllRead { history, .. } = fact else { return Ok(()) };
        for (value, write) in history.writes().filter(|(_, write)| write.promised) {
            let Outcome::Acked { offset } = write.outcome else { continue };
            if let Some(found) = self.read.get(write.partition, offset)
                && found != value
            {
                let log = history.name(write.partition);
                return Err(format!("{log} acknowledged value {value} at {offset}, which holds value {found}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{acked, acked_in, followed, history, polled};
    use super::*;

    #[test]
    fn an_acknowledged_offset_exists() {
        let followed = followed(&[(0, 1), (1, 2)], 0);
        let mut checker = AckTruth::default();
        assert_eq!(acked_in(&followed, 1, 1, |fact| checker.check(fact)), Ok(()));
        assert!(acked_in(&followed, 2, 2, |fact| checker.check(fact)).is_err());
        assert_eq!(acked(2, 2, |fact| checker.check(fact)), Ok(()));
    }

    #[test]
    fn what_is_deleted_may_be_acknowledged_again() {
        let mut followed = followed(&[], 0);
        followed.note_deleted(5);
        let mut checker = AckTruth::default();
        assert_eq!(acked_in(&followed, 1, 4, |fact| checker.check(fact)), Ok(()));
        assert!(acked_in(&followed, 1, 5, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn an_acknowledged_offset_holds_that_value() {
        for (read, good) in [(1, true), (2, false)] {
            let mut checker = AckTruth::default();
            assert_eq!(polled(0, 5, read, |fact| checker.check(fact)), Ok(()));
            let history = history(&[Outcome::Acked { offset: 5 }]);
            let verdict = checker.check(&Fact::AllRead { history: &history, starts: &[0] });
            assert_eq!(verdict.is_ok(), good, "{verdict:?}");
        }
    }
}
