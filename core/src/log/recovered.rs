//! The end of a recovery: the log is put together from what was found, and its files are made to agree with it.

use std::collections::VecDeque;

use super::checkpointing::Checkpoints;
use super::names::SegmentFile;
use super::partition::{Birth, Condition, Io, Log};
use super::producer_state::{MAX_PRODUCERS, ProducerState};
use super::questions::Questions;
use super::recovery::{Recovered, Recovery, Walked, stream_key};
use super::scan::Derived;
use super::segment::{Handle, Saved, Segment};
use crate::storage::{LogId, Mark, Stream};
use crate::types::Offset;

/// Where the files may not agree with the log that was found.
#[derive(Clone, Copy, Debug)]
struct Differences {
    /// The last segment's file is longer than the log, and segments may follow it.
    cut: bool,
    /// The leader epochs' file names epochs that are not in the log.
    epochs_cut: bool,
    /// The walked segment, if there is one, whose index files say nothing that the checkpoint does not prove.
    proven: Option<Offset>,
    /// The one, if there is one, whose index is spoilt.
    spoilt: Option<Offset>,
}

impl Recovery {
    /// Puts the log together and hands it over.
    pub(super) fn finish(&mut self, io: &mut Io<'_>) -> Recovered {
        let walked = std::mem::replace(&mut self.walked, Walked::new());
        // A damaged log is as long as it was promised to be, whatever of it can be read.
        let claimed = self.claim.map_or(self.hints.log_start, |claim| claim.end.max(self.hints.log_start));
        let end = match walked.segments.last() {
            Some(active) if walked.damage.is_none() => {
                let end = walked.last.map_or(active.base, |last| last.end.max(active.base));
                self.end_in_gap(active).map_or(end, |claimed| claimed.max(end))
            }
            Some(_) | None => claimed,
        };
        let first = walked.segments.first().map_or(Offset(i64::MAX), |segment| segment.base);
        let older = self.files.logs.iter().filter(|(base, _)| *base < first);
        let mut segments: VecDeque<Segment> =
            older.map(|&(base, len)| Segment::found(base, len, io.now.wall)).collect();
        segments.extend(walked.segments);
        if segments.is_empty() {
            segments.push_back(Segment::found(end, 0, io.now.wall));
        }
        let written = self.mark_of_end(&segments, walked.last, end);
        let id = self.add_stream(written, walked.damage.is_some(), io);
        let mut derived = walked.derived.unwrap_or_else(|| Derived {
            epochs: self.epochs.take().unwrap_or_default(),
            producers: ProducerState::new(MAX_PRODUCERS, io.storage.planted),
        });
        // Where a damaged one begins only the directory's file tells: of its segments some may not be seen.
        let log_start = match walked.damage {
            Some(_) => self.hints.log_start,
            None => self.hints.log_start.max(segments[0].base).min(end),
        };
        let epochs_cut = derived.epochs.truncate_end(end) | derived.epochs.truncate_start(log_start);
        derived.producers.advance(end);
        // The checkpoint goes by name: it may be of a deleted log, that this one was made in place of.
        let durable = self.claim.map_or(end, |claim| claim.end);
        let mut log = Log {
            id,
            partition: self.partition.clone(),
            topic_id: self.topic_id,
            path: self.path.clone(),
            config: self.config.clone(),
            log_start,
            log_end: end,
            high_watermark: self.hints.high_watermark.min(durable).clamp(log_start, end),
            segments,
            derived,
            condition: walked.damage.map_or(Condition::Usable, Condition::Damaged),
            checkpoints: Checkpoints::found(
                std::mem::take(&mut self.files.snapshots),
                log_start,
                self.hints.cleaned.min(end),
            ),
            questions: Questions::default(),
            birth: Birth::default(),
            wanted_cut: None,
        };
        if log.condition == Condition::Usable {
            let Walked { cut, proven, spoilt, .. } = walked;
            self.tidy(&mut log, Differences { cut, epochs_cut, proven, spoilt }, io);
            // What is deleted may be torn or rotten, and is cut. No offset below the log start is ever used again.
            if self.hints.log_start > log.log_end {
                log.start_anew(self.hints.log_start, io);
            }
        }
        Recovered::Done(Box::new(log))
    }

    /// A cut may have ended the log where compaction took batches from, behind the last one that is left. Only the
    /// claim tells so then.
    fn end_in_gap(&self, active: &Segment) -> Option<Offset> {
        let claim = self.claim.filter(|claim| claim.crc.is_none() && !claim.unsure)?;
        (claim.segment == active.base && claim.pos == active.size).then_some(claim.end)
    }

    fn mark_of_end(&self, segments: &VecDeque<Segment>, last: Option<Mark>, end: Offset) -> Mark {
        let active = segments.back().map_or((end, 0), |active| (active.base, active.size));
        match last.filter(|last| last.segment == active.0) {
            Some(last) if last.end == end => last,
            Some(last) => Mark { end, crc: None, ..last },
            None => {
                Mark { end, segment: active.0, start: active.1, pos: active.1, crc: None, begins: false, unsure: false }
            }
        }
    }

    /// The claim stands, unless it is of records that were deleted since; a damaged log keeps it, so that the
    /// next start sees the damage too.
    fn add_stream(&mut self, written: Mark, is_damaged: bool, io: &mut Io<'_>) -> LogId {
        let durable = match self.claim {
            Some(claim) if claim.end <= written.end || is_damaged => claim,
            Some(_) => written,
            None => Mark::default(),
        };
        let key = stream_key(&self.path.name, self.topic_id);
        let written = if is_damaged { durable } else { written };
        let id = io.storage.add_stream(Stream::new(self.path.clone(), key, written, durable));
        if is_damaged && durable.unsure {
            // The journal may not know the log at all any more, and must not look sound to the next start.
            io.storage.claim_anew(io.now, id);
        }
        id
    }

    /// Makes the files agree with the log, and what is written durable.
    fn tidy(&self, log: &mut Log, differences: Differences, io: &mut Io<'_>) {
        let cut = differences.cut;
        let index = log.segments.len() - 1;
        for segment in log.segments.iter_mut().rev().skip(1) {
            if let Handle::Open(_) = segment.file {
                io.cold.push_back((log.id, segment.base));
            }
        }
        let file = log.ensure_open(index, io);
        let (base, size) = (log.active().base, log.active().size);
        let later = self.files.logs.iter().map(|(later, _)| *later).filter(|later| cut && *later > base);
        for gone in self.files.gone.iter().copied().chain(later) {
            log.retire_file(gone, SegmentFile::Log, io);
        }
        let unsaved = self.retire_untrue(log, differences, io);
        if cut {
            io.storage.set_len(log.id, file, size, io.out);
        }
        if !self.hints.clean {
            // The last process may have died between an operation and its sync: names it made, files it cut.
            let walked = log.segments.iter().filter(|segment| segment.base >= base || !segment.places.is_empty());
            for file in walked.filter_map(Segment::file_id) {
                io.storage.mark_file_dirty(io.now, log.id, file);
            }
            io.storage.mark_names_dirty(io.now, log.id);
        }
        log.drop_snapshots_above(log.log_end.min(self.snapshots_end(io.storage.planted)), io);
        if unsaved {
            log.checkpoint(io);
        } else if differences.epochs_cut {
            log.save_epochs(io);
        }
    }

    /// Retires the index files that have no segment, and those of walked segments that say more than the checkpoint
    /// proves: a cut that they did not follow, or records that never came to the disk. Whether the walked segments'
    /// files have to be saved.
    fn retire_untrue(&self, log: &mut Log, differences: Differences, io: &mut Io<'_>) -> bool {
        let trusted = self.hints.clean && !differences.cut;
        let mut unsaved = !trusted && log.segments.iter().rev().skip(1).any(|older| older.saved != Saved::Whole);
        for &(base, file) in &self.files.indexes {
            let is_proven = (trusted || differences.proven == Some(base)) && differences.spoilt != Some(base);
            match log.segment_mut(base) {
                Some(segment) if segment.file_id().is_some() && !is_proven => {
                    segment.saved = Saved::Never;
                    unsaved = true;
                }
                Some(_) => continue,
                None => {}
            }
            log.retire_file(base, file, io);
        }
        unsaved
    }
}
