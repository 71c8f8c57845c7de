//! What a Fetch brought of one partition, read batch by batch as it is polled.
//!
//! Records are slices of the frame, or of the inflated batch: nothing is copied. Control batches are skipped, and so
//! is what lies before the place that was asked for, and, for read_committed, what was aborted.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::record::{self, BatchError, Codec, ControlType, Record, RecordBatch, Records, ScanError};
use crate::types::{LeaderEpoch, Offset, ProducerId};

use super::super::boundary::{FetchedRecord, ReadError};

/// What a batch may inflate to: that of a broker of our choice, so only the absurd is refused.
const INFLATED_LIMIT: u64 = 1 << 30;

#[derive(Clone, Debug)]
pub(super) struct Chunk {
    batches: Bytes,
    at: usize,
    /// The records of the batch before `at` that were not polled.
    ready: VecDeque<FetchedRecord>,
    /// Where the next record is, as far as this chunk tells.
    next: Place,
    terms: Terms,
    /// Producers whose records are being aborted from here on.
    aborting: BTreeSet<ProducerId>,
    /// Aborted transactions that begin later: first offset and producer, in order.
    aborted: VecDeque<(Offset, ProducerId)>,
}

/// A place in a partition, and the epoch of the record before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Place {
    pub(in super::super) offset: Offset,
    /// -1: not known.
    pub(in super::super) epoch: LeaderEpoch,
}

/// How to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) check_crcs: bool,
    pub(super) committed_only: bool,
}

impl Chunk {
    /// `batches` were fetched at `from`; `aborted` are the aborted transactions that touch them.
    pub(super) fn new(batches: Bytes, from: Place, terms: Terms, mut aborted: Vec<(Offset, ProducerId)>) -> Self {
        aborted.sort_unstable();
        let ready = VecDeque::new();
        let (aborting, aborted) = (BTreeSet::new(), aborted.into());
        Self { batches, at: 0, ready, next: from, terms, aborting, aborted }
    }

    /// Moves at most `most` records to `out`.
    ///
    /// # Errors
    /// The next batch cannot be read; all before it was moved.
    pub(super) fn take(&mut self, most: usize, out: &mut Vec<FetchedRecord>) -> Result<(), ReadError> {
        let enough = out.len().saturating_add(most);
        while out.len() < enough {
            match self.ready.pop_front() {
                Some(record) => out.push(record),
                None if self.at < self.batches.len() => self.read_batch()?,
                None => break,
            }
        }
        Ok(())
    }

    /// Where the next record is.
    pub(super) fn place(&self) -> Place {
        let front = self.ready.front();
        front.map_or(self.next, |record| Place { offset: record.offset, epoch: record.leader_epoch })
    }

    /// Whether it is read to its end.
    pub(super) fn is_done(&self) -> bool {
        self.ready.is_empty() && self.at >= self.batches.len()
    }

    fn read_batch(&mut self) -> Result<(), ReadError> {
        let blob = self.batches.clone();
        let batch = match RecordBatch::first_of(&blob[self.at..]) {
            Ok(batch) => batch,
            // A response may end inside a batch, but not inside its first (KIP-74).
            Err(BatchError::Cut { .. }) if self.at > 0 => {
                self.at = self.batches.len();
                return Ok(());
            }
            Err(error) => return Err(ReadError::Damaged { offset: self.next.offset, error: error.into() }),
        };
        let damaged = |error| ReadError::Damaged { offset: batch.header().base_offset, error };
        if self.terms.check_crcs {
            batch.check_crc().map_err(damaged)?;
        }
        let header = batch.header();
        if header.next_offset() <= self.next.offset {
            // Compaction may leave a batch whose last record lies before the place; it says nothing new.
            self.at += batch.bytes().len();
            return Ok(());
        }
        if self.is_visible(&batch, &blob)? {
            self.read_records(&batch, &blob).map_err(damaged)?;
        }
        self.at += batch.bytes().len();
        self.next = Place { offset: header.next_offset(), epoch: header.leader_epoch };
        Ok(())
    }

    /// Whether a batch is for the program: it is no control batch and was not aborted.
    fn is_visible(&mut self, batch: &RecordBatch<'_>, blob: &Bytes) -> Result<bool, ReadError> {
        let header = batch.header();
        let producer = header.producer.id;
        while let Some((_, aborted)) = self.aborted.pop_front_if(|it| it.0 <= header.last_offset()) {
            self.aborting.insert(aborted);
        }
        if !header.attributes.is_control() {
            let transactional = header.attributes.is_transactional();
            return Ok(!(self.terms.committed_only && transactional && self.aborting.contains(&producer)));
        }
        if self.aborting.contains(&producer) && is_abort(batch, blob) {
            self.aborting.remove(&producer);
        }
        Ok(false)
    }

    fn read_records(&mut self, batch: &RecordBatch<'_>, blob: &Bytes) -> Result<(), ScanError> {
        let header = batch.header();
        let problem = |index| move |problem| ScanError::Record { index, problem };
        let inflated = inflate(batch, blob).map_err(|error| problem(0)(error.into()))?;
        let mut records = VecDeque::new();
        for (index, record) in (0..).zip(Records::new(header, &inflated)) {
            let record = record.map_err(problem(index))?;
            if record.offset >= self.next.offset {
                records.push_back(fetched(&record, &inflated, header.leader_epoch));
            }
        }
        self.ready = records;
        Ok(())
    }
}

fn inflate(batch: &RecordBatch<'_>, blob: &Bytes) -> Result<Bytes, record::InflateError> {
    match batch.header().attributes.codec()? {
        Codec::None => Ok(blob.slice_ref(batch.payload())),
        codec @ (Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd) => {
            let mut inflated = Vec::new();
            codec.inflate(batch.payload(), INFLATED_LIMIT, &mut inflated)?;
            Ok(inflated.into())
        }
    }
}

/// Whether a control batch ends a transaction by aborting it.
fn is_abort(batch: &RecordBatch<'_>, blob: &Bytes) -> bool {
    let Ok(inflated) = inflate(batch, blob) else { return false };
    let first = Records::new(batch.header(), &inflated).next();
    first.and_then(Result::ok).and_then(|record| ControlType::of(&record)) == Some(ControlType::Abort)
}

fn fetched(record: &Record<'_>, bytes: &Bytes, leader_epoch: LeaderEpoch) -> FetchedRecord {
    let shared = |slice: &[u8]| bytes.slice_ref(slice);
    let headers = record.headers.iter();
    FetchedRecord {
        offset: record.offset,
        leader_epoch,
        timestamp_ms: record.timestamp,
        key: record.key.map(shared),
        value: record.value.map(shared),
        headers: headers.map(|(key, value)| (shared(key), value.map(shared))).collect(),
    }
}
