//! What clients did and saw: the history that is judged from outside, by the rules of the Jepsen Kafka
//! workload. Invocations and completions; a timeout is indefinite and stays so.
//!
//! Every value is unique: its first eight bytes are its number, counted from 1. A tombstone has it in a header.

use std::collections::{BTreeMap, BTreeSet};

use ottla_core::types::TopicPartition;

use crate::time::Nanos;

/// A written value's number.
pub type ValueId = u64;

/// The header that a tombstone's number is in.
pub const TOMBSTONE_NUMBER: &[u8] = b"number";

/// A partition's place in the history.
pub type PartitionIndex = usize;

/// How a write ended, as far as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No answer yet.
    Pending,
    /// Acknowledged at this offset. Without one if the client asked for no answer.
    Acked { offset: i64 },
    /// Refused, for certain: it must never appear.
    Refused,
    /// Nobody knows: it may appear once, at any time, or never.
    Unknown,
}

/// A time between two losses. What was acknowledged in it and is not durable is owed until it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Era(u64);

/// One value that a client wrote.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// Where to.
    pub partition: PartitionIndex,
    /// By whom.
    pub client: u16,
    /// -1, 0 or 1.
    pub acks: i16,
    /// Whether the broker must store it once at most.
    pub idempotent: bool,
    /// Whether its client promises its records of a partition in the order of their numbers.
    pub in_order: bool,
    /// When it was asked for.
    pub invoked: Nanos,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether its acknowledgement still promises anything: one of acks=1 does not survive a power loss.
    pub promised: bool,
    /// Whether anyone has read it.
    pub read: bool,
    /// Its record's key, where the topic is compacted: only the last of each need stay.
    pub key: Option<u64>,
    /// Whether it is a tombstone: in time, nothing of its key need be there.
    pub deletes: bool,
}

/// All writes, and which partitions there are.
#[derive(Clone, Debug, Default)]
pub struct History {
    partitions: Vec<TopicPartition>,
    writes: Vec<Write>,
    era: Era,
    /// What was read since everything is read once more.
    again: Option<BTreeSet<ValueId>>,
    /// Which partitions' logs are damaged.
    damaged: BTreeSet<PartitionIndex>,
    /// Below which offset of each partition compaction may have taken records away.
    holes: BTreeMap<PartitionIndex, i64>,
    /// Whether what was read may be lost: only what is written is committed, and something was lost.
    lossy: bool,
    /// Batches that were acknowledged.
    pub acked_batches: u64,
    /// Records that were read, each time counted.
    pub records_read: u64,
}

impl History {
    /// The place of a partition, given to it at its first mention.
    pub fn partition(&mut self, partition: &TopicPartition) -> PartitionIndex {
        if let Some(index) = self.partitions.iter().position(|known| known == partition) {
            return index;
        }
        self.partitions.push(partition.clone());
        self.partitions.len() - 1
    }

    /// Its name.
    #[must_use]
    pub fn name(&self, partition: PartitionIndex) -> &TopicPartition {
        &self.partitions[partition]
    }

    /// All partitions that were mentioned.
    #[must_use]
    pub fn partitions(&self) -> &[TopicPartition] {
        &self.partitions
    }

    /// The number of the next value.
    #[must_use]
    pub const fn next_value(&self) -> ValueId {
        self.writes.len() as ValueId + 1
    }

    /// A client asks for a write; answers the value's number.
    pub fn invoke(&mut self, write: Write) -> ValueId {
        self.writes.push(write);
        self.writes.len() as ValueId
    }

    /// The present time between two losses.
    #[must_use]
    pub const fn era(&self) -> Era {
        self.era
    }

    /// A write ended that promises nothing.
    pub fn complete(&mut self, value: ValueId, outcome: Outcome) {
        if let Some(write) = self.write_mut(value) {
            write.outcome = outcome;
        }
    }

    /// A write is acknowledged that was asked for in `asked`; answers whether that promises anything. An answer
    /// that was on its way when what it promised was lost promises it no more than one that came before.
    pub fn acknowledge(&mut self, value: ValueId, offset: i64, asked: Era, durable_acks: bool) -> bool {
        let is_old = asked != self.era;
        let Some(write) = self.write_mut(value) else { return false };
        write.outcome = Outcome::Acked { offset };
        write.promised = if is_old { durable_acks && write.acks == -1 } else { write.acks != 0 };
        write.promised
    }

    /// A write is acknowledged, and that promises nothing.
    pub fn withdraw(&mut self, value: ValueId) {
        if let Some(write) = self.write_mut(value) {
            write.promised = false;
        }
    }

    /// From now on everything is read once more: what was read before counts as read no longer.
    pub fn read_again(&mut self) {
        self.again = Some(BTreeSet::new());
    }

    /// Whether a value was read, by those who read everything in the end if they are others than before.
    #[must_use]
    pub fn is_read(&self, value: ValueId, write: &Write) -> bool {
        self.again.as_ref().map_or(write.read, |again| again.contains(&value))
    }

    /// Compaction may have taken records of a partition away, below an offset.
    pub fn compacted(&mut self, partition: PartitionIndex, below: i64) {
        let holes = self.holes.entry(partition).or_default();
        *holes = below.max(*holes);
    }

    /// Whether compaction may have taken away what lies at an offset.
    #[must_use]
    pub fn may_be_compacted(&self, partition: PartitionIndex, offset: i64) -> bool {
        self.holes.get(&partition).is_some_and(|below| offset < *below)
    }

    /// Whether what was read of a partition is there for good.
    #[must_use]
    pub fn keeps(&self, partition: PartitionIndex) -> bool {
        !self.lossy && !self.damaged.contains(&partition)
    }

    /// A value was read; `None` if nobody wrote it.
    pub fn read(&mut self, value: ValueId) -> Option<&Write> {
        self.records_read += 1;
        self.again.as_mut().map(|again| again.insert(value));
        let write = self.write_mut(value)?;
        write.read = true;
        Some(write)
    }

    /// The power went, or storage failed: what was acknowledged by acks=1 promises nothing any more; nothing
    /// does without `durable_acks` (`flush=async`).
    pub fn power_lost(&mut self, durable_acks: bool) {
        self.era.0 += 1;
        self.lossy |= !durable_acks;
        for write in self.writes.iter_mut().filter(|write| write.promised) {
            write.promised = durable_acks && write.acks == -1;
        }
    }

    /// Where a partition ends at least, by what was acknowledged and is still promised.
    #[must_use]
    pub fn owed(&self, partition: PartitionIndex) -> i64 {
        let promised = self.writes.iter().filter(|write| write.partition == partition && write.promised);
        let ends = promised.map(|write| match write.outcome {
            Outcome::Acked { offset } => offset + 1,
            Outcome::Pending | Outcome::Refused | Outcome::Unknown => 0,
        });
        ends.max().unwrap_or(0)
    }

    /// A partition's log is damaged: what was acknowledged by acks=1 promises nothing any more.
    pub fn damaged(&mut self, partition: &TopicPartition) {
        let Some(index) = self.partitions.iter().position(|known| known == partition) else { return };
        self.damaged.insert(index);
        for write in self.writes.iter_mut().filter(|write| write.partition == index && write.acks != -1) {
            write.promised = false;
        }
    }

    /// One write.
    #[must_use]
    pub fn write(&self, value: ValueId) -> Option<&Write> {
        self.writes.get(usize::try_from(value.checked_sub(1)?).ok()?)
    }

    /// All writes in order, with their numbers.
    pub fn writes(&self) -> impl Iterator<Item = (ValueId, &Write)> {
        (1..).zip(&self.writes)
    }

    fn write_mut(&mut self, value: ValueId) -> Option<&mut Write> {
        self.writes.get_mut(usize::try_from(value.checked_sub(1)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(acks: i16) -> Write {
        Write {
            partition: 0,
            client: 0,
            acks,
            idempotent: true,
            in_order: true,
            invoked: 0,
            outcome: Outcome::Pending,
            promised: false,
            read: false,
            key: None,
            deletes: false,
        }
    }

    #[test]
    fn an_acknowledgement_promises_what_its_acks_say() {
        let mut history = History::default();
        let values = [-1, 1, 0].map(|acks| history.invoke(write(acks)));
        let before = history.era();
        let acknowledge =
            |history: &mut History, durable| values.map(|value| history.acknowledge(value, 0, before, durable));
        assert_eq!(acknowledge(&mut history, true), [true, true, false]);
        let promised = |history: &History| values.map(|value| history.write(value).expect("written").promised);
        history.power_lost(true);
        assert_eq!(promised(&history), [true, false, false]);
        // The same answers, had they come too late.
        assert_eq!(acknowledge(&mut history, true), [true, false, false]);
        history.power_lost(false);
        assert_eq!(promised(&history), [false; 3]);
        assert_eq!(acknowledge(&mut history, false), [false; 3]);
    }

    #[test]
    fn values_that_nobody_wrote_are_told() {
        let mut history = History::default();
        assert!(history.read(0).is_none() && history.read(1).is_none());
        let value = history.invoke(write(1));
        assert_eq!((value, history.next_value()), (1, 2));
        assert!(history.read(value).is_some_and(|write| write.read));
    }
}
