//! R9 OffsetUniqueness: in one leader epoch an offset means one batch, and offsets grow without a gap.
//! Source: KAFKA-3047, KAFKA-9835; the log matching property of Raft.

use std::collections::BTreeMap;

use ottla_core::types::TopicPartition;

use super::{Fact, Verdict};

pub(super) const CODE: &str = "R9";

/// Remembers which content each batch had.
#[derive(Clone, Debug, Default)]
pub(super) struct OffsetUniqueness {
    content: BTreeMap<(TopicPartition, i32), Epoch>,
    /// The first offset that the present process appended to each log.
    own: BTreeMap<TopicPartition, i64>,
}

/// What was appended in one leader epoch.
#[derive(Clone, Debug, Default)]
struct Epoch {
    /// First offset to (last offset, CRC).
    batches: BTreeMap<i64, (i64, u32)>,
}

impl OffsetUniqueness {
    /// The log has moved to other nodes: who has it again here begins anew.
    pub(super) fn forget(&mut self, log: &TopicPartition) {
        self.content.retain(|(known, _), _| known != log);
        self.own.remove(log);
    }

    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Booted = fact {
            self.own.clear();
        }
        // Who cuts what it could not write may use the offsets again: nobody has seen it. What an earlier process
        // appended may have been seen, so it needs a new epoch.
        if let Fact::Cut { log, end } = fact
            && let Some(first) = self.own.get(*log)
        {
            for ((of, _), epoch) in &mut self.content {
                if of == *log {
                    epoch.batches.split_off(end.max(first));
                }
            }
        }
        // A start opens what is there; a new segment begins at the log's end.
        if let Fact::Rolled { log, segment, end } = fact
            && segment > end
            && *end != 0
        {
            return Err(format!("{log} begins segment {segment} and ends at {end}"));
        }
        let Fact::Appended { log, batch, end } = fact else { return Ok(()) };
        if batch.base != *end && *end != 0 {
            return Err(format!("{log} appends {} to a log that ends at {end}", batch.base));
        }
        if batch.last < batch.base {
            return Err(format!("{log} appends a batch from {} to {}", batch.base, batch.last));
        }
        let epoch = self.content.entry(((*log).clone(), batch.epoch)).or_default();
        let before = epoch.batches.range(..=batch.last).next_back();
        if let Some((base, (last, crc))) = before
            && *last >= batch.base
            && (*base, *last, *crc) != (batch.base, batch.last, batch.crc)
        {
            return Err(format!(
                "{log} appends {}..{} in epoch {}, in which it had other records at {base}..{last}",
                batch.base, batch.last, batch.epoch
            ));
        }
        epoch.batches.insert(batch.base, (batch.last, batch.crc));
        self.own.entry((*log).clone()).or_insert(batch.base);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_ref;
    use super::super::tests::log;
    use super::*;

    fn append(checker: &mut OffsetUniqueness, base: i64, crc: u32, epoch: i32, end: i64) -> Verdict {
        let mut batch = test_ref(base, base + 1, crc);
        batch.epoch = epoch;
        checker.check(&Fact::Appended { log: &log(), batch: &batch, end })
    }

    #[test]
    fn one_offset_has_one_content_in_an_epoch() {
        let mut checker = OffsetUniqueness::default();
        assert_eq!(append(&mut checker, 0, 1, 0, 0), Ok(()));
        assert_eq!(append(&mut checker, 2, 2, 0, 2), Ok(()));
        assert!(append(&mut checker, 2, 3, 0, 2).is_err());
        assert_eq!(append(&mut checker, 2, 3, 1, 2), Ok(()));
    }

    #[test]
    fn what_a_full_disk_refused_may_be_overwritten_but_not_what_a_crash_took() {
        for crashed in [false, true] {
            let mut checker = OffsetUniqueness::default();
            assert_eq!(append(&mut checker, 0, 1, 0, 0), Ok(()));
            if crashed {
                assert_eq!(checker.check(&Fact::Booted), Ok(()));
            }
            assert_eq!(checker.check(&Fact::Cut { log: &log(), end: 0 }), Ok(()));
            assert_eq!(append(&mut checker, 0, 2, 0, 0).is_err(), crashed);
        }
    }

    #[test]
    fn offsets_have_no_gaps() {
        let mut checker = OffsetUniqueness::default();
        assert!(append(&mut checker, 5, 1, 0, 4).is_err());
        assert!(append(&mut checker, 3, 1, 0, 4).is_err());
    }
}
