//! lost-write: what was acknowledged is never read, though all is. Source: the Jepsen Kafka workload, which
//! can only judge up to the highest offset that was read; here the end of the log is known.

use super::{Fact, Verdict};
use crate::history::Outcome;

pub(super) const CODE: &str = "lost-write";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::AllRead { history, starts } = fact else { return Ok(()) };
    let owed = history.writes().filter(|(value, write)| write.promised && !history.is_read(*value, write));
    for (value, write) in owed {
        let Outcome::Acked { offset } = write.outcome else { continue };
        // A partition that could not be read to its end is refused, not lost; it has no start.
        let start = starts.get(write.partition).copied().unwrap_or(i64::MAX);
        // Of those with a key only the last need stay, where the cleaner was: see `last_of_key`.
        if write.key.is_some() && history.may_be_compacted(write.partition, offset) {
            continue;
        }
        // Acknowledged as a duplicate, at an offset that nobody knows, it is there if nothing was deleted.
        if offset.max(0) >= start {
            let log = history.name(write.partition);
            return Err(format!("{log} acknowledged value {value} at {offset}, and nobody can read it"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::history;
    use super::*;

    fn verdict(outcome: Outcome, start: i64) -> Verdict {
        check(&Fact::AllRead { history: &history(&[outcome]), starts: &[start] })
    }

    #[test]
    fn an_acknowledged_value_is_read_or_deleted_or_refused() {
        assert!(verdict(Outcome::Acked { offset: 5 }, 0).is_err());
        assert_eq!(verdict(Outcome::Acked { offset: 5 }, 6), Ok(()));
        assert_eq!(verdict(Outcome::Acked { offset: 5 }, i64::MAX), Ok(()));
        assert!(verdict(Outcome::Acked { offset: -1 }, 0).is_err());
        assert_eq!(verdict(Outcome::Acked { offset: -1 }, 1), Ok(()));
    }

    #[test]
    fn what_has_a_key_may_be_missing_as_far_as_the_cleaner_was() {
        for (below, good) in [(5, false), (6, true)] {
            let mut history = history(&[]);
            history.invoke(crate::history::Write {
                key: Some(1),
                ..crate::invariants::test_write(Outcome::Acked { offset: 5 })
            });
            history.compacted(0, below);
            assert_eq!(check(&Fact::AllRead { history: &history, starts: &[0] }).is_ok(), good);
        }
    }

    #[test]
    fn what_is_indefinite_may_be_missing() {
        assert_eq!(verdict(Outcome::Unknown, 0), Ok(()));
        assert_eq!(verdict(Outcome::Pending, 0), Ok(()));
    }
}
