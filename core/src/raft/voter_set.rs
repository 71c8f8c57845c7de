//! The voters of the metadata quorum, by id and directory (KIP-853).
//!
//! A voter is a node *with the log in a certain directory*: a node whose disk was replaced has forgotten its votes,
//! and is an observer until an operator adds it again. So a vote counts for the pair, never for the id alone.

use std::collections::BTreeMap;

use ottla_wire::Uuid;

use crate::types::BrokerId;

/// A node together with the directory of its metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VoterKey {
    /// `node.id`
    pub id: BrokerId,
    /// The id of the directory.
    pub directory_id: Uuid,
}

/// What the log says of a voter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voter {
    /// Where other nodes reach it.
    pub endpoints: Vec<VoterEndpoint>,
    /// The greatest level of `kraft.version` that it supports.
    pub max_kraft_version: i16,
}

/// An address of a voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// The listener's name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// The voters. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterSet {
    voters: BTreeMap<VoterKey, Voter>,
}

impl VoterSet {
    /// The voters that are given; `None` if there are none, or two with the same id.
    #[must_use]
    pub fn new(voters: BTreeMap<VoterKey, Voter>) -> Option<Self> {
        // Keys are in order of id, so two with one id are neighbours.
        let distinct = voters.keys().zip(voters.keys().skip(1)).all(|(one, next)| one.id != next.id);
        (!voters.is_empty() && distinct).then_some(Self { voters })
    }

    /// A quorum of one.
    #[must_use]
    pub fn single(key: VoterKey, voter: Voter) -> Self {
        Self { voters: BTreeMap::from([(key, voter)]) }
    }

    /// Whether this node, with this directory, is a voter.
    #[must_use]
    pub fn contains(&self, key: VoterKey) -> bool {
        self.voters.contains_key(&key)
    }

    /// Whether these, each counted once and only if it is a voter, are more than half.
    #[must_use]
    pub fn is_majority(&self, keys: impl Iterator<Item = VoterKey>) -> bool {
        let voting = keys.filter(|key| self.contains(*key)).count();
        voting >= self.majority()
    }

    /// How many are more than half.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// How many voters there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.voters.len()
    }

    /// Every voter, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (VoterKey, &Voter)> {
        self.voters.iter().map(|(key, voter)| (*key, voter))
    }
}
