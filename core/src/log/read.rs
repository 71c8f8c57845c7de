//! Reading: from an offset to a range of a file that holds whole batches and may be sent.
//!
//! What the tail and the known places can answer is answered at once. Otherwise [`Need`] says what must be
//! fetched first: an older segment's file opened, its index read, or the range looked for and checked by a job.
//! Bytes that this process neither wrote nor checked are never sent (S3).

use super::api::{ReadPlan, ReadRequest};
use super::offset_index::OffsetPosition;
use super::partition::{Condition, Log};
use super::segment::Segment;
use crate::machine::FileRange;
use crate::storage::{Health, Storage};
use crate::types::Offset;

/// The answer, or what is missing for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Answer(ReadPlan),
    Need(Need),
}

/// What must be fetched before a question can be answered. The segment is named by its base offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The file is to be opened.
    File(Offset),
    /// The offset and time indexes are to be read.
    Index(Offset),
    /// A walk over the batches from a position on, where one starts whose first offset is `from`'s or a lower one.
    Walk { segment: Offset, from: OffsetPosition, upper: Offset },
}

impl Log {
    /// Where the records are, as far as memory tells.
    pub(crate) fn plan(&self, request: &ReadRequest, storage: &Storage) -> Plan {
        if self.is_out_of_use(storage) {
            return Plan::Answer(ReadPlan::Storage);
        }
        let upper = request.upper.min(self.offsets(storage).written);
        if request.from < self.log_start || request.from > self.log_end {
            return Plan::Answer(ReadPlan::OutOfRange);
        }
        if request.from >= upper {
            return Plan::Answer(ReadPlan::Empty);
        }
        let mut index = self.segment_at(request.from);
        let mut from = request.from;
        while self.segments[index].size == 0 && index + 1 < self.segments.len() {
            index += 1;
            from = self.segments[index].base;
        }
        let segment = &self.segments[index];
        let request = ReadRequest { from, ..*request };
        let view = View { segment, end: self.end_of(index), upper };
        view.plan(&request)
    }

    /// Whether nothing may be read from it.
    pub(crate) fn is_out_of_use(&self, storage: &Storage) -> bool {
        storage.health(self.dir()) == Health::Offline || self.condition != Condition::Usable
    }
}

/// One segment as a reader may see it.
struct View<'a> {
    segment: &'a Segment,
    /// The offset after its last.
    end: Offset,
    upper: Offset,
}

impl View<'_> {
    fn plan(&self, request: &ReadRequest) -> Plan {
        let base = self.segment.base;
        let Some(file) = self.segment.file_id() else {
            return Plan::Need(Need::File(base));
        };
        let Some(start) = self.start(request.from) else {
            return self.walk_from_hint(request.from);
        };
        let Some((pos, end)) = self.range_end(start, request) else {
            return self.walk(OffsetPosition { offset: request.from, position: start });
        };
        if pos <= start {
            return Plan::Answer(ReadPlan::Empty);
        }
        if !self.segment.checked.has(start, pos) {
            return self.walk(OffsetPosition { offset: request.from, position: start });
        }
        let range = FileRange { file, pos: start, len: pos - start };
        Plan::Answer(ReadPlan::Ready { range, end })
    }

    /// Where the batch starts that holds the offset, if that is known.
    fn start(&self, from: Offset) -> Option<u32> {
        let relative = u32::try_from(from - self.segment.base).ok()?;
        if let Some(place) = self.segment.places.holding(relative) {
            return Some(place.pos);
        }
        // A segment's first batch is where the file begins, whatever is known.
        (relative == 0).then_some(0)
    }

    /// Where a range from `start` on ends: position and offset. `None` if that is not known; `start` itself if
    /// nothing fits.
    fn range_end(&self, start: u32, request: &ReadRequest) -> Option<(u32, Offset)> {
        let segment = self.segment;
        let limit = start.saturating_add(request.max_bytes);
        if segment.size <= limit && self.end <= self.upper {
            return Some((segment.size, self.end));
        }
        let known = segment.places.boundary(limit, self.upper - segment.base);
        if let Some(place) = known.filter(|place| place.pos > start) {
            return Some((place.pos, segment.base + i64::from(place.relative)));
        }
        if !segment.places.is_dense_from(start) {
            return None;
        }
        if !request.min_one_batch {
            return Some((start, request.from));
        }
        let next = segment.places.next_after(start);
        let (pos, end) =
            next.map_or((segment.size, self.end), |place| (place.pos, segment.base + i64::from(place.relative)));
        // A batch that reaches beyond the bound is not given.
        Some(if end <= self.upper { (pos, end) } else { (start, request.from) })
    }

    fn walk_from_hint(&self, from: Offset) -> Plan {
        let relative = u32::try_from(from - self.segment.base).unwrap_or(u32::MAX);
        if let Some(place) = self.segment.places.before(relative) {
            let known = OffsetPosition { offset: self.segment.base + i64::from(place.relative), position: place.pos };
            let hint = self.hint(from).filter(|hint| hint.position > known.position);
            return self.walk(hint.unwrap_or(known));
        }
        match self.hint(from) {
            Some(hint) => self.walk(hint),
            None => Plan::Need(Need::Index(self.segment.base)),
        }
    }

    /// What the offset index says, if it is there.
    fn hint(&self, from: Offset) -> Option<OffsetPosition> {
        Some(self.segment.indexes.as_ref()?.offsets.lookup(from))
    }

    fn walk(&self, from: OffsetPosition) -> Plan {
        Plan::Need(Need::Walk { segment: self.segment.base, from, upper: self.upper })
    }
}
