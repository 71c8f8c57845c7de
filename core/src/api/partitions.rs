//! Where partitions are and who leads them, by an operator's word: ElectLeaders (43), AlterPartitionReassignments (45),
//! ListPartitionReassignments (46).

use ottla_wire::api::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartitionResponse,
    ReassignableTopicResponse,
};
use ottla_wire::api::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use ottla_wire::api::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, OngoingPartitionReassignment,
    OngoingTopicReassignment,
};
use ottla_wire::{ErrorCode, Message};

use super::{Call, Handled, Reply, respond};
use crate::broker::PartitionResults;
use crate::controller::{ElectionType, PartitionImage, Reassignment, TopicImage};
use crate::machine::Answer;
use crate::types::BrokerId;

pub(super) fn elect(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = ElectLeadersRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let kind = match wire.election_type {
        0 => ElectionType::Preferred,
        1 => ElectionType::Unclean,
        _ => {
            let body = ElectLeadersResponse { error_code: ErrorCode::INVALID_REQUEST, ..Default::default() };
            return Ok(Some(respond(reply.head, &body)));
        }
    };
    let partitions = wire.topic_partitions.as_ref().map(|topics| {
        let each =
            topics.iter().flat_map(|topic| topic.partitions.iter().map(|index| (topic.topic.to_owned(), *index)));
        each.collect()
    });
    broker.elect_leaders(now, ticket, kind, partitions, out);
    Ok(None)
}

pub(super) fn encode_elected(reply: Reply, results: &PartitionResults) -> Answer {
    let mut topics: Vec<ReplicaElectionResult<'_>> = Vec::new();
    for (topic, partition_id, result) in results {
        let (error_code, error_message) = match result {
            Ok(()) => (ErrorCode::NONE, None),
            Err(refused) => (refused.code, Some(refused.message.as_str())),
        };
        let result = PartitionResult { partition_id: *partition_id, error_code, error_message };
        match topics.last_mut().filter(|last| last.topic == topic) {
            Some(last) => last.partition_result.push(result),
            None => topics.push(ReplicaElectionResult { topic, partition_result: vec![result] }),
        }
    }
    respond(reply.head, &ElectLeadersResponse { replica_election_results: topics, ..Default::default() })
}

pub(super) fn reassign(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = AlterPartitionReassignmentsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let wanted = wire.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|it| Reassignment {
            topic: topic.name.to_owned(),
            partition: it.partition_index,
            replicas: it.replicas.as_ref().map(|ids| ids.iter().copied().map(BrokerId).collect()),
        })
    });
    let wanted = wanted.collect();
    broker.reassign_partitions(now, ticket, (wanted, wire.allow_replication_factor_change), out);
    Ok(None)
}

pub(super) fn encode_reassigned(reply: Reply, results: &PartitionResults) -> Answer {
    let mut topics: Vec<ReassignableTopicResponse<'_>> = Vec::new();
    for (name, partition_index, result) in results {
        let (error_code, error_message) = match result {
            Ok(()) => (ErrorCode::NONE, None),
            Err(refused) => (refused.code, Some(refused.message.as_str())),
        };
        let partition = ReassignablePartitionResponse { partition_index: *partition_index, error_code, error_message };
        match topics.last_mut().filter(|last| last.name == name) {
            Some(last) => last.partitions.push(partition),
            None => topics.push(ReassignableTopicResponse { name, partitions: vec![partition] }),
        }
    }
    let body = AlterPartitionReassignmentsResponse { error_message: None, responses: topics, ..Default::default() };
    respond(reply.head, &body)
}

pub(super) fn list_reassignments(call: &Call<'_>) -> Handled {
    let Call { broker, request, reply, .. } = call;
    let wire = ListPartitionReassignmentsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let wanted = |topic: &str, index: i32| {
        let Some(topics) = &wire.topics else { return true };
        topics.iter().any(|it| it.name == topic && it.partition_indexes.contains(&index))
    };
    let topics = broker.image().topics().filter_map(|topic| moving(topic, wanted));
    let body =
        ListPartitionReassignmentsResponse { error_message: None, topics: topics.collect(), ..Default::default() };
    Ok(Some(respond(reply.head, &body)))
}

fn moving<'a>(topic: &'a TopicImage, wanted: impl Fn(&str, i32) -> bool) -> Option<OngoingTopicReassignment<'a>> {
    let moves = |it: &PartitionImage| !it.adding.is_empty() || !it.removing.is_empty();
    let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    let partitions = (0..).zip(&topic.partitions).filter(|(index, it)| moves(it) && wanted(&topic.name, *index));
    let partitions: Vec<OngoingPartitionReassignment> = partitions
        .map(|(partition_index, it)| OngoingPartitionReassignment {
            partition_index,
            replicas: numbers(&it.replicas),
            adding_replicas: numbers(&it.adding),
            removing_replicas: numbers(&it.removing),
        })
        .collect();
    (!partitions.is_empty()).then_some(OngoingTopicReassignment { name: &topic.name, partitions })
}
