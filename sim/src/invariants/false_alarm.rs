//! false-alarm: a log is taken for damaged only if its disk has damaged it, or failed to read it. Source: the
//! PAR/CTRL paper (FAST'18), which asks for both directions: damage is not overlooked, and what is whole stays
//! available.

use super::{Fact, Verdict};

pub(super) const CODE: &str = "false-alarm";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::OutOfService { log, disk_failed: false } = fact else { return Ok(()) };
    Err(format!("{log} is taken for damaged, and its disk never failed"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::log;
    use super::*;

    #[test]
    fn damage_that_no_disk_did_is_a_violation() {
        let verdict = |disk_failed| check(&Fact::OutOfService { log: &log(), disk_failed });
        assert_eq!(verdict(true), Ok(()));
        assert!(verdict(false).is_err());
    }
}
