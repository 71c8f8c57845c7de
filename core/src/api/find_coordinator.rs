//! FindCoordinator (10): who coordinates a group. Up to version 3 a request names one key, then many (KIP-699).
//!
//! There are coordinators of groups only. Who asks for another is told INVALID_REQUEST, as by a Kafka without that
//! feature: an error that a client does not ask again after.

use ottla_wire::api::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_wire::{ErrorCode, Message};

use super::{Call, Handled, Reply, respond};
use crate::broker::{Broker, TopicRef};
use crate::controller::OFFSETS_TOPIC;
use crate::machine::Answer;

/// The first version that asks for many.
const MANY: i16 = 4;

const GROUP: i8 = 0;

pub(super) fn handle(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = FindCoordinatorRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let keys = if reply.head.api_version < MANY { vec![wire.key] } else { wire.coordinator_keys };
    if wire.key_type != GROUP {
        let why = "There are no coordinators of this type.";
        let refused = keys.iter().map(|key| nobody(key, ErrorCode::INVALID_REQUEST, why));
        return Ok(Some(response(reply, refused.collect())));
    }
    broker.find_coordinators(now, ticket, keys.into_iter().map(str::to_owned).collect(), out);
    Ok(None)
}

pub(super) fn encode(broker: &Broker, reply: Reply, groups: &[String]) -> Answer {
    response(reply, groups.iter().map(|group| coordinator(broker, reply, group)).collect())
}

fn coordinator<'a>(broker: &'a Broker, reply: Reply, group: &'a str) -> Coordinator<'a> {
    let topic = TopicRef { name: OFFSETS_TOPIC.into(), id: Default::default() };
    let leader = broker.group_partition(group).and_then(|partition| broker.leader_of(&topic, partition));
    let node = leader.and_then(|(leader, _)| broker.endpoints(reply.listener).find(|node| node.id == leader));
    match node {
        Some(node) => Coordinator {
            key: group,
            node_id: node.id.0,
            host: node.host,
            port: node.port.into(),
            ..Default::default()
        },
        None => nobody(group, ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::COORDINATOR_NOT_AVAILABLE.message()),
    }
}

fn nobody<'a>(key: &'a str, error_code: ErrorCode, why: &'a str) -> Coordinator<'a> {
    Coordinator { key, node_id: -1, host: "", port: -1, error_code, error_message: Some(why) }
}

fn response(reply: Reply, coordinators: Vec<Coordinator<'_>>) -> Answer {
    if reply.head.api_version >= MANY {
        return respond(reply.head, &FindCoordinatorResponse { coordinators, ..Default::default() });
    }
    let body = coordinators.into_iter().next().map_or_else(FindCoordinatorResponse::default, |it| {
        let Coordinator { node_id, host, port, error_code, error_message, .. } = it;
        FindCoordinatorResponse { error_code, error_message, node_id, host, port, ..Default::default() }
    });
    respond(reply.head, &body)
}
