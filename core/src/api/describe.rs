//! DescribeCluster (60) and DescribeLogDirs (35).

use ottla_wire::api::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};
use ottla_wire::api::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use ottla_wire::{ErrorCode, Message};

use super::metadata::{CLUSTER_OPERATIONS, NOT_ASKED};
use super::{Call, Handled, respond};
use crate::broker::LogDirDescribed;

/// Brokers are asked about; 2 would be controllers (KIP-919), on a controller's listener.
const BROKERS: i8 = 1;

pub(super) fn cluster(call: Call<'_>) -> Handled {
    let Call { broker, request, reply, .. } = call;
    let wire = DescribeClusterRequest::decode(&mut request.reader(), reply.head.api_version)?;
    if wire.endpoint_type != BROKERS {
        let body = DescribeClusterResponse {
            error_code: ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            error_message: Some("The request was sent to an endpoint of the wrong type."),
            endpoint_type: BROKERS,
            ..Default::default()
        };
        return Ok(Some(respond(reply.head, &body)));
    }
    let brokers = broker.endpoints(reply.listener).map(|it| DescribeClusterBroker {
        broker_id: it.id.0,
        host: it.host,
        port: i32::from(it.port),
        rack: it.rack,
        is_fenced: false,
    });
    let asked = wire.include_cluster_authorized_operations;
    let body = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: broker.cluster_id(),
        controller_id: broker.node().0,
        brokers: brokers.collect(),
        cluster_authorized_operations: if asked { CLUSTER_OPERATIONS } else { NOT_ASKED },
        ..Default::default()
    };
    Ok(Some(respond(reply.head, &body)))
}

pub(super) fn log_dirs(call: Call<'_>) -> Handled {
    let Call { broker, request, reply, .. } = call;
    let wire = DescribeLogDirsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let described = broker.describe_log_dirs(|partition| {
        wire.topics.as_ref().is_none_or(|topics| {
            let named = |topic: &&ottla_wire::api::describe_log_dirs::DescribableLogDirTopic<'_>| {
                topic.topic == &*partition.topic
            };
            topics.iter().find(named).is_some_and(|topic| topic.partitions.contains(&partition.partition))
        })
    });
    let results = described.iter().map(directory).collect();
    Ok(Some(respond(reply.head, &DescribeLogDirsResponse { results, ..Default::default() })))
}

fn directory(described: &LogDirDescribed) -> DescribeLogDirsResult<'_> {
    let mut topics: Vec<DescribeLogDirsTopic<'_>> = Vec::new();
    for it in &described.replicas {
        let partition = DescribeLogDirsPartition {
            partition_index: it.partition.partition,
            partition_size: i64::try_from(it.size).unwrap_or(i64::MAX),
            offset_lag: 0,
            is_future_key: false,
        };
        match topics.iter_mut().find(|topic| topic.name == &*it.partition.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(DescribeLogDirsTopic { name: &it.partition.topic, partitions: vec![partition] }),
        }
    }
    DescribeLogDirsResult { error_code: described.error, log_dir: &described.path, topics, ..Default::default() }
}
