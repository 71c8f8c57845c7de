//! What comes into the machine.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use super::{ConnId, JobId, OpId};
use crate::ingress::{Malformed, Request};
use crate::job::Report;

/// One thing that happened. 64 bytes; what is rare is boxed.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection is up (or, dialled, failed to come up).
    Opened { conn: ConnId, how: Opened },
    /// A whole frame came, and [`crate::ingress`] read it.
    Frame { conn: ConnId, request: Request },
    /// A whole frame came on a connection that we dialled: an answer.
    Answer { conn: ConnId, frame: Bytes },
    /// A whole frame came, and cannot be read: the connection is closed.
    Malformed { conn: ConnId, why: Box<Malformed> },
    /// All that was sent to the connection so far has left.
    Drained { conn: ConnId },
    /// The connection is gone. The driver drops what was still to be sent.
    Closed { conn: ConnId },
    /// A file operation completed.
    Disk { op: OpId, result: DiskResult },
    /// A job completed.
    JobDone { job: JobId, report: Box<Report> },
    /// Stop in good order: finish what is in flight, sync, leave a clean mark.
    Shutdown,
    /// `Machine::next_deadline` has come.
    Timeout,
}

/// How a connection came up.
#[derive(Clone, Debug)]
pub enum Opened {
    /// A client or a peer dialled us.
    Accepted { listener: ListenerId, peer: SocketAddr },
    /// We dialled, by `Effect::Connect`; `Err` says why it failed (the connection never was).
    Dialled { token: u64, result: Result<(), Box<str>> },
}

/// A listener, by its place in `listeners`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

/// How a file operation ended.
#[derive(Clone, Debug)]
pub enum DiskResult {
    /// Writes: they are in the page cache. Syncs: durable. The others: done.
    Done,
    /// An `Open`: the file's length in bytes.
    Opened { len: u64 },
    /// A `Read`.
    Bytes(Bytes),
    /// A `List`.
    Entries(Box<[Entry]>),
    /// A `FreeSpace`: bytes.
    Space(u64),
    /// It failed. A write may have been carried out in part.
    Failed(DiskError),
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The last part of its path.
    pub name: Box<str>,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// A file's length in bytes; 0 for a directory.
    pub len: u64,
}

/// Why a file operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// The file or directory is not there.
    NotFound,
    /// No space is left (ENOSPC, EDQUOT).
    Full,
    /// Anything else: the number of the operating system's error.
    Io(i32),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::Full => f.write_str("no space left on device"),
            Self::Io(errno) => write!(f, "I/O error {errno}"),
        }
    }
}

impl fmt::Display for DiskResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Opened { len } => write!(f, "opened {len} B"),
            Self::Bytes(bytes) => write!(f, "read {} B", bytes.len()),
            Self::Entries(entries) => {
                f.write_str("entries")?;
                entries.iter().try_for_each(|entry| write!(f, " {}", entry.name))
            }
            Self::Space(bytes) => write!(f, "{bytes} B free"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { conn, how: Opened::Accepted { listener, peer } } => {
                write!(f, "{conn} accepted from {peer} on {}", listener.0)
            }
            Self::Opened { conn, how: Opened::Dialled { token, result: Ok(()) } } => {
                write!(f, "{conn} dialled token={token}")
            }
            Self::Opened { how: Opened::Dialled { token, result: Err(why) }, .. } => {
                write!(f, "dial token={token} failed: {why}")
            }
            Self::Frame { conn, request } => write!(f, "{conn} {request}"),
            Self::Answer { conn, frame } => write!(f, "{conn} answers {} B", frame.len()),
            Self::Malformed { conn, why } => write!(f, "{conn} malformed: {why}"),
            Self::Drained { conn } => write!(f, "{conn} drained"),
            Self::Closed { conn } => write!(f, "{conn} closed"),
            Self::Disk { op, result } => write!(f, "{op} {result}"),
            Self::JobDone { job, report } => write!(f, "{job} {report}"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Timeout => f.write_str("timeout"),
        }
    }
}

// Every step moves inputs about; a fat variant would make each of them fat.
const _: () = assert!(size_of::<Input>() <= 64);
