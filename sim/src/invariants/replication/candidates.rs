//! R2 CandidateCompleteness: whoever may be elected, in the ISR or the ELR, has all that is committed on its disk.
//! Source: KIP-966; the TLA+ model of Kafka's replication. Judged whenever more is committed, and whenever the
//! controller has decided who may be. R17, that no committed record is lost everywhere, is its shadow: where nobody may
//! be elected, somebody has it.

use super::super::Verdict;
use super::{Candidates, Known, ReplicaFact, is_same};

pub(super) const CODE: &str = "R2";
pub(super) const NOWHERE: &str = "R17";

pub(super) fn check(fact: &ReplicaFact<'_>, known: &Known) -> Verdict {
    let (Some((end, last)), Some(decided)) = (known.last(), &known.decided) else { return Ok(()) };
    for at in decided.candidates().filter(|at| !fact.unknown.contains(at)) {
        let own = fact.logs.get(at).and_then(|logs| logs.get(fact.log));
        let has = own.is_some_and(|own| {
            let has = own.find(last.base).is_some_and(|batch| is_same(batch, &last)) && own.synced > last.last;
            has || own.deletes(last.last)
        });
        if !has {
            let Candidates { partition_epoch: change, isr, elr } = decided;
            let who = format!("n{at} may lead {} as of its change {change}, of {isr:?} and {elr:?}", fact.log);
            return Err(format!("{who}, and what is committed below {end} is not on its disk"));
        }
    }
    Ok(())
}

/// Whether somebody has what is committed.
pub(super) fn check_somewhere(fact: &ReplicaFact<'_>, known: &Known) -> Verdict {
    let Some((end, last)) = known.last() else { return Ok(()) };
    let mut followed = fact.logs.iter().filter_map(|logs| logs.get(fact.log));
    let has = followed.any(|own| own.deletes(last.last) || own.find(last.base).is_some_and(|it| is_same(it, &last)));
    if has { Ok(()) } else { Err(format!("nobody has what is committed of {} below {end}", fact.log)) }
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::{Decided, Stands};
    use super::super::tests::{Judged, logs, partition, stands};

    #[test]
    fn who_may_lead_has_what_is_committed() {
        let logs = logs(&[(&[(1, 1), (1, 2)], 2), (&[(1, 1), (1, 2)], 2), (&[(1, 1)], 1)]);
        for (isr, elr, unknown, expected) in [
            (&[0, 1][..], &[][..], None, None),
            (&[0, 1, 2], &[], None, Some("R2")),
            (&[0, 1], &[2], None, Some("R2")),
            (&[0, 1], &[2], Some(2), None),
        ] {
            let mut judged = Judged::default();
            judged.unknown.extend(unknown);
            let image = partition(1, isr, elr);
            assert_eq!(judged.verdict(0, Decided { partition: &image, in_service: &[0, 1, 2] }, &logs), None);
            assert_eq!(judged.verdict(0, Stands(stands(2, Some(1))), &logs), expected, "{isr:?} {elr:?}");
        }
    }
}
