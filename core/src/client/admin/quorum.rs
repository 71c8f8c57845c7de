//! The metadata quorum: who votes, who leads, how far each is (KIP-595, KIP-853).

use ottla_wire::api::Request;
use ottla_wire::api::describe_quorum::{
    DescribeQuorumPartition, DescribeQuorumRequest, DescribeQuorumResponse, DescribeQuorumTopic, ReplicaState,
};
use ottla_wire::api::remove_raft_voter::RemoveRaftVoterRequest;
use ottla_wire::{ErrorCode, Uuid};

use crate::types::{BrokerId, LeaderEpoch, Offset};

use super::reply::Refusal;

/// The metadata quorum, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumDescription {
    /// Who leads it.
    pub leader: BrokerId,
    /// In which epoch.
    pub epoch: LeaderEpoch,
    /// What is committed; -1 while that is not known.
    pub high_watermark: Offset,
    /// Who votes, by id.
    pub voters: Vec<QuorumMember>,
    /// Who reads the log and has no vote, by id.
    pub observers: Vec<QuorumMember>,
}

/// A node that has the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumMember {
    /// `node.id`
    pub id: BrokerId,
    /// The directory of its log; zero from brokers before Kafka 3.9.
    pub directory_id: Uuid,
    /// How far its log goes; -1 if that is not known.
    pub log_end: Offset,
    /// When it fetched last, in ms since 1970; -1 if that is not known.
    pub fetched_ms: i64,
    /// When it had all that the leader had, for the last time; likewise.
    pub caught_up_ms: i64,
}

pub(super) fn describe() -> Request<'static> {
    let partitions = vec![DescribeQuorumPartition { partition_index: 0 }];
    DescribeQuorumRequest { topics: vec![DescribeQuorumTopic { topic_name: "__cluster_metadata", partitions }] }.into()
}

pub(super) fn described(response: &DescribeQuorumResponse<'_>) -> Result<QuorumDescription, Refusal> {
    Refusal::check(response.error_code, response.error_message)?;
    let it = response.topics.first().and_then(|topic| topic.partitions.first());
    let it = it.ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
    Refusal::check(it.error_code, it.error_message)?;
    Ok(QuorumDescription {
        leader: BrokerId(it.leader_id),
        epoch: LeaderEpoch(it.leader_epoch),
        high_watermark: Offset(it.high_watermark),
        voters: members(&it.current_voters),
        observers: members(&it.observers),
    })
}

fn members(states: &[ReplicaState]) -> Vec<QuorumMember> {
    let member = |it: &ReplicaState| QuorumMember {
        id: BrokerId(it.replica_id),
        directory_id: it.replica_directory_id,
        log_end: Offset(it.log_end_offset),
        fetched_ms: it.last_fetch_timestamp,
        caught_up_ms: it.last_caught_up_timestamp,
    };
    let mut members: Vec<_> = states.iter().map(member).collect();
    members.sort_by_key(|member| member.id);
    members
}

pub(super) fn remove(voter: BrokerId, directory_id: Uuid) -> Request<'static> {
    RemoveRaftVoterRequest { cluster_id: None, voter_id: voter.0, voter_directory_id: directory_id }.into()
}
