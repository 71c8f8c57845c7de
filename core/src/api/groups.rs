//! What members of classic groups ask: JoinGroup (11), SyncGroup (14), Heartbeat (12), LeaveGroup (13).
//!
//! What a version lacks is said to the coordinator with a flag, and left out of the answer by the encoder.

use ottla_wire::api::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use ottla_wire::api::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use ottla_wire::api::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};
use ottla_wire::api::sync_group::{SyncGroupRequest, SyncGroupResponse};
use ottla_wire::{ErrorCode, Message, Uuid};

use super::{Call, Handled, Reply, respond};
use crate::broker::GroupAnswers;
use crate::coordinator::{self, JoinAnswer, JoinRequest, LeaveAnswer, LeaveRequest, LeavingMember, Protocol};
use crate::coordinator::{Request, SyncAnswer, SyncRequest};
use crate::machine::Answer;

/// The first version of JoinGroup whose clients come back with the id that they are told (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 4;
/// The first version of JoinGroup whose leader may be told to leave the assignment as it is (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;
/// The first version of SyncGroup that must say what the member takes the protocol to be (KIP-559).
const SYNC_NAMES_PROTOCOL: i16 = 5;
/// The first version of LeaveGroup that names many members (KIP-345).
const MANY_LEAVE: i16 = 3;

pub(super) fn join(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, peer, out } = call;
    let version = reply.head.api_version;
    let wire = JoinGroupRequest::decode(&mut request.reader(), version)?;
    let protocols = wire.protocols.iter().map(|it| Protocol { name: it.name, metadata: it.metadata });
    let join = JoinRequest {
        group: wire.group_id,
        member_id: wire.member_id,
        instance_id: wire.group_instance_id,
        uuid: if wire.member_id.is_empty() { broker.draw_uuid() } else { Uuid::default() },
        client_id: request.client_id(),
        client_host: &format!("/{}", peer.ip()),
        protocol_type: wire.protocol_type,
        protocols: protocols.collect(),
        session_timeout_ms: wire.session_timeout_ms,
        rebalance_timeout_ms: if version == 0 { wire.session_timeout_ms } else { wire.rebalance_timeout_ms },
        knows_member_id_required: version >= MEMBER_ID_REQUIRED,
        knows_skip_assignment: version >= SKIP_ASSIGNMENT,
        reason: wire.reason,
    };
    broker.ask_groups(now, ticket, &[Request::Join(join)], GroupAnswers::default(), out);
    Ok(None)
}

pub(super) fn sync(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = SyncGroupRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let names_protocol = wire.protocol_type.is_some() && wire.protocol_name.is_some();
    if reply.head.api_version >= SYNC_NAMES_PROTOCOL && !names_protocol {
        let body =
            SyncGroupResponse { error_code: ErrorCode::INCONSISTENT_GROUP_PROTOCOL, ..SyncGroupResponse::default() };
        return Ok(Some(respond(reply.head, &body)));
    }
    let sync = SyncRequest {
        group: wire.group_id,
        generation: wire.generation_id,
        member_id: wire.member_id,
        instance_id: wire.group_instance_id,
        protocol_type: wire.protocol_type,
        protocol: wire.protocol_name,
        assignments: wire.assignments.iter().map(|it| (it.member_id, it.assignment)).collect(),
    };
    broker.ask_groups(now, ticket, &[Request::Sync(sync)], GroupAnswers::default(), out);
    Ok(None)
}

pub(super) fn heartbeat(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = HeartbeatRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let heartbeat = coordinator::HeartbeatRequest {
        group: wire.group_id,
        generation: wire.generation_id,
        member_id: wire.member_id,
        instance_id: wire.group_instance_id,
    };
    broker.ask_groups(now, ticket, &[Request::Heartbeat(heartbeat)], GroupAnswers::default(), out);
    Ok(None)
}

pub(super) fn leave(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let wire = LeaveGroupRequest::decode(&mut request.reader(), reply.head.api_version)?;
    let members = if reply.head.api_version < MANY_LEAVE {
        vec![LeavingMember { member_id: wire.member_id, instance_id: None, reason: None }]
    } else {
        let members = wire.members.iter().map(|it| LeavingMember {
            member_id: it.member_id,
            instance_id: it.group_instance_id,
            reason: it.reason,
        });
        members.collect()
    };
    let leave = LeaveRequest { group: wire.group_id, members };
    broker.ask_groups(now, ticket, &[Request::Leave(leave)], GroupAnswers::default(), out);
    Ok(None)
}

pub(super) fn encode_join(reply: Reply, it: &JoinAnswer) -> Answer {
    let members = it.members.iter().map(|member| JoinGroupResponseMember {
        member_id: &member.member_id,
        group_instance_id: member.instance_id.as_deref(),
        metadata: &member.metadata,
    });
    let body = JoinGroupResponse {
        error_code: it.error,
        generation_id: it.generation,
        protocol_type: it.protocol_type.as_deref(),
        protocol_name: it.protocol.as_deref(),
        leader: &it.leader,
        skip_assignment: it.skip_assignment,
        member_id: &it.member_id,
        members: members.collect(),
        ..Default::default()
    };
    respond(reply.head, &body)
}

pub(super) fn encode_sync(reply: Reply, it: &SyncAnswer) -> Answer {
    let body = SyncGroupResponse {
        error_code: it.error,
        protocol_type: it.protocol_type.as_deref(),
        protocol_name: it.protocol.as_deref(),
        assignment: &it.assignment,
        ..Default::default()
    };
    respond(reply.head, &body)
}

pub(super) fn encode_heartbeat(reply: Reply, error_code: ErrorCode) -> Answer {
    respond(reply.head, &HeartbeatResponse { error_code, ..Default::default() })
}

/// An old client that leaves is told of itself alone, in the code of the whole answer.
pub(super) fn encode_leave(reply: Reply, it: &LeaveAnswer) -> Answer {
    let own = it.members.first().map_or(ErrorCode::NONE, |member| member.error);
    let is_alone = reply.head.api_version < MANY_LEAVE;
    let members = it.members.iter().map(|member| MemberResponse {
        member_id: &member.member_id,
        group_instance_id: member.instance_id.as_deref(),
        error_code: member.error,
    });
    let body = LeaveGroupResponse {
        error_code: if is_alone && it.error.is_none() { own } else { it.error },
        members: members.collect(),
        ..Default::default()
    };
    respond(reply.head, &body)
}
