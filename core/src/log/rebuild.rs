//! Rebuilding what a log knows of its producers, after a truncation below what can be undone step by step: the
//! newest snapshot at or below the new end, and then the batches from there on.

use super::cold::Loaded;
use super::names::SegmentFile;
use super::partition::{Condition, Io, JobFor, Log};
use super::producer_snapshot;
use super::producer_state::{MAX_PRODUCERS, ProducerState};
use super::questions::Search;
use super::scan::{Derived, Purpose, Rebuild, Scan};
use super::segment::Segment;
use super::truncate::Cut;
use super::walk::Walk;
use crate::storage::{Health, LoadOwner};
use crate::types::{LeaderEpoch, Offset};

impl Log {
    /// Until it is done the log takes and gives nothing.
    pub(crate) fn rebuild_producers(&mut self, io: &mut Io<'_>) {
        self.condition = Condition::Rebuilding;
        if self.must_wait_for_writes(Search::Producers, io) {
            return;
        }
        if let Some(Search::Cut(offset)) = self.questions.unwritten.take() {
            self.want_cut(Cut::To(offset));
        }
        match self.checkpoints.newest_at(self.log_end) {
            Some(at) => {
                let path = self.file(at, SegmentFile::Snapshot);
                io.storage.load(path, LoadOwner::Producers(self.id, at), io.out);
            }
            None => {
                let producers = ProducerState::new(MAX_PRODUCERS, io.storage.planted);
                let first = self.segments.front().map_or(self.log_start, |first| first.base);
                self.replay_from(first, producers, first, io);
            }
        }
    }

    pub(crate) fn on_producers_loaded(&mut self, at: Offset, bytes: Loaded, io: &mut Io<'_>) {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(_) if io.storage.health(self.dir()) == Health::Offline => return,
            Err(error) => {
                let why = format!("the producer snapshot at {at} cannot be read: {error}");
                return self.damaged(super::api::Damage { segment: at, pos: 0, why, unreadable: true }, io);
            }
        };
        if at > self.log_end {
            return self.rebuild_producers(io);
        }
        let Some(producers) = bytes.and_then(|bytes| producer_snapshot::parse(&bytes).ok()) else {
            self.checkpoints.snapshots.retain(|&other| other != at);
            self.retire_file(at, SegmentFile::Snapshot, io);
            return self.rebuild_producers(io);
        };
        let producers = ProducerState::restore(producers, at, MAX_PRODUCERS, io.storage.planted);
        self.replay_from(at, producers, at, io);
    }

    /// Walks the segment that holds `offset`; batches below `from` are in the state already.
    fn replay_from(&mut self, offset: Offset, producers: ProducerState, from: Offset, io: &mut Io<'_>) {
        let index = self.segment_at(offset);
        if offset >= self.log_end || self.segments[index].size == 0 {
            return self.replayed(producers, io);
        }
        let segment = &self.segments[index];
        let base = segment.base;
        let pos = segment.indexes.as_ref().map_or(0, |indexes| indexes.offsets.lookup(offset).position);
        let rebuild = Rebuild {
            began: pos,
            segment: Segment::found(segment.base, pos, io.now.wall),
            derived: Derived { epochs: self.derived.epochs.clone(), producers },
            config: self.config.clone(),
            from,
            next: segment.base,
            epoch: LeaderEpoch(-1),
            claimed: Offset(i64::MAX),
            claim: None,
            claim_met: false,
            last: None,
        };
        let walk = Walk::new(pos, segment.size, true);
        self.scan(base, walk, Purpose::Rebuild(Box::new(rebuild)), JobFor::Rebuild(self.id), io);
    }

    pub(crate) fn on_replayed(&mut self, scan: Scan, io: &mut Io<'_>) {
        let Purpose::Rebuild(rebuild) = scan.purpose else {
            return;
        };
        let segment = rebuild.segment.base;
        let unreadable = scan.failed.is_some();
        let failed = scan.failed.map(|error| (rebuild.segment.size, error.to_string()));
        if let Some((pos, why)) = scan.bad.or(failed) {
            return self.damaged(super::api::Damage { segment, pos, why, unreadable }, io);
        }
        let next = self.segments.iter().map(|segment| segment.base).find(|&base| base > segment);
        match next {
            Some(next) => self.replay_from(next, rebuild.derived.producers, rebuild.from, io),
            None => self.replayed(rebuild.derived.producers, io),
        }
    }

    fn replayed(&mut self, mut producers: ProducerState, io: &mut Io<'_>) {
        producers.advance(self.log_end);
        producers.on_high_watermark(self.high_watermark);
        self.derived.producers = producers;
        self.condition = Condition::Usable;
        self.answer_all(io);
        self.go_on_to_cut(io);
    }
}
