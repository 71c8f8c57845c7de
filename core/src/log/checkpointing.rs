//! What is saved beside a segment, so that a start need not read it again.
//!
//! A checkpoint at an offset is: the indexes that are not saved, the leader epochs, and then, when those are
//! durable, the snapshot of the producers, whose name is the offset. So a snapshot that is there and whole
//! proves that the indexes of older segments are whole, and that what the active one's say below it is true. One is
//! made at each roll, after every so many bytes, and at a clean shutdown; snapshots become durable in the order of
//! their offsets. A start takes the newest that lies at or below what the flush journal claims, and walks the batches
//! from there on. Index files that may say more than it has proved are retired (S2): [`super::recovered`].
//!
//! Snapshots at the base of a segment stay with it, for truncations; others go when a newer one is durable and
//! at or below the durable offset. A segment that is deleted stays until a snapshot at its end or above is durable,
//! because producers outlive their records: [`super::retention`], and at a start [`super::recovery`].

use std::collections::VecDeque;

use bytes::Bytes;

use super::cleaning::CleanerState;
use super::names::{self, SegmentFile};
use super::partition::{Io, Log};
use super::producer_snapshot;
use super::retention::Leaving;
use super::segment::{Indexes, Saved, Segment};
use crate::storage::SaveOwner;
use crate::types::Offset;

/// A log's checkpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoints {
    /// Bytes appended since the last one.
    pub(crate) since: u64,
    /// Those being made, oldest first.
    running: VecDeque<Running>,
    /// Below it all is deleted, durably; files of it may still wait for a snapshot.
    pub(crate) deleted: Offset,
    /// The snapshots that are there, by offset.
    pub(crate) snapshots: Vec<Offset>,
    /// How far the log is clean, and whether it is being cleaned.
    pub(crate) cleaner: CleanerState,
    /// The segment that makes room in a full directory.
    pub(crate) leaving: Option<Box<Leaving>>,
    last_id: u64,
}

#[derive(Clone, Debug)]
struct Running {
    id: u64,
    at: Offset,
    /// Files that are being saved.
    left: usize,
    /// The snapshot, while the files before it are being saved.
    snapshot: Option<Bytes>,
    /// The log was cut below it: its snapshot is not to be there any more.
    is_void: bool,
}

impl Checkpoints {
    /// With the snapshots that a start found, of a log that begins at `deleted` and is clean up to `clean`.
    pub(crate) fn found(snapshots: Vec<Offset>, deleted: Offset, clean: Offset) -> Self {
        Self { snapshots, deleted, cleaner: CleanerState { to: clean, ..CleanerState::default() }, ..Self::default() }
    }

    /// Whether one is being made.
    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// The newest snapshot at or below an offset.
    pub(crate) fn newest_at(&self, offset: Offset) -> Option<Offset> {
        self.snapshots.iter().copied().rfind(|&at| at <= offset)
    }

    /// The log was cut at an offset: what is being made above it describes records that are no more. The offsets of
    /// the snapshots that are being saved.
    fn drop_above(&mut self, offset: Offset) -> Vec<Offset> {
        let mut saving = Vec::new();
        for running in self.running.iter_mut().filter(|running| running.at > offset && !running.is_void) {
            running.is_void = true;
            saving.extend(running.snapshot.is_none().then_some(running.at));
        }
        saving
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
        self.checkpoints.last_id += 1;
        let id = self.checkpoints.last_id;
        let owner = SaveOwner::Checkpoint(self.id, id);
        let active = self.active().base;
        let unsaved = self.segments.iter_mut().filter(|it| it.base == active || it.saved != Saved::Whole);
        let files: Vec<_> = unsaved.flat_map(Segment::index_files).collect();
        let left = files.len();
        for (base, file, bytes) in files {
            io.storage.save(self.file(base, file), bytes, owner, io.out);
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
        let is_saved = |(place, segment): (usize, &Segment)| match segment.saved {
            Saved::Whole => true,
            // What lies below the checkpoint is there.
            Saved::Partly => place == 0,
            Saved::Never => segment.size == 0,
        };
        let at_end = self.checkpoints.snapshots.last() == Some(&self.log_end);
        never_used || at_end && self.segments.iter().rev().enumerate().all(is_saved)
    }

    /// What a cut has left of the active segment's indexes, which are retired.
    pub(crate) fn save_indexes(&mut self, io: &mut Io<'_>) {
        let is_empty = self.active().indexes.as_ref().is_none_or(Indexes::is_empty);
        let files = if is_empty { Vec::new() } else { self.active_mut().index_files() };
        for (base, file, bytes) in files {
            io.storage.save(self.file(base, file), bytes, SaveOwner::Indexes(self.id), io.out);
        }
    }

    /// A file of a checkpoint is durable.
    pub(crate) fn on_checkpoint_saved(&mut self, id: u64, io: &mut Io<'_>) {
        let running = self.checkpoints.running.iter_mut().find(|running| running.id == id);
        let Some(running) = running else {
            return;
        };
        running.left -= 1;
        while let Some(mut first) = self.checkpoints.running.pop_front_if(|first| first.left == 0) {
            match first.snapshot.take() {
                _ if first.is_void => {}
                Some(snapshot) => {
                    first.left = 1;
                    let owner = SaveOwner::Checkpoint(self.id, first.id);
                    let path = self.file(first.at, SegmentFile::Snapshot);
                    self.checkpoints.running.push_front(first);
                    return io.storage.save(path, snapshot, owner, io.out);
                }
                None => self.take_snapshot(first.at, io),
            }
        }
    }

    /// The log was cut: the snapshots go that are being made above its end. Before the log can be durable above it
    /// again: a start would take one for what proves the records that came instead.
    pub(crate) fn void_above(&mut self, end: Offset, io: &mut Io<'_>) {
        for at in self.checkpoints.drop_above(end) {
            io.storage.supersede(&self.file(at, SegmentFile::Snapshot));
            self.retire_file(at, SegmentFile::Snapshot, io);
        }
    }

    /// A snapshot is durable.
    fn take_snapshot(&mut self, at: Offset, io: &mut Io<'_>) {
        if let Err(place) = self.checkpoints.snapshots.binary_search(&at) {
            self.checkpoints.snapshots.insert(place, at);
        }
        self.prune_snapshots(io);
        self.delete_below(self.checkpoints.deleted, io);
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

    /// The leader epochs by themselves: a truncation took one.
    pub(crate) fn save_epochs(&mut self, io: &mut Io<'_>) {
        let bytes = self.derived.epochs.encode().into();
        let path = self.path.join(names::LEADER_EPOCH_CHECKPOINT);
        io.storage.save(path, bytes, SaveOwner::Epochs(self.id), io.out);
    }
}
