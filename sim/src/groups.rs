//! What clients of the group coordinator did and saw: the part of the history that is about groups.
//!
//! A request has a number, and the times at which it was sent and answered; one that is never answered may take effect
//! at any time. What a commit writes is known by its number, which is the metadata beside the offset; what a leader
//! hands in is known by a number among its user data. So whoever is told an offset or an assignment knows whose it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::history::PartitionIndex;
use crate::time::Nanos;

/// A request's number.
pub type OpId = u64;

/// An assignment's number; 0 is none.
pub type AssignmentId = u64;

/// A request about a group.
#[derive(Clone, Copy, Debug)]
pub struct Op<'a> {
    /// Its number.
    pub id: OpId,
    /// Which group.
    pub group: &'a str,
    /// When it was sent.
    pub asked: Nanos,
    /// When its answer came; [`PENDING`] before.
    pub told: Nanos,
}

/// "No answer has come."
pub const PENDING: Nanos = u64::MAX;

/// A member, as it takes itself to be.
#[derive(Clone, Copy, Debug)]
pub struct Me<'a> {
    /// Its id.
    pub id: &'a str,
    /// Of a static member.
    pub instance: Option<&'a str>,
    /// The assignment that it has.
    pub assignment: AssignmentId,
}

/// A member as the leader of its generation sees it, and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: Arc<str>,
    /// Of a static member.
    pub instance: Option<Arc<str>>,
    /// What it is to read.
    pub partitions: Vec<PartitionIndex>,
}

/// How a change ended, as far as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Done,
    /// It is not, and never will be.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What a client asks a coordinator, and what it is told.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It is about to join; without an id at first.
    Joining { id: &'a str, instance: Option<&'a str> },
    /// Its JoinGroup has an answer, whatever it is.
    JoinOver { instance: Option<&'a str> },
    /// It is in a generation; the leader is told who else is.
    Joined { id: &'a str, instance: Option<&'a str>, peers: &'a [Peer] },
    /// A leader is about to hand in an assignment.
    Assigning { assignment: AssignmentId, peers: &'a [Peer] },
    /// It has its part of an assignment.
    Synced { me: Me<'a>, partitions: &'a [PartitionIndex] },
    /// The coordinator takes it for a member with this assignment; `calm`: and nobody is to join again.
    Alive { me: Me<'a>, calm: bool },
    /// The coordinator does not know it, whom silence of `patience` may have cost its place (0: or anything else).
    Unknown { id: &'a str, instance: Option<&'a str>, patience: Nanos },
    /// The coordinator knows another as this instance.
    Fenced { id: &'a str, instance: &'a str },
    /// It is about to commit an offset, to be kept for `retention` if it says so itself.
    Committing { partition: PartitionIndex, offset: i64, retention: Option<Nanos> },
    /// What came of that.
    Committed { partition: PartitionIndex, fate: Fate },
    /// What is committed: the number of the commit and the offset.
    Fetched { partition: PartitionIndex, found: Option<(OpId, i64)>, clocks: Clocks },
    /// Somebody is about to delete an offset, or a group with all of its offsets.
    Deleting { partition: Option<PartitionIndex> },
    /// What came of that.
    Deleted { partition: Option<PartitionIndex>, fate: Fate },
    /// A list or a description says whether there is such a group.
    Listed { there: bool },
    /// A member begins to read here; `committed`: because somebody has committed that.
    Began { partition: PartitionIndex, at: i64, committed: bool },
    /// A member has read up to here.
    Passed { partition: PartitionIndex, next: i64 },
}

/// What expiry may make of a run's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// When the process that runs was started.
    pub booted: Nanos,
    /// How far the node's wall clock has stepped, there and back.
    pub stepped: Nanos,
    /// `offsets.retention.minutes`
    pub retention: Nanos,
}

/// Numbers, clocks, and which groups there were.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    ops: OpId,
    /// What expiry depends on.
    pub clocks: Clocks,
    /// How many assignments leaders have made while the load went on.
    pub assignments: u64,
    /// How many members have died, and come back.
    pub deaths: u64,
    names: BTreeSet<(Arc<str>, Arc<str>)>,
}

impl Groups {
    /// The number of another request, or of another assignment.
    pub const fn number(&mut self) -> OpId {
        self.ops += 1;
        self.ops
    }

    /// There is a group that reads a topic.
    pub fn note(&mut self, group: &str, topic: &str) {
        if !self.names.iter().any(|(known, of)| **known == *group && **of == *topic) {
            self.names.insert((group.into(), topic.into()));
        }
    }

    /// Every group that somebody has committed to, with its topic.
    pub fn names(&self) -> impl Iterator<Item = &(Arc<str>, Arc<str>)> {
        self.names.iter()
    }
}
