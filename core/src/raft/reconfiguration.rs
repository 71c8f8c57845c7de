//! Changes of the voters, one at a time (KIP-853; Raft, section 6; invariant M10).
//!
//! A change is refused before a record of the leader's own epoch is committed: two leaders could each have begun one
//! that the other does not know (RAFT-09). And while another is not committed (RAFT-10). A new voter has the log up to
//! what was committed when it asked, so that it does not stand in the way of the next commit.

use ottla_wire::ErrorCode;

use super::leader::Waiting;
use super::messages::{AddVoterRequest, ReplyBody};
use super::quorum_state::QuorumState;
use super::voter_set::VoterSet;
use super::{Outcome, Raft, records};
use crate::clock::Now;
use crate::machine::Ticket;
use crate::planted::Plant;
use crate::types::Offset;

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

    pub(super) fn on_add_voter(&mut self, now: Now, ticket: Ticket, add: &AddVoterRequest, out: &mut Outcome) {
        let error = match self.check_new_voter(add) {
            Ok(voters) => {
                let epoch = self.ballot.epoch;
                out.change = Some(records::voters(epoch, &voters, now.wall));
                let place = self.log.end;
                if let QuorumState::Leader(leader) = &mut self.role
                    && add.when_committed
                {
                    return leader.wait_for(Waiting::Voters { ticket, offset: place });
                }
                ErrorCode::NONE
            }
            Err(error) => error,
        };
        self.reply(ticket, error, ReplyBody::Voters, out);
    }

    fn check_new_voter(&self, add: &AddVoterRequest) -> Result<VoterSet, ErrorCode> {
        let QuorumState::Leader(leader) = &self.role else { return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) };
        let committed = self.high_watermark.unwrap_or(Offset::ZERO);
        let own_epoch_committed = committed > leader.epoch_start() || self.planted.has(Plant::Raft09);
        let settled = self.voters.last_offset().is_some_and(|offset| offset < committed);
        if !own_epoch_committed || !(settled || self.planted.has(Plant::Raft10)) {
            return Err(ErrorCode::REQUEST_TIMED_OUT);
        }
        let voters = self.voters().ok_or(ErrorCode::UNSUPPORTED_VERSION)?;
        if voters.iter().any(|(voter, _)| voter.id == add.key.id) {
            return Err(ErrorCode::DUPLICATE_VOTER);
        }
        if leader.progress(add.key).is_none_or(|progress| progress.end < committed) {
            return Err(ErrorCode::REQUEST_TIMED_OUT);
        }
        let mut all: std::collections::BTreeMap<_, _> =
            voters.iter().map(|(key, voter)| (key, voter.clone())).collect();
        all.insert(add.key, add.voter.clone());
        VoterSet::new(all).ok_or(ErrorCode::DUPLICATE_VOTER)
    }
}
