//! What was sent, what was acknowledged, what was read, and whether they agree.
//!
//! Every value is numbered in its partition, from 0 in the order of sending. A record whose fate the client does
//! not know may be there or not; one that was acknowledged is at the offset that was acknowledged.

use std::collections::BTreeMap;

/// A topic and a partition.
pub type Partition = (String, i32);

/// Offset and number of each record, in the order of reading.
pub type Log = Vec<(i64, u64)>;

/// How often an acknowledged record must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Idempotent producer: once, and in the order of sending without gaps.
    ExactlyOnce,
    /// No idempotence, one request in flight: at least once, and first occurrences in order.
    AtLeastOnce,
}

/// What the producers know.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Per partition and number: the acknowledged offset, or `None`.
    sent: BTreeMap<Partition, Vec<Option<i64>>>,
    failures: Vec<String>,
    acknowledged: usize,
}

impl Ledger {
    /// The number of the next record for `partition`, which is now sent.
    pub fn send(&mut self, partition: &Partition) -> u64 {
        let sent = self.sent.entry(partition.clone()).or_default();
        sent.push(None);
        u64::try_from(sent.len() - 1).unwrap_or(u64::MAX)
    }

    /// The record was acknowledged.
    pub fn acknowledge(&mut self, partition: &Partition, number: u64, offset: i64) {
        let sent = self.sent.get_mut(partition).and_then(|sent| sent.get_mut(usize::try_from(number).ok()?));
        if let Some(slot) = sent {
            *slot = Some(offset);
            self.acknowledged += 1;
        }
    }

    /// The client gave up on a record, which it never may here.
    pub fn fail(&mut self, text: String) {
        self.failures.push(text);
    }

    /// How many were acknowledged.
    pub const fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// How many were sent and neither acknowledged nor given up.
    pub fn in_doubt(&self) -> usize {
        let sent: usize = self.sent.values().map(Vec::len).sum();
        sent - self.acknowledged - self.failures.len()
    }

    /// The partitions that anything was sent to.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.sent.keys()
    }

    /// What is wrong with the logs as they were read at the end; `promise` says what a topic was promised.
    pub fn judge(&self, logs: &BTreeMap<Partition, Log>, promise: impl Fn(&str) -> Promise) -> Vec<String> {
        let mut wrong = self.failures.clone();
        let empty = Log::new();
        for (partition, sent) in &self.sent {
            let log = logs.get(partition).unwrap_or(&empty);
            let name = format!("{}-{}", partition.0, partition.1);
            let found = judge_one(sent, log, promise(&partition.0));
            wrong.extend(found.into_iter().map(|text| format!("{name}: {text}")));
        }
        wrong
    }
}

fn judge_one(sent: &[Option<i64>], log: &Log, promise: Promise) -> Vec<String> {
    let mut wrong = Vec::new();
    let by_offset: BTreeMap<i64, u64> = log.iter().copied().collect();
    if by_offset.len() != log.len() {
        wrong.push("an offset was read twice".to_owned());
    }
    for (number, offset) in (0_u64..).zip(sent) {
        let Some(offset) = offset else { continue };
        match by_offset.get(offset) {
            None => wrong.push(format!("record {number} was acknowledged at offset {offset}, where nothing is")),
            Some(read) if *read != number => {
                wrong.push(format!("record {number} was acknowledged at offset {offset}, where record {read} is"));
            }
            Some(_) => {}
        }
    }
    let mut next = 0;
    for (offset, number) in log {
        let is_known = usize::try_from(*number).is_ok_and(|number| number < sent.len());
        if !is_known {
            wrong.push(format!("record {number} at offset {offset} was never sent"));
        } else if *number == next {
            next += 1;
        } else if *number > next {
            wrong.push(format!("record {number} at offset {offset} stands before record {next}"));
            next = number + 1;
        } else if promise == Promise::ExactlyOnce {
            wrong.push(format!("record {number} is there again at offset {offset}"));
        }
    }
    wrong
}

/// What a reader that ran all the time saw, against the logs at the end: an offset has one value for ever.
pub fn contradictions(seen: &BTreeMap<Partition, BTreeMap<i64, u64>>, logs: &BTreeMap<Partition, Log>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (partition, records) in seen {
        let last: BTreeMap<i64, u64> = logs.get(partition).into_iter().flatten().copied().collect();
        for (offset, number) in records {
            if last.get(offset) != Some(number) {
                let now = last.get(offset).map_or("nothing".to_owned(), |now| format!("record {now}"));
                let (topic, index) = partition;
                wrong.push(format!(
                    "{topic}-{index}: offset {offset} was read as record {number}, and is {now} at the end"
                ));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three records to one partition, all acknowledged in order; gives what is wrong with `log`.
    fn judged(log: &[(i64, u64)], promise: Promise) -> Vec<String> {
        let partition = ("t".to_owned(), 0);
        let mut ledger = Ledger::default();
        for offset in 0..3 {
            let number = ledger.send(&partition);
            ledger.acknowledge(&partition, number, offset);
        }
        ledger.send(&partition); // in doubt
        assert_eq!((ledger.acknowledged(), ledger.in_doubt()), (3, 1));
        ledger.judge(&BTreeMap::from([(partition, log.to_vec())]), |_| promise)
    }

    #[test]
    fn all_once_in_order_is_right_whether_the_doubtful_one_is_there_or_not() {
        assert_eq!(judged(&[(0, 0), (1, 1), (2, 2)], Promise::ExactlyOnce), Vec::<String>::new());
        assert_eq!(judged(&[(0, 0), (1, 1), (2, 2), (3, 3)], Promise::ExactlyOnce), Vec::<String>::new());
    }

    #[test]
    fn loss_duplicates_order_and_strangers_are_found() {
        assert_eq!(judged(&[(0, 0), (1, 1)], Promise::ExactlyOnce).len(), 1);
        assert_eq!(judged(&[(0, 0), (1, 1), (2, 2), (3, 2)], Promise::ExactlyOnce).len(), 1);
        assert_eq!(judged(&[(0, 0), (1, 1), (2, 2), (3, 2)], Promise::AtLeastOnce).len(), 0);
        assert!(!judged(&[(0, 0), (1, 2), (2, 1)], Promise::AtLeastOnce).is_empty());
        assert!(judged(&[(0, 0), (1, 1), (2, 2), (3, 9)], Promise::ExactlyOnce)[0].contains("never sent"));
        assert!(judged(&[(0, 0), (0, 0), (1, 1), (2, 2)], Promise::AtLeastOnce)[0].contains("twice"));
    }

    #[test]
    fn an_offset_with_two_values_is_found() {
        let partition = ("t".to_owned(), 0);
        let logs = BTreeMap::from([(partition.clone(), vec![(0, 0), (1, 1)])]);
        let seen = |number| BTreeMap::from([(partition.clone(), BTreeMap::from([(1, number)]))]);
        assert_eq!(contradictions(&seen(1), &logs), Vec::<String>::new());
        assert_eq!(contradictions(&seen(7), &logs).len(), 1);
    }
}
