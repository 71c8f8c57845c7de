//! Look-ups by time: the first record at or after a timestamp, or with the greatest (KIP-79, KIP-734).
//!
//! A segment is passed over if none of its records can match, which its time index tells; in the one that may,
//! a job walks the batches from where the index points, and then looks at the records of one batch.

use super::api::{Damage, TimestampPlan, TimestampQuery};
use super::offset_index::OffsetPosition;
use super::partition::{Io, Log};
use super::read::Need;
use super::scan::Find;
use super::segment::Segment;
use super::time_index::TimestampOffset;
use crate::machine::FileId;
use crate::storage::Storage;
use crate::types::{LeaderEpoch, Offset};

/// The answer, or what is missing for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimePlan {
    Answer(TimestampPlan),
    Need(Need),
}

impl Log {
    /// What to do next. Segments below `from` are known to hold nothing.
    pub(crate) fn plan_time(&self, query: TimestampQuery, from: Offset, upper: Offset, storage: &Storage) -> TimePlan {
        if self.is_out_of_use(storage) {
            return TimePlan::Answer(TimestampPlan::Storage);
        }
        let upper = upper.min(self.offsets(storage).written);
        let first = self.segment_at(from.max(self.log_start));
        let candidates = || self.segments.iter().skip(first).filter(|segment| segment.size > 0 && segment.base < upper);
        if from > self.log_end || candidates().next().is_none() {
            return TimePlan::Answer(TimestampPlan::NotFound);
        }
        if let TimestampQuery::Greatest = query
            && let Some(unknown) = candidates().find(|segment| segment.times.ceiling.is_none())
        {
            return TimePlan::Need(Need::Index(unknown.base));
        }
        let ceiling = |segment: &Segment| segment.times.ceiling.unwrap_or(i64::MAX);
        let segment = match query {
            TimestampQuery::AtOrAfter(target) => candidates().find(|segment| ceiling(segment) >= target),
            // The first of several with the same.
            TimestampQuery::Greatest => candidates().rev().max_by_key(|segment| ceiling(segment)),
        };
        let Some(segment) = segment else {
            return TimePlan::Answer(TimestampPlan::NotFound);
        };
        TimePlan::Need(need_in(segment, query, upper))
    }

    /// A walk for a timestamp has come back.
    pub(crate) fn on_find(
        &mut self,
        number: u64,
        find: &Find,
        file: FileId,
        bad: Option<(u32, String)>,
        io: &mut Io<'_>,
    ) {
        if let Some((segment, whole)) = self.age_asked(number) {
            let whole = *whole;
            return self.on_age((number, segment, whole), find, bad, io);
        }
        let segment = self.segments.iter().find(|segment| segment.file_id() == Some(file));
        let Some(base) = segment.map(|segment| segment.base) else {
            return self.answer_time(number, TimestampPlan::Storage, io);
        };
        if let Some((offset, timestamp, leader_epoch)) = find.found {
            let plan = TimestampPlan::Found { offset, timestamp, leader_epoch: LeaderEpoch(leader_epoch) };
            return self.answer_time(number, plan, io);
        }
        match bad {
            Some(_) if self.is_index_to_blame(base, find.began) => self.pursue(number, io),
            Some((pos, why)) => self.damaged(Damage { segment: base, pos, why, unreadable: false }, io),
            None => match find.query {
                TimestampQuery::AtOrAfter(_) => self.go_on_after(number, base, io),
                TimestampQuery::Greatest => self.answer_time(number, TimestampPlan::NotFound, io),
            },
        }
    }

    /// What to do next for a segment's greatest timestamp. `None`: nobody needs to know any more.
    pub(crate) fn plan_age(&self, base: Offset, whole: bool, storage: &Storage) -> Option<Need> {
        let index = self.segments.iter().position(|segment| segment.base == base && segment.size > 0)?;
        let (segment, upper) = (&self.segments[index], self.end_of(index).min(self.offsets(storage).written));
        let need = need_in(segment, TimestampQuery::Greatest, upper);
        match need {
            _ if self.is_out_of_use(storage) => None,
            Need::Walk { .. } if whole => {
                let from = OffsetPosition { offset: base, position: 0 };
                Some(Need::Walk { segment: base, from, upper })
            }
            Need::File(_) | Need::Index(_) | Need::Walk { .. } => Some(need),
        }
    }

    /// A walk for a segment's greatest timestamp has come back. What is not as the index says is looked for in all
    /// of the segment; what was appended meanwhile it has not seen, and then the next check asks again.
    fn on_age(
        &mut self,
        (number, base, whole): (u64, Offset, bool),
        find: &Find,
        bad: Option<(u32, String)>,
        io: &mut Io<'_>,
    ) {
        let is_whole = whole || find.began == 0;
        let index = self.segments.iter().position(|segment| segment.base == base);
        let seen = index.filter(|&index| self.end_of(index) == find.upper);
        let found = find.found.map_or(TimestampOffset { timestamp: -1, offset: base }, |(offset, timestamp, _)| {
            TimestampOffset { timestamp, offset }
        });
        match (bad, seen.map(|index| &mut self.segments[index].times)) {
            // Nobody asks how old something is that is gone.
            (Some(_), _) if index.is_none() => self.forget_question(number),
            (Some((pos, why)), _) if is_whole => {
                self.damaged(Damage { segment: base, pos, why, unreadable: false }, io);
            }
            (None, None) => self.forget_question(number),
            (None, Some(times)) if is_whole || times.ceiling == Some(found.timestamp) => {
                if times.ceiling != Some(found.timestamp) {
                    (times.greatest, times.ceiling) = (Some(found), Some(found.timestamp));
                }
                times.verified = true;
                self.forget_question(number);
            }
            _ => {
                if let Some((_, whole)) = self.age_asked(number) {
                    *whole = true;
                }
                self.pursue(number, io);
            }
        }
    }
}

fn need_in(segment: &Segment, query: TimestampQuery, upper: Offset) -> Need {
    if segment.file_id().is_none() {
        return Need::File(segment.base);
    }
    let Some(indexes) = &segment.indexes else {
        return Need::Index(segment.base);
    };
    let target = match query {
        TimestampQuery::AtOrAfter(target) => target.saturating_sub(1),
        // What lies below the last entry has no greater timestamp than it, but may have the same.
        TimestampQuery::Greatest => indexes.times.last().timestamp.saturating_sub(1),
    };
    let known = indexes.times.lookup(target);
    Need::Walk { segment: segment.base, from: indexes.offsets.lookup(known.offset), upper }
}
