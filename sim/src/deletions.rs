//! What may be deleted from the front of each log: only what somebody asked for. Where nothing expires by policy, no
//! log begins later than that.

use std::collections::BTreeMap;

use ottla_core::types::TopicPartition;

/// What was asked of DeleteRecords.
#[derive(Clone, Debug, Default)]
pub struct Deletions {
    logs: BTreeMap<TopicPartition, Asked>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// The greatest offset.
    upto: i64,
    /// How often all was asked for, wherever that ends, and nobody was told where.
    open: u32,
}

impl Deletions {
    /// Somebody asks that all before an offset be deleted; none: all that is committed.
    pub fn asked(&mut self, log: &TopicPartition, before: Option<i64>) {
        let known = self.logs.entry(log.clone()).or_default();
        match before {
            Some(before) => known.upto = before.max(known.upto),
            None => known.open += 1,
        }
    }

    /// Who asked for all is told where the log begins.
    pub fn told(&mut self, log: &TopicPartition, start: i64) {
        if let Some(known) = self.logs.get_mut(log) {
            known.open = known.open.saturating_sub(1);
            known.upto = start.max(known.upto);
        }
    }

    /// Where a log may begin at most.
    #[must_use]
    pub fn may_begin(&self, log: &TopicPartition) -> i64 {
        let known = self.logs.get(log).copied().unwrap_or_default();
        if known.open > 0 { i64::MAX } else { known.upto }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_may_begin_where_somebody_asked_for() {
        let (log, mut deletions) = (TopicPartition::new("t", 0), Deletions::default());
        assert_eq!(deletions.may_begin(&log), 0);
        deletions.asked(&log, Some(7));
        deletions.asked(&log, Some(3));
        assert_eq!(deletions.may_begin(&log), 7);
        deletions.asked(&log, None);
        assert_eq!(deletions.may_begin(&log), i64::MAX);
        deletions.told(&log, 9);
        assert_eq!(deletions.may_begin(&log), 9);
    }
}
