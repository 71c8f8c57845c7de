//! M10 ConfigSafety: any two voter sets that may be in force together have majorities that meet: so one voter at a time
//! is added or taken away, no change before the last is committed, and none before the leader has committed a record
//! of its own epoch. Source: KIP-853; Ongaro's correction of single-server changes (raft-dev, 2015).

use std::collections::BTreeMap;

use super::{Part, Verdict, metadata};
use crate::logs::{BatchRef, Logs};

pub(super) const CODE: &str = "M10";

/// Remembers the voters that each batch names, by offset and epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfigSafety {
    named: BTreeMap<(i64, i32), Vec<i32>>,
}

impl ConfigSafety {
    pub(super) fn check(&mut self, logs: &Logs, batch: &BatchRef, part: &Part, voters: Option<&[i32]>) -> Verdict {
        let Some(voters) = voters else { return Ok(()) };
        self.named.insert((batch.base, batch.epoch), voters.to_vec());
        let (Some(start), Some(log)) = (part.leads.filter(|_| batch.epoch == part.epoch), metadata(logs)) else {
            return Ok(());
        };
        let earlier = log.batches.iter().rev().filter(|other| other.base < batch.base);
        let last = earlier.filter_map(|other| Some((other.base, self.named.get(&(other.base, other.epoch))?))).next();
        let Some((at, last)) = last else { return Ok(()) };
        let committed = part.high_watermark.unwrap_or(0);
        if at >= committed {
            return Err(format!("voters are named at {}, and the change at {at} is not committed", batch.base));
        }
        if start >= committed {
            return Err(format!("voters are named at {} before the epoch's first batch is committed", batch.base));
        }
        let changed = last.iter().filter(|voter| !voters.contains(voter)).count()
            + voters.iter().filter(|voter| !last.contains(voter)).count();
        if changed > 1 {
            return Err(format!("{changed} voters change at once at {}: {last:?} to {voters:?}", batch.base));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, leads, logs};
    use super::*;

    /// Voters are named at 0 and, by the leader of epoch 1 that began at 1, at 2.
    fn verdict(high_watermark: i64, voters: &[i32]) -> Verdict {
        let logs = logs(&[&[(0, 1), (1, 2), (1, 3)]]);
        let mut checker = ConfigSafety::default();
        let born = Part { boots: 1, ..Part::default() };
        assert_eq!(checker.check(&logs[0], &batch(0, 0, 1), &born, Some(&[0])), Ok(()));
        checker.check(&logs[0], &batch(2, 1, 3), &leads(1, 1, Some(high_watermark)), Some(voters))
    }

    #[test]
    fn one_voter_at_a_time_after_what_came_before() {
        assert_eq!(verdict(2, &[0, 1]), Ok(()));
        assert!(verdict(2, &[0, 1, 2]).is_err());
        assert!(verdict(2, &[1]).is_err());
        assert!(verdict(0, &[0, 1]).is_err());
        assert!(verdict(1, &[0, 1]).is_err());
    }
}
