//! What the nodes of a quorum say to each other, as far as it concerns the quorum: no wire versions, no addresses.
//!
//! | request | from | to | says |
//! |---|---|---|---|
//! | Vote | a candidate, or who would be one | each voter | how far its log goes (KIP-595, KIP-996) |
//! | Begin | a leader | each voter that has not fetched | that it leads |
//! | End | a leader that resigns | each voter | who should stand next |
//! | Fetch | a follower; who looks for a leader | the leader; anyone | how far its *durable* log goes |
//! | FetchSnapshot | who is to read what the leader's log has no more | the leader | how much of it it has (KIP-630) |
//! | UpdateVoter | a voter | the leader | where it is reached now (KIP-853) |
//! | RemoveVoter | an operator | the leader | who is a voter no more (KIP-853) |
//! | AddVoter | a node that would be a voter | the leader | where it is reached (KIP-853, KIP-1186) |

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::ErrorCode;

use super::snapshot_id::SnapshotId;
use super::voter_set::{Voter, VoterKey};
use crate::log::leader_epoch_cache::EpochEnd;
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// One request of this node's. Counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// This node.
    Node(BrokerId),
    /// Any node of the quorum, another each time: the count of such requests.
    Anyone(u64),
}

/// A request to be sent. It ends in exactly one call of [`super::Raft::on_response`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which one.
    pub id: CallId,
    /// To whom.
    pub to: Destination,
    /// What.
    pub request: Request,
}

/// What a node asks another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table above says what each is")]
pub enum Request {
    Vote(VoteRequest),
    Begin(BeginRequest),
    End(EndRequest),
    Fetch(FetchRequest),
    FetchSnapshot(SnapshotRequest),
    AddVoter(AddVoterRequest),
    UpdateVoter(UpdateVoterRequest),
    /// A voter is to be none any more.
    RemoveVoter(VoterKey),
}

/// A node asks for a vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteRequest {
    /// Who is asked; `None` if the request does not say (version 0).
    pub voter: Option<VoterKey>,
    /// The epoch that it stands in, or, before it stands, is in.
    pub epoch: LeaderEpoch,
    /// Who asks.
    pub candidate: VoterKey,
    /// The epoch of its last record; `None` if it has none.
    pub last_epoch: Option<LeaderEpoch>,
    /// Where its log ends.
    pub end: Offset,
    /// Whether it only asks, and stands if the answers are good (KIP-996).
    pub pre_vote: bool,
}

/// A node was elected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginRequest {
    /// Who is told; `None` if the request does not say (version 0).
    pub voter: Option<VoterKey>,
    /// Who leads.
    pub leader: BrokerId,
    /// In which epoch.
    pub epoch: LeaderEpoch,
}

/// A leader resigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRequest {
    /// Who led.
    pub leader: BrokerId,
    /// In which epoch.
    pub epoch: LeaderEpoch,
    /// Who should stand next, whose log goes furthest first.
    pub successors: Vec<BrokerId>,
}

/// A node reads on in the leader's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Who reads; `None` if the request does not name a directory.
    pub replica: Option<VoterKey>,
    /// The epoch that it is in.
    pub epoch: LeaderEpoch,
    /// Its log goes up to there, durably.
    pub offset: Offset,
    /// The epoch of its last record; `None` if it has none.
    pub last_epoch: Option<LeaderEpoch>,
    /// What it knows to be committed; it is told as soon as more is (KIP-1166).
    pub high_watermark: Option<Offset>,
    /// How long the answer may wait for something to say.
    pub max_wait: Duration,
}

/// A follower reads on in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Who reads; `None` if the request does not name a directory.
    pub replica: Option<VoterKey>,
    /// The epoch that it is in.
    pub epoch: LeaderEpoch,
    /// Which snapshot.
    pub id: SnapshotId,
    /// So many bytes of it the reader has.
    pub position: i64,
    /// The most that it takes, in bytes.
    pub max_bytes: u32,
}

/// A node would be a voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddVoterRequest {
    /// Who.
    pub key: VoterKey,
    /// Where it is reached.
    pub voter: Voter,
    /// Whether the answer waits until the new voters are committed.
    pub when_committed: bool,
}

/// A voter is otherwise than the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateVoterRequest {
    /// The epoch that it follows in.
    pub epoch: LeaderEpoch,
    /// Who.
    pub key: VoterKey,
    /// Where it is reached, and what it supports.
    pub voter: Voter,
}

/// What every answer tells: the answerer's epoch, and who leads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its leader, if that is known.
    pub leader: Option<BrokerId>,
}

/// An answer to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What went wrong.
    pub error: ErrorCode,
    /// What this node knows.
    pub known: Known,
    /// The rest.
    pub body: ReplyBody,
}

/// What an answer says beside what all say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// Whether the vote is given.
    Vote {
        /// It is.
        granted: bool,
    },
    /// That it was heard.
    Begin,
    /// That it was heard.
    End,
    /// What the leader's log has.
    Fetch {
        /// What is committed.
        high_watermark: Option<Offset>,
        /// What is found.
        found: Found,
    },
    /// A piece of a snapshot, which the parent reads; nothing of it with an error.
    Snapshot {
        /// Which snapshot.
        id: SnapshotId,
        /// Its size in bytes.
        size: u64,
        /// Where the piece begins.
        position: u64,
        /// The most that the reader takes, in bytes.
        max_bytes: u32,
    },
    /// Whether the voters are changed: see the error.
    Voters {
        /// For people: why not, if there is more to say than the error does.
        why: Option<&'static str>,
    },
}

/// What a leader has for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its log from this offset on, perhaps nothing. The parent reads it.
    Log(Offset),
    /// The reader's log differs from this on: the greatest epoch at or below the reader's last, and its end (KIP-595).
    Diverging(EpochEnd),
    /// What the reader needs is only in this snapshot (KIP-630).
    Snapshot(SnapshotId),
    /// Nothing: see the error.
    Nothing,
}

/// An answer that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What went wrong.
    pub error: ErrorCode,
    /// What the other node knows.
    pub known: Known,
    /// The rest.
    pub body: ResponseBody,
}

/// What an answer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// Whether the vote was given.
    Vote {
        /// It was.
        granted: bool,
    },
    /// What the leader's log has.
    Fetch {
        /// What is committed.
        high_watermark: Option<Offset>,
        /// Where this node's log differs.
        diverging: Option<EpochEnd>,
        /// The snapshot that it is to read first.
        snapshot: Option<SnapshotId>,
        /// Whole batches, perhaps none.
        records: Bytes,
    },
    /// A piece of a snapshot.
    Snapshot {
        /// Which snapshot.
        id: SnapshotId,
        /// Its size in bytes.
        size: u64,
        /// Where the piece begins.
        position: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// Nothing beside what all say.
    Heard,
}
