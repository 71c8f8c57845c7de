//! What the index files of a segment say at a start, and how far they are believed.

use super::offset_index::OffsetIndex;
use super::partition::Io;
use super::recovery::{Recovered, Recovery};
use super::scan::Derived;
use super::segment::{Indexes, Saved, Segment};
use super::time_index::TimeIndex;
use super::txn_index::TxnIndex;
use crate::machine::FileId;
use crate::types::Offset;

impl Recovery {
    /// A segment as far as its indexes are to be believed: up to the last entry below the checkpoint, and no
    /// further than the batch that the claim names.
    pub(super) fn known_of(&mut self, base: Offset, len: u32, file: FileId, io: &Io<'_>) -> Segment {
        let max = self.config.index_size_max_bytes as usize;
        let mut segment = Segment::new(base, file, &self.config, io.now.wall);
        if self.files.indexes.iter().any(|(indexed, _)| *indexed == base) {
            segment.saved = Saved::Partly;
        }
        let [offsets, times, aborted] = std::mem::take(&mut self.indexes);
        let first_time =
            times.as_ref().and_then(|bytes| bytes.first_chunk::<8>()).map(|bytes| i64::from_be_bytes(*bytes));
        // What they say beyond the end is cut off below, with all that the checkpoint does not prove.
        let offsets = offsets.and_then(|bytes| OffsetIndex::parse(base, max, &bytes, u32::MAX).ok());
        let times = times.and_then(|bytes| TimeIndex::parse(base, max, &bytes, Offset(i64::MAX)).ok());
        let aborted = aborted.map_or(Ok(TxnIndex::new()), |bytes| TxnIndex::parse(base, &bytes));
        let (Some(mut offsets), Some(mut times), Ok(mut aborted)) = (offsets, times, aborted) else {
            return segment;
        };
        let below = self.from + -1;
        let aborts = aborted.entries().last().map_or(Offset(-1), |last| last.last_offset);
        let is_proven = offsets.last().offset <= below && times.last().offset <= below && aborts <= below;
        self.walked.proven = is_proven.then_some(base);
        let claimed = self.claim.filter(|claim| claim.segment == base).map_or(u32::MAX, |claim| claim.start);
        let by_offset = offsets.lookup(below);
        let at = if by_offset.position <= claimed { by_offset } else { offsets.lookup_position(claimed) };
        if at.position == 0 || at.position >= len {
            return segment;
        }
        let _ = (offsets.truncate_to(at.offset), times.truncate_to(at.offset), aborted.truncate_to(self.from));
        segment.times.ceiling = Some(times.last().timestamp);
        segment.times.greatest = Some(times.last());
        segment.times.first = first_time;
        segment.times.verified = false;
        segment.size = at.position;
        segment.indexes = Some(Indexes::loaded(offsets, times, aborted, at.position));
        segment
    }

    /// A walk that began where an index says may have begun in the middle of a batch. The next one begins at the
    /// segment's start: it tells whose fault it was.
    pub(super) fn walk_without_index(&mut self, base: Offset, derived: Derived, io: &mut Io<'_>) -> Recovered {
        self.walked.derived = Some(derived);
        (self.walked.proven, self.walked.spoilt) = (None, Some(base));
        self.walk(io)
    }
}
