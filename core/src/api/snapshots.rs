//! FetchSnapshot (59), on both sides: a node of the quorum reads a snapshot of the leader's piece by piece (KIP-630).

use bytes::Bytes;
use ottla_wire::api::fetch_snapshot::{
    FetchSnapshotRequest, FetchSnapshotResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionSnapshot,
    PartitionSnapshotResponse, SnapshotId as WireId, SnapshotIdResponse, TopicSnapshot, TopicSnapshotResponse,
};
use ottla_wire::{ErrorCode, Message, Records};

use super::quorum::{Asker, NOBODY, ask, is_ours, voter_key};
use super::{Call, Handled, Reply, respond};
use crate::controller::METADATA_TOPIC as TOPIC;
use crate::machine::Answer;
use crate::raft::{self, Known, ResponseBody, SnapshotId, SnapshotRequest};
use crate::types::{LeaderEpoch, Offset};

pub(super) fn handle(mut call: Call<'_>) -> Handled {
    let wire = FetchSnapshotRequest::decode(&mut call.request.reader(), call.reply.head.api_version)?;
    let refusal = FetchSnapshotResponse { error_code: ErrorCode::INCONSISTENT_CLUSTER_ID, ..Default::default() };
    if !is_ours(call.broker, wire.cluster_id) {
        return Ok(Some(respond(call.reply.head, &refusal)));
    }
    let known = wire.topics.iter().find(|topic| topic.name == TOPIC);
    let asked = known.and_then(|topic| topic.partitions.iter().find(|partition| partition.partition == 0));
    let request = asked.map(|it| {
        raft::Request::FetchSnapshot(SnapshotRequest {
            replica: voter_key(wire.replica_id, it.replica_directory_id),
            epoch: LeaderEpoch(it.current_leader_epoch),
            id: SnapshotId { end: Offset(it.snapshot_id.end_offset), epoch: LeaderEpoch(it.snapshot_id.epoch) },
            position: it.position,
            max_bytes: u32::try_from(wire.max_bytes).unwrap_or(0),
        })
    });
    // One that asks for another partition is told that there is none.
    let error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let unknown = |topic: &TopicSnapshot<'_>| {
        let partition = |it: &PartitionSnapshot| PartitionSnapshotResponse {
            index: it.partition,
            error_code,
            ..PartitionSnapshotResponse::default()
        };
        (topic.name.to_owned(), topic.partitions.iter().map(partition).collect::<Vec<_>>())
    };
    let unknown: Vec<_> = wire.topics.iter().map(unknown).collect();
    let topics =
        unknown.iter().map(|(name, partitions)| TopicSnapshotResponse { name, partitions: partitions.clone() });
    let refusal = FetchSnapshotResponse { topics: topics.collect(), ..Default::default() };
    ask(&mut call, request, &refusal)
}

/// A piece of a snapshot, or why there is none.
pub(super) fn encode(
    reply: Reply,
    (error, known): (ErrorCode, Known),
    (id, size, position): (SnapshotId, u64, u64),
    piece: &Bytes,
    address: Option<(i32, (&str, u16))>,
) -> Answer {
    let leader_id = known.leader.map_or(NOBODY, |leader| leader.0);
    let current_leader = LeaderIdAndEpoch { leader_id, leader_epoch: known.epoch.0 };
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let found = PartitionSnapshotResponse {
        snapshot_id: SnapshotIdResponse { end_offset: id.end.0, epoch: id.epoch.0 },
        size: number(size),
        position: number(position),
        unaligned_records: Records::Slice(piece),
        ..Default::default()
    };
    let found = if error.is_error() { PartitionSnapshotResponse::default() } else { found };
    let partition = PartitionSnapshotResponse { error_code: error, current_leader, ..found };
    let topic = TopicSnapshotResponse { name: TOPIC, partitions: vec![partition] };
    let endpoint = |(node_id, (host, port))| NodeEndpoint { node_id, host, port };
    let node_endpoints = address.map(endpoint).into_iter().collect();
    respond(reply.head, &FetchSnapshotResponse { topics: vec![topic], node_endpoints, ..Default::default() })
}

/// A request as it goes out.
pub(super) fn request_of<'a>(asker: Asker<'a>, it: &SnapshotRequest) -> FetchSnapshotRequest<'a> {
    let partition = PartitionSnapshot {
        partition: 0,
        current_leader_epoch: it.epoch.0,
        snapshot_id: WireId { end_offset: it.id.end.0, epoch: it.id.epoch.0 },
        position: it.position,
        replica_directory_id: asker.node.directory_id,
    };
    FetchSnapshotRequest {
        replica_id: asker.node.id.0,
        max_bytes: i32::try_from(it.max_bytes).unwrap_or(i32::MAX).min(asker.fetch_snapshot_max_bytes),
        topics: vec![TopicSnapshot { name: TOPIC, partitions: vec![partition] }],
        cluster_id: Some(asker.cluster_id),
    }
}

/// What an answer says; `None` if it makes no sense.
pub(super) fn response_of(it: &FetchSnapshotResponse<'_>) -> Option<raft::Response> {
    let partition = it.topics.first()?.partitions.first()?;
    let leader = &partition.current_leader;
    let leader_id = if leader.leader_epoch == 0 { NOBODY } else { leader.leader_id };
    let bytes = Bytes::copy_from_slice(partition.unaligned_records.as_slice().unwrap_or_default());
    let id = &partition.snapshot_id;
    let id = SnapshotId { end: Offset(id.end_offset), epoch: LeaderEpoch(id.epoch) };
    let (size, position) = (u64::try_from(partition.size).ok()?, u64::try_from(partition.position).ok()?);
    let body = ResponseBody::Snapshot { id, size, position, bytes };
    Some(super::quorum::said(partition.error_code, leader_id, leader.leader_epoch, body))
}
