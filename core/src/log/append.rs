//! Appending: who gives the offsets, what is checked, when a segment is full.

use bytes::Bytes;

use super::api::{AppendError, AppendOrigin, Appended, Batch, LogConfig};
use super::names::SegmentFile;
use super::partition::{Condition, Io, Log};
use super::producer_state::{Check, MarkerCheck, ProducerBatch};
use super::segment::Segment;
use super::walk::marker_of;
use crate::clock::WallTime;
use crate::machine::{FileAction, OpenMode};
use crate::planted::{Plant, Planted};
use crate::record::{BatchHeader, EndTxnMarker};
use crate::storage::{Health, Mark};
use crate::types::{LeaderEpoch, Offset};

impl Log {
    /// See [`super::LogManager::append`].
    pub(crate) fn append(
        &mut self,
        leader_epoch: LeaderEpoch,
        batch: &Batch<'_>,
        origin: AppendOrigin,
        awaited: bool,
        io: &mut Io<'_>,
    ) -> Result<Appended, AppendError> {
        let health = io.storage.health(self.dir());
        if self.condition != Condition::Usable || (health != Health::Online && !io.storage.planted.has(Plant::Log05)) {
            return Err(AppendError::Storage);
        }
        let mut header = BatchHeader::parse(&batch.bytes).map_err(|_| AppendError::InvalidRecord)?;
        let marker = marker_of(&header, &batch.bytes);
        if origin == AppendOrigin::Replica {
            if header.base_offset < self.log_end {
                return Err(AppendError::OffsetTaken);
            }
        } else {
            if let Some(answer) = self.check_producer(&header, batch.facts.timestamps.max, marker)? {
                return Ok(answer);
            }
            header.base_offset = self.log_end;
            header.leader_epoch = leader_epoch;
        }
        let size = u32::try_from(batch.bytes.len()).map_err(|_| AppendError::TooLarge)?;
        if origin != AppendOrigin::Replica && size > self.config.segment_bytes {
            return Err(AppendError::TooLarge);
        }
        if must_roll(self.active(), &header, size, &self.config, io.now.wall, io.storage.planted) {
            self.roll(header.base_offset, io);
        }
        self.write(&header, size, &batch.bytes, awaited, io);
        self.take(&header, size, marker, io);
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            log_start_offset: self.log_start,
            duplicate: false,
        })
    }

    /// The idempotent producer's contract (KIP-98, KIP-360). `Some`: the batch is in the log already.
    fn check_producer(
        &self,
        header: &BatchHeader,
        max_timestamp: i64,
        marker: Option<EndTxnMarker>,
    ) -> Result<Option<Appended>, AppendError> {
        if !header.producer.is_some() {
            return Ok(None);
        }
        if let Some(marker) = marker {
            let check = self.derived.producers.check_marker(header.producer.id, header.producer.epoch, marker);
            return match check {
                MarkerCheck::Accept => Ok(None),
                MarkerCheck::InvalidProducerEpoch => Err(AppendError::InvalidProducerEpoch),
                MarkerCheck::CoordinatorFenced => Err(AppendError::CoordinatorFenced),
            };
        }
        let batch = ProducerBatch { max_timestamp, ..ProducerBatch::from(header) };
        match self.derived.producers.check(&batch) {
            Check::Accept => Ok(None),
            Check::Duplicate { base_offset, last_offset, .. } => {
                Ok(Some(Appended { base_offset, last_offset, log_start_offset: self.log_start, duplicate: true }))
            }
            Check::ForgottenDuplicate => Err(AppendError::DuplicateSequence),
            Check::OutOfOrderSequence => Err(AppendError::OutOfOrderSequence),
            Check::InvalidProducerEpoch => Err(AppendError::InvalidProducerEpoch),
            Check::InvalidTxnState => Err(AppendError::InvalidTxnState),
        }
    }

    fn write(&mut self, header: &BatchHeader, size: u32, bytes: &Bytes, awaited: bool, io: &mut Io<'_>) {
        let active = self.active();
        let file = active.file_id().expect("the active segment's file is open as long as the log is usable");
        let mark = Mark {
            end: header.next_offset(),
            segment: active.base,
            start: active.size,
            pos: active.size + size,
            crc: Some(header.crc),
            begins: false,
            unsure: false,
        };
        let rest = bytes.slice(16..);
        io.storage.append(self.id, file, mark, header.base_offset, header.leader_epoch, rest, awaited, io.out);
    }

    /// Takes note of the batch in everything that follows from it.
    fn take(&mut self, header: &BatchHeader, size: u32, marker: Option<EndTxnMarker>, io: &mut Io<'_>) {
        let Some(active) = self.segments.back_mut() else {
            return;
        };
        active.checked.add(active.size, active.size + size);
        active.note(header, size, &self.config);
        self.derived.take(header, marker, active);
        self.log_end = header.next_offset();
        self.checkpoints.since += u64::from(size);
        if self.checkpoints.since >= u64::from(io.config.checkpoint_bytes) {
            self.checkpoint(io);
        }
    }

    /// Closes the active segment and begins another at `base`.
    pub(crate) fn roll(&mut self, base: Offset, io: &mut Io<'_>) {
        self.checkpoint(io);
        let file = io.storage.new_file();
        let open = FileAction::Open { file, path: self.file(base, SegmentFile::Log), mode: OpenMode::Create };
        io.storage.name(self.id, open, io.out);
        io.cold.push_back((self.id, self.active().base));
        self.segments.push_back(Segment::new(base, file, &self.config, io.now.wall));
    }
}

/// Whether a batch needs a new segment: by size, age, index, or an offset that its base cannot express (S7).
fn must_roll(
    active: &Segment,
    header: &BatchHeader,
    size: u32,
    config: &LogConfig,
    now: WallTime,
    planted: Planted,
) -> bool {
    if active.size == 0 {
        return false;
    }
    let too_long = u64::from(active.size) + u64::from(size) > u64::from(config.segment_bytes);
    let age_ms = match active.times.first {
        Some(first) if header.max_timestamp >= 0 => header.max_timestamp.saturating_sub(first),
        _ => now.0.saturating_sub(active.times.seen.0),
    };
    let too_old = age_ms > config.segment_ms;
    let too_far = i32::try_from(header.last_offset() - active.base).is_err() && !planted.has(Plant::Log08);
    too_long || too_old || too_far || active.is_index_full()
}
