//! What brokers and the controller ask each other, on both sides: BrokerRegistration (62), BrokerHeartbeat (63),
//! AlterPartition (56), AllocateProducerIds (67), AssignReplicasToDirs (73); and a follower's Fetch (1) as it goes out.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use ottla_wire::api::allocate_producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use ottla_wire::api::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, BrokerState, PartitionChange, PartitionChanged, TopicChange,
    TopicChanged,
};
use ottla_wire::api::assign_replicas_to_dirs::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, DirectoryAssigned, DirectoryData, PartitionAssigned,
    PartitionData, TopicAssigned, TopicData,
};
use ottla_wire::api::broker_heartbeat::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use ottla_wire::api::broker_registration::{
    self as registration, BrokerRegistrationRequest, BrokerRegistrationResponse,
};
use ottla_wire::api::create_topics::{self, CreateTopicsRequest};
use ottla_wire::api::describe_cluster::DescribeClusterRequest;
use ottla_wire::api::fetch::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use ottla_wire::api::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use ottla_wire::api::{Request, Response};
use ottla_wire::frame::{self, ResponseHeader};
use ottla_wire::{ErrorCode, Message, Uuid, Writer};

use super::{Call, Handled, Reply, respond};
use crate::broker::{Ask, Broker, FetchFrom, FetchedFrom, Heartbeat, Said, Standing};
use crate::controller::{self, Assignment, BrokerEndpoint, IsrProposal, NewTopic, Refused, Registration};
use crate::ingress::Head;
use crate::log::leader_epoch_cache::EpochEnd;
use crate::machine::Answer;
use crate::rpc;
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};

/// The endpoint type of a controllers' listener, in DescribeCluster (KIP-919).
pub(super) const CONTROLLERS: i8 = 2;
/// The security protocol's number of PLAINTEXT.
const PLAINTEXT: i16 = 0;

pub(super) fn register(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = BrokerRegistrationRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let refused = if wire.cluster_id != broker.cluster_id() {
        Some(ErrorCode::INCONSISTENT_CLUSTER_ID)
    } else {
        (!names_somebody(&wire)).then_some(ErrorCode::INVALID_REQUEST)
    };
    if let Some(error_code) = refused {
        return Ok(Some(respond(reply.head, &BrokerRegistrationResponse { error_code, ..Default::default() })));
    }
    let endpoints = wire.listeners.iter().map(|it| BrokerEndpoint {
        name: it.name.to_owned(),
        host: it.host.to_owned(),
        port: it.port,
    });
    let registration = Registration {
        id: BrokerId(wire.broker_id),
        incarnation: wire.incarnation_id,
        endpoints: endpoints.collect(),
        rack: wire.rack.map(str::to_owned),
        directories: wire.log_dirs.clone(),
        previous: (wire.previous_broker_epoch >= 0).then_some(BrokerEpoch(wire.previous_broker_epoch)),
        ready: false,
    };
    broker.register_broker(now, ticket, registration, out);
    Ok(None)
}

/// Negative numbers stand for nobody in the metadata, and Kafka keeps the first ids of directories to itself.
fn names_somebody(wire: &BrokerRegistrationRequest<'_>) -> bool {
    wire.broker_id >= 0 && !wire.log_dirs.iter().copied().any(controller::is_reserved)
}

pub(super) fn unregister(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = UnregisterBrokerRequest::decode(&mut request.reader(), reply.head.api_version)?;
    broker.unregister_broker(now, ticket, BrokerId(wire.broker_id), out);
    Ok(None)
}

pub(super) fn encode_unregistered(reply: Reply, result: &Result<(), Refused>) -> Answer {
    let refused = result.as_ref().err();
    let error_code = refused.map_or(ErrorCode::NONE, |refused| refused.code);
    let error_message = refused.map(|refused| &*refused.message);
    respond(reply.head, &UnregisterBrokerResponse { error_code, error_message, ..Default::default() })
}

pub(super) fn heartbeat(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = BrokerHeartbeatRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let heartbeat = Heartbeat {
        sender: (BrokerId(wire.broker_id), BrokerEpoch(wire.broker_epoch)),
        metadata: Offset(wire.current_metadata_offset),
        wants_fence: wire.want_fence,
        wants_shutdown: wire.want_shut_down,
    };
    broker.heartbeat_of_broker(now, ticket, heartbeat, out);
    Ok(None)
}

pub(super) fn alter_partition(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = AlterPartitionRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let proposals = wire.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|it| {
            let without_epochs = it.new_isr.iter().map(|id| (BrokerId(*id), None));
            let epoch = |epoch: i64| (epoch >= 0).then_some(BrokerEpoch(epoch));
            let with = it.new_isr_with_epochs.iter().map(|it| (BrokerId(it.broker_id), epoch(it.broker_epoch)));
            IsrProposal {
                topic_id: topic.topic_id,
                partition: it.partition_index,
                leader_epoch: LeaderEpoch(it.leader_epoch),
                partition_epoch: it.partition_epoch,
                isr: without_epochs.chain(with).collect(),
            }
        })
    });
    let proposals: Vec<IsrProposal> = proposals.collect();
    let sender = (BrokerId(wire.broker_id), BrokerEpoch(wire.broker_epoch));
    broker.alter_partitions(now, ticket, sender, &proposals, out);
    Ok(None)
}

pub(super) fn allocate(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = AllocateProducerIdsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    broker.allocate_for(now, ticket, (BrokerId(wire.broker_id), BrokerEpoch(wire.broker_epoch)), out);
    Ok(None)
}

pub(super) fn assign(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = AssignReplicasToDirsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let mut assignments = Vec::new();
    for directory in &wire.directories {
        for topic in &directory.topics {
            let (topic_id, directory) = (topic.topic_id, directory.id);
            let partitions = topic.partitions.iter().map(|it| it.partition_index);
            assignments.extend(partitions.map(|partition| Assignment { topic_id, partition, directory }));
        }
    }
    let sender = (BrokerId(wire.broker_id), BrokerEpoch(wire.broker_epoch));
    broker.assign_replicas(now, ticket, sender, &assignments, out);
    Ok(None)
}

pub(super) fn encode_assigned(reply: Reply, assigned: Result<Vec<(Assignment, ErrorCode)>, ErrorCode>) -> Answer {
    let answers = match assigned {
        Err(error_code) => {
            return respond(reply.head, &AssignReplicasToDirsResponse { error_code, ..Default::default() });
        }
        Ok(answers) => answers,
    };
    let mut directories: Vec<DirectoryAssigned> = Vec::new();
    for (it, error_code) in answers {
        let partition = PartitionAssigned { partition_index: it.partition, error_code };
        if directories.last().is_none_or(|directory| directory.id != it.directory) {
            directories.push(DirectoryAssigned { id: it.directory, topics: Vec::new() });
        }
        let Some(DirectoryAssigned { topics, .. }) = directories.last_mut() else { continue };
        match topics.last_mut().filter(|topic| topic.topic_id == it.topic_id) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(TopicAssigned { topic_id: it.topic_id, partitions: vec![partition] }),
        }
    }
    respond(reply.head, &AssignReplicasToDirsResponse { directories, ..Default::default() })
}

pub(super) fn encode_registered(reply: Reply, registered: Result<BrokerEpoch, ErrorCode>) -> Answer {
    let (error_code, epoch) = registered.map_or_else(|error| (error, -1), |epoch| (ErrorCode::NONE, epoch.0));
    respond(reply.head, &BrokerRegistrationResponse { error_code, broker_epoch: epoch, ..Default::default() })
}

pub(super) fn encode_alive(reply: Reply, alive: Result<Standing, ErrorCode>) -> Answer {
    let body = match alive {
        Err(error_code) => BrokerHeartbeatResponse { error_code, ..Default::default() },
        Ok(standing) => BrokerHeartbeatResponse {
            is_caught_up: standing.caught_up,
            is_fenced: standing.fenced,
            should_shut_down: standing.may_stop,
            ..Default::default()
        },
    };
    respond(reply.head, &body)
}

pub(super) fn encode_altered(
    broker: &Broker,
    reply: Reply,
    altered: &Result<Vec<(Uuid, i32, ErrorCode)>, ErrorCode>,
) -> Answer {
    let answers = match altered {
        Err(error_code) => {
            return respond(reply.head, &AlterPartitionResponse { error_code: *error_code, ..Default::default() });
        }
        Ok(answers) => answers,
    };
    let mut topics: Vec<TopicChanged> = Vec::new();
    for (topic_id, partition_index, error_code) in answers {
        let image = broker.image().partition_by_id(*topic_id, *partition_index);
        let partition = image.map_or_else(PartitionChanged::default, |image| PartitionChanged {
            leader_id: image.leader.map_or(-1, |leader| leader.0),
            leader_epoch: image.leader_epoch.0,
            isr: image.isr.iter().map(|id| id.0).collect(),
            partition_epoch: image.partition_epoch,
            ..Default::default()
        });
        let partition = PartitionChanged { partition_index: *partition_index, error_code: *error_code, ..partition };
        match topics.last_mut().filter(|topic| topic.topic_id == *topic_id) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(TopicChanged { topic_id: *topic_id, partitions: vec![partition] }),
        }
    }
    respond(reply.head, &AlterPartitionResponse { topics, ..Default::default() })
}

pub(super) fn encode_allocated(reply: Reply, allocated: Result<i64, ErrorCode>) -> Answer {
    let body = match allocated {
        Err(error_code) => AllocateProducerIdsResponse { error_code, ..Default::default() },
        Ok(first) => AllocateProducerIdsResponse {
            producer_id_start: first,
            producer_id_len: i32::try_from(controller::BLOCK_SIZE).unwrap_or(i32::MAX),
            ..Default::default()
        },
    };
    respond(reply.head, &body)
}

/// The bounds of a follower's fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchBounds {
    /// `replica.fetch.wait.max.ms`
    pub max_wait_ms: i32,
    /// `replica.fetch.min.bytes`
    pub min_bytes: i32,
    /// `replica.fetch.response.max.bytes`
    pub max_bytes: i32,
    /// `replica.fetch.max.bytes`
    pub partition_max_bytes: i32,
}

/// Sends what a broker asks. `None`: the request cannot be made of it.
pub(crate) fn with_request<T>(
    broker: &Broker,
    bounds: FetchBounds,
    ask: &Ask,
    send: impl FnOnce(&Request<'_>, i16) -> T,
) -> Option<T> {
    let any = i16::MAX;
    Some(match ask {
        Ask::DescribeCluster => {
            send(&DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() }.into(), any)
        }
        Ask::Register(it) => send(&registration_of(broker.cluster_id(), it).into(), any),
        Ask::Heartbeat(it) => send(&heartbeat_of(it).into(), any),
        Ask::AlterPartitions { sender, proposals } => send(&alteration_of(*sender, proposals).into(), any),
        Ask::AllocateProducerIds { sender: (id, epoch) } => {
            send(&AllocateProducerIdsRequest { broker_id: id.0, broker_epoch: epoch.0 }.into(), any)
        }
        Ask::AssignReplicas { sender, assignments } => send(&assignment_of(*sender, assignments).into(), any),
        Ask::CreateTopics(topics) => send(&creation_of(topics).into(), any),
        Ask::Forward { request: it, .. } => {
            let version = it.head.api_version;
            send(&Request::decode(&mut it.reader(), it.head.api_key, version).ok()?, version)
        }
        Ask::Fetch { partitions, .. } => {
            let epoch = broker.image().broker(broker.node()).map_or(-1, |it| it.epoch.0);
            send(&fetch_of((broker.node(), epoch), bounds, partitions).into(), any)
        }
    })
}

fn registration_of<'a>(cluster_id: &'a str, it: &'a Registration) -> BrokerRegistrationRequest<'a> {
    let listener = |it: &'a BrokerEndpoint| registration::Listener {
        name: &it.name,
        host: &it.host,
        port: it.port,
        security_protocol: PLAINTEXT,
    };
    let features = controller::FEATURES.iter().map(|feature| registration::Feature {
        name: feature.name,
        min_supported_version: feature.min,
        max_supported_version: feature.max,
    });
    BrokerRegistrationRequest {
        broker_id: it.id.0,
        cluster_id,
        incarnation_id: it.incarnation,
        listeners: it.endpoints.iter().map(listener).collect(),
        features: features.collect(),
        rack: it.rack.as_deref(),
        log_dirs: it.directories.clone(),
        previous_broker_epoch: it.previous.map_or(-1, |epoch| epoch.0),
        ..Default::default()
    }
}

fn heartbeat_of(it: &Heartbeat) -> BrokerHeartbeatRequest {
    let (id, epoch) = it.sender;
    BrokerHeartbeatRequest {
        broker_id: id.0,
        broker_epoch: epoch.0,
        current_metadata_offset: it.metadata.0,
        want_fence: it.wants_fence,
        want_shut_down: it.wants_shutdown,
        ..Default::default()
    }
}

fn alteration_of((id, epoch): (BrokerId, BrokerEpoch), proposals: &[IsrProposal]) -> AlterPartitionRequest {
    let mut topics: Vec<TopicChange> = Vec::new();
    for it in proposals {
        let state = |(id, epoch): &(BrokerId, Option<BrokerEpoch>)| BrokerState {
            broker_id: id.0,
            broker_epoch: epoch.map_or(-1, |epoch| epoch.0),
        };
        let partition = PartitionChange {
            partition_index: it.partition,
            leader_epoch: it.leader_epoch.0,
            new_isr: it.isr.iter().map(|(id, _)| id.0).collect(),
            new_isr_with_epochs: it.isr.iter().map(state).collect(),
            partition_epoch: it.partition_epoch,
            ..Default::default()
        };
        match topics.last_mut().filter(|topic| topic.topic_id == it.topic_id) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(TopicChange { topic_id: it.topic_id, partitions: vec![partition] }),
        }
    }
    AlterPartitionRequest { broker_id: id.0, broker_epoch: epoch.0, topics }
}

fn assignment_of((id, epoch): (BrokerId, BrokerEpoch), assignments: &[Assignment]) -> AssignReplicasToDirsRequest {
    let mut directories: BTreeMap<Uuid, BTreeMap<Uuid, Vec<PartitionData>>> = BTreeMap::new();
    for it in assignments {
        let topics = directories.entry(it.directory).or_default();
        topics.entry(it.topic_id).or_default().push(PartitionData { partition_index: it.partition });
    }
    let directories = directories.into_iter().map(|(id, topics)| {
        let topics = topics.into_iter().map(|(topic_id, partitions)| TopicData { topic_id, partitions });
        DirectoryData { id, topics: topics.collect() }
    });
    AssignReplicasToDirsRequest { broker_id: id.0, broker_epoch: epoch.0, directories: directories.collect() }
}

fn creation_of(topics: &[NewTopic]) -> CreateTopicsRequest<'_> {
    let topics = topics.iter().map(|topic| create_topics::CreatableTopic {
        name: &topic.name,
        num_partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        configs: topic
            .configs
            .iter()
            .map(|(name, value)| create_topics::CreatableTopicConfig { name, value: value.as_deref() })
            .collect(),
        ..Default::default()
    });
    CreateTopicsRequest { topics: topics.collect(), ..Default::default() }
}

fn fetch_of<'a>((id, epoch): (BrokerId, i64), bounds: FetchBounds, wanted: &'a [FetchFrom]) -> FetchRequest<'a> {
    let mut topics: Vec<FetchTopic<'a>> = Vec::new();
    for it in wanted {
        let partition = FetchPartition {
            partition: it.partition.partition,
            current_leader_epoch: it.leader_epoch.0,
            fetch_offset: it.offset.0,
            last_fetched_epoch: it.last_epoch.map_or(-1, |epoch| epoch.0),
            log_start_offset: it.log_start.0,
            partition_max_bytes: bounds.partition_max_bytes,
            counted_offset: it.counted.0,
            ..Default::default()
        };
        match topics.last_mut().filter(|topic| topic.topic_id == it.topic_id) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: &it.partition.topic,
                topic_id: it.topic_id,
                partitions: vec![partition],
            }),
        }
    }
    FetchRequest {
        replica_id: id.0,
        max_wait_ms: bounds.max_wait_ms,
        min_bytes: bounds.min_bytes,
        max_bytes: bounds.max_bytes,
        topics,
        replica_state: ReplicaState { replica_id: id.0, replica_epoch: epoch },
        ..Default::default()
    }
}

/// What was answered; `None` if it cannot be read, or answers something else.
pub(crate) fn said(ask: &Ask, answer: &rpc::Answer) -> Option<Said> {
    if matches!(ask, Ask::Forward { .. }) {
        return Some(Said::Forwarded(answer.version, answer.frame.clone()));
    }
    let wire = answer.decode().ok()?;
    match (ask, wire) {
        (Ask::DescribeCluster, Response::DescribeCluster(it)) => {
            checked(it.error_code, it.cluster_id.to_owned()).ok().map(Said::Cluster)
        }
        (Ask::Register(_), Response::BrokerRegistration(it)) => {
            Some(Said::Registered(checked(it.error_code, BrokerEpoch(it.broker_epoch))))
        }
        (Ask::Heartbeat(_), Response::BrokerHeartbeat(it)) => {
            let standing = Standing { caught_up: it.is_caught_up, fenced: it.is_fenced, may_stop: it.should_shut_down };
            Some(Said::Alive(checked(it.error_code, standing)))
        }
        (Ask::AlterPartitions { .. }, Response::AlterPartition(it)) => {
            let each = it.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|it| (topic.topic_id, it.partition_index, it.error_code))
            });
            Some(Said::Altered(checked(it.error_code, each.collect())))
        }
        (Ask::AssignReplicas { .. }, Response::AssignReplicasToDirs(it)) => {
            Some(Said::Assigned(checked(it.error_code, ())))
        }
        (Ask::AllocateProducerIds { .. }, Response::AllocateProducerIds(it)) => {
            let first = it.producer_id_start;
            let block: Range<i64> = first..first.saturating_add(i64::from(it.producer_id_len));
            Some(Said::ProducerIds(checked(it.error_code, block)))
        }
        (Ask::CreateTopics(_), Response::CreateTopics(_)) => Some(Said::Created),
        (Ask::Fetch { .. }, Response::Fetch(it)) => {
            let each = it.responses.iter().flat_map(|topic| {
                topic.partitions.iter().map(|partition| fetched(topic.topic_id, partition, &answer.frame))
            });
            Some(Said::Fetched(checked(it.error_code, each.collect())))
        }
        _ => None,
    }
}

fn fetched(topic_id: Uuid, it: &ottla_wire::api::fetch::PartitionData<'_>, frame: &Bytes) -> FetchedFrom {
    let records = it.records.and_then(|records| records.as_slice());
    let diverging = &it.diverging_epoch;
    FetchedFrom {
        topic_id,
        partition: it.partition_index,
        error: it.error_code,
        high_watermark: Offset(it.high_watermark),
        log_start: Offset(it.log_start_offset),
        diverging: (diverging.end_offset >= 0)
            .then_some(EpochEnd { epoch: LeaderEpoch(diverging.epoch), end_offset: Offset(diverging.end_offset) }),
        records: records.map_or_else(Bytes::new, |records| frame.slice_ref(records)),
    }
}

fn checked<T>(error: ErrorCode, value: T) -> Result<T, ErrorCode> {
    if error.is_error() { Err(error) } else { Ok(value) }
}

/// The controller's answer to a request that was forwarded, as this node's own.
pub(super) fn encode_forwarded(reply: Reply, version: i16, bytes: Bytes) -> Answer {
    let answer = rpc::Answer { call: rpc::CallId(0), api_key: reply.head.api_key, version, frame: bytes };
    let Ok(body) = answer.decode() else { return Answer::Close };
    let Head { api_key, api_version, correlation_id } = reply.head;
    let mut writer = Writer::with_capacity(256);
    let start = frame::begin(&mut writer);
    ResponseHeader { correlation_id }.encode(&mut writer, api_key, api_version);
    body.encode(&mut writer, api_version);
    frame::finish(&mut writer, start);
    Answer::Bytes(Bytes::from(writer.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_registered_by_what_stands_for_something_else() {
        for (broker_id, directory, good) in
            [(-2, 100, false), (-1, 100, false), (7, 0, false), (7, 1, false), (0, 100, true)]
        {
            let log_dirs = vec![Uuid(100), Uuid(directory)];
            let wire = BrokerRegistrationRequest { broker_id, log_dirs, ..Default::default() };
            assert_eq!(names_somebody(&wire), good, "broker {broker_id} in {directory}");
        }
    }
}
