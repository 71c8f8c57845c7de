//! R6 ReadStability: what was read once is read again at that offset, by everybody, unless it was deleted.
//! Source: correctness condition of Kafka's consumers; KIP-320. In the end all of it is read once more.

use std::collections::BTreeMap;

use super::by_offset::ByOffset;
use super::by_reader::ByReader;
use super::{Fact, Verdict};
use crate::history::{History, PartitionIndex};

pub(super) const CODE: &str = "R6";

/// Remembers what was read where, and where each reader is.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadStability {
    read: ByOffset,
    at: ByReader,
    /// What is passed over below may have gone: of each key the last stays ([`super::last_of_key`]).
    compacted: BTreeMap<PartitionIndex, i64>,
}

impl ReadStability {
    /// Below it a partition may have holes.
    fn holes(&self, partition: PartitionIndex) -> i64 {
        self.compacted.get(&partition).copied().unwrap_or(0)
    }

    /// What was read is read in the end, too, of each partition that is.
    fn check_all(&self, history: &History, starts: &[i64]) -> Verdict {
        for partition in (0..history.partitions().len()).filter(|partition| history.keeps(*partition)) {
            let mut from = starts.get(partition).copied().unwrap_or(i64::MAX).max(self.holes(partition));
            while let Some((offset, value)) = self.read.first_in(partition, from, i64::MAX) {
                if history.write(value).is_some_and(|write| !history.is_read(value, write)) {
                    let log = history.name(partition);
                    return Err(format!(
                        "{log}: {offset} was read as value {value}, and nobody can read it in the end"
                    ));
                }
                from = offset + 1;
            }
        }
        Ok(())
    }

    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::AllRead { history, starts } = fact {
            return self.check_all(history, starts);
        }
        if let Fact::Compacted { partition, below } = fact {
            let holes = self.compacted.entry(*partition).or_default();
            *holes = *below.max(holes);
        }
        let before = self.at.follow(fact);
        let Fact::Polled { partition, offset, value, .. } = fact else { return Ok(()) };
        // Between what a reader has passed and what it gets next, nobody may have read a third record.
        if let Some(before) = before
            && let Some((lost, known)) =
                self.read.first_in(*partition, before.saturating_add(1).max(self.holes(*partition)), *offset)
        {
            return Err(format!("partition {partition}: {lost} was read as value {known}, and is now passed over"));
        }
        match self.read.insert(*partition, *offset, *value) {
            Some(known) if known != *value => {
                Err(format!("partition {partition}: {offset} was read as value {known}, and is now {value}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_write;
    use super::super::tests::{log, polled};
    use super::*;
    use crate::history::Outcome;

    #[test]
    fn what_was_read_is_read_in_the_end() {
        let mut history = History::default();
        history.partition(&log());
        let values = [0, 1].map(|_| history.invoke(test_write(Outcome::Unknown)));
        let mut checker = ReadStability::default();
        for (value, offset) in values.into_iter().zip(0..) {
            history.read(value);
            assert_eq!(polled(0, offset, value, |fact| checker.check(fact)), Ok(()));
        }
        history.read_again();
        history.read(values[0]);
        let verdict = |history: &History, checker: &mut ReadStability, start| {
            checker.check(&Fact::AllRead { history, starts: &[start] }).is_ok()
        };
        // The second is gone: unless it was deleted, or could not be asked for, that is a loss.
        let verdicts = [0, 1, 2, i64::MAX].map(|start| verdict(&history, &mut checker, start));
        assert_eq!(verdicts, [false, false, true, true]);
        assert_eq!(checker.check(&Fact::Compacted { partition: 0, below: 2 }), Ok(()));
        assert!(verdict(&history, &mut checker, 0), "the cleaner may have it");
    }

    #[test]
    fn an_offset_keeps_its_value() {
        let mut checker = ReadStability::default();
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(1, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert!(polled(2, 5, 2, |fact| checker.check(fact)).is_err());
    }

    #[test]
    fn what_was_read_is_not_passed_over() {
        let mut checker = ReadStability::default();
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(1, 4, 9, |fact| checker.check(fact)), Ok(()));
        assert!(polled(1, 6, 2, |fact| checker.check(fact)).is_err());
        let mut checker = ReadStability::default();
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(1, 4, 9, |fact| checker.check(fact)), Ok(()));
        assert_eq!(checker.check(&Fact::Sought { reader: 1, partition: 0, to: None }), Ok(()));
        assert_eq!(polled(1, 6, 2, |fact| checker.check(fact)), Ok(()));
    }
}
