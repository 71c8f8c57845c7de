//! What the nodes of the metadata quorum ask each other, on both sides: Vote (52), BeginQuorumEpoch (53),
//! EndQuorumEpoch (54), AddRaftVoter (80), RemoveRaftVoter (81), UpdateRaftVoter (82), and Fetch (1) of the metadata
//! log. FetchSnapshot (59) is [`snapshots`]'.
//!
//! Each speaks of one partition. A request that names another cluster is refused (KIP-595). An answer names the leader
//! that its sender knows, with its address (KIP-853).

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::api::add_raft_voter::{AddRaftVoterRequest, AddRaftVoterResponse, Listener};
use ottla_wire::api::begin_quorum_epoch::{self as begin, BeginQuorumEpochRequest, BeginQuorumEpochResponse};
use ottla_wire::api::end_quorum_epoch::{self as end, EndQuorumEpochRequest, EndQuorumEpochResponse};
use ottla_wire::api::fetch::{self, FetchRequest, FetchResponse};
use ottla_wire::api::remove_raft_voter::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};
use ottla_wire::api::update_raft_voter::{self, UpdateRaftVoterRequest, UpdateRaftVoterResponse};
use ottla_wire::api::vote::{self, VoteRequest, VoteResponse};
use ottla_wire::api::{Request, Response};
use ottla_wire::{ApiKey, ErrorCode, Message, Records, Uuid};

use super::{Call, Handled, Reply, respond, snapshots};
use crate::broker::Broker;
use crate::controller::{METADATA_TOPIC as TOPIC, METADATA_TOPIC_ID as TOPIC_ID};
use crate::log::leader_epoch_cache::EpochEnd;
use crate::machine::Answer;
use crate::raft::{
    self, AddVoterRequest, BeginRequest, EndRequest, Found, Known, ReplyBody, ResponseBody, SnapshotId,
    UpdateVoterRequest, Voter, VoterEndpoint, VoterKey,
};
use crate::types::{BrokerId, LeaderEpoch, Offset};

pub(super) const NOBODY: i32 = -1;

pub(super) fn vote(mut call: Call<'_>) -> Handled {
    let wire = VoteRequest::decode(&mut call.request.reader(), call.reply.head.api_version)?;
    let known = |topic: &&vote::VoteTopic<'_>| topic.topic_name == TOPIC;
    let asked = wire.topics.iter().find(known).and_then(|topic| topic.partitions.first());
    let request = asked.filter(|_| is_ours(call.broker, wire.cluster_id)).map(|it| {
        let end = Offset(it.last_offset);
        raft::Request::Vote(raft::VoteRequest {
            voter: voter_key(wire.voter_id, it.voter_directory_id),
            epoch: LeaderEpoch(it.replica_epoch),
            candidate: VoterKey { id: BrokerId(it.replica_id), directory_id: it.replica_directory_id },
            last_epoch: epoch_before(end, it.last_offset_epoch),
            end,
            pre_vote: it.pre_vote,
        })
    });
    let refusal = VoteResponse { error_code: ErrorCode::INCONSISTENT_CLUSTER_ID, ..Default::default() };
    ask(&mut call, request, &refusal)
}

pub(super) fn begin(mut call: Call<'_>) -> Handled {
    let wire = BeginQuorumEpochRequest::decode(&mut call.request.reader(), call.reply.head.api_version)?;
    let known = |topic: &&begin::BeginQuorumEpochTopic<'_>| topic.topic_name == TOPIC;
    let asked = wire.topics.iter().find(known).and_then(|topic| topic.partitions.first());
    let request = asked.filter(|_| is_ours(call.broker, wire.cluster_id)).map(|it| {
        raft::Request::Begin(BeginRequest {
            voter: voter_key(wire.voter_id, it.voter_directory_id),
            leader: BrokerId(it.leader_id),
            epoch: LeaderEpoch(it.leader_epoch),
        })
    });
    let refusal = BeginQuorumEpochResponse { error_code: ErrorCode::INCONSISTENT_CLUSTER_ID, ..Default::default() };
    ask(&mut call, request, &refusal)
}

pub(super) fn end(mut call: Call<'_>) -> Handled {
    let wire = EndQuorumEpochRequest::decode(&mut call.request.reader(), call.reply.head.api_version)?;
    let known = |topic: &&end::EndQuorumEpochTopic<'_>| topic.topic_name == TOPIC;
    let asked = wire.topics.iter().find(known).and_then(|topic| topic.partitions.first());
    let request = asked.filter(|_| is_ours(call.broker, wire.cluster_id)).map(|it| {
        let candidates = it.preferred_candidates.iter().map(|candidate| candidate.candidate_id);
        let successors = it.preferred_successors.iter().copied().chain(candidates).map(BrokerId).collect();
        raft::Request::End(EndRequest {
            leader: BrokerId(it.leader_id),
            epoch: LeaderEpoch(it.leader_epoch),
            successors,
        })
    });
    let refusal = EndQuorumEpochResponse { error_code: ErrorCode::INCONSISTENT_CLUSTER_ID, ..Default::default() };
    ask(&mut call, request, &refusal)
}

pub(super) fn add_voter(mut call: Call<'_>) -> Handled {
    let wire = AddRaftVoterRequest::decode(&mut call.request.reader(), call.reply.head.api_version)?;
    let endpoint =
        |it: &Listener<'_>| VoterEndpoint { name: it.name.to_owned(), host: it.host.to_owned(), port: it.port };
    let endpoints = wire.listeners.iter().map(endpoint).collect();
    let voter = Voter { endpoints, max_kraft_version: raft::KRAFT_VERSION };
    let key = VoterKey { id: BrokerId(wire.voter_id), directory_id: wire.voter_directory_id };
    let request = raft::Request::AddVoter(AddVoterRequest { key, voter, when_committed: wire.ack_when_committed });
    let ours = is_ours(call.broker, wire.cluster_id);
    let refusal = AddRaftVoterResponse { error_code: ErrorCode::INCONSISTENT_CLUSTER_ID, ..Default::default() };
    ask(&mut call, ours.then_some(request), &refusal)
}

pub(super) fn update_voter(mut call: Call<'_>) -> Handled {
    let wire = UpdateRaftVoterRequest::decode(&mut call.request.reader(), call.reply.head.api_version)?;
    let endpoint = |it: &update_raft_voter::Listener<'_>| VoterEndpoint {
        name: it.name.to_owned(),
        host: it.host.to_owned(),
        port: it.port,
    };
    let endpoints = wire.listeners.iter().map(endpoint).collect();
    let voter = Voter { endpoints, max_kraft_version: wire.k_raft_version_feature.max_supported_version };
    let key = VoterKey { id: BrokerId(wire.voter_id), directory_id: wire.voter_directory_id };
    let epoch = LeaderEpoch(wire.current_leader_epoch);
    let request = raft::Request::UpdateVoter(UpdateVoterRequest { epoch, key, voter });
    let ours = is_ours(call.broker, wire.cluster_id);
    let refusal = UpdateRaftVoterResponse { error_code: ErrorCode::INCONSISTENT_CLUSTER_ID, ..Default::default() };
    ask(&mut call, ours.then_some(request), &refusal)
}

pub(super) fn remove_voter(mut call: Call<'_>) -> Handled {
    let wire = RemoveRaftVoterRequest::decode(&mut call.request.reader(), call.reply.head.api_version)?;
    let key = VoterKey { id: BrokerId(wire.voter_id), directory_id: wire.voter_directory_id };
    let ours = is_ours(call.broker, wire.cluster_id);
    let refusal = RemoveRaftVoterResponse { error_code: ErrorCode::INCONSISTENT_CLUSTER_ID, ..Default::default() };
    ask(&mut call, ours.then_some(raft::Request::RemoveVoter(key)), &refusal)
}

/// Whether a fetch reads the metadata log as a node of the quorum does.
pub(super) fn is_metadata_fetch(wire: &FetchRequest<'_>) -> bool {
    wire.topics.iter().any(|topic| topic.topic == TOPIC || topic.topic_id == TOPIC_ID)
}

pub(super) fn fetch(mut call: Call<'_>, wire: &FetchRequest<'_>) -> Handled {
    let asked = wire.topics.iter().find(|topic| topic.topic == TOPIC || topic.topic_id == TOPIC_ID);
    let asked = asked.and_then(|topic| topic.partitions.first());
    let id = if wire.replica_id == NOBODY { wire.replica_state.replica_id } else { wire.replica_id };
    let request = asked.filter(|_| is_ours(call.broker, wire.cluster_id)).map(|it| {
        let offset = Offset(it.fetch_offset);
        raft::Request::Fetch(raft::FetchRequest {
            replica: voter_key(id, it.replica_directory_id),
            epoch: LeaderEpoch(it.current_leader_epoch),
            offset,
            last_epoch: epoch_before(offset, it.last_fetched_epoch),
            high_watermark: (it.high_watermark >= 0).then_some(Offset(it.high_watermark)),
            max_wait: Duration::from_millis(u64::try_from(wire.max_wait_ms).unwrap_or(0)),
        })
    });
    let refusal = FetchResponse { error_code: ErrorCode::INCONSISTENT_CLUSTER_ID, ..Default::default() };
    ask(&mut call, request, &refusal)
}

/// The answer to any of them. `records` is what the log has for a fetch.
pub(super) fn encode(broker: &Broker, reply: Reply, said: &raft::Reply, records: &Bytes) -> Answer {
    let raft::Reply { error, known, body } = *said;
    let (leader_id, leader_epoch) = (known.leader.map_or(NOBODY, |leader| leader.0), known.epoch.0);
    let address = known.leader.and_then(|leader| Some((leader.0, broker.quorum_endpoint(leader)?)));
    match body {
        ReplyBody::Vote { granted } => {
            let endpoint = |(node_id, (host, port))| vote::NodeEndpoint { node_id, host, port };
            let partition = vote::VotePartitionResponse {
                error_code: error,
                leader_id,
                leader_epoch,
                vote_granted: granted,
                ..Default::default()
            };
            let topic = vote::VoteTopicResponse { topic_name: TOPIC, partitions: vec![partition] };
            let node_endpoints = address.map(endpoint).into_iter().collect();
            respond(reply.head, &VoteResponse { topics: vec![topic], node_endpoints, ..Default::default() })
        }
        ReplyBody::Begin => {
            let endpoint = |(node_id, (host, port))| begin::NodeEndpoint { node_id, host, port };
            let partition = begin::BeginQuorumEpochPartitionResponse {
                error_code: error,
                leader_id,
                leader_epoch,
                ..Default::default()
            };
            let topic = begin::BeginQuorumEpochTopicResponse { topic_name: TOPIC, partitions: vec![partition] };
            let node_endpoints = address.map(endpoint).into_iter().collect();
            respond(reply.head, &BeginQuorumEpochResponse { topics: vec![topic], node_endpoints, ..Default::default() })
        }
        ReplyBody::End => {
            let endpoint = |(node_id, (host, port))| end::NodeEndpoint { node_id, host, port };
            let partition = end::EndQuorumEpochPartitionResponse {
                error_code: error,
                leader_id,
                leader_epoch,
                ..Default::default()
            };
            let topic = end::EndQuorumEpochTopicResponse { topic_name: TOPIC, partitions: vec![partition] };
            let node_endpoints = address.map(endpoint).into_iter().collect();
            respond(reply.head, &EndQuorumEpochResponse { topics: vec![topic], node_endpoints, ..Default::default() })
        }
        ReplyBody::Fetch { high_watermark, found } => {
            let start = broker.quorum().map_or(Offset::ZERO, |(raft, _)| raft.log().start);
            encode_fetched(reply, (error, known), (start, high_watermark, found), records, address)
        }
        ReplyBody::Snapshot { id, size, position, .. } => {
            snapshots::encode(reply, (error, known), (id, size, position), records, address)
        }
        ReplyBody::Voters { why } => {
            let error_message = error.is_error().then(|| why.unwrap_or_else(|| error.message()));
            if reply.head.api_key == ApiKey::UpdateRaftVoter {
                let (leader_id, leader_epoch) = (known.leader.map_or(NOBODY, |leader| leader.0), known.epoch.0);
                let (host, port) = address.map_or(("", 0), |(_, (host, port))| (host, i32::from(port)));
                let current_leader = update_raft_voter::CurrentLeader { leader_id, leader_epoch, host, port };
                return respond(
                    reply.head,
                    &UpdateRaftVoterResponse { throttle_time_ms: 0, error_code: error, current_leader },
                );
            }
            if reply.head.api_key == ApiKey::RemoveRaftVoter {
                let body = RemoveRaftVoterResponse { error_code: error, error_message, ..Default::default() };
                return respond(reply.head, &body);
            }
            respond(reply.head, &AddRaftVoterResponse { error_code: error, error_message, ..Default::default() })
        }
    }
}

fn encode_fetched(
    reply: Reply,
    (error, known): (ErrorCode, Known),
    (start, high_watermark, found): (Offset, Option<Offset>, Found),
    records: &Bytes,
    address: Option<(i32, (&str, u16))>,
) -> Answer {
    let (leader_id, leader_epoch) = (known.leader.map_or(NOBODY, |leader| leader.0), known.epoch.0);
    let diverging = match found {
        Found::Diverging(it) => fetch::EpochEndOffset { epoch: it.epoch.0, end_offset: it.end_offset.0 },
        Found::Log(_) | Found::Snapshot(_) | Found::Nothing => fetch::EpochEndOffset::default(),
    };
    let snapshot_id = match found {
        Found::Snapshot(id) => fetch::SnapshotId { end_offset: id.end.0, epoch: id.epoch.0 },
        Found::Log(_) | Found::Diverging(_) | Found::Nothing => fetch::SnapshotId::default(),
    };
    let partition = fetch::PartitionData {
        error_code: error,
        high_watermark: high_watermark.map_or(-1, |offset| offset.0),
        log_start_offset: start.0,
        records: Some(Records::Slice(records)),
        diverging_epoch: diverging,
        snapshot_id,
        current_leader: fetch::LeaderIdAndEpoch { leader_id, leader_epoch },
        ..Default::default()
    };
    let topic = fetch::FetchableTopicResponse { topic: TOPIC, topic_id: TOPIC_ID, partitions: vec![partition] };
    let endpoint = |(node_id, (host, port)): (i32, (_, u16))| fetch::NodeEndpoint {
        node_id,
        host,
        port: i32::from(port),
        rack: None,
    };
    let node_endpoints = address.map(endpoint).into_iter().collect();
    respond(reply.head, &FetchResponse { responses: vec![topic], node_endpoints, ..Default::default() })
}

/// Who asks: what a request tells of its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    /// The cluster.
    pub cluster_id: &'a str,
    /// The node.
    pub node: VoterKey,
    /// Where it is reached by other nodes.
    pub endpoints: &'a [VoterEndpoint],
    /// The most that a fetch takes, in bytes.
    pub fetch_max_bytes: i32,
    /// The most that it takes of a snapshot at a time, in bytes.
    pub fetch_snapshot_max_bytes: i32,
}

/// A request of the quorum's as it goes out.
pub(crate) fn request_of<'a>(asker: Asker<'a>, request: &'a raft::Request) -> Request<'a> {
    let cluster_id = Some(asker.cluster_id);
    match request {
        raft::Request::Vote(it) => {
            let voter = it.voter.unwrap_or(VoterKey { id: BrokerId(NOBODY), directory_id: Uuid::ZERO });
            let partition = vote::VotePartition {
                partition_index: 0,
                replica_epoch: it.epoch.0,
                replica_id: it.candidate.id.0,
                replica_directory_id: it.candidate.directory_id,
                voter_directory_id: voter.directory_id,
                last_offset_epoch: it.last_epoch.unwrap_or_default().0,
                last_offset: it.end.0,
                pre_vote: it.pre_vote,
            };
            let topic = vote::VoteTopic { topic_name: TOPIC, partitions: vec![partition] };
            VoteRequest { cluster_id, voter_id: voter.id.0, topics: vec![topic] }.into()
        }
        raft::Request::Begin(it) => {
            let voter = it.voter.unwrap_or(VoterKey { id: BrokerId(NOBODY), directory_id: Uuid::ZERO });
            let partition = begin::BeginQuorumEpochPartition {
                partition_index: 0,
                voter_directory_id: voter.directory_id,
                leader_id: it.leader.0,
                leader_epoch: it.epoch.0,
            };
            let topic = begin::BeginQuorumEpochTopic { topic_name: TOPIC, partitions: vec![partition] };
            let own = |it: &'a VoterEndpoint| begin::LeaderEndpoint { name: &it.name, host: &it.host, port: it.port };
            let leader_endpoints = asker.endpoints.iter().map(own).collect();
            BeginQuorumEpochRequest { cluster_id, voter_id: voter.id.0, topics: vec![topic], leader_endpoints }.into()
        }
        raft::Request::End(it) => {
            let candidate = |id: &BrokerId| end::PreferredCandidate { candidate_id: id.0, ..Default::default() };
            let partition = end::EndQuorumEpochPartition {
                partition_index: 0,
                leader_id: it.leader.0,
                leader_epoch: it.epoch.0,
                preferred_successors: it.successors.iter().map(|id| id.0).collect(),
                preferred_candidates: it.successors.iter().map(candidate).collect(),
            };
            let topic = end::EndQuorumEpochTopic { topic_name: TOPIC, partitions: vec![partition] };
            let own = |it: &'a VoterEndpoint| end::LeaderEndpoint { name: &it.name, host: &it.host, port: it.port };
            let leader_endpoints = asker.endpoints.iter().map(own).collect();
            EndQuorumEpochRequest { cluster_id, topics: vec![topic], leader_endpoints }.into()
        }
        raft::Request::Fetch(it) => fetch_of(asker, it).into(),
        raft::Request::FetchSnapshot(it) => snapshots::request_of(asker, it).into(),
        raft::Request::AddVoter(it) => {
            let listener = |it: &'a VoterEndpoint| Listener { name: &it.name, host: &it.host, port: it.port };
            AddRaftVoterRequest {
                cluster_id,
                timeout_ms: 0,
                voter_id: it.key.id.0,
                voter_directory_id: it.key.directory_id,
                listeners: it.voter.endpoints.iter().map(listener).collect(),
                ack_when_committed: it.when_committed,
            }
            .into()
        }
        raft::Request::UpdateVoter(it) => update_of(cluster_id, it).into(),
        raft::Request::RemoveVoter(it) => {
            let (voter_id, voter_directory_id) = (it.id.0, it.directory_id);
            RemoveRaftVoterRequest { cluster_id, voter_id, voter_directory_id }.into()
        }
    }
}

fn update_of<'a>(cluster_id: Option<&'a str>, it: &'a UpdateVoterRequest) -> UpdateRaftVoterRequest<'a> {
    let listener =
        |it: &'a VoterEndpoint| update_raft_voter::Listener { name: &it.name, host: &it.host, port: it.port };
    UpdateRaftVoterRequest {
        cluster_id,
        current_leader_epoch: it.epoch.0,
        voter_id: it.key.id.0,
        voter_directory_id: it.key.directory_id,
        listeners: it.voter.endpoints.iter().map(listener).collect(),
        k_raft_version_feature: update_raft_voter::KRaftVersionFeature {
            min_supported_version: 0,
            max_supported_version: it.voter.max_kraft_version,
        },
    }
}

fn fetch_of<'a>(asker: Asker<'a>, it: &raft::FetchRequest) -> FetchRequest<'a> {
    let partition = fetch::FetchPartition {
        partition: 0,
        current_leader_epoch: it.epoch.0,
        fetch_offset: it.offset.0,
        last_fetched_epoch: it.last_epoch.unwrap_or_default().0,
        partition_max_bytes: asker.fetch_max_bytes,
        replica_directory_id: asker.node.directory_id,
        high_watermark: it.high_watermark.map_or(-1, |offset| offset.0),
        ..Default::default()
    };
    FetchRequest {
        replica_id: asker.node.id.0,
        max_wait_ms: i32::try_from(it.max_wait.as_millis()).unwrap_or(i32::MAX),
        max_bytes: asker.fetch_max_bytes,
        topics: vec![fetch::FetchTopic { topic: TOPIC, topic_id: TOPIC_ID, partitions: vec![partition] }],
        cluster_id: Some(asker.cluster_id),
        replica_state: fetch::ReplicaState { replica_id: asker.node.id.0, replica_epoch: -1 },
        ..Default::default()
    }
}

/// An answer that came, and the address of the leader that it names; `None` if it says nothing.
pub(crate) fn response_of(wire: &Response<'_>) -> Option<(raft::Response, Option<(BrokerId, String)>)> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is asked")]
    match wire {
        Response::Vote(it) => {
            let partition = it.topics.first()?.partitions.first()?;
            let endpoint = it.node_endpoints.first().map(|it| address(it.node_id, it.host, i32::from(it.port)));
            let body = ResponseBody::Vote { granted: partition.vote_granted };
            Some((said(partition.error_code, partition.leader_id, partition.leader_epoch, body), endpoint))
        }
        Response::BeginQuorumEpoch(it) => {
            let partition = it.topics.first()?.partitions.first()?;
            let endpoint = it.node_endpoints.first().map(|it| address(it.node_id, it.host, i32::from(it.port)));
            let body = ResponseBody::Heard;
            Some((said(partition.error_code, partition.leader_id, partition.leader_epoch, body), endpoint))
        }
        Response::EndQuorumEpoch(it) => {
            let partition = it.topics.first()?.partitions.first()?;
            let endpoint = it.node_endpoints.first().map(|it| address(it.node_id, it.host, i32::from(it.port)));
            let body = ResponseBody::Heard;
            Some((said(partition.error_code, partition.leader_id, partition.leader_epoch, body), endpoint))
        }
        Response::Fetch(it) => {
            let partition = it.responses.first()?.partitions.first()?;
            let endpoint = it.node_endpoints.first().map(|it| address(it.node_id, it.host, it.port));
            let diverging = &partition.diverging_epoch;
            let diverging = (diverging.epoch >= 0)
                .then_some(EpochEnd { epoch: LeaderEpoch(diverging.epoch), end_offset: Offset(diverging.end_offset) });
            let records = match &partition.records {
                Some(Records::Slice(bytes)) => Bytes::copy_from_slice(bytes),
                Some(Records::External { .. }) | None => Bytes::new(),
            };
            let high_watermark = (partition.high_watermark >= 0).then_some(Offset(partition.high_watermark));
            let snapshot = &partition.snapshot_id;
            let snapshot = (snapshot.end_offset >= 0 && snapshot.epoch >= 0)
                .then_some(SnapshotId { end: Offset(snapshot.end_offset), epoch: LeaderEpoch(snapshot.epoch) });
            let body = ResponseBody::Fetch { high_watermark, diverging, snapshot, records };
            let leader = &partition.current_leader;
            Some((said(partition.error_code, leader.leader_id, leader.leader_epoch, body), endpoint))
        }
        Response::FetchSnapshot(it) => {
            let endpoint = it.node_endpoints.first().map(|it| address(it.node_id, it.host, i32::from(it.port)));
            Some((snapshots::response_of(it)?, endpoint))
        }
        Response::UpdateRaftVoter(it) => {
            let leader = &it.current_leader;
            Some((said(it.error_code, leader.leader_id, leader.leader_epoch, ResponseBody::Heard), None))
        }
        Response::AddRaftVoter(it) => Some((said(it.error_code, NOBODY, 0, ResponseBody::Heard), None)),
        _ => None,
    }
}

pub(super) fn said(error: ErrorCode, leader: i32, epoch: i32, body: ResponseBody) -> raft::Response {
    let leader = (leader >= 0).then_some(BrokerId(leader));
    raft::Response { error, known: Known { epoch: LeaderEpoch(epoch), leader }, body }
}

fn address(id: i32, host: &str, port: i32) -> (BrokerId, String) {
    (BrokerId(id), format!("{host}:{port}"))
}

pub(super) fn ask<'m>(call: &mut Call<'_>, request: Option<raft::Request>, refusal: &impl Message<'m>) -> Handled {
    match request {
        Some(request) => {
            call.broker.on_quorum_request(call.now, call.ticket, request, call.out);
            Ok(None)
        }
        None => Ok(Some(respond(call.reply.head, refusal))),
    }
}

pub(super) fn is_ours(broker: &Broker, cluster_id: Option<&str>) -> bool {
    cluster_id.is_none_or(|id| id == broker.cluster_id())
}

/// Versions without directory ids leave it open.
pub(super) fn voter_key(id: i32, directory_id: Uuid) -> Option<VoterKey> {
    (id >= 0 && !directory_id.is_zero()).then_some(VoterKey { id: BrokerId(id), directory_id })
}

/// An empty log has no last epoch; the wire says 0.
fn epoch_before(offset: Offset, epoch: i32) -> Option<LeaderEpoch> {
    (offset > Offset::ZERO && epoch >= 0).then_some(LeaderEpoch(epoch))
}
