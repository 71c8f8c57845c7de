//! R16 NoTruncation: a replica does not cut what it has of the committed. Source: KIP-101; KAFKA-13207, KAFKA-2143;
//! Redpanda #14413.

use super::super::Verdict;
use super::ReplicaFact;

pub(super) const CODE: &str = "R16";

pub(super) fn check(at: usize, fact: &ReplicaFact<'_>) -> Verdict {
    let Some(followed) = fact.logs.get(at).and_then(|logs| logs.get(fact.log)) else { return Ok(()) };
    let (end, promised) = (followed.end(), followed.promised);
    if end < promised && !followed.deletes(promised - 1) {
        return Err(format!("n{at} cuts {} to {end}, and what it has is committed up to {promised}", fact.log));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::Cut;
    use super::super::tests::{log, logs, verdict};

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
}
