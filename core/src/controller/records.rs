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
    UnregisterBroker { id: BrokerId, epoch: BrokerEpoch },
    /// What changes of a broker's registration, if it is still the one of this epoch.
    BrokerChange { id: BrokerId, epoch: BrokerEpoch, delta: BrokerDelta },
    /// A topic; its partitions follow.
    Topic { name: String, id: Uuid },
    /// A topic is gone.
    RemoveTopic { id: Uuid },
    /// A partition of a topic before it.
    Partition(NewPartition),
    /// What changes of a partition.
    PartitionChange { topic_id: Uuid, partition: i32, delta: PartitionDelta },
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

/// What changes of a broker's registration; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerDelta {
    /// Whether it may not lead.
    pub fenced: Option<bool>,
    /// Whether it begins to shut down. It never ceases to.
    pub shutting_down: bool,
    /// Its log directories that work.
    pub directories: Option<Vec<Uuid>>,
}

/// What changes of a partition; `None` stays. The fields are [`PartitionImage`]'s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionDelta {
    /// A leader that is named, be it the same or nobody, begins a new leader epoch.
    pub leader: Option<Option<BrokerId>>,
    pub isr: Option<Vec<BrokerId>>,
    pub elr: Option<Vec<BrokerId>>,
    pub last_known_elr: Option<Vec<BrokerId>>,
    pub replicas: Option<Vec<BrokerId>>,
    pub removing: Option<Vec<BrokerId>>,
    pub adding: Option<Vec<BrokerId>>,
    pub directories: Option<Vec<Uuid>>,
    pub recovering: Option<bool>,
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
/// "It stays", for the recovery state in records.
const NO_RECOVERY_CHANGE: i8 = -1;

/// One batch of these changes, as it is appended: base offset and leader epoch are the log's.
#[must_use]
pub fn encode(changes: &[Change], timestamp: i64) -> Vec<u8> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    let mut value = Writer::new();
    for change in changes {
        append_change(&mut batch, change, timestamp, &mut value);
    }
    batch.build()
}

/// Adds a change to a batch. `value` is scratch.
pub(super) fn append_change(batch: &mut BatchBuilder, change: &Change, timestamp: i64, value: &mut Writer) {
    value.clear();
    encode_change(change, value);
    batch.append(&NewRecord { timestamp, value: Some(value.as_bytes()), ..Default::default() });
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
    let (record, version) = match change {
        Change::RegisterBroker { id, broker } => (register_broker(*id, broker), 3),
        Change::UnregisterBroker { id, epoch } => {
            let record = UnregisterBrokerRecord { broker_id: id.0, broker_epoch: epoch.0 };
            (MetadataRecord::UnregisterBroker(record), 0)
        }
        Change::BrokerChange { id, epoch, delta } => (broker_change(*id, *epoch, delta), 2),
        Change::Topic { name, id } => (MetadataRecord::Topic(TopicRecord { name, topic_id: *id }), 0),
        Change::RemoveTopic { id } => (MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: *id }), 0),
        Change::Partition(new) => (MetadataRecord::Partition(partition(new)), 2),
        Change::PartitionChange { topic_id, partition, delta } => {
            (MetadataRecord::PartitionChange(partition_change(*topic_id, *partition, delta)), 2)
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
        in_controlled_shutdown: broker.shutting_down,
        log_dirs: broker.directories.clone(),
        counted_epoch: if broker.counted == broker.epoch { -1 } else { broker.counted.0 },
        ..Default::default()
    })
}

fn broker_change<'a>(id: BrokerId, epoch: BrokerEpoch, delta: &BrokerDelta) -> MetadataRecord<'a> {
    MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
        broker_id: id.0,
        broker_epoch: epoch.0,
        fenced: delta.fenced.map_or(0, |fenced| if fenced { 1 } else { -1 }),
        in_controlled_shutdown: delta.shutting_down.into(),
        log_dirs: delta.directories.clone().unwrap_or_default(),
        ..Default::default()
    })
}

fn partition(new: &NewPartition) -> PartitionRecord {
    let image = &new.image;
    let some = |ids: &[BrokerId]| (!ids.is_empty()).then(|| numbers(ids));
    PartitionRecord {
        partition_id: new.partition,
        topic_id: new.topic_id,
        replicas: numbers(&image.replicas),
        isr: numbers(&image.isr),
        removing_replicas: numbers(&image.removing),
        adding_replicas: numbers(&image.adding),
        leader: image.leader.map_or(NO_LEADER, |id| id.0),
        leader_epoch: image.leader_epoch.0,
        partition_epoch: image.partition_epoch,
        directories: image.directories.clone(),
        leader_recovery_state: image.recovering.into(),
        eligible_leader_replicas: some(&image.elr),
        last_known_elr: some(&image.last_known_elr),
    }
}

fn partition_change(topic_id: Uuid, partition_id: i32, delta: &PartitionDelta) -> PartitionChangeRecord {
    let list = |ids: &Option<Vec<BrokerId>>| ids.as_deref().map(numbers);
    PartitionChangeRecord {
        partition_id,
        topic_id,
        isr: list(&delta.isr),
        leader: delta.leader.map_or(NO_LEADER_CHANGE, |leader| leader.map_or(NO_LEADER, |id| id.0)),
        replicas: list(&delta.replicas),
        removing_replicas: list(&delta.removing),
        adding_replicas: list(&delta.adding),
        leader_recovery_state: delta.recovering.map_or(NO_RECOVERY_CHANGE, i8::from),
        eligible_leader_replicas: list(&delta.elr),
        last_known_elr: list(&delta.last_known_elr),
        directories: delta.directories.clone(),
    }
}

fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

fn ids(numbers: Vec<i32>) -> Vec<BrokerId> {
    numbers.into_iter().map(BrokerId).collect()
}

fn leader(number: i32) -> Option<BrokerId> {
    (number != NO_LEADER).then_some(BrokerId(number))
}

fn from_wire(record: MetadataRecord<'_>) -> Change {
    let fence = |id: i32, epoch: i64, fenced: bool| Change::BrokerChange {
        id: BrokerId(id),
        epoch: BrokerEpoch(epoch),
        delta: BrokerDelta { fenced: Some(fenced), ..BrokerDelta::default() },
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "what we do not use must not stop a replay")]
    match record {
        MetadataRecord::RegisterBroker(it) => {
            Change::RegisterBroker { id: BrokerId(it.broker_id), broker: broker_image(it) }
        }
        MetadataRecord::UnregisterBroker(it) => {
            Change::UnregisterBroker { id: BrokerId(it.broker_id), epoch: BrokerEpoch(it.broker_epoch) }
        }
        MetadataRecord::FenceBroker(it) => fence(it.id, it.epoch, true),
        MetadataRecord::UnfenceBroker(it) => fence(it.id, it.epoch, false),
        MetadataRecord::BrokerRegistrationChange(it) => broker_change_from(it),
        MetadataRecord::Topic(it) => Change::Topic { name: it.name.to_owned(), id: it.topic_id },
        MetadataRecord::RemoveTopic(it) => Change::RemoveTopic { id: it.topic_id },
        MetadataRecord::Partition(it) => Change::Partition(partition_from(it)),
        MetadataRecord::PartitionChange(it) => partition_change_from(it),
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
        _ => Change::Other,
    }
}

fn broker_change_from(it: BrokerRegistrationChangeRecord) -> Change {
    let delta = BrokerDelta {
        fenced: (it.fenced != 0).then_some(it.fenced > 0),
        shutting_down: it.in_controlled_shutdown > 0,
        directories: (!it.log_dirs.is_empty()).then_some(it.log_dirs),
    };
    Change::BrokerChange { id: BrokerId(it.broker_id), epoch: BrokerEpoch(it.broker_epoch), delta }
}

fn partition_from(it: PartitionRecord) -> NewPartition {
    let image = PartitionImage {
        replicas: ids(it.replicas),
        isr: ids(it.isr),
        elr: ids(it.eligible_leader_replicas.unwrap_or_default()),
        last_known_elr: ids(it.last_known_elr.unwrap_or_default()),
        removing: ids(it.removing_replicas),
        adding: ids(it.adding_replicas),
        recovering: it.leader_recovery_state == 1,
        leader: leader(it.leader),
        leader_epoch: LeaderEpoch(it.leader_epoch),
        partition_epoch: it.partition_epoch,
        directories: it.directories,
    };
    NewPartition { topic_id: it.topic_id, partition: it.partition_id, image }
}

fn partition_change_from(it: PartitionChangeRecord) -> Change {
    let delta = PartitionDelta {
        leader: (it.leader != NO_LEADER_CHANGE).then(|| leader(it.leader)),
        isr: it.isr.map(ids),
        elr: it.eligible_leader_replicas.map(ids),
        last_known_elr: it.last_known_elr.map(ids),
        replicas: it.replicas.map(ids),
        removing: it.removing_replicas.map(ids),
        adding: it.adding_replicas.map(ids),
        directories: it.directories,
        recovering: (it.leader_recovery_state != NO_RECOVERY_CHANGE).then_some(it.leader_recovery_state == 1),
    };
    Change::PartitionChange { topic_id: it.topic_id, partition: it.partition_id, delta }
}

fn broker_image(it: RegisterBrokerRecord<'_>) -> BrokerImage {
    let endpoints = it.end_points.iter().map(|endpoint| BrokerEndpoint {
        name: endpoint.name.to_owned(),
        host: endpoint.host.to_owned(),
        port: endpoint.port,
    });
    BrokerImage {
        epoch: BrokerEpoch(it.broker_epoch),
        counted: BrokerEpoch(if it.counted_epoch < 0 { it.broker_epoch } else { it.counted_epoch }),
        incarnation: it.incarnation_id,
        endpoints: endpoints.collect(),
        rack: it.rack.map(str::to_owned),
        fenced: it.fenced,
        shutting_down: it.in_controlled_shutdown,
        directories: it.log_dirs,
    }
}
