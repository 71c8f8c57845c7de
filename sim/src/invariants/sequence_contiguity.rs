//! I2: the sequence numbers of one producer and epoch have no gaps, over the wrap at 2^31 too.
//! Source: KIP-98, KAFKA-7692. Where nothing is known of a producer, any first number is good (KIP-360).

use std::collections::BTreeMap;

use ottla_core::types::TopicPartition;

use super::{Fact, Verdict};

pub(super) const CODE: &str = "I2";

/// Remembers where each producer is: its last sequence, and at which offset.
#[derive(Clone, Debug, Default)]
pub(super) struct SequenceContiguity {
    last: BTreeMap<(TopicPartition, i64, i16), (i32, i64)>,
}

impl SequenceContiguity {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Recovered { log, .. } = fact {
            // A start may know less than the log held: what it knew of a producer may be gone with a crash.
            self.last.retain(|(of, ..), _| of != *log);
        }
        if let Fact::Cut { log, end } = fact {
            self.last.retain(|(of, ..), (_, offset)| of != *log || *offset < *end);
        }
        let Fact::Appended { log, batch, .. } = fact else { return Ok(()) };
        let producer = batch.producer;
        if producer.id.0 < 0 || producer.base_sequence < 0 {
            return Ok(());
        }
        let count = i32::try_from(batch.last - batch.base).unwrap_or(i32::MAX);
        let end = wrapping(producer.base_sequence, count);
        let key = ((*log).clone(), producer.id.0, producer.epoch.0);
        let before = self.last.insert(key, (end, batch.last));
        match before {
            Some((last, _)) if producer.base_sequence != wrapping(last, 1) => Err(format!(
                "{log} appends sequence {} of producer {} epoch {} after {last}",
                producer.base_sequence, producer.id, producer.epoch
            )),
            _ => Ok(()),
        }
    }
}

/// Sequence numbers wrap from 2^31 - 1 to 0.
fn wrapping(sequence: i32, by: i32) -> i32 {
    let sum = (i64::from(sequence) + i64::from(by)) % (i64::from(i32::MAX) + 1);
    i32::try_from(sum).expect("below 2^31")
}

#[cfg(test)]
mod tests {
    use super::super::tests::appended;
    use super::*;

    #[test]
    fn a_gap_is_a_violation_and_the_wrap_is_none() {
        let mut checker = SequenceContiguity::default();
        assert_eq!(appended(0, 1, i32::MAX, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(1, 1, 0, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(2, 1, 1, |fact| checker.check(fact)), Ok(()));
        assert!(appended(3, 1, 3, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn any_first_number_is_good() {
        let mut checker = SequenceContiguity::default();
        assert_eq!(appended(0, 1, 77, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(1, 2, 5, |fact| checker.check(fact)), Ok(()));
    }
}
