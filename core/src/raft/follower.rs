//! The follower: it reads the leader's log, and cuts its own where the two differ.
//!
//! Its fetch says how far its log goes *durably*, and it is sent only when all of the log is durable: the leader
//! counts it (KAFKA-10533). The last epoch in it lets the leader find where the logs part (KIP-595).

use std::time::Duration;

use bytes::Bytes;

use super::messages::{
    AddVoterRequest, CallId, Destination, FetchRequest, Request, Response, ResponseBody, UpdateVoterRequest,
};
use super::quorum_state::{Fetching, QuorumState};
use super::{Asked, Epochs, Outcome, Raft};
use crate::clock::{Instant, Now};
use crate::log::leader_epoch_cache::EpochEnd;
use crate::planted::Plant;
use crate::types::{LeaderEpoch, Offset};

/// A leader whose connection failed has about this part of the time left to answer.
const HASTE: u32 = 4;

impl Raft {
    /// Batches of an [`Outcome`] are in the log, or it does not take them.
    pub fn on_appended(&mut self, now: Now, taken: bool) -> Outcome {
        let later = Fetching::Later(now.monotonic + self.config.retry_backoff);
        if let QuorumState::Follower(follower) = &mut self.role
            && follower.fetching == Fetching::Appending
        {
            follower.fetching = if taken { Fetching::Idle } else { later };
        }
        self.settle(now, Outcome::default())
    }

    /// Looks for a leader: any node of the quorum says who it is.
    pub(super) fn search(&mut self, now: Instant, out: &mut Outcome) {
        let QuorumState::Unattached(it) = &self.role else { return };
        if !it.search.is_due(now) {
            return;
        }
        // Whoever is asked may lead, and count this node as a voter before its own log says that it is one.
        let search = if self.may_say_end() {
            self.calls.searches += 1;
            Fetching::Asked(self.fetch(Destination::Anyone(self.calls.searches), out))
        } else {
            Fetching::Idle
        };
        if let QuorumState::Unattached(it) = &mut self.role {
            it.search = search;
        }
    }

    /// Reads on, and asks to become a voter if it is to and has read enough.
    pub(super) fn follow_on(&mut self, now: Instant, out: &mut Outcome) {
        let QuorumState::Follower(it) = &self.role else { return };
        let (leader, fetching, download, join_at) = (it.leader, it.fetching, it.download, it.join_at);
        if fetching.is_due(now) {
            // If not all is durable yet, it is sent as soon as it is.
            let to = Destination::Node(leader);
            let next = match (download, self.may_say_end()) {
                (Some(download), _) => Fetching::Asked(self.fetch_piece(download, to, out)),
                (None, true) => Fetching::Asked(self.fetch(to, out)),
                (None, false) => Fetching::Idle,
            };
            if let QuorumState::Follower(it) = &mut self.role {
                it.fetching = next;
            }
        }
        if join_at <= now && self.wants_to_tell() {
            self.tell_leader(now, out);
        }
    }

    /// Whether all of the log is durable: what a fetch says of it, the leader counts.
    fn may_say_end(&self) -> bool {
        let says_more = self.planted.has(Plant::Raft04) || self.planted.has(Plant::Raft05) && !self.is_voter();
        self.log.durable >= self.log.end || says_more
    }

    /// Whether the voters are not as they are to be: this node would be one, or the log has it otherwise than it is.
    pub(super) fn wants_to_tell(&self) -> bool {
        if self.is_voter() { self.is_outdated() } else { self.config.joins }
    }

    /// Whether the log has this voter otherwise than it is.
    pub(super) fn is_outdated(&self) -> bool {
        let mut known = self.voters.current().into_iter().flat_map(|voters| voters.iter());
        known.any(|(key, voter)| key == self.node && *voter != self.config.voter)
    }

    fn tell_leader(&mut self, now: Instant, out: &mut Outcome) {
        let again = now + self.config.fetch_timeout;
        let QuorumState::Follower(it) = &mut self.role else { return };
        it.join_at = again;
        if !it.heard || self.high_watermark.is_none() {
            return;
        }
        let to = Destination::Node(it.leader);
        let (key, voter) = (self.node, self.config.voter.clone());
        let request = if self.is_voter() {
            Request::UpdateVoter(UpdateVoterRequest { epoch: self.ballot.epoch, key, voter })
        } else {
            Request::AddVoter(AddVoterRequest { key, voter, when_committed: false })
        };
        let _: CallId = self.call(to, request, Asked::Nothing, out);
    }

    fn fetch(&mut self, to: Destination, out: &mut Outcome) -> CallId {
        let epoch = self.ballot.epoch;
        let request = FetchRequest {
            replica: Some(self.node),
            epoch,
            offset: self.log.end,
            last_epoch: self.log.last_epoch,
            high_watermark: self.high_watermark,
            max_wait: self.config.fetch_wait,
        };
        let leader = match to {
            Destination::Node(leader) => Some(leader),
            Destination::Anyone(_) => None,
        };
        self.call(to, Request::Fetch(request), Asked::Fetch { epoch, leader }, out)
    }

    /// A fetch was answered. What it knew of leaders is noted already.
    pub(super) fn on_fetched(
        &mut self,
        now: Now,
        (call, epoch): (CallId, LeaderEpoch),
        response: Option<Response>,
        epochs: &Epochs,
        out: &mut Outcome,
    ) {
        let later = Fetching::Later(now.monotonic + self.config.retry_backoff);
        if let QuorumState::Unattached(it) = &mut self.role
            && it.search == Fetching::Asked(call)
        {
            it.search = later;
            return;
        }
        let until = now.monotonic + self.config.fetch_timeout;
        let own_epoch = self.ballot.epoch;
        let QuorumState::Follower(it) = &mut self.role else { return };
        // An answer to what another role or another epoch asked says nothing about this leader's log.
        if it.fetching != Fetching::Asked(call) || epoch != own_epoch {
            return;
        }
        it.fetching = later;
        let haste = self.config.fetch_timeout / HASTE;
        if response.is_none() && it.until > now.monotonic + haste * 2 {
            // Nobody answers there: it need not be silent for all of the time. Who still hears it will say so
            // (KIP-996). Those who lose it at one moment must not stand at one.
            let jitter = self.rng.below(u64::try_from(haste.as_nanos()).unwrap_or(u64::MAX).max(1));
            it.until = now.monotonic + haste / 2 + Duration::from_nanos(jitter);
        }
        let Some(Response { error, body, .. }) = response else { return };
        if error.is_error() {
            return self.on_no_piece(error);
        }
        it.heard = true;
        it.until = until;
        match body {
            ResponseBody::Fetch { high_watermark, diverging, snapshot, records } => {
                if let Some(snapshot) = snapshot {
                    return self.on_snapshot_needed(snapshot);
                }
                if let Some(diverging) = diverging {
                    return self.on_diverging(diverging, epochs, out);
                }
                self.on_records(now, high_watermark, records, out);
            }
            ResponseBody::Snapshot { id, size, position, bytes } => self.on_piece((id, size, position), bytes, out),
            ResponseBody::Vote { .. } | ResponseBody::Heard => {}
        }
    }

    /// More of the leader's log, perhaps nothing.
    fn on_records(&mut self, now: Now, high_watermark: Option<Offset>, records: Bytes, out: &mut Outcome) {
        let QuorumState::Follower(it) = &mut self.role else { return };
        it.committed = if self.planted.has(Plant::Raft25) { high_watermark } else { it.committed.max(high_watermark) };
        if records.is_empty() {
            it.fetching = Fetching::Idle;
        } else {
            it.fetching = Fetching::Appending;
            out.append = Some(records);
        }
        self.recount(now, out);
    }

    /// The leader's log differs from here on.
    pub(super) fn on_diverging(&mut self, theirs: EpochEnd, epochs: &Epochs, out: &mut Outcome) {
        // What makes no sense is asked again a little later.
        let Some(to) = epochs.cut_for(theirs, self.log.end) else { return };
        if self.high_watermark.is_some_and(|committed| to < committed) {
            let committed = self.high_watermark.unwrap_or(Offset::ZERO);
            let why = format!("the leader has not what is committed: it goes on from {to}, committed is {committed}");
            out.broken = Some(why);
            return self.resign(None, out);
        }
        if let QuorumState::Follower(it) = &mut self.role {
            it.fetching = Fetching::Cutting(to);
        }
        self.cutting = Some(to);
        out.truncate = Some(to);
    }
}
