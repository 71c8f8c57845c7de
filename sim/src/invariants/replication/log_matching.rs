//! R5 LogMatching: if two replicas have a batch of the same offset and epoch, they are the same there and before.
//! Source: KIP-101, KIP-279; Raft, figure 3. Judged at each append against every other replica, there and one batch
//! before, so that the rest follows by induction.

use super::super::Verdict;
use super::{ReplicaFact, is_same};
use crate::logs::BatchRef;

pub(super) const CODE: &str = "R5";

pub(super) fn check(at: usize, fact: &ReplicaFact<'_>, batch: &BatchRef) -> Verdict {
    let ReplicaFact { log, logs, .. } = *fact;
    let Some(own) = logs[at].get(log) else { return Ok(()) };
    for (other, theirs) in logs.iter().enumerate().filter(|(other, _)| *other != at) {
        let Some(theirs) = theirs.get(log).filter(|theirs| !theirs.damaged && !own.damaged) else { continue };
        let Some(same) = theirs.find(batch.base).filter(|same| same.epoch == batch.epoch) else { continue };
        let (base, epoch) = (batch.base, batch.epoch);
        if !is_same(batch, same) {
            return Err(format!("n{at} and n{other} differ at {base} of {log} in epoch {epoch}"));
        }
        // One of them may have deleted what is before. A leader knows no epoch that ended there: it has others go on
        // from where its log begins, which leave what they have below until they delete it, too.
        let is_deleted = base <= own.gone().max(theirs.gone());
        if let (Some(one), Some(another)) = (own.below(base), theirs.below(base))
            && !is_deleted
            && !logs[other].is_torn(another, same)
            && !is_same(one, another)
        {
            return Err(format!(
                "n{at} and n{other} have the same at {base} of {log} in epoch {epoch}, and not before"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::Appended;
    use super::super::tests::{batch, log, logs, verdict};

    #[test]
    fn what_has_the_same_offset_and_epoch_is_the_same_and_so_is_what_is_before() {
        let append = |own: &[(i32, u32)], theirs: &[(i32, u32)]| {
            let logs = logs(&[(own, 0), (theirs, 0)]);
            let (epoch, crc) = own[own.len() - 1];
            let base = i64::try_from(own.len()).unwrap() - 1;
            verdict(0, Appended { batch: &batch(base, epoch, crc) }, &logs)
        };
        assert_eq!(append(&[(1, 1), (1, 2)], &[(1, 1), (1, 2), (2, 3)]), None);
        assert_eq!(append(&[(1, 1), (2, 9)], &[(1, 1), (1, 2)]), None);
        assert_eq!(append(&[(1, 1), (1, 9)], &[(1, 1), (1, 2)]), Some("R5"));
        assert_eq!(append(&[(1, 7), (2, 2)], &[(1, 1), (2, 2)]), Some("R5"));
    }

    #[test]
    fn a_hole_is_no_difference_before_its_process_has_seen_it() {
        let mut logs = logs(&[(&[(1, 1), (1, 2), (1, 3)], 0), (&[(1, 1), (1, 2), (1, 3)], 0)]);
        logs[1].entry(&log()).batches.remove(1);
        assert_eq!(verdict(0, Appended { batch: &batch(2, 1, 3) }, &logs), None, "power was lost");
        logs[1].written = true;
        assert_eq!(verdict(0, Appended { batch: &batch(2, 1, 3) }, &logs), Some("R5"));
    }

    #[test]
    fn what_is_before_may_differ_where_it_is_deleted() {
        let mut logs = logs(&[(&[(1, 1), (1, 7), (2, 3)], 0), (&[(1, 1), (2, 2), (2, 3)], 0)]);
        for (deleted, expected) in [(1, Some("R5")), (2, None)] {
            logs[1].entry(&log()).note_deleted(deleted);
            assert_eq!(verdict(0, Appended { batch: &batch(2, 2, 3) }, &logs), expected);
        }
    }
}
