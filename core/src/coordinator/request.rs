//! What is asked of a shard, in the words of the domain: no frames, no versions.
//!
//! What a version lacks the parent says with a flag that is named after what the client can do. Texts borrow from the
//! frame: what the shard keeps, it copies.

use ottla_wire::{ErrorCode, Uuid};

use super::answer::{
    Answer, CommitAnswer, ConsumerHeartbeatAnswer, DeleteOffsetsAnswer, DescribedConsumerGroup, DescribedGroup,
    FetchOffsetsAnswer, JoinAnswer, LeaveAnswer, LeftMember, PartitionResult, SyncAnswer, TopicResult,
};
use super::assignor::Partitions;

/// One request to one shard. Of a request that names several groups, the parent makes one for each shard, or group.
#[derive(Clone, Debug, PartialEq)]
pub enum Request<'a> {
    /// JoinGroup.
    Join(JoinRequest<'a>),
    /// SyncGroup.
    Sync(SyncRequest<'a>),
    /// Heartbeat.
    Heartbeat(HeartbeatRequest<'a>),
    /// LeaveGroup.
    Leave(LeaveRequest<'a>),
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerHeartbeatRequest<'a>),
    /// ConsumerGroupDescribe, of one group.
    ConsumerDescribe {
        /// Which group.
        group: &'a str,
    },
    /// OffsetCommit.
    Commit(CommitRequest<'a>),
    /// OffsetFetch, of one group.
    FetchOffsets(FetchOffsetsRequest<'a>),
    /// DescribeGroups, of one group.
    Describe {
        /// Which group.
        group: &'a str,
    },
    /// ListGroups, of this shard.
    List(ListRequest<'a>),
    /// DeleteGroups, those of this shard.
    Delete {
        /// Which groups.
        groups: Vec<&'a str>,
    },
    /// OffsetDelete.
    DeleteOffsets(DeleteOffsetsRequest<'a>),
}

/// A member joins, or joins again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest<'a> {
    /// Which group.
    pub group: &'a str,
    /// Empty: a member that has no id yet.
    pub member_id: &'a str,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<&'a str>,
    /// Drawn by the parent: a new member's id ends with it.
    pub uuid: Uuid,
    /// The client's name, as its header says; empty if it says none.
    pub client_id: &'a str,
    /// Where the client is, as `/127.0.0.1`.
    pub client_host: &'a str,
    /// `consumer`, `connect`, …
    pub protocol_type: &'a str,
    /// What the member can speak, best first.
    pub protocols: Vec<Protocol<'a>>,
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// In milliseconds; the parent puts the session timeout for a version that lacks it.
    pub rebalance_timeout_ms: i32,
    /// Whether a new member must first be told its id (KIP-394; versions 4 and up).
    pub knows_member_id_required: bool,
    /// Whether a leader can be told to skip the assignment (KIP-814; versions 9 and up).
    pub knows_skip_assignment: bool,
    /// Why it joins, for people.
    pub reason: Option<&'a str>,
}

/// One protocol that a member can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol<'a> {
    /// As in `range`.
    pub name: &'a str,
    /// What the member says in it; for consumers, its subscription.
    pub metadata: &'a [u8],
}

/// A member asks for its assignment; the leader brings everyone's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest<'a> {
    /// Which group.
    pub group: &'a str,
    /// In which generation.
    pub generation: i32,
    /// Which member.
    pub member_id: &'a str,
    /// Of a static member.
    pub instance_id: Option<&'a str>,
    /// What it takes the group's protocol type to be (versions 5 and up).
    pub protocol_type: Option<&'a str>,
    /// What it takes the group's protocol to be (versions 5 and up).
    pub protocol: Option<&'a str>,
    /// The leader's: member id and assignment.
    pub assignments: Vec<(&'a str, &'a [u8])>,
}

/// A member lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatRequest<'a> {
    /// Which group.
    pub group: &'a str,
    /// In which generation.
    pub generation: i32,
    /// Which member.
    pub member_id: &'a str,
    /// Of a static member.
    pub instance_id: Option<&'a str>,
}

/// Members leave, or are removed by an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveRequest<'a> {
    /// Which group.
    pub group: &'a str,
    /// Who leaves.
    pub members: Vec<LeavingMember<'a>>,
}

/// One member that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeavingMember<'a> {
    /// Empty, if an operator removes a static member by its instance.
    pub member_id: &'a str,
    /// Of a static member.
    pub instance_id: Option<&'a str>,
    /// Why, for people.
    pub reason: Option<&'a str>,
}

/// A member of a consumer group joins, goes on or leaves (KIP-848). `None` is what has not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerHeartbeatRequest<'a> {
    /// Which group.
    pub group: &'a str,
    /// Drawn by the member, or by the parent for one that does not draw it (version 0).
    pub member_id: &'a str,
    /// 0: it joins; -1: it leaves; -2: a static member leaves for a while.
    pub member_epoch: i32,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<&'a str>,
    /// `client.rack`
    pub rack_id: Option<&'a str>,
    /// How long it may take to give partitions up, in milliseconds.
    pub rebalance_timeout_ms: Option<i32>,
    /// The topics that it is subscribed to by name.
    pub topics: Option<Vec<&'a str>>,
    /// The topics that it is subscribed to by a regular expression; empty: by none.
    pub regex: Option<&'a str>,
    /// How it would have assignments made.
    pub assignor: Option<&'a str>,
    /// What it owns.
    pub owned: Option<Partitions>,
    /// The client's name, as its header says; empty if it says none.
    pub client_id: &'a str,
    /// Where the client is, as `/127.0.0.1`.
    pub client_host: &'a str,
}

/// Offsets are committed: by a member, or by somebody who is in no group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRequest<'a> {
    /// Which group.
    pub group: &'a str,
    /// The generation, or the member epoch (KIP-848); -1: not as a member.
    pub generation: i32,
    /// Empty: not as a member.
    pub member_id: &'a str,
    /// Of a static member.
    pub instance_id: Option<&'a str>,
    /// Whether it knows the errors of member epochs (versions 9 and up).
    pub knows_member_epochs: bool,
    /// Kept so long from now, whatever happens to the group (versions 2 to 4).
    pub retention_ms: Option<i64>,
    /// The partitions; the parent has taken out those that do not exist.
    pub topics: Vec<CommitTopic<'a>>,
}

/// The partitions of one topic whose offsets are committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its id, kept beside the offsets so that a topic that is made anew does not have them; zero if not known.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: Vec<CommitPartition<'a>>,
}

/// One offset to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPartition<'a> {
    /// Which partition.
    pub partition: i32,
    /// The next offset to be read.
    pub offset: i64,
    /// Of the last record read; -1: unknown.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Option<&'a str>,
}

/// What has been committed?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOffsetsRequest<'a> {
    /// Which group.
    pub group: &'a str,
    /// Of a KIP-848 member (versions 9 and up).
    pub member_id: Option<&'a str>,
    /// Of a KIP-848 member; -1 if none.
    pub member_epoch: i32,
    /// Whether offsets of transactions that are under way are waited for (KIP-447).
    pub require_stable: bool,
    /// Of which partitions; `None`: all that there are.
    pub topics: Option<Vec<FetchTopic<'a>>>,
}

/// The partitions of one topic whose offsets are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its id, also if the client named the topic; zero if there is no such topic.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

/// Which groups are there?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest<'a> {
    /// Only those in one of these states, whatever the case; empty: all.
    pub states: Vec<&'a str>,
    /// Only those of one of these types, whatever the case; empty: all.
    pub types: Vec<&'a str>,
}

/// Committed offsets are to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsetsRequest<'a> {
    /// Which group.
    pub group: &'a str,
    /// Topics and their partitions.
    pub topics: Vec<(&'a str, Vec<i32>)>,
}

impl Request<'_> {
    /// The answer that refuses the whole request.
    #[must_use]
    pub fn refused(&self, code: ErrorCode) -> Answer {
        match self {
            Self::Join(it) => Answer::Join(JoinAnswer::refused(it.member_id, code)),
            Self::Sync(_) => Answer::Sync(SyncAnswer::refused(code)),
            // While the groups are loaded nobody can tell who is in them, and some clients know no such answer to this.
            Self::Heartbeat(_) if code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => Answer::Heartbeat(ErrorCode::NONE),
            Self::Heartbeat(_) => Answer::Heartbeat(code),
            Self::Leave(it) => {
                let members = it.members.iter().map(|member| LeftMember::new(member, ErrorCode::NONE));
                Answer::Leave(LeaveAnswer { error: code, members: members.collect() })
            }
            Self::ConsumerHeartbeat(_) => Answer::ConsumerHeartbeat(ConsumerHeartbeatAnswer::refused(code, None)),
            Self::ConsumerDescribe { group } => {
                Answer::ConsumerDescribe(DescribedConsumerGroup::refused(group, code, None))
            }
            Self::Commit(it) => Answer::Commit(it.answer_all(code)),
            Self::FetchOffsets(it) => Answer::FetchOffsets(FetchOffsetsAnswer::refused(it.group, code)),
            Self::Describe { group } => Answer::Describe(DescribedGroup::refused(group, code)),
            Self::List(_) => Answer::List { error: code, groups: Vec::new() },
            Self::Delete { groups } => {
                Answer::Delete { groups: groups.iter().map(|group| ((*group).into(), code)).collect() }
            }
            Self::DeleteOffsets(_) => Answer::DeleteOffsets(DeleteOffsetsAnswer { error: code, topics: Vec::new() }),
        }
    }
}

impl CommitRequest<'_> {
    /// The same word for every partition.
    #[must_use]
    pub fn answer_all(&self, code: ErrorCode) -> CommitAnswer {
        let topics = self.topics.iter().map(|topic| TopicResult {
            name: topic.name.into(),
            id: topic.id,
            partitions: topic
                .partitions
                .iter()
                .map(|partition| PartitionResult { partition: partition.partition, error: code })
                .collect(),
        });
        CommitAnswer { topics: topics.collect() }
    }
}
