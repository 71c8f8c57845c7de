//! M7: what a process counts as committed never goes back, nor beyond its log; a new leader counts at least what
//! earlier ones did, and nothing more before it has a record of its own epoch. Source: Raft, figure 8; KIP-595;
//! Redpanda's and etcd's assertions on the commit index.

use std::collections::BTreeMap;

use super::{Part, Verdict};

pub(super) const CODE: &str = "M7";

/// Remembers what each process counted, and the leader of each epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct HighWatermark {
    of_process: BTreeMap<usize, i64>,
    of_epoch: BTreeMap<i32, i64>,
}

impl HighWatermark {
    /// Another process begins, and knows nothing of what is committed.
    pub(super) fn forget(&mut self, at: usize) {
        self.of_process.remove(&at);
    }

    /// `end`: where its log ends.
    pub(super) fn check(&mut self, at: usize, part: &Part, end: i64) -> Verdict {
        let Some(now) = part.high_watermark else { return Ok(()) };
        let before = self.of_process.insert(at, now);
        if let Some(before) = before.filter(|before| now < *before) {
            return Err(format!("n{at} counts {now} as committed, and counted {before}"));
        }
        if now > end {
            return Err(format!("n{at} counts {now} as committed, and its log ends at {end}"));
        }
        let rises = before.is_none_or(|before| now > before);
        if let Some(start) = part.leads.filter(|start| rises && now <= *start) {
            let leads = part.epoch;
            return Err(format!("n{at} counts {now} as committed, and its own epoch {leads} begins at {start}"));
        }
        // Before a record of its own epoch is committed a leader knows what it knew as a follower.
        if part.leads.is_some_and(|start| start < now) {
            let earlier = self.of_epoch.range(..part.epoch).next_back();
            if let Some((epoch, before)) = earlier.filter(|(_, before)| now < **before) {
                let leads = part.epoch;
                return Err(format!("n{at} leads in {leads} and counts {now}; the leader of {epoch} counted {before}"));
            }
            self.of_epoch.insert(part.epoch, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::leads;
    use super::*;

    #[test]
    fn it_grows_in_a_process_and_from_leader_to_leader() {
        let mut checker = HighWatermark::default();
        assert_eq!(checker.check(0, &leads(1, 0, Some(5)), 9), Ok(()));
        assert!(checker.clone().check(0, &leads(1, 0, Some(4)), 9).is_err());
        assert!(checker.clone().check(1, &leads(2, 3, Some(4)), 9).is_err());
        let follower = Part { boots: 1, epoch: 2, leads: None, high_watermark: Some(4) };
        assert!(checker.clone().check(1, &follower, 3).is_err(), "its log does not go so far");
        assert!(checker.clone().check(1, &leads(2, 5, Some(4)), 9).is_err(), "figure 8");
        assert_eq!(checker.check(1, &follower, 9), Ok(()));
        assert_eq!(checker.clone().check(1, &leads(2, 5, Some(4)), 9), Ok(()));
        checker.forget(0);
        assert_eq!(checker.check(0, &Part { high_watermark: Some(1), ..follower }, 9), Ok(()));
    }
}
