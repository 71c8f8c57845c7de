//! Metadata (3) and DescribeTopicPartitions (75): brokers, topics, partitions and who leads them.
//!
//! Topics by id from version 10 on (KIP-516). An empty list means all topics in version 0 and none from 1 on, where
//! null means all. A topic that is not there is made if client and broker agree (`auto.create.topics.enable`), and the
//! answer then waits for it: Kafka answers LEADER_NOT_AVAILABLE meanwhile, and every client asks again.

use std::collections::BTreeMap;

use ottla_wire::api::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use ottla_wire::api::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::{ErrorCode, Message, Uuid};

use super::{Call, Handled, Reply, once, respond};
use crate::broker::Broker;
use crate::controller::{MetadataImage, PartitionImage, TopicImage, is_internal};
use crate::machine::Answer;
use crate::types::BrokerId;

/// Every operation on a topic, as bits: nobody is kept from any, since there is no authorizer.
pub(super) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// Every operation on the cluster, as bits.
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// The operations were not asked for.
pub(super) const NOT_ASKED: i32 = i32::MIN;

pub(super) fn handle(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = MetadataRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let all = wire.topics.is_none() || reply.head.api_version == 0 && wire.topics.as_ref().is_some_and(Vec::is_empty);
    if all {
        let image = broker.image();
        let topics = image.topics().map(|topic| found(image, topic, wire.include_topic_authorized_operations));
        return Ok(Some(response(broker, reply, topics.collect(), &wire)));
    }
    // By an id, whatever name stands beside it.
    let wanted = once(wire.topics.iter().flatten(), |it| (it.name.filter(|_| it.topic_id.is_zero()), it.topic_id));
    let by_name: Vec<&str> =
        wanted.iter().filter(|it| it.topic_id == Uuid::default()).filter_map(|it| it.name).collect();
    let missing = by_name.iter().any(|name| broker.topic(name).is_none());
    if missing && wire.allow_auto_topic_creation && broker.creates_topics() {
        broker.create_missing(now, ticket, by_name.into_iter().map(str::to_owned).collect(), out);
        return Ok(None);
    }
    let topics = wanted.iter().map(|it| {
        let operations = wire.include_topic_authorized_operations;
        let known = if it.topic_id == Uuid::default() {
            it.name.and_then(|name| broker.topic(name))
        } else {
            broker.image().topic_by_id(it.topic_id)
        };
        known.map_or_else(|| unknown(it.name, it.topic_id, None), |topic| found(broker.image(), topic, operations))
    });
    Ok(Some(response(broker, reply, topics.collect(), &wire)))
}

/// The answer that waited until the missing topics were made.
pub(super) fn encode(broker: &Broker, reply: Reply, names: &[String], refused: &BTreeMap<String, ErrorCode>) -> Answer {
    let topics = names.iter().map(|name| match broker.topic(name) {
        Some(topic) => found(broker.image(), topic, false),
        None => unknown(Some(name), Uuid::default(), refused.get(name).copied()),
    });
    response(broker, reply, topics.collect(), &MetadataRequest::default())
}

fn response(
    broker: &Broker,
    reply: Reply,
    topics: Vec<MetadataResponseTopic<'_>>,
    request: &MetadataRequest<'_>,
) -> Answer {
    let asked = request.include_cluster_authorized_operations;
    let brokers = broker.endpoints(reply.listener).map(|it| MetadataResponseBroker {
        node_id: it.id.0,
        host: it.host,
        port: i32::from(it.port),
        rack: it.rack,
    });
    let body = MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(broker.cluster_id()),
        controller_id: broker.node().0,
        topics,
        cluster_authorized_operations: if asked { CLUSTER_OPERATIONS } else { NOT_ASKED },
        ..Default::default()
    };
    respond(reply.head, &body)
}

fn found<'a>(image: &MetadataImage, topic: &'a TopicImage, operations: bool) -> MetadataResponseTopic<'a> {
    let partitions = (0..).zip(&topic.partitions).map(|(index, it)| MetadataResponsePartition {
        error_code: leader_error(it),
        partition_index: index,
        leader_id: it.leader.map_or(-1, |leader| leader.0),
        leader_epoch: it.leader_epoch.0,
        replica_nodes: ids(&it.replicas),
        isr_nodes: ids(&it.isr),
        offline_replicas: offline(image, it),
    });
    MetadataResponseTopic {
        error_code: ErrorCode::NONE,
        name: Some(&topic.name),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: if operations { TOPIC_OPERATIONS } else { NOT_ASKED },
    }
}

fn unknown(name: Option<&str>, topic_id: Uuid, refused: Option<ErrorCode>) -> MetadataResponseTopic<'_> {
    let by_id = topic_id != Uuid::default();
    let missing = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    let invalid = name.is_some_and(str::is_empty) && !by_id;
    let error_code = refused.unwrap_or(if invalid { ErrorCode::INVALID_TOPIC_EXCEPTION } else { missing });
    MetadataResponseTopic { error_code, name: name.or(Some("")), topic_id, ..Default::default() }
}

pub(super) fn handle_partitions(call: Call<'_>) -> Handled {
    let Call { broker, request, reply, .. } = call;
    let wire = DescribeTopicPartitionsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let most = broker.config().broker.topics.max_describe_partitions;
    let mut room = usize::try_from(wire.response_partition_limit).unwrap_or(0).min(usize::try_from(most).unwrap_or(1));
    let (from_topic, from_partition) = wire.cursor.as_ref().map_or(("", 0), |it| (it.topic_name, it.partition_index));
    let mut names: Vec<&str> = wire.topics.iter().map(|topic| topic.name).collect();
    if names.is_empty() {
        names = broker.image().topics_from(from_topic).map(|topic| &*topic.name).collect();
    }
    names.sort_unstable();
    names.dedup();
    let mut body = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().filter(|name| *name >= from_topic) {
        if room == 0 {
            body.next_cursor = Some(Cursor { topic_name: name, partition_index: 0 });
            break;
        }
        let Some(topic) = broker.topic(name) else {
            let error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            body.topics.push(DescribeTopicPartitionsResponseTopic {
                error_code,
                name: Some(name),
                ..Default::default()
            });
            continue;
        };
        let skip = if name == from_topic { usize::try_from(from_partition).unwrap_or(0) } else { 0 };
        let described = described(broker.image(), topic, skip, room);
        let next = skip + described.partitions.len();
        room -= described.partitions.len().min(room);
        body.topics.push(described);
        if next < topic.partitions.len() {
            let partition_index = i32::try_from(next).unwrap_or(i32::MAX);
            body.next_cursor = Some(Cursor { topic_name: name, partition_index });
            break;
        }
    }
    Ok(Some(respond(reply.head, &body)))
}

fn described<'a>(
    image: &MetadataImage,
    topic: &'a TopicImage,
    skip: usize,
    room: usize,
) -> DescribeTopicPartitionsResponseTopic<'a> {
    let partitions = (0..).zip(&topic.partitions).skip(skip).take(room);
    let partitions = partitions.map(|(index, it)| DescribeTopicPartitionsResponsePartition {
        error_code: leader_error(it),
        partition_index: index,
        leader_id: it.leader.map_or(-1, |leader| leader.0),
        leader_epoch: it.leader_epoch.0,
        replica_nodes: ids(&it.replicas),
        isr_nodes: ids(&it.isr),
        eligible_leader_replicas: Some(ids(&it.elr)),
        last_known_elr: Some(ids(&it.last_known_elr)),
        offline_replicas: offline(image, it),
    });
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::NONE,
        name: Some(&topic.name),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: TOPIC_OPERATIONS,
    }
}

const fn leader_error(partition: &PartitionImage) -> ErrorCode {
    if partition.leader.is_some() { ErrorCode::NONE } else { ErrorCode::LEADER_NOT_AVAILABLE }
}

/// The replicas whose brokers are out of service, or cannot use them.
fn offline(image: &MetadataImage, partition: &PartitionImage) -> Vec<i32> {
    let is_offline = |id: &BrokerId| image.broker(*id).is_none_or(|it| it.fenced) || partition.is_lost(*id);
    partition.replicas.iter().filter(|id| is_offline(id)).map(|id| id.0).collect()
}

fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}
