//! What others ask: votes, and who leads.

use ottla_wire::ErrorCode;

use super::messages::{
    BeginRequest, EndRequest, Known, Reply, ReplyBody, Request, Response, ResponseBody, VoteRequest,
};
use super::quorum_state::QuorumState;
use super::voter_set::VoterKey;
use super::{Asked, CallId, Epochs, Outcome, Raft};
use crate::clock::Now;
use crate::machine::Ticket;
use crate::planted::Plant;
use crate::types::LeaderEpoch;

impl Raft {
    /// Another node asks. `epochs` are those of this node's log. The answer comes in this outcome or a later one.
    pub fn on_request(&mut self, now: Now, ticket: Ticket, request: Request, epochs: &Epochs) -> Outcome {
        let mut out = Outcome::default();
        match request {
            Request::Vote(vote) => {
                let (error, granted) = self.on_vote_request(now, &vote, &mut out);
                self.reply(ticket, error, ReplyBody::Vote { granted }, &mut out);
            }
            Request::Begin(begin) => {
                let error = self.on_begin(now, &begin, &mut out);
                self.reply(ticket, error, ReplyBody::Begin, &mut out);
            }
            Request::End(end) => {
                let error = self.on_end(now, &end, &mut out);
                self.reply(ticket, error, ReplyBody::End, &mut out);
            }
            Request::Fetch(fetch) => self.on_fetch(now, ticket, &fetch, epochs, &mut out),
            Request::FetchSnapshot(fetch) => self.on_fetch_snapshot(now, ticket, &fetch, &mut out),
            Request::AddVoter(add) => {
                let voters = self.check_new_voter(&add);
                self.change_voters(now, ticket, voters, add.when_committed, &mut out);
            }
            Request::UpdateVoter(update) => {
                let voters = self.check_updated_voter(&update);
                self.change_voters(now, ticket, voters, true, &mut out);
            }
            Request::RemoveVoter(key) => {
                let voters = self.check_leaving_voter(key);
                self.change_voters(now, ticket, voters, true, &mut out);
            }
        }
        self.settle(now, out)
    }

    /// A request of this node's was answered; `None` if it failed, or its answer makes no sense.
    pub fn on_response(&mut self, now: Now, call: CallId, response: Option<Response>, epochs: &Epochs) -> Outcome {
        let mut out = Outcome::default();
        let Some(asked) = self.calls.take(call) else { return out };
        let speaker = match asked {
            Asked::Vote { voter, .. } | Asked::Begin(voter) => Some(voter.id),
            Asked::Fetch { leader, .. } => leader,
            Asked::Nothing => None,
        };
        if let Some(response) = &response {
            self.observe(now.monotonic, speaker, response.known, &mut out);
        }
        match asked {
            Asked::Vote { voter, poll } => {
                let granted = response.as_ref().and_then(|response| match response.body {
                    ResponseBody::Vote { granted } => Some(granted && !response.error.is_error()),
                    ResponseBody::Fetch { .. } | ResponseBody::Snapshot { .. } | ResponseBody::Heard => None,
                });
                self.on_vote(now, (voter, poll), granted, &mut out);
            }
            Asked::Begin(voter) => {
                if let QuorumState::Leader(leader) = &mut self.role {
                    leader.on_told(voter, response.is_some(), now.monotonic, &self.config);
                }
            }
            Asked::Fetch { epoch, .. } => self.on_fetched(now, (call, epoch), response, epochs, &mut out),
            Asked::Nothing => {}
        }
        self.settle(now, out)
    }

    pub(super) fn reply(&self, ticket: Ticket, error: ErrorCode, body: ReplyBody, out: &mut Outcome) {
        out.replies.push((ticket, Reply { error, known: self.known(), body }));
    }

    fn on_vote_request(&mut self, now: Now, vote: &VoteRequest, out: &mut Outcome) -> (ErrorCode, bool) {
        if vote.epoch < self.ballot.epoch {
            return (ErrorCode::FENCED_LEADER_EPOCH, false);
        }
        if !self.is_meant(vote.voter) {
            return (ErrorCode::INVALID_VOTER_KEY, false);
        }
        self.observe(now.monotonic, None, Known { epoch: vote.epoch, leader: None }, out);
        let granted = self.would_vote(vote);
        if granted && !vote.pre_vote {
            self.become_unattached(now.monotonic, vote.epoch, out);
            self.ballot.voted = Some(vote.candidate);
        }
        (ErrorCode::NONE, granted)
    }

    /// Only for whose log goes at least as far (Raft, 5.4.1); once an epoch; and not while there is a leader: whoever
    /// is cut off must not unseat it (KIP-996, invariant M14).
    fn would_vote(&self, vote: &VoteRequest) -> bool {
        let own = (self.log.last_epoch, self.log.end);
        let behind = (vote.last_epoch, vote.end) < own && !self.planted.has(Plant::Raft15);
        if behind || vote.epoch != self.ballot.epoch {
            return false;
        }
        match &self.role {
            QuorumState::Unattached(_) | QuorumState::Prospective(_) => {
                vote.pre_vote || self.ballot.voted.is_none_or(|voted| voted == vote.candidate)
            }
            QuorumState::Follower(it) => vote.pre_vote && !it.heard,
            QuorumState::Candidate(_) => vote.pre_vote,
            QuorumState::Resigned(it) => vote.pre_vote && it.until.is_some(),
            QuorumState::Leader(_) => false,
        }
    }

    fn on_begin(&mut self, now: Now, begin: &BeginRequest, out: &mut Outcome) -> ErrorCode {
        if begin.epoch < self.ballot.epoch {
            return ErrorCode::FENCED_LEADER_EPOCH;
        }
        if !self.is_meant(begin.voter) {
            return ErrorCode::INVALID_VOTER_KEY;
        }
        let leader = Some(begin.leader);
        self.observe(now.monotonic, leader, Known { epoch: begin.epoch, leader }, out);
        ErrorCode::NONE
    }

    /// The leader resigned. The voter whose log goes furthest stands at once, the others a little later each.
    fn on_end(&mut self, now: Now, end: &EndRequest, out: &mut Outcome) -> ErrorCode {
        if end.epoch < self.ballot.epoch {
            return ErrorCode::FENCED_LEADER_EPOCH;
        }
        self.observe(now.monotonic, None, Known { epoch: end.epoch, leader: None }, out);
        let follows = matches!(&self.role, QuorumState::Follower(it) if it.leader == end.leader);
        if !follows && !matches!(self.role, QuorumState::Unattached(_)) {
            return ErrorCode::NONE;
        }
        let epoch: LeaderEpoch = self.ballot.epoch;
        self.doubted = Some(end.leader).filter(|_| self.is_voter());
        match end.successors.iter().position(|successor| *successor == self.node.id) {
            Some(place) => {
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                let wait = (self.config.election_timeout / 2).saturating_mul(place);
                self.become_unattached_until(now.monotonic + wait, epoch, out);
                if place == 0 && self.is_voter() {
                    self.become_prospective(now, out);
                }
            }
            None => self.become_unattached(now.monotonic, epoch, out),
        }
        ErrorCode::NONE
    }

    /// Whether a request is for this node with this directory: a voter whose disk was replaced has forgotten its
    /// votes, and must not give them again (RAFT-39).
    fn is_meant(&self, voter: Option<VoterKey>) -> bool {
        voter.is_none_or(|voter| voter == self.node || (self.planted.has(Plant::Raft39) && voter.id == self.node.id))
    }
}
