//! M6 CommittedIsDurable: what counts as committed survives a power loss of every node: on the metadata log always,
//! on the others under `flush=quorum`. Source: Raft, figure 2; etcd #14370 (a lone voter that answers before its
//! log is synced).

use super::{Fact, Verdict};

pub(super) const CODE: &str = "M6";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::Committed { log, high_watermark, followed } = fact else { return Ok(()) };
    let counts = |last: i64| last >= followed.synced && last < *high_watermark;
    match followed.batches.iter().rev().find(|batch| counts(batch.last)) {
        Some(batch) => {
            let synced = followed.synced;
            Err(format!("{log} counts {} as committed, and is synced up to {synced}", batch.last))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{followed, log};
    use super::*;

    #[test]
    fn what_is_not_synced_is_not_committed() {
        let mut followed = followed(&[(0, 1), (1, 2), (2, 3)], 0);
        followed.synced = 2;
        let verdict = |high_watermark| check(&Fact::Committed { log: &log(), high_watermark, followed: &followed });
        assert_eq!(verdict(2), Ok(()));
        assert!(verdict(3).is_err());
    }
}
