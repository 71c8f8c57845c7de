//! C1 LatestValue: of each key the last value that counts is there, whatever compaction took away. Source: the rule of
//! Kafka's log compaction; correctness condition of a changelog topic.
//!
//! The model is the log as it would be without compaction: what was read, and what was acknowledged and is promised,
//! each at its offset. Who reads everything in the end must come to the same last offset for each key.

use std::collections::BTreeMap;

use super::{Fact, Verdict};
use crate::history::{Outcome, PartitionIndex, ValueId};

pub(super) const CODE: &str = "C1";

/// Remembers of each key the greatest offset that was read, and the one that the last reader came to.
#[derive(Clone, Debug, Default)]
pub(super) struct LastOfKey {
    read: BTreeMap<(PartitionIndex, u64), (i64, ValueId)>,
    /// The last reader of each partition, who in the end reads everything.
    newest: BTreeMap<PartitionIndex, u16>,
    /// What the last reader that read a key came to.
    by_reader: BTreeMap<(PartitionIndex, u64), (u16, i64)>,
}

impl LastOfKey {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Polled { reader, partition, .. } | Fact::Sought { reader, partition, .. } = fact {
            let newest = self.newest.entry(*partition).or_insert(*reader);
            *newest = (*newest).max(*reader);
        }
        if let Fact::Polled { reader, partition, offset, value, write: Some(write) } = fact
            && let Some(key) = write.key
        {
            let place = (*partition, key);
            let known = self.read.entry(place).or_insert((*offset, *value));
            if *offset > known.0 {
                *known = (*offset, *value);
            }
            let last = self.by_reader.entry(place).or_insert((*reader, *offset));
            if last.0 < *reader || last.1 < *offset {
                *last = (*reader, *offset);
            }
        }
        let Fact::AllRead { history, starts } = fact else { return Ok(()) };
        for (value, write) in history.writes().filter(|(_, write)| write.promised) {
            if let (Outcome::Acked { offset }, Some(key)) = (write.outcome, write.key)
                && offset >= 0
            {
                let known = self.read.entry((write.partition, key)).or_insert((offset, value));
                if offset > known.0 {
                    *known = (offset, value);
                }
            }
        }
        for (&(partition, key), &(offset, value)) in &self.read {
            let newest = self.newest.get(&partition);
            let found = self.by_reader.get(&(partition, key)).filter(|(reader, _)| Some(reader) == newest);
            let found = found.map(|(_, offset)| *offset);
            let start = starts.get(partition).copied().unwrap_or(i64::MAX);
            if offset >= start && found.is_none_or(|found| found < offset) {
                let log = history.name(partition);
                let found = found.map_or_else(|| "nothing".to_owned(), |found| format!("what is at {found}"));
                return Err(format!(
                    "{log}: the last of key {key} is value {value} at {offset}, and is read as {found}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_write;
    use super::*;
    use crate::history::History;
    use ottla_core::types::TopicPartition;

    /// Values 1 and 2 of one key at offsets 3 and 7; what is read in the end, and from where the log begins.
    fn verdict(read: &[(i64, ValueId)], start: i64) -> Verdict {
        let mut history = History::default();
        history.partition(&TopicPartition::new("t", 0));
        for offset in [3, 7] {
            let mut write = test_write(Outcome::Acked { offset });
            write.key = Some(5);
            history.invoke(write);
        }
        let mut checker = LastOfKey::default();
        for (offset, value) in read {
            let write = history.write(*value);
            let fact = Fact::Polled { reader: 9, partition: 0, offset: *offset, value: *value, write };
            assert_eq!(checker.check(&fact), Ok(()));
        }
        checker.check(&Fact::AllRead { history: &history, starts: &[start] })
    }

    #[test]
    fn the_last_value_is_read_and_those_before_it_need_not() {
        assert_eq!(verdict(&[(3, 1), (7, 2)], 0), Ok(()));
        assert_eq!(verdict(&[(7, 2)], 0), Ok(()));
        assert!(verdict(&[(3, 1)], 0).is_err());
        assert!(verdict(&[], 0).is_err());
        assert_eq!(verdict(&[], 8), Ok(()));
    }
}
