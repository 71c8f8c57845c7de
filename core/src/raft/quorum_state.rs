//! The roles of a node in the quorum, each with what belongs to it and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use super::SaveId;
use super::leader::Leader;
use super::voter_set::{VoterKey, VoterSet};
use crate::types::{BrokerId, LeaderEpoch};

/// What a node is in the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuorumState {
    /// It knows an epoch and no leader of it.
    Unattached(Unattached),
    /// It asks whether it would be elected, in its present epoch: a node that is cut off raises none (KIP-996).
    Prospective(Prospective),
    /// It voted for itself in a new epoch.
    Candidate(Candidate),
    /// It was elected.
    Leader(Leader),
    /// It follows the leader of its epoch.
    Follower(Follower),
    /// It led or was about to, and will do no more in this epoch.
    Resigned(Resigned),
}

/// It knows an epoch and no leader of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unattached {
    /// The greatest epoch that is known.
    pub epoch: LeaderEpoch,
    /// For whom it voted in it.
    pub voted: Option<VoterKey>,
}

/// It asks whether it would be elected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prospective {
    /// The epoch it is in, not the one it would stand in.
    pub epoch: LeaderEpoch,
    /// For whom it voted in it.
    pub voted: Option<VoterKey>,
    /// What the voters said.
    pub tally: Tally,
}

/// It voted for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The epoch it stands in.
    pub epoch: LeaderEpoch,
    /// What the voters said; its own vote is there once it is durable.
    pub tally: Tally,
    /// The saving of its own vote.
    pub saving: SaveId,
}

/// It follows a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// The leader.
    pub leader: BrokerId,
}

/// It does no more in its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resigned {
    /// The epoch it resigned from.
    pub epoch: LeaderEpoch,
}

/// The votes of an election.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    granted: BTreeMap<VoterKey, bool>,
}

impl QuorumState {
    /// The epoch of the role.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        match self {
            Self::Unattached(it) => it.epoch,
            Self::Prospective(it) => it.epoch,
            Self::Candidate(it) => it.epoch,
            Self::Leader(it) => it.epoch(),
            Self::Follower(it) => it.epoch,
            Self::Resigned(it) => it.epoch,
        }
    }
}

impl Tally {
    /// Notes a vote. The first of a voter counts: an answer that comes twice says nothing new.
    pub fn note(&mut self, voter: VoterKey, granted: bool) {
        self.granted.entry(voter).or_insert(granted);
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

/// As in `Leader epoch=3`.
impl fmt::Display for QuorumState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Unattached(_) => "Unattached",
            Self::Prospective(_) => "Prospective",
            Self::Candidate(_) => "Candidate",
            Self::Leader(_) => "Leader",
            Self::Follower(it) => return write!(f, "Follower epoch={} leader={}", it.epoch, it.leader),
            Self::Resigned(_) => "Resigned",
        };
        write!(f, "{name} epoch={}", self.epoch())
    }
}
