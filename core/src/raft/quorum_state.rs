//! The roles of a node in the quorum, each with what belongs to it and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use super::leader::Leader;
use super::messages::CallId;
use super::snapshot_id::SnapshotId;
use super::voter_set::{VoterKey, VoterSet};
use crate::clock::Instant;
use crate::types::{BrokerId, Offset};

/// What a node is in the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuorumState {
    /// It knows an epoch and no leader of it.
    Unattached(Unattached),
    /// It asks whether it would be elected, in its present epoch: a node that is cut off raises none (KIP-996).
    Prospective(Poll),
    /// It voted for itself in a new epoch, and asks the others to.
    Candidate(Poll),
    /// It was elected.
    Leader(Box<Leader>),
    /// It follows the leader of its epoch.
    Follower(Follower),
    /// It led, or was about to, and will do no more in this epoch.
    Resigned(Resigned),
}

/// It knows no leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unattached {
    /// When a voter asks whether it would be elected.
    pub until: Instant,
    /// An observer's search for a leader.
    pub search: Fetching,
}

/// It follows a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The leader.
    pub leader: BrokerId,
    /// Whether the leader has answered a fetch: then it is there, and nobody else is voted for (KIP-996).
    pub heard: bool,
    /// When the leader is given up, unless it answers before.
    pub until: Instant,
    /// Its reading of the leader's log.
    pub fetching: Fetching,
    /// The snapshot that it reads first.
    pub download: Option<Download>,
    /// What the leader says is committed.
    pub committed: Option<Offset>,
    /// When it asks to become a voter, if it is to.
    pub join_at: Instant,
}

/// A snapshot of the leader's that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Download {
    /// Which one.
    pub id: SnapshotId,
    /// Its size in bytes; `None` before the first piece is here.
    pub size: Option<u64>,
    /// How many bytes of it are here.
    pub position: u64,
}

/// The one fetch of a node: where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fetching {
    /// The next is sent once the whole log is durable.
    #[default]
    Idle,
    /// Not before then: the last one failed.
    Later(Instant),
    /// It was sent.
    Asked(CallId),
    /// Its records are being appended.
    Appending,
    /// The log is being cut to this.
    Cutting(Offset),
    /// The snapshot is whole, and takes the place of the log.
    Installing,
}

/// It does no more in its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resigned {
    /// When it takes part again; `None`: not in this process.
    pub until: Option<Instant>,
}

/// The voters are asked for their votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Which poll of this process: an answer to an earlier one says nothing (RAFT-13).
    pub number: u64,
    /// What the voters said.
    pub tally: Tally,
    /// Who was asked and has not answered: `None` while the request is under way, else when it is sent again.
    pub asked: BTreeMap<VoterKey, Option<Instant>>,
    /// When it has failed.
    pub until: Instant,
}

/// The votes of a poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    granted: BTreeMap<VoterKey, bool>,
}

impl Poll {
    /// Nobody was asked yet.
    pub(super) fn new(number: u64, until: Instant) -> Self {
        Self { number, tally: Tally::default(), asked: BTreeMap::new(), until }
    }

    /// When it has something to do.
    pub(super) fn next_deadline(&self) -> Instant {
        self.asked.values().flatten().copied().fold(self.until, Instant::min)
    }
}

impl Fetching {
    /// Whether the next fetch may go out.
    pub(super) fn is_due(self, now: Instant) -> bool {
        match self {
            Self::Idle => true,
            Self::Later(at) => at <= now,
            Self::Asked(_) | Self::Appending | Self::Cutting(_) | Self::Installing => false,
        }
    }

    pub(super) const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Later(at) => Some(at),
            Self::Idle | Self::Asked(_) | Self::Appending | Self::Cutting(_) | Self::Installing => None,
        }
    }
}

impl Tally {
    /// Notes a vote. The first of a voter counts: an answer that comes twice says nothing new.
    pub fn note(&mut self, voter: VoterKey, granted: bool) {
        self.granted.entry(voter).or_insert(granted);
    }

    /// Whether this voter has answered.
    #[must_use]
    pub fn has(&self, voter: VoterKey) -> bool {
        self.granted.contains_key(&voter)
    }

    /// Whether a majority of `voters` voted for it. Others' votes do not count.
    #[must_use]
    pub fn is_won(&self, voters: &VoterSet) -> bool {
        voters.is_majority(self.granted.iter().filter(|(_, granted)| **granted).map(|(voter, _)| *voter))
    }

    /// The voters of `voters` that voted for it, in order.
    pub fn granting<'a>(&'a self, voters: &'a VoterSet) -> impl Iterator<Item = VoterKey> + 'a {
        self.granted.iter().filter(|(voter, granted)| **granted && voters.contains(**voter)).map(|(voter, _)| *voter)
    }
}

/// As in `Leader`.
impl fmt::Display for QuorumState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unattached(_) => "Unattached",
            Self::Prospective(_) => "Prospective",
            Self::Candidate(_) => "Candidate",
            Self::Leader(_) => "Leader",
            Self::Follower(_) => "Follower",
            Self::Resigned(_) => "Resigned",
        })
    }
}
