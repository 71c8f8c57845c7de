//! C1 LatestValue: of each key the last value that counts is there, whatever compaction took away. Source: the rule of
//! Kafka's log compaction; correctness condition of a changelog topic.
//!
//! The model is the log as it would be without compaction: what was read, and what was acknowledged and is promised,
//! each at its offset. Who reads everything in the end must come to the same last offset for each key, and so must who
//! looks at the disk, then and after each start. Where the last is a tombstone, or where one may be of which nobody was
//! told, nothing need be there after `delete.retention.ms`, but never what was before.

use std::collections::BTreeMap;

use super::{Fact, Verdict};
use crate::history::{History, Outcome, PartitionIndex, ValueId};
use crate::stored::Kept;

pub(super) const CODE: &str = "C1";

/// Of each key the greatest offset, and what is there.
type LastOf = BTreeMap<(PartitionIndex, u64), (i64, ValueId)>;

/// Remembers of each key the greatest offset that was read, and the one that the last reader came to.
#[derive(Clone, Debug, Default)]
pub(super) struct LastOfKey {
    read: LastOf,
    /// The last reader of each partition, who in the end reads everything.
    newest: BTreeMap<PartitionIndex, u16>,
    /// What the last reader that read a key came to.
    by_reader: BTreeMap<(PartitionIndex, u64), (u16, i64)>,
}

impl LastOfKey {
    #[expect(clippy::wildcard_enum_match_arm, reason = "a rule looks at what it is about")]
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        match *fact {
            Fact::AllRead { history, starts } => return self.check_readers(history, starts),
            Fact::Kept { partition, start, kept, tombstones_stay, history } => {
                return self.check_kept((partition, start), kept, tombstones_stay, history);
            }
            Fact::Polled { reader, partition, .. } | Fact::Sought { reader, partition, .. } => {
                let newest = self.newest.entry(partition).or_insert(reader);
                *newest = (*newest).max(reader);
            }
            _ => {}
        }
        if let Fact::Polled { reader, partition, offset, value, write } = *fact
            && let Some(key) = write.and_then(|write| write.key)
        {
            self.note(reader, (partition, key), (offset, value));
        }
        Ok(())
    }

    fn note(&mut self, reader: u16, place: (PartitionIndex, u64), (offset, value): (i64, ValueId)) {
        raise(&mut self.read, place, (offset, value));
        let last = self.by_reader.entry(place).or_insert((reader, offset));
        if last.0 < reader || last.1 < offset {
            *last = (reader, offset);
        }
    }

    /// What the last readers came to. One may be overtaken by the deletion of a tombstone: that is judged at rest.
    fn check_readers(&mut self, history: &History, starts: &[i64]) -> Verdict {
        for (place, last) in promised(history) {
            raise(&mut self.read, place, last);
        }
        for (&(partition, key), &(offset, value)) in &self.read {
            let newest = self.newest.get(&partition);
            let found = self.by_reader.get(&(partition, key)).filter(|(reader, _)| Some(reader) == newest);
            let found = found.map(|(_, offset)| *offset);
            let start = starts.get(partition).copied().unwrap_or(i64::MAX);
            let is_right = found.is_some_and(|found| found >= offset) || deletes(history, value);
            if offset >= start && !is_right && !may_be_deleted(history, (partition, key), offset) {
                return Err(other(history, partition, key, (offset, value), found));
            }
        }
        Ok(())
    }

    /// What lies there after a start, or in the end, by the model that was read and acknowledged until then.
    fn check_kept(
        &self,
        (partition, start): (PartitionIndex, i64),
        kept: &Kept,
        tombstones_stay: bool,
        history: &History,
    ) -> Verdict {
        let read = self.read.range((partition, 0)..=(partition, u64::MAX));
        let mut model: LastOf = read.map(|(place, last)| (*place, *last)).collect();
        // What is promised now, a power loss may have to be forgiven for later.
        for (place, last) in promised(history).filter(|((of, _), _)| *of == partition) {
            raise(&mut model, place, last);
        }
        for ((_, key), (offset, value)) in model {
            let found = kept.get(&key).copied();
            let may_be_gone =
                || !tombstones_stay && (deletes(history, value) || may_be_deleted(history, (partition, key), offset));
            if offset >= start && !found.map_or_else(may_be_gone, |found| found >= offset) {
                return Err(other(history, partition, key, (offset, value), found));
            }
        }
        Ok(())
    }
}

/// Raises the last value of a key.
fn raise(model: &mut LastOf, place: (PartitionIndex, u64), last: (i64, ValueId)) {
    let known = model.entry(place).or_insert(last);
    if last.0 > known.0 {
        *known = last;
    }
}

/// What was acknowledged and is promised still, with a key.
fn promised(history: &History) -> impl Iterator<Item = ((PartitionIndex, u64), (i64, ValueId))> + '_ {
    history.writes().filter(|(_, write)| write.promised).filter_map(|(value, write)| match (write.outcome, write.key) {
        (Outcome::Acked { offset }, Some(key)) if offset >= 0 => Some(((write.partition, key), (offset, value))),
        _ => None,
    })
}

fn deletes(history: &History, value: ValueId) -> bool {
    history.write(value).is_some_and(|write| write.deletes)
}

/// Whether a tombstone may lie above that offset that nobody was told of: it is there, or it was, or it never came.
fn may_be_deleted(history: &History, (partition, key): (PartitionIndex, u64), offset: i64) -> bool {
    let tombstones = history.writes().map(|(_, write)| write).filter(|write| write.deletes);
    let mut of_key = tombstones.filter(|write| write.partition == partition && write.key == Some(key));
    of_key.any(|write| match write.outcome {
        Outcome::Acked { offset: at } => at < 0 || at > offset,
        Outcome::Pending | Outcome::Unknown => true,
        Outcome::Refused => false,
    })
}

fn other(
    history: &History,
    partition: PartitionIndex,
    key: u64,
    (offset, value): (i64, ValueId),
    found: Option<i64>,
) -> String {
    let log = history.name(partition);
    let what = if deletes(history, value) { "a tombstone" } else { "a value" };
    let found = found.map_or_else(|| "nothing".to_owned(), |found| format!("what is at {found}"));
    format!("{log}: the last of key {key} is {what}, {value} at {offset}, and is found as {found}")
}

#[cfg(test)]
mod tests {
    use super::super::test_write;
    use super::*;
    use crate::history::Write;
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

    #[test]
    fn a_deleted_key_does_not_return() {
        let mut history = History::default();
        history.partition(&TopicPartition::new("t", 0));
        for (offset, deletes) in [(3, false), (7, true)] {
            history.invoke(Write { key: Some(5), deletes, ..test_write(Outcome::Acked { offset }) });
        }
        let mut checker = LastOfKey::default();
        assert_eq!(checker.check(&Fact::AllRead { history: &history, starts: &[0] }), Ok(()));
        let mut at_rest = |kept: &[i64], start, tombstones_stay| {
            let kept = kept.iter().map(|offset| (5, *offset)).collect();
            checker.check(&Fact::Kept { partition: 0, start, kept: &kept, tombstones_stay, history: &history })
        };
        for tombstones_stay in [true, false] {
            assert_eq!(at_rest(&[7], 0, tombstones_stay), Ok(()));
            assert!(at_rest(&[3], 0, tombstones_stay).is_err());
            assert_eq!(at_rest(&[3], 8, tombstones_stay), Ok(()));
        }
        assert_eq!(at_rest(&[], 0, false), Ok(()));
        assert!(at_rest(&[], 0, true).is_err(), "it had a week to stay");
    }

    /// It was written, nobody heard of it, and it is gone with what it deletes.
    #[test]
    fn a_tombstone_may_be_there_that_nobody_was_told_of() {
        for (outcome, may) in [(Outcome::Unknown, true), (Outcome::Pending, true), (Outcome::Refused, false)] {
            let mut history = History::default();
            history.partition(&TopicPartition::new("t", 0));
            history.invoke(Write { key: Some(5), ..test_write(Outcome::Acked { offset: 3 }) });
            history.invoke(Write { key: Some(5), deletes: true, ..test_write(outcome) });
            history.invoke(Write { key: Some(6), ..test_write(Outcome::Acked { offset: 9 }) });
            let mut checker = LastOfKey::default();
            let mut at_rest = |kept: &[(u64, i64)], tombstones_stay| {
                let kept = kept.iter().copied().collect();
                checker.check(&Fact::Kept { partition: 0, start: 0, kept: &kept, tombstones_stay, history: &history })
            };
            assert_eq!(at_rest(&[(6, 9)], false).is_ok(), may, "{outcome:?}");
            assert!(at_rest(&[(6, 9)], true).is_err(), "{outcome:?}: it had a week to stay");
            assert!(at_rest(&[(5, 2), (6, 9)], false).is_err(), "{outcome:?}: what was before is back");
            assert!(at_rest(&[(5, 3)], false).is_err(), "{outcome:?}: of another key");
        }
    }

    #[test]
    fn what_is_promised_is_there_after_a_start() {
        let mut history = History::default();
        history.partition(&TopicPartition::new("t", 0));
        for (offset, promised) in [(3, true), (7, false)] {
            history.invoke(Write { key: Some(5), promised, ..test_write(Outcome::Acked { offset }) });
        }
        let mut checker = LastOfKey::default();
        for (kept, good) in [(None, false), (Some(3), true), (Some(7), true), (Some(2), false)] {
            let kept = kept.map(|offset| (5, offset)).into_iter().collect();
            let fact = Fact::Kept { partition: 0, start: 0, kept: &kept, tombstones_stay: true, history: &history };
            assert_eq!(checker.check(&fact).is_ok(), good, "{kept:?}");
        }
    }
}
