//! The job that walks over a segment's batches and checks their CRCs, and what it is done for.
//!
//! The job holds all that it makes and comes back whole as its own report, so that a crash or a truncation
//! meanwhile leaves nothing half changed: what it brings is taken or dropped.

use std::cmp::Reverse;
use std::fmt;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::api::{LogConfig, ReadRequest, TimestampQuery};
use super::leader_epoch_cache::LeaderEpochCache;
use super::offset_index::OffsetPosition;
use super::partition::Log;
use super::producer_state::{ProducerBatch, ProducerState};
use super::segment::{Place, Segment};
use super::time_index::TimestampOffset;
use super::walk::{Step, Walk, Walked};
use crate::job::{Next, Report, SLICE};
use crate::machine::{DiskError, FileId};
use crate::record::{BatchHeader, EndTxnMarker, RecordBatch};
use crate::storage::Mark;
use crate::types::{LeaderEpoch, Offset};

/// Records of one batch are inflated up to this size when one of them is looked for.
const INFLATE_LIMIT: u64 = 1 << 30;
/// Places that a check remembers are at least so many bytes apart.
const PLACE_EVERY: u32 = 4096;

/// A walk over one segment.
#[derive(Clone, Debug)]
pub struct Scan {
    pub(crate) file: FileId,
    walk: Walk,
    pub(crate) purpose: Purpose,
    /// What is no batch, and where; the walk ended there.
    pub(crate) bad: Option<(u32, String)>,
    /// A read failed; the walk ended there.
    pub(crate) failed: Option<DiskError>,
}

/// What a scan is done for.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// To know what a segment holds, at a start or after a truncation.
    Rebuild(Box<Rebuild>),
    /// To find and check a range before it is sent.
    Check(Check),
    /// To find a timestamp.
    Find(Find),
}

/// What follows from a log's batches, and nothing else (R10, S8).
#[derive(Clone, Debug)]
pub(crate) struct Derived {
    pub(crate) epochs: LeaderEpochCache,
    pub(crate) producers: ProducerState,
}

/// A segment being rebuilt from its batches.
#[derive(Clone, Debug)]
pub(crate) struct Rebuild {
    /// With what is known up to where the walk starts.
    pub(crate) segment: Segment,
    /// Where the walk starts.
    pub(crate) began: u32,
    pub(crate) derived: Derived,
    pub(crate) config: LogConfig,
    /// Batches below it are in `derived` already.
    pub(crate) from: Offset,
    /// The least offset that the next batch can have.
    pub(crate) next: Offset,
    /// The least leader epoch that it can have.
    pub(crate) epoch: LeaderEpoch,
    /// Up to where the flush journal claims the log: beyond it offsets have no gaps.
    pub(crate) claimed: Offset,
    /// What the flush journal says of this segment.
    pub(crate) claim: Option<Mark>,
    /// Whether the batch that the claim names was met, and is the one.
    pub(crate) claim_met: bool,
    /// The last batch.
    pub(crate) last: Option<Mark>,
}

/// A range being looked for and checked.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    /// Relative offsets in places count from here.
    pub(crate) base: Offset,
    pub(crate) from: Offset,
    pub(crate) upper: Offset,
    pub(crate) max_bytes: u32,
    pub(crate) min_one_batch: bool,
    /// Where the walk began.
    pub(crate) began: u32,
    order: Order,
    /// Where the batch starts that holds `from`.
    pub(crate) start: Option<u32>,
    /// Where the range ends: bytes and offset.
    pub(crate) end: Option<(u32, Offset)>,
    /// The greatest timestamp before that, and the last offset of the batch that has it.
    pub(crate) newest: Option<TimestampOffset>,
    /// Up to where all is checked.
    pub(crate) checked: u32,
    pub(crate) places: Vec<Place>,
}

/// What no CRC covers: which offsets and leader epochs the batches of a segment can have.
#[derive(Clone, Debug)]
struct Order {
    /// The least offset that the next batch can begin with.
    next: Offset,
    /// The greatest, if there is a bound.
    at_most: Option<Offset>,
    /// Whether the log may have gaps.
    gaps: bool,
    end_of_segment: Offset,
    epochs: LeaderEpochCache,
}

/// A timestamp being looked for.
#[derive(Clone, Debug)]
pub(crate) struct Find {
    pub(crate) query: TimestampQuery,
    /// Where the walk began.
    pub(crate) began: u32,
    order: Order,
    /// Records below it do not count.
    pub(crate) from: Offset,
    /// Records from here on do not count.
    pub(crate) upper: Offset,
    /// A batch that must hold it, unless that record is below `from`: its start and length.
    candidate: Option<(u32, u32)>,
    /// The walk has stopped and the candidate is being read.
    reading: bool,
    /// The bytes of the candidate that were read.
    bytes: Vec<u8>,
    /// The greatest timestamp of a batch so far, when the greatest is asked for.
    greatest: i64,
    /// Offset, timestamp and leader epoch of the record.
    pub(crate) found: Option<(Offset, i64, i32)>,
}

impl Scan {
    pub(crate) fn new(file: FileId, walk: Walk, purpose: Purpose) -> Self {
        Self { file, walk, purpose, bad: None, failed: None }
    }

    /// Goes on; `None` when it is over.
    fn advance(&mut self, read: Option<Result<Bytes, DiskError>>) -> Option<(u64, u32)> {
        match read {
            Some(Err(error)) => {
                self.failed = Some(error);
                return None;
            }
            Some(Ok(bytes)) if !self.take(&bytes) => return None,
            Some(Ok(_)) | None => {}
        }
        match &self.purpose {
            Purpose::Find(find) if find.reading => find.next_read(),
            Purpose::Find(_) | Purpose::Rebuild(_) | Purpose::Check(_) => self.walk.next_read(),
        }
    }

    /// Takes a slice. Whether to go on.
    fn take(&mut self, bytes: &Bytes) -> bool {
        if let Purpose::Find(find) = &mut self.purpose
            && find.reading
        {
            return find.take_candidate(bytes);
        }
        let mut wrong = None;
        let purpose = &mut self.purpose;
        let step = self.walk.feed(bytes, &mut |walked| {
            let taken = match purpose {
                Purpose::Rebuild(rebuild) => rebuild.take(&walked),
                Purpose::Check(check) => check.order.admit(walked.header).map(|()| check.take(&walked)),
                Purpose::Find(find) => find.order.admit(walked.header).map(|()| find.take(&walked)),
            };
            taken.unwrap_or_else(|why| {
                wrong = Some((walked.start, why));
                ControlFlow::Break(())
            })
        });
        if let Step::Bad(why) = &step {
            wrong = Some((self.walk.pos(), why.clone()));
        }
        self.bad = wrong;
        if let (Purpose::Find(find), Step::Over) = (&mut self.purpose, &step) {
            find.reading = find.candidate.is_some();
            return find.reading;
        }
        step == Step::More
    }
}

impl Derived {
    /// Takes a batch of the log.
    pub(crate) fn take(&mut self, header: &BatchHeader, marker: Option<EndTxnMarker>, segment: &mut Segment) {
        self.epochs.assign(header.leader_epoch, header.base_offset);
        let producer = header.producer;
        match marker {
            Some(marker) => {
                let offset = header.base_offset;
                let ended =
                    self.producers.apply_marker(producer.id, producer.epoch, marker, header.max_timestamp, offset);
                if let (Some(aborted), Some(indexes)) = (ended.filter(|_| !marker.commit), &mut segment.indexes) {
                    // The file is written whole at the next checkpoint.
                    let _ = indexes.aborted.append(aborted);
                }
            }
            None if producer.is_some() && !header.attributes.is_control() => {
                self.producers.apply(&ProducerBatch::from(header), header.base_offset);
            }
            None => {}
        }
        self.producers.advance(header.next_offset());
    }
}

impl Rebuild {
    fn take(&mut self, walked: &Walked<'_>) -> Result<ControlFlow<()>, String> {
        let header = walked.header;
        if header.base_offset < self.next {
            return Err(format!("offset {} comes after offset {}", header.base_offset, self.next + -1));
        }
        // The least offset is exact as soon as a batch was met.
        if header.base_offset > self.next.max(self.claimed) && self.last.is_some() {
            return Err(format!("offset {} comes after offset {}", header.base_offset, self.next + -1));
        }
        // What a truncation took may be back after a power loss, behind what was written in its place. Leaders only
        // append in their own epoch, so such a batch is of an earlier one.
        if header.leader_epoch < self.epoch {
            return Err(format!("leader epoch {} comes after {}", header.leader_epoch, self.epoch));
        }
        self.epoch = header.leader_epoch;
        if i32::try_from(header.last_offset() - self.segment.base).is_err() {
            return Err(format!("offset {} is too far from the segment's base", header.last_offset()));
        }
        self.segment.note(header, walked.size, &self.config);
        if header.base_offset >= self.from {
            self.derived.take(header, walked.marker, &mut self.segment);
        }
        self.next = header.next_offset();
        let mark = Mark {
            end: self.next,
            segment: self.segment.base,
            start: walked.start,
            pos: walked.start + walked.size,
            crc: Some(header.crc),
            begins: false,
            unsure: false,
        };
        self.last = Some(mark);
        if let Some(claim) = self.claim.filter(|claim| claim.pos == mark.pos) {
            // A cut claims no CRC. It may have ended the log above the batch, where compaction took others from.
            self.claim_met = match claim.crc {
                Some(crc) => claim.end == mark.end && crc == header.crc,
                None => claim.end >= mark.end,
            };
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Order {
    /// Of a walk in `log`'s segment at `index`, which begins where a batch starts whose first offset is `began`'s or
    /// a lower one.
    fn new(log: &Log, index: usize, began: OffsetPosition) -> Self {
        let (segment, gaps) = (&log.segments[index], log.may_have_gaps());
        let place = segment.places.boundary(began.position, i64::MAX).filter(|place| place.pos == began.position);
        let known = place.map(|place| segment.base + i64::from(place.relative));
        let known = known.or((began.position == 0).then_some(segment.base));
        Self {
            next: known.unwrap_or(segment.base),
            at_most: if known.is_some() { known.filter(|_| !gaps) } else { Some(began.offset) },
            gaps,
            end_of_segment: log.end_of(index),
            epochs: log.derived.epochs.clone(),
        }
    }

    /// Goes past the next batch, if it can have this header.
    fn admit(&mut self, header: &BatchHeader) -> Result<(), String> {
        let first = header.base_offset;
        let follows = first >= self.next && self.at_most.is_none_or(|at_most| first <= at_most);
        self.next = header.next_offset();
        self.at_most = (!self.gaps).then_some(self.next);
        let epoch = self.epochs.epoch_at(first);
        let is_leaders = epoch.is_none_or(|epoch| epoch == header.leader_epoch);
        if follows && header.last_offset() < self.end_of_segment && is_leaders {
            Ok(())
        } else {
            Err("its offset or leader epoch cannot be there".into())
        }
    }
}

impl Check {
    /// A walk in `log`'s segment at `index` from `began` on, as for [`Order::new`].
    pub(crate) fn new(log: &Log, index: usize, request: &ReadRequest, upper: Offset, began: OffsetPosition) -> Self {
        let base = log.segments[index].base;
        Self {
            base,
            order: Order::new(log, index, began),
            from: request.from.max(base),
            upper,
            max_bytes: request.max_bytes,
            min_one_batch: request.min_one_batch,
            began: began.position,
            start: None,
            end: None,
            newest: None,
            checked: began.position,
            places: Vec::new(),
        }
    }

    fn take(&mut self, walked: &Walked<'_>) -> ControlFlow<()> {
        let header = walked.header;
        let (start, after) = (walked.start, walked.start + walked.size);
        if header.last_offset() >= self.upper {
            return ControlFlow::Break(());
        }
        self.checked = after;
        let first = self.start.is_none() && header.last_offset() >= self.from;
        if first {
            self.start = Some(start);
        }
        self.place(header.base_offset, start, first);
        let Some(begin) = self.start else {
            if self.newest.is_none_or(|newest| header.max_timestamp > newest.timestamp) {
                self.newest = Some(TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() });
            }
            return ControlFlow::Continue(());
        };
        if after - begin <= self.max_bytes || (first && self.min_one_batch) {
            self.end = Some((after, header.next_offset()));
            // The next fetch begins here, most likely.
            self.place(header.next_offset(), after, false);
        }
        // One slice more than was asked for is checked, so that the next fetch is answered at once.
        if after - begin >= self.max_bytes.saturating_add(SLICE) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn place(&mut self, offset: Offset, pos: u32, exact: bool) {
        let far = self.places.last().is_none_or(|last| pos >= last.pos.saturating_add(PLACE_EVERY));
        if let (true, Ok(relative)) = (exact || far, u32::try_from(offset - self.base)) {
            self.places.push(Place { relative, pos });
        }
    }
}

impl Find {
    /// A walk in `log`'s segment at `index` from `began` on, as for [`Order::new`].
    pub(crate) fn new(log: &Log, index: usize, query: TimestampQuery, upper: Offset, began: OffsetPosition) -> Self {
        Self {
            query,
            began: began.position,
            order: Order::new(log, index, began),
            from: log.log_start,
            upper,
            candidate: None,
            reading: false,
            bytes: Vec::new(),
            greatest: i64::MIN,
            found: None,
        }
    }

    fn take(&mut self, walked: &Walked<'_>) -> ControlFlow<()> {
        let header = walked.header;
        if header.base_offset >= self.upper {
            return ControlFlow::Break(());
        }
        if header.last_offset() < self.from || header.attributes.is_control() {
            return ControlFlow::Continue(());
        }
        let matches = match self.query {
            TimestampQuery::AtOrAfter(target) => header.max_timestamp >= target,
            TimestampQuery::Greatest => header.max_timestamp >= 0 && header.max_timestamp > self.greatest,
        };
        if !matches {
            return ControlFlow::Continue(());
        }
        self.greatest = header.max_timestamp;
        self.candidate = Some((walked.start, walked.size));
        match self.query {
            TimestampQuery::AtOrAfter(_) => ControlFlow::Break(()),
            TimestampQuery::Greatest => ControlFlow::Continue(()),
        }
    }

    fn next_read(&self) -> Option<(u64, u32)> {
        let (start, size) = self.candidate?;
        let done = u32::try_from(self.bytes.len()).ok()?;
        (done < size).then(|| (u64::from(start + done), (size - done).min(SLICE)))
    }

    /// Takes bytes of the candidate. Whether to go on.
    fn take_candidate(&mut self, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        if self.next_read().is_some() && !bytes.is_empty() {
            return true;
        }
        self.found = self.search();
        // The log start may lie within a batch: what matches there may be deleted, and the walk goes on behind it.
        self.candidate = None;
        self.bytes.clear();
        self.reading = false;
        self.found.is_none() && matches!(self.query, TimestampQuery::AtOrAfter(_))
    }

    fn search(&self) -> Option<(Offset, i64, i32)> {
        let batch = RecordBatch::first_of(&self.bytes).ok()?;
        let header = batch.header();
        let mut scratch = Vec::new();
        let records = batch.records(&mut scratch, INFLATE_LIMIT).ok()?;
        let stamped = |timestamp| match header.attributes.timestamp_type() {
            crate::record::TimestampType::CreateTime => timestamp,
            crate::record::TimestampType::LogAppendTime => header.max_timestamp,
        };
        let records = records.map_while(Result::ok).map(|record| (record.offset, stamped(record.timestamp)));
        let mut visible = records.filter(|(offset, _)| (self.from..self.upper).contains(offset));
        let (offset, timestamp) = match self.query {
            TimestampQuery::AtOrAfter(target) => visible.find(|(_, timestamp)| *timestamp >= target),
            // The first of several with the same.
            TimestampQuery::Greatest => visible.max_by_key(|(offset, timestamp)| (*timestamp, Reverse(*offset))),
        }?;
        Some((offset, timestamp, header.leader_epoch.0))
    }
}

impl Scan {
    /// One step of the job, as [`crate::job::Job::step`] wants it.
    pub(crate) fn step(mut self: Box<Self>, read: Option<Result<Bytes, DiskError>>) -> (Option<Box<Self>>, Next) {
        match self.advance(read) {
            Some((pos, len)) => {
                let file = self.file;
                (Some(self), Next::Read { file, pos, len })
            }
            None => (None, Next::Done(Box::new(Report::Scan(self)))),
        }
    }
}

impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.purpose {
            Purpose::Rebuild(_) => "rebuild",
            Purpose::Check(_) => "check",
            Purpose::Find(_) => "find",
        };
        write!(f, "{what} {}@{}", self.file, self.walk.pos())?;
        match &self.bad {
            Some((pos, why)) => write!(f, " bad at {pos}: {why}"),
            None => Ok(()),
        }
    }
}
