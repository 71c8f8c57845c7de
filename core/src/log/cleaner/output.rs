//! The segment that is being written: what stays of some segments, with its indexes.
//!
//! What stays as it was is written as a range of what was read, without a copy, if that is long enough to be worth a
//! write of its own; what lies between is gathered.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::filter::AbortedTxns;
use crate::log::api::LogConfig;
use crate::log::segment::Segment;
use crate::log::walk::marker_of;
use crate::machine::FileId;
use crate::record::{BatchHeader, RecordBatch};

/// A range of so many bytes is written by itself.
const RUN_BYTES: usize = 64 << 10;
/// So many bytes are gathered at most.
const GATHERED_BYTES: usize = 512 << 10;

/// A segment being written.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) file: FileId,
    /// What is known of it, as of a segment that was appended to.
    pub(crate) segment: Segment,
    config: LogConfig,
    /// What was kept last, in the bytes that are being looked at.
    run: Range<usize>,
    gathered: BytesMut,
    waiting: VecDeque<Bytes>,
    /// Bytes that were given out to be written.
    given: u64,
}

impl Output {
    /// An empty one.
    pub(crate) fn new(file: FileId, segment: Segment, config: LogConfig) -> Self {
        let (gathered, waiting) = (BytesMut::new(), VecDeque::new());
        Self { file, segment, config, run: 0..0, gathered, waiting, given: 0 }
    }

    /// A batch stays as it is: it lies in `whole` from `at` on.
    pub(super) fn keep(
        &mut self,
        batch: &RecordBatch<'_>,
        whole: &Bytes,
        at: usize,
        aborted: &AbortedTxns,
    ) -> Result<(), String> {
        let size = batch.bytes().len();
        if self.run.end != at {
            self.end_run(whole);
            self.run = at..at;
        }
        self.run.end = at + size;
        self.note(batch.header(), batch.bytes(), aborted)
    }

    /// What was kept in `whole` so far is written.
    pub(super) fn end_run(&mut self, whole: &Bytes) {
        let run = std::mem::replace(&mut self.run, 0..0);
        if run.len() >= RUN_BYTES {
            self.end_gathering();
            self.waiting.push_back(whole.slice(run));
        } else {
            self.gather(&whole[run]);
        }
    }

    /// A batch is written anew.
    pub(super) fn write(&mut self, bytes: &[u8], aborted: &AbortedTxns) -> Result<(), String> {
        let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
        self.gather(bytes);
        self.note(&header, bytes, aborted)
    }

    /// What is to be written next, and where. Without `all` only what is worth it.
    pub(super) fn next(&mut self, all: bool) -> Option<(u64, Bytes)> {
        if all {
            self.end_gathering();
        }
        let bytes = self.waiting.pop_front()?;
        let pos = self.given;
        self.given += bytes.len() as u64;
        Some((pos, bytes))
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHERED_BYTES {
            self.end_gathering();
        }
    }

    fn end_gathering(&mut self) {
        if !self.gathered.is_empty() {
            self.waiting.push_back(self.gathered.split().freeze());
        }
    }

    /// Takes note of a batch, as an append does.
    fn note(&mut self, header: &BatchHeader, bytes: &[u8], aborted: &AbortedTxns) -> Result<(), String> {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let start = self.segment.size;
        if start.checked_add(size).is_none_or(|end| i32::try_from(end).is_err()) {
            return Err("what stays does not fit into a segment".into());
        }
        self.segment.note(header, size, &self.config);
        self.segment.checked.add(start, start + size);
        let is_abort = header.attributes.is_control() && marker_of(header, bytes).is_some_and(|marker| !marker.commit);
        let entry = is_abort.then(|| aborted.ended_by(header.producer.id, header.base_offset)).flatten();
        if let (Some(entry), Some(indexes)) = (entry, &mut self.segment.indexes) {
            // The file is written whole when the segment is.
            let _ = indexes.aborted.append(entry);
        }
        Ok(())
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B for {}", self.segment.size, self.segment.base)
    }
}
