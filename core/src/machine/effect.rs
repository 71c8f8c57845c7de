//! What the machine asks of its driver.

use std::fmt;

use bytes::Bytes;

use super::{ConnId, FileId, JobId, LogDirId, OpId, Path};
use crate::job::Job;
use crate::types::{LeaderEpoch, Offset};

/// One thing to do. 64 bytes; what is rare is boxed.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send bytes on a connection. A response is a run of `Send` and `SendRange` that ends in `last`.
    Send { conn: ConnId, bytes: Bytes, last: bool },
    /// Send a range of a file, without copying it where the kernel allows. The driver pins the file until
    /// the range has left.
    SendRange { conn: ConnId, range: FileRange, last: bool },
    /// The connection's oldest unanswered frame has no answer (Produce with acks=0).
    Done { conn: ConnId },
    /// Stop taking frames off a connection: it has too many unanswered.
    PauseReading { conn: ConnId },
    /// Take frames again.
    ResumeReading { conn: ConnId },
    /// Close a connection, after what was already sent to it has left. The driver answers `Closed`.
    Close { conn: ConnId },
    /// Dial a peer; answered by `Opened { Dialled }` with the same token.
    Connect { token: u64, address: Box<str> },
    /// Write a record batch: 16 new bytes ([`crate::record::BatchHead`]) and then `rest`, which is the batch
    /// as it came from byte 16 on. The frame it lies in is never copied or changed.
    Append { op: OpId, file: FileId, pos: u32, base_offset: Offset, leader_epoch: LeaderEpoch, rest: Bytes },
    /// Write bytes at a position; the file grows as needed.
    Write { op: OpId, file: FileId, pos: u64, bytes: Bytes },
    /// Make the file's content and size durable (fdatasync).
    Sync { op: OpId, file: FileId },
    /// Any other file operation.
    File { op: OpId, action: Box<FileAction> },
    /// Run a job on a thread of its own; answered by `JobDone`.
    Run { job: JobId, work: Box<Job> },
    /// Tell the operator.
    Note(Box<Note>),
    /// Recovery is over and clients are served: the driver says so.
    Ready,
    /// A shutdown is complete; there are no more effects.
    Stopped,
}

/// The file operations off the hot path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileAction {
    /// Make a directory; not an error if it is there.
    MakeDir { path: Path },
    /// The entries of a directory, in the order of their names. Answers `Entries`.
    List { path: Path },
    /// Open a file and give it a number. Answers `Opened`.
    Open { file: FileId, path: Path, mode: OpenMode },
    /// Forget a file's number. Ranges still being sent keep it open.
    CloseFile { file: FileId },
    /// Cut a file, or grow it with zeros.
    SetLen { file: FileId, len: u64 },
    /// Forget what memory holds of a file from a byte on and the disk is said to have, so that a read shows what it has
    /// (a failed sync leaves pages that look written and are not). No guarantee: what is not written back stays.
    Forget { file: FileId, pos: u64 },
    /// Make the names in a directory durable: those made, renamed and removed in it.
    SyncDir { path: Path },
    /// Rename within one directory, replacing what has the new name.
    Rename { from: Path, to: Path },
    /// Remove a file or an empty directory; not an error if it is gone.
    Remove { path: Path },
    /// Read at most `len` bytes. Answers `Bytes`, fewer only at the end of the file.
    Read { file: FileId, pos: u64, len: u32 },
    /// How many bytes can still be written. Answers `Space`.
    FreeSpace { dir: LogDirId },
}

/// How a file is opened. Always for reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Make it, empty; what had the name is cut to nothing.
    Create,
    /// It must be there: `DiskError::NotFound` otherwise.
    Existing,
}

/// Bytes of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// In which file.
    pub file: FileId,
    /// From which byte.
    pub pos: u32,
    /// How many bytes.
    pub len: u32,
}

/// Something an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// One sentence, with what to do where there is something to do.
    pub text: String,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Ordinary life.
    Info,
    /// Something was refused or looks wrong.
    Warn,
    /// Something is broken.
    Error,
}

/// The sink that effects go to. The caller owns it and uses it again for each step: nothing is allocated.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
}

impl Effect {
    /// The number of a file operation.
    #[must_use]
    pub const fn op(&self) -> Option<OpId> {
        match self {
            Self::Append { op, .. } | Self::Write { op, .. } | Self::Sync { op, .. } | Self::File { op, .. } => {
                Some(*op)
            }
            Self::Send { .. }
            | Self::SendRange { .. }
            | Self::Done { .. }
            | Self::PauseReading { .. }
            | Self::ResumeReading { .. }
            | Self::Close { .. }
            | Self::Connect { .. }
            | Self::Run { .. }
            | Self::Note(_)
            | Self::Ready
            | Self::Stopped => None,
        }
    }
}

impl Effects {
    /// An empty sink.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    /// Tells the operator something.
    pub fn note(&mut self, level: Level, text: impl Into<String>) {
        self.push(Effect::Note(Box::new(Note { level, text: text.into() })));
    }

    /// The effects so far, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Effect] {
        &self.list
    }

    /// Takes all effects out, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.list.drain(..)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |last: &bool| if *last { " last" } else { "" };
        match self {
            Self::Send { conn, bytes, last: end } => write!(f, "{conn} send {} B{}", bytes.len(), last(end)),
            Self::SendRange { conn, range, last: end } => write!(f, "{conn} send {range}{}", last(end)),
            Self::Done { conn } => write!(f, "{conn} done"),
            Self::PauseReading { conn } => write!(f, "{conn} pause"),
            Self::ResumeReading { conn } => write!(f, "{conn} resume"),
            Self::Close { conn } => write!(f, "{conn} close"),
            Self::Connect { token, address } => write!(f, "connect {address} token={token}"),
            Self::Append { op, file, pos, base_offset, leader_epoch, rest } => {
                write!(f, "{op} append {file}@{pos} base={base_offset} epoch={leader_epoch} {} B", rest.len() + 16)
            }
            Self::Write { op, file, pos, bytes } => write!(f, "{op} write {file}@{pos} {} B", bytes.len()),
            Self::Sync { op, file } => write!(f, "{op} sync {file}"),
            Self::File { op, action } => write!(f, "{op} {action}"),
            Self::Run { job, work } => write!(f, "{job} run {work}"),
            Self::Note(note) => write!(f, "note {:?}: {}", note.level, note.text),
            Self::Ready => f.write_str("ready"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl fmt::Display for FileAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDir { path } => write!(f, "mkdir {path}"),
            Self::List { path } => write!(f, "list {path}"),
            Self::Open { file, path, mode: OpenMode::Create } => write!(f, "create {path} as {file}"),
            Self::Open { file, path, mode: OpenMode::Existing } => write!(f, "open {path} as {file}"),
            Self::CloseFile { file } => write!(f, "close {file}"),
            Self::SetLen { file, len } => write!(f, "set_len {file} {len}"),
            Self::Forget { file, pos } => write!(f, "forget {file}@{pos}"),
            Self::SyncDir { path } => write!(f, "sync_dir {path}"),
            Self::Rename { from, to } => write!(f, "rename {from} {to}"),
            Self::Remove { path } => write!(f, "remove {path}"),
            Self::Read { file, pos, len } => write!(f, "read {file}@{pos} {len} B"),
            Self::FreeSpace { dir } => write!(f, "free_space {}", dir.0),
        }
    }
}

impl fmt::Display for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}+{}", self.file, self.pos, self.len)
    }
}

// Every step moves effects about; a fat variant would make each of them fat.
const _: () = assert!(size_of::<Effect>() <= 64);
