//! How a node comes to lead, and ceases to.

use super::leader::Leader;
use super::persisted::SavedElection;
use super::quorum_state::{Candidate, Prospective, QuorumState, Resigned, Tally};
use super::voter_set::VoterKey;
use super::{Lead, Outcome, Raft, Save, SaveId, records};
use crate::clock::WallTime;
use crate::planted::Plant;
use crate::types::{LeaderEpoch, Offset};

impl Raft {
    /// The node may take part from now on. A voter stands at once; with others it would first wait for a leader.
    pub fn on_start(&mut self, now: WallTime) -> Outcome {
        let QuorumState::Unattached(it) = &self.role else { return Outcome::default() };
        let (epoch, voted) = (it.epoch, it.voted);
        if !self.is_voter() {
            return Outcome::default();
        }
        let mut tally = Tally::default();
        tally.note(self.node, true);
        self.role = QuorumState::Prospective(Prospective { epoch, voted, tally });
        self.on_tally(now)
    }

    /// A voter answered whether it votes, or would vote, for this node in `epoch`.
    pub fn on_vote(&mut self, voter: VoterKey, epoch: LeaderEpoch, granted: bool, now: WallTime) -> Outcome {
        if epoch != self.epoch() {
            return Outcome::default();
        }
        match &mut self.role {
            QuorumState::Prospective(it) => it.tally.note(voter, granted),
            QuorumState::Candidate(it) => it.tally.note(voter, granted),
            QuorumState::Unattached(_)
            | QuorumState::Leader(_)
            | QuorumState::Follower(_)
            | QuorumState::Resigned(_) => return Outcome::default(),
        }
        self.on_tally(now)
    }

    /// A save that an [`Outcome`] asked for is durable.
    pub fn on_saved(&mut self, id: SaveId, now: WallTime) -> Outcome {
        let node = self.node;
        match &mut self.role {
            // Its own vote counts from now on (invariant M2).
            QuorumState::Candidate(it) if it.saving == id => it.tally.note(node, true),
            QuorumState::Candidate(_)
            | QuorumState::Unattached(_)
            | QuorumState::Prospective(_)
            | QuorumState::Leader(_)
            | QuorumState::Follower(_)
            | QuorumState::Resigned(_) => return Outcome::default(),
        }
        self.on_tally(now)
    }

    /// The metadata log goes up to `end` on this node, and is durable up to `durable`.
    pub fn on_log(&mut self, end: Offset, durable: Offset) -> Outcome {
        self.end_offset = end;
        self.durable_end = durable;
        let (Some(voters), QuorumState::Leader(leader)) = (&self.voters, &mut self.role) else {
            return Outcome::default();
        };
        leader.note_end(self.node, self.durable_end);
        let committed = leader.committed(voters).max(self.high_watermark);
        let risen = committed > self.high_watermark;
        self.high_watermark = committed;
        Outcome { high_watermark: committed.filter(|_| risen), ..Outcome::default() }
    }

    /// The node shuts down, or its metadata log fails: it leads no more, and is not elected again by this process.
    pub fn become_resigned(&mut self) {
        self.role = QuorumState::Resigned(Resigned { epoch: self.epoch() });
    }

    fn on_tally(&mut self, now: WallTime) -> Outcome {
        let Some(voters) = &self.voters else { return Outcome::default() };
        match &self.role {
            QuorumState::Prospective(it) if it.tally.is_won(voters) => self.become_candidate(now),
            QuorumState::Candidate(it) if it.tally.is_won(voters) => self.become_leader(now),
            QuorumState::Prospective(_)
            | QuorumState::Candidate(_)
            | QuorumState::Unattached(_)
            | QuorumState::Leader(_)
            | QuorumState::Follower(_)
            | QuorumState::Resigned(_) => Outcome::default(),
        }
    }

    /// Stands in the next epoch. The vote for itself counts when it is durable.
    fn become_candidate(&mut self, now: WallTime) -> Outcome {
        let epoch = LeaderEpoch(self.epoch().0 + 1);
        self.saves += 1;
        let saving = SaveId(self.saves);
        self.role = QuorumState::Candidate(Candidate { epoch, tally: Tally::default(), saving });
        let election = SavedElection { epoch, leader: None, voted: Some(self.node) };
        let save = Some(Save { id: saving, bytes: election.encode() });
        let early = self.planted.has(Plant::Raft01);
        Outcome { save, ..if early { self.on_saved(saving, now) } else { Outcome::default() } }
    }

    /// Leads: the first batch of the epoch says so, and commits what earlier leaders left.
    fn become_leader(&mut self, now: WallTime) -> Outcome {
        let (Some(voters), QuorumState::Candidate(it)) = (&self.voters, &self.role) else { return Outcome::default() };
        let granting = it.tally.granting(voters);
        let births = !self.voters_in_log;
        let epoch = it.epoch;
        let batch = records::epoch_start(self.node.id, epoch, voters, granting, births, now);
        self.role = QuorumState::Leader(Leader::new(epoch, self.end_offset));
        self.voters_in_log = true;
        Outcome { lead: Some(Lead { epoch, batch }), ..Outcome::default() }
    }

    fn is_voter(&self) -> bool {
        self.voters.as_ref().is_some_and(|voters| voters.contains(self.node))
    }
}
