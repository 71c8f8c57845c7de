//! Snapshots (KIP-630): who is told to read one, who reads it, and what takes the place of what.
//!
//! A leader keeps its log from where its oldest snapshot ends. Who has less, or ends below in an epoch that the log
//! does not tell of any more, reads the newest snapshot piece by piece, and goes on behind it. What is in a snapshot is
//! committed: nothing that a node knew to be committed can be lost by it, and what was not is no part of it.
//!
//! A reader begins anew with each leader and each epoch; with the same one it goes on where an answer did not come.
//! The snapshot is durable before the log goes that it takes the place of (RAFT-19), and who has it goes on from its
//! end, which is the first offset that is not in it (RAFT-21).

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_wire::ErrorCode;

use super::messages::{CallId, Destination, FetchRequest, Found, ReplyBody, Request, SnapshotRequest};
use super::quorum_state::{Download, Fetching, QuorumState};
use super::snapshot_id::SnapshotId;
use super::voter_set::VoterSet;
use super::voters::VoterHistory;
use super::{Asked, Epochs, Outcome, Raft};
use crate::clock::Now;
use crate::log::leader_epoch_cache::EpochEnd;
use crate::machine::Ticket;
use crate::types::Offset;

/// A piece of a snapshot that was read from the leader. Pieces come in order, each once; one at position 0 begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Of which snapshot.
    pub id: SnapshotId,
    /// Where it begins.
    pub position: u64,
    /// Of the whole snapshot, in bytes.
    pub size: u64,
    /// The piece.
    pub bytes: Bytes,
    /// Whether the snapshot is whole with it.
    pub last: bool,
}

impl Raft {
    /// These snapshots are durable here, each with its size in bytes.
    pub fn on_snapshots(&mut self, snapshots: BTreeMap<SnapshotId, u64>) {
        self.snapshots = snapshots;
    }

    /// A snapshot of an [`Outcome`] is durable and has taken the place of the log, which begins and ends where it ends;
    /// or the log has more by now, or the snapshot could not be read, and is not `taken`. `voters` are those that it
    /// names. [`Raft::on_log`] follows.
    pub fn on_installed(&mut self, now: Now, id: SnapshotId, voters: Option<VoterSet>, taken: bool) -> Outcome {
        let mut out = Outcome::default();
        // What was asked before of another log is of no use.
        if let QuorumState::Follower(it) = &mut self.role
            && (taken || it.download.is_some_and(|download| download.id == id))
        {
            let later = Fetching::Later(now.monotonic + self.config.retry_backoff);
            it.download = None;
            it.fetching = if taken { Fetching::Idle } else { later };
        }
        if taken {
            let mut history = VoterHistory::default();
            if let Some(voters) = voters {
                // Before its end, so that no cut takes it away.
                history.add(id.end + -1, voters);
            }
            self.voters = history;
            self.log.start = id.end;
            self.log.end = id.end;
            self.log.last_epoch = Some(id.epoch);
            if self.high_watermark < Some(id.end) {
                self.high_watermark = Some(id.end);
                out.high_watermark = Some(id.end);
            }
            self.on_voters_changed(now, &mut out);
        }
        self.settle(now, out)
    }

    /// The snapshot that is being read from the leader.
    #[must_use]
    pub const fn download(&self) -> Option<Download> {
        match &self.role {
            QuorumState::Follower(it) => it.download,
            QuorumState::Unattached(_)
            | QuorumState::Prospective(_)
            | QuorumState::Candidate(_)
            | QuorumState::Leader(_)
            | QuorumState::Resigned(_) => None,
        }
    }

    /// What a reader is told whose log does not go on in this one from where it ends; `None` if it does.
    pub(super) fn parts_from(&self, fetch: &FetchRequest, epochs: &Epochs) -> Option<Found> {
        let (start, end) = (self.log.start, self.log.end);
        let oldest = self.snapshots.keys().next().copied();
        let newest = self.snapshots.keys().next_back().copied().map_or(Found::Nothing, Found::Snapshot);
        let is_whole = start == Offset::ZERO;
        let Some(last_epoch) = fetch.last_epoch else {
            let is_empty = fetch.offset == Offset::ZERO;
            return (!is_empty || !is_whole).then_some(if is_empty { newest } else { Found::Nothing });
        };
        if let Some(oldest) = oldest.filter(|_| !is_whole) {
            let differs = fetch.offset == start && last_epoch != oldest.epoch;
            if fetch.offset < start || last_epoch < oldest.epoch || differs {
                let (newest, _) = self.snapshots.last_key_value()?;
                // Its end is of an epoch that this log had left behind before it began: it takes no snapshot for what
                // it lacks before it has cut that.
                let is_ahead = newest.is_ahead_of(Some(last_epoch), fetch.offset);
                let parts = EpochEnd { epoch: oldest.epoch, end_offset: start };
                return Some(if is_ahead { Found::Snapshot(*newest) } else { Found::Diverging(parts) });
            }
        }
        let is_told = epochs.earliest().is_some_and(|earliest| earliest.epoch <= last_epoch);
        let known = match oldest.filter(|_| !is_whole && !is_told) {
            // All that the log tells of is later: what lies below ends where it begins.
            Some(oldest) => Some(EpochEnd { epoch: oldest.epoch, end_offset: start }),
            None => epochs.end_offset_for(last_epoch, end).or_else(|| {
                let latest = epochs.latest()?;
                epochs.end_offset_for(latest.epoch, end)
            }),
        };
        match known {
            Some(known) if known.epoch == last_epoch && fetch.offset <= known.end_offset => None,
            known => Some(known.map_or(Found::Nothing, Found::Diverging)),
        }
    }

    /// Another node reads on in a snapshot.
    pub(super) fn on_fetch_snapshot(&mut self, now: Now, ticket: Ticket, fetch: &SnapshotRequest, out: &mut Outcome) {
        let size = self.snapshots.get(&fetch.id).copied();
        let position = u64::try_from(fetch.position).ok().filter(|position| size.is_some_and(|size| *position < size));
        let error = match (self.leads_in(fetch.epoch), size, position) {
            (Err(error), ..) => error,
            (_, None, _) => ErrorCode::SNAPSHOT_NOT_FOUND,
            (_, _, None) => ErrorCode::POSITION_OUT_OF_RANGE,
            (Ok(()), Some(_), Some(_)) => ErrorCode::NONE,
        };
        if let (ErrorCode::NONE, QuorumState::Leader(leader), Some(replica)) = (error, &mut self.role, fetch.replica) {
            leader.note_awake(replica, now);
        }
        let (size, position) = (size.unwrap_or_default(), position.unwrap_or_default());
        let body = ReplyBody::Snapshot { id: fetch.id, size, position, max_bytes: fetch.max_bytes };
        self.reply(ticket, error, body, out);
    }

    /// The leader says that what follows this log is only in a snapshot.
    pub(super) fn on_snapshot_needed(&mut self, id: SnapshotId) {
        let log = self.log;
        let is_sound = id.is_ahead_of(log.last_epoch, log.end) && Some(id.end) > self.high_watermark;
        if let QuorumState::Follower(it) = &mut self.role
            && is_sound
        {
            it.download = Some(Download { id, size: None, position: 0 });
            it.fetching = Fetching::Idle;
        }
    }

    /// Asks for more of the snapshot that is being read.
    pub(super) fn fetch_piece(&mut self, download: Download, to: Destination, out: &mut Outcome) -> CallId {
        let epoch = self.ballot.epoch;
        let request = SnapshotRequest {
            replica: Some(self.node),
            epoch,
            id: download.id,
            position: i64::try_from(download.position).unwrap_or(i64::MAX),
            max_bytes: u32::MAX,
        };
        let leader = self.leader();
        self.call(to, Request::FetchSnapshot(request), Asked::Fetch { epoch, leader }, out)
    }

    /// A piece came. One that is not the next is not taken, and the reading begins anew with a fetch.
    pub(super) fn on_piece(&mut self, (id, size, position): (SnapshotId, u64, u64), bytes: Bytes, out: &mut Outcome) {
        let QuorumState::Follower(it) = &mut self.role else { return };
        let end = position + bytes.len() as u64;
        let is_next = |download: &Download| {
            let same = (download.id, download.position) == (id, position);
            same && download.size.is_none_or(|known| known == size) && !bytes.is_empty() && end <= size
        };
        it.download = it.download.filter(is_next);
        if let Some(download) = &mut it.download {
            (download.size, download.position) = (Some(size), end);
            let last = end == size;
            it.fetching = if last { Fetching::Installing } else { Fetching::Idle };
            out.piece = Some(Piece { id, position, size, bytes, last });
        }
    }

    /// The leader has not what this node would read: it asks again where it is to read on.
    pub(super) fn on_no_piece(&mut self, error: ErrorCode) {
        if let QuorumState::Follower(it) = &mut self.role
            && matches!(error, ErrorCode::SNAPSHOT_NOT_FOUND | ErrorCode::POSITION_OUT_OF_RANGE)
        {
            it.download = None;
        }
    }
}
