//! Writes wait here until the end of a turn, so that adjacent ones of a file become one `pwritev`.
//!
//! Only a write that starts where the last one of the same file ends is merged into it, and runs are carried
//! out in the order they began: a file sees its writes in the order of the effects.

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::machine::{DiskError, DiskResult, FileId, Input, OpId};
use rustix::io::{Errno, retry_on_intr};

use super::disk_error;
use super::files::{Files, OpenFile};
use crate::driver::Counters;

/// The most buffers that one system call takes (IOV_MAX).
const MOST_SLICES: usize = 1024;

/// Bytes to be written.
#[derive(Debug)]
pub(super) enum Piece {
    /// The new head of a record batch.
    Head([u8; 16]),
    /// Bytes as they came.
    Bytes(Bytes),
}

impl Piece {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Head(head) => head,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Writes of one file, one after the other without a gap.
#[derive(Debug)]
struct Run {
    file: FileId,
    pos: u64,
    len: u64,
    pieces: Vec<Piece>,
    /// Each operation with where it ends, counted from `pos`.
    ends: Vec<(OpId, u64)>,
}

/// The writes that were not carried out yet.
#[derive(Debug)]
pub(super) struct Writes {
    runs: Vec<Run>,
    /// The last run of each file, as an index into `runs`.
    last: HashMap<FileId, usize>,
    counters: Arc<Counters>,
}

impl Writes {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { runs: Vec::new(), last: HashMap::new(), counters }
    }

    pub(super) fn push<const N: usize>(&mut self, op: OpId, file: FileId, pos: u64, pieces: [Piece; N]) {
        self.counters.writes.add(1);
        let index = match self.last.get(&file) {
            Some(&index) if self.runs[index].pos + self.runs[index].len == pos => index,
            _ => {
                self.runs.push(Run { file, pos, len: 0, pieces: Vec::with_capacity(N), ends: Vec::with_capacity(1) });
                self.last.insert(file, self.runs.len() - 1);
                self.runs.len() - 1
            }
        };
        let run = &mut self.runs[index];
        for piece in pieces {
            run.len += length(piece.as_slice());
            run.pieces.push(piece);
        }
        run.ends.push((op, run.len));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Carries out all runs. Completions come in the order of the effects for each file.
    pub(super) fn flush(&mut self, files: &Files, completed: &mut Vec<Input>) {
        self.last.clear();
        for run in self.runs.drain(..) {
            let (written, error) = match files.get(run.file) {
                Ok(file) => run.carry_out(&file, &self.counters),
                Err(error) => (0, Some(error)),
            };
            self.counters.bytes_written.add(written);
            for (op, end) in run.ends {
                let result = match error {
                    Some(error) if end > written => DiskResult::Failed(error),
                    _ => DiskResult::Done,
                };
                completed.push(Input::Disk { op, result });
            }
        }
    }
}

impl Run {
    /// Writes until done or until an error: how many bytes were written, and the error.
    ///
    /// A short write is continued, because it is no failure; an error is never retried, because the kernel
    /// may have dropped the dirty pages that it concerns.
    fn carry_out(&self, file: &OpenFile, counters: &Counters) -> (u64, Option<DiskError>) {
        let mut written = 0;
        while written < self.len {
            let slices = self.slices_from(written);
            counters.write_calls.add(1);
            match retry_on_intr(|| rustix::io::pwritev(file, &slices, self.pos + written)) {
                Ok(0) => return (written, Some(disk_error(Errno::IO))),
                Ok(count) => written += u64::try_from(count).unwrap_or(u64::MAX),
                Err(errno) => return (written, Some(disk_error(errno))),
            }
        }
        (written, None)
    }

    fn slices_from(&self, written: u64) -> Vec<IoSlice<'_>> {
        let mut skip = written;
        let mut slices = Vec::with_capacity(self.pieces.len().min(MOST_SLICES));
        for piece in &self.pieces {
            let slice = piece.as_slice();
            if length(slice) <= skip {
                skip -= length(slice);
                continue;
            }
            // Smaller than the slice's length, so it fits.
            slices.push(IoSlice::new(&slice[usize::try_from(skip).unwrap_or(0)..]));
            skip = 0;
            if slices.len() == MOST_SLICES {
                break;
            }
        }
        slices
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length in memory fits in 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::files::Dirs;
    use ottla_core::machine::{LogDirId, OpenMode, Path};

    fn open(dir: &std::path::Path, files: &Files, file: u32) {
        let dirs = Dirs::new(vec![dir.to_path_buf()]);
        let path = Path::new(LogDirId(0), format!("f{file}"));
        files.insert(FileId(file), dirs.open(&path, OpenMode::Create).expect("it opens"));
    }

    fn write(writes: &mut Writes, op: u64, file: u32, pos: u64, text: &'static str) {
        let piece = Piece::Bytes(Bytes::from_static(text.as_bytes()));
        writes.push(OpId(op), FileId(file), pos, [piece]);
    }

    fn flushed(writes: &mut Writes, files: &Files) -> Vec<String> {
        let mut completed = Vec::new();
        writes.flush(files, &mut completed);
        completed.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn adjacent_writes_are_one_call_and_gaps_are_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (files, counters) = (Files::default(), Arc::new(Counters::default()));
        open(dir.path(), &files, 1);
        open(dir.path(), &files, 2);
        let mut writes = Writes::new(Arc::clone(&counters));
        write(&mut writes, 1, 1, 0, "ab");
        write(&mut writes, 2, 2, 0, "x");
        write(&mut writes, 3, 1, 2, "cd");
        write(&mut writes, 4, 1, 6, "gh");
        write(&mut writes, 5, 1, 1, "B");
        assert_eq!(flushed(&mut writes, &files), ["#1 done", "#3 done", "#2 done", "#4 done", "#5 done"]);
        assert_eq!(counters.write_calls.get(), 4);
        let read = files.get(FileId(1)).and_then(|file| file.read(0, 100));
        assert_eq!(read, Ok(Bytes::from_static(b"aBcd\0\0gh")));
    }

    #[test]
    fn more_pieces_than_one_call_takes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (files, counters) = (Files::default(), Arc::new(Counters::default()));
        open(dir.path(), &files, 1);
        let mut writes = Writes::new(Arc::clone(&counters));
        for op in 0..2_500 {
            write(&mut writes, op, 1, op * 2, "ab");
        }
        assert!(flushed(&mut writes, &files).iter().all(|done| done.ends_with("done")));
        assert_eq!(counters.write_calls.get(), 3);
        assert_eq!(files.get(FileId(1)).and_then(|file| file.len()), Ok(5_000));
    }

    #[test]
    fn a_device_without_space_fails_what_did_not_fit() {
        let files = Files::default();
        let dirs = Dirs::new(vec!["/dev".into()]);
        let full = dirs.open(&Path::new(LogDirId(0), "full"), OpenMode::Existing);
        files.insert(FileId(1), full.expect("/dev/full opens"));
        let mut writes = Writes::new(Arc::new(Counters::default()));
        write(&mut writes, 1, 1, 0, "ab");
        write(&mut writes, 2, 9, 0, "ab");
        assert_eq!(flushed(&mut writes, &files), ["#1 failed: no space left on device", "#2 failed: I/O error 9"]);
    }
}
