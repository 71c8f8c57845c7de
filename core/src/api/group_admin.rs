//! What operators ask about groups: DescribeGroups (15), ListGroups (16), DeleteGroups (42).

use ottla_wire::api::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use ottla_wire::api::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup as WireGroup, DescribedGroupMember,
};
use ottla_wire::api::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup as WireListed};
use ottla_wire::{ErrorCode, Message};

use super::metadata::NOT_ASKED;
use super::{Call, Handled, Reply, once, respond};
use crate::broker::{About, GroupAnswers};
use crate::coordinator::{Answer as Said, DescribedGroup, ListRequest, ListedGroup, Request};
use crate::machine::Answer;

/// Every operation on a group, as bits: nobody is kept from any, since there is no authorizer.
pub(super) const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;
/// The first version of DescribeGroups that says that there is no such group (KIP-1043).
const SAYS_NOT_FOUND: i16 = 6;

pub(super) fn describe(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = DescribeGroupsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let about = if wire.include_authorized_operations { About::Operations } else { About::Nothing };
    let groups = once(&wire.groups, |group| **group).into_iter();
    let requests: Vec<_> = groups.map(|group| Request::Describe { group }).collect();
    broker.ask_groups(now, ticket, &requests, GroupAnswers { answers: Vec::new(), about }, out);
    Ok(None)
}

pub(super) fn list(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = ListGroupsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    broker.list_groups(now, ticket, ListRequest { states: wire.states_filter, types: wire.types_filter }, out);
    Ok(None)
}

pub(super) fn delete(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = DeleteGroupsRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let groups = once(&wire.groups_names, |group| **group).into_iter();
    let requests: Vec<_> = groups.map(|group| Request::Delete { groups: vec![group] }).collect();
    broker.ask_groups(now, ticket, &requests, GroupAnswers::default(), out);
    Ok(None)
}

pub(super) fn encode_described(reply: Reply, said: &GroupAnswers) -> Answer {
    let asked = said.about == About::Operations;
    let groups = said.answers.iter().filter_map(|it| if let Said::Describe(it) = it { Some(it) } else { None });
    let groups = groups.map(|it| described(it, reply.head.api_version, asked)).collect();
    respond(reply.head, &DescribeGroupsResponse { groups, ..Default::default() })
}

fn described(it: &DescribedGroup, version: i16, operations: bool) -> WireGroup<'_> {
    let untold = it.error == ErrorCode::GROUP_ID_NOT_FOUND && version < SAYS_NOT_FOUND;
    let error_code = if untold { ErrorCode::NONE } else { it.error };
    let members = it.members.iter().map(|member| DescribedGroupMember {
        member_id: &member.member_id,
        group_instance_id: member.instance_id.as_deref(),
        client_id: &member.client_id,
        client_host: &member.client_host,
        member_metadata: &member.metadata,
        member_assignment: &member.assignment,
    });
    // With any other error the state is not known.
    let is_known = it.error.is_none() || it.error == ErrorCode::GROUP_ID_NOT_FOUND;
    WireGroup {
        error_code,
        error_message: it.message.as_deref(),
        group_id: &it.group,
        group_state: if is_known { it.state.name() } else { "" },
        protocol_type: &it.protocol_type,
        protocol_data: &it.protocol,
        members: members.collect(),
        authorized_operations: if operations && error_code.is_none() { GROUP_OPERATIONS } else { NOT_ASKED },
    }
}

/// The groups of all shards, in the order of their names; a shard that cannot tell spoils it for all.
pub(super) fn encode_listed(reply: Reply, said: &GroupAnswers) -> Answer {
    let mut error_code = ErrorCode::NONE;
    let mut all: Vec<&ListedGroup> = Vec::new();
    for it in &said.answers {
        if let Said::List { error, groups } = it {
            error_code = if error_code.is_none() { *error } else { error_code };
            all.extend(groups);
        }
    }
    all.sort_unstable_by(|one, other| one.group.cmp(&other.group));
    let groups = all.into_iter().filter(|_| error_code.is_none()).map(|it| WireListed {
        group_id: &it.group,
        protocol_type: &it.protocol_type,
        group_state: it.state.name(),
        group_type: it.kind.name(),
    });
    respond(reply.head, &ListGroupsResponse { error_code, groups: groups.collect(), ..Default::default() })
}

pub(super) fn encode_deleted(reply: Reply, said: &GroupAnswers) -> Answer {
    let mut results = Vec::new();
    for it in &said.answers {
        if let Said::Delete { groups } = it {
            results
                .extend(groups.iter().map(|(group, code)| DeletableGroupResult { group_id: group, error_code: *code }));
        }
    }
    respond(reply.head, &DeleteGroupsResponse { results, ..Default::default() })
}
