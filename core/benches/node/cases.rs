//! What both benchmarks measure: each case makes what it needs, and says what is done with it over and over.

use bytes::Bytes;
use ottla_core::ingress::ingress;
use ottla_core::log::offset_index::OffsetIndex;
use ottla_core::log::time_index::TimeIndex;
use ottla_core::types::Offset;
use ottla_wire::api::metadata::{MetadataResponse, MetadataResponsePartition, MetadataResponseTopic};
use ottla_wire::frame::encode_response;
use ottla_wire::{ApiKey, Writer};

use crate::node::{Node, batch, fetch, produce};

/// A broker in its steady state, and the request that it is asked.
pub struct Asked {
    node: Node,
    frame: Bytes,
}

impl Asked {
    /// Produces of one batch for each of so many partitions.
    pub fn produce(partitions: i32, records: usize) -> Self {
        Self::warm(Node::new(partitions), produce(partitions, &batch(records, 100)))
    }

    /// Fetches from as many partitions, each of which has a batch.
    pub fn fetch(partitions: i32) -> Self {
        let mut node = Node::new(partitions);
        node.ask(produce(partitions, &batch(1, 100)));
        Self::warm(node, fetch(partitions))
    }

    fn warm(node: Node, frame: Bytes) -> Self {
        let mut asked = Self { node, frame };
        (0..100).for_each(|_| asked.once());
        asked
    }

    /// From the frame to the answer, with what the driver does before the machine.
    pub fn once(&mut self) {
        self.node.ask(self.frame.clone());
    }
}

/// The driver's part of a Produce: the look at every record of a batch of so many bytes.
pub fn scan(frame: &Bytes) -> usize {
    ingress(frame.clone(), 1 << 30).expect("it can be read").scanned.map_or(0, |scanned| scanned.len())
}

/// A Produce with one batch of about so many bytes.
pub fn produce_of(bytes: usize) -> Bytes {
    produce(1, &batch(bytes / 107, 100))
}

/// The indexes of a segment of 1 GiB with an entry every 4 KiB.
pub struct Indexes(OffsetIndex, TimeIndex);

impl Indexes {
    const ENTRIES: i64 = 1 << 18;

    pub fn new() -> Self {
        let mut indexes = Self(OffsetIndex::new(Offset(0), 10 << 20), TimeIndex::new(Offset(0), 10 << 20));
        for entry in 1..=Self::ENTRIES {
            let position = u32::try_from(entry * 4096).expect("at most 1 GiB");
            let _ = indexes.0.append(Offset(entry * 40), position);
            let _ = indexes.1.append(1_700_000_000_000 + entry, Offset(entry * 40), false);
        }
        indexes
    }

    /// A look-up by offset and one by time, at places far from each other.
    pub fn once(&self, at: i64) -> u32 {
        let at = at * 7919 % Self::ENTRIES;
        let by_time = self.1.lookup(1_700_000_000_000 + at);
        self.0.lookup(Offset(at * 40)).position ^ self.0.lookup(by_time.offset).position
    }
}

/// The metadata of a topic with so many partitions, as it is sent.
pub fn metadata(partitions: i32) -> MetadataResponse<'static> {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        leader_epoch: 5,
        replica_nodes: vec![1, 2, 3],
        isr_nodes: vec![1, 2, 3],
        ..Default::default()
    };
    let partitions = (0..partitions).map(partition).collect();
    let topics = vec![MetadataResponseTopic { name: Some("t"), partitions, ..Default::default() }];
    MetadataResponse { topics, ..Default::default() }
}

/// Encodes it.
pub fn encode(metadata: &MetadataResponse<'_>) -> usize {
    let mut writer = Writer::new();
    encode_response(&mut writer, ApiKey::Metadata, 12, 1, metadata);
    writer.len()
}
