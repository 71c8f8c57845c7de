//! R4 QuorumSuperset: what is below any replica's high watermark is durable on at least `min.insync.replicas` replicas,
//! for it is the least over the maximal ISR of what is durable. Source: KIP-497, KIP-966; the TLA+ model of Kafka's
//! replication (`AsyncIsr`).

use std::ops::Range;

use super::super::Verdict;
use super::{ReplicaFact, committed};

pub(super) const CODE: &str = "R4";

/// `counted` is what the replica has, up to its high watermark.
pub(super) fn check(at: usize, fact: &ReplicaFact<'_>, counted: Range<i64>) -> Verdict {
    let Some(followed) = fact.logs.get(at).and_then(|logs| logs.get(fact.log)) else { return Ok(()) };
    // Where the last lies, all before it lies, too: R5.
    match followed.last_of(counted.clone()) {
        Some(last) => committed(fact, last.base)
            .map_err(|why| format!("n{at} has its high watermark at {}, and {why}", counted.end)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::{Committed, Stands};
    use super::super::tests::{Judged, logs, verdict};

    #[test]
    fn what_is_below_a_high_watermark_is_on_enough_disks() {
        let logs = logs(&[(&[(1, 1), (1, 2), (1, 3)], 3), (&[(1, 1), (1, 2)], 2), (&[(1, 1), (1, 2), (1, 3)], 0)]);
        for (log_start, high_watermark, expected) in [(0, 0, None), (0, 2, None), (2, 3, Some("R4")), (3, 3, None)] {
            assert_eq!(verdict(0, Committed { log_start, high_watermark }, &logs), expected, "{high_watermark}");
        }
    }

    #[test]
    fn what_all_others_have_deleted_counts_no_more() {
        let logs = logs(&[(&[(1, 1), (1, 2), (1, 3)], 3), (&[(1, 1), (1, 2), (1, 3)], 0)]);
        let mut judged = Judged::default();
        for (log_start, expected) in [(2, Some("R4")), (3, None)] {
            let stands = super::super::Stands { high_watermark: 3, log_start, log_end: 3, ..Default::default() };
            judged.verdict(1, Stands(stands), &logs);
            assert_eq!(
                judged.verdict(0, Committed { log_start: 0, high_watermark: 3 }, &logs),
                expected,
                "{log_start}"
            );
        }
    }

    #[test]
    fn what_others_have_deleted_is_copied_from_who_has_not_heard_of_it() {
        for (log_start, expected) in [(2, Some("R4")), (3, None)] {
            let mut judged = Judged::default();
            let lone = logs(&[(&[(1, 1), (1, 2), (1, 3)], 3), (&[], 0)]);
            let stands = super::super::Stands { high_watermark: 3, log_end: 3, ..Default::default() };
            let deletes = super::super::Stands { log_start, before: Some(3), ..stands };
            judged.verdict(1, Stands(deletes), &lone);
            let copies = super::super::Stands { before: Some(0), ..stands };
            assert_eq!(judged.verdict(0, Stands(copies), &lone), expected, "{log_start}");
        }
    }
}
