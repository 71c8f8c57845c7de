//! Cutting the log's end, in memory at once; the files follow ([`crate::storage`] says in which order).
//!
//! A cut is exact: it ends the log before the batch that holds the offset. Where that batch starts is known near
//! the end of the log; further back a job has to look, and until it has the log takes and gives nothing.

use super::api::{LogEvent, ReadRequest, Ticket};
use super::checkpointing::Checkpoints;
use super::leader_epoch_cache::LeaderEpochCache;
use super::manager::LogManager;
use super::names::SegmentFile;
use super::offset_index::OffsetPosition;
use super::partition::{Condition, Io, JobFor, Log};
use super::producer_snapshot;
use super::producer_state::{MAX_PRODUCERS, ProducerState, Truncated};
use super::questions::Search;
use super::scan::{Check, Purpose, Scan};
use super::segment::{Handle, Indexes, Saved, Segment};
use super::time_index::TimestampOffset;
use super::walk::Walk;
use crate::clock::Now;
use crate::machine::{Effects, FileAction, OpenMode};
use crate::planted::{Plant, Planted};
use crate::storage::{LogId, Mark};
use crate::types::Offset;

/// What is to become of a log's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It ends there.
    To(Offset),
    /// Everything goes, and it goes on from there.
    Anew(Offset),
}

impl Cut {
    /// No offset from here on is kept.
    pub(crate) const fn from(self) -> Offset {
        match self {
            Self::To(offset) => offset,
            Self::Anew(_) => Offset::ZERO,
        }
    }

    /// From here on other records may come.
    pub(crate) const fn next(self) -> Offset {
        match self {
            Self::To(offset) | Self::Anew(offset) => offset,
        }
    }
}

impl LogManager {
    /// Cuts the log so that it ends at `offset` or, if that lies within a batch, before that batch;
    /// [`LogEvent::Truncated`] says when and where, mostly before this returns. Ranges that were handed out above
    /// the cut may still be on their way, and what is sent of them then is what the file has now: readers that must
    /// not take it are guarded by the checksums of batches, and by the epochs that they ask with (KIP-320).
    pub fn truncate_to(&mut self, now: Now, log: LogId, offset: Offset, out: &mut Effects) {
        self.parts.now = now;
        self.with(log, out, |log, io| log.truncate_to(offset, io));
    }

    /// Drops all records; the log goes on from `offset`, mostly before this returns: [`LogEvent::Truncated`] says when.
    /// A follower does so when its leader has nothing that continues it. A log that is being cut is left alone.
    pub fn begin_at(&mut self, now: Now, log: LogId, offset: Offset, out: &mut Effects) {
        self.parts.now = now;
        self.with(log, out, |log, io| log.begin_at(offset, io));
    }
}

impl Log {
    /// Notes a cut that has to wait. Of two kinds the later one is meant.
    pub(crate) fn want_cut(&mut self, cut: Cut) {
        self.wanted_cut = Some(match (self.wanted_cut, cut) {
            (Some(Cut::To(wanted)), Cut::To(offset)) => Cut::To(wanted.min(offset)),
            (_, cut) => cut,
        });
    }

    /// What a cut waited for is over.
    pub(crate) fn go_on_to_cut(&mut self, io: &mut Io<'_>) {
        match self.wanted_cut.take_if(|_| self.condition == Condition::Usable) {
            Some(Cut::To(offset)) => self.truncate_to(offset, io),
            Some(Cut::Anew(at)) => self.begin_at(at, io),
            None => {}
        }
    }

    /// See [`super::LogManager::truncate_to`].
    pub(crate) fn truncate_to(&mut self, offset: Offset, io: &mut Io<'_>) {
        if offset >= self.log_end {
            return;
        }
        if self.condition != Condition::Usable {
            return self.want_cut(Cut::To(offset));
        }
        let offset = offset.max(self.segments.front().map_or(offset, |first| first.base));
        if self.must_wait_to_cut(Cut::To(offset), io) {
            return;
        }
        let index = self.segment_at(offset);
        let segment = &self.segments[index];
        let relative = u32::try_from(offset - segment.base).unwrap_or(u32::MAX);
        if relative == 0 {
            return self.cut(Mark::empty(offset), None, io);
        }
        if let Some(place) = segment.places.holding(relative) {
            let mark = Mark {
                end: segment.base + i64::from(place.relative),
                segment: segment.base,
                start: 0,
                pos: place.pos,
                crc: None,
                begins: false,
                unsure: false,
            };
            return self.cut(mark, None, io);
        }
        self.look_for_cut(index, offset, io);
    }

    /// Whether a walk over the log's bytes has to wait. What was issued and is not written yet is not in the files, and
    /// behind a gate there still is what an earlier cut took. Nothing else happens to the log meanwhile.
    pub(super) fn must_wait_for_writes(&mut self, search: Search, io: &mut Io<'_>) -> bool {
        if self.is_written(io) {
            return false;
        }
        self.condition = Condition::Rebuilding;
        self.questions.unwritten = Some(search);
        self.answer_all(io);
        true
    }

    fn is_written(&self, io: &Io<'_>) -> bool {
        io.storage.stream(self.id).is_none_or(|stream| stream.written.end >= self.log_end)
    }

    /// More is written, or what was not is cut off: what waited for that goes on.
    pub(crate) fn on_written(&mut self, io: &mut Io<'_>) {
        let is_waiting = self.questions.unwritten.is_some() && self.condition == Condition::Rebuilding;
        if !is_waiting || !self.is_written(io) {
            return;
        }
        match self.questions.unwritten.take() {
            Some(Search::Cut(offset)) => {
                self.condition = Condition::Usable;
                self.truncate_to(offset, io);
                self.answer_all(io);
                self.go_on_to_cut(io);
            }
            Some(Search::Producers) => self.rebuild_producers(io),
            None => {}
        }
    }

    /// A job finds the batch. Nothing else happens to the log meanwhile.
    fn look_for_cut(&mut self, index: usize, offset: Offset, io: &mut Io<'_>) {
        if self.must_wait_for_writes(Search::Cut(offset), io) {
            return;
        }
        let segment = &self.segments[index];
        // Below the offset, so that the entry stays: the walk tells the timestamps of what follows it.
        let start = OffsetPosition { offset: segment.base, position: 0 };
        let hint = segment.indexes.as_ref().map_or(start, |indexes| indexes.offsets.lookup(offset + -1));
        let request =
            ReadRequest { from: offset, max_bytes: 0, min_one_batch: true, upper: self.log_end, ticket: Ticket(0) };
        let check = Check::new(self, index, &request, self.log_end + 1, hint);
        let walk = Walk::new(hint.position, segment.size, true);
        self.condition = Condition::Rebuilding;
        self.scan(segment.base, walk, Purpose::Check(check), JobFor::Cut(self.id), io);
        self.answer_all(io);
    }

    /// The batch that holds the cut's offset is found.
    pub(crate) fn on_cut_found(&mut self, scan: Scan, io: &mut Io<'_>) {
        self.condition = Condition::Usable;
        let Purpose::Check(check) = scan.purpose else {
            return;
        };
        let place = check.places.iter().find(|place| Some(place.pos) == check.start);
        let found = place.map(|place| (check.base + i64::from(place.relative), place.pos));
        // What compaction took from behind the last batch is not missed.
        let after = (check.from, check.checked);
        let whole = scan.bad.is_none() && scan.failed.is_none();
        let found = found.or(Some(after).filter(|_| whole && self.may_have_gaps()));
        match (found, scan.bad) {
            (Some((end, pos)), _) => {
                // Where offsets are missing the next batch begins after the cut.
                let end = end.min(check.from);
                let (segment, start) = (check.base, 0);
                let mark = Mark { end, segment, start, pos, crc: None, begins: false, unsure: false };
                self.cut(mark, check.newest, io);
                self.go_on_to_cut(io);
            }
            (None, bad) => {
                let unreadable = scan.failed.is_some();
                let failed = scan.failed.map(|error| (check.checked, format!("it cannot be read: {error}")));
                let missing = || (check.checked, "the batch to cut at is not there".into());
                let (pos, why) = bad.or(failed).unwrap_or_else(missing);
                let damage = super::api::Damage { segment: check.base, pos, why, unreadable };
                self.damaged(damage, io);
            }
        }
    }

    /// A write did not fit: all that was not written goes.
    pub(crate) fn on_no_room(&mut self, io: &mut Io<'_>) {
        let Some(written) = io.storage.stream(self.id).map(|stream| stream.written) else {
            return;
        };
        if self.log_end > written.end || self.active().base > written.segment {
            self.cut(written, None, io);
            io.events.push(LogEvent::Cut { log: self.id, end: written.end });
            self.on_written(io);
        }
    }

    /// Ends the log at `mark`. What a walk has seen of the timestamps before it: `walked`.
    pub(crate) fn cut(&mut self, mark: Mark, walked: Option<TimestampOffset>, io: &mut Io<'_>) {
        if mark.end < self.log_start {
            return self.start_anew(self.log_start, io);
        }
        // Where its last batch lay is deleted: the log ends where what is left begins.
        let is_deleted = self.segments.front().is_some_and(|first| first.base > mark.segment);
        let mark = if is_deleted { Mark::empty(mark.end) } else { mark };
        io.storage.cut(io.now, self.id, mark);
        while self.segments.len() > 1 && self.active().base > mark.segment {
            self.retire_last(io);
        }
        let file = self.ensure_open(self.segments.len() - 1, io);
        let is_indexed = self.active().saved != Saved::Never && !io.storage.planted.has(Plant::Log14);
        self.cut_active(mark, walked, io.storage.planted);
        if is_indexed {
            self.retire_indexes(mark.segment, io);
            self.active_mut().saved = Saved::Never;
        }
        io.storage.set_len(self.id, file, mark.pos, io.out);
        if is_indexed {
            self.save_indexes(io);
        }
        self.log_end = mark.end;
        self.high_watermark = self.high_watermark.min(mark.end);
        self.drop_snapshots_above(mark.end, io);
        // The checkpoint file may name too much, which a start takes away; what it names too little, after a crash
        // that brings the old tail back, nothing would bring back.
        self.derived.epochs.truncate_end(mark.end);
        if let Truncated::Rebuild = self.derived.producers.truncate_to(mark.end) {
            self.rebuild_producers(io);
        }
        io.events.push(LogEvent::Truncated { log: self.id, end: mark.end });
        self.answer_all(io);
    }

    /// Cuts what is known of the active segment.
    fn cut_active(&mut self, mark: Mark, walked: Option<TimestampOffset>, planted: Planted) {
        let config = self.config.clone();
        let active = self.active_mut();
        active.indexes.get_or_insert_with(|| Indexes::new(mark.segment, &config));
        if planted.has(Plant::Log14) {
            active.size = mark.pos;
        } else {
            active.truncate(mark.end, mark.pos, walked);
        }
    }

    /// See [`LogManager::begin_at`].
    fn begin_at(&mut self, at: Offset, io: &mut Io<'_>) {
        if self.condition == Condition::Usable && !self.must_wait_to_cut(Cut::Anew(at), io) {
            self.start_anew(at, io);
        }
    }

    /// Drops everything and goes on from an offset: nothing that is left lies at or above the log start, or a
    /// replica is so far behind that its leader has nothing that follows.
    pub(crate) fn start_anew(&mut self, at: Offset, io: &mut Io<'_>) {
        self.checkpoints.cleaner.cuts += 1;
        io.storage.restart(io.now, self.id, at);
        while !self.segments.is_empty() {
            self.retire_last(io);
        }
        let file = io.storage.new_file();
        let path = self.file(at, SegmentFile::Log);
        io.storage.name(self.id, FileAction::Open { file, path, mode: OpenMode::Create }, io.out);
        self.segments.push_back(Segment::new(at, file, &self.config, io.now.wall));
        self.void_above(Offset(-1), io);
        for offset in std::mem::take(&mut self.checkpoints.snapshots) {
            let path = self.file(offset, SegmentFile::Snapshot);
            io.storage.retire(self.id, &path, self.config.file_delete_delay, io.out);
        }
        self.derived.epochs = LeaderEpochCache::new();
        self.derived.producers = ProducerState::restore(Default::default(), at, MAX_PRODUCERS, io.storage.planted);
        (self.log_start, self.log_end, self.high_watermark) = (at, at, at);
        io.events.push(LogEvent::Truncated { log: self.id, end: at });
        self.answer_all(io);
    }

    /// The last segment's files go. The one before is the active one from now on.
    fn retire_last(&mut self, io: &mut Io<'_>) {
        if let Some(segment) = self.segments.pop_back() {
            self.retire_segment(&segment, io);
        }
    }

    /// The files of a segment that is no more part of the log go.
    pub(crate) fn retire_segment(&mut self, segment: &Segment, io: &mut Io<'_>) {
        self.retire_file(segment.base, SegmentFile::Log, io);
        self.retire_indexes(segment.base, io);
        if let Some(file) = segment.held_file() {
            io.storage.close(self.id, file, io.out);
        }
    }

    /// The index files of a segment go, and what is being saved of them never comes: they say more than is true.
    /// Issued before the segment is cut, so that no index on disk ever says what its log does not (S2).
    fn retire_indexes(&mut self, base: Offset, io: &mut Io<'_>) {
        for file in SegmentFile::INDEXES {
            io.storage.supersede(&self.file(base, file));
            self.retire_file(base, file, io);
        }
    }

    /// A file goes: its name is free from now on.
    pub(crate) fn retire_file(&self, base: Offset, file: SegmentFile, io: &mut Io<'_>) {
        io.storage.retire(self.id, &self.file(base, file), self.config.file_delete_delay, io.out);
    }

    /// Snapshots above the end describe records that are no more.
    pub(crate) fn drop_snapshots_above(&mut self, end: Offset, io: &mut Io<'_>) {
        let Checkpoints { snapshots, .. } = &mut self.checkpoints;
        let gone = producer_snapshot::above(snapshots, end, io.storage.planted);
        snapshots.retain(|at| *at <= end);
        self.void_above(end, io);
        for at in gone {
            let path = self.file(at, SegmentFile::Snapshot);
            io.storage.retire(self.id, &path, self.config.file_delete_delay, io.out);
        }
    }

    /// The number of a segment's file, which is opened if it is not open. Opens keep the order of the effects, so
    /// it can be used at once.
    pub(crate) fn ensure_open(&mut self, index: usize, io: &mut Io<'_>) -> crate::machine::FileId {
        let path = self.file(self.segments[index].base, SegmentFile::Log);
        let segment = &mut self.segments[index];
        let held = segment.held_file();
        let file = held.unwrap_or_else(|| io.storage.new_file());
        segment.file = Handle::Open(file);
        if held.is_some() {
            return file;
        }
        let open = FileAction::Open { file, path, mode: OpenMode::Existing };
        io.storage.name(self.id, open, io.out);
        file
    }
}
