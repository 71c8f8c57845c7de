//! Questions that need the disk: parked, fetched for, and answered by their ticket.
//!
//! Each question has a number and fetches one thing at a time. Whatever comes back, the plan is made again from
//! what is known then: a truncation or a deletion meanwhile is seen, and never answered from what was.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::api::{Damage, LogEvent, ReadPlan, ReadRequest, Ticket, TimestampPlan, TimestampQuery};
use super::offset_index::{OffsetIndex, OffsetPosition};
use super::partition::{Io, JobFor, Log};
use super::read::{Need, Plan};
use super::scan::{Check, Find, Purpose, Scan};
use super::timestamps::TimePlan;
use super::walk::Walk;
use crate::job::{Job, SLICE};
use crate::machine::{DiskResult, FileAction, FileId, FileRange, JobId};
use crate::storage::{LogOp, Owner};
use crate::types::Offset;

/// The parked questions of one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Questions {
    parked: BTreeMap<u64, Question>,
    last: u64,
    /// Segments whose indexes are being read, with the first of the two files.
    pub(crate) loading: BTreeMap<Offset, Option<Bytes>>,
    /// A job that waits until its segment's file is open.
    pub(super) held: Option<(Offset, Job, JobFor)>,
    /// What the log is to look for in its own bytes when all of them are written.
    pub(super) unwritten: Option<Search>,
}

/// What a log looks for in its own bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Search {
    /// The batch at which it is to be cut: the one that holds this offset.
    Cut(Offset),
    /// What its producers did.
    Producers,
}

impl Questions {
    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.loading.is_empty() && self.held.is_none()
    }
}

#[derive(Clone, Debug)]
struct Question {
    asked: Asked,
    /// The job that looks for it.
    job: Option<JobId>,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Range(ReadRequest),
    /// The same, and then the bytes themselves.
    Bytes(ReadRequest, Option<Slices>),
    Time {
        query: TimestampQuery,
        upper: Offset,
        ticket: Ticket,
        /// Segments below it are known to hold nothing.
        from: Offset,
    },
    /// The greatest timestamp of a segment, by its batches; `whole`: of all of them, whatever the indexes say.
    Age {
        segment: Offset,
        whole: bool,
    },
}

/// Bytes being read.
#[derive(Clone, Debug)]
pub(crate) struct Slices {
    range: FileRange,
    bytes: BytesMut,
    /// The read that is under way: one of a plan before this one brings nothing any more.
    read: u64,
}

impl Log {
    /// See [`super::LogManager::read`].
    pub(crate) fn read(&mut self, request: ReadRequest, io: &mut Io<'_>) -> ReadPlan {
        match self.plan(&request, io.storage) {
            Plan::Answer(plan) => plan,
            Plan::Need(_) => {
                self.park(Asked::Range(request), io);
                ReadPlan::Pending
            }
        }
    }

    /// Parks a question and fetches what it needs first, or answers it.
    pub(crate) fn park(&mut self, asked: Asked, io: &mut Io<'_>) {
        self.questions.last += 1;
        let number = self.questions.last;
        self.questions.parked.insert(number, Question { asked, job: None });
        self.pursue(number, io);
    }

    /// Something changed for all: each question is planned again. Jobs that run bring nothing any more.
    pub(crate) fn answer_all(&mut self, io: &mut Io<'_>) {
        let numbers: Vec<u64> = self.questions.parked.keys().copied().collect();
        for number in numbers {
            if let Some(question) = self.questions.parked.get_mut(&number) {
                question.job = None;
                if let Asked::Bytes(_, slices) = &mut question.asked {
                    *slices = None;
                }
            }
            self.pursue(number, io);
        }
    }

    /// Plans again those that no job looks for.
    pub(crate) fn answer_idle(&mut self, io: &mut Io<'_>) {
        let idle = |question: &Question| question.job.is_none() && !matches!(question.asked, Asked::Bytes(_, Some(_)));
        let parked = self.questions.parked.iter();
        let numbers: Vec<u64> = parked.filter(|(_, question)| idle(question)).map(|(&number, _)| number).collect();
        for number in numbers {
            self.pursue(number, io);
        }
    }

    pub(super) fn pursue(&mut self, number: u64, io: &mut Io<'_>) {
        let Some(question) = self.questions.parked.get(&number) else {
            return;
        };
        let plan = match &question.asked {
            Asked::Range(request) | Asked::Bytes(request, _) => self.plan(request, io.storage),
            Asked::Time { query, upper, from, .. } => {
                let (query, upper, from) = (*query, *upper, *from);
                return match self.plan_time(query, from, upper, io.storage) {
                    TimePlan::Answer(plan) => self.answer_time(number, plan, io),
                    TimePlan::Need(need) => self.fetch(number, need, io),
                };
            }
            Asked::Age { segment, whole } => {
                return match self.plan_age(*segment, *whole, io.storage) {
                    Some(need) => self.fetch(number, need, io),
                    None => self.forget_question(number),
                };
            }
        };
        match plan {
            Plan::Answer(plan) => self.answer(number, plan, io),
            Plan::Need(need) => self.fetch(number, need, io),
        }
    }

    fn fetch(&mut self, number: u64, need: Need, io: &mut Io<'_>) {
        match need {
            Need::File(base) => self.open(base, io),
            Need::Index(base) => self.load_indexes(base, io),
            Need::Walk { segment, from, upper } => self.walk(number, segment, from, upper, io),
        }
    }

    fn walk(&mut self, number: u64, base: Offset, from: OffsetPosition, upper: Offset, io: &mut Io<'_>) {
        let Some(question) = self.questions.parked.get(&number) else {
            return;
        };
        let index = self.segment_at(base);
        let purpose = match &question.asked {
            Asked::Range(request) | Asked::Bytes(request, _) => {
                Purpose::Check(Check::new(self, index, request, upper, from))
            }
            Asked::Time { query, .. } => Purpose::Find(Find::new(self, index, *query, upper, from)),
            Asked::Age { .. } => Purpose::Find(Find::new(self, index, TimestampQuery::Greatest, upper, from)),
        };
        let written = io.storage.stream(self.id).map(|stream| stream.written);
        let Some(segment) = self.segment_mut(base) else {
            return;
        };
        let Some(file) = segment.file_id() else {
            return;
        };
        // What was issued and is not written yet is not in the file.
        let unwritten = written.filter(|written| written.segment == base);
        let end = unwritten.map_or(segment.size, |written| written.pos.min(segment.size));
        let walk = Walk::new(from.position, end, true);
        let job = Job::Scan(Some(Box::new(Scan::new(file, walk, purpose))));
        let job = io.jobs.run(job, JobFor::Question(self.id, number), io.out);
        if let Some(question) = self.questions.parked.get_mut(&number) {
            question.job = Some(job);
        }
    }

    /// A job has come back.
    pub(crate) fn on_scan(&mut self, job: JobId, number: u64, scan: Scan, io: &mut Io<'_>) {
        let Some(question) = self.questions.parked.get_mut(&number).filter(|question| question.job == Some(job)) else {
            return;
        };
        question.job = None;
        // First of all: a walk that could not read has found nothing, which is not the same as nothing being there.
        if let Some(error) = scan.failed {
            let base =
                self.segments.iter().find(|segment| segment.file_id() == Some(scan.file)).map(|segment| segment.base);
            return match base {
                Some(segment) => {
                    let why = format!("it cannot be read: {error}");
                    self.damaged(Damage { segment, pos: 0, why, unreadable: true }, io);
                }
                None => self.pursue(number, io),
            };
        }
        match scan.purpose {
            Purpose::Check(check) => self.on_check(number, scan.file, &check, scan.bad, io),
            Purpose::Find(find) => self.on_find(number, &find, scan.file, scan.bad, io),
            Purpose::Rebuild(_) => {}
        }
    }

    fn on_check(&mut self, number: u64, file: FileId, check: &Check, bad: Option<(u32, String)>, io: &mut Io<'_>) {
        let Some(segment) = self.segment_mut(check.base) else {
            return self.pursue(number, io);
        };
        segment.places.merge(&check.places);
        segment.checked.add(check.began, check.checked);
        if let (Some(pos), Some((end_pos, end))) = (check.start, check.end) {
            let range = FileRange { file, pos, len: end_pos - pos };
            return self.answer(number, ReadPlan::Ready { range, end }, io);
        }
        match bad {
            Some(_) if self.is_index_to_blame(check.base, check.began) => self.pursue(number, io),
            Some((pos, why)) => {
                let segment = check.base;
                self.damaged(Damage { segment, pos, why, unreadable: false }, io);
            }
            None if check.start.is_some() => self.answer(number, ReadPlan::Empty, io),
            None => self.answer_from_next(number, check.base, io),
        }
    }

    /// A walk that began where an index on disk said may have begun in the middle of a batch. The index is
    /// forgotten, and the next walk begins at the segment's start: it tells whose fault it was.
    pub(crate) fn is_index_to_blame(&mut self, base: Offset, began: u32) -> bool {
        let (is_active, max) = (self.active().base == base, self.config.index_size_max_bytes as usize);
        let Some(segment) = self.segment_mut(base) else {
            return false;
        };
        let Some(indexes) = segment.indexes.as_mut().filter(|_| began > 0) else {
            return false;
        };
        // Of the one that is written a start has read it. All else that is known of it is saved from here.
        if is_active {
            let is_known = !indexes.offsets.is_empty();
            indexes.offsets = OffsetIndex::new(base, max);
            return is_known;
        }
        segment.places.clear();
        segment.indexes = Some(super::segment::Indexes::new(base, &super::api::LogConfig::default()));
        true
    }

    /// The segment ends before the offset (compaction left a gap): the answer is in the next one.
    fn answer_from_next(&mut self, number: u64, base: Offset, io: &mut Io<'_>) {
        let next = self.segments.iter().map(|segment| segment.base).find(|&next| next > base);
        let asked = self.questions.parked.get_mut(&number).map(|question| &mut question.asked);
        match (asked, next) {
            (Some(Asked::Range(request) | Asked::Bytes(request, _)), Some(next)) => {
                request.from = request.from.max(next);
                self.pursue(number, io);
            }
            _ => self.answer(number, ReadPlan::Empty, io),
        }
    }

    fn answer(&mut self, number: u64, plan: ReadPlan, io: &mut Io<'_>) {
        let Some(question) = self.questions.parked.get_mut(&number) else {
            return;
        };
        if let (Asked::Bytes(_, slices), ReadPlan::Ready { range, .. }) = (&mut question.asked, plan) {
            self.questions.last += 1;
            *slices = Some(Slices { range, bytes: BytesMut::new(), read: self.questions.last });
            return self.read_slice(number, io);
        }
        let Some(question) = self.questions.parked.remove(&number) else {
            return;
        };
        io.events.push(match question.asked {
            Asked::Range(request) => LogEvent::ReadDone { ticket: request.ticket, plan },
            Asked::Bytes(request, _) => {
                LogEvent::BytesDone { ticket: request.ticket, bytes: (plan == ReadPlan::Empty).then(Bytes::new) }
            }
            Asked::Time { ticket, .. } => LogEvent::TimestampDone { ticket, plan: TimestampPlan::Storage },
            Asked::Age { .. } => return,
        });
    }

    /// Looks for the greatest timestamp of a segment, if nobody does.
    pub(crate) fn ask_age(&mut self, base: Offset, io: &mut Io<'_>) {
        let is_it = |question: &Question| matches!(question.asked, Asked::Age { segment, .. } if segment == base);
        if !self.questions.parked.values().any(is_it) {
            self.park(Asked::Age { segment: base, whole: false }, io);
        }
    }

    /// The segment whose greatest timestamp a question is for.
    pub(super) fn age_asked(&mut self, number: u64) -> Option<(Offset, &mut bool)> {
        match &mut self.questions.parked.get_mut(&number)?.asked {
            Asked::Age { segment, whole } => Some((*segment, whole)),
            Asked::Range(_) | Asked::Bytes(..) | Asked::Time { .. } => None,
        }
    }

    /// A question that nobody waits for needs no answer.
    pub(super) fn forget_question(&mut self, number: u64) {
        self.questions.parked.remove(&number);
    }

    /// Answers a question for a timestamp.
    pub(crate) fn answer_time(&mut self, number: u64, plan: TimestampPlan, io: &mut Io<'_>) {
        if let Some(Question { asked: Asked::Time { ticket, .. }, .. }) = self.questions.parked.remove(&number) {
            io.events.push(LogEvent::TimestampDone { ticket, plan });
        }
    }

    /// A question for a timestamp goes on after a segment that does not hold it.
    pub(crate) fn go_on_after(&mut self, number: u64, segment: Offset, io: &mut Io<'_>) {
        let next = self.segments.iter().map(|segment| segment.base).find(|&next| next > segment);
        if let Some(Question { asked: Asked::Time { from, .. }, .. }) = self.questions.parked.get_mut(&number) {
            *from = next.unwrap_or(Offset(i64::MAX));
        }
        self.pursue(number, io);
    }

    fn read_slice(&mut self, number: u64, io: &mut Io<'_>) {
        let Some(Asked::Bytes(_, Some(slices))) = self.questions.parked.get(&number).map(|question| &question.asked)
        else {
            return;
        };
        let done = u32::try_from(slices.bytes.len()).unwrap_or(u32::MAX);
        let read = FileAction::Read {
            file: slices.range.file,
            pos: u64::from(slices.range.pos + done),
            len: (slices.range.len - done).min(SLICE),
        };
        io.storage.act(
            self.dir(),
            Owner::Log(self.id, LogOp::Slice { question: number, read: slices.read }),
            read,
            io.out,
        );
    }

    /// A slice of bytes was read, or could not be.
    pub(crate) fn on_slice(&mut self, (number, read): (u64, u64), result: DiskResult, io: &mut Io<'_>) {
        let Some(Question { asked: Asked::Bytes(request, Some(slices)), .. }) = self.questions.parked.get_mut(&number)
        else {
            return;
        };
        if slices.read != read {
            return;
        }
        let ticket = request.ticket;
        let DiskResult::Bytes(bytes) = result else {
            self.questions.parked.remove(&number);
            return io.events.push(LogEvent::BytesDone { ticket, bytes: None });
        };
        slices.bytes.extend_from_slice(&bytes);
        if bytes.is_empty() {
            self.questions.parked.remove(&number);
            return io.events.push(LogEvent::BytesDone { ticket, bytes: None });
        }
        if slices.bytes.len() < slices.range.len as usize {
            return self.read_slice(number, io);
        }
        if let Some(Question { asked: Asked::Bytes(_, Some(slices)), .. }) = self.questions.parked.remove(&number) {
            let bytes = Some(slices.bytes.freeze());
            io.events.push(LogEvent::BytesDone { ticket, bytes });
        }
    }

    /// Whoever still waits when the log goes is told so.
    pub(crate) fn refuse_all(&mut self, io: &mut Io<'_>) {
        for question in std::mem::take(&mut self.questions.parked).into_values() {
            io.events.push(match question.asked {
                Asked::Range(ReadRequest { ticket, .. }) => LogEvent::ReadDone { ticket, plan: ReadPlan::Storage },
                Asked::Bytes(ReadRequest { ticket, .. }, _) => LogEvent::BytesDone { ticket, bytes: None },
                Asked::Time { ticket, .. } => LogEvent::TimestampDone { ticket, plan: TimestampPlan::Storage },
                Asked::Age { .. } => continue,
            });
        }
    }
}
