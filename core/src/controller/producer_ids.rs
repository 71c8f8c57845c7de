//! Blocks of producer ids: each id is given to one producer instance only (I4), since a block is committed before the
//! first id of it is used.

use super::Decision;
use super::image::MetadataImage;
use super::records::Change;
use crate::types::{BrokerEpoch, BrokerId};

/// How many ids a broker gets at once, as in Kafka.
pub const BLOCK_SIZE: i64 = 1000;

/// Gives a block of ids to a broker: the answer is its first.
#[must_use]
pub fn allocate(image: &MetadataImage, broker: BrokerId, epoch: BrokerEpoch) -> Decision<i64> {
    let first = image.next_producer_id();
    // 2^63 ids last for ever; saturating keeps a hostile log from wrapping them.
    let next = first.saturating_add(BLOCK_SIZE);
    Decision { changes: vec![Change::ProducerIds { broker, epoch, next }], answer: first }
}
