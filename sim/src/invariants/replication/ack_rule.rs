//! R13 AckRule: what acks=all acknowledges is durable on at least `min.insync.replicas` replicas. Source: Kafka's
//! replication protocol; the Jepsen analysis of Kafka 0.8; KIP-966.

use super::super::Verdict;
use super::{ReplicaFact, told};

pub(super) const CODE: &str = "R13";

pub(super) fn check(fact: &ReplicaFact<'_>, offset: i64) -> Verdict {
    told(fact, offset).map_err(|why| format!("a client is told that it is written, and {why}"))
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::Acked;
    use super::super::ReplicaEvent::{Decided, Read};
    use super::super::tests::{Judged, logs, partition, verdict};

    #[test]
    fn what_is_acknowledged_is_on_enough_disks() {
        let logs = logs(&[(&[(1, 1), (1, 2), (1, 3)], 3), (&[(1, 1), (1, 2)], 1)]);
        let verdicts = [0, 1, 2, 3].map(|offset| verdict(0, Acked { offset }, &logs));
        assert_eq!(verdicts, [None, Some("R13"), Some("R13"), Some("R13")]);
    }

    #[test]
    fn somebody_has_counted_what_clients_are_told() {
        let logs = logs(&[(&[(1, 1), (1, 2)], 2), (&[(1, 1), (1, 2)], 2)]);
        let mut judged = Judged::default();
        judged.highest = 1;
        let verdicts = [Acked { offset: 0 }, Acked { offset: 1 }, Read { offset: 1 }];
        assert_eq!(verdicts.map(|what| judged.verdict(0, what, &logs)), [None, Some("R13"), Some("R7")]);
    }

    #[test]
    fn a_disk_that_is_gone_had_only_what_came_before() {
        let logs = logs(&[(&[(1, 1), (1, 2)], 2)]);
        let mut judged = Judged::default();
        judged.gone.push(1);
        assert_eq!([0, 1].map(|offset| judged.verdict(0, Acked { offset }, &logs)), [None, Some("R13")]);
    }

    #[test]
    fn what_clients_are_told_is_committed_whoever_died_of_telling_it() {
        let mut logs = logs(&[(&[(1, 1), (1, 2)], 2), (&[(1, 1), (1, 2)], 2), (&[(1, 1)], 1)]);
        let mut judged = Judged::default();
        assert_eq!(judged.verdict(0, Acked { offset: 1 }, &logs), None);
        let elected = partition(1, &[0, 2], &[]);
        assert_eq!(judged.verdict(1, Decided { partition: &elected, in_service: &[0, 1, 2] }, &logs), Some("R2"));
        // Nor may one be elected that has nothing at all.
        logs[2] = crate::logs::Logs::default();
        let elected = partition(2, &[0, 2], &[]);
        assert_eq!(judged.verdict(1, Decided { partition: &elected, in_service: &[0, 1, 2] }, &logs), Some("R2"));
    }
}
