//! S8 LiveEqualsReplay: what the machine has derived from a log equals what the log says, rebuilt: its producers
//! and its leader epochs. Source: KAFKA-9892, KAFKA-12153, KAFKA-16541; the coordinator pattern's own claim.

use super::{Fact, Verdict};
use crate::logs::BatchRef;

pub(super) const CODE: &str = "S8";

/// One producer of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProducerRow {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The last sequence number that it used.
    pub last_sequence: i32,
    /// The last offset that it wrote.
    pub last_offset: i64,
    /// Of its last batch, in ms.
    pub timestamp: i64,
}

/// What a log has derived, and its batches.
#[derive(Clone, Copy, Debug)]
pub struct Derived<'a> {
    /// The producers that the machine knows.
    pub producers: &'a [ProducerRow],
    /// The leader epochs that the machine knows, with their first offsets.
    pub epochs: &'a [(i32, i64)],
    /// What the log holds.
    pub batches: &'a [BatchRef],
    /// What lies below is deleted.
    pub log_start: i64,
    /// Below it compaction may have taken records away.
    pub holes: i64,
    /// A producer whose last batch is as old as this may be forgotten: in ms.
    pub expired: i64,
}

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::Derived { log, derived } = fact else { return Ok(()) };
    producers(derived).and_then(|()| epochs(derived)).map_err(|what| format!("{log}: {what}"))
}

/// Every producer whose batches the log has is known as the log has it, unless it may be forgotten, and no other as one
/// of its producers. Of one whose batches are all deleted the log says nothing.
fn producers(derived: &Derived<'_>) -> Verdict {
    let rebuilt = rebuilt(derived.batches);
    let is_there = |known: &&ProducerRow| rebuilt.iter().any(|told| told.id == known.id);
    let kept = derived.log_start.max(derived.holes);
    if let Some(known) = derived.producers.iter().filter(|known| known.last_offset >= kept).find(|it| !is_there(it)) {
        return Err(format!("{known:?} is known, and the log has nothing of that producer"));
    }
    for told in rebuilt {
        match derived.producers.iter().find(|known| known.id == told.id) {
            Some(known) if !is_as_told(known, &told, derived.holes) => {
                return Err(format!("producer {} is known as {known:?}, and the log says {told:?}", told.id));
            }
            None if told.timestamp > derived.expired => {
                return Err(format!("producer {} is not known, and the log says {told:?}", told.id));
            }
            Some(_) | None => (),
        }
    }
    Ok(())
}

/// Of a batch that compaction left some records of, the greatest timestamp may have gone.
fn is_as_told(known: &ProducerRow, told: &ProducerRow, holes: i64) -> bool {
    let is_later = told.last_offset < holes && known.timestamp >= told.timestamp;
    let timestamp = if is_later { known.timestamp } else { told.timestamp };
    *known == ProducerRow { timestamp, ..*told }
}

/// The producers of these batches, each by its last.
fn rebuilt(batches: &[BatchRef]) -> Vec<ProducerRow> {
    let mut rows: Vec<ProducerRow> = Vec::new();
    for batch in batches.iter().rev().filter(|batch| batch.producer.id.0 >= 0 && !batch.control) {
        let producer = batch.producer;
        if rows.iter().any(|row| row.id == producer.id.0) {
            continue;
        }
        rows.push(ProducerRow {
            id: producer.id.0,
            epoch: producer.epoch.0,
            last_sequence: producer.sequence_at(i32::try_from(batch.last - batch.base).unwrap_or(i32::MAX)),
            last_offset: batch.last,
            timestamp: batch.max_timestamp,
        });
    }
    rows
}

/// Every batch lies in the epoch that it was appended in, and no epoch begins beyond the end.
fn epochs(derived: &Derived<'_>) -> Verdict {
    let end = derived.batches.last().map_or(derived.log_start, |last| last.last + 1);
    if let Some((epoch, start)) = derived.epochs.last().filter(|(_, start)| *start > end) {
        return Err(format!("leader epoch {epoch} begins at {start}, and the log ends at {end}"));
    }
    for batch in derived.batches.iter().filter(|batch| batch.base >= derived.log_start) {
        let after = derived.epochs.partition_point(|(_, start)| *start <= batch.base);
        let known = after.checked_sub(1).map(|index| derived.epochs[index].0);
        if known != Some(batch.epoch) {
            let known = known.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
            return Err(format!("offset {} has leader epoch {}, and the cache says {known}", batch.base, batch.epoch));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::log;
    use super::super::{test_producer, test_ref};
    use super::*;

    /// Producer 1 writes at 0 and 1, producer 2 at 2; the last batch begins epoch 3.
    fn batches() -> Vec<BatchRef> {
        let mut batches: Vec<BatchRef> = (0..3).map(|n| test_ref(n, n, 1)).collect();
        for (batch, (id, sequence)) in batches.iter_mut().zip([(1, i32::MAX), (1, 0), (2, 7)]) {
            batch.producer = test_producer(id, sequence);
        }
        batches[2].epoch = 3;
        batches
    }

    const ONE: ProducerRow = ProducerRow { id: 1, epoch: 0, last_sequence: 0, last_offset: 1, timestamp: 1 };
    const TWO: ProducerRow = ProducerRow { id: 2, epoch: 0, last_sequence: 7, last_offset: 2, timestamp: 2 };

    fn verdict(producers: &[ProducerRow], epochs: &[(i32, i64)], expired: i64) -> Verdict {
        let derived = Derived { producers, epochs, batches: &batches(), log_start: 1, holes: 0, expired };
        check(&Fact::Derived { log: &log(), derived })
    }

    #[test]
    fn producers_are_as_the_log_has_them() {
        let epochs = [(0, 0), (3, 2)];
        assert_eq!(verdict(&[ONE, TWO], &epochs, 0), Ok(()));
        let gone = ProducerRow { id: 9, last_offset: 0, ..TWO };
        assert_eq!(verdict(&[ONE, TWO, gone], &epochs, 0), Ok(()));
        assert!(verdict(&[ONE, TWO, ProducerRow { last_offset: 1, ..gone }], &epochs, 0).is_err());
        assert!(verdict(&[ONE, ProducerRow { last_sequence: 6, ..TWO }], &epochs, 0).is_err());
        assert!(verdict(&[ProducerRow { last_offset: 0, ..ONE }, TWO], &epochs, 0).is_err());
    }

    #[test]
    fn only_who_was_silent_for_long_is_forgotten() {
        let epochs = [(0, 0), (3, 2)];
        assert!(verdict(&[TWO], &epochs, 0).is_err());
        assert_eq!(verdict(&[TWO], &epochs, 1), Ok(()));
    }

    #[test]
    fn epochs_are_those_of_the_batches() {
        // What lies below the log start may have lost its epoch.
        assert_eq!(verdict(&[ONE, TWO], &[(0, 1), (3, 2)], 0), Ok(()));
        assert!(verdict(&[ONE, TWO], &[(3, 2)], 0).is_err());
        assert!(verdict(&[ONE, TWO], &[(0, 0)], 0).is_err());
        assert!(verdict(&[ONE, TWO], &[(0, 0), (3, 1)], 0).is_err());
        // The next may begin at the end, and none beyond it.
        assert_eq!(verdict(&[ONE, TWO], &[(0, 0), (3, 2), (4, 3)], 0), Ok(()));
        assert!(verdict(&[ONE, TWO], &[(0, 0), (3, 2), (4, 4)], 0).is_err());
    }
}
