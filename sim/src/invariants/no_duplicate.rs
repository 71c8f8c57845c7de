//! I1 NoDuplicate: of one producer id and epoch, a sequence number is appended once. Source: KIP-98.

use std::collections::BTreeMap;

use ottla_core::types::TopicPartition;

use super::{Fact, Verdict};
use crate::logs::BatchRef;

pub(super) const CODE: &str = "I1";

/// How many batches of a producer are remembered: more than any client has in flight.
const REMEMBERED: usize = 64;

/// Remembers the newest batches of each producer: (first sequence, first offset).
#[derive(Clone, Debug, Default)]
pub(super) struct NoDuplicate {
    seen: BTreeMap<(TopicPartition, i64, i16), Vec<(i32, i64)>>,
}

impl NoDuplicate {
    /// The log has moved to other nodes: who has it again here begins anew.
    pub(super) fn forget(&mut self, log: &TopicPartition) {
        self.seen.retain(|(known, ..), _| known != log);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a rule looks at what it is about")]
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Recovered { log, found } = fact {
            self.recover(log, found.batches);
        }
        if let Fact::Cut { log, end } = fact {
            for (_, seen) in self.seen.iter_mut().filter(|((of, ..), _)| of == *log) {
                seen.retain(|(_, offset)| offset < end);
            }
        }
        match fact {
            // It begins anew where its leader's log does, which never had what was written here before.
            Fact::Copied { log, skips: true, .. } => self.forget(log),
            // It is the leader's to judge, who may know less: what told of it was deleted before it began.
            Fact::Copied { log, producer, .. } => {
                if let Some(seen) = self.seen.get_mut(&((*log).clone(), producer.id.0, producer.epoch.0)) {
                    seen.retain(|(sequence, _)| *sequence != producer.base_sequence);
                }
            }
            _ => {}
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

    /// What a crash took may be sent again. It may have taken a batch and brought an older one back, which was never
    /// synced and lay in the same place. What lies before all batches is deleted, and still known.
    fn recover(&mut self, log: &TopicPartition, batches: &[BatchRef]) {
        for ((_, id, epoch), seen) in self.seen.iter_mut().filter(|((of, ..), _)| of == log) {
            seen.retain(|(sequence, offset)| match batches.binary_search_by_key(offset, |batch| batch.base) {
                Ok(place) => {
                    let producer = batches[place].producer;
                    (producer.id.0, producer.epoch.0, producer.base_sequence) == (*id, *epoch, *sequence)
                }
                Err(before) => before == 0 && !batches.is_empty(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{appended, log, recovered};
    use super::super::{Recovered, test_producer, test_ref};
    use super::*;
    use crate::logs::FollowedLog;

    #[test]
    fn a_sequence_is_appended_once() {
        let mut checker = NoDuplicate::default();
        assert_eq!(appended(0, 1, 5, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(1, 2, 5, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(2, 1, 6, |fact| checker.check(fact)), Ok(()));
        assert!(appended(3, 1, 5, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn a_leader_that_began_later_may_append_it_again() {
        let mut checker = NoDuplicate::default();
        let copied = |checker: &mut NoDuplicate, sequence, skips| {
            let copied = Fact::Copied { log: &log(), producer: test_producer(1, sequence), skips };
            assert_eq!(checker.check(&copied), Ok(()));
        };
        copied(&mut checker, 5, false);
        assert_eq!(appended(0, 1, 5, |fact| checker.check(fact)), Ok(()));
        copied(&mut checker, 6, false);
        assert_eq!(appended(1, 1, 6, |fact| checker.check(fact)), Ok(()));
        copied(&mut checker, 5, false);
        assert_eq!(appended(2, 1, 5, |fact| checker.check(fact)), Ok(()), "the leader did not know it");
        assert!(appended(3, 1, 5, |fact| checker.check(fact)).is_err(), "and who knows it leads");
        assert!(appended(3, 1, 6, |fact| checker.check(fact)).is_err());
        copied(&mut checker, 7, true);
        assert_eq!(appended(9, 1, 7, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(10, 1, 6, |fact| checker.check(fact)), Ok(()), "it began anew, and knows nothing before");
    }

    /// A start finds one batch of one record at `base`, of this producer.
    fn find(checker: &mut NoDuplicate, base: i64, producer: i64, sequence: i32) {
        let mut batch = test_ref(base, base, 1);
        batch.producer = test_producer(producer, sequence);
        let check = |found: Recovered<'_>| {
            let found = Recovered { batches: &[batch], ..found };
            checker.check(&Fact::Recovered { log: &log(), found })
        };
        assert_eq!(recovered(&[], check, &FollowedLog::default()), Ok(()));
    }

    #[test]
    fn what_a_crash_took_may_come_again() {
        let mut checker = NoDuplicate::default();
        assert_eq!(appended(0, 1, 5, |fact| checker.check(fact)), Ok(()));
        assert_eq!(appended(1, 2, 5, |fact| checker.check(fact)), Ok(()));
        find(&mut checker, 0, 1, 5);
        assert_eq!(appended(1, 2, 5, |fact| checker.check(fact)), Ok(()));
        assert!(appended(2, 1, 5, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn another_batch_in_its_place_may_be_what_a_crash_left() {
        let mut checker = NoDuplicate::default();
        assert_eq!(appended(0, 1, 5, |fact| checker.check(fact)), Ok(()));
        find(&mut checker, 0, 2, 9);
        assert_eq!(appended(1, 1, 5, |fact| checker.check(fact)), Ok(()));
    }

    #[test]
    fn what_is_deleted_is_known() {
        let mut checker = NoDuplicate::default();
        assert_eq!(appended(0, 1, 5, |fact| checker.check(fact)), Ok(()));
        find(&mut checker, 3, 2, 9);
        assert!(appended(4, 1, 5, |fact| checker.check(fact)).is_err());
    }
}
