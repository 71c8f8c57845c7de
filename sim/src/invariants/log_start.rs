//! C6 LogStart: a log begins at or below its high watermark, and never earlier than it did in the same process. Source:
//! KIP-107; KAFKA-5634.
//!
//! Nothing is deleted that is not committed, for another leader might never have had it. A start that is not durable
//! yet is told, as Kafka tells one that is not in its checkpoint: a crash may take it back.

use std::collections::BTreeMap;

use ottla_core::types::TopicPartition;

use super::{Fact, Verdict};

pub(super) const CODE: &str = "C6";

/// Remembers where each log began in this process.
#[derive(Clone, Debug, Default)]
pub(super) struct LogStart {
    starts: BTreeMap<TopicPartition, i64>,
}

impl LogStart {
    /// The log has moved to other nodes: who has it again here begins anew.
    pub(super) fn forget(&mut self, log: &TopicPartition) {
        self.starts.remove(log);
    }

    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Booted = fact {
            self.starts.clear();
        }
        let Fact::Begins { log, start, high_watermark, may_begin } = *fact else { return Ok(()) };
        if start > may_begin {
            return Err(format!(
                "{log}: it begins at {start}, and nobody asked for more to be deleted than {may_begin}"
            ));
        }
        if start > high_watermark {
            return Err(format!("{log}: it begins at {start}, above its high watermark {high_watermark}"));
        }
        let before = self.starts.entry(log.clone()).or_insert(start);
        if start < *before {
            return Err(format!("{log}: it begins at {start}, and began at {before} before"));
        }
        *before = start;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_stays_below_what_is_committed_and_goes_forward() {
        let log = TopicPartition::new("t", 0);
        let mut checker = LogStart::default();
        let mut begins =
            |start, high_watermark| checker.check(&Fact::Begins { log: &log, start, high_watermark, may_begin: 7 });
        assert_eq!(begins(0, 0), Ok(()));
        assert_eq!(begins(5, 5), Ok(()));
        assert!(begins(4, 9).is_err());
        assert!(begins(10, 9).is_err());
        assert!(begins(8, 9).is_err(), "nobody asked for that");
        assert_eq!(checker.check(&Fact::Booted), Ok(()));
        assert_eq!(checker.check(&Fact::Begins { log: &log, start: 4, high_watermark: 9, may_begin: 4 }), Ok(()));
    }
}
