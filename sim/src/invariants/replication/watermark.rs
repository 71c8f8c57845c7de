//! R8 Monotone: what a process counts as committed of its replica never falls, and ends within its log; nor does the
//! epoch that it leads in fall. Source: KAFKA-769, KAFKA-9491; KIP-207.

use super::super::Verdict;
use super::{ReplicaFact, Stands};

pub(super) const CODE: &str = "R8";

pub(super) fn check(at: usize, fact: &ReplicaFact<'_>, stands: &Stands) -> Verdict {
    let Stands { high_watermark, before, log_start, log_end, leads, led } = *stands;
    if before.is_some_and(|before| high_watermark < before) {
        let before = before.unwrap_or_default();
        return Err(format!("n{at} counts {} as committed below {high_watermark}, and did below {before}", fact.log));
    }
    if high_watermark > log_end {
        return Err(format!("n{at} counts {} as committed below {high_watermark}, and has it to {log_end}", fact.log));
    }
    if high_watermark < log_start {
        return Err(format!(
            "n{at} counts {} as committed below {high_watermark}, and has it from {log_start}",
            fact.log
        ));
    }
    if leads.zip(led).is_some_and(|(leads, led)| leads < led) {
        return Err(format!("n{at} leads {} in an earlier epoch than before", fact.log));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ReplicaEvent;
    use super::super::Stands;
    use super::super::tests::{Judged, logs, stands};

    #[test]
    fn a_watermark_rises_within_its_log() {
        let logs = logs(&[(&[(1, 1), (1, 2)], 2), (&[(1, 1), (1, 2)], 2)]);
        let sound = Stands { before: Some(1), log_end: 2, ..stands(2, None) };
        for (stands, expected) in [
            (sound, None),
            (Stands { high_watermark: 1, before: Some(2), ..sound }, Some("R8")),
            (Stands { log_end: 1, before: None, ..sound }, Some("R8")),
            (Stands { log_start: 2, ..sound }, None),
            (Stands { log_start: 3, log_end: 3, ..sound }, Some("R8")),
            (Stands { leads: Some(2), led: Some(2), ..sound }, None),
            (Stands { leads: Some(1), led: Some(2), ..sound }, Some("R8")),
        ] {
            assert_eq!(Judged::default().verdict(0, ReplicaEvent::Stands(stands), &logs), expected);
        }
    }
}
