//! What members send, each in versions of its own.

use std::sync::Arc;

use ottla_wire::api::find_coordinator::FindCoordinatorRequest;
use ottla_wire::api::heartbeat::HeartbeatRequest;
use ottla_wire::api::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::api::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition as CommitPartition, OffsetCommitRequestTopic,
};
use ottla_wire::api::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponse,
};
use ottla_wire::api::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_wire::consumer_protocol::{AssignedPartitions, ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::{ApiKey, DecodeError, ErrorCode, Message, Reader, Uuid, Writer};

use crate::client::ask::Ask;
use crate::draw::Draw;
use crate::groups::{AssignmentId, CommitId, OpId, commit_of};
use crate::invariants::OLD;
use crate::time::{MILLISECOND, Nanos};

/// A protocol that all speak.
const PROTOCOL: &str = "range";
/// The type of all groups here.
const CONSUMER: &str = "consumer";

/// Who a client is, and how it speaks.
#[derive(Clone, Debug)]
pub(super) struct Speaker {
    pub group: Arc<str>,
    pub instance: Option<Arc<str>>,
    /// Its name; member ids begin with it.
    client: String,
    join: i16,
    sync: i16,
    heartbeat: i16,
    leave: i16,
    commit: i16,
    fetch: i16,
}

/// Who it is in the group.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// Empty: nobody yet.
    pub id: Arc<str>,
    pub generation: i32,
    pub assignment: AssignmentId,
}

/// One offset to commit, by the number of the commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit {
    pub id: OpId,
    pub partition: i32,
    pub offset: i64,
}

/// What a member is told to read.
#[derive(Clone, Debug, Default)]
pub(super) struct Assigned {
    pub assignment: AssignmentId,
    pub partitions: Vec<i32>,
}

/// What is committed in one partition.
#[derive(Clone, Debug)]
pub(in crate::workload) struct Fetched {
    pub topic: String,
    pub partition: i32,
    pub error: ErrorCode,
    /// What the commit is known by, and the offset.
    pub found: Option<(CommitId, i64)>,
}

impl Identity {
    /// Nobody.
    pub fn nobody() -> Self {
        Self { id: "".into(), generation: -1, assignment: 0 }
    }
}

impl Speaker {
    /// A client, with versions that are drawn. What a static member says it says as one.
    pub fn new(group: &str, instance: Option<Arc<str>>, name: &str, draw: Draw) -> Self {
        let version = |salt, low: u64, high: u64| i16::try_from(draw.and(salt).between(low, high)).unwrap_or(0);
        let (is_static, is_old) = (instance.is_some(), draw.and(1).chance(0.15));
        let (join, client) = match (is_static, is_old) {
            (true, _) => (version(2, 5, 9), name.to_owned()),
            (false, true) => (version(2, 1, 3), format!("{OLD}{name}")),
            (false, false) => (version(2, 4, 9), name.to_owned()),
        };
        let least = |low| if is_static { low } else { 0 };
        Self {
            group: group.into(),
            instance,
            client,
            join,
            sync: version(3, least(3), if join >= 7 { 5 } else { 4 }),
            heartbeat: version(4, least(3), 4),
            leave: version(5, least(3), 5),
            commit: version(6, least(7).max(2), 9),
            fetch: version(7, 1, 9),
        }
    }

    /// The same client, about another group.
    pub fn about(&self, group: &Arc<str>) -> Self {
        Self { group: group.clone(), ..self.clone() }
    }

    fn ask<'a>(&self, api_key: ApiKey, version: i16, tag: u64, body: &impl Message<'a>) -> Ask {
        Ask::of(&self.client, api_key, version, tag, body)
    }

    pub fn find(&self, tag: u64) -> Ask {
        let request = FindCoordinatorRequest { key: &self.group, coordinator_keys: vec![&*self.group], key_type: 0 };
        self.ask(ApiKey::FindCoordinator, self.sync.min(5), tag, &request)
    }

    /// `news`: what it says beside its topic, so that the coordinator sees whether it has changed.
    pub fn join(&self, tag: u64, id: &str, topic: &str, news: u8, timeouts: (Nanos, Nanos)) -> Ask {
        let news = [news];
        let subscription =
            ConsumerProtocolSubscription { topics: vec![topic], user_data: Some(&news), ..Default::default() };
        let mut writer = Writer::new();
        subscription.encode_versioned(&mut writer, i16::from(news[0] % 4));
        let protocol = JoinGroupRequestProtocol { name: PROTOCOL, metadata: writer.as_bytes() };
        let (session, rebalance) = timeouts;
        let request = JoinGroupRequest {
            group_id: &self.group,
            session_timeout_ms: i32::try_from(session / MILLISECOND).unwrap_or(i32::MAX),
            rebalance_timeout_ms: i32::try_from(rebalance / MILLISECOND).unwrap_or(i32::MAX),
            member_id: id,
            group_instance_id: self.instance.as_deref(),
            protocol_type: CONSUMER,
            protocols: vec![protocol],
            reason: Some("it is time"),
        };
        let mut ask = self.ask(ApiKey::JoinGroup, self.join, tag, &request);
        ask.patience = 2 * rebalance.max(session);
        ask
    }

    pub fn sync(&self, tag: u64, me: &Identity, topic: &str, parts: &[(Arc<str>, Assigned)], patience: Nanos) -> Ask {
        let encoded: Vec<Writer> = parts.iter().map(|(_, part)| part.encode(topic)).collect();
        let assignments = parts
            .iter()
            .zip(&encoded)
            .map(|((id, _), writer)| SyncGroupRequestAssignment { member_id: id, assignment: writer.as_bytes() });
        let request = SyncGroupRequest {
            group_id: &self.group,
            generation_id: me.generation,
            member_id: &me.id,
            group_instance_id: self.instance.as_deref(),
            protocol_type: Some(CONSUMER),
            protocol_name: Some(PROTOCOL),
            assignments: assignments.collect(),
        };
        let mut ask = self.ask(ApiKey::SyncGroup, self.sync, tag, &request);
        ask.patience = patience;
        ask
    }

    pub fn heartbeat(&self, tag: u64, me: &Identity) -> Ask {
        let request = HeartbeatRequest {
            group_id: &self.group,
            generation_id: me.generation,
            member_id: &me.id,
            group_instance_id: self.instance.as_deref(),
        };
        self.ask(ApiKey::Heartbeat, self.heartbeat, tag, &request)
    }

    pub fn leave(&self, tag: u64, me: &Identity) -> Ask {
        let group_instance_id = self.instance.as_deref();
        let request = LeaveGroupRequest {
            group_id: &self.group,
            member_id: &me.id,
            members: vec![MemberIdentity { member_id: &me.id, group_instance_id, reason: Some("it is over") }],
        };
        self.ask(ApiKey::LeaveGroup, self.leave, tag, &request)
    }

    /// Whether its commits can say how long they are to be kept.
    pub const fn says_retention(&self) -> bool {
        self.commit <= 4
    }

    pub fn commit(&self, tag: u64, me: &Identity, topic: &str, commits: &[Commit], retention: Option<Nanos>) -> Ask {
        let notes: Vec<String> = commits.iter().map(|commit| commit.id.to_string()).collect();
        let partitions = commits.iter().zip(&notes).map(|(commit, note)| CommitPartition {
            partition_index: commit.partition,
            committed_offset: commit.offset,
            committed_metadata: Some(note),
            ..CommitPartition::default()
        });
        let retention_time_ms = retention.map_or(-1, |kept| i64::try_from(kept / MILLISECOND).unwrap_or(i64::MAX));
        let topic = OffsetCommitRequestTopic { name: topic, partitions: partitions.collect(), ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: &self.group,
            generation_id_or_member_epoch: me.generation,
            member_id: &me.id,
            group_instance_id: self.instance.as_deref(),
            retention_time_ms,
            topics: vec![topic],
        };
        let mut ask = self.ask(ApiKey::OffsetCommit, self.commit, tag, &request);
        // As long as the coordinator waits for its log.
        ask.patience = 5_000 * MILLISECOND;
        ask
    }

    pub fn fetch_offsets(&self, tag: u64, topic: &str, partitions: &[i32]) -> Ask {
        let request = OffsetFetchRequest {
            group_id: &self.group,
            topics: Some(vec![OffsetFetchRequestTopic { name: topic, partition_indexes: partitions.to_vec() }]),
            groups: vec![OffsetFetchRequestGroup {
                group_id: &self.group,
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: topic,
                    partition_indexes: partitions.to_vec(),
                    ..Default::default()
                }]),
                ..Default::default()
            }],
            require_stable: tag.is_multiple_of(2),
        };
        let mut ask = self.ask(ApiKey::OffsetFetch, self.fetch, tag, &request);
        ask.patience = 5_000 * MILLISECOND;
        ask
    }
}

impl Assigned {
    fn encode(&self, topic: &str) -> Writer {
        let number = self.assignment.to_be_bytes();
        let partitions = AssignedPartitions { topic, partitions: self.partitions.clone() };
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: if self.partitions.is_empty() { Vec::new() } else { vec![partitions] },
            user_data: Some(&number),
        };
        let mut writer = Writer::new();
        assignment.encode_versioned(&mut writer, 1);
        writer
    }

    /// An assignment as a leader wrote it. Who has none has nothing to read.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let read = ConsumerProtocolAssignment::decode_versioned(bytes)?;
        let number = read.user_data.and_then(|data| data.first_chunk::<8>());
        let partitions = read.assigned_partitions.iter().flat_map(|topic| topic.partitions.iter().copied());
        Ok(Self { assignment: number.map_or(0, |bytes| u64::from_be_bytes(*bytes)), partitions: partitions.collect() })
    }
}

/// The answer to an OffsetFetch of one group, of any version: the group's error, and what is there.
pub(super) fn read_fetched(ask: &Ask, body: &mut Reader<'_>) -> Result<(ErrorCode, Vec<Fetched>), DecodeError> {
    OffsetFetchResponse::decode(body, ask.api_version).map(|answer| fetched(&answer, |_, name| name.to_owned()))
}

/// The same of an answer that is read already; topics are named by their id and name, of which one may say nothing.
pub(in crate::workload) fn fetched(
    answer: &OffsetFetchResponse<'_>,
    name_of: impl Fn(Uuid, &str) -> String,
) -> (ErrorCode, Vec<Fetched>) {
    let name_of = &name_of;
    let found =
        |offset: i64, note: Option<&str>| (offset >= 0).then(|| (commit_of(note.unwrap_or_default(), offset), offset));
    if let Some(group) = answer.groups.first() {
        let topics = group.topics.iter().flat_map(|topic| {
            let name = name_of(topic.topic_id, topic.name);
            topic.partitions.iter().map(move |it| Fetched {
                topic: name.clone(),
                partition: it.partition_index,
                error: it.error_code,
                found: found(it.committed_offset, it.metadata),
            })
        });
        return (group.error_code, topics.collect());
    }
    let topics = answer.topics.iter().flat_map(|topic| {
        let name = name_of(Uuid::ZERO, topic.name);
        topic.partitions.iter().map(move |it| Fetched {
            topic: name.clone(),
            partition: it.partition_index,
            error: it.error_code,
            found: found(it.committed_offset, it.metadata),
        })
    });
    (answer.error_code, topics.collect())
}
