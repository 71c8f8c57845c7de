//! M1 ElectionSafety: an epoch has one leader at most, over all history, and a process that starts again leads in a new
//! one. Source: Raft, figure 3; KAFKA-10527.

use std::collections::BTreeMap;

use super::{Part, Verdict};

pub(super) const CODE: &str = "M1";

/// Remembers who led each epoch: which node, and in which of its lives.
#[derive(Clone, Debug, Default)]
pub(in crate::invariants) struct ElectionSafety {
    leaders: BTreeMap<i32, (usize, u64)>,
}

impl ElectionSafety {
    /// Answers whether this is the first that is seen of a leader.
    pub(super) fn check(&mut self, at: usize, part: &Part) -> Result<bool, String> {
        self.judge(at, part)?;
        Ok(part.leads.is_some() && self.leaders.insert(part.epoch, (at, part.boots)).is_none())
    }

    /// Whether who leads may.
    pub(super) fn judge(&self, at: usize, part: &Part) -> Verdict {
        let epoch = part.epoch;
        match self.leader(epoch).filter(|known| part.leads.is_some() && *known != (at, part.boots)) {
            None => Ok(()),
            Some((other, _)) if other == at => Err(format!("n{at} leads in epoch {epoch}, as it did before its start")),
            Some((other, _)) => Err(format!("n{at} leads in epoch {epoch}, and n{other} did")),
        }
    }

    /// Who led an epoch, and in which life.
    pub(super) fn leader(&self, epoch: i32) -> Option<(usize, u64)> {
        self.leaders.get(&epoch).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::leads;
    use super::*;

    #[test]
    fn an_epoch_has_one_leader_in_one_of_its_lives() {
        let mut checker = ElectionSafety::default();
        assert_eq!(checker.check(0, &leads(3, 0, None)), Ok(true));
        assert_eq!(checker.check(0, &leads(3, 0, Some(9))), Ok(false));
        assert_eq!(checker.check(1, &Part { epoch: 3, ..Part::default() }), Ok(false));
        assert_eq!(checker.check(1, &leads(4, 5, None)), Ok(true));
        assert!(checker.check(1, &leads(3, 5, None)).is_err());
        let mut again = checker.clone();
        assert!(again.check(1, &Part { boots: 2, ..leads(4, 5, None) }).is_err());
        assert_eq!(checker.leader(4), Some((1, 1)));
    }
}
