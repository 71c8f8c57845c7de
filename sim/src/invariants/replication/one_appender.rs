//! R14 OneAppender: in each leader epoch of a partition one process appends by its own word. Source: KAFKA-10527,
//! KIP-380: a leader that lost the end of its log must not write other records in the same epoch.

use super::super::Verdict;
use super::{Known, ReplicaFact};

pub(super) const CODE: &str = "R14";

pub(super) fn check(at: usize, fact: &ReplicaFact<'_>, (epoch, boots): (i32, u64), known: &mut Known) -> Verdict {
    let first = *known.appenders.entry(epoch).or_insert((at, boots));
    if first == (at, boots) {
        return Ok(());
    }
    let (node, start) = first;
    Err(format!("n{at}, start {boots}, appends to {} in epoch {epoch}, and n{node}, start {start}, did", fact.log))
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent::Led;
    use super::super::tests::{Judged, logs};

    #[test]
    fn an_epoch_has_one_appender() {
        let logs = logs(&[]);
        for (at, epoch, boots, expected) in
            [(0, 1, 1, None), (0, 2, 2, None), (1, 1, 1, Some("R14")), (0, 1, 2, Some("R14"))]
        {
            let mut judged = Judged::default();
            assert_eq!(judged.verdict(0, Led { epoch: 1, boots: 1 }, &logs), None);
            assert_eq!(judged.verdict(at, Led { epoch, boots }, &logs), expected);
        }
    }
}
