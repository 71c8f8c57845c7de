//! S4: a saved file (recovery point, high watermark, flush journal, clean mark, snapshot) claims only what is durable.
//! Source: KAFKA-16541, KAFKA-10471, KAFKA-5829. It is judged when it counts: by what a crash left. The clean mark
//! claims that nothing was written since, so whoever writes must have taken it away first, durably.

use super::{Fact, Verdict};

pub(super) const CODE: &str = "S4";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    if let Fact::CleanMark { log } = fact {
        return Err(format!("{log} is written, and a power loss may bring the mark of the last clean stop back"));
    }
    let Fact::Claimed { file, log, claims, end } = fact else { return Ok(()) };
    if claims <= end {
        return Ok(());
    }
    Err(format!("{file} claims {claims} for {log}, which can be read up to {end}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::log;
    use super::*;

    #[test]
    fn a_claim_beyond_the_log_is_a_violation() {
        let verdict = |claims| check(&Fact::Claimed { file: "a", log: &log(), claims, end: 5 });
        assert_eq!(verdict(5), Ok(()));
        assert!(verdict(6).is_err());
    }

    #[test]
    fn a_clean_mark_over_a_log_that_was_written_is_a_violation() {
        assert!(check(&Fact::CleanMark { log: &log() }).is_err());
        assert_eq!(check(&Fact::Booted), Ok(()));
    }
}
