//! S4: a saved file (recovery point, high watermark, flush journal, clean mark) claims only what is durable.
//! Source: KAFKA-16541, KAFKA-10471. It is judged when it counts: by what a crash left.

use super::{Fact, Verdict};

pub(super) const CODE: &str = "S4";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
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
}
