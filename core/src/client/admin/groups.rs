//! Groups: what is asked of their coordinators, and what those answer.

use std::collections::BTreeMap;

use ottla_wire::ErrorCode;
use ottla_wire::api::Request;
use ottla_wire::api::consumer_group_describe::{self as kip_848, ConsumerGroupDescribeRequest};
use ottla_wire::api::delete_groups::DeleteGroupsRequest;
use ottla_wire::api::describe_groups::{DescribeGroupsRequest, DescribedGroup, DescribedGroupMember};
use ottla_wire::api::list_groups::ListedGroup as WireGroup;
use ottla_wire::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use ottla_wire::api::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse};
use ottla_wire::consumer_protocol::ConsumerProtocolAssignment;

use crate::types::{LeaderEpoch, Offset, TopicPartition};

use super::reply::Refusal;

/// A group as a broker lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its name.
    pub group: Box<str>,
    /// As `consumer` or `connect`.
    pub protocol_type: Box<str>,
    /// As `Stable` or `Empty`; empty from brokers that do not say.
    pub state: Box<str>,
    /// `classic` or `consumer` (KIP-848); empty from brokers that do not say.
    pub kind: Box<str>,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub group: Box<str>,
    /// As `Stable` or `Empty`.
    pub state: Box<str>,
    /// As `consumer` or `connect`.
    pub protocol_type: Box<str>,
    /// How partitions are assigned.
    pub assignor: Box<str>,
    /// Whether it is one of KIP-848.
    pub kip_848: bool,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// As the coordinator knows it.
    pub id: Box<str>,
    /// `group.instance.id`, of a static member.
    pub instance_id: Option<Box<str>>,
    /// What it calls itself.
    pub client_id: Box<str>,
    /// Where it is.
    pub host: Box<str>,
    /// What it has; empty if the protocol is not that of consumers.
    pub assignment: Vec<TopicPartition>,
}

/// What a group has committed of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Of which partition.
    pub partition: TopicPartition,
    /// The next record to read.
    pub offset: Offset,
    /// The epoch of the record before it; -1 if it is not known.
    pub leader_epoch: LeaderEpoch,
    /// What the program noted with it.
    pub metadata: Box<str>,
}

pub(super) fn describe(group: &str, kip_848: bool) -> Request<'_> {
    if kip_848 {
        let include_authorized_operations = false;
        ConsumerGroupDescribeRequest { group_ids: vec![group], include_authorized_operations }.into()
    } else {
        DescribeGroupsRequest { groups: vec![group], include_authorized_operations: false }.into()
    }
}

pub(super) fn delete(group: &str) -> Request<'_> {
    DeleteGroupsRequest { groups_names: vec![group] }.into()
}

pub(super) fn fetch_offsets(group: &str) -> Request<'_> {
    let of_group = OffsetFetchRequestGroup { group_id: group, topics: None, ..OffsetFetchRequestGroup::default() };
    OffsetFetchRequest { group_id: group, topics: None, groups: vec![of_group], require_stable: false }.into()
}

pub(super) fn commit_offsets<'a>(group: &'a str, offsets: &'a [(TopicPartition, Offset)]) -> Request<'a> {
    let mut topics: BTreeMap<&str, OffsetCommitRequestTopic<'_>> = BTreeMap::new();
    for (partition, offset) in offsets {
        let name: &str = &partition.topic;
        let new = || OffsetCommitRequestTopic { name, ..OffsetCommitRequestTopic::default() };
        topics.entry(name).or_insert_with(new).partitions.push(OffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: offset.0,
            committed_leader_epoch: -1,
            committed_metadata: Some(""),
        });
    }
    let topics = topics.into_values().collect();
    OffsetCommitRequest { group_id: group, topics, ..OffsetCommitRequest::default() }.into()
}

pub(super) fn listed(group: &WireGroup<'_>) -> ListedGroup {
    ListedGroup {
        group: group.group_id.into(),
        protocol_type: group.protocol_type.into(),
        state: group.group_state.into(),
        kind: group.group_type.into(),
    }
}

pub(super) fn classic(group: &DescribedGroup<'_>) -> Result<GroupDescription, Refusal> {
    Refusal::check(group.error_code, group.error_message)?;
    // Brokers before version 6 say so of a group that they do not know.
    if group.group_state == "Dead" {
        return Err(ErrorCode::GROUP_ID_NOT_FOUND.into());
    }
    let of_consumers = group.protocol_type == "consumer";
    let member = |member: &DescribedGroupMember<'_>| GroupMember {
        id: member.member_id.into(),
        instance_id: member.group_instance_id.map(Into::into),
        client_id: member.client_id.into(),
        host: member.client_host.into(),
        assignment: if of_consumers { assignment(member.member_assignment) } else { Vec::new() },
    };
    Ok(GroupDescription {
        group: group.group_id.into(),
        state: group.group_state.into(),
        protocol_type: group.protocol_type.into(),
        assignor: group.protocol_data.into(),
        kip_848: false,
        members: group.members.iter().map(member).collect(),
    })
}

pub(super) fn next_generation(group: &kip_848::DescribedGroup<'_>) -> Result<GroupDescription, Refusal> {
    Refusal::check(group.error_code, group.error_message)?;
    let owned = |topic: &kip_848::TopicPartitions<'_>| -> Vec<TopicPartition> {
        topic.partitions.iter().map(|&index| TopicPartition::new(topic.topic_name, index)).collect()
    };
    let member = |member: &kip_848::Member<'_>| GroupMember {
        id: member.member_id.into(),
        instance_id: member.instance_id.map(Into::into),
        client_id: member.client_id.into(),
        host: member.client_host.into(),
        assignment: member.assignment.topic_partitions.iter().flat_map(owned).collect(),
    };
    Ok(GroupDescription {
        group: group.group_id.into(),
        state: group.group_state.into(),
        protocol_type: "consumer".into(),
        assignor: group.assignor_name.into(),
        kip_848: true,
        members: group.members.iter().map(member).collect(),
    })
}

/// What a leader assigned to a member, in the protocol of consumers; nothing while the group rebalances.
fn assignment(bytes: &[u8]) -> Vec<TopicPartition> {
    let Ok(assignment) = ConsumerProtocolAssignment::decode_versioned(bytes) else { return Vec::new() };
    let topics = assignment.assigned_partitions.iter();
    let of = |(topic, index)| TopicPartition::new(topic, index);
    topics.flat_map(|it| it.partitions.iter().map(|&index| of((it.topic, index)))).collect()
}

pub(super) fn offsets(response: &OffsetFetchResponse<'_>) -> Result<Vec<CommittedOffset>, Refusal> {
    Refusal::check(response.error_code, None)?;
    response.groups.iter().try_for_each(|group| Refusal::check(group.error_code, None))?;
    let topics = response.topics.iter();
    let old = topics.flat_map(|topic| topic.partitions.iter().map(|it| (topic.name, it))).map(|(topic, it)| {
        let place = (topic, it.partition_index, it.committed_offset, it.committed_leader_epoch);
        (place, it.metadata, it.error_code)
    });
    let topics = response.groups.iter().flat_map(|group| &group.topics);
    let new = topics.flat_map(|topic| topic.partitions.iter().map(|it| (topic.name, it))).map(|(topic, it)| {
        let place = (topic, it.partition_index, it.committed_offset, it.committed_leader_epoch);
        (place, it.metadata, it.error_code)
    });
    let mut offsets = Vec::new();
    for ((topic, index, offset, epoch), metadata, code) in old.chain(new) {
        Refusal::check(code, None)?;
        if offset >= 0 {
            offsets.push(CommittedOffset {
                partition: TopicPartition::new(topic, index),
                offset: Offset(offset),
                leader_epoch: LeaderEpoch(epoch),
                metadata: metadata.unwrap_or_default().into(),
            });
        }
    }
    Ok(offsets)
}

/// The first refusal, if there is one.
pub(super) fn committed(response: &OffsetCommitResponse<'_>) -> Result<(), Refusal> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let refused = partitions.map(|it| it.error_code).find(|code| code.is_error());
    refused.map_or(Ok(()), |code| Err(code.into()))
}
