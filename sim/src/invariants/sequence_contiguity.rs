//! I2: the sequence numbers of one producer and epoch have no gaps, over the wrap at 2^31 too, and a batch that
//! follows the last one is not refused as out of sequence, nor is one of the last five, sent again.
//! Source: KIP-98, KAFKA-7692, KAFKA-5494. Where nothing is known of a producer, any first number is good (KIP-360).

use std::collections::{BTreeMap, VecDeque};

use ottla_core::record::Producer;
use ottla_core::types::TopicPartition;

use super::{Fact, Verdict};
use crate::logs::BatchRef;

pub(super) const CODE: &str = "I2";

/// How many batches of a producer a broker remembers at least.
const REMEMBERED: usize = 5;

/// Remembers the last batches of each producer since the last start.
#[derive(Clone, Debug, Default)]
pub(super) struct SequenceContiguity {
    last: BTreeMap<(TopicPartition, i64, i16), VecDeque<Appended>>,
    /// Where each log ends.
    ends: BTreeMap<TopicPartition, i64>,
}

/// A batch: its sequence numbers, and where it ends.
#[derive(Clone, Copy, Debug)]
struct Appended {
    first: i32,
    last: i32,
    offset: i64,
}

impl SequenceContiguity {
    /// The log has moved to other nodes: who has it again here begins anew.
    pub(super) fn forget(&mut self, log: &TopicPartition) {
        self.last.retain(|(known, ..), _| known != log);
        self.ends.remove(log);
    }

    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Appended { log, batch, .. } = fact {
            return self.append(log, batch);
        }
        if let Fact::Copied { log, producer, .. } = fact {
            // It is the leader's to judge, who may know less: what told of the producer was deleted before it began.
            self.last.remove(&((*log).clone(), producer.id.0, producer.epoch.0));
        }
        if let Fact::OutOfSequence { log, producer } = fact {
            return self.refuse(log, *producer);
        }
        if let Fact::Recovered { log, .. } = fact {
            // A start may know less than the log held: what it knew of a producer may be gone with a crash.
            self.forget(log);
        } else if let Fact::Cut { log, end } = fact {
            self.ends.insert((*log).clone(), *end);
            for (_, batches) in self.last.iter_mut().filter(|((of, ..), _)| of == *log) {
                batches.retain(|batch| batch.offset < *end);
            }
        }
        Ok(())
    }

    fn append(&mut self, log: &TopicPartition, batch: &BatchRef) -> Verdict {
        // A follower begins anew where its leader's log does, or leaves out what that has compacted.
        if self.ends.insert(log.clone(), batch.last + 1).is_some_and(|end| batch.base != end) {
            self.last.retain(|(of, ..), _| of != log);
        }
        let producer = batch.producer;
        if producer.id.0 < 0 || producer.base_sequence < 0 {
            return Ok(());
        }
        let first = producer.base_sequence;
        let count = i32::try_from(batch.last - batch.base).unwrap_or(i32::MAX);
        let batches = self.last.entry((log.clone(), producer.id.0, producer.epoch.0)).or_default();
        let before = batches.back().map(|batch| batch.last);
        if batches.len() == REMEMBERED {
            batches.pop_front();
        }
        batches.push_back(Appended { first, last: wrapping(first, count), offset: batch.last });
        match before {
            Some(last) if first != wrapping(last, 1) => Err(format!(
                "{log} appends sequence {first} of producer {} epoch {} after {last}",
                producer.id, producer.epoch
            )),
            _ => Ok(()),
        }
    }

    fn refuse(&self, log: &TopicPartition, producer: Producer) -> Verdict {
        let key = (log.clone(), producer.id.0, producer.epoch.0);
        let (Some(batches), first) = (self.last.get(&key), producer.base_sequence) else { return Ok(()) };
        let Some(last) = batches.back().map(|batch| batch.last) else { return Ok(()) };
        if first == wrapping(last, 1) || batches.iter().any(|batch| batch.first == first) {
            return Err(format!(
                "{log} refuses sequence {first} of producer {} epoch {} as out of order, and has it up to {last}",
                producer.id, producer.epoch
            ));
        }
        Ok(())
    }
}

/// Sequence numbers wrap from 2^31 - 1 to 0.
fn wrapping(sequence: i32, by: i32) -> i32 {
    let sum = (i64::from(sequence) + i64::from(by)) % (i64::from(i32::MAX) + 1);
    i32::try_from(sum).expect("below 2^31")
}

#[cfg(test)]
mod tests {
    use super::super::test_producer;
    use super::super::tests::{appended, log};
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
    fn a_log_that_begins_anew_knows_nobody() {
        let mut checker = SequenceContiguity::default();
        assert_eq!(appended(0, 1, 0, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(9, 1, 9, |fact| checker.check(fact)), Ok(()));
        assert!(appended(10, 1, 12, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn what_is_copied_the_leader_has_judged() {
        let mut checker = SequenceContiguity::default();
        assert_eq!(appended(0, 1, 0, |fact| checker.check(fact)), Ok(()));
        let producer = test_producer(1, 5);
        assert_eq!(checker.check(&Fact::Copied { log: &log(), producer, skips: false }), Ok(()));
        assert_eq!(appended(1, 1, 5, |fact| checker.check(fact)), Ok(()));
        assert!(appended(2, 1, 7, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn any_first_number_is_good() {
        let mut checker = SequenceContiguity::default();
        assert_eq!(appended(0, 1, 77, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(1, 2, 5, |fact| checker.check(fact)), Ok(()));
    }
    #[test]
    fn what_follows_and_what_is_remembered_is_not_refused() {
        let mut checker = SequenceContiguity::default();
        for n in 0..6 {
            assert_eq!(
                appended(n, 1, i32::MAX - 5 + i32::try_from(n).expect("small"), |fact| checker.check(fact)),
                Ok(())
            );
        }
        let mut refused =
            |sequence| checker.check(&Fact::OutOfSequence { log: &log(), producer: test_producer(1, sequence) });
        assert!(refused(0).is_err());
        assert!(refused(i32::MAX - 4).is_err());
        assert_eq!(refused(i32::MAX - 5), Ok(()));
        assert_eq!(refused(2), Ok(()));
    }
}
