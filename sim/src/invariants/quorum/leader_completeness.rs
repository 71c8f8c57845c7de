//! M5 LeaderCompleteness: who leads has all that was committed in earlier epochs. Source: Raft, figure 3.
//!
//! It is judged as soon as the files hold what the leader has: in the step that it is elected in they have yet to get
//! the first batch of its epoch.

use std::collections::BTreeMap;

use super::{Committed, Part, Verdict, is_same};
use crate::logs::FollowedLog;

pub(super) const CODE: &str = "M5";

/// Remembers which leaders are to be judged: in which of their lives and for which epoch, and what was committed when
/// they were elected. What others commit later they need not have.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaderCompleteness {
    elected: BTreeMap<usize, (u64, i32, i64)>,
}

impl LeaderCompleteness {
    pub(super) fn on_elected(&mut self, at: usize, part: &Part, committed: &Committed) {
        self.elected.insert(at, (part.boots, part.epoch, committed.end()));
    }

    /// `start`: what lies below is in its snapshot, which M11 judges.
    pub(super) fn check(
        &mut self,
        at: usize,
        part: &Part,
        start: i64,
        log: &FollowedLog,
        committed: &Committed,
    ) -> Verdict {
        let Some((boots, epoch, end)) = self.elected.remove(&at) else { return Ok(()) };
        // In a later epoch, or life, it may have been cut.
        if (part.boots, part.epoch) != (boots, epoch) {
            return Ok(());
        }
        let earlier = committed.batches.iter().filter(|batch| batch.last < end && batch.last >= start);
        for batch in earlier.filter(|batch| batch.epoch < epoch) {
            if !log.find(batch.base).is_some_and(|own| is_same(own, batch)) {
                let (base, of) = (batch.base, batch.epoch);
                return Err(format!("n{at} leads in epoch {epoch} without what was committed at {base} in {of}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata;
    use super::super::tests::{committed, leads, logs};
    use super::*;

    #[test]
    fn a_leader_has_what_was_committed() {
        let verdict = |own: &[(i32, u32)], epoch| {
            let (logs, mut rule) = (logs(&[own]), LeaderCompleteness::default());
            let log = metadata(&logs[0]).expect("it is there");
            let known = committed(&[(1, 1), (2, 2)]);
            rule.on_elected(0, &leads(epoch, 9, None), &known);
            // Others have committed more since.
            let known = committed(&[(1, 1), (2, 2), (2, 7)]);
            rule.check(0, &leads(epoch, 9, Some(1)), 0, log, &known)
        };
        assert_eq!(verdict(&[(1, 1), (2, 2), (2, 3)], 3), Ok(()));
        assert!(verdict(&[(1, 1)], 3).is_err());
        assert!(verdict(&[(1, 1), (1, 2)], 3).is_err());
        // It was elected before.
        assert_eq!(verdict(&[(1, 1)], 2), Ok(()));
    }

    #[test]
    fn who_is_cut_in_a_later_epoch_is_not_judged_for_an_earlier_one() {
        let (logs, mut rule) = (logs(&[&[(1, 1)]]), LeaderCompleteness::default());
        let known = committed(&[(1, 1), (2, 2)]);
        rule.on_elected(0, &leads(3, 9, None), &known);
        let log = metadata(&logs[0]).expect("it is there");
        assert_eq!(rule.check(0, &Part { epoch: 4, ..Part::default() }, 0, log, &known), Ok(()));
        assert!(rule.elected.is_empty());
    }
}
