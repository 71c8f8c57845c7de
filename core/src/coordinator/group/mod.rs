//! Groups: consumer groups in `consumer`, classic ones beside it: who is in a group, in which generation, and what each
//! member is doing there.
//!
//! | state               | until                                            | then                |
//! |---------------------|--------------------------------------------------|---------------------|
//! | Empty               | somebody joins                                   | PreparingRebalance  |
//! | PreparingRebalance  | everyone has joined again, or the time is up     | CompletingRebalance |
//! |                     | … and nobody is left                             | Empty               |
//! | CompletingRebalance | the leader's assignment is committed             | Stable              |
//! | Stable, Completing… | a member comes, goes, or has news                 | PreparingRebalance |
//!
//! Dead is a group that is not there. A generation has one leader and one assignment, and is hard state once the
//! leader's SyncGroup is written. What members do between two generations is soft and dies with the shard: they are
//! asked to join again.
//!
//! * `join`, `sync`, `leave`: the requests of members; `rebalance`: from one generation to the next.
//!
//! Invariants: one ticket at most is parked for a member; one member an instance id (KIP-345); a member that is parked
//! is alive as long as it is, but for one that has never been in a generation, which cannot send heartbeats.

mod consumer;
mod join;
mod leave;
mod member;
mod protocols;
mod rebalance;
mod sync;

pub(super) use consumer::{ConsumerGroup, Draft, LEFT, LEFT_FOR_A_WHILE, Refused, check_heartbeat};
pub(super) use join::Joining;
pub(super) use member::{Member, Parked};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::consumer_protocol::ConsumerProtocolSubscription;

use super::answer::{DescribedGroup, GroupState};
use super::image::GroupMetadata;
use crate::clock::WallTime;

/// The protocol type whose metadata can be read here.
pub(super) const CONSUMER: &str = "consumer";

/// A group, by the protocol that it speaks.
#[derive(Clone, Debug)]
pub(super) enum Group {
    /// JoinGroup and SyncGroup, or offsets alone.
    Classic(ClassicGroup),
    /// KIP-848.
    Consumer(ConsumerGroup),
}

impl Group {
    pub const fn id(&self) -> &Arc<str> {
        match self {
            Self::Classic(group) => &group.id,
            Self::Consumer(group) => &group.id,
        }
    }

    pub const fn classic(&self) -> Option<&ClassicGroup> {
        match self {
            Self::Classic(group) => Some(group),
            Self::Consumer(_) => None,
        }
    }

    pub const fn consumer(&self) -> Option<&ConsumerGroup> {
        match self {
            Self::Consumer(group) => Some(group),
            Self::Classic(_) => None,
        }
    }

    pub const fn classic_mut(&mut self) -> Option<&mut ClassicGroup> {
        match self {
            Self::Classic(group) => Some(group),
            Self::Consumer(_) => None,
        }
    }
}

/// A classic group as it lives.
#[derive(Clone, Debug)]
pub(super) struct ClassicGroup {
    pub id: Arc<str>,
    pub state: ClassicState,
    /// Since when it is in this state; `None`: longer than anyone knows.
    pub since: Option<WallTime>,
    /// 0 before the first.
    pub generation: i32,
    /// Of the members, or of those that were.
    pub protocol_type: Option<Arc<str>>,
    /// Chosen for this generation.
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    pub members: BTreeMap<Arc<str>, Member>,
    /// Member ids by instance id.
    pub instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and have not come back yet (KIP-394).
    pub pending_joins: BTreeSet<Arc<str>>,
    /// The topics of this generation; `None`: not known.
    pub subscribed: Option<BTreeSet<Arc<str>>>,
}

/// What a classic group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClassicState {
    Empty,
    /// `Some`: it was empty, and waits for more members, whether or not these have all joined.
    Preparing {
        initial: Option<InitialDelay>,
    },
    /// `written`: the leader's assignment is in the log and not committed yet.
    Completing {
        written: bool,
    },
    Stable,
}

/// The first rebalance of an empty group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InitialDelay {
    /// How long the present wait is, in milliseconds.
    pub wait_ms: u64,
    /// How much longer it may be made, in milliseconds.
    pub left_ms: u64,
    /// Whether somebody came meanwhile.
    pub joined: bool,
}

impl ClassicGroup {
    /// An empty group.
    pub fn new(id: Arc<str>) -> Self {
        Self {
            id,
            state: ClassicState::Empty,
            since: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            subscribed: None,
        }
    }

    /// A group as the log has it.
    pub fn load(id: Arc<str>, metadata: &GroupMetadata) -> Self {
        let protocol = metadata.protocol.clone();
        let members = metadata.members.iter().map(|member| {
            let name = protocol.clone().unwrap_or_default();
            (member.id.clone(), Member::load(member, name))
        });
        let members: BTreeMap<_, _> = members.collect();
        let instance = |member: &Member| Some((member.instance_id.clone()?, member.id.clone()));
        let mut group = Self {
            state: if members.is_empty() { ClassicState::Empty } else { ClassicState::Stable },
            since: (metadata.since != -1).then_some(WallTime(metadata.since)),
            generation: metadata.generation,
            protocol_type: (!metadata.protocol_type.is_empty()).then(|| metadata.protocol_type.clone()),
            protocol,
            leader: metadata.leader.clone(),
            instances: members.values().filter_map(instance).collect(),
            members,
            ..Self::new(id)
        };
        group.subscribed = group.read_subscriptions();
        group
    }

    pub const fn state_name(&self) -> GroupState {
        match self.state {
            ClassicState::Empty => GroupState::Empty,
            ClassicState::Preparing { .. } => GroupState::PreparingRebalance,
            ClassicState::Completing { .. } => GroupState::CompletingRebalance,
            ClassicState::Stable => GroupState::Stable,
        }
    }

    pub fn enter(&mut self, state: ClassicState, now: WallTime) {
        self.state = state;
        self.since = Some(now);
    }

    pub fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Whether there is nobody whom it would be taken from.
    pub fn is_empty(&self) -> bool {
        self.state == ClassicState::Empty
    }

    /// Whether somebody's session is counted under this id.
    pub fn has_session(&self, id: &str) -> bool {
        self.members.contains_key(id) || self.pending_joins.contains(id)
    }

    /// Since when the members that it had are gone.
    pub fn empty_since(&self) -> Option<WallTime> {
        self.since.filter(|_| self.is_empty() && self.protocol_type.is_some())
    }

    /// Whether the member is who it says it is (KIP-345).
    pub fn check_member(&self, member: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(current) if **current != *member => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    /// Whether these offsets may be committed in the member's name.
    pub fn check_commit(&self, generation: i32, member: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        let as_member = generation >= 0 || !member.is_empty() || instance.is_some();
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        if !as_member {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.check_member(member, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        match self.state {
            ClassicState::Completing { .. } => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            ClassicState::Empty | ClassicState::Preparing { .. } | ClassicState::Stable => Ok(()),
        }
    }

    pub fn speaks_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether a member may be reading the topic: if nobody knows, it may.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.subscribed.as_ref().map_or(self.speaks_consumer(), |topics| topics.contains(topic))
    }

    /// The topics that the members say they read, where they say it in a way that can be read here.
    pub fn read_subscriptions(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.speaks_consumer() {
            return None;
        }
        let Some(protocol) = &self.protocol else {
            return self.members.is_empty().then(BTreeSet::new);
        };
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(protocol);
            let subscription = ConsumerProtocolSubscription::decode_versioned(&metadata).ok()?;
            topics.extend(subscription.topics.into_iter().map(Arc::from));
        }
        Some(topics)
    }

    /// The group, as DescribeGroups shows it.
    pub fn describe(&self) -> DescribedGroup {
        let stable = self.state == ClassicState::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let members = self.members.values().map(|member| member.describe(stable.then_some(&*protocol)));
        DescribedGroup {
            error: ErrorCode::NONE,
            message: None,
            group: self.id.clone(),
            state: self.state_name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol,
        }
    }

    /// What the log is to say of the group, with these assignments.
    pub fn metadata(&self, assignment_of: impl Fn(&Member) -> bytes::Bytes) -> GroupMetadata {
        let protocol = self.protocol.clone();
        let name = protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| member.record(name, assignment_of(member)));
        GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            leader: self.leader.clone(),
            since: self.since.map_or(-1, |since| since.0),
            members: members.collect(),
            protocol,
        }
    }
}
