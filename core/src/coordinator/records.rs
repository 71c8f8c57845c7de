//! The records of `__consumer_offsets`: between [`Change`]s and Kafka's schemas, so that Kafka reads what is written
//! here, and the other way round.
//!
//! The only place of the coordinator that knows the wire. Values are written in the versions that Kafka 4.3 writes.

mod consumer;

use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::group::{
    GroupMetadataKey, GroupMetadataValue, GroupRecord, LegacyOffsetCommitKey, LegacyOffsetCommitValue,
    MemberMetadata as WireMember, OffsetCommitKey, OffsetCommitValue,
};
use ottla_wire::{DecodeError, Uuid, Writer};

use super::image::{Change, CommittedOffset, GroupMetadata, MemberMetadata, OffsetKey};
use super::shard::{Record, ReplayError};

/// With an expiry of the client's own.
const OFFSET_WITH_EXPIRY: i16 = 1;
/// Without a topic id.
const OFFSET_PLAIN: i16 = 3;
/// With a topic id.
const OFFSET_WITH_TOPIC_ID: i16 = 4;
/// The last version that is not flexible: Kafka writes no other, so that older brokers can read it.
const GROUP: i16 = 3;
/// "It does not expire by itself."
const NO_EXPIRY: i64 = -1;

/// The record of one change.
pub(super) fn encode(change: &Change) -> Record {
    match change {
        Change::Offset { at, offset } => encode_offset(at, offset.as_deref()),
        Change::Group { group, metadata } => {
            let value = metadata.as_deref().map(group_value);
            record(&GroupRecord::GroupMetadata(GroupMetadataKey { group }, value), GROUP)
        }
        Change::Consumer { group, change } => consumer::encode(group, change),
        Change::Other => unreachable!("nobody decides on a record that is not used here"),
    }
}

fn encode_offset(at: &OffsetKey, offset: Option<&CommittedOffset>) -> Record {
    let key = OffsetCommitKey { group: &at.group, topic: &at.topic, partition: at.partition };
    let value = offset.map(|offset| OffsetCommitValue {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: &offset.metadata,
        commit_timestamp: offset.committed_at,
        expire_timestamp: offset.expires_at.unwrap_or(NO_EXPIRY),
        topic_id: offset.topic_id,
    });
    let version = match offset {
        Some(offset) if offset.expires_at.is_some() => OFFSET_WITH_EXPIRY,
        Some(offset) if offset.topic_id != Uuid::default() => OFFSET_WITH_TOPIC_ID,
        _ => OFFSET_PLAIN,
    };
    record(&GroupRecord::OffsetCommit(key, value), version)
}

fn group_value(group: &GroupMetadata) -> GroupMetadataValue<'_> {
    let members = group.members.iter().map(|member| WireMember {
        member_id: &member.id,
        group_instance_id: member.instance_id.as_deref(),
        client_id: &member.client_id,
        client_host: &member.client_host,
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: &member.subscription,
        assignment: &member.assignment,
    });
    GroupMetadataValue {
        protocol_type: &group.protocol_type,
        generation: group.generation,
        protocol: group.protocol.as_deref(),
        leader: group.leader.as_deref(),
        current_state_timestamp: group.since,
        members: members.collect(),
    }
}

fn record(record: &GroupRecord<'_>, version: i16) -> Record {
    let (mut key, mut value) = (Writer::new(), Writer::new());
    record.encode_key(&mut key);
    let has_value = record.encode_value(&mut value, version);
    Record { key: key.into_bytes(), value: has_value.then(|| value.into_bytes()) }
}

/// The change that a record is. What other kinds of groups write changes nothing here.
pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Change, ReplayError> {
    let record = match GroupRecord::decode(key, value) {
        Ok(record) => record,
        Err(DecodeError::UnknownGroupRecordType(_)) => return Ok(Change::Other),
        Err(error) => return Err(ReplayError(error.to_string())),
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not used here must not stop a replay")]
    Ok(match record {
        GroupRecord::OffsetCommit(key, value) => offset_change(&key, value.as_ref()),
        GroupRecord::LegacyOffsetCommit(key, value) => legacy_offset_change(&key, value.as_ref()),
        GroupRecord::GroupMetadata(key, value) => {
            Change::Group { group: key.group.into(), metadata: value.map(|value| Arc::new(group_metadata(&value))) }
        }
        other => consumer::decode(other).unwrap_or(Change::Other),
    })
}

fn offset_change(key: &OffsetCommitKey<'_>, value: Option<&OffsetCommitValue<'_>>) -> Change {
    let offset = value.map(|value| {
        Arc::new(CommittedOffset {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.into(),
            committed_at: value.commit_timestamp,
            expires_at: (value.expire_timestamp != NO_EXPIRY).then_some(value.expire_timestamp),
            topic_id: value.topic_id,
        })
    });
    Change::Offset {
        at: OffsetKey { group: key.group.into(), topic: key.topic.into(), partition: key.partition },
        offset,
    }
}

fn legacy_offset_change(key: &LegacyOffsetCommitKey<'_>, value: Option<&LegacyOffsetCommitValue<'_>>) -> Change {
    let key = OffsetCommitKey { group: key.group, topic: key.topic, partition: key.partition };
    let value = value.map(|value| OffsetCommitValue {
        offset: value.offset,
        metadata: value.metadata,
        commit_timestamp: value.commit_timestamp,
        ..Default::default()
    });
    offset_change(&key, value.as_ref())
}

fn group_metadata(value: &GroupMetadataValue<'_>) -> GroupMetadata {
    let mut members: Vec<_> = value.members.iter().map(member_metadata).collect();
    members.sort_by(|one, other| one.id.cmp(&other.id));
    GroupMetadata {
        protocol_type: value.protocol_type.into(),
        generation: value.generation,
        protocol: value.protocol.map(Into::into),
        leader: value.leader.map(Into::into),
        since: value.current_state_timestamp,
        members,
    }
}

fn member_metadata(member: &WireMember<'_>) -> MemberMetadata {
    // Version 0 has one timeout.
    let rebalance_timeout_ms = match member.rebalance_timeout {
        -1 => member.session_timeout,
        timeout => timeout,
    };
    MemberMetadata {
        id: member.member_id.into(),
        instance_id: member.group_instance_id.map(Into::into),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout,
        subscription: Bytes::copy_from_slice(member.subscription),
        assignment: Bytes::copy_from_slice(member.assignment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(change: &Change) -> Change {
        let record = encode(change);
        decode(&record.key, record.value.as_deref()).unwrap()
    }

    fn offset(expires_at: Option<i64>, topic_id: Uuid) -> Change {
        let at = OffsetKey { group: "g".into(), topic: "t".into(), partition: 3 };
        let offset = CommittedOffset {
            offset: 42,
            leader_epoch: 7,
            metadata: "note".into(),
            committed_at: 1_000,
            expires_at,
            topic_id,
        };
        Change::Offset { at, offset: Some(Arc::new(offset)) }
    }

    fn group() -> GroupMetadata {
        let member = |id: &str| MemberMetadata {
            id: id.into(),
            instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: 60_000,
            session_timeout_ms: 10_000,
            subscription: Bytes::from_static(b"s"),
            assignment: Bytes::from_static(b"a"),
        };
        GroupMetadata {
            protocol_type: "consumer".into(),
            generation: 5,
            protocol: Some("range".into()),
            leader: Some("m1".into()),
            since: 123,
            members: vec![member("m1"), member("m2")],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let with_id = offset(None, Uuid(7));
        let plain = offset(None, Uuid::default());
        let gone =
            Change::Offset { at: OffsetKey { group: "g".into(), topic: "t".into(), partition: 0 }, offset: None };
        let generation = Change::Group { group: "g".into(), metadata: Some(Arc::new(group())) };
        let no_group = Change::Group { group: "g".into(), metadata: None };
        for change in [with_id, plain, gone, generation, no_group] {
            assert_eq!(read_back(&change), change);
        }
    }

    #[test]
    fn an_expiry_of_the_clients_own_takes_the_version_that_has_it_and_no_leader_epoch() {
        let Change::Offset { offset: Some(read), .. } = read_back(&offset(Some(2_000), Uuid(7))) else { panic!() };
        assert_eq!((read.expires_at, read.leader_epoch, read.topic_id), (Some(2_000), -1, Uuid::default()));
    }

    #[test]
    fn keys_and_versions_are_kafkas() {
        let record = encode(&offset(None, Uuid::default()));
        assert_eq!(record.key, b"\0\x01\0\x01g\0\x01t\0\0\0\x03");
        assert_eq!(record.value.unwrap()[..2], [0, 3]);
        let tombstone = encode(&Change::Group { group: "g".into(), metadata: None });
        assert_eq!((tombstone.key, tombstone.value), (b"\0\x02\0\x01g".to_vec(), None));
    }

    #[test]
    fn a_record_of_another_kind_of_group_changes_nothing_and_rubbish_is_an_error() {
        assert_eq!(decode(b"\0\x0e\0\x01g", Some(b"\0\0")), Ok(Change::Other));
        assert!(decode(b"\0\x01\0\x01g", None).is_err());
        assert!(decode(b"", None).is_err());
    }
}
