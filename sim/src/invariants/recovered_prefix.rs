//! S1 RecoveredPrefix: a log after a crash is a valid prefix of what it was before, and reaches what was
//! promised. Source: the ALICE and LazyFS papers' notion of a recovered log; the README's promises P1 and P2.

use super::{Fact, Verdict};

pub(super) const CODE: &str = "S1";

/// Looks at what each start finds.
#[derive(Clone, Debug, Default)]
pub(super) struct RecoveredPrefix {}

impl RecoveredPrefix {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        let Fact::Recovered { log, found } = fact else { return Ok(()) };
        // Damage in what a start does not look at is found when it is read (S3); that nothing is cut there is S5.
        if !found.online || found.followed.damaged {
            return Ok(());
        }
        let mut next: Option<i64> = None;
        // A power loss brings back some of the segments that were deleted, and not all.
        let begins = found.start.unwrap_or(0).max(found.followed.deleted);
        for batch in found.batches {
            if !found.followed.ever_held(batch) {
                return Err(format!("{log} holds a batch at {} that was never appended", batch.base));
            }
            let holes = found.followed.holes.max(begins);
            if next.is_some_and(|next| next > batch.base || next.max(holes) < batch.base) {
                return Err(format!("{log} has a gap before {}", batch.base));
            }
            next = Some(batch.last + 1);
        }
        let end = next.unwrap_or(0);
        // What a start deletes before it serves is as good as deleted before, if the log begins there.
        let (promised, deleted, retired) = (found.followed.promised, found.followed.deleted, found.followed.retired);
        let gone = found.followed.gone();
        if let Some(start) = found.start.filter(|start| *start > gone) {
            return Err(format!("{log} begins at {start} after a start, and what is deleted ends at {gone}"));
        }
        let deleted = deleted.max(retired.min(found.start.unwrap_or(0)));
        // What is deleted is promised no more, but for its offsets.
        if end < promised && (deleted < promised || found.next.is_some_and(|next| next < promised)) {
            return Err(format!("{log} ends at {end} after a start, and {promised} was promised"));
        }
        if !found.whole {
            return Err(format!("{log} is served with bytes after {end} that are no batch"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{followed, log, recovered};
    use super::*;

    fn verdict(found: &[(i64, u32)], held: &[(i64, u32)], promised: i64) -> Verdict {
        let followed = followed(held, promised);
        recovered(found, |found| RecoveredPrefix::default().check(&Fact::Recovered { log: &log(), found }), &followed)
    }

    #[test]
    fn what_was_promised_is_there() {
        assert_eq!(verdict(&[(0, 1), (1, 2)], &[(0, 1), (1, 2), (2, 3)], 2), Ok(()));
        assert!(verdict(&[(0, 1)], &[(0, 1), (1, 2)], 2).is_err());
    }

    #[test]
    fn only_what_is_deleted_may_have_gaps() {
        for (deleted, good) in [(1, false), (2, true)] {
            let mut followed = followed(&[(0, 1), (1, 2), (2, 3)], 0);
            followed.deleted = deleted;
            let check = |found: super::super::Recovered<'_>| {
                RecoveredPrefix::default().check(&Fact::Recovered { log: &log(), found })
            };
            assert_eq!(recovered(&[(0, 1), (2, 3)], check, &followed).is_ok(), good, "deleted to {deleted}");
        }
    }

    #[test]
    fn of_what_is_deleted_only_the_offsets_are_promised() {
        for (deleted, next, good) in [(1, 2, false), (2, 1, false), (2, 2, true)] {
            let mut followed = followed(&[(0, 1), (1, 2)], 2);
            followed.deleted = deleted;
            let check = |found: super::super::Recovered<'_>| {
                let found = super::super::Recovered { next: Some(next), ..found };
                RecoveredPrefix::default().check(&Fact::Recovered { log: &log(), found })
            };
            assert_eq!(recovered(&[], check, &followed).is_ok(), good, "deleted to {deleted}, next {next}");
        }
    }

    #[test]
    fn a_log_begins_where_it_is_deleted_to() {
        for (start, retired, good) in [(0, 0, true), (2, 2, true), (2, 0, false), (0, 2, false)] {
            let mut followed = followed(&[(0, 1), (1, 2)], 2);
            followed.retired = retired;
            let check = |found: super::super::Recovered<'_>| {
                let found = super::super::Recovered { start: Some(start), next: Some(2), ..found };
                RecoveredPrefix::default().check(&Fact::Recovered { log: &log(), found })
            };
            // All that was promised is there only where nothing is deleted.
            let held: &[(i64, u32)] = if start == 0 && retired == 0 { &[(0, 1), (1, 2)] } else { &[] };
            assert_eq!(recovered(held, check, &followed).is_ok(), good, "begins at {start}, deleted to {retired}");
        }
    }

    #[test]
    fn a_replica_begins_where_it_began_before() {
        for (begun, good) in [(1, false), (2, true)] {
            let mut followed = followed(&[], 0);
            followed.begun = begun;
            let check = |found: super::super::Recovered<'_>| {
                let found = super::super::Recovered { start: Some(2), next: Some(2), ..found };
                RecoveredPrefix::default().check(&Fact::Recovered { log: &log(), found })
            };
            assert_eq!(recovered(&[], check, &followed).is_ok(), good, "it began at {begun}");
        }
    }

    #[test]
    fn what_was_never_appended_is_not() {
        assert!(verdict(&[(0, 1), (1, 9)], &[(0, 1), (1, 2)], 0).is_err());
        assert!(verdict(&[(0, 1), (2, 3)], &[(0, 1), (1, 2), (2, 3)], 0).is_err());
    }
}
