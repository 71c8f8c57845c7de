//! M12 ControllerFencing: an epoch's batches are its leader's, in the one life in which it leads it; what others append
//! of an epoch they have from there. Source: KIP-595; KAFKA-10527 (a leader that came back into its own epoch).

use super::election_safety::ElectionSafety;
use super::{Part, Verdict, metadata};
use crate::logs::{BatchRef, Logs};

pub(super) const CODE: &str = "M12";

pub(super) fn check(at: usize, batch: &BatchRef, part: &Part, logs: &[Logs], leaders: &ElectionSafety) -> Verdict {
    let (base, epoch) = (batch.base, batch.epoch);
    if epoch > part.epoch {
        return Err(format!("n{at} appends a batch of epoch {epoch} at {base}, and is in {}", part.epoch));
    }
    let me = (at, part.boots);
    // Its first batch it appends in the very step in which it begins to lead.
    if leaders.leader(epoch) == Some(me) || (part.leads.is_some() && epoch == part.epoch) {
        return Ok(());
    }
    let others = logs.iter().enumerate().filter(|(other, _)| *other != at);
    let mut held = others.filter_map(|(_, logs)| metadata(logs)).filter(|log| log.ever_held(batch));
    match held.next() {
        Some(_) => Ok(()),
        None => Err(format!("n{at} appends a batch of epoch {epoch} at {base} that nobody else had")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, leads, logs};
    use super::*;

    #[test]
    fn only_its_leader_writes_in_an_epoch() {
        let logs = logs(&[&[(1, 1)], &[(1, 1), (1, 2)]]);
        let mut leaders = ElectionSafety::default();
        assert_eq!(leaders.check(1, &leads(1, 0, None)), Ok(true));
        let follower = Part { boots: 1, epoch: 1, ..Part::default() };
        let verdict = |at, part: &Part, batch: &BatchRef| check(at, batch, part, &logs, &leaders);
        assert_eq!(verdict(1, &leads(1, 0, None), &batch(2, 1, 3)), Ok(()));
        assert_eq!(verdict(0, &follower, &batch(1, 1, 2)), Ok(()));
        assert!(verdict(0, &follower, &batch(1, 1, 9)).is_err());
        assert!(verdict(0, &follower, &batch(1, 2, 2)).is_err());
        // A later life of its leader is another.
        assert!(verdict(1, &Part { boots: 2, ..follower }, &batch(2, 1, 3)).is_err());
    }
}
