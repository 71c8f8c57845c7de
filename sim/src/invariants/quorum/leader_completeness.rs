//! M5 LeaderCompleteness: who leads has all that was committed in earlier epochs. Source: Raft, figure 3.

use super::{Committed, Verdict, is_same};
use crate::logs::FollowedLog;

pub(super) const CODE: &str = "M5";

/// `start`: what lies below is in its snapshot, which M11 judges.
pub(super) fn check((at, epoch): (usize, i32), start: i64, log: &FollowedLog, committed: &Committed) -> Verdict {
    let earlier = committed.batches.iter().filter(|batch| batch.epoch < epoch && batch.last >= start);
    for batch in earlier {
        if !log.find(batch.base).is_some_and(|own| is_same(own, batch)) {
            let (base, of) = (batch.base, batch.epoch);
            return Err(format!("n{at} leads in epoch {epoch} without what was committed at {base} in {of}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::metadata;
    use super::super::tests::{committed, logs};
    use super::*;

    #[test]
    fn a_leader_has_what_was_committed() {
        let verdict = |own: &[(i32, u32)], epoch| {
            let logs = logs(&[own]);
            check((0, epoch), 0, metadata(&logs[0]).expect("it is there"), &committed(&[(1, 1), (2, 2)]))
        };
        assert_eq!(verdict(&[(1, 1), (2, 2), (2, 3)], 3), Ok(()));
        assert!(verdict(&[(1, 1)], 3).is_err());
        assert!(verdict(&[(1, 1), (1, 2)], 3).is_err());
        // It was elected before.
        assert_eq!(verdict(&[(1, 1)], 2), Ok(()));
    }
}
