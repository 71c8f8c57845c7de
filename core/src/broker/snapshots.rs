//! Snapshots of the metadata on this node (KIP-630): when one is written, which are kept, and where the log begins by
//! them. Every node writes its own, of what is committed.
//!
//! * [`serving`]: pieces for those whose log ends before this one begins
//! * [`installing`]: a leader's snapshot, which takes the place of the log
//! * [`starting`]: what a start finds
//!
//! As in Kafka the log begins at 0 or where the oldest snapshot ends, so that what lies below can always be told. Of
//! two or more snapshots the oldest goes when log and snapshots are larger than `metadata.max.retention.bytes`, or when
//! it is older than `metadata.max.retention.ms`: first the log begins later, durably, then its file is removed.

mod installing;
mod serving;
mod starting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use self::serving::Serving;
use super::boot::{METADATA_DIR, Phase};
use super::{Broker, Pending};
use crate::clock::{Instant, Now};
use crate::controller::{METADATA_TOPIC, Snapshot};
use crate::log::{LogId, SaveRequest};
use crate::machine::{Effects, Level, Path};
use crate::planted::Plant;
use crate::raft::SnapshotId;
use crate::storage::MAX_FILE;
use crate::types::{LeaderEpoch, Offset};

/// The snapshots of this node.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshots {
    /// Those that are durable.
    kept: BTreeMap<SnapshotId, Kept>,
    /// Those that are being made so; with those that came from the leader goes what they say.
    saving: BTreeMap<SnapshotId, (Kept, Option<Box<Snapshot>>)>,
    /// The leader's, durable here, which waits until the log can be begun anew.
    installing: Option<Box<Snapshot>>,
    /// What has come of the leader's.
    partial: BytesMut,
    serving: BTreeMap<SnapshotId, Serving>,
    /// Files that are to go when the log is known to begin later.
    going: BTreeSet<SnapshotId>,
    /// Files that are not what was written. They go when there is a newer one.
    damaged: BTreeSet<SnapshotId>,
    /// When the last one was written, or the process began.
    last_at: Option<Instant>,
    /// One was found damaged: the next is written at once.
    overdue: bool,
}

/// A snapshot's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    bytes: u64,
    /// Of the last batch of the log that is in it; `None` if nobody has looked.
    last_timestamp: Option<i64>,
}

/// What is asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// It is durable.
    Saved(SnapshotId),
    /// Its bytes, for those who read it.
    Read(SnapshotId),
}

impl Snapshots {
    /// The epoch before a log that ends at `end` and has no records.
    pub(super) fn epoch_before(&self, end: Offset) -> Option<LeaderEpoch> {
        self.kept.keys().find(|id| id.end == end).map(|id| id.epoch)
    }

    pub(super) fn sizes(&self) -> BTreeMap<SnapshotId, u64> {
        self.kept.iter().map(|(id, kept)| (*id, kept.bytes)).collect()
    }

    /// No snapshot of a leader's is being read any more.
    pub(super) fn forget_partial(&mut self) {
        self.partial = BytesMut::new();
    }

    /// The oldest, if there is a newer one, and that.
    fn two_oldest(&self) -> Option<(SnapshotId, SnapshotId)> {
        let mut ids = self.kept.keys().copied();
        Some((ids.next()?, ids.next()?))
    }
}

impl Broker {
    /// More of the metadata is committed: writes a snapshot, if one is due.
    pub(super) fn consider_snapshot(&mut self, now: Now, out: &mut Effects) {
        self.shed_snapshots(now, out);
        let grown = self.metadata.controller.grown();
        let config = &self.config.broker.metadata;
        let snapshots = &mut self.metadata.snapshots;
        let last_at = *snapshots.last_at.get_or_insert(now.monotonic);
        let interval = Duration::from_millis(config.max_snapshot_interval_ms);
        let waited = !interval.is_zero() && grown.bytes > 0 && now.monotonic.since(last_at) >= interval;
        let due = grown.bytes >= config.max_record_bytes_between_snapshots || waited || snapshots.overdue;
        let busy = !snapshots.saving.is_empty() || snapshots.installing.is_some();
        if !due || busy || matches!(self.phase, Phase::Stopping | Phase::Stopped) {
            return;
        }
        let end = self.image().end();
        let (Some(log), Some(raft)) = (self.metadata.log(), self.metadata.raft()) else { return };
        let Some(epoch) = self.metadata_epoch(log, end) else { return };
        let inclusive = self.config.planted.has(Plant::Raft21);
        let id = SnapshotId { end: if inclusive { end + -1 } else { end }, epoch };
        if self.metadata.snapshots.kept.contains_key(&id) || !self.logs.is_usable(METADATA_DIR) {
            return;
        }
        let voters = raft.voters_before(end).cloned();
        let snapshot = Snapshot { id, last_timestamp: grown.last_timestamp, voters, image: self.image().clone() };
        let bytes = Bytes::from(snapshot.encode(self.config.planted));
        self.metadata.controller.on_snapshot();
        self.metadata.snapshots.last_at = Some(now.monotonic);
        self.metadata.snapshots.overdue = false;
        if bytes.len() as u64 > MAX_FILE {
            // No start could read it, and the log would go that it stands for.
            let size = bytes.len();
            let text = format!("a snapshot up to {id} has {size} bytes, more than {MAX_FILE}: it is not written");
            return out.note(Level::Error, text);
        }
        self.save_snapshot((id, grown.last_timestamp), bytes, None, out);
    }

    /// The epoch of the record before `end` in the metadata log, or of the snapshot that ends there.
    pub(super) fn metadata_epoch(&self, log: LogId, end: Offset) -> Option<LeaderEpoch> {
        self.logs.epoch_of(log, end + -1).or_else(|| self.metadata.snapshots.epoch_before(end))
    }

    fn save_snapshot(
        &mut self,
        (id, last_timestamp): (SnapshotId, i64),
        bytes: Bytes,
        fetched: Option<Box<Snapshot>>,
        out: &mut Effects,
    ) {
        let kept = Kept { bytes: bytes.len() as u64, last_timestamp: Some(last_timestamp) };
        self.metadata.snapshots.saving.insert(id, (kept, fetched));
        let ticket = self.questions.ask(Pending::Snapshot(Question::Saved(id)));
        self.logs.save(SaveRequest { path: snapshot_path(id), bytes, ticket }, out);
    }

    /// A snapshot is durable.
    pub(super) fn on_snapshot_saved(&mut self, now: Now, id: SnapshotId, out: &mut Effects) {
        let snapshots = &mut self.metadata.snapshots;
        let Some((kept, fetched)) = snapshots.saving.remove(&id) else { return };
        snapshots.kept.insert(id, kept);
        snapshots.going.remove(&id);
        snapshots.damaged.remove(&id);
        for damaged in std::mem::take(&mut snapshots.damaged) {
            self.logs.remove(snapshot_path(damaged), out);
        }
        self.tell_snapshots();
        if let Some(fetched) = fetched {
            self.metadata.snapshots.installing = Some(fetched);
            return self.install_snapshot(now, out);
        }
        out.note(Level::Info, format!("wrote a snapshot of the metadata up to {id}, {} bytes", kept.bytes));
        self.shed_snapshots(now, out);
    }

    fn tell_snapshots(&mut self) {
        let sizes = self.metadata.snapshots.sizes();
        if let Some(raft) = self.metadata.raft_mut() {
            raft.on_snapshots(sizes);
        }
    }

    /// Lets the oldest snapshot go, and the log below the next one, if they are more than is to be kept. Nothing of the
    /// log goes that is not durable: its end must never lie below its start.
    fn shed_snapshots(&mut self, now: Now, out: &mut Effects) {
        let Some((oldest, next)) = self.metadata.snapshots.two_oldest() else { return };
        let Some(log) = self.metadata.log() else { return };
        let config = &self.config.broker.metadata;
        let kept = &self.metadata.snapshots.kept;
        let size = self.logs.size(log) + kept.values().map(|kept| kept.bytes).sum::<u64>();
        let too_much = config.max_retention_bytes.is_some_and(|most| size > most);
        // Of one that nobody has looked into, the next one tells how old it is at least.
        let last_timestamp = kept.values().find_map(|kept| kept.last_timestamp);
        let age = self.logs.confirmed_time(now).zip(last_timestamp).map(|(now, then)| now.0.saturating_sub(then));
        let too_old = config.max_retention_ms.zip(age).is_some_and(|(most, age)| i128::from(age) > i128::from(most));
        let durable = self.logs.offsets(log).unwrap_or_default().durable;
        // What an earlier one begins with must be gone first: then the log is as small as it is said to be.
        let waits = !self.metadata.snapshots.going.is_empty() || next.end > durable;
        if waits || !(too_much || too_old) {
            return;
        }
        self.metadata.snapshots.going.insert(oldest);
        self.forget_snapshot(oldest);
        self.tell_snapshots();
        self.logs.advance_log_start(now, log, next.end, out);
        self.on_metadata_progress(now, out);
    }

    /// The metadata log begins later, durably: what only went with what lay before goes.
    pub(super) fn on_metadata_start_saved(&mut self, now: Now, start: Offset, out: &mut Effects) {
        let going = std::mem::take(&mut self.metadata.snapshots.going);
        let (gone, stays) = going.into_iter().partition(|id| id.end < start);
        self.metadata.snapshots.going = stays;
        let gone: BTreeSet<SnapshotId> = gone;
        for id in gone {
            self.logs.remove(snapshot_path(id), out);
        }
        self.shed_snapshots(now, out);
    }

    /// A snapshot is no more one that can be read.
    fn forget_snapshot(&mut self, id: SnapshotId) {
        self.metadata.snapshots.kept.remove(&id);
        self.refuse_readers(id);
    }
}

/// Where a snapshot lies.
fn snapshot_path(id: SnapshotId) -> Path {
    Path::new(METADATA_DIR, format!("{METADATA_TOPIC}-0/{}", id.file_name()))
}
