//! How a node comes to lead, and ceases to.

use std::time::Duration;

use super::leader::Leader;
use super::messages::{CallId, Destination, EndRequest, Request, VoteRequest};
use super::quorum_state::{Fetching, Follower, Poll, QuorumState, Resigned, Unattached};
use super::voter_set::VoterKey;
use super::{Asked, Ballot, Lead, Outcome, Raft, records};
use crate::clock::{Instant, Now};
use crate::planted::Plant;
use crate::types::{BrokerId, LeaderEpoch};

impl Raft {
    /// A voter answered whether it votes, or would vote, for this node. `None`: the request failed.
    pub(super) fn on_vote(
        &mut self,
        now: Now,
        (voter, number): (VoterKey, u64),
        granted: Option<bool>,
        out: &mut Outcome,
    ) {
        let retry_at = now.monotonic + self.config.retry_backoff;
        let stale = self.planted.has(Plant::Raft13) && granted == Some(true);
        let (QuorumState::Prospective(poll) | QuorumState::Candidate(poll)) = &mut self.role else { return };
        if poll.number != number && !stale {
            return;
        }
        match granted {
            Some(granted) => {
                poll.asked.remove(&voter);
                poll.tally.note(voter, granted);
                self.on_tally(now, out);
            }
            None => {
                poll.asked.insert(voter, Some(retry_at));
            }
        }
    }

    /// Asks every voter that was not asked, and those again whose request failed.
    pub(super) fn ask_for_votes(&mut self, now: Instant, out: &mut Outcome) {
        let Some(voters) = self.voters() else { return };
        let others: Vec<VoterKey> = voters.iter().map(|(key, _)| key).filter(|key| *key != self.node).collect();
        let (node, log, epoch) = (self.node, self.log, self.ballot.epoch);
        let pre_vote = matches!(self.role, QuorumState::Prospective(_));
        if let QuorumState::Prospective(poll) | QuorumState::Candidate(poll) = &mut self.role {
            poll.asked.retain(|voter, _| others.contains(voter));
        }
        for voter in others {
            let (QuorumState::Prospective(poll) | QuorumState::Candidate(poll)) = &mut self.role else { return };
            let wait = poll.asked.get(&voter);
            if poll.tally.has(voter) || wait.is_some_and(|at| at.is_none_or(|at| at > now)) {
                continue;
            }
            poll.asked.insert(voter, None);
            let asked = Asked::Vote { voter, poll: poll.number };
            let (candidate, last_epoch, end) = (node, log.last_epoch, log.end);
            let request = VoteRequest { voter: Some(voter), epoch, candidate, last_epoch, end, pre_vote };
            let _: CallId = self.call(Destination::Node(voter.id), Request::Vote(request), asked, out);
        }
    }

    pub(super) fn on_tally(&mut self, now: Now, out: &mut Outcome) {
        let Some(voters) = self.voters() else { return };
        match &self.role {
            QuorumState::Prospective(it) if it.tally.is_won(voters) => self.become_candidate(now, out),
            QuorumState::Candidate(it) if it.tally.is_won(voters) => self.become_leader(now, out),
            QuorumState::Prospective(_)
            | QuorumState::Candidate(_)
            | QuorumState::Unattached(_)
            | QuorumState::Leader(_)
            | QuorumState::Follower(_)
            | QuorumState::Resigned(_) => {}
        }
    }

    /// Knows no leader of `epoch`, its own or a later one.
    pub(super) fn become_unattached(&mut self, now: Instant, epoch: LeaderEpoch, out: &mut Outcome) {
        let until = now + self.election_wait();
        self.become_unattached_until(until, epoch, out);
    }

    pub(super) fn become_unattached_until(&mut self, until: Instant, epoch: LeaderEpoch, out: &mut Outcome) {
        self.enter(epoch, out);
        self.role = QuorumState::Unattached(Unattached { until, search: Fetching::Idle });
    }

    pub(super) fn become_follower(&mut self, now: Instant, epoch: LeaderEpoch, leader: BrokerId, out: &mut Outcome) {
        self.enter(epoch, out);
        self.doubted = None;
        self.role = QuorumState::Follower(Follower {
            leader,
            heard: false,
            until: now + self.config.fetch_timeout,
            fetching: self.cutting.map_or(Fetching::Idle, Fetching::Cutting),
            download: None,
            committed: None,
            join_at: now + self.config.fetch_timeout,
        });
    }

    /// Asks whether it would be elected. Its own answer is yes.
    pub(super) fn become_prospective(&mut self, now: Now, out: &mut Outcome) {
        // It would claim what it is about to lose.
        if self.cutting.is_some() {
            return self.become_unattached(now.monotonic, self.ballot.epoch, out);
        }
        let poll = self.poll(now.monotonic);
        self.enter(self.ballot.epoch, out);
        self.role = QuorumState::Prospective(poll);
        let node = self.node;
        if let QuorumState::Prospective(poll) = &mut self.role {
            poll.tally.note(node, true);
        }
        self.on_tally(now, out);
    }

    /// Stands in the next epoch. The vote for itself counts when it is durable, and nobody is asked before.
    fn become_candidate(&mut self, now: Now, out: &mut Outcome) {
        // The epoch after the last cannot come honestly; who forged it has stopped the quorum.
        let Some(epoch) = self.ballot.epoch.0.checked_add(1) else { return self.resign(None, out) };
        let poll = self.poll(now.monotonic);
        self.ballot = Ballot { epoch: LeaderEpoch(epoch), voted: Some(self.node) };
        self.doubted = None;
        self.role = QuorumState::Candidate(poll);
    }

    /// Its own vote is not durable yet, so nobody was asked: on a slow disk another epoch would take as long again.
    pub(super) fn wait_for_own_vote(&mut self, now: Instant) {
        let until = now + self.election_wait();
        if let QuorumState::Candidate(poll) = &mut self.role {
            poll.until = until;
        }
    }

    /// Leads: the first batch of the epoch says so, and commits what earlier leaders left.
    fn become_leader(&mut self, now: Now, out: &mut Outcome) {
        let (Some(voters), QuorumState::Candidate(it)) = (self.voters(), &self.role) else { return };
        let granting = it.tally.granting(voters);
        let births = self.voters.current().is_none();
        let epoch = self.ballot.epoch;
        let batch = records::epoch_start(self.node.id, epoch, voters, granting, births, now.wall);
        self.role = QuorumState::Leader(Box::new(Leader::new(epoch, self.log.end, voters, now.monotonic)));
        out.lead = Some(Lead { epoch, batch });
    }

    /// A node that has led before it died (RAFT-03).
    pub(super) fn resume(&mut self, now: Now, out: &mut Outcome) {
        self.role = QuorumState::Candidate(self.poll(now.monotonic));
        self.become_leader(now, out);
    }

    /// Leads no more, nor takes part before `until`. If it led, the voters are told.
    pub(super) fn resign(&mut self, until: Option<Instant>, out: &mut Outcome) {
        let mut told = Vec::new();
        if let (QuorumState::Leader(leader), Some(voters)) = (&self.role, self.voters()) {
            told = leader.successors(voters, self.node);
        }
        let request = EndRequest { leader: self.node.id, epoch: self.ballot.epoch, successors: told.clone() };
        self.leave_leadership(out);
        self.role = QuorumState::Resigned(Resigned { until });
        for voter in told {
            let _: CallId = self.call(Destination::Node(voter), Request::End(request.clone()), Asked::Nothing, out);
        }
    }

    /// A leader that lost its majority: the others may be able to elect one.
    pub(super) fn resign_for_a_while(&mut self, now: Instant, out: &mut Outcome) {
        let wait: Duration = self.election_wait();
        self.resign(Some(now + wait), out);
    }

    /// In `epoch` from now on, which is its own or a later one. What it voted in its own it does not forget (RAFT-02).
    fn enter(&mut self, epoch: LeaderEpoch, out: &mut Outcome) {
        self.leave_leadership(out);
        if epoch > self.ballot.epoch {
            self.ballot = Ballot { epoch, voted: None };
            self.doubted = None;
        } else if self.planted.has(Plant::Raft02) {
            self.ballot.voted = None;
        }
    }

    fn leave_leadership(&mut self, out: &mut Outcome) {
        if let QuorumState::Leader(leader) = &mut self.role {
            let waiting = leader.take_waiting();
            out.resigned = true;
            self.refuse_as_not_leader(waiting, out);
        }
    }

    fn poll(&mut self, now: Instant) -> Poll {
        self.calls.polls += 1;
        Poll::new(self.calls.polls, now + self.election_wait())
    }
}
