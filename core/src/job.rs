//! Jobs: work on bulk bytes that runs on a thread of its own, in slices.
//!
//! A job is a resumable machine: the driver calls [`Job::step`] with what the last step asked to read, until
//! it reports. It holds no file and no thread, so the simulator can let a crash fall between any two slices.
//! One slice is at most [`SLICE`] bytes.

use std::fmt;

use bytes::Bytes;

use crate::machine::FileId;

/// The most bytes that one slice reads or writes.
pub const SLICE: u32 = 1 << 20;

/// Work to be done off the machine's own thread.
#[derive(Debug)]
pub enum Job {}

/// What a job wants next.
#[derive(Debug)]
pub enum Next {
    /// Read at most `len` bytes (fewer only at the file's end) and call `step` with them.
    Read { file: FileId, pos: u64, len: u32 },
    /// It is done.
    Done(Box<Report>),
}

/// What a job found or made.
#[derive(Debug)]
pub enum Report {}

impl Job {
    /// Goes on: `read` is what the last [`Next::Read`] gave, `None` at first, `Some(Err)` if the read failed.
    pub fn step(&mut self, read: Option<Result<Bytes, crate::machine::DiskError>>) -> Next {
        let _ = read;
        match *self {}
    }
}

impl fmt::Display for Job {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl fmt::Display for Report {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
