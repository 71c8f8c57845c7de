//! M8: what is committed is not cut from a log that has it. Source: KIP-595 (a follower cuts only what diverges).

use super::{Committed, Verdict, is_same};
use crate::logs::BatchRef;

pub(super) const CODE: &str = "M8";

pub(super) fn check(lost: &[BatchRef], committed: &Committed) -> Verdict {
    match lost.iter().find(|batch| committed.at(batch.base).is_some_and(|known| is_same(known, batch))) {
        None => Ok(()),
        Some(batch) => Err(format!("what is committed at {} in epoch {} is cut", batch.base, batch.epoch)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, committed};
    use super::*;

    #[test]
    fn what_differs_from_what_is_committed_may_go() {
        let committed = committed(&[(1, 1), (2, 2)]);
        assert_eq!(check(&[batch(1, 1, 9), batch(2, 1, 9)], &committed), Ok(()));
        assert!(check(&[batch(1, 2, 2)], &committed).is_err());
    }
}
