//! One topic's records: those that wait for metadata, and the partitions' batches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::clock::Instant;

use super::super::metadata::TopicMetadata;
use super::super::partitioner::{self, Sticky};
use super::super::turn::Turn;
use super::super::{ClientError, ProduceRecord};
use super::Rules;
use super::batch::Batch;
use super::partition::Partition;

#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    /// Records whose partition is not known, as the topic is not.
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) partitions: BTreeMap<i32, Partition>,
    sticky: Sticky,
    /// The topic's id when records were last put into it; a new one is a new topic.
    id: ottla_wire::Uuid,
}

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) token: u64,
    pub(super) record: Box<ProduceRecord>,
    pub(super) timestamp_ms: i64,
    pub(super) number: u64,
    pub(super) since: Instant,
}

/// Where a record went.
pub(super) enum Placed {
    /// Into an open batch, which waits for more.
    Joined,
    /// Into a new batch, which waits for more.
    Began,
    /// Into a batch that is now full, or that began behind another.
    Filled,
    /// Nowhere.
    Refused(ClientError),
}

impl Topic {
    /// Puts a record into a batch of its partition. The metadata is known.
    pub(super) fn place(&mut self, name: &Arc<str>, waiting: &Waiting, rules: &Rules, turn: &mut Turn<'_>) -> Placed {
        let now = turn.at();
        let metadata = turn.metadata.topic(now, name);
        self.note_id(metadata);
        let record = &waiting.record;
        let size = record.buffered_size();
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) if !rules.ignore_keys => partitioner::by_key(key, metadata.count()),
            (None, _) => {
                let (led, count) = (|| metadata.led(), metadata.count());
                self.sticky.choose((&led, count), size, rules.batch_size, turn.rng)
            }
        };
        if !metadata.partitions.contains_key(&partition) {
            return Placed::Refused(ClientError::NoPartition(partition));
        }
        let queue = &mut self.partitions.entry(partition).or_default().queue;
        let joins = queue.back().is_some_and(|last| last.has_room(size, rules.batch_size));
        if !joins {
            queue.push_back(Batch::new(waiting.number, now, rules.compression));
        }
        let behind = queue.len() > 1;
        let last = queue.back_mut().expect("there is one by now");
        last.append(waiting.token, record, waiting.timestamp_ms);
        match (joins, last.is_full(rules.batch_size)) {
            (_, true) => Placed::Filled,
            // When it began, the batch before it was told that it waits no more: once is enough.
            (true, false) => Placed::Joined,
            (false, false) if behind => Placed::Filled,
            (false, false) => Placed::Began,
        }
    }

    /// A topic of the same name but another id knows nothing of our sequences.
    fn note_id(&mut self, metadata: &TopicMetadata) {
        if self.id != metadata.id && !self.id.is_zero() {
            self.partitions.values_mut().for_each(|it| it.end_lineage(super::partition::Reset::Epoch));
        }
        self.id = metadata.id;
    }
}
