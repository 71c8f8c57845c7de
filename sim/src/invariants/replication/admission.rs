//! R11 Admission: who is in sync, by the controller's word, is in service, and who leads is in sync. Source: KIP-841,
//! KIP-903; KAFKA-13173, KAFKA-14405. That they have what that takes is R2.

use ottla_core::controller::PartitionImage;

use super::super::Verdict;
use super::ReplicaFact;

pub(super) const CODE: &str = "R11";

pub(super) fn check(fact: &ReplicaFact<'_>, partition: &PartitionImage, in_service: &[i32]) -> Verdict {
    let (log, change) = (fact.log, partition.partition_epoch);
    if let Some(id) = partition.isr.iter().find(|id| !in_service.contains(&id.0)) {
        return Err(format!("{} is in sync as of change {change} of {log}, and is not in service", id.0));
    }
    match partition.leader.filter(|leader| !partition.isr.contains(leader)) {
        Some(leader) => Err(format!("{} leads as of change {change} of {log}, and is not in sync", leader.0)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::Decided;
    use super::super::tests::{Judged, logs, partition};

    #[test]
    fn who_is_in_sync_is_in_service() {
        let logs = logs(&[]);
        for (in_service, expected) in [(&[0, 1][..], None), (&[0, 2], Some("R11"))] {
            let image = partition(1, &[0, 1], &[]);
            let verdict = Judged::default().verdict(0, Decided { partition: &image, in_service }, &logs);
            assert_eq!(verdict, expected);
        }
        let mut image = partition(1, &[0], &[]);
        image.leader = Some(ottla_core::types::BrokerId(1));
        let verdict = Judged::default().verdict(0, Decided { partition: &image, in_service: &[0, 1] }, &logs);
        assert_eq!(verdict, Some("R11"));
    }
}
