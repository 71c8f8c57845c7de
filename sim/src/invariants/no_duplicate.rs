//! I1 NoDuplicate: of one producer id and epoch, a sequence number is appended once. Source: KIP-98.

use std::collections::BTreeMap;

use ottla_core::types::TopicPartition;

use super::{Fact, Verdict};

pub(super) const CODE: &str = "I1";

/// How many batches of a producer are remembered: more than any client has in flight.
const REMEMBERED: usize = 64;

/// Remembers the newest batches of each producer: (first sequence, first offset).
#[derive(Clone, Debug, Default)]
pub(super) struct NoDuplicate {
    seen: BTreeMap<(TopicPartition, i64, i16), Vec<(i32, i64)>>,
}

impl NoDuplicate {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Recovered { log, found } = fact {
            // What a crash took may be sent again.
            self.forget(log, found.batches.last().map_or(0, |batch| batch.last + 1));
        }
        if let Fact::Cut { log, end } = fact {
            self.forget(log, *end);
        }
        let Fact::Appended { log, batch, .. } = fact else { return Ok(()) };
        let producer = batch.producer;
        if producer.id.0 < 0 || producer.base_sequence < 0 {
            return Ok(());
        }
        let seen = self.seen.entry(((*log).clone(), producer.id.0, producer.epoch.0)).or_default();
        if let Some((sequence, offset)) = seen.iter().find(|(sequence, _)| *sequence == producer.base_sequence) {
            return Err(format!(
                "{log} appends sequence {sequence} of producer {} epoch {} at {}, and has it at {offset}",
                producer.id, producer.epoch, batch.base
            ));
        }
        if seen.len() == REMEMBERED {
            seen.remove(0);
        }
        seen.push((producer.base_sequence, batch.base));
        Ok(())
    }

    /// What lies at `end` or after it is not in the log any more.
    fn forget(&mut self, log: &TopicPartition, end: i64) {
        for (_, seen) in self.seen.iter_mut().filter(|((of, ..), _)| of == log) {
            seen.retain(|(_, offset)| *offset < end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{appended, followed, log, recovered};
    use super::*;

    #[test]
    fn a_sequence_is_appended_once() {
        let mut checker = NoDuplicate::default();
        assert_eq!(appended(0, 1, 5, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(1, 2, 5, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(2, 1, 6, |fact| checker.check(fact)), Ok(()));
        assert!(appended(3, 1, 5, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn what_a_crash_took_may_come_again() {
        let mut checker = NoDuplicate::default();
        assert_eq!(appended(0, 1, 5, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(1, 2, 5, |fact| checker.check(fact)), Ok(()));
        let followed = followed(&[(0, 1)], 0);
        let forget = recovered(&[(0, 1)], |found| checker.check(&Fact::Recovered { log: &log(), found }), &followed);
        assert_eq!(forget, Ok(()));
        assert_eq!(appended(1, 2, 5, |fact| checker.check(fact)), Ok(()));
    }
}
