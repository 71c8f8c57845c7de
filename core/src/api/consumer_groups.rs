//! Consumer groups (KIP-848): ConsumerGroupHeartbeat (68), ConsumerGroupDescribe (69).

use std::collections::BTreeSet;

use ottla_wire::api::consumer_group_describe::{
    Assignment as WireDescribed, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
    DescribedGroup as WireGroup, Member, TopicPartitions as WirePartitions,
};
use ottla_wire::api::consumer_group_heartbeat::{
    AssignedPartitions, Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use ottla_wire::{ErrorCode, Message, Uuid};

use super::group_admin::GROUP_OPERATIONS;
use super::metadata::NOT_ASKED;
use super::{Call, Handled, Reply, once, respond};
use crate::broker::{About, GroupAnswers};
use crate::coordinator::assignor::Partitions;
use crate::coordinator::{
    Answer as Said, ConsumerHeartbeatAnswer, ConsumerHeartbeatRequest, DescribedConsumer, DescribedConsumerGroup,
    DescribedPartitions, Request,
};
use crate::machine::Answer;

/// The first version whose clients draw their own member ids (KIP-1082).
const DRAWS_MEMBER_ID: i16 = 1;
/// Of a member that speaks the classic protocol.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

pub(super) fn heartbeat(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, peer, out } = call;
    let wire = ConsumerGroupHeartbeatRequest::decode(&mut request.reader(), reply.head.api_version)?;
    if !broker.serves_consumer_groups() {
        let refused = ConsumerHeartbeatAnswer { error: ErrorCode::UNSUPPORTED_VERSION, ..Default::default() };
        return Ok(Some(encode_heartbeat(reply, &refused)));
    }
    let needs_id = reply.head.api_version < DRAWS_MEMBER_ID && wire.member_id.is_empty() && wire.member_epoch == 0;
    let drawn = if needs_id { broker.draw_uuid().to_string() } else { String::new() };
    let heartbeat = ConsumerHeartbeatRequest {
        group: wire.group_id,
        member_id: if needs_id { &drawn } else { wire.member_id },
        member_epoch: wire.member_epoch,
        instance_id: wire.instance_id,
        rack_id: wire.rack_id,
        rebalance_timeout_ms: (wire.rebalance_timeout_ms != -1).then_some(wire.rebalance_timeout_ms),
        topics: wire.subscribed_topic_names,
        regex: wire.subscribed_topic_regex,
        assignor: wire.server_assignor,
        owned: wire.topic_partitions.map(|topics| {
            let mut owned = Partitions::new();
            for it in topics.into_iter().filter(|it| !it.partitions.is_empty()) {
                owned.entry(it.topic_id).or_default().extend(it.partitions);
            }
            owned
        }),
        client_id: request.client_id(),
        client_host: &format!("/{}", peer.ip()),
    };
    broker.ask_groups(now, ticket, &[Request::ConsumerHeartbeat(heartbeat)], GroupAnswers::default(), out);
    Ok(None)
}

pub(super) fn encode_heartbeat(reply: Reply, it: &ConsumerHeartbeatAnswer) -> Answer {
    let of_topic = |(topic_id, partitions): (&Uuid, &BTreeSet<i32>)| AssignedPartitions {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
    };
    let assignment = it.assignment.as_ref();
    let body = ConsumerGroupHeartbeatResponse {
        error_code: it.error,
        error_message: it.message.as_deref(),
        member_id: it.member_id.as_deref(),
        member_epoch: it.member_epoch,
        heartbeat_interval_ms: it.heartbeat_interval_ms,
        assignment: assignment.map(|it| Assignment { topic_partitions: it.iter().map(of_topic).collect() }),
        ..Default::default()
    };
    respond(reply.head, &body)
}

pub(super) fn describe(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = ConsumerGroupDescribeRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let about = if wire.include_authorized_operations { About::Operations } else { About::Nothing };
    let groups = once(&wire.group_ids, |group| **group).into_iter();
    let requests: Vec<_> = groups.map(|group| Request::ConsumerDescribe { group }).collect();
    broker.ask_groups(now, ticket, &requests, GroupAnswers { answers: Vec::new(), about }, out);
    Ok(None)
}

pub(super) fn encode_described(reply: Reply, said: &GroupAnswers) -> Answer {
    let asked = said.about == About::Operations;
    let groups = said.answers.iter().filter_map(|it| if let Said::ConsumerDescribe(it) = it { Some(it) } else { None });
    let groups = groups.map(|it| described(it, asked)).collect();
    respond(reply.head, &ConsumerGroupDescribeResponse { groups, ..Default::default() })
}

fn described(it: &DescribedConsumerGroup, operations: bool) -> WireGroup<'_> {
    WireGroup {
        error_code: it.error,
        error_message: it.message.as_deref(),
        group_id: &it.group,
        group_state: if it.error.is_none() { it.state.name() } else { "" },
        group_epoch: it.epoch,
        assignment_epoch: it.target_epoch,
        assignor_name: &it.assignor,
        members: it.members.iter().map(member).collect(),
        authorized_operations: if operations && it.error.is_none() { GROUP_OPERATIONS } else { NOT_ASKED },
    }
}

fn member(it: &DescribedConsumer) -> Member<'_> {
    let subscription = &it.subscription;
    Member {
        member_id: &it.member_id,
        instance_id: subscription.instance_id.as_deref(),
        rack_id: subscription.rack_id.as_deref(),
        member_epoch: it.epoch,
        client_id: &subscription.client_id,
        client_host: &subscription.client_host,
        subscribed_topic_names: subscription.topics.iter().map(|topic| &**topic).collect(),
        subscribed_topic_regex: subscription.regex.as_deref(),
        assignment: assignment(&it.assigned),
        target_assignment: assignment(&it.target),
        member_type: if subscription.classic.is_some() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
    }
}

fn assignment(partitions: &[DescribedPartitions]) -> WireDescribed<'_> {
    let topics = partitions.iter().map(|it| WirePartitions {
        topic_id: it.id,
        topic_name: &it.name,
        partitions: it.partitions.clone(),
    });
    WireDescribed { topic_partitions: topics.collect() }
}
