//! M3 EpochMonotone: the epoch of a node never falls while its process lives, and no start comes back in an epoch
//! before one in which the node has voted or led. Source: Raft, figure 2.

use std::collections::BTreeMap;

use super::{Part, Verdict};

pub(super) const CODE: &str = "M3";

/// Remembers the epoch of each process, and the last in which its node has acted.
#[derive(Clone, Debug, Default)]
pub(super) struct EpochMonotone {
    epochs: BTreeMap<usize, (u64, i32)>,
    acted: BTreeMap<usize, i32>,
}

impl EpochMonotone {
    /// A node has another disk, and has done nothing.
    pub(super) fn forget(&mut self, at: usize) {
        self.acted.remove(&at);
    }

    /// A node votes in an epoch.
    pub(super) fn acts(&mut self, at: usize, epoch: i32) {
        let acted = self.acted.entry(at).or_insert(epoch);
        *acted = epoch.max(*acted);
    }

    pub(super) fn check(&mut self, at: usize, part: &Part) -> Verdict {
        let epoch = part.epoch;
        if let Some((boots, before)) = self.epochs.insert(at, (part.boots, epoch))
            && boots == part.boots
            && epoch < before
        {
            return Err(format!("n{at} goes back from epoch {before} to {epoch}"));
        }
        if let Some(acted) = self.acted.get(&at).filter(|acted| epoch < **acted) {
            return Err(format!("n{at} is in epoch {epoch}, and acted in {acted}"));
        }
        if part.leads.is_some() {
            self.acts(at, epoch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::leads;
    use super::*;

    #[test]
    fn an_epoch_is_not_gone_back_on() {
        let part = |boots, epoch| Part { boots, epoch, ..Part::default() };
        let mut checker = EpochMonotone::default();
        assert_eq!(checker.check(0, &part(1, 5)), Ok(()));
        // It has done nothing in it: nobody knows.
        assert_eq!(checker.check(0, &part(2, 4)), Ok(()));
        assert!(checker.check(0, &part(2, 3)).is_err());
        let mut checker = EpochMonotone::default();
        checker.acts(0, 5);
        assert!(checker.check(0, &part(2, 4)).is_err());
        assert_eq!(checker.check(0, &leads(6, 0, None)), Ok(()));
        assert!(checker.check(0, &part(3, 5)).is_err());
    }
}
