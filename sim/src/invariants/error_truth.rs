//! I6 ErrorTruth: a record whose client was told for certain that it was not written never appears.
//! Source: the correctness condition of Kafka's producer; KIP-98.

use super::{Fact, Verdict};
use crate::history::Outcome;

pub(super) const CODE: &str = "I6";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    if let Fact::Polled { partition, offset, value, write: Some(write), .. } = fact
        && write.outcome == Outcome::Refused
    {
        return Err(format!("value {value} was refused, and is at {offset} of partition {partition}"));
    }
    // It may have been read before it was refused.
    if let Fact::AllRead { history, .. } = fact
        && let Some((value, write)) =
            history.writes().find(|(_, write)| write.read && write.outcome == Outcome::Refused)
    {
        return Err(format!("{} refused value {value}, and has it", history.name(write.partition)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{history, polled_of};
    use super::*;

    #[test]
    fn what_was_refused_is_never_read() {
        assert_eq!(polled_of(Outcome::Unknown, check), Ok(()));
        assert!(polled_of(Outcome::Refused, check).is_err());
    }

    #[test]
    fn what_was_read_is_never_refused() {
        let mut history = history(&[Outcome::Refused, Outcome::Refused, Outcome::Unknown]);
        assert!(history.read(3).is_some());
        assert_eq!(check(&Fact::AllRead { history: &history, starts: &[0] }), Ok(()));
        assert!(history.read(2).is_some());
        assert!(check(&Fact::AllRead { history: &history, starts: &[0] }).is_err());
    }
}
