//! Who is to read what, decided by the member that leads a classic group.
//!
//! An assignment is legal if each partition of each subscribed topic has exactly one owner, who is subscribed to its
//! topic; a cooperative one may leave out what its last owner has to give up first.
//!
//! * `range`: of each topic a range of partitions, the same members first in each
//! * `round_robin`: all partitions in turn
//! * `sticky`: as many for one as for another, as far as subscriptions allow, and as few as possible move (KIP-54)
//! * `cooperative`: the same in two steps (KIP-429): a partition that moves is given up in one generation, and has its
//!   new owner in the next
//!
//! All are functions of members and topics only, so that any member may lead; they are those of the Java client in
//! name and on the wire, not partition by partition.
//!
//! Where members and brokers say in which racks they are, `range`, `sticky` and `cooperative` then bring partitions
//! nearer to their readers (KIP-881): they stay as even, and topics of which `range` gives everybody the same
//! partitions do so still; what moves for it, moves once.

mod cooperative;
mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::racks;
use crate::types::TopicPartition;

/// A strategy of `partition.assignment.strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// Ranges of each topic.
    Range,
    /// All partitions in turn.
    RoundRobin,
    /// Even, and as few as possible move; all are given up in between.
    Sticky,
    /// Even, and as few as possible move; only those are given up.
    CooperativeSticky,
}

/// What an assignor is told of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The id that the coordinator gave it.
    pub id: Box<str>,
    /// The order of members is that of their instances, so that it outlives a restart.
    pub instance_id: Option<Box<str>>,
    /// What it wants to read.
    pub topics: BTreeSet<Arc<str>>,
    /// What it says that it owns, or owned last.
    pub owned: BTreeSet<TopicPartition>,
    /// In which generation; -1: not known.
    pub generation: i32,
    /// Where it is, if it says so.
    pub rack: Option<Box<str>>,
}

/// What an assignor is told of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// How many partitions it has; none: it is not there.
    pub partitions: i32,
    /// Where their replicas are, as far as that is known.
    pub racks: BTreeMap<i32, racks::Racks>,
}

/// The topics, by name.
pub type Topics = BTreeMap<Arc<str>, Topic>;

/// Each member's partitions, by its id; every member is in it.
pub type Plan = BTreeMap<Box<str>, BTreeSet<TopicPartition>>;

impl Strategy {
    /// By its name on the wire, which is that of the settings of clients that are not Java's.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin, Self::Sticky, Self::CooperativeSticky].into_iter().find(|it| it.name() == name)
    }

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether members keep their partitions while the group rebalances.
    #[must_use]
    pub const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// Shares the partitions of `topics` out.
    #[must_use]
    pub fn assign(self, members: &[Candidate], topics: &Topics) -> Plan {
        match self {
            Self::Range => range::assign(members, topics),
            Self::RoundRobin => round_robin::assign(members, topics),
            Self::Sticky => sticky::assign(members, topics),
            Self::CooperativeSticky => cooperative::assign(members, topics),
        }
    }
}

/// A plan with every member and no partition.
fn empty(members: &[Candidate]) -> Plan {
    members.iter().map(|member| (member.id.clone(), BTreeSet::new())).collect()
}

/// The members in their order: static ones by their instance, then the others by their id.
fn in_order(members: &[Candidate]) -> Vec<&Candidate> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|member| (member.instance_id.is_none(), member.instance_id.clone(), member.id.clone()));
    members
}

/// All partitions of the topics that somebody is subscribed to, in order.
fn wanted(members: &[Candidate], topics: &Topics) -> Vec<TopicPartition> {
    let subscribed: BTreeSet<_> = members.iter().flat_map(|member| &member.topics).collect();
    let present = topics.iter().filter(|(topic, _)| subscribed.contains(topic));
    let indexes = present.flat_map(|(name, topic)| (0..topic.partitions).map(move |index| (name.clone(), index)));
    indexes.map(|(topic, index)| TopicPartition::new(topic, index)).collect()
}

impl Topic {
    /// Where the replicas of a partition are.
    fn racks_of(&self, partition: i32) -> &racks::Racks {
        static NOWHERE: racks::Racks = racks::Racks::new();
        self.racks.get(&partition).unwrap_or(&NOWHERE)
    }
}
