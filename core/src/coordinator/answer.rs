//! What a shard answers, in the words of the domain.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::{ErrorCode, Uuid};

use super::assignor::Partitions;
use super::consumer_image::Subscription;
use super::request::LeavingMember;

/// What one request is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To JoinGroup.
    Join(JoinAnswer),
    /// To SyncGroup.
    Sync(SyncAnswer),
    /// To Heartbeat.
    Heartbeat(ErrorCode),
    /// To LeaveGroup.
    Leave(LeaveAnswer),
    /// To ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerHeartbeatAnswer),
    /// To ConsumerGroupDescribe.
    ConsumerDescribe(DescribedConsumerGroup),
    /// To OffsetCommit.
    Commit(CommitAnswer),
    /// To OffsetFetch.
    FetchOffsets(FetchOffsetsAnswer),
    /// To DescribeGroups.
    Describe(DescribedGroup),
    /// To ListGroups.
    List {
        /// Of the whole request.
        error: ErrorCode,
        /// In the order of their names.
        groups: Vec<ListedGroup>,
    },
    /// To DeleteGroups.
    Delete {
        /// In the order that they were asked in.
        groups: Vec<(Arc<str>, ErrorCode)>,
    },
    /// To OffsetDelete.
    DeleteOffsets(DeleteOffsetsAnswer),
}

/// A member's place in the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// With MEMBER_ID_REQUIRED, `member_id` is the one to come back with.
    pub error: ErrorCode,
    /// -1 if there is none.
    pub generation: i32,
    /// The group's.
    pub protocol_type: Option<Arc<str>>,
    /// What the group speaks in this generation.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: Arc<str>,
    /// Whether the leader is to leave the assignment as it is (KIP-814).
    pub skip_assignment: bool,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The leader is told everyone; the others nobody.
    pub members: Vec<JoinedMember>,
}

/// What the leader is told about one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Of a static member.
    pub instance_id: Option<Arc<str>>,
    /// What it says in the chosen protocol.
    pub metadata: Bytes,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    /// Kafka's code.
    pub error: ErrorCode,
    /// The group's.
    pub protocol_type: Option<Arc<str>>,
    /// What the group speaks in this generation.
    pub protocol: Option<Arc<str>>,
    /// In the chosen protocol; empty if it has none.
    pub assignment: Bytes,
}

/// Who has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveAnswer {
    /// Of the whole request.
    pub error: ErrorCode,
    /// In the order that they were named in.
    pub members: Vec<LeftMember>,
}

/// One member that was to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftMember {
    /// As it was named.
    pub member_id: Arc<str>,
    /// As it was named.
    pub instance_id: Option<Arc<str>>,
    /// Kafka's code.
    pub error: ErrorCode,
}

/// What a member of a consumer group is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerHeartbeatAnswer {
    /// Kafka's code.
    pub error: ErrorCode,
    /// For people, if there is an error.
    pub message: Option<String>,
    /// The member's id.
    pub member_id: Option<Arc<str>>,
    /// The member's epoch from now on; -1 or -2 if it has left.
    pub member_epoch: i32,
    /// When it is to be heard of next, in milliseconds.
    pub heartbeat_interval_ms: i32,
    /// What it may own; `None`: that has not changed.
    pub assignment: Option<Partitions>,
}

/// A consumer group, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumerGroup {
    /// GROUP_ID_NOT_FOUND, if there is no such consumer group.
    pub error: ErrorCode,
    /// For people, if there is an error.
    pub message: Option<String>,
    /// Which group.
    pub group: Arc<str>,
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch that the target assignment is of.
    pub target_epoch: i32,
    /// How the next assignment will be made.
    pub assignor: Arc<str>,
    /// In the order of their ids.
    pub members: Vec<DescribedConsumer>,
}

/// A member of a consumer group, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumer {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its epoch.
    pub epoch: i32,
    /// Who it is and what it wants.
    pub subscription: Arc<Subscription>,
    /// What it may own.
    pub assigned: Vec<DescribedPartitions>,
    /// What it is to own.
    pub target: Vec<DescribedPartitions>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedPartitions {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// In order.
    pub partitions: Vec<i32>,
}

/// What became of each offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitAnswer {
    /// In the order of the request.
    pub topics: Vec<TopicResult>,
}

/// What became of the partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicResult {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, as it was given.
    pub id: Uuid,
    /// In the order of the request.
    pub partitions: Vec<PartitionResult>,
}

/// What became of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionResult {
    /// Which partition.
    pub partition: i32,
    /// Kafka's code.
    pub error: ErrorCode,
}

/// The committed offsets of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOffsetsAnswer {
    /// Which group.
    pub group: Arc<str>,
    /// Of the whole group.
    pub error: ErrorCode,
    /// In the order of the request, or of their names.
    pub topics: Vec<FetchedTopic>,
}

/// The committed offsets of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, as it was asked for; zero if all topics were: the parent knows.
    pub id: Uuid,
    /// In the order of the request, or of their numbers.
    pub partitions: Vec<FetchedOffset>,
}

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// Which partition.
    pub partition: i32,
    /// -1: nothing was committed.
    pub offset: i64,
    /// -1: unknown.
    pub leader_epoch: i32,
    /// The client's own note; empty if there is none.
    pub metadata: Arc<str>,
    /// Kafka's code.
    pub error: ErrorCode,
}

/// A group's state, by Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// The generation is known, the assignment is not yet.
    CompletingRebalance,
    /// Everyone has an assignment.
    Stable,
    /// There is no such group.
    Dead,
    /// KIP-848: a new target assignment is being made.
    Assigning,
    /// KIP-848: members are on their way to the target assignment.
    Reconciling,
}

/// Which protocol a group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupType {
    /// JoinGroup and SyncGroup; also groups of offsets alone.
    Classic,
    /// KIP-848.
    Consumer,
}

/// A group, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// GROUP_ID_NOT_FOUND with the state Dead, if there is none; clients before version 6 are told the state alone.
    pub error: ErrorCode,
    /// For people, if there is an error.
    pub message: Option<String>,
    /// Which group.
    pub group: Arc<str>,
    /// Its state.
    pub state: GroupState,
    /// Empty if it has none.
    pub protocol_type: Arc<str>,
    /// Empty unless the group is stable.
    pub protocol: Arc<str>,
    /// In the order of their ids.
    pub members: Vec<DescribedMember>,
}

/// A member, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The client's name.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// What it says in the group's protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment; empty unless the group is stable.
    pub assignment: Bytes,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Which group.
    pub group: Arc<str>,
    /// Empty if it has none.
    pub protocol_type: Arc<str>,
    /// Its state.
    pub state: GroupState,
    /// Its type.
    pub kind: GroupType,
}

/// Which offsets are forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsetsAnswer {
    /// Of the whole request; then there are no topics.
    pub error: ErrorCode,
    /// In the order of the request.
    pub topics: Vec<TopicResult>,
}

impl Answer {
    /// The same answer, if what it rests on could not be written.
    #[must_use]
    pub(super) fn failed(self, code: ErrorCode) -> Self {
        match self {
            // An id that the log does not know is nobody's.
            Self::Join(_) => Self::Join(JoinAnswer::refused("", code)),
            Self::Sync(_) => Self::Sync(SyncAnswer::refused(code)),
            Self::Heartbeat(_) => Self::Heartbeat(code),
            Self::Leave(it) => Self::Leave(LeaveAnswer { error: code, ..it }),
            Self::ConsumerHeartbeat(_) => Self::ConsumerHeartbeat(ConsumerHeartbeatAnswer::refused(code, None)),
            Self::ConsumerDescribe(it) => {
                Self::ConsumerDescribe(DescribedConsumerGroup::refused(&it.group, code, None))
            }
            Self::Commit(it) => Self::Commit(CommitAnswer { topics: failed_topics(it.topics, code) }),
            Self::FetchOffsets(it) => Self::FetchOffsets(FetchOffsetsAnswer::refused(&it.group, code)),
            Self::Describe(it) => Self::Describe(DescribedGroup::refused(&it.group, code)),
            Self::List { .. } => Self::List { error: code, groups: Vec::new() },
            Self::Delete { groups } => {
                Self::Delete { groups: groups.into_iter().map(|(group, old)| (group, worse(old, code))).collect() }
            }
            Self::DeleteOffsets(_) => Self::DeleteOffsets(DeleteOffsetsAnswer { error: code, topics: Vec::new() }),
        }
    }

    /// GRP-05: as somebody says it who knows nobody's instance.
    #[must_use]
    pub(super) fn unfenced(mut self) -> Self {
        let unknown = |code: &mut ErrorCode| {
            if *code == ErrorCode::FENCED_INSTANCE_ID {
                *code = ErrorCode::UNKNOWN_MEMBER_ID;
            }
        };
        if let Self::Join(JoinAnswer { error, .. }) | Self::Sync(SyncAnswer { error, .. }) | Self::Heartbeat(error) =
            &mut self
        {
            unknown(error);
        } else if let Self::Commit(it) = &mut self {
            it.topics.iter_mut().flat_map(|topic| &mut topic.partitions).for_each(|it| unknown(&mut it.error));
        }
        self
    }
}

/// What was refused for a reason of its own stays refused for that.
fn worse(old: ErrorCode, new: ErrorCode) -> ErrorCode {
    if old == ErrorCode::NONE { new } else { old }
}

fn failed_topics(mut topics: Vec<TopicResult>, code: ErrorCode) -> Vec<TopicResult> {
    for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.error = worse(partition.error, code);
    }
    topics
}

impl JoinAnswer {
    pub(super) fn refused(member_id: &str, code: ErrorCode) -> Self {
        Self {
            error: code,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: "".into(),
            skip_assignment: false,
            member_id: member_id.into(),
            members: Vec::new(),
        }
    }
}

impl SyncAnswer {
    pub(super) const fn refused(code: ErrorCode) -> Self {
        Self { error: code, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

impl LeftMember {
    pub(super) fn new(member: &LeavingMember<'_>, error: ErrorCode) -> Self {
        Self { member_id: member.member_id.into(), instance_id: member.instance_id.map(Into::into), error }
    }
}

impl FetchOffsetsAnswer {
    pub(super) fn refused(group: &str, code: ErrorCode) -> Self {
        Self { group: group.into(), error: code, topics: Vec::new() }
    }
}

impl DescribedGroup {
    pub(super) fn refused(group: &str, code: ErrorCode) -> Self {
        Self {
            error: code,
            message: None,
            group: group.into(),
            state: GroupState::Dead,
            protocol_type: "".into(),
            protocol: "".into(),
            members: Vec::new(),
        }
    }
}

impl ConsumerHeartbeatAnswer {
    pub(super) fn refused(error: ErrorCode, message: Option<String>) -> Self {
        Self { error, message, ..Self::default() }
    }
}

impl DescribedConsumerGroup {
    pub(super) fn refused(group: &str, error: ErrorCode, message: Option<String>) -> Self {
        Self {
            error,
            message,
            group: group.into(),
            state: GroupState::Dead,
            epoch: 0,
            target_epoch: 0,
            assignor: "".into(),
            members: Vec::new(),
        }
    }
}

impl GroupState {
    /// Kafka's name, as ListGroups and DescribeGroups have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
        }
    }
}

impl GroupType {
    /// Kafka's name, as ListGroups has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "Classic",
            Self::Consumer => "Consumer",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for GroupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
