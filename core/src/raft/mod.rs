//! The metadata quorum (KIP-595, KIP-853, KIP-996): who leads `__cluster_metadata`, in which epoch, what is committed.
//!
//! [`Raft`] decides and never acts. Its parent passes events in and carries out each [`Outcome`]: save the vote,
//! append or cut the log, send, raise the high watermark. It owns neither the log nor the file nor the network.
//!
//! | role | until | then |
//! |---|---|---|
//! | Unattached | a voter's patience ends | Prospective |
//! | Prospective | a majority would vote for it; or its poll ends | Candidate, in the next epoch; Prospective |
//! | Candidate | its own vote is durable, and a majority voted; or its poll ends | Leader; Prospective |
//! | Leader | a majority is silent; shutdown; the log fails | Resigned |
//! | Follower | its leader is silent; its leader resigns | Prospective, or Unattached |
//! | Resigned | the others had time to elect one | Unattached |
//! | any | a leader, or a later epoch, is heard of | Follower, or Unattached |
//!
//! Invariants: M1 to M3, because nothing leaves a node whose epoch or vote is not durable yet; M4 and M8, because a
//! follower's fetch names its last epoch and is answered with where the logs differ, and nothing committed is cut; M5;
//! M6 and M7, because followers fetch only at the end of what is *durable* there, and the high watermark covers only
//! records of the leader's own epoch on; M10; M14 by pre-votes. A restart always takes a new epoch: a leader that came
//! back with a shorter log must not write again in its old one (KAFKA-10527).
//!
//! The log begins where a snapshot ends (KIP-630): who is to read what lies below reads that first.

mod election;
mod follower;
mod leader;
mod messages;
mod persisted;
mod quorum_state;
mod reconfiguration;
mod records;
mod requests;
mod snapshot_id;
mod snapshots;
mod voter_set;
mod voters;

#[cfg(test)]
mod tests;

pub use leader::{Leader, ReplicaProgress};
pub use messages::{
    AddVoterRequest, BeginRequest, Call, CallId, Destination, EndRequest, FetchRequest, Found, Known, Reply, ReplyBody,
    Request, Response, ResponseBody, SnapshotRequest, UpdateVoterRequest, VoteRequest,
};
pub use persisted::SavedElection;
pub use quorum_state::{Download, Fetching, Follower, Poll, QuorumState, Resigned, Tally, Unattached};
pub use records::{ControlRecord, control_records, snapshot_footer, snapshot_header};
pub use snapshot_id::SnapshotId;
pub use snapshots::Piece;
pub use voter_set::{Voter, VoterEndpoint, VoterKey, VoterSet};
pub use voters::VoterHistory;

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{Instant, Now};
use crate::log::leader_epoch_cache::LeaderEpochCache;
use crate::machine::Ticket;
use crate::planted::{Plant, Planted};
use crate::rng::Rng;
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// The level of `kraft.version` that we write: voters have directory ids and are named in the log.
pub const KRAFT_VERSION: i16 = 1;

/// What a start needs to know.
#[derive(Clone, Debug)]
pub struct Start {
    /// This node, with the id of the directory that its metadata log is in.
    pub node: VoterKey,
    /// What `quorum-state` says; `None` if there is no such file.
    pub saved: Option<SavedElection>,
    /// The voters that the log names.
    pub voters: VoterHistory,
    /// At the birth of a cluster, by an operator's word: its first voters. They count while the log names none.
    pub born: Option<VoterSet>,
    /// Where the log ends; all of it is durable or will be.
    pub end_offset: Offset,
    /// The epoch of its last batch, or of the snapshot that it follows; `None` if there is neither.
    pub last_epoch: Option<LeaderEpoch>,
    /// The snapshots that are here, each with its size in bytes. What is in them is committed.
    pub snapshots: BTreeMap<SnapshotId, u64>,
    /// For its draws.
    pub seed: u64,
}

/// How long it waits for what. `controller.quorum.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftConfig {
    /// An election takes as long at most, and at random up to twice as long before the next.
    pub election_timeout: Duration,
    /// A leader that is silent for as long is given up; one whose followers are, for half as long again, resigns.
    pub fetch_timeout: Duration,
    /// Before what failed is tried again.
    pub retry_backoff: Duration,
    /// How long a fetch waits at the leader for something to say.
    pub fetch_wait: Duration,
    /// How this node is as a voter. If the log has it otherwise the leader is told (KIP-853).
    pub voter: Voter,
    /// Whether it is to become one by itself (KIP-1186).
    pub joins: bool,
}

/// What a parent is to do, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// Save `quorum-state` durably, then call [`Raft::on_saved`].
    pub save: Option<Save>,
    /// This node leads no more: what it appended and is not committed may be cut.
    pub resigned: bool,
    /// Cut the log to this, then call [`Raft::on_log`].
    pub truncate: Option<Offset>,
    /// Append these batches of the leader's as they are, then call [`Raft::on_log`], [`Raft::on_voters`] for each that
    /// names voters, and [`Raft::on_appended`]. They come from the network: their epochs, offsets and CRCs are to be
    /// checked, and they hold no epoch above [`Raft::epoch`].
    pub append: Option<Bytes>,
    /// More of a snapshot of the leader's: keep it. With the last piece it takes the place of the log and of all that
    /// is known, once it is durable; then call [`Raft::on_installed`].
    pub piece: Option<Piece>,
    /// This node leads from now on: append this batch to the metadata log, first of its epoch, then call
    /// [`Raft::on_voters`] if it names them, and [`Raft::on_log`].
    pub lead: Option<Lead>,
    /// Append this control batch as the leader, then call [`Raft::on_voters`] and [`Raft::on_log`].
    pub change: Option<Vec<u8>>,
    /// Records below it are committed. It only rises.
    pub high_watermark: Option<Offset>,
    /// Send these.
    pub calls: Vec<Call>,
    /// Answer these.
    pub replies: Vec<(Ticket, Reply)>,
    /// The quorum asks for what must never be done; this node does no more. The operator is to be told.
    pub broken: Option<String>,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SaveId(pub u64);

/// The start of a leader's epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// A control batch: that this node leads, and at the birth of a cluster who its voters are.
    pub batch: Vec<u8>,
}

/// How far this node's log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Where it begins: 0, or where a snapshot ends.
    pub start: Offset,
    /// Its end.
    pub end: Offset,
    /// Up to there it can be read, and is not lost for want of room: no more is shown to followers.
    pub written: Offset,
    /// Up to there it survives a power loss.
    pub durable: Offset,
    /// The epoch of its last record, or of the snapshot that it follows; `None` if there is neither.
    pub last_epoch: Option<LeaderEpoch>,
}

/// Why a node cannot take part in a quorum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// There is no next epoch. Only a damaged or forged file says so.
    #[error("the quorum is in its last possible epoch")]
    EpochsExhausted,
}

/// What a node must never forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ballot {
    epoch: LeaderEpoch,
    voted: Option<VoterKey>,
}

/// The file that the ballot is in, and what must not leave the node before it is durable.
#[derive(Clone, Debug, Default)]
struct Saving {
    last: SaveId,
    under_way: Option<Ballot>,
    durable: Ballot,
    calls: Vec<Call>,
    replies: Vec<(Ticket, Reply)>,
}

/// What was asked and is not answered.
#[derive(Clone, Debug, Default)]
struct Calls {
    last: u64,
    open: BTreeMap<CallId, Asked>,
    /// How often anyone was asked for a leader, and how many polls there were.
    searches: u64,
    polls: u64,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Vote { voter: VoterKey, poll: u64 },
    Begin(VoterKey),
    Fetch { epoch: LeaderEpoch, leader: Option<BrokerId> },
    Nothing,
}

/// This node's part in the metadata quorum.
#[derive(Clone, Debug)]
pub struct Raft {
    node: VoterKey,
    config: RaftConfig,
    voters: VoterHistory,
    born: Option<VoterSet>,
    ballot: Ballot,
    role: QuorumState,
    high_watermark: Option<Offset>,
    log: LogState,
    snapshots: BTreeMap<SnapshotId, u64>,
    saving: Saving,
    calls: Calls,
    /// The leader that this voter has given up, in its present epoch.
    doubted: Option<BrokerId>,
    /// Its log is to be cut to there, whoever leads by now: as long as it is not, nothing is said of where it ends.
    cutting: Option<Offset>,
    rng: Rng,
    planted: Planted,
}

impl Raft {
    /// A node that has read its file and its log, and does nothing yet.
    ///
    /// # Errors
    /// It cannot take part in such a quorum.
    pub fn new(start: Start, config: RaftConfig, planted: Planted) -> Result<Self, StartError> {
        let saved_epoch = start.saved.map_or(LeaderEpoch(0), |saved| saved.epoch);
        let epoch = saved_epoch.max(start.last_epoch.unwrap_or_default());
        if epoch.0 == i32::MAX {
            return Err(StartError::EpochsExhausted);
        }
        let voted = start.saved.filter(|saved| saved.epoch == epoch).and_then(|saved| saved.voted);
        let ballot = Ballot { epoch, voted };
        Ok(Self {
            node: start.node,
            config,
            voters: start.voters,
            born: start.born,
            ballot,
            role: QuorumState::Unattached(Unattached { until: Instant(u64::MAX), search: Fetching::Idle }),
            high_watermark: start.snapshots.keys().next_back().map(|id| id.end),
            snapshots: start.snapshots,
            log: LogState { end: start.end_offset, last_epoch: start.last_epoch, ..LogState::default() },
            saving: Saving { durable: ballot, ..Saving::default() },
            calls: Calls::default(),
            doubted: None,
            cutting: None,
            rng: Rng::new(start.seed),
            planted,
        })
    }

    /// The node takes part from now on. A voter asks at once whether it would be elected: if there is a leader, it is
    /// told so.
    pub fn on_start(&mut self, now: Now) -> Outcome {
        let mut out = Outcome::default();
        if !matches!(self.role, QuorumState::Unattached(_)) {
            return out;
        }
        let led = self.ballot.voted == Some(self.node) && self.log.last_epoch == Some(self.ballot.epoch);
        if led && self.planted.has(Plant::Raft03) {
            self.resume(now, &mut out);
        } else if self.is_voter() {
            self.become_prospective(now, &mut out);
        }
        self.settle(now, out)
    }

    /// [`Self::next_deadline`] has come.
    pub fn on_timeout(&mut self, now: Now) -> Outcome {
        let mut out = Outcome::default();
        let monotonic = now.monotonic;
        match &self.role {
            QuorumState::Unattached(it) if it.until <= monotonic && self.is_voter() => {
                self.become_prospective(now, &mut out);
            }
            QuorumState::Candidate(it) if it.until <= monotonic && self.saving.durable != self.ballot => {
                self.wait_for_own_vote(monotonic);
            }
            QuorumState::Prospective(it) | QuorumState::Candidate(it) if it.until <= monotonic => {
                self.become_prospective(now, &mut out);
            }
            QuorumState::Follower(it) if it.until <= monotonic && self.is_voter() => {
                self.doubted = Some(it.leader);
                self.become_prospective(now, &mut out);
            }
            QuorumState::Follower(it) if it.until <= monotonic => {
                self.become_unattached(monotonic, self.ballot.epoch, &mut out);
            }
            QuorumState::Resigned(Resigned { until: Some(until) }) if *until <= monotonic => {
                self.become_unattached(monotonic, self.ballot.epoch, &mut out);
            }
            QuorumState::Leader(_) => self.lead_on(now, &mut out),
            QuorumState::Unattached(_)
            | QuorumState::Prospective(_)
            | QuorumState::Candidate(_)
            | QuorumState::Follower(_)
            | QuorumState::Resigned(_) => {}
        }
        self.settle(now, out)
    }

    /// When [`Self::on_timeout`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.role {
            QuorumState::Unattached(_) if self.is_voter() => self.patience(),
            QuorumState::Unattached(it) => it.search.deadline(),
            QuorumState::Prospective(it) | QuorumState::Candidate(it) => Some(it.next_deadline()),
            QuorumState::Leader(it) => it.next_deadline(self.voters().map(|voters| (voters, self.node)), &self.config),
            QuorumState::Follower(it) => {
                let tells = self.wants_to_tell().then_some(it.join_at);
                [self.patience(), it.fetching.deadline(), tells].into_iter().flatten().min()
            }
            QuorumState::Resigned(it) => it.until,
        }
    }

    /// A save that an [`Outcome`] asked for is durable.
    pub fn on_saved(&mut self, id: SaveId, now: Now) -> Outcome {
        let mut out = Outcome::default();
        if id != self.saving.last {
            return out;
        }
        let Some(saved) = self.saving.under_way.take() else { return out };
        self.saving.durable = saved;
        let own = self.node;
        if saved == self.ballot
            && let QuorumState::Candidate(poll) = &mut self.role
        {
            // Its own vote counts from now on (invariant M2).
            poll.tally.note(own, true);
            self.on_tally(now, &mut out);
        }
        self.settle(now, out)
    }

    /// The metadata log goes up to `log.end` on this node, and is durable up to `log.durable`.
    pub fn on_log(&mut self, now: Now, log: LogState) -> Outcome {
        let mut out = Outcome::default();
        let grew = log.written > self.log.written;
        let is_cut = log.end < self.log.end;
        self.log = log;
        if self.voters.truncate(log.end) {
            self.on_voters_changed(now, &mut out);
        }
        if is_cut {
            self.on_cut(now, &mut out);
        }
        self.refuse_unwritten(&mut out);
        self.recount(now, &mut out);
        if grew {
            self.answer_parked(now, &mut out);
        }
        self.settle(now, out)
    }

    /// The log ends sooner than it did: because its leader had it cut, or because there was no room for what was not
    /// written yet. Who was elected for what it had does not lead without.
    fn on_cut(&mut self, now: Now, out: &mut Outcome) {
        let end = self.log.end;
        self.cutting = self.cutting.filter(|to| end > *to);
        match &mut self.role {
            QuorumState::Follower(it) if matches!(it.fetching, Fetching::Cutting(to) if end <= to) => {
                it.fetching = Fetching::Idle;
            }
            QuorumState::Prospective(_) | QuorumState::Candidate(_) => {
                self.become_unattached(now.monotonic, self.ballot.epoch, out);
            }
            QuorumState::Leader(it) if end < it.epoch_start() => self.resign_for_a_while(now.monotonic, out),
            QuorumState::Follower(_)
            | QuorumState::Leader(_)
            | QuorumState::Unattached(_)
            | QuorumState::Resigned(_) => {}
        }
    }

    /// The node shuts down, or its metadata log fails: it leads no more, and is not elected again by this process. The
    /// voters are told, so that they need not wait for it.
    pub fn become_resigned(&mut self, now: Now) -> Outcome {
        let mut out = Outcome::default();
        self.resign(None, &mut out);
        self.settle(now, out)
    }

    /// The role, with what belongs to it.
    #[must_use]
    pub const fn role(&self) -> &QuorumState {
        &self.role
    }

    /// The epoch that this node is in.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.ballot.epoch
    }

    /// The voters, if any are known.
    #[must_use]
    pub fn voters(&self) -> Option<&VoterSet> {
        self.voters.current().or(self.born.as_ref())
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

    /// How far this node's log goes, as it knows.
    #[must_use]
    pub const fn log(&self) -> LogState {
        self.log
    }

    /// The voters as of an offset that is committed and not long ago, if any are known.
    #[must_use]
    pub fn voters_before(&self, end: Offset) -> Option<&VoterSet> {
        self.voters.before(end)
    }

    /// Whether this node leads.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        matches!(self.role, QuorumState::Leader(_))
    }

    /// Who leads, as far as this node knows.
    #[must_use]
    pub const fn leader(&self) -> Option<BrokerId> {
        match &self.role {
            QuorumState::Leader(_) => Some(self.node.id),
            QuorumState::Follower(it) => Some(it.leader),
            QuorumState::Unattached(_)
            | QuorumState::Prospective(_)
            | QuorumState::Candidate(_)
            | QuorumState::Resigned(_) => None,
        }
    }

    /// Whether this node is one of the voters.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        let voters = self.voters();
        if self.planted.has(Plant::Raft39) {
            return voters.is_some_and(|voters| voters.iter().any(|(voter, _)| voter.id == self.node.id));
        }
        voters.is_some_and(|voters| voters.contains(self.node))
    }

    fn patience(&self) -> Option<Instant> {
        match &self.role {
            QuorumState::Unattached(it) => Some(it.until),
            QuorumState::Follower(it) => Some(it.until),
            QuorumState::Prospective(_)
            | QuorumState::Candidate(_)
            | QuorumState::Leader(_)
            | QuorumState::Resigned(_) => None,
        }
    }

    const fn known(&self) -> Known {
        Known { epoch: self.ballot.epoch, leader: self.leader() }
    }

    /// A random wait between one and two election timeouts.
    fn election_wait(&mut self) -> Duration {
        let timeout = self.config.election_timeout;
        let spread = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        timeout + Duration::from_nanos(self.rng.below(spread))
    }

    fn call(&mut self, to: Destination, request: Request, asked: Asked, out: &mut Outcome) -> CallId {
        self.calls.last += 1;
        let id = CallId(self.calls.last);
        self.calls.open.insert(id, asked);
        out.calls.push(Call { id, to, request });
        id
    }

    /// The end of each event: what is due is asked, the ballot is saved if it is new, and nothing leaves before it is
    /// durable.
    fn settle(&mut self, now: Now, mut out: Outcome) -> Outcome {
        self.drive(now, &mut out);
        if self.saving.durable != self.ballot && self.saving.under_way.is_none() {
            self.saving.last.0 += 1;
            self.saving.under_way = Some(self.ballot);
            let Ballot { epoch, voted } = self.ballot;
            let election = SavedElection { epoch, leader: self.leader(), voted };
            out.save = Some(Save { id: self.saving.last, bytes: election.encode() });
        }
        self.saving.calls.append(&mut out.calls);
        self.saving.replies.append(&mut out.replies);
        if self.saving.durable == self.ballot || self.planted.has(Plant::Raft01) {
            out.calls = mem::take(&mut self.saving.calls);
            out.replies = mem::take(&mut self.saving.replies);
        }
        if self.planted.has(Plant::Raft01)
            && let (QuorumState::Candidate(poll), Some(_)) = (&mut self.role, &out.save)
        {
            poll.tally.note(self.node, true);
            self.on_tally(now, &mut out);
        }
        out
    }

    /// Asks whatever is due.
    fn drive(&mut self, now: Now, out: &mut Outcome) {
        match &self.role {
            QuorumState::Prospective(_) | QuorumState::Candidate(_) => self.ask_for_votes(now.monotonic, out),
            QuorumState::Leader(_) => self.tell_voters(now.monotonic, out),
            QuorumState::Unattached(_) if !self.is_voter() => self.search(now.monotonic, out),
            QuorumState::Follower(_) => self.follow_on(now.monotonic, out),
            QuorumState::Unattached(_) | QuorumState::Resigned(_) => {}
        }
    }

    /// `speaker`, if it is known, says who leads in which epoch. Voters that have given a leader up would keep each
    /// other believing in it: in its epoch only its own word counts then.
    fn observe(&mut self, now: Instant, speaker: Option<BrokerId>, known: Known, out: &mut Outcome) {
        let later = known.epoch > self.ballot.epoch;
        let for_good = matches!(self.role, QuorumState::Resigned(Resigned { until: None }));
        if for_good && !self.planted.has(Plant::Raft51) {
            return;
        }
        let doubted = |leader: &BrokerId| !later && self.doubted == Some(*leader) && speaker != Some(*leader);
        match known.leader.filter(|leader| *leader != self.node.id && !doubted(leader)) {
            Some(leader) if later || (known.epoch == self.ballot.epoch && self.has_no_leader()) => {
                self.become_follower(now, known.epoch, leader, out);
            }
            Some(_) => {}
            None if later => self.become_unattached(now, known.epoch, out),
            None => {}
        }
    }

    const fn has_no_leader(&self) -> bool {
        match self.role {
            QuorumState::Unattached(_) | QuorumState::Prospective(_) | QuorumState::Candidate(_) => true,
            QuorumState::Leader(_) | QuorumState::Follower(_) | QuorumState::Resigned(_) => false,
        }
    }
}

/// How a [`BTreeMap`] of the calls forgets one that ended.
impl Calls {
    fn take(&mut self, id: CallId) -> Option<Asked> {
        self.open.remove(&id)
    }
}

/// The epochs of this node's log, for those who must compare it with another's.
pub type Epochs = LeaderEpochCache;
