//! M2 VoteOnce: a node votes for one candidate in an epoch, whatever crashes, so a vote that leaves it is durable.
//! Source: Raft, figure 2 (currentTerm and votedFor are on stable storage before anybody hears of them).

use std::collections::BTreeMap;

use ottla_core::types::TopicPartition;

use super::Verdict;

pub(super) const CODE: &str = "M2";

/// Remembers every vote.
#[derive(Clone, Debug, Default)]
pub(super) struct VoteOnce {
    votes: BTreeMap<(usize, i32), i32>,
}

impl VoteOnce {
    /// A node has another disk, and is another voter if it is one.
    pub(super) fn forget(&mut self, at: usize) {
        self.votes.retain(|(voter, _), _| *voter != at);
    }

    pub(super) fn check(
        &mut self,
        at: usize,
        (epoch, candidate): (i32, i32),
        saved: &[Option<(i32, Option<i32>)>],
    ) -> Verdict {
        let before = *self.votes.entry((at, epoch)).or_insert(candidate);
        if before != candidate {
            return Err(format!("n{at} votes for n{candidate} in epoch {epoch}, and did for n{before}"));
        }
        let keeps = |saved: &Option<(i32, Option<i32>)>| {
            saved.is_some_and(|(of, vote)| of > epoch || (of == epoch && vote == Some(candidate)))
        };
        match saved.iter().find(|saved| !keeps(saved)) {
            None => Ok(()),
            Some(None) => Err(format!("n{at} votes in epoch {epoch}, and a power loss may leave no vote at all")),
            Some(Some((of, vote))) => {
                let left = format!("the vote of {of} for {vote:?}");
                Err(format!("n{at} votes for n{candidate} in epoch {epoch}, and a power loss may leave {left}"))
            }
        }
    }
}

/// A node appends to its metadata log in an epoch: it leads it, or follows who does, and cannot forget that.
pub(super) fn check_led(log: &TopicPartition, epoch: i32, saved: &[Option<i32>]) -> Verdict {
    match saved.iter().find(|saved| saved.is_none_or(|saved| saved < epoch)) {
        None => Ok(()),
        Some(Some(saved)) => {
            Err(format!("{log} is led in epoch {epoch}, and a power loss may leave the vote of {saved}"))
        }
        Some(None) => Err(format!("{log} is led in epoch {epoch}, and a power loss may leave no vote at all")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_is_given_once_an_epoch() {
        let mut checker = VoteOnce::default();
        assert_eq!(checker.check(0, (3, 1), &[]), Ok(()));
        assert_eq!(checker.check(0, (3, 1), &[]), Ok(()));
        assert_eq!(checker.check(1, (3, 2), &[]), Ok(()));
        assert_eq!(checker.check(0, (4, 2), &[]), Ok(()));
        assert!(checker.check(0, (3, 2), &[]).is_err());
    }

    #[test]
    fn an_epoch_that_counts_survives_a_power_loss() {
        let verdict = |saved: &[Option<i32>]| check_led(&TopicPartition::new("t", 0), 3, saved);
        assert_eq!(verdict(&[Some(3)]), Ok(()));
        assert_eq!(verdict(&[Some(3), Some(4)]), Ok(()));
        assert!(verdict(&[Some(3), Some(2)]).is_err());
        assert!(verdict(&[None, Some(3)]).is_err());
    }

    #[test]
    fn a_vote_that_leaves_survives_a_power_loss() {
        let verdict = |saved: &[_]| VoteOnce::default().check(0, (3, 1), saved);
        assert_eq!(verdict(&[Some((3, Some(1))), Some((4, None))]), Ok(()));
        assert!(verdict(&[Some((3, Some(1))), None]).is_err());
        assert!(verdict(&[Some((3, None))]).is_err());
        assert!(verdict(&[Some((3, Some(2)))]).is_err());
        assert!(verdict(&[Some((2, Some(1)))]).is_err());
    }
}
