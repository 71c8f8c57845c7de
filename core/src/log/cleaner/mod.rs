//! Compaction: of each key the log keeps the last record.
//!
//! * [`offset_map`]: the last offset of each key, in bounded memory; [`mapping`]: how it is made
//! * [`filter`]: what of each batch stays; [`output`]: the segment that it is written to
//! * [`plan`]: which part of a log can be cleaned, how dirty it is, which segments become one
//!
//! Here is the job, which goes over one segment at a time in slices and comes back whole as its own report. A pass is:
//! the job over each dirty segment, which maps its keys; then over every segment from the log's first on, which writes
//! what stays. [`super::cleaning`] is who runs it, and puts what it has written in the place of what was.
//!
//! Order is never changed, and no offset is given anew. What is still open, in flight or above the high watermark is
//! never looked at. A batch whose CRC does not match is never written: the pass ends there (S3).
//!
//! Absent on purpose: files' names, syncs, clocks.

mod filter;
mod mapping;
mod offset_map;
mod output;
pub(crate) mod plan;

use std::fmt;
use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};

pub(crate) use filter::{AbortedTxns, Filter, Rules, Verdict};
pub(crate) use mapping::Mapping;
pub(crate) use offset_map::OffsetMap;
pub(crate) use output::Output;

use crate::job::{Next, Report, SLICE};
use crate::machine::{DiskError, FileId};
use crate::record::{BatchError, HEADER_LEN, RecordBatch};

/// A walk of the cleaner over one segment.
#[derive(Clone, Debug)]
pub struct Clean {
    pub(crate) stage: Stage,
    source: Source,
    /// Up to where the source is read.
    pos: u32,
    /// The beginning of a batch of which the rest is not read yet.
    rest: BytesMut,
    asked: Asked,
    /// So many bytes may still be read in this run.
    allowance: u64,
    /// Why it ended early.
    pub(crate) failed: Option<Failure>,
    /// Bytes read and written in this run.
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// What the walk is for.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// To know the last offset of each key.
    Map(Mapping, AbortedTxns),
    /// To write what stays.
    Filter(Box<Filter>, Box<Output>),
}

/// A segment as it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) file: FileId,
    pub(crate) len: u32,
    /// The last of those that become one segment.
    pub(crate) is_last: bool,
}

/// Why a walk ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A segment cannot be read.
    Read(DiskError),
    /// What stays cannot be written.
    Write(DiskError),
    /// What is in it cannot be cleaned.
    Content(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Read(u32),
    Write(u32),
}

impl Clean {
    /// A walk over `source`.
    pub(crate) fn new(stage: Stage, source: Source, allowance: u64) -> Self {
        Self {
            stage,
            source,
            pos: 0,
            rest: BytesMut::new(),
            asked: Asked::Nothing,
            allowance,
            failed: None,
            read: 0,
            written: 0,
        }
    }

    /// Goes on where the last run stopped.
    pub(crate) fn resume(&mut self, allowance: u64) {
        (self.allowance, self.read, self.written) = (allowance, 0, 0);
    }

    /// Whether the walk has come to its end; otherwise it has used up its allowance, or failed.
    pub(crate) fn is_over(&self) -> bool {
        self.pos >= self.source.len && self.rest.is_empty()
    }

    /// One step of the job, as [`crate::job::Job::step`] wants it.
    pub(crate) fn step(mut self: Box<Self>, done: Option<Result<Bytes, DiskError>>) -> (Option<Box<Self>>, Next) {
        match self.advance(done) {
            Some(next) => (Some(self), next),
            None => (None, Next::Done(Box::new(Report::Clean(self)))),
        }
    }

    /// What to read or write next; `None` when it is over.
    fn advance(&mut self, done: Option<Result<Bytes, DiskError>>) -> Option<Next> {
        let asked = std::mem::replace(&mut self.asked, Asked::Nothing);
        match (asked, done) {
            (Asked::Read(len), Some(Ok(bytes))) => {
                if let Err(why) = self.take(&bytes, len) {
                    self.failed = Some(Failure::Content(why));
                }
            }
            (Asked::Write(len), Some(Ok(_))) => self.written += u64::from(len),
            (Asked::Read(_), Some(Err(error))) => self.failed = Some(Failure::Read(error)),
            (Asked::Write(_), Some(Err(error))) => self.failed = Some(Failure::Write(error)),
            (Asked::Nothing, _) | (_, None) => {}
        }
        if self.failed.is_some() {
            return None;
        }
        self.next_write().or_else(|| self.next_read())
    }

    fn next_write(&mut self) -> Option<Next> {
        let is_over = self.is_over();
        let Stage::Filter(_, output) = &mut self.stage else {
            return None;
        };
        let (pos, bytes) = output.next(is_over)?;
        self.asked = Asked::Write(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        Some(Next::Write { file: output.file, pos, bytes })
    }

    fn next_read(&mut self) -> Option<Next> {
        if self.is_over() || self.allowance == 0 {
            return None;
        }
        let len = (self.source.len - self.pos).min(SLICE);
        self.asked = Asked::Read(len);
        Some(Next::Read { file: self.source.file, pos: self.pos.into(), len })
    }

    /// Takes a slice, of `len` bytes if the file is as long as it was.
    fn take(&mut self, bytes: &Bytes, len: u32) -> Result<(), String> {
        if bytes.len() < len as usize {
            return Err("the file is shorter than it was".into());
        }
        self.pos += len;
        self.read += u64::from(len);
        self.allowance = self.allowance.saturating_sub(len.into());
        let whole = if self.rest.is_empty() {
            bytes.clone()
        } else {
            self.rest.extend_from_slice(bytes);
            if self.is_cut(&self.rest)?.is_some() {
                return Ok(());
            }
            self.rest.split().freeze()
        };
        let mut at = 0;
        while at < whole.len() && self.is_cut(&whole[at..])?.is_none() {
            let batch = RecordBatch::first_of(&whole[at..]).map_err(|error| error.to_string())?;
            let size = batch.bytes().len();
            batch.check_crc().map_err(|error| error.to_string())?;
            let is_last = self.source.is_last && self.pos >= self.source.len && at + size == whole.len();
            if self.look_at(&batch, &whole, at, is_last)?.is_break() {
                // What follows is of no interest to this pass.
                (self.pos, at) = (self.source.len, whole.len());
                break;
            }
            at += size;
        }
        if let Stage::Filter(_, output) = &mut self.stage {
            output.end_run(&whole);
        }
        self.rest.extend_from_slice(&whole[at..]);
        Ok(())
    }

    /// Whether the batch that `bytes` begin with goes on in what is not read yet.
    fn is_cut(&self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let left = bytes.len() + (self.source.len - self.pos) as usize;
        match RecordBatch::first_of(bytes) {
            Ok(_) => Ok(None),
            Err(BatchError::Cut { need, .. }) if need <= left && left > bytes.len() => Ok(Some(need)),
            Err(BatchError::Cut { need, .. }) => {
                Err(format!("a batch is cut: {left} of {} bytes", need.max(HEADER_LEN)))
            }
            Err(error @ BatchError::Malformed { .. }) => Err(error.to_string()),
        }
    }

    /// The next batch, which lies in `whole` from `at` on.
    fn look_at(
        &mut self,
        batch: &RecordBatch<'_>,
        whole: &Bytes,
        at: usize,
        is_last: bool,
    ) -> Result<ControlFlow<()>, String> {
        match &mut self.stage {
            Stage::Map(mapping, aborted) => mapping.take(batch, aborted),
            Stage::Filter(filter, output) => {
                let verdict = filter.judge(batch, is_last).map_err(|problem| problem.to_string())?;
                match &verdict {
                    Verdict::Keep => output.keep(batch, whole, at, filter.aborted())?,
                    Verdict::Rewrite(bytes) => {
                        output.end_run(whole);
                        output.write(bytes, filter.aborted())?;
                    }
                    Verdict::Drop => output.end_run(whole),
                }
                Ok(ControlFlow::Continue(()))
            }
        }
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.stage {
            Stage::Map(mapping, _) => {
                write!(f, "map {} of {} B: {} keys", self.pos, self.source.len, mapping.map.len())
            }
            Stage::Filter(_, output) => write!(f, "clean {} of {} B: {output}", self.pos, self.source.len),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "a segment cannot be read: {error}"),
            Self::Write(error) => write!(f, "the new segment cannot be written: {error}"),
            Self::Content(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests;
