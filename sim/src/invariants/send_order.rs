//! nonmonotonic-send: records of one client and partition lie in another order than it sent them, though it
//! promises that order. Source: the Jepsen Kafka workload; KAFKA-5494.

use std::collections::BTreeMap;

use super::{Fact, Verdict};
use crate::history::{PartitionIndex, ValueId};

pub(super) const CODE: &str = "nonmonotonic-send";

/// Remembers what each reader saw last of each client.
#[derive(Clone, Debug, Default)]
pub(super) struct SendOrder {
    last: BTreeMap<(u16, PartitionIndex, u16), ValueId>,
}

impl SendOrder {
    pub(super) fn check(&mut self, fact: &Fact<'_>) -> Verdict {
        if let Fact::Sought { reader, partition, .. } = fact {
            self.last.retain(|(of, at, _), _| (of, at) != (reader, partition));
        }
        let Fact::Polled { reader, partition, offset, value, write: Some(write) } = fact else { return Ok(()) };
        if !write.in_order {
            return Ok(());
        }
        match self.last.insert((*reader, *partition, write.client), *value) {
            // The same again is the duplicates' matter.
            Some(before) if before > *value => {
                let client = write.client;
                Err(format!("client {client} sent value {value} before {before}, which lies before {offset}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::polled;
    use super::*;

    #[test]
    fn records_lie_in_the_order_in_which_they_were_sent() {
        let mut checker = SendOrder::default();
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(0, 6, 4, |fact| checker.check(fact)), Ok(()));
        assert_eq!(polled(1, 7, 2, |fact| checker.check(fact)), Ok(()));
        assert!(polled(0, 7, 2, |fact| checker.check(fact)).is_err());
        assert_eq!(checker.check(&Fact::Sought { reader: 0, partition: 0, to: Some(5) }), Ok(()));
        assert_eq!(polled(0, 5, 1, |fact| checker.check(fact)), Ok(()));
    }
}
