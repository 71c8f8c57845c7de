//! R7 NoUncommittedRead: nothing at or above the true high watermark is served to a client. Source: KAFKA-14704,
//! KAFKA-9835.

use super::super::Verdict;
use super::{ReplicaFact, told};

pub(super) const CODE: &str = "R7";

pub(super) fn check(fact: &ReplicaFact<'_>, offset: i64) -> Verdict {
    told(fact, offset).map_err(|why| format!("a client reads it, and {why}"))
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::{Read, Stands};
    use super::super::tests::{Judged, logs, verdict};

    #[test]
    fn what_is_read_is_committed() {
        let logs = logs(&[(&[(1, 1), (1, 2)], 2), (&[(1, 1), (2, 9)], 2)]);
        assert_eq!(verdict(0, Read { offset: 0 }, &logs), None);
        assert_eq!(verdict(0, Read { offset: 1 }, &logs), Some("R7"));
    }

    #[test]
    fn what_a_leader_deleted_may_be_read_from_the_next_though_the_partition_moved_away_from_the_first() {
        let batches = [(1, 1), (1, 2), (1, 3)];
        let mut judged = Judged::default();
        let stands = super::super::Stands { high_watermark: 3, log_start: 2, log_end: 3, ..Default::default() };
        judged.verdict(1, Stands(stands), &logs(&[(&batches, 3), (&batches, 3)]));
        let logs = logs(&[(&batches, 3)]);
        for (offset, expected) in [(0, None), (1, None), (2, Some("R7"))] {
            assert_eq!(judged.verdict(0, Read { offset }, &logs), expected, "{offset}");
        }
    }
}
