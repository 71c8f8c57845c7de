//! M2 VoteOnce: a node votes once in an epoch, whatever crashes: so a vote that was counted is durable. Source: Raft,
//! figure 2 (currentTerm and votedFor are on stable storage before anybody hears of them).

use super::{Fact, Verdict};

pub(super) const CODE: &str = "M2";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::Led { log, epoch, saved } = fact else { return Ok(()) };
    match saved.iter().find(|saved| saved.is_none_or(|saved| saved < *epoch)) {
        None => Ok(()),
        Some(Some(saved)) => {
            Err(format!("{log} is led in epoch {epoch}, and a power loss may leave the vote of {saved}"))
        }
        Some(None) => Err(format!("{log} is led in epoch {epoch}, and a power loss may leave no vote at all")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::log;
    use super::*;

    #[test]
    fn a_vote_that_counts_survives_a_power_loss() {
        let verdict = |saved: &[Option<i32>]| check(&Fact::Led { log: &log(), epoch: 3, saved });
        assert_eq!(verdict(&[Some(3)]), Ok(()));
        assert_eq!(verdict(&[Some(3), Some(4)]), Ok(()));
        assert!(verdict(&[Some(3), Some(2)]).is_err());
        assert!(verdict(&[None, Some(3)]).is_err());
    }
}
