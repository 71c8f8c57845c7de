//! The controller: which brokers, topics and settings there are, decided, recorded and replayed.
//!
//! One pattern (docs/architecture.md): a decision is a pure function of the image and the request, and gives
//! records and an answer. The records are appended to the metadata log as one atomic batch, and replayed *at
//! append* into the speculative image, from which the next decision is made. When the log has committed them
//! they are replayed into the committed image, which is what everyone else reads. [`MetadataImage::replay`] is the
//! only thing that changes an image, live and on reload alike, so both equal a rebuild from the log (S8).
//!
//! | event           | speculative image      | committed image |
//! |-----------------|------------------------|-----------------|
//! | records appended | replays them           |                 |
//! | committed to n  |                        | replays those below n |
//! | append failed   | becomes the committed one |              |
//! | a snapshot takes the place of the log | becomes its image | becomes its image |
//!
//! Absent on purpose: the log itself, timers, and who waits for an answer. The parent has those.

mod brokers;
mod configs;
mod difference;
mod directories;
mod features;
mod image;
mod internal;
mod partitions;
mod producer_ids;
mod reassignment;
mod records;
mod snapshot;
mod topics;

#[cfg(test)]
mod tests;

pub use brokers::{
    FEATURES, Feature, Registration, begin_shutdown, bootstrap, fence, has_left, may_have_lost, register, unfence,
    unregister,
};
pub use configs::{Alteration, ConfigChange, Operation, alter};
pub use directories::{Assignment, LOST, assign, is_reserved};
pub use features::{FeatureUpdate, UpgradeType, update_features};
pub use image::{BrokerEndpoint, BrokerImage, MetadataImage, PartitionImage, Resource, ResourceKind, TopicImage};
pub use internal::{METADATA_TOPIC, METADATA_TOPIC_ID, OFFSETS_TOPIC, is_internal, offsets_topic};
pub use partitions::{IsrProposal, alter_partition};
pub use producer_ids::{BLOCK_SIZE, allocate};
pub use reassignment::{ElectionType, Reassignment, elect, reassign, rebalance};
pub use records::{BrokerDelta, Change, DecodeError, NewPartition, PartitionDelta, decode_batch, encode};
pub use snapshot::Snapshot;
pub use topics::{CreatedTopic, MorePartitions, NewTopic, TopicChoice, create, create_partitions, delete};

use std::collections::VecDeque;

use ottla_wire::ErrorCode;

use crate::record::RecordBatch;
use crate::types::Offset;

/// What a decision came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<T> {
    /// To be appended as one atomic batch; perhaps none.
    pub changes: Vec<Change>,
    /// What the client is told once they are committed.
    pub answer: T,
}

/// Why one item of a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Kafka's code.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// Both images, and what lies between them.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    committed: MetadataImage,
    speculative: MetadataImage,
    /// Batches that are appended and not committed, and their records.
    appended: VecDeque<(Extent, Vec<Change>)>,
    /// What was committed since the last snapshot.
    grown: Grown,
}

/// A batch of the metadata log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The offset after it.
    pub end: Offset,
    /// Its size.
    pub bytes: u64,
    /// Its greatest timestamp.
    pub timestamp: i64,
}

/// How much of the log was committed since the last snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grown {
    /// Bytes of batches.
    pub bytes: u64,
    /// The timestamp of the last one.
    pub last_timestamp: i64,
}

impl Extent {
    /// A batch that ends at `end` of the log.
    #[must_use]
    pub fn of(batch: &RecordBatch<'_>, end: Offset) -> Self {
        Self { end, bytes: batch.bytes().len() as u64, timestamp: batch.header().max_timestamp }
    }
}

impl Refused {
    /// A refusal.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Controller {
    /// What is committed: for readers.
    #[must_use]
    pub const fn committed(&self) -> &MetadataImage {
        &self.committed
    }

    /// What will be, if the log does not fail: for decisions.
    #[must_use]
    pub const fn speculative(&self) -> &MetadataImage {
        &self.speculative
    }

    /// A batch was appended. One of control records has no changes.
    pub fn on_appended(&mut self, batch: Extent, changes: Vec<Change>) {
        for change in &changes {
            self.speculative.replay(batch.end, change);
        }
        self.speculative.advance(batch.end);
        self.appended.push_back((batch, changes));
    }

    /// The metadata log is committed up to `end`: what the committed image learned by it.
    #[must_use]
    pub fn on_committed(&mut self, end: Offset) -> Vec<Change> {
        let mut learned = Vec::new();
        while self.appended.front().is_some_and(|(batch, _)| batch.end <= end) {
            let (batch, changes) = self.appended.pop_front().expect("it has a front");
            for change in &changes {
                self.committed.replay(batch.end, change);
            }
            self.committed.advance(batch.end);
            self.grown = Grown { bytes: self.grown.bytes + batch.bytes, last_timestamp: batch.timestamp };
            learned.extend(changes);
        }
        learned
    }

    /// How much was committed since the last snapshot.
    #[must_use]
    pub const fn grown(&self) -> Grown {
        self.grown
    }

    /// A snapshot of the committed image is written.
    pub fn on_snapshot(&mut self) {
        self.grown.bytes = 0;
    }

    /// A snapshot takes the place of the log and of both images: what the committed one learned by it.
    #[must_use]
    pub fn install(&mut self, image: MetadataImage, last_timestamp: i64) -> Vec<Change> {
        let learned = self.committed.changes_to(&image);
        self.appended.clear();
        self.grown = Grown { bytes: 0, last_timestamp };
        self.speculative = image.clone();
        self.committed = image;
        learned
    }

    /// The metadata log is cut: the batches that reach beyond `end` will never be committed.
    pub fn on_cut(&mut self, end: Offset) {
        self.appended.retain(|(batch, _)| batch.end <= end);
        self.speculative = self.committed.clone();
        for (batch, changes) in &self.appended {
            for change in changes {
                self.speculative.replay(batch.end, change);
            }
            self.speculative.advance(batch.end);
        }
    }

    /// The appended batches that are not committed will never be.
    pub fn revert(&mut self) {
        self.appended.clear();
        self.speculative = self.committed.clone();
    }
}
