//! What is saved beside a segment, so that a start need not read it again.
//!
//! A checkpoint at an offset is: the active segment's indexes, the leader epochs, and then, when those are
//! durable, the snapshot of the producers, whose name is the offset. So a snapshot that is there and whole
//! proves that the indexes cover everything below it. One is made at each roll, after every so many bytes, and
//! at a clean shutdown. A start takes the newest that lies at or below what the flush journal claims, and walks
//! the batches from there on.
//!
//! Snapshots at the base of a segment stay with it, for truncations; others go when a newer one is durable and
//! at or below the durable offset.

use std::collections::VecDeque;

use bytes::Bytes;

use super::names::{self, SegmentFile};
use super::partition::{Io, Log};
use super::producer_snapshot;
use crate::storage::SaveOwner;
use crate::types::Offset;

/// A log's checkpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoints {
    /// Bytes appended since the last one.
    pub(crate) since: u64,
    /// Those being made, oldest first.
    running: VecDeque<Running>,
    /// The snapshots that are there, by offset.
    pub(crate) snapshots: Vec<Offset>,
    last_id: u64,
}

#[derive(Clone, Debug)]
struct Running {
    id: u64,
    at: Offset,
    /// Files that are being saved.
    left: u8,
    /// The snapshot, while the files before it are being saved.
    snapshot: Option<Bytes>,
    /// The log was cut below it: what is still being saved of it goes when it is there.
    is_void: bool,
}

impl Checkpoints {
    /// With the snapshots that a start found.
    pub(crate) fn found(snapshots: Vec<Offset>) -> Self {
        Self { snapshots, ..Self::default() }
    }

    /// Whether one is being made.
    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// The newest snapshot at or below an offset.
    pub(crate) fn newest_at(&self, offset: Offset) -> Option<Offset> {
        self.snapshots.iter().copied().rfind(|&at| at <= offset)
    }

    /// The log was cut at an offset: what is being made above it describes records that are no more.
    pub(crate) fn drop_above(&mut self, offset: Offset) {
        for running in self.running.iter_mut().filter(|running| running.at > offset) {
            running.is_void = true;
        }
    }
}

impl Log {
    /// Makes one at the log's end.
    pub(crate) fn checkpoint(&mut self, io: &mut Io<'_>) {
        self.checkpoints.since = 0;
        let at = self.log_end;
        let is_running = |running: &Running| running.at == at && !running.is_void;
        if self.checkpoints.running.iter().any(is_running) || self.has_checkpoint() {
            return;
        }
        self.active_mut().close_time_index();
        self.checkpoints.last_id += 1;
        let id = self.checkpoints.last_id;
        let owner = SaveOwner::Checkpoint(self.id, id);
        let mut left = 0;
        for (file, bytes) in self.index_files() {
            let path = self.file(self.active().base, file);
            io.storage.save(path, bytes, owner, io.out);
            left += 1;
        }
        let epochs = self.derived.epochs.encode().into();
        io.storage.save(self.path.join(names::LEADER_EPOCH_CHECKPOINT), epochs, owner, io.out);
        self.checkpoints.running.push_back(Running {
            id,
            at,
            left: left + 1,
            snapshot: Some(producer_snapshot::encode(&self.derived.producers).into()),
            is_void: false,
        });
    }

    /// Whether the log's end has a checkpoint already, or needs none because nothing was ever in the log.
    pub(crate) fn has_checkpoint(&self) -> bool {
        let never_used = self.segments.len() == 1 && self.active().size == 0 && self.log_end == Offset::ZERO;
        never_used || self.checkpoints.snapshots.last() == Some(&self.log_end)
    }

    fn index_files(&self) -> Vec<(SegmentFile, Bytes)> {
        let Some(indexes) = &self.active().indexes else {
            return Vec::new();
        };
        let mut files = vec![
            (SegmentFile::OffsetIndex, indexes.offsets.encode().into()),
            (SegmentFile::TimeIndex, indexes.times.encode().into()),
        ];
        if !indexes.aborted.entries().is_empty() {
            files.push((SegmentFile::TxnIndex, indexes.aborted.encode().into()));
        }
        files
    }

    /// A file of a checkpoint is durable.
    pub(crate) fn on_checkpoint_saved(&mut self, id: u64, io: &mut Io<'_>) {
        let Some(at) = self.checkpoints.running.iter().position(|running| running.id == id) else {
            return;
        };
        let running = &mut self.checkpoints.running[at];
        running.left -= 1;
        if running.left > 0 {
            return;
        }
        let (offset, is_void) = (running.at, running.is_void);
        if let Some(snapshot) = running.snapshot.take() {
            if is_void {
                self.checkpoints.running.remove(at);
                return;
            }
            running.left = 1;
            let owner = SaveOwner::Checkpoint(self.id, id);
            io.storage.save(self.file(offset, SegmentFile::Snapshot), snapshot, owner, io.out);
            return;
        }
        self.checkpoints.running.remove(at);
        if is_void {
            let path = self.file(offset, SegmentFile::Snapshot);
            return io.storage.retire(self.id, &path, self.config.file_delete_delay, io.out);
        }
        if let Err(place) = self.checkpoints.snapshots.binary_search(&offset) {
            self.checkpoints.snapshots.insert(place, offset);
        }
        self.prune_snapshots(io);
    }

    /// Removes the snapshots that no start and no truncation will ask for.
    fn prune_snapshots(&mut self, io: &mut Io<'_>) {
        let durable = self.offsets(io.storage).durable;
        let Some(newest) = self.checkpoints.newest_at(durable) else {
            return;
        };
        let bases: Vec<Offset> = self.segments.iter().map(|segment| segment.base).collect();
        let goes = |at: &Offset| *at < newest && bases.binary_search(at).is_err();
        let gone: Vec<Offset> = self.checkpoints.snapshots.iter().copied().filter(goes).collect();
        self.checkpoints.snapshots.retain(|at| !goes(at));
        for at in gone {
            let path = self.file(at, SegmentFile::Snapshot);
            io.storage.retire(self.id, &path, self.config.file_delete_delay, io.out);
        }
    }

    /// The leader epochs by themselves: a new one began, or a truncation took one.
    pub(crate) fn save_epochs(&mut self, io: &mut Io<'_>) {
        let bytes = self.derived.epochs.encode().into();
        let path = self.path.join(names::LEADER_EPOCH_CHECKPOINT);
        io.storage.save(path, bytes, SaveOwner::Epochs(self.id), io.out);
    }
}
