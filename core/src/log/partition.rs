//! One partition's log: its segments, what follows from their batches, and its condition.
//!
//! [`append`](super::append), [`read`](super::read), [`truncate`](super::truncate), [`retention`](super::retention)
//! and [`checkpointing`](super::checkpointing) are its verbs. The state here changes at the moment of the call;
//! the files follow, and [`crate::storage`] says how far they have come.
//!
//! Invariants: there is at least one segment; base offsets rise (S7); only the last segment is written;
//! LogStartOffset <= LogEndOffset; a damaged log is neither read, written, cut nor deleted by policy (P5).

use std::collections::VecDeque;

use ottla_wire::Uuid;

use super::api::{
    Damage, DerivedView, FoundLog, LogConfig, LogEvent, LogManagerConfig, LogView, Offsets, ProducerView,
};
use super::checkpointing::Checkpoints;
use super::names::{self, SegmentFile};
use super::partition_metadata;
use super::producer_state::ProducerEntry;
use super::questions::Questions;
use super::scan::Derived;
use super::segment::Segment;
use super::truncate::Cut;
use crate::clock::Now;
use crate::job::Job;
use crate::machine::{Effect, Effects, JobId, LogDirId, Path};
use crate::storage::{Health, LogId, SaveOwner, Storage};
use crate::types::{Offset, ProducerId, TopicPartition};

/// One log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) id: LogId,
    pub(crate) partition: TopicPartition,
    pub(crate) topic_id: Uuid,
    /// Its directory.
    pub(crate) path: Path,
    pub(crate) config: LogConfig,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) derived: Derived,
    pub(crate) condition: Condition,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) questions: Questions,
    pub(crate) birth: Birth,
    /// A truncation that was asked for while the log was rebuilding, or being compacted.
    pub(crate) wanted_cut: Option<Cut>,
}

/// What can be done with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Everything.
    Usable,
    /// Nothing yet: what a truncation left is being read again.
    Rebuilding,
    /// Nothing: it must be repaired from its peers.
    Damaged(Damage),
}

/// What of a new log is not durable yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) unnamed: bool,
    pub(crate) unmarked: bool,
}

/// What a log needs of the world while it does something.
pub(crate) struct Io<'a> {
    pub(crate) now: Now,
    pub(crate) storage: &'a mut Storage,
    pub(crate) jobs: &'a mut Jobs,
    pub(crate) events: &'a mut Vec<LogEvent>,
    /// Logs that are to be cut below where they are said to be clean.
    pub(crate) lowered: &'a mut Vec<LogId>,
    /// Older segments that hold memory or an open file, in the order in which they give it up.
    pub(crate) cold: &'a mut VecDeque<(LogId, Offset)>,
    pub(crate) config: &'a LogManagerConfig,
    pub(crate) out: &'a mut Effects,
}

/// The jobs that run, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs {
    last: u64,
    running: VecDeque<(JobId, JobFor)>,
}

/// Whom a job's report is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobFor {
    /// The recovery with this number.
    Recovery(u32),
    /// A log's question with this number.
    Question(LogId, u64),
    /// A log that looks for the batch at which it is to be cut.
    Cut(LogId),
    /// A log that rebuilds what it knows of its producers.
    Rebuild(LogId),
    /// The cleaner's pass with this number, over a log.
    Clean(LogId, u64),
}

impl Log {
    /// A new log says whose it is.
    pub(crate) fn mark(&self, io: &mut Io<'_>) {
        let metadata = partition_metadata::encode(self.topic_id).into();
        io.storage.save(self.path.join(names::PARTITION_METADATA), metadata, SaveOwner::Metadata(self.id), io.out);
    }

    pub(crate) fn dir(&self) -> LogDirId {
        self.path.dir
    }

    pub(crate) fn offsets(&self, storage: &Storage) -> Offsets {
        let progress = storage.stream(self.id).map(|stream| (stream.written.end, stream.durable.end));
        let (written, durable) = progress.unwrap_or_default();
        Offsets { log_start: self.log_start, log_end: self.log_end, written, durable }
    }

    /// The segment that is written.
    pub(crate) fn active(&self) -> &Segment {
        self.segments.back().expect("a log has a segment from its making on")
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("a log has a segment from its making on")
    }

    /// The index of the segment that an offset lies in.
    pub(crate) fn segment_at(&self, offset: Offset) -> usize {
        let after = self.segments.partition_point(|segment| segment.base <= offset);
        after.saturating_sub(1)
    }

    pub(crate) fn segment_mut(&mut self, base: Offset) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        self.segments.get_mut(at)
    }

    /// The offset after a segment's last.
    pub(crate) fn end_of(&self, index: usize) -> Offset {
        self.segments.get(index + 1).map_or(self.log_end, |next| next.base)
    }

    /// Whether offsets may be missing between batches: it is compacted, or was.
    pub(crate) fn may_have_gaps(&self) -> bool {
        self.config.compact || self.checkpoints.cleaner.to > Offset::ZERO
    }

    pub(crate) fn size(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.size)).sum()
    }

    pub(crate) fn file(&self, base: Offset, file: SegmentFile) -> Path {
        self.path.join(&file.name(base))
    }

    /// Takes the log out of use until it is repaired. The first damage found is the one that is told.
    pub(crate) fn damaged(&mut self, damage: Damage, io: &mut Io<'_>) {
        // In a directory that failed everything fails, which says nothing of this log.
        let is_offline = io.storage.health(self.dir()) == Health::Offline;
        if is_offline || matches!(self.condition, Condition::Damaged(_)) {
            return;
        }
        io.out.note(crate::machine::Level::Error, format!("{} is damaged and offline: {damage}", self.partition));
        self.condition = Condition::Damaged(damage.clone());
        io.events.push(LogEvent::Damaged { log: self.id, damage: Box::new(damage) });
        self.answer_all(io);
    }

    /// What a start says of it.
    pub(crate) fn found(&self, storage: &Storage) -> FoundLog {
        FoundLog {
            log: self.id,
            partition: self.partition.clone(),
            topic_id: self.topic_id,
            dir: self.dir(),
            offsets: self.offsets(storage),
            high_watermark: self.high_watermark,
            damage: match &self.condition {
                Condition::Damaged(damage) => Some(damage.clone()),
                Condition::Usable | Condition::Rebuilding => None,
            },
        }
    }

    /// For DescribeProducers.
    pub(crate) fn producers(&self) -> Vec<ProducerView> {
        let view = |(id, entry): (ProducerId, &ProducerEntry)| ProducerView {
            producer_id: id.0,
            producer_epoch: entry.epoch.0,
            last_sequence: entry.last_sequence,
            last_offset: entry.recent.last().map(|last| last.last_offset),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_start_offset: entry.txn_first_offset,
        };
        self.derived.producers.iter().map(view).collect()
    }

    /// What it has derived; `None` while it is being rebuilt, or if it is damaged.
    pub(crate) fn derived_view(&self, storage: &Storage) -> Option<DerivedView> {
        let epochs = self.derived.epochs.entries().iter();
        (self.condition == Condition::Usable).then(|| DerivedView {
            partition: self.partition.clone(),
            offsets: self.offsets(storage),
            high_watermark: self.high_watermark,
            leader_epochs: epochs.map(|entry| (entry.epoch, entry.start_offset)).collect(),
            producers: self.producers(),
        })
    }

    pub(crate) fn view(&self, storage: &Storage) -> LogView {
        let epochs = self.derived.epochs.entries().iter();
        LogView {
            log: self.id,
            partition: self.partition.clone(),
            topic_id: self.topic_id,
            dir: self.dir(),
            offsets: self.offsets(storage),
            high_watermark: self.high_watermark,
            size: self.size(),
            segments: self.segments.iter().map(|segment| (segment.base, segment.size)).collect(),
            leader_epochs: epochs.map(|entry| (entry.epoch, entry.start_offset)).collect(),
            damaged: matches!(self.condition, Condition::Damaged(_)),
        }
    }
}

impl Jobs {
    /// A number for a job of whoever.
    pub(crate) fn next(&mut self) -> JobId {
        self.last += 1;
        JobId(self.last)
    }

    pub(crate) fn run(&mut self, work: Job, owner: JobFor, out: &mut Effects) -> JobId {
        let job = self.next();
        self.running.push_back((job, owner));
        out.push(Effect::Run { job, work: Box::new(work) });
        job
    }

    pub(crate) fn take(&mut self, job: JobId) -> Option<JobFor> {
        let at = self.running.iter().position(|(running, _)| *running == job)?;
        self.running.remove(at).map(|(_, owner)| owner)
    }
}
