//! The leader: how far each node's durable log goes, what is committed by it, and whether a majority still listens.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use ottla_wire::ErrorCode;

use super::messages::{BeginRequest, CallId, Destination, FetchRequest, Found, ReplyBody, Request};
use super::quorum_state::QuorumState;
use super::voter_set::{VoterKey, VoterSet};
use super::{Asked, Epochs, Outcome, Raft, RaftConfig};
use crate::clock::{Instant, Now, WallTime};
use crate::machine::Ticket;
use crate::planted::{Plant, Planted};
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// Observers are forgotten after so long a silence.
const OBSERVER_SILENCE: Duration = Duration::from_secs(300);
/// The most observers that are remembered, and the most fetches that wait: anybody may claim to be one.
const MAX_OBSERVERS: usize = 1_000;

/// It was elected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    epoch: LeaderEpoch,
    /// The offset of its first batch. Nothing is committed before that is.
    epoch_start: Offset,
    replicas: BTreeMap<VoterKey, ReplicaProgress>,
    /// When each voter is told that it leads; `None` while it is being told.
    telling: BTreeMap<VoterKey, Option<Instant>>,
    waiting: Vec<Waiting>,
    /// More is committed since it was looked whether the log has this voter as it is.
    pub(super) looks_at_itself: bool,
    /// Where the last change of the voters was to lie. It may be under way into the log.
    pub(super) changed_at: Option<Offset>,
}

/// What the leader knows of a node, or of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaProgress {
    /// Its log goes up to there, durably.
    pub end: Offset,
    /// When it fetched last.
    pub fetched: Instant,
    /// The same for people; `None` if it has not yet.
    pub fetched_at: Option<WallTime>,
    /// When it had all that the leader had, for the last time.
    pub caught_up_at: Option<WallTime>,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// A fetch that has nothing to say yet.
    Fetch { ticket: Ticket, replica: Option<VoterKey>, offset: Offset, knows: Option<Offset>, until: Instant },
    /// A change of the voters, which lies at `offset`, that is not committed.
    Voters { ticket: Ticket, offset: Offset },
}

impl Leader {
    /// A leader of `epoch`, whose first batch lies at `epoch_start`. It takes every voter for awake.
    pub(super) fn new(epoch: LeaderEpoch, epoch_start: Offset, voters: &VoterSet, now: Instant) -> Self {
        let (replicas, telling) = (BTreeMap::new(), BTreeMap::new());
        let (waiting, looks_at_itself, changed_at) = (Vec::new(), false, None);
        let mut leader = Self { epoch, epoch_start, replicas, telling, waiting, looks_at_itself, changed_at };
        leader.on_voters(voters, now);
        leader
    }

    /// Its epoch.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The offset of its first batch.
    #[must_use]
    pub const fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// What it knows of each node that has fetched, and of each voter.
    pub fn replicas(&self) -> impl Iterator<Item = (VoterKey, ReplicaProgress)> {
        self.replicas.iter().map(|(key, progress)| (*key, *progress))
    }

    pub(super) fn progress(&self, key: VoterKey) -> Option<ReplicaProgress> {
        self.replicas.get(&key).copied()
    }

    /// These are the voters from now on.
    pub(super) fn on_voters(&mut self, voters: &VoterSet, now: Instant) {
        for (key, _) in voters.iter() {
            let unheard = ReplicaProgress { end: Offset::ZERO, fetched: now, fetched_at: None, caught_up_at: None };
            self.replicas.entry(key).or_insert(unheard);
            self.telling.entry(key).or_insert(Some(now));
        }
        self.telling.retain(|key, _| voters.contains(*key));
    }

    /// A node's log is durable up to `end`; whether that is all that the leader has.
    pub(super) fn note_end(&mut self, key: VoterKey, end: Offset, all: bool, now: Now) {
        let full = self.replicas.len() >= MAX_OBSERVERS && !self.replicas.contains_key(&key);
        if full {
            return;
        }
        let unheard = ReplicaProgress { end, fetched: now.monotonic, fetched_at: None, caught_up_at: None };
        let known = self.replicas.entry(key).or_insert(unheard);
        known.end = end.max(known.end);
        known.fetched = now.monotonic;
        known.fetched_at = Some(now.wall);
        if all {
            known.caught_up_at = Some(now.wall);
        }
    }

    /// A node is awake, though what it has is not known to be of this log.
    pub(super) fn note_awake(&mut self, key: VoterKey, now: Now) {
        if let Some(known) = self.replicas.get_mut(&key) {
            known.fetched = now.monotonic;
            known.fetched_at = Some(now.wall);
        }
    }

    /// What is durable on a majority of `voters`, if that has a batch of this epoch (Raft, figure 8).
    pub(super) fn committed(&self, voters: &VoterSet, planted: Planted) -> Option<Offset> {
        let end_of = |(voter, _)| self.replicas.get(&voter).map_or(Offset::ZERO, |progress| progress.end);
        let mut ends: Vec<Offset> = voters.iter().map(end_of).collect();
        if !planted.has(Plant::Raft17) {
            ends.sort_unstable_by(|one, other| other.cmp(one));
        }
        let committed = ends[voters.majority() - 1];
        (committed > self.epoch_start || planted.has(Plant::Raft44)).then_some(committed)
    }

    /// When so many voters will have been silent that a majority is not there; `None` if it needs nobody.
    fn majority_until(&self, voters: &VoterSet, node: VoterKey, patience: Duration) -> Option<Instant> {
        let own = usize::from(voters.contains(node));
        let others = voters.iter().map(|(key, _)| key).filter(|key| *key != node);
        let heard = |key| self.replicas.get(&key).map_or(Instant(0), |progress| progress.fetched);
        let mut heard: Vec<Instant> = others.map(heard).collect();
        heard.sort_unstable_by(|one, other| other.cmp(one));
        let needed = voters.majority() - own;
        Some(*heard.get(needed.checked_sub(1)?)? + patience)
    }

    /// The voters but the node itself, whose log goes furthest first.
    pub(super) fn successors(&self, voters: &VoterSet, node: VoterKey) -> Vec<BrokerId> {
        let others = voters.iter().map(|(key, _)| key).filter(|key| *key != node);
        let end_of = |key: &VoterKey| self.replicas.get(key).map_or(Offset::ZERO, |progress| progress.end);
        let mut others: Vec<VoterKey> = others.collect();
        others.sort_by_key(|key| std::cmp::Reverse(end_of(key)));
        others.into_iter().map(|key| key.id).collect()
    }

    /// A voter was told that it leads, or could not be.
    pub(super) fn on_told(&mut self, voter: VoterKey, heard: bool, now: Instant, config: &RaftConfig) {
        if let Some(telling) = self.telling.get_mut(&voter) {
            *telling = Some(now + if heard { config.fetch_timeout / 2 } else { config.retry_backoff });
        }
    }

    pub(super) fn wait_for(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
    }

    pub(super) fn take_waiting(&mut self) -> Vec<Waiting> {
        mem::take(&mut self.waiting)
    }

    /// When it has something to do.
    pub(super) fn next_deadline(&self, quorum: Option<(&VoterSet, VoterKey)>, config: &RaftConfig) -> Option<Instant> {
        let waiting = self.waiting.iter().filter_map(|waiting| match waiting {
            Waiting::Fetch { until, .. } => Some(*until),
            Waiting::Voters { .. } => None,
        });
        let telling = self.telling.iter().filter(|(key, _)| quorum.is_none_or(|(_, node)| **key != node));
        let telling = telling.filter_map(|(_, at)| *at);
        let silent = quorum.and_then(|(voters, node)| self.majority_until(voters, node, patience(config)));
        waiting.chain(telling).chain(silent).min()
    }
}

/// How long a majority may be silent: longer than a follower waits, so that it is not given up before it gives up.
fn patience(config: &RaftConfig) -> Duration {
    config.fetch_timeout + config.fetch_timeout / 2
}

impl Raft {
    /// Another node reads on in the log.
    pub(super) fn on_fetch(
        &mut self,
        now: Now,
        ticket: Ticket,
        fetch: &FetchRequest,
        epochs: &Epochs,
        out: &mut Outcome,
    ) {
        let nothing = ReplyBody::Fetch { high_watermark: None, found: Found::Nothing };
        let (log, high_watermark) = (self.log, self.high_watermark);
        if let Err(error) = self.leads_in(fetch.epoch) {
            return self.reply(ticket, error, nothing, out);
        }
        let by_offset = self.planted.has(Plant::Raft43) && fetch.offset <= log.end;
        let parts = self.parts_from(fetch, epochs).filter(|found| !by_offset || matches!(found, Found::Snapshot(_)));
        let counts_all = self.planted.has(Plant::Raft49);
        let QuorumState::Leader(leader) = &mut self.role else { return };
        // Only what agrees with this log counts (KAFKA-13141).
        if let Some(replica) = fetch.replica.filter(|_| counts_all) {
            leader.note_end(replica, fetch.offset, false, now);
        }
        if let Some(found) = parts {
            if let (Found::Snapshot(_), Some(replica)) = (found, fetch.replica) {
                leader.note_awake(replica, now);
            }
            let lost = found == Found::Nothing;
            let error = if lost { ErrorCode::OFFSET_OUT_OF_RANGE } else { ErrorCode::NONE };
            return self.reply(ticket, error, ReplyBody::Fetch { high_watermark, found }, out);
        }
        if let Some(replica) = fetch.replica {
            leader.note_end(replica, fetch.offset, fetch.offset >= log.end, now);
        }
        let until = now.monotonic + fetch.max_wait;
        let (offset, knows) = (fetch.offset, fetch.high_watermark);
        self.complete_parked_of(fetch.replica, out);
        self.recount(now, out);
        let waiting = Waiting::Fetch { ticket, replica: fetch.replica, offset, knows, until };
        if let QuorumState::Leader(leader) = &mut self.role {
            leader.wait_for(waiting);
        }
        self.answer_parked(now, out);
    }

    /// Whether this node leads in this epoch; if not, what who believes so is told.
    pub(super) fn leads_in(&self, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        match epoch.cmp(&self.ballot.epoch) {
            Ordering::Less => Err(ErrorCode::FENCED_LEADER_EPOCH),
            _ if !self.is_leader() => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            Ordering::Greater => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            Ordering::Equal => Ok(()),
        }
    }

    /// Another fetch of the same node came: the one that waits is of no use any more.
    fn complete_parked_of(&mut self, replica: Option<VoterKey>, out: &mut Outcome) {
        let QuorumState::Leader(leader) = &mut self.role else { return };
        let crowded = leader.waiting.len() >= MAX_OBSERVERS;
        let superseded = |waiting: &Waiting| match waiting {
            Waiting::Fetch { replica: other, .. } => crowded || (*other == replica && replica.is_some()),
            Waiting::Voters { .. } => false,
        };
        let (done, kept) = leader.take_waiting().into_iter().partition(superseded);
        leader.waiting = kept;
        self.answer_all(done, out);
    }

    /// Answers the fetches that have something to be told, or have waited long enough.
    pub(super) fn answer_parked(&mut self, now: Now, out: &mut Outcome) {
        let (end, high_watermark) = (self.log.written, self.high_watermark);
        let QuorumState::Leader(leader) = &mut self.role else { return };
        let is_due = |waiting: &Waiting| match waiting {
            Waiting::Fetch { offset, knows, until, .. } => {
                end > *offset || high_watermark > *knows || *until <= now.monotonic
            }
            Waiting::Voters { offset, .. } => high_watermark.is_some_and(|committed| committed > *offset),
        };
        let (due, kept) = leader.take_waiting().into_iter().partition(is_due);
        leader.waiting = kept;
        self.answer_all(due, out);
    }

    fn answer_all(&self, waiting: Vec<Waiting>, out: &mut Outcome) {
        let high_watermark = self.high_watermark;
        for waiting in waiting {
            match waiting {
                Waiting::Fetch { ticket, offset, .. } => {
                    let body = ReplyBody::Fetch { high_watermark, found: Found::Log(offset) };
                    self.reply(ticket, ErrorCode::NONE, body, out);
                }
                Waiting::Voters { ticket, .. } => {
                    self.reply(ticket, ErrorCode::NONE, ReplyBody::Voters { why: None }, out)
                }
            }
        }
    }

    /// The log has no room for a change of the voters, or has not any more.
    pub(super) fn refuse_unwritten(&mut self, out: &mut Outcome) {
        let end = self.log.end;
        let QuorumState::Leader(leader) = &mut self.role else { return };
        let is_lost = |waiting: &Waiting| matches!(waiting, Waiting::Voters { offset, .. } if *offset >= end);
        let (lost, kept): (Vec<_>, _) = leader.take_waiting().into_iter().partition(is_lost);
        leader.waiting = kept;
        for waiting in lost {
            let (Waiting::Fetch { ticket, .. } | Waiting::Voters { ticket, .. }) = waiting;
            let body = ReplyBody::Voters { why: Some("the metadata log of the controller has no room for it") };
            self.reply(ticket, ErrorCode::KAFKA_STORAGE_ERROR, body, out);
        }
    }

    /// It leads no more: those who wait are told so. What became of a change of the voters is not known.
    pub(super) fn refuse_as_not_leader(&self, waiting: Vec<Waiting>, out: &mut Outcome) {
        let nothing = ReplyBody::Fetch { high_watermark: None, found: Found::Nothing };
        for waiting in waiting {
            let (ticket, body) = match waiting {
                Waiting::Fetch { ticket, .. } => (ticket, nothing),
                Waiting::Voters { ticket, .. } => (ticket, ReplyBody::Voters { why: None }),
            };
            self.reply(ticket, ErrorCode::NOT_LEADER_OR_FOLLOWER, body, out);
        }
    }

    /// Something moved that the high watermark rests on.
    pub(super) fn recount(&mut self, now: Now, out: &mut Outcome) {
        self.update_own(now, out);
        let early = self.planted.has(Plant::Raft16);
        let own = if early { self.log.end } else { self.log.durable };
        // What a follower has not written a full disk takes back, and it would be replayed twice.
        let has = if self.planted.has(Plant::Raft50) { self.log.end } else { self.log.written };
        let (node, voters) = (self.node, self.voters.current().or(self.born.as_ref()));
        let committed = match (&mut self.role, voters) {
            (QuorumState::Leader(leader), Some(voters)) => {
                leader.note_end(node, own, true, now);
                leader.committed(voters, self.planted)
            }
            (QuorumState::Follower(follower), _) => follower.committed.map(|committed| committed.min(has)),
            _ => None,
        };
        let falls = self.planted.has(Plant::Raft25) && committed != self.high_watermark;
        let moves = |to: &Offset| Some(*to) > self.high_watermark || falls;
        let Some(committed) = committed.filter(moves) else { return };
        self.high_watermark = Some(committed);
        out.high_watermark = Some(committed);
        self.voters.forget_below(committed);
        if let QuorumState::Leader(leader) = &mut self.role {
            leader.looks_at_itself = true;
        }
        self.answer_parked(now, out);
        // A leader that was voted out has led until that was committed.
        if self.is_leader() && !self.is_voter() {
            self.resign_for_a_while(now.monotonic, out);
        }
    }

    /// The leader's deadline has come.
    pub(super) fn lead_on(&mut self, now: Now, out: &mut Outcome) {
        self.answer_parked(now, out);
        let (node, patience) = (self.node, patience(&self.config));
        let voters = self.voters.current().or(self.born.as_ref());
        let (Some(voters), QuorumState::Leader(leader)) = (voters, &mut self.role) else { return };
        let is_gone = |progress: &ReplicaProgress| now.monotonic.since(progress.fetched) > OBSERVER_SILENCE;
        leader.replicas.retain(|key, progress| voters.contains(*key) || *key == node || !is_gone(progress));
        if leader.majority_until(voters, node, patience).is_some_and(|until| until <= now.monotonic) {
            self.resign_for_a_while(now.monotonic, out);
        }
    }

    /// Tells the voters that do not fetch that it leads.
    pub(super) fn tell_voters(&mut self, now: Instant, out: &mut Outcome) {
        let (node, epoch, often) = (self.node, self.ballot.epoch, self.config.fetch_timeout / 2);
        let QuorumState::Leader(leader) = &mut self.role else { return };
        let mut silent = Vec::new();
        for (key, at) in leader.telling.iter_mut().filter(|(key, at)| **key != node && at.is_some_and(|at| at <= now)) {
            let progress = leader.replicas.get(key).filter(|progress| progress.fetched_at.is_some());
            match progress.filter(|progress| now.since(progress.fetched) < often) {
                Some(progress) => *at = Some(progress.fetched + often),
                None => {
                    *at = None;
                    silent.push(*key);
                }
            }
        }
        for voter in silent {
            let request = Request::Begin(BeginRequest { voter: Some(voter), leader: node.id, epoch });
            let _: CallId = self.call(Destination::Node(voter.id), request, Asked::Begin(voter), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::voter_set::Voter;
    use super::*;
    use crate::types::BrokerId;
    use ottla_wire::Uuid;
    use proptest::prelude::*;

    fn key(id: usize) -> VoterKey {
        VoterKey { id: BrokerId(i32::try_from(id).unwrap()), directory_id: Uuid(7) }
    }

    proptest! {
        /// Committed is the greatest offset that more than half of the voters have, in whatever order they said so.
        #[test]
        fn a_majority_has_what_is_committed(
            ends in prop::collection::vec(0i64..20, 1..8),
            start in 0i64..10,
            strangers in prop::collection::vec(0i64..40, 0..4),
        ) {
            let now = Now::default();
            let voters = VoterSet::new((0..ends.len()).map(|id| (key(id), Voter::default())).collect()).unwrap();
            let mut leader = Leader::new(LeaderEpoch(1), Offset(start), &voters, now.monotonic);
            for (id, end) in strangers.iter().enumerate() {
                leader.note_end(VoterKey { directory_id: Uuid(8), ..key(id) }, Offset(*end), false, now);
            }
            for (id, end) in ends.iter().enumerate() {
                leader.note_end(key(id), Offset(*end), false, now);
                leader.note_end(key(id), Offset(*end - 1), false, now);
            }
            let has = |offset: i64| ends.iter().filter(|end| **end >= offset).count() * 2 > ends.len();
            let expected = (start + 1..40).rev().find(|offset| has(*offset)).map(Offset);
            prop_assert_eq!(leader.committed(&voters, Planted::default()), expected);
        }
    }
}
