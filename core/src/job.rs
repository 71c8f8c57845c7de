//! Jobs: work on bulk bytes that runs on a thread of its own, in slices.
//!
//! A job is a resumable machine: the driver calls [`Job::step`] with what the last step asked to read, until
//! it reports. It holds no file and no thread, so the simulator can let a crash fall between any two slices.
//! One slice is at most [`SLICE`] bytes.

use std::fmt;

use bytes::Bytes;

use crate::log::{Clean, Scan};
use crate::machine::FileId;
use crate::record::{self, BatchFacts, RecordBatch, Refusal, Rewrite, ScanError};

/// The most bytes that one slice reads or writes.
pub const SLICE: u32 = 1 << 20;

/// Work to be done off the machine's own thread.
#[derive(Clone, Debug)]
pub enum Job {
    /// Puts a produced batch into the codec that its topic asks for.
    Recompress(Recompress),
    /// Walks over a segment and checks it; `None` once it has reported.
    Scan(Option<Box<Scan>>),
    /// Walks over a segment for compaction; `None` once it has reported.
    Clean(Option<Box<Clean>>),
}

/// A batch that is to change its codec, and its bounds.
#[derive(Clone, Debug)]
pub struct Recompress {
    /// The batch, which was scanned.
    pub batch: Bytes,
    /// What is to change.
    pub rewrite: Rewrite,
    /// `max.message.bytes`: the result may not be larger.
    pub max_message_bytes: u32,
    /// At most so many bytes are inflated.
    pub inflated_limit: u64,
}

/// What a job wants next.
#[derive(Debug)]
pub enum Next {
    /// Read at most `len` bytes (fewer only at the file's end) and call `step` with them.
    Read { file: FileId, pos: u64, len: u32 },
    /// Write the bytes and call `step` with none.
    Write { file: FileId, pos: u64, bytes: Bytes },
    /// It is done.
    Done(Box<Report>),
}

/// What a job found or made.
#[derive(Clone, Debug)]
pub enum Report {
    /// The batch as it is to be appended, with its facts.
    Recompressed(Result<(Bytes, BatchFacts), Refusal>),
    /// The scan itself, with what it found.
    Scan(Box<Scan>),
    /// The walk itself, with what it made.
    Clean(Box<Clean>),
}

impl Job {
    /// Goes on: `read` is what the last [`Next::Read`] gave, nothing after a [`Next::Write`], `None` at first,
    /// `Some(Err)` if it failed.
    ///
    /// # Panics
    /// If the job has reported: a driver steps it no more then.
    pub fn step(&mut self, read: Option<Result<Bytes, crate::machine::DiskError>>) -> Next {
        match self {
            Self::Recompress(work) => Next::Done(Box::new(Report::Recompressed(work.run()))),
            Self::Scan(scan) => {
                let (rest, next) = scan.take().expect("a job that has reported is not stepped").step(read);
                *scan = rest;
                next
            }
            Self::Clean(clean) => {
                let (rest, next) = clean.take().expect("a job that has reported is not stepped").step(read);
                *clean = rest;
                next
            }
        }
    }
}

impl Recompress {
    fn run(&self) -> Result<(Bytes, BatchFacts), Refusal> {
        let batch = RecordBatch::first_of(&self.batch).map_err(|error| ScanError::from(error).refusal())?;
        let bytes = record::rewrite(&batch, &self.rewrite, self.max_message_bytes, self.inflated_limit)?;
        let facts = record::scan(&bytes, self.inflated_limit).map_err(|error| error.refusal())?;
        Ok((Bytes::from(bytes), facts))
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recompress(work) => write!(f, "recompress {} B", work.batch.len()),
            Self::Scan(Some(scan)) => scan.fmt(f),
            Self::Scan(None) => f.write_str("scan"),
            Self::Clean(Some(clean)) => clean.fmt(f),
            Self::Clean(None) => f.write_str("clean"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recompressed(Ok((bytes, _))) => write!(f, "recompressed {} B", bytes.len()),
            Self::Recompressed(Err(refusal)) => write!(f, "refused: {}", refusal.message),
            Self::Scan(scan) => scan.fmt(f),
            Self::Clean(clean) => clean.fmt(f),
        }
    }
}
