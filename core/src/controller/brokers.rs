//! Brokers: registration and fencing; and what a new cluster is born with.
//!
//! A node leads only in a LeaderEpoch given after its present registration. Registering a new incarnation takes the
//! earlier one's place and raises the epoch of every partition that it led, in one atomic batch: a leader that lost
//! power and came back with a shorter log must never write other records at the same offsets in the same epoch.

use ottla_wire::{ErrorCode, Uuid};

use super::image::{BrokerEndpoint, BrokerImage, MetadataImage};
use super::records::{BrokerDelta, Change, PartitionDelta};
use super::{Decision, Refused};
use crate::types::{BrokerEpoch, BrokerId, Offset};

/// A feature that this version has, and its levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// The least level.
    pub min: i16,
    /// The greatest level.
    pub max: i16,
    /// What a new cluster starts with; 0 is "off".
    pub initial: i16,
}

/// The feature that decides how the other records are written.
pub(super) const METADATA_VERSION: &str = "metadata.version";

/// The features that this version has. `metadata.version` 30 is 4.3-IV0.
pub const FEATURES: &[Feature] = &[
    Feature { name: METADATA_VERSION, min: 7, max: 30, initial: 30 },
    // 1: consumer groups (KIP-848). They are served at 0, too: there is no older broker that would not know them.
    Feature { name: "group.version", min: 0, max: 1, initial: 1 },
];

/// A broker that asks to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which broker.
    pub id: BrokerId,
    /// Drawn at this start of its process.
    pub incarnation: Uuid,
    /// Where it is reached.
    pub endpoints: Vec<BrokerEndpoint>,
    /// `broker.rack`
    pub rack: Option<String>,
    /// Its log directories.
    pub directories: Vec<Uuid>,
}

/// What a new cluster's metadata begins with.
#[must_use]
pub fn bootstrap() -> Vec<Change> {
    let initial = FEATURES.iter().filter(|feature| feature.initial > 0);
    initial.map(|feature| Change::FeatureLevel { name: feature.name.to_owned(), level: feature.initial }).collect()
}

/// Registers a broker; `next` is the offset that the batch will get, which becomes its epoch.
///
/// What it led it leads again, in a new epoch; what has no leader and needs none but it, it leads too.
///
/// # Errors
/// Another process of the same id is registered and unfenced in a way that this one must not end. (With one node
/// there is none: the directory's lock keeps a second process away.)
pub fn register(
    image: &MetadataImage,
    registration: Registration,
    next: Offset,
) -> Result<Decision<BrokerEpoch>, Refused> {
    let Registration { id, incarnation, endpoints, rack, directories } = registration;
    if let Some(known) = image.broker(id)
        && known.incarnation == incarnation
    {
        return Ok(Decision { changes: Vec::new(), answer: known.epoch });
    }
    if next.0 < 0 {
        return Err(Refused::new(ErrorCode::INVALID_REQUEST, "a registration has an offset"));
    }
    let epoch = BrokerEpoch(next.0);
    let broker = BrokerImage { epoch, incarnation, endpoints, rack, fenced: false, shutting_down: false, directories };
    let mut changes = vec![Change::RegisterBroker { id, broker }];
    for topic in image.topics() {
        for (partition, it) in (0..).zip(&topic.partitions) {
            let leads = it.leader == Some(id) || it.leader.is_none() && it.isr.contains(&id);
            if leads {
                changes.push(Change::PartitionChange {
                    topic_id: topic.id,
                    partition,
                    delta: PartitionDelta { leader: Some(Some(id)), ..PartitionDelta::default() },
                });
            }
        }
    }
    Ok(Decision { changes, answer: epoch })
}

/// Takes a broker out of service, as at the end of a controlled shutdown: what it led has no leader until it comes
/// back, since nobody else has a copy.
#[must_use]
pub fn fence(image: &MetadataImage, id: BrokerId) -> Vec<Change> {
    let known = image.broker(id).filter(|broker| !broker.fenced);
    let delta = BrokerDelta { fenced: Some(true), shutting_down: true, directories: None };
    known.map(|broker| Change::BrokerChange { id, epoch: broker.epoch, delta }).into_iter().collect()
}
