//! S5: damage below what was promised is never taken for a torn tail: who finds it does not cut it off and
//! lead. Source: the PAR/CTRL paper (FAST'18); promise P5.

use super::{Fact, Verdict};

pub(super) const CODE: &str = "S5";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::Recovered { log, found } = fact else { return Ok(()) };
    let end = found.batches.last().map_or(0, |batch| batch.last + 1);
    if found.online && found.followed.damaged && end < found.followed.promised {
        return Err(format!("{log} was damaged, is cut to {end} below {}, and is served", found.followed.promised));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{followed, log, recovered};
    use super::*;

    #[test]
    fn truncate_and_lead_is_a_violation_and_refusal_is_not() {
        let mut followed = followed(&[(0, 1), (1, 2)], 2);
        let verdict = |online, followed: &_| {
            recovered(
                &[(0, 1)],
                |mut found| {
                    found.online = online;
                    check(&Fact::Recovered { log: &log(), found })
                },
                followed,
            )
        };
        assert_eq!(verdict(true, &followed), Ok(()));
        followed.damaged = true;
        assert!(verdict(true, &followed).is_err());
        assert_eq!(verdict(false, &followed), Ok(()));
    }
}
