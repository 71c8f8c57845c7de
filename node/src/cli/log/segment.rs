//! The batches of a segment's file, one after the other, without holding more than one of them.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use ottla_core::record::{BatchError, BatchHeader, HEADER_LEN, RecordBatch};

/// Walks over a segment. After a fault it ends.
#[derive(Debug)]
pub(super) struct SegmentReader {
    file: BufReader<File>,
    position: u64,
    len: u64,
    bytes: Vec<u8>,
}

/// Why the walk ends before the file does.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file cannot be read.
    Io(io::Error),
    /// What lies there is no whole batch.
    Batch(BatchError),
}

impl SegmentReader {
    /// Opens a segment's file, of the length that it has now.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(1 << 20, file), position: 0, len, bytes: Vec::new() })
    }

    /// The file's length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Where the next batch begins, or the one that a fault was about.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch and where it begins; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Result<(u64, RecordBatch<'_>), Fault>> {
        let left = self.len.saturating_sub(self.position);
        if left == 0 {
            return None;
        }
        let at = self.position;
        match self.fill(left) {
            Ok(()) => {
                self.position += self.bytes.len() as u64;
                Some(RecordBatch::first_of(&self.bytes).map(|batch| (at, batch)).map_err(Fault::Batch))
            }
            Err(fault) => {
                self.len = self.position;
                Some(Err(fault))
            }
        }
    }

    /// Reads one whole batch into `bytes`, of which the file has `left`: so no length is believed that the
    /// file does not have.
    fn fill(&mut self, left: u64) -> Result<(), Fault> {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        self.bytes.resize(left.min(HEADER_LEN), 0);
        self.file.read_exact(&mut self.bytes).map_err(Fault::Io)?;
        let need = BatchHeader::whole_len(&self.bytes).map_err(Fault::Batch)?;
        if need > left {
            return Err(Fault::Batch(BatchError::Cut { at: 0, have: left, need }));
        }
        let have = self.bytes.len();
        self.bytes.resize(need, 0);
        self.file.read_exact(&mut self.bytes[have..]).map_err(Fault::Io)
    }
}

impl Fault {
    /// Whether the file just ends too early, as after a crash.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Batch(BatchError::Cut { .. }))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Batch(BatchError::Cut { have, need, .. }) => {
                write!(f, "the batch is cut: {have} of {need} bytes")
            }
            Self::Batch(BatchError::Malformed { what, .. }) => write!(f, "no batch: {what}"),
        }
    }
}
