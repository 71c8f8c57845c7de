//! The records of consumer groups (KIP-848). All are of version 0, with what was added later in tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::Uuid;
use ottla_wire::group::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentKey as CurrentKey,
    ConsumerGroupCurrentMemberAssignmentValue as CurrentValue, ConsumerGroupMemberMetadataKey as MemberKey,
    ConsumerGroupMemberMetadataValue as MemberValue, ConsumerGroupMetadataKey as EpochKey,
    ConsumerGroupMetadataValue as EpochValue, ConsumerGroupRegularExpressionKey as RegexKey,
    ConsumerGroupRegularExpressionValue as RegexValue, ConsumerGroupTargetAssignmentMemberKey as TargetKey,
    ConsumerGroupTargetAssignmentMemberValue as TargetValue,
    ConsumerGroupTargetAssignmentMetadataKey as TargetEpochKey,
    ConsumerGroupTargetAssignmentMetadataValue as TargetEpochValue, CurrentPartitions, GroupRecord, TargetPartitions,
};

use super::record;
use crate::coordinator::assignor::Partitions;
use crate::coordinator::consumer_image::{
    ClassicMember, ConsumerChange, CurrentAssignment, GroupEpoch, MemberState, Owned, ResolvedRegex, Subscription,
    TargetEpoch,
};
use crate::coordinator::image::Change;
use crate::coordinator::shard::Record;

const VERSION: i16 = 0;

/// The record of one change.
pub(super) fn encode(group_id: &str, change: &ConsumerChange) -> Record {
    let of_change = match change {
        ConsumerChange::Epoch(epoch) => {
            let value = epoch.map(|it| EpochValue { epoch: it.epoch, metadata_hash: it.metadata_hash });
            GroupRecord::ConsumerGroupMetadata(EpochKey { group_id }, value)
        }
        ConsumerChange::Member { member, subscription } => {
            let value = subscription.as_deref().map(member_value);
            GroupRecord::ConsumerGroupMemberMetadata(MemberKey { group_id, member_id: member }, value)
        }
        ConsumerChange::Regex { regex, resolved } => {
            let value = resolved.as_deref().map(|it| RegexValue {
                topics: it.topics.iter().map(|topic| &**topic).collect(),
                version: it.version,
                timestamp: it.resolved_at,
            });
            GroupRecord::ConsumerGroupRegularExpression(RegexKey { group_id, regular_expression: regex }, value)
        }
        ConsumerChange::TargetEpoch(epoch) => {
            let value =
                epoch.map(|it| TargetEpochValue { assignment_epoch: it.epoch, assignment_timestamp: it.made_at });
            GroupRecord::ConsumerGroupTargetAssignmentMetadata(TargetEpochKey { group_id }, value)
        }
        ConsumerChange::Target { member, partitions } => {
            let value = partitions.as_deref().map(|it| TargetValue { topic_partitions: target_value(it) });
            GroupRecord::ConsumerGroupTargetAssignmentMember(TargetKey { group_id, member_id: member }, value)
        }
        ConsumerChange::Current { member, current } => {
            let value = current.as_deref().map(current_value);
            GroupRecord::ConsumerGroupCurrentMemberAssignment(CurrentKey { group_id, member_id: member }, value)
        }
    };
    record(&of_change, VERSION)
}

fn member_value(it: &Subscription) -> MemberValue<'_> {
    let classic = it.classic.as_ref().map(|classic| ClassicMemberMetadata {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: classic
            .protocols
            .iter()
            .map(|(name, metadata)| ClassicProtocol { name, metadata })
            .collect(),
    });
    MemberValue {
        instance_id: it.instance_id.as_deref(),
        rack_id: it.rack_id.as_deref(),
        client_id: &it.client_id,
        client_host: &it.client_host,
        subscribed_topic_names: it.topics.iter().map(|topic| &**topic).collect(),
        subscribed_topic_regex: it.regex.as_deref(),
        rebalance_timeout_ms: it.rebalance_timeout_ms,
        server_assignor: it.assignor.as_deref(),
        classic_member_metadata: classic,
    }
}

fn target_value(partitions: &Partitions) -> Vec<TargetPartitions> {
    let of_topic = |(topic_id, partitions): (&Uuid, &std::collections::BTreeSet<i32>)| TargetPartitions {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
    };
    partitions.iter().map(of_topic).collect()
}

fn current_value(it: &CurrentAssignment) -> CurrentValue {
    CurrentValue {
        member_epoch: it.epoch,
        previous_member_epoch: it.previous_epoch,
        state: it.state.code(),
        assigned_partitions: owned_value(&it.assigned),
        partitions_pending_revocation: owned_value(&it.revoking),
    }
}

fn owned_value(owned: &Owned) -> Vec<CurrentPartitions> {
    let of_topic = |(topic_id, partitions): (&Uuid, &BTreeMap<i32, i32>)| CurrentPartitions {
        topic_id: *topic_id,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
    };
    owned.iter().map(of_topic).collect()
}

/// The change that a record is; `None`: it is none of a consumer group, or one that nobody needs any more.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not used here must not stop a replay")]
pub(super) fn decode(record: GroupRecord<'_>) -> Option<Change> {
    let (group, change) = match record {
        GroupRecord::ConsumerGroupMetadata(key, value) => {
            let epoch = value.map(|it| GroupEpoch { epoch: it.epoch, metadata_hash: it.metadata_hash });
            (key.group_id, ConsumerChange::Epoch(epoch))
        }
        GroupRecord::ConsumerGroupMemberMetadata(key, value) => {
            let subscription = value.map(|it| Arc::new(subscription(it)));
            (key.group_id, ConsumerChange::Member { member: key.member_id.into(), subscription })
        }
        GroupRecord::ConsumerGroupRegularExpression(key, value) => {
            let resolved = value.map(|it| {
                let topics = it.topics.into_iter().map(Arc::from).collect();
                Arc::new(ResolvedRegex { topics, version: it.version, resolved_at: it.timestamp })
            });
            (key.group_id, ConsumerChange::Regex { regex: key.regular_expression.into(), resolved })
        }
        GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, value) => {
            let epoch = value.map(|it| TargetEpoch { epoch: it.assignment_epoch, made_at: it.assignment_timestamp });
            (key.group_id, ConsumerChange::TargetEpoch(epoch))
        }
        GroupRecord::ConsumerGroupTargetAssignmentMember(key, value) => {
            let partitions = value.map(|it| Arc::new(target(&it)));
            (key.group_id, ConsumerChange::Target { member: key.member_id.into(), partitions })
        }
        GroupRecord::ConsumerGroupCurrentMemberAssignment(key, value) => {
            let current = value.map(|it| Arc::new(current(&it)));
            (key.group_id, ConsumerChange::Current { member: key.member_id.into(), current })
        }
        _ => return None,
    };
    Some(Change::Consumer { group: group.into(), change })
}

fn subscription(it: MemberValue<'_>) -> Subscription {
    let classic = it.classic_member_metadata.map(|classic| ClassicMember {
        session_timeout_ms: classic.session_timeout_ms,
        protocols: classic
            .supported_protocols
            .iter()
            .map(|it| (it.name.into(), Bytes::copy_from_slice(it.metadata)))
            .collect(),
    });
    Subscription {
        instance_id: it.instance_id.map(Into::into),
        rack_id: it.rack_id.map(Into::into),
        client_id: it.client_id.into(),
        client_host: it.client_host.into(),
        topics: it.subscribed_topic_names.into_iter().map(Arc::from).collect(),
        // Kafka writes an empty one for none.
        regex: it.subscribed_topic_regex.filter(|regex| !regex.is_empty()).map(Into::into),
        rebalance_timeout_ms: it.rebalance_timeout_ms,
        assignor: it.server_assignor.map(Into::into),
        classic,
    }
}

fn target(value: &TargetValue) -> Partitions {
    let topics = value.topic_partitions.iter().filter(|it| !it.partitions.is_empty());
    topics.map(|it| (it.topic_id, it.partitions.iter().copied().collect())).collect()
}

fn current(value: &CurrentValue) -> CurrentAssignment {
    CurrentAssignment {
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        state: MemberState::from_code(value.state),
        assigned: owned(&value.assigned_partitions, value.member_epoch),
        revoking: owned(&value.partitions_pending_revocation, value.member_epoch),
    }
}

/// A Kafka before 4.3 has written no epochs: the member's own is the latest that they can be.
fn owned(topics: &[CurrentPartitions], member_epoch: i32) -> Owned {
    let of_topic = |it: &CurrentPartitions| {
        let epochs = it.assignment_epochs.iter().flatten().copied().chain(std::iter::repeat(member_epoch));
        (it.topic_id, it.partitions.iter().copied().zip(epochs).collect())
    };
    topics.iter().filter(|it| !it.partitions.is_empty()).map(of_topic).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;

    fn owned_of(topic: u128, partition: i32, epoch: i32) -> Owned {
        BTreeMap::from([(Uuid(topic), BTreeMap::from([(partition, epoch), (partition + 1, epoch)]))])
    }

    #[test]
    fn what_is_written_is_read() {
        let subscription = Subscription {
            instance_id: Some("i".into()),
            rack_id: Some("r".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            topics: ["t".into(), "u".into()].into(),
            regex: Some("t.*".into()),
            rebalance_timeout_ms: 60_000,
            assignor: Some("range".into()),
            classic: Some(ClassicMember {
                session_timeout_ms: 10_000,
                protocols: vec![("range".into(), Bytes::from_static(b"s"))],
            }),
        };
        let resolved = ResolvedRegex { topics: ["t".into()].into(), version: 7, resolved_at: 1_000 };
        let current = CurrentAssignment {
            epoch: 5,
            previous_epoch: 4,
            state: MemberState::Unrevoked,
            assigned: owned_of(1, 0, 3),
            revoking: owned_of(2, 4, 2),
        };
        let target = Partitions::from([(Uuid(1), [0, 3].into())]);
        let member: Arc<str> = "m".into();
        for change in [
            ConsumerChange::Epoch(Some(GroupEpoch { epoch: 3, metadata_hash: -5 })),
            ConsumerChange::Epoch(None),
            ConsumerChange::Member { member: member.clone(), subscription: Some(Arc::new(subscription)) },
            ConsumerChange::Member { member: member.clone(), subscription: None },
            ConsumerChange::Regex { regex: "t.*".into(), resolved: Some(Arc::new(resolved)) },
            ConsumerChange::Regex { regex: "t.*".into(), resolved: None },
            ConsumerChange::TargetEpoch(Some(TargetEpoch { epoch: 3, made_at: 1_000 })),
            ConsumerChange::TargetEpoch(None),
            ConsumerChange::Target { member: member.clone(), partitions: Some(Arc::new(target)) },
            ConsumerChange::Target { member: member.clone(), partitions: None },
            ConsumerChange::Current { member: member.clone(), current: Some(Arc::new(current)) },
            ConsumerChange::Current { member, current: None },
        ] {
            let change = Change::Consumer { group: "g".into(), change };
            let record = encode(&change);
            assert_eq!(decode(&record.key, record.value.as_deref()), Ok(change));
        }
    }

    /// A request may bring many short names, and a member may own very many partitions: what is written of them must
    /// be readable, whatever a request of that size could hold.
    #[test]
    fn what_a_log_takes_can_be_read() {
        let topics = (0..20_000_u32).map(|number| format!("{number:x}").into()).collect();
        let subscription = Subscription { topics, ..Subscription::default() };
        let assigned = Owned::from([(Uuid(1), (0..60_000).map(|partition| (partition, 3)).collect())]);
        let current = CurrentAssignment {
            epoch: 3,
            previous_epoch: 3,
            state: MemberState::Stable,
            assigned,
            revoking: Owned::new(),
        };
        let member: Arc<str> = "m".into();
        for change in [
            ConsumerChange::Member { member: member.clone(), subscription: Some(Arc::new(subscription)) },
            ConsumerChange::Current { member, current: Some(Arc::new(current)) },
        ] {
            let change = Change::Consumer { group: "g".into(), change };
            let record = encode(&change);
            assert_eq!(decode(&record.key, record.value.as_deref()), Ok(change));
        }
    }

    #[test]
    fn partitions_without_an_epoch_have_the_members() {
        let value = CurrentPartitions { topic_id: Uuid(1), partitions: vec![4, 5], assignment_epochs: None };
        assert_eq!(owned(&[value], 7), owned_of(1, 4, 7));
    }
}
