//! The records of `__cluster_metadata`: between the changes that the controller decides and Kafka's schemas.
//!
//! The only place of the controller that knows the wire. Records that we do not use yet (quotas, credentials, access
//! control, delegation tokens) become [`Change::Other`], so that a log that has them can be replayed.

use ottla_wire::metadata::{
    BrokerEndpoint as WireEndpoint, BrokerRegistrationChangeRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord,
    PartitionChangeRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord, RemoveTopicRecord, TopicRecord,
    UnregisterBrokerRecord,
};
use ottla_wire::{Uuid, Writer};

use super::image::{BrokerEndpoint, BrokerImage, PartitionImage, Resource, ResourceKind};
use crate::record::{BatchBuilder, BatchOptions, NewRecord, RecordBatch};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch};

/// One change of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A broker started; it takes the place of its earlier incarnation.
    RegisterBroker { id: BrokerId, broker: BrokerImage },
    /// A broker is gone for good.
    UnregisterBroker { id: BrokerId },
    /// A broker may lead, or may not.
    FenceBroker { id: BrokerId, epoch: BrokerEpoch, fenced: bool },
    /// A topic; its partitions follow.
    Topic { name: String, id: Uuid },
    /// A topic is gone.
    RemoveTopic { id: Uuid },
    /// A partition of a topic before it.
    Partition(NewPartition),
    /// What changes of a partition. A named leader, be it the same, begins a new leader epoch.
    PartitionChange { topic_id: Uuid, partition: i32, isr: Option<Vec<BrokerId>>, leader: Option<Option<BrokerId>> },
    /// A setting; `None` takes it away.
    Config { resource: Resource, name: String, value: Option<String> },
    /// A feature's level.
    FeatureLevel { name: String, level: i16 },
    /// A block of producer ids was given to a broker.
    ProducerIds { broker: BrokerId, epoch: BrokerEpoch, next: i64 },
    /// A record that changes nothing here.
    Other,
}

/// A new partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPartition {
    /// Of which topic.
    pub topic_id: Uuid,
    /// Its index.
    pub partition: i32,
    /// What it is.
    pub image: PartitionImage,
}

/// A record of the metadata log that cannot be read, though its batch's CRC is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata record {index}: {why}")]
pub struct DecodeError {
    /// Which record of the batch, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub why: String,
}

/// The security protocol's number of PLAINTEXT.
const PLAINTEXT: i16 = 0;
/// "No leader", in records.
const NO_LEADER: i32 = -1;
/// "The leader stays", in records.
const NO_LEADER_CHANGE: i32 = -2;

/// One batch of these changes, as it is appended: base offset and leader epoch are the log's.
#[must_use]
pub fn encode(changes: &[Change], timestamp: i64) -> Vec<u8> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    let mut value = Writer::new();
    for change in changes {
        value.clear();
        encode_change(change, &mut value);
        batch.append(&NewRecord { timestamp, value: Some(value.as_bytes()), ..Default::default() });
    }
    batch.build()
}

/// The changes of one batch of the metadata log; control batches have none.
///
/// # Errors
/// A record cannot be read.
pub fn decode_batch(batch: &RecordBatch<'_>, inflated_limit: u64) -> Result<Vec<Change>, DecodeError> {
    if batch.header().attributes.is_control() {
        return Ok(Vec::new());
    }
    let mut scratch = Vec::new();
    let error = |index, why: String| DecodeError { index, why };
    let records = batch.records(&mut scratch, inflated_limit).map_err(|problem| error(0, problem.to_string()))?;
    let mut changes = Vec::new();
    for (index, record) in records.enumerate() {
        let record = record.map_err(|problem| error(index, problem.to_string()))?;
        let record = MetadataRecord::decode(record.value.unwrap_or_default());
        changes.push(from_wire(record.map_err(|why| error(index, why.to_string()))?));
    }
    Ok(changes)
}

fn encode_change(change: &Change, out: &mut Writer) {
    let id_list = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let (record, version) = match change {
        Change::RegisterBroker { id, broker } => (register_broker(*id, broker), 3),
        Change::UnregisterBroker { id } => {
            (MetadataRecord::UnregisterBroker(UnregisterBrokerRecord { broker_id: id.0, broker_epoch: -1 }), 0)
        }
        Change::FenceBroker { id, epoch, fenced } => (fence_broker(*id, *epoch, *fenced), 2),
        Change::Topic { name, id } => (MetadataRecord::Topic(TopicRecord { name, topic_id: *id }), 0),
        Change::RemoveTopic { id } => (MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: *id }), 0),
        Change::Partition(new) => (MetadataRecord::Partition(partition(new)), 2),
        Change::PartitionChange { topic_id, partition, isr, leader } => {
            let leader = leader.map_or(NO_LEADER_CHANGE, |leader| leader.map_or(NO_LEADER, |id| id.0));
            let record = PartitionChangeRecord {
                partition_id: *partition,
                topic_id: *topic_id,
                isr: isr.as_deref().map(id_list),
                leader,
                ..Default::default()
            };
            (MetadataRecord::PartitionChange(record), 2)
        }
        Change::Config { resource, name, value } => {
            let record = ConfigRecord {
                resource_type: resource.kind.code(),
                resource_name: &resource.name,
                name,
                value: value.as_deref(),
            };
            (MetadataRecord::Config(record), 0)
        }
        Change::FeatureLevel { name, level } => {
            (MetadataRecord::FeatureLevel(FeatureLevelRecord { name, feature_level: *level }), 0)
        }
        Change::ProducerIds { broker, epoch, next } => {
            let record = ProducerIdsRecord { broker_id: broker.0, broker_epoch: epoch.0, next_producer_id: *next };
            (MetadataRecord::ProducerIds(record), 0)
        }
        Change::Other => return MetadataRecord::NoOp(Default::default()).encode(out, 0),
    };
    record.encode(out, version);
}

fn register_broker(id: BrokerId, broker: &BrokerImage) -> MetadataRecord<'_> {
    let endpoints = broker.endpoints.iter().map(|endpoint| WireEndpoint {
        name: &endpoint.name,
        host: &endpoint.host,
        port: endpoint.port,
        security_protocol: PLAINTEXT,
    });
    let features = super::brokers::FEATURES.iter().map(|feature| ottla_wire::metadata::BrokerFeature {
        name: feature.name,
        min_supported_version: feature.min,
        max_supported_version: feature.max,
    });
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: id.0,
        incarnation_id: broker.incarnation,
        broker_epoch: broker.epoch.0,
        end_points: endpoints.collect(),
        features: features.collect(),
        rack: broker.rack.as_deref(),
        fenced: broker.fenced,
        log_dirs: broker.directories.clone(),
        ..Default::default()
    })
}

fn fence_broker<'a>(id: BrokerId, epoch: BrokerEpoch, fenced: bool) -> MetadataRecord<'a> {
    MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
        broker_id: id.0,
        broker_epoch: epoch.0,
        fenced: if fenced { 1 } else { -1 },
        ..Default::default()
    })
}

fn partition(new: &NewPartition) -> PartitionRecord {
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let image = &new.image;
    PartitionRecord {
        partition_id: new.partition,
        topic_id: new.topic_id,
        replicas: ids(&image.replicas),
        isr: ids(&image.isr),
        leader: image.leader.map_or(NO_LEADER, |id| id.0),
        leader_epoch: image.leader_epoch.0,
        partition_epoch: image.partition_epoch,
        directories: image.directories.clone(),
        eligible_leader_replicas: (!image.elr.is_empty()).then(|| ids(&image.elr)),
        ..Default::default()
    }
}

fn from_wire(record: MetadataRecord<'_>) -> Change {
    let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect::<Vec<_>>();
    let leader = |id: i32| (id != NO_LEADER).then_some(BrokerId(id));
    let fence =
        |id: i32, epoch: i64, fenced: bool| Change::FenceBroker { id: BrokerId(id), epoch: BrokerEpoch(epoch), fenced };
    match record {
        MetadataRecord::RegisterBroker(it) => {
            Change::RegisterBroker { id: BrokerId(it.broker_id), broker: broker_image(it) }
        }
        MetadataRecord::UnregisterBroker(it) => Change::UnregisterBroker { id: BrokerId(it.broker_id) },
        MetadataRecord::FenceBroker(it) => fence(it.id, it.epoch, true),
        MetadataRecord::UnfenceBroker(it) => fence(it.id, it.epoch, false),
        MetadataRecord::BrokerRegistrationChange(it) if it.fenced != 0 => {
            fence(it.broker_id, it.broker_epoch, it.fenced > 0)
        }
        MetadataRecord::Topic(it) => Change::Topic { name: it.name.to_owned(), id: it.topic_id },
        MetadataRecord::RemoveTopic(it) => Change::RemoveTopic { id: it.topic_id },
        MetadataRecord::Partition(it) => Change::Partition(NewPartition {
            topic_id: it.topic_id,
            partition: it.partition_id,
            image: PartitionImage {
                replicas: ids(it.replicas),
                isr: ids(it.isr),
                elr: ids(it.eligible_leader_replicas.unwrap_or_default()),
                leader: leader(it.leader),
                leader_epoch: LeaderEpoch(it.leader_epoch),
                partition_epoch: it.partition_epoch,
                directories: it.directories,
            },
        }),
        MetadataRecord::PartitionChange(it) => Change::PartitionChange {
            topic_id: it.topic_id,
            partition: it.partition_id,
            isr: it.isr.map(ids),
            leader: (it.leader != NO_LEADER_CHANGE).then(|| leader(it.leader)),
        },
        MetadataRecord::Config(it) => match ResourceKind::from_code(it.resource_type) {
            Some(kind) => Change::Config {
                resource: Resource { kind, name: it.resource_name.into() },
                name: it.name.to_owned(),
                value: it.value.map(str::to_owned),
            },
            None => Change::Other,
        },
        MetadataRecord::FeatureLevel(it) => Change::FeatureLevel { name: it.name.to_owned(), level: it.feature_level },
        MetadataRecord::ProducerIds(it) => Change::ProducerIds {
            broker: BrokerId(it.broker_id),
            epoch: BrokerEpoch(it.broker_epoch),
            next: it.next_producer_id,
        },
        #[expect(clippy::wildcard_enum_match_arm, reason = "what we do not use must not stop a replay")]
        _ => Change::Other,
    }
}

fn broker_image(it: RegisterBrokerRecord<'_>) -> BrokerImage {
    let endpoints = it.end_points.iter().map(|endpoint| BrokerEndpoint {
        name: endpoint.name.to_owned(),
        host: endpoint.host.to_owned(),
        port: endpoint.port,
    });
    BrokerImage {
        epoch: BrokerEpoch(it.broker_epoch),
        incarnation: it.incarnation_id,
        endpoints: endpoints.collect(),
        rack: it.rack.map(str::to_owned),
        fenced: it.fenced,
        directories: it.log_dirs,
    }
}
