//! Changes of the voters, one at a time (KIP-853; Raft, section 6; invariant M10).
//!
//! A change is refused before a record of the leader's own epoch is committed: two leaders could each have begun one
//! that the other does not know (RAFT-09). And while another is not committed (RAFT-10). A new voter has the log up to
//! what was committed when it asked, so that it does not stand in the way of the next commit. A leader that is to go
//! leads until that is committed, and is not counted for it.

use std::{iter, mem};

use ottla_wire::ErrorCode;

use super::leader::{Leader, Waiting};
use super::messages::{AddVoterRequest, ReplyBody, UpdateVoterRequest};
use super::quorum_state::QuorumState;
use super::voter_set::{Voter, VoterKey, VoterSet};
use super::{Outcome, Raft, records};
use crate::clock::Now;
use crate::machine::Ticket;
use crate::planted::Plant;
use crate::types::Offset;

/// Why the voters are not changed: Kafka's code, and for people.
pub(super) type Refused = (ErrorCode, &'static str);

impl Raft {
    /// A batch at `offset` of the log, whose end was told by [`Raft::on_log`], names the voters.
    pub fn on_voters(&mut self, now: Now, offset: Offset, voters: VoterSet) -> Outcome {
        let mut out = Outcome::default();
        self.voters.add(offset, voters);
        self.on_voters_changed(now, &mut out);
        self.recount(now, &mut out);
        self.settle(now, out)
    }

    /// Other voters count than before.
    pub(super) fn on_voters_changed(&mut self, now: Now, out: &mut Outcome) {
        if let (Some(voters), QuorumState::Leader(leader)) = (self.voters.current(), &mut self.role) {
            leader.on_voters(voters, now.monotonic);
        }
        let stands = matches!(self.role, QuorumState::Prospective(_) | QuorumState::Candidate(_));
        if stands && !self.is_voter() {
            self.become_unattached(now.monotonic, self.ballot.epoch, out);
        }
    }

    /// Writes other voters, unless they may not be changed.
    pub(super) fn change_voters(
        &mut self,
        now: Now,
        ticket: Ticket,
        voters: Result<VoterSet, Refused>,
        when_committed: bool,
        out: &mut Outcome,
    ) {
        let (error, why) = match voters {
            Ok(voters) => {
                let epoch = self.ballot.epoch;
                out.change = Some(records::voters(epoch, &voters, now.wall));
                let place = self.log.end;
                if let QuorumState::Leader(leader) = &mut self.role {
                    leader.changed_at = Some(place);
                    if when_committed {
                        return leader.wait_for(Waiting::Voters { ticket, offset: place });
                    }
                }
                (ErrorCode::NONE, None)
            }
            Err((error, why)) => (error, Some(why)),
        };
        self.reply(ticket, error, ReplyBody::Voters { why }, out);
    }

    /// The leader, the voters that it may change now, and what is committed.
    fn changeable(&self) -> Result<(&Leader, &VoterSet, Offset), Refused> {
        let QuorumState::Leader(leader) = &self.role else {
            return Err((ErrorCode::NOT_LEADER_OR_FOLLOWER, "this node does not lead the quorum"));
        };
        let committed = self.high_watermark.unwrap_or(Offset::ZERO);
        let own_epoch_committed = committed > leader.epoch_start() || self.planted.has(Plant::Raft09);
        let settled = self.voters.last_offset().is_some_and(|offset| offset < committed);
        if !own_epoch_committed {
            return Err((ErrorCode::REQUEST_TIMED_OUT, "the leader is new and has committed nothing yet"));
        }
        if !(settled || self.planted.has(Plant::Raft10)) {
            return Err((ErrorCode::REQUEST_TIMED_OUT, "another change of the voters is not committed yet"));
        }
        let fixed = (ErrorCode::UNSUPPORTED_VERSION, "the metadata does not say who votes");
        let voters = self.voters().ok_or(fixed)?;
        Ok((leader, voters, committed))
    }

    /// The voters with one more.
    pub(super) fn check_new_voter(&self, add: &AddVoterRequest) -> Result<VoterSet, Refused> {
        let (leader, voters, committed) = self.changeable()?;
        let duplicate = (ErrorCode::DUPLICATE_VOTER, "there is a voter with that node id: remove it first");
        if voters.iter().any(|(voter, _)| voter.id == add.key.id) {
            return Err(duplicate);
        }
        if leader.progress(add.key).is_none_or(|progress| progress.end < committed) {
            return Err((ErrorCode::REQUEST_TIMED_OUT, "the node has not read yet all that is committed"));
        }
        let added = iter::once((add.key, add.voter.clone()));
        let all = voters.iter().map(|(key, voter)| (key, voter.clone())).chain(added);
        VoterSet::new(all.collect()).ok_or(duplicate)
    }

    /// The voters, one of them as it is now.
    pub(super) fn check_updated_voter(&self, update: &UpdateVoterRequest) -> Result<VoterSet, Refused> {
        let (.., voters, _) = self.changeable()?;
        if update.epoch != self.ballot.epoch {
            return Err((ErrorCode::FENCED_LEADER_EPOCH, "it follows in another epoch"));
        }
        if !voters.contains(update.key) {
            return Err((ErrorCode::VOTER_NOT_FOUND, "no voter has that node id and directory id"));
        }
        if update.voter.endpoints.is_empty() {
            return Err((ErrorCode::INVALID_REQUEST, "a voter is reached somewhere"));
        }
        let now = |key: VoterKey, known: &Voter| if key == update.key { &update.voter } else { known }.clone();
        let all = voters.iter().map(|(key, known)| (key, now(key, known))).collect();
        VoterSet::new(all).ok_or((ErrorCode::INVALID_REQUEST, "there are no voters"))
    }

    /// A leader that is otherwise than the log has it says so there, as soon as it may.
    pub(super) fn update_own(&mut self, now: Now, out: &mut Outcome) {
        let (place, committed) = (self.log.end, self.high_watermark);
        let QuorumState::Leader(leader) = &mut self.role else { return };
        let is_open = leader.changed_at.is_some_and(|at| Some(at) >= committed);
        if is_open || !mem::take(&mut leader.looks_at_itself) || !self.is_outdated() {
            return;
        }
        let own = UpdateVoterRequest { epoch: self.ballot.epoch, key: self.node, voter: self.config.voter.clone() };
        if let Ok(voters) = self.check_updated_voter(&own) {
            out.change = Some(records::voters(self.ballot.epoch, &voters, now.wall));
            if let QuorumState::Leader(leader) = &mut self.role {
                leader.changed_at = Some(place);
            }
        }
    }

    /// The voters without one of them. The last one stays: nobody would be left to elect a leader.
    pub(super) fn check_leaving_voter(&self, leaves: VoterKey) -> Result<VoterSet, Refused> {
        let (_, voters, _) = self.changeable()?;
        if !voters.contains(leaves) {
            return Err((ErrorCode::VOTER_NOT_FOUND, "no voter has that node id and directory id"));
        }
        let left = voters.iter().filter(|(key, _)| *key != leaves).map(|(key, voter)| (key, voter.clone()));
        let last = (ErrorCode::INVALID_REQUEST, "it is the last voter: nobody would be left to elect a leader");
        VoterSet::new(left.collect()).ok_or(last)
    }
}
