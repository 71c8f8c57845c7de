//! R16 NoTruncation: a replica does not cut what it has of the committed. Source: KIP-101; KAFKA-13207, KAFKA-2143;
//! Redpanda #14413.

use super::super::Verdict;
use super::{Known, ReplicaFact};

pub(super) const CODE: &str = "R16";

pub(super) fn check(at: usize, fact: &ReplicaFact<'_>, known: Option<&Known>) -> Verdict {
    let Some(followed) = fact.logs.get(at).and_then(|logs| logs.get(fact.log)) else { return Ok(()) };
    let (end, promised) = (followed.end(), followed.promised);
    // A replica that is far behind begins anew where its leader's log begins.
    let is_deleted =
        followed.deletes(promised - 1) || known.is_some_and(|known| known.deleted_by_others(at) >= promised);
    if end < promised && !is_deleted {
        return Err(format!("n{at} cuts {} to {end}, and what it has is committed up to {promised}", fact.log));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::{Cut, Stands};
    use super::super::tests::{Judged, log, logs, stands, verdict};

    #[test]
    fn what_is_committed_is_not_cut() {
        let mut logs = logs(&[(&[(1, 1), (1, 2)], 2)]);
        for (promised, expected) in [(2, None), (3, Some("R16"))] {
            logs[0].entry(&log()).promise(promised, true);
            assert_eq!(verdict(0, Cut, &logs), expected, "{promised} is promised");
        }
        // What is deleted from the front is not cut.
        logs[0].entry(&log()).retired = 3;
        assert_eq!(verdict(0, Cut, &logs), None);
    }

    #[test]
    fn what_others_have_deleted_may_go() {
        for (at, start, expected) in [(1, 3, None), (1, 2, Some("R16")), (0, 3, Some("R16"))] {
            let mut logs = logs(&[(&[(1, 1), (1, 2)], 2), (&[(1, 1), (1, 2)], 2)]);
            logs[0].entry(&log()).promise(3, true);
            let mut judged = Judged::default();
            let stands = super::super::Stands { log_start: start, log_end: 3, ..stands(3, None) };
            assert_eq!(judged.verdict(at, Stands(stands), &logs), None);
            assert_eq!(judged.verdict(0, Cut, &logs), expected, "n{at} begins at {start}");
        }
    }
}
