//! R3 LeaderCompleteness: who begins to lead has all that is committed. Source: KIP-101, KIP-279; Raft, figure 3. There
//! are no unclean elections here, for no operator asks for one (promise P7).

use super::super::Verdict;
use super::{Known, ReplicaFact, Stands, is_same};

pub(super) const CODE: &str = "R3";

pub(super) fn check(at: usize, fact: &ReplicaFact<'_>, stands: &Stands, known: &Known) -> Verdict {
    let begins = stands.leads.filter(|epoch| stands.led != Some(*epoch));
    let Some((epoch, (end, last))) = begins.and_then(|epoch| Some((epoch, known.owed(epoch)?))) else { return Ok(()) };
    let Some(own) = fact.logs.get(at).and_then(|logs| logs.get(fact.log)) else { return Ok(()) };
    if own.deletes(last.last) || own.find(last.base).is_some_and(|batch| is_same(batch, &last)) {
        return Ok(());
    }
    Err(format!("n{at} leads {} in epoch {epoch}, and has not what is committed below {end}", fact.log))
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::{Decided, Stands};
    use super::super::tests::{Judged, logs, partition, stands};
    use ottla_core::types::LeaderEpoch;

    #[test]
    fn who_leads_has_what_is_committed() {
        for (other, expected) in [(&[(1, 1), (1, 2), (1, 3)][..], None), (&[(1, 1)], Some("R3"))] {
            let logs = logs(&[(&[(1, 1), (1, 2)], 2), (other, 1), (&[(1, 1), (1, 2)], 2)]);
            let mut judged = Judged::default();
            assert_eq!(judged.verdict(0, Stands(stands(2, Some(1))), &logs), None);
            assert_eq!(judged.verdict(1, Stands(stands(0, Some(2))), &logs), expected);
        }
    }

    #[test]
    fn who_learns_late_that_it_was_to_lead_owes_what_was_committed_before_the_next_did() {
        let all = &[(1, 1), (3, 2)][..];
        for (other, expected) in [(&[(1, 1)][..], None), (&[], Some("R3"))] {
            let logs = logs(&[(all, 2), (other, 1), (all, 2)]);
            let mut judged = Judged::default();
            assert_eq!(judged.verdict(2, Stands(stands(1, Some(1))), &logs), None);
            let mut image = partition(1, &[0], &[]);
            image.leader_epoch = LeaderEpoch(3);
            assert_eq!(judged.verdict(0, Decided { partition: &image, in_service: &[0] }, &logs), None);
            assert_eq!(judged.verdict(0, Stands(stands(2, Some(3))), &logs), None);
            assert_eq!(judged.verdict(1, Stands(stands(0, Some(2))), &logs), expected);
        }
    }
}
