//! R13 AckRule: what acks=all acknowledges is durable on at least `min.insync.replicas` replicas. Source: Kafka's
//! replication protocol; the Jepsen analysis of Kafka 0.8; KIP-966.

use super::super::Verdict;
use super::{ReplicaFact, committed};

pub(super) const CODE: &str = "R13";

pub(super) fn check(fact: &ReplicaFact<'_>, offset: i64) -> Verdict {
    committed(fact, offset).map_err(|why| format!("a client is told that it is written, and {why}"))
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::Acked;
    use super::super::tests::{logs, verdict};

    #[test]
    fn what_is_acknowledged_is_on_enough_disks() {
        let logs = logs(&[(&[(1, 1), (1, 2), (1, 3)], 3), (&[(1, 1), (1, 2)], 1)]);
        let verdicts = [0, 1, 2, 3].map(|offset| verdict(0, Acked { offset }, &logs));
        assert_eq!(verdicts, [None, Some("R13"), Some("R13"), Some("R13")]);
    }
}
