//! S7: segments have base offsets of their own, in order, and no offset 2^31 or more past its segment's.
//! Source: KAFKA-6264, KAFKA-6388; `LogSegments` of Kafka.

use std::collections::{BTreeMap, BTreeSet};

use ottla_core::types::TopicPartition;

use super::{Fact, Verdict};

pub(super) const CODE: &str = "S7";

/// Remembers the segments of each log that were appended to.
#[derive(Clone, Debug, Default)]
pub(super) struct SegmentOrder {
    segments: BTreeMap<TopicPartition, BTreeSet<i64>>,
}

impl SegmentOrder {
    /// The log has moved to other nodes: who has it again here begins anew.
    pub(super) fn forget(&mut self, log: &TopicPartition) {
        self.segments.remove(log);
    }

    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Booted = fact {
            // A start opens all segments again, in any order.
            self.segments.clear();
        } else if let Fact::Cut { log, end } = fact {
            // A cut takes the segments that begin at the end or above, and the one before is appended to again.
            if let Some(segments) = self.segments.get_mut(log) {
                segments.retain(|base| base < end);
            }
        } else if let Fact::Appended { log, batch, .. } = fact {
            if batch.base < batch.segment || batch.last - batch.segment > i64::from(i32::MAX) {
                return Err(format!("{log} appends {}..{} to segment {}", batch.base, batch.last, batch.segment));
            }
            let segments = self.segments.entry((*log).clone()).or_default();
            if let Some(newest) = segments.last().filter(|newest| batch.segment < **newest) {
                return Err(format!("{log} appends to segment {}, and has a newer one, {newest}", batch.segment));
            }
            segments.insert(batch.segment);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_ref;
    use super::super::tests::log;
    use super::*;

    fn append(checker: &mut SegmentOrder, base: i64, segment: i64) -> Verdict {
        let mut batch = test_ref(base, base, 1);
        batch.segment = segment;
        checker.check(&Fact::Appended { log: &log(), batch: &batch, end: base })
    }

    #[test]
    fn offsets_fit_their_segment() {
        let mut checker = SegmentOrder::default();
        assert_eq!(append(&mut checker, i64::from(i32::MAX), 0), Ok(()));
        assert!(append(&mut checker, i64::from(i32::MAX) + 1, 0).is_err());
        assert!(append(&mut checker, 5, 6).is_err());
    }

    #[test]
    fn only_the_newest_segment_is_appended_to() {
        let mut checker = SegmentOrder::default();
        assert_eq!(append(&mut checker, 10, 10), Ok(()));
        assert!(append(&mut checker, 11, 5).is_err());
    }

    #[test]
    fn a_cut_makes_the_segment_before_it_the_newest() {
        let mut checker = SegmentOrder::default();
        assert_eq!(append(&mut checker, 5, 5), Ok(()));
        assert_eq!(append(&mut checker, 10, 10), Ok(()));
        assert_eq!(checker.check(&Fact::Cut { log: &log(), end: 8 }), Ok(()));
        assert_eq!(append(&mut checker, 8, 5), Ok(()));
        assert_eq!(append(&mut checker, 12, 12), Ok(()));
        assert!(append(&mut checker, 13, 5).is_err());
    }
}
