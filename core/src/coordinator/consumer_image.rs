//! The hard state of consumer groups (KIP-848): what their records say, and nothing beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::Uuid;

use super::assignor::Partitions;

/// One change of a consumer group: one record. Without a value it takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerChange {
    /// The group's epoch; `None`: the group is gone.
    Epoch(Option<GroupEpoch>),
    /// Who a member is and what it is subscribed to.
    Member { member: Arc<str>, subscription: Option<Arc<Subscription>> },
    /// The topics that a regular expression stands for.
    Regex { regex: Arc<str>, resolved: Option<Arc<ResolvedRegex>> },
    /// The epoch of the group that the target assignment is of.
    TargetEpoch(Option<TargetEpoch>),
    /// What a member is to own.
    Target { member: Arc<str>, partitions: Option<Arc<Partitions>> },
    /// What a member owns.
    Current { member: Arc<str>, current: Option<Arc<CurrentAssignment>> },
}

/// A group's epoch: raised with everything that asks for another assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupEpoch {
    /// From 1 on.
    pub epoch: i32,
    /// Of the topics that the group is subscribed to; 0 if there are none.
    pub metadata_hash: i64,
}

/// When the target assignment was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetEpoch {
    /// For which epoch of the group.
    pub epoch: i32,
    /// In milliseconds of the wall clock; 0: unknown.
    pub made_at: i64,
}

/// Who a member is and what it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Where it is, if it says so.
    pub rack_id: Option<Arc<str>>,
    /// The client's name.
    pub client_id: Arc<str>,
    /// Where the client is.
    pub client_host: Arc<str>,
    /// Topics by name, whether or not there are such.
    pub topics: BTreeSet<Arc<str>>,
    /// Topics by a regular expression.
    pub regex: Option<Arc<str>>,
    /// How long it may take to give partitions up, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How it would have assignments made.
    pub assignor: Option<Arc<str>>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What a member of the classic protocol said when it joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMember {
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// What it can speak and what it says in it, best first.
    pub protocols: Vec<(Arc<str>, Bytes)>,
}

/// What a regular expression stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedRegex {
    /// In order.
    pub topics: BTreeSet<Arc<str>>,
    /// The version of the metadata that it was looked up in.
    pub version: i64,
    /// When, in milliseconds of the wall clock.
    pub resolved_at: i64,
}

/// What a member owns, and how far it is on its way to the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// The epoch of the member; -2: a static member that is away.
    pub epoch: i32,
    /// The one before: a member that has lost an answer still names it.
    pub previous_epoch: i32,
    /// What it is to do next.
    pub state: MemberState,
    /// What it may own.
    pub assigned: Owned,
    /// What it is to give up, and may own until it says that it has.
    pub revoking: Owned,
}

/// Partitions by topic, each with the member's epoch when it was given to it (KIP-1251).
pub type Owned = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// How a member is on its way to the target assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It has what it is to have at its epoch.
    #[default]
    Stable,
    /// It is to give partitions up.
    Unrevoked,
    /// Others have still to give up what it is to have.
    Unreleased,
}

/// What the records say of one consumer group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumerImage {
    pub(super) epoch: GroupEpoch,
    pub(super) target_epoch: TargetEpoch,
    pub(super) members: BTreeMap<Arc<str>, Arc<Subscription>>,
    pub(super) regexes: BTreeMap<Arc<str>, Arc<ResolvedRegex>>,
    pub(super) targets: BTreeMap<Arc<str>, Arc<Partitions>>,
    pub(super) current: BTreeMap<Arc<str>, Arc<CurrentAssignment>>,
    /// Member ids by instance id.
    pub(super) instances: BTreeMap<Arc<str>, Arc<str>>,
}

impl ConsumerImage {
    /// Follows one record. The one that takes the group away is for whoever has the groups.
    pub(super) fn replay(&mut self, change: &ConsumerChange) {
        match change {
            ConsumerChange::Epoch(epoch) => self.epoch = epoch.unwrap_or_default(),
            ConsumerChange::Member { member, subscription } => self.replay_member(member, subscription.as_ref()),
            ConsumerChange::Regex { regex, resolved } => put(&mut self.regexes, regex, resolved.as_ref()),
            ConsumerChange::TargetEpoch(epoch) => self.target_epoch = epoch.unwrap_or_default(),
            ConsumerChange::Target { member, partitions } => put(&mut self.targets, member, partitions.as_ref()),
            ConsumerChange::Current { member, current } => put(&mut self.current, member, current.as_ref()),
        }
    }

    fn replay_member(&mut self, member: &Arc<str>, subscription: Option<&Arc<Subscription>>) {
        let before = self.members.get(member).and_then(|it| it.instance_id.clone());
        if let Some(instance) = before.filter(|instance| self.instances.get(instance) == Some(member)) {
            self.instances.remove(&instance);
        }
        if let Some(instance) = subscription.and_then(|it| it.instance_id.clone()) {
            self.instances.insert(instance, member.clone());
        }
        put(&mut self.members, member, subscription);
    }

    /// The changes that would say all of it anew.
    pub(super) fn changes(&self) -> Vec<ConsumerChange> {
        let mut changes = vec![ConsumerChange::Epoch(Some(self.epoch))];
        if self.target_epoch != TargetEpoch::default() {
            changes.push(ConsumerChange::TargetEpoch(Some(self.target_epoch)));
        }
        changes.extend(self.members.iter().map(|(member, it)| {
            let (member, subscription) = (member.clone(), Some(it.clone()));
            ConsumerChange::Member { member, subscription }
        }));
        changes.extend(self.regexes.iter().map(|(regex, it)| {
            let (regex, resolved) = (regex.clone(), Some(it.clone()));
            ConsumerChange::Regex { regex, resolved }
        }));
        changes.extend(self.targets.iter().map(|(member, it)| {
            let (member, partitions) = (member.clone(), Some(it.clone()));
            ConsumerChange::Target { member, partitions }
        }));
        changes.extend(self.current.iter().map(|(member, it)| {
            let (member, current) = (member.clone(), Some(it.clone()));
            ConsumerChange::Current { member, current }
        }));
        changes
    }

    /// What a member owns; nothing, at epoch 0, if it has not got that far.
    pub(super) fn current_of(&self, member: &str) -> Arc<CurrentAssignment> {
        self.current.get(member).cloned().unwrap_or_default()
    }

    /// Whether a member has all that it is to have.
    pub(super) fn is_reconciled(&self, member: &str) -> bool {
        let of_target = |it: &Arc<CurrentAssignment>| it.epoch == self.target_epoch.epoch;
        self.current.get(member).is_some_and(|it| it.state == MemberState::Stable && of_target(it))
    }

    /// The names that a member is subscribed to, whether or not there are such topics.
    pub(super) fn topics_of<'a>(&'a self, subscription: &'a Subscription) -> impl Iterator<Item = &'a Arc<str>> {
        let resolved = subscription.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        subscription.topics.iter().chain(resolved.into_iter().flat_map(|it| &it.topics))
    }

    /// Whether a member reads the topic.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        let by_name = |it: &Arc<Subscription>| it.topics.contains(topic);
        self.members.values().any(by_name) || self.regexes.values().any(|it| it.topics.contains(topic))
    }
}

impl CurrentAssignment {
    /// The epoch in which the member was given a partition that it may own; `None`: it may not.
    pub(super) fn given_at(&self, topic: Uuid, partition: i32) -> Option<i32> {
        let of = |owned: &Owned| owned.get(&topic).and_then(|it| it.get(&partition)).copied();
        of(&self.assigned).or_else(|| of(&self.revoking))
    }
}

/// Partitions without the epochs.
pub(super) fn partitions_of(owned: &Owned) -> Partitions {
    owned.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect()
}

impl MemberState {
    /// The record's number.
    pub(super) const fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
        }
    }

    /// By the record's number. A state that is not known here is taken for one from which the member goes on to the
    /// target by itself.
    pub(super) const fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            _ => Self::Stable,
        }
    }
}

fn put<V: Clone>(map: &mut BTreeMap<Arc<str>, V>, key: &Arc<str>, value: Option<&V>) {
    match value {
        Some(value) => {
            map.insert(key.clone(), value.clone());
        }
        None => {
            map.remove(key);
        }
    }
}
