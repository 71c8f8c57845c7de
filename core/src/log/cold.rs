//! Older segments: their files are opened and their indexes read when asked for, and given up beyond a bound.
//!
//! An index that is missing or cannot be right is as if it were empty: a walk then starts at the segment's
//! beginning, and what it finds on the way is remembered. Nothing is guessed from it (S2).

use super::api::Damage;
use super::manager::LogManager;
use super::names::SegmentFile;
use super::offset_index::OffsetIndex;
use super::partition::{Condition, Io, JobFor, Log};
use super::scan::{Purpose, Scan};
use super::segment::{Handle, Indexes, Saved};
use super::time_index::TimeIndex;
use super::txn_index::TxnIndex;
use super::walk::Walk;
use crate::job::Job;
use crate::machine::{DiskError, DiskResult, Effects, FileAction, OpenMode};
use crate::storage::{LoadOwner, LogOp, Owner, Storage};
use crate::types::Offset;

/// What a load brings: the file, `None` if it is not there, or why it cannot be read.
pub(crate) type Loaded = Result<Option<bytes::Bytes>, DiskError>;

impl Log {
    /// Runs a job over a segment for the log itself, as soon as the segment's file is open.
    pub(crate) fn scan(&mut self, base: Offset, walk: Walk, purpose: Purpose, owner: JobFor, io: &mut Io<'_>) {
        self.open(base, io);
        let job = |file| Job::Scan(Some(Box::new(Scan::new(file, walk, purpose))));
        match self.segment_mut(base).map(|segment| segment.file) {
            Some(Handle::Open(file)) => {
                io.jobs.run(job(file), owner, io.out);
            }
            Some(Handle::Opening(file)) => self.questions.held = Some((base, job(file), owner)),
            Some(Handle::Closed) | None => {}
        }
    }

    /// Opens a segment's file, if it is not.
    pub(super) fn open(&mut self, base: Offset, io: &mut Io<'_>) {
        let path = self.file(base, SegmentFile::Log);
        let file = io.storage.new_file();
        let (id, dir) = (self.id, self.dir());
        let Some(segment) = self.segment_mut(base).filter(|segment| segment.file == Handle::Closed) else {
            return;
        };
        segment.file = Handle::Opening(file);
        let open = FileAction::Open { file, path, mode: OpenMode::Existing };
        io.storage.act(dir, Owner::Log(id, LogOp::Opened(base)), open, io.out);
    }

    /// An older segment's file is open, or cannot be.
    pub(crate) fn on_opened(&mut self, base: Offset, result: &DiskResult, io: &mut Io<'_>) {
        let Some(segment) = self.segment_mut(base) else {
            return;
        };
        let file = match segment.file {
            Handle::Opening(file) => file,
            // A cut has made it the active one meanwhile. Whoever waited for it goes on; where the open failed, so does
            // the cut, and the directory is offline.
            Handle::Open(_) => return self.go_on_with(base, io),
            Handle::Closed => return,
        };
        match result {
            DiskResult::Opened { len } if *len >= u64::from(segment.size) => {
                segment.file = Handle::Open(file);
                io.cold.push_back((self.id, base));
                self.go_on_with(base, io);
            }
            DiskResult::Opened { .. }
            | DiskResult::Done
            | DiskResult::Bytes(_)
            | DiskResult::Entries(_)
            | DiskResult::Space(_)
            | DiskResult::Failed(_) => {
                let pos = segment.size;
                segment.file = Handle::Closed;
                self.questions.held = None;
                let why = format!("the segment cannot be opened whole: {result}");
                let unreadable = matches!(result, DiskResult::Failed(_));
                self.damaged(Damage { segment: base, pos, why, unreadable }, io);
            }
        }
    }

    /// A segment is open: whoever waited for that.
    fn go_on_with(&mut self, base: Offset, io: &mut Io<'_>) {
        if let Some((_, job, owner)) = self.questions.held.take_if(|(held, ..)| *held == base) {
            io.jobs.run(job, owner, io.out);
        }
        self.answer_idle(io);
    }

    /// Reads a segment's indexes, one file after the other.
    pub(crate) fn load_indexes(&mut self, base: Offset, io: &mut Io<'_>) {
        if self.questions.loading.contains_key(&base) {
            return;
        }
        self.questions.loading.insert(base, None);
        let path = self.file(base, SegmentFile::OffsetIndex);
        io.storage.load(path, LoadOwner::Index(self.id, base), io.out);
    }

    pub(crate) fn on_index_loaded(&mut self, base: Offset, bytes: Loaded, io: &mut Io<'_>) {
        self.questions.loading.insert(base, bytes.ok().flatten());
        let path = self.file(base, SegmentFile::TimeIndex);
        io.storage.load(path, LoadOwner::TimeIndex(self.id, base), io.out);
    }

    pub(crate) fn on_time_index_loaded(&mut self, base: Offset, bytes: Loaded, io: &mut Io<'_>) {
        let offsets = self.questions.loading.remove(&base).flatten();
        let times = bytes.ok().flatten();
        let end = self.end_of(self.segment_at(base));
        let max = self.config.index_size_max_bytes as usize;
        let config = self.config.clone();
        let Some(segment) = self.segment_mut(base) else {
            return;
        };
        let offsets = offsets.and_then(|bytes| OffsetIndex::parse(base, max, &bytes, segment.size).ok());
        let times = times.and_then(|bytes| TimeIndex::parse(base, max, &bytes, end).ok());
        let last = times.as_ref().map(TimeIndex::last);
        let first = times.as_ref().and_then(|times| times.entries().next()).map(|first| first.timestamp);
        if segment.times.ceiling.is_none() {
            segment.times.first = segment.times.first.or(first);
            segment.times.greatest = last;
            segment.times.ceiling = Some(last.map_or(i64::MAX, |last| last.timestamp));
        }
        if segment.indexes.is_none() {
            let size = segment.size;
            segment.indexes = Some(match (offsets, times) {
                (Some(offsets), Some(times)) => Indexes::loaded(offsets, times, TxnIndex::new(), size),
                _ => Indexes::new(base, &config),
            });
        }
        self.answer_idle(io);
        io.cold.push_back((self.id, base));
    }

    /// Gives up what is held of an older segment. `false`: somebody is using it.
    pub(crate) fn close_cold(&mut self, base: Offset, storage: &mut Storage, out: &mut Effects) -> bool {
        // A job may be reading it.
        if !self.questions.is_empty() || self.condition == Condition::Rebuilding {
            return false;
        }
        if self.checkpoints.cleaner.swapping.is_some_and(|end| base < end) {
            return false;
        }
        let (is_active, id, dir) = (self.active().base == base, self.id, self.dir());
        let is_saving = SegmentFile::INDEXES.into_iter().any(|file| storage.is_saving(&self.file(base, file)));
        let Some(segment) = self.segment_mut(base).filter(|_| !is_active) else {
            return true;
        };
        // What is not on the disk yet cannot be read from there again.
        if segment.saved != Saved::Whole || is_saving {
            return false;
        }
        if let Handle::Open(file) = segment.file {
            // Its last bytes may still wait for a sync, or to be sent.
            if storage.is_dirty(id, file) || storage.is_pinned(file) {
                return false;
            }
            storage.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
        }
        segment.file = Handle::Closed;
        segment.indexes = None;
        segment.places.clear();
        true
    }
}

impl LogManager {
    /// Gives up older segments beyond the bound, those that were taken up first. Not while answers wait to be fetched:
    /// the ranges in them are not pinned yet.
    pub(super) fn shed_cold(&mut self, out: &mut Effects) {
        if !self.parts.events.is_empty() {
            return;
        }
        let mut tries = self.parts.cold.len().saturating_sub(self.parts.config.cold_segments);
        while tries > 0 {
            tries -= 1;
            let Some((id, base)) = self.parts.cold.pop_front() else {
                return;
            };
            let log = self.logs.get_mut(id.0 as usize).and_then(Option::as_mut);
            if log.is_some_and(|log| !log.close_cold(base, &mut self.parts.storage, out)) {
                self.parts.cold.push_back((id, base));
            }
        }
    }
}
