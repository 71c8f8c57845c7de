//! M4 LogMatching: if two logs have an entry of the same offset and epoch, they are the same there and before.
//! Source: Raft, figure 3. Judged at each append against every other node's log: there, and one batch before, so that
//! the rest follows by induction.

use super::{Verdict, is_same, metadata};
use crate::logs::{BatchRef, FollowedLog, Logs};

pub(super) const CODE: &str = "M4";

pub(super) fn check(at: usize, batch: &BatchRef, logs: &[Logs]) -> Verdict {
    let Some(own) = metadata(&logs[at]) else { return Ok(()) };
    for (other, of_other) in logs.iter().enumerate().filter(|(other, _)| *other != at) {
        let Some(theirs) = metadata(of_other).filter(|theirs| !theirs.damaged && !own.damaged) else { continue };
        let Some(same) = theirs.find(batch.base).filter(|same| same.epoch == batch.epoch) else { continue };
        let (base, epoch) = (batch.base, batch.epoch);
        if !is_same(batch, same) {
            return Err(format!("n{at} and n{other} differ at {base} in epoch {epoch}"));
        }
        let matches = match (before(own, base), before(theirs, base)) {
            (Some(one), Some(another)) => is_same(one, another) || of_other.is_torn(another, same),
            // Where one begins later it tells nothing of what is before.
            (None, Some(_)) => own.deletes(base - 1),
            (Some(_), None) => theirs.deletes(base - 1),
            (None, None) => true,
        };
        if !matches {
            return Err(format!("n{at} and n{other} have the same at {base} in epoch {epoch}, and not before"));
        }
    }
    Ok(())
}

fn before(log: &FollowedLog, base: i64) -> Option<&BatchRef> {
    let place = log.batches.partition_point(|batch| batch.base < base);
    place.checked_sub(1).map(|place| &log.batches[place])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, logs};
    use super::*;

    fn verdict(own: &[(i32, u32)], theirs: &[(i32, u32)]) -> Verdict {
        let logs = logs(&[own, theirs]);
        let last = own.len() - 1;
        check(0, &batch(i64::try_from(last).unwrap(), own[last].0, own[last].1), &logs)
    }

    #[test]
    fn what_has_the_same_offset_and_epoch_is_the_same() {
        assert_eq!(verdict(&[(1, 1), (1, 2)], &[(1, 1), (1, 2), (2, 3)]), Ok(()));
        assert_eq!(verdict(&[(1, 1), (2, 9)], &[(1, 1), (1, 2)]), Ok(()));
        assert!(verdict(&[(1, 1), (1, 9)], &[(1, 1), (1, 2)]).is_err());
    }

    #[test]
    fn so_is_what_is_before() {
        assert!(verdict(&[(1, 7), (2, 2)], &[(1, 1), (2, 2)]).is_err());
        assert!(verdict(&[(1, 1), (3, 2)], &[(2, 1), (3, 2)]).is_err());
    }
}
