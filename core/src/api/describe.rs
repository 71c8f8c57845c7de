//! DescribeCluster (60), DescribeLogDirs (35) and DescribeQuorum (55).

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::api::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};
use ottla_wire::api::describe_log_dirs::{
    Compaction, DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use ottla_wire::api::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};
use ottla_wire::{ErrorCode, Message};

use super::brokers::CONTROLLERS;
use super::metadata::{CLUSTER_OPERATIONS, NOT_ASKED};
use super::{Call, Handled, Reply, respond};
use crate::broker::{Broker, LogDirDescribed};
use crate::clock::WallTime;
use crate::controller::METADATA_TOPIC;
use crate::log::CleanerView;
use crate::machine::Answer;
use crate::raft::{QuorumState, Raft, ReplicaProgress, VoterKey, VoterSet};

/// The endpoint type of a listener for clients.
const BROKERS: i8 = 1;

pub(super) fn cluster(call: Call<'_>) -> Handled {
    let Call { broker, request, reply, .. } = call;
    let wire = DescribeClusterRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let here = if broker.is_controller_listener(reply.listener) { CONTROLLERS } else { BROKERS };
    if wire.endpoint_type != here {
        let body = DescribeClusterResponse {
            error_code: ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            error_message: Some("The request was sent to an endpoint of the wrong type."),
            endpoint_type: here,
            ..Default::default()
        };
        return Ok(Some(respond(reply.head, &body)));
    }
    if here == CONTROLLERS {
        return Ok(Some(controllers(broker, reply)));
    }
    let addresses = broker.all_endpoints(reply.listener).filter(|it| wire.include_fenced_brokers || !it.is_fenced);
    let brokers = addresses.map(|it| DescribeClusterBroker {
        broker_id: it.id.0,
        host: it.host,
        port: i32::from(it.port),
        rack: it.rack,
        is_fenced: it.is_fenced,
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

/// The cluster as it is told on a controllers' listener (KIP-919).
fn controllers(broker: &Broker, reply: Reply) -> Answer {
    let quorum = broker.quorum().map(|(raft, _)| raft);
    let voters = quorum.and_then(Raft::voters).into_iter().flat_map(VoterSet::iter);
    let brokers = voters.filter_map(|(key, voter)| {
        let endpoint = voter.endpoints.first()?;
        Some(DescribeClusterBroker {
            broker_id: key.id.0,
            host: &endpoint.host,
            port: i32::from(endpoint.port),
            ..Default::default()
        })
    });
    let body = DescribeClusterResponse {
        endpoint_type: CONTROLLERS,
        cluster_id: broker.cluster_id(),
        controller_id: quorum.and_then(Raft::leader).map_or(-1, |leader| leader.0),
        brokers: brokers.collect(),
        ..Default::default()
    };
    respond(reply.head, &body)
}

pub(super) fn log_dirs(call: Call<'_>) -> Handled {
    let Call { broker, request, reply, .. } = call;
    let wire = DescribeLogDirsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let topics = wire.topics.as_ref().map(|topics| {
        let mut wanted: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
        for topic in topics {
            wanted.entry(topic.topic).or_default().extend(&topic.partitions);
        }
        wanted
    });
    let described = broker.describe_log_dirs(|partition| {
        let wanted = |topics: &BTreeMap<&str, BTreeSet<i32>>| {
            topics.get(&*partition.topic).is_some_and(|partitions| partitions.contains(&partition.partition))
        };
        topics.as_ref().is_none_or(wanted)
    });
    let results = described.iter().map(directory).collect();
    Ok(Some(respond(reply.head, &DescribeLogDirsResponse { results, ..Default::default() })))
}

pub(super) fn quorum(call: Call<'_>) -> Handled {
    let Call { broker, now, request, reply, .. } = call;
    let wire = DescribeQuorumRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let asked = wire.topics.first().is_some_and(|topic| topic.topic_name == METADATA_TOPIC);
    let Some((raft, log_end)) = broker.quorum().filter(|_| asked && wire.topics.len() == 1) else {
        let body = DescribeQuorumResponse { error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ..Default::default() };
        return Ok(Some(respond(reply.head, &body)));
    };
    let QuorumState::Leader(leader) = raft.role() else {
        let partition = PartitionData { error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER, ..Default::default() };
        let topic = TopicData { topic_name: METADATA_TOPIC, partitions: vec![partition] };
        return Ok(Some(respond(reply.head, &DescribeQuorumResponse { topics: vec![topic], ..Default::default() })));
    };
    let voters = || raft.voters().into_iter().flat_map(|voters| voters.iter());
    let is_voter = |key: VoterKey| raft.voters().is_some_and(|voters| voters.contains(key));
    let state = |(key, progress): (VoterKey, ReplicaProgress)| {
        // Of itself the leader knows all there is, now.
        let own = key == raft.node();
        let time = |at: Option<WallTime>| if own { now.wall.0 } else { at.map_or(-1, |at| at.0) };
        ReplicaState {
            replica_id: key.id.0,
            replica_directory_id: key.directory_id,
            // Who has not fetched yet from this leader may have anything.
            log_end_offset: match progress.fetched_at {
                _ if own => log_end.0,
                Some(_) => progress.end.0,
                None => -1,
            },
            last_fetch_timestamp: time(progress.fetched_at),
            last_caught_up_timestamp: time(progress.caught_up_at),
        }
    };
    let partition = PartitionData {
        leader_id: raft.node().id.0,
        leader_epoch: raft.epoch().0,
        high_watermark: raft.high_watermark().map_or(-1, |offset| offset.0),
        current_voters: leader.replicas().filter(|(key, _)| is_voter(*key)).map(state).collect(),
        observers: leader.replicas().filter(|(key, _)| !is_voter(*key)).map(state).collect(),
        ..Default::default()
    };
    let nodes = voters().map(|(key, voter)| {
        let listeners = voter.endpoints.iter().map(|endpoint| Listener {
            name: &endpoint.name,
            host: &endpoint.host,
            port: endpoint.port,
        });
        Node { node_id: key.id.0, listeners: listeners.collect() }
    });
    let topic = TopicData { topic_name: METADATA_TOPIC, partitions: vec![partition] };
    let body = DescribeQuorumResponse { topics: vec![topic], nodes: nodes.collect(), ..Default::default() };
    Ok(Some(respond(reply.head, &body)))
}

fn compaction(view: &CleanerView) -> Compaction<'_> {
    let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    Compaction {
        clean_to: view.clean_to.0,
        clean_bytes: bytes(view.dirt.clean_bytes),
        dirty_bytes: bytes(view.dirt.dirty_bytes),
        is_running: view.is_running,
        uncleanable: view.uncleanable.as_deref(),
    }
}

fn directory(described: &LogDirDescribed) -> DescribeLogDirsResult<'_> {
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition<'_>>> = BTreeMap::new();
    for it in &described.replicas {
        let partition = DescribeLogDirsPartition {
            partition_index: it.partition.partition,
            partition_size: i64::try_from(it.size).unwrap_or(i64::MAX),
            offset_lag: 0,
            is_future_key: false,
            compaction: it.compaction.as_ref().map(compaction).unwrap_or_default(),
        };
        topics.entry(&*it.partition.topic).or_default().push(partition);
    }
    let topics = topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name, partitions }).collect();
    DescribeLogDirsResult { error_code: described.error, log_dir: &described.path, topics, ..Default::default() }
}
