//! R7 NoUncommittedRead: nothing at or above the true high watermark is served to a client. Source: KAFKA-14704,
//! KAFKA-9835.

use super::super::Verdict;
use super::{ReplicaFact, committed};

pub(super) const CODE: &str = "R7";

pub(super) fn check(fact: &ReplicaFact<'_>, offset: i64) -> Verdict {
    committed(fact, offset).map_err(|why| format!("a client reads it, and {why}"))
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::Read;
    use super::super::tests::{logs, verdict};

    #[test]
    fn what_is_read_is_committed() {
        let logs = logs(&[(&[(1, 1), (1, 2)], 2), (&[(1, 1), (2, 9)], 2)]);
        assert_eq!(verdict(0, Read { offset: 0 }, &logs), None);
        assert_eq!(verdict(0, Read { offset: 1 }, &logs), Some("R7"));
    }
}
