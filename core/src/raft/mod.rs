//! The metadata quorum (KIP-595, KIP-853): who leads `__cluster_metadata`, in which epoch, and what is committed.
//!
//! [`Raft`] decides and never acts. Its parent passes events in and carries out each [`Outcome`]: save the vote,
//! append the batch, raise the high watermark. It owns neither the log nor the file.
//!
//! | role | until | then |
//! |---|---|---|
//! | Unattached | it is a voter and may stand | Prospective |
//! | Prospective | a majority would vote for it (KIP-996) | Candidate, in the next epoch |
//! | Candidate | its own vote is durable, and a majority voted | Leader |
//! | Leader | shutdown, or the log fails | Resigned |
//! | Follower | its leader is silent | Prospective |
//!
//! Invariants: M1 and M2, because a vote is durable before it counts; M3; M6 and M7, because the high watermark is
//! taken over *durable* ends and only of records of the leader's own epoch on. A restart always takes a new epoch:
//! a leader that came back with a shorter log must not write again in its old one (KAFKA-10527).
//!
//! Absent so far: what voters say to each other. A quorum of more than one voter is refused at the start; the roles,
//! the tally and the high watermark are written for any number.

mod election;
mod leader;
mod persisted;
mod quorum_state;
mod records;
mod voter_set;

#[cfg(test)]
mod tests;

pub use leader::Leader;
pub use persisted::SavedElection;
pub use quorum_state::{Candidate, Follower, Prospective, QuorumState, Resigned, Tally, Unattached};
pub use records::{ControlRecord, control_records};
pub use voter_set::{Voter, VoterEndpoint, VoterKey, VoterSet};

use crate::planted::Planted;
use crate::types::{LeaderEpoch, Offset};

/// The level of `kraft.version` that we write: voters have directory ids and are named in the log.
pub const KRAFT_VERSION: i16 = 1;

/// What a start needs to know.
#[derive(Clone, Debug)]
pub struct Start {
    /// This node, with the id of the directory that its metadata log is in.
    pub node: VoterKey,
    /// What `quorum-state` says; `None` if there is no such file.
    pub saved: Option<SavedElection>,
    /// The voters that the log names last, or, at the birth of a cluster by an operator's word, this node. `None`: the
    /// node knows of no quorum and stands for nothing.
    pub voters: Option<VoterSet>,
    /// Where the log ends.
    pub end_offset: Offset,
    /// The epoch of its last batch; `None` if it is empty.
    pub last_epoch: Option<LeaderEpoch>,
}

/// What a parent is to do, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// Save `quorum-state` durably, then call [`Raft::on_saved`].
    pub save: Option<Save>,
    /// This node leads from now on: append this batch to the metadata log, first of its epoch, then call
    /// [`Raft::on_log`].
    pub lead: Option<Lead>,
    /// Records below it are committed. It only rises.
    pub high_watermark: Option<Offset>,
}

/// A file to be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    /// Names this content of the file: only its own completion counts.
    pub id: SaveId,
    /// The whole file.
    pub bytes: Vec<u8>,
}

/// One saving of `quorum-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SaveId(pub u64);

/// The start of a leader's epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// A control batch: that this node leads, and at the birth of a cluster who its voters are.
    pub batch: Vec<u8>,
}

/// Why a node cannot take part in a quorum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// More than one voter.
    #[error("the quorum has {0} voters; this version can only be the single voter of its cluster")]
    SeveralVoters(usize),
    /// There is no next epoch. Only a damaged or forged file says so.
    #[error("the quorum is in its last possible epoch")]
    EpochsExhausted,
}

/// This node's part in the metadata quorum.
#[derive(Clone, Debug)]
pub struct Raft {
    node: VoterKey,
    voters: Option<VoterSet>,
    /// Whether the log names the voters, so that the first leader need not.
    voters_in_log: bool,
    role: QuorumState,
    high_watermark: Option<Offset>,
    end_offset: Offset,
    durable_end: Offset,
    saves: u64,
    planted: Planted,
}

impl Raft {
    /// A node that has read its file and its log, and does nothing yet.
    ///
    /// # Errors
    /// It cannot take part in such a quorum.
    pub fn new(start: Start, planted: Planted) -> Result<Self, StartError> {
        let count = start.voters.as_ref().map_or(0, VoterSet::len);
        if count > 1 {
            return Err(StartError::SeveralVoters(count));
        }
        let saved_epoch = start.saved.map_or(LeaderEpoch(0), |saved| saved.epoch);
        let epoch = saved_epoch.max(start.last_epoch.unwrap_or_default());
        if epoch.0 == i32::MAX {
            return Err(StartError::EpochsExhausted);
        }
        let voted = start.saved.filter(|saved| saved.epoch == epoch).and_then(|saved| saved.voted);
        Ok(Self {
            node: start.node,
            voters: start.voters,
            voters_in_log: start.end_offset > Offset::ZERO,
            role: QuorumState::Unattached(Unattached { epoch, voted }),
            high_watermark: None,
            end_offset: start.end_offset,
            durable_end: Offset::ZERO,
            saves: 0,
            planted,
        })
    }

    /// The role, with what belongs to it.
    #[must_use]
    pub const fn role(&self) -> &QuorumState {
        &self.role
    }

    /// The epoch that this node is in.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.role.epoch()
    }

    /// The voters, if any are known.
    #[must_use]
    pub const fn voters(&self) -> Option<&VoterSet> {
        self.voters.as_ref()
    }

    /// The node itself.
    #[must_use]
    pub const fn node(&self) -> VoterKey {
        self.node
    }

    /// Records below it are committed; `None` until a leader has committed one of its own epoch.
    #[must_use]
    pub const fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// Whether this node leads.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        matches!(self.role, QuorumState::Leader(_))
    }
}
