//! S5: damage below what was promised is never taken for a torn tail: who finds it does not cut it off and
//! lead. Source: the PAR/CTRL paper (FAST'18); promise P5.

use super::{Fact, Verdict};

pub(super) const CODE: &str = "S5";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::Recovered { log, found } = fact else { return Ok(()) };
    // What is damaged and not cut off still has its place; it is refused when it is read.
    let (end, promised) = (found.followed.end(), found.followed.promised);
    if !found.online || !found.followed.damaged {
        return Ok(());
    }
    if end < promised && found.followed.deleted < promised {
        return Err(format!("{log} was damaged, is cut to {end} below {promised}, and is served"));
    }
    // What is deleted may be damaged and cut, and its offsets are gone all the same.
    match found.next {
        Some(next) if next < promised => {
            Err(format!("{log} was damaged, promised all below {promised}, and goes on at {next}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Recovered;
    use super::super::tests::{followed, log, recovered};
    use super::*;

    #[test]
    fn truncate_and_lead_is_a_violation_and_refusal_is_not() {
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
        let mut cut = followed(&[(0, 1)], 2);
        assert_eq!(verdict(true, &cut), Ok(()));
        cut.damaged = true;
        assert!(verdict(true, &cut).is_err());
        assert_eq!(verdict(false, &cut), Ok(()));
        // What is deleted is promised no more, but for its offsets.
        cut.deleted = 2;
        assert_eq!(verdict(true, &cut), Ok(()));
        for (next, good) in [(1, false), (2, true)] {
            let verdict = recovered(
                &[],
                |found| check(&Fact::Recovered { log: &log(), found: Recovered { next: Some(next), ..found } }),
                &cut,
            );
            assert_eq!(verdict.is_ok(), good);
        }
        let mut kept = followed(&[(0, 1), (1, 2)], 2);
        kept.damaged = true;
        assert_eq!(verdict(true, &kept), Ok(()));
    }
}
