//! Files that answers still refer to.
//!
//! A range of a file is handed out when a fetch is evaluated, and leaves when the answer's turn has come, perhaps many
//! steps later. Until then its file keeps its number: a close waits for the last [`Pin`] to go.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::{Effects, FileAction, FileId, LogDirId};

use super::{Owner, Storage};

/// Keeps a file open while it lives. A clone of the whole machine shares its pins with the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin(Arc<()>);

/// Which files are pinned, and which of them are to be closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Pins {
    held: BTreeMap<FileId, Pin>,
    waiting: Vec<(LogDirId, FileId)>,
}

impl Storage {
    /// Keeps a file open while the pin lives.
    pub(crate) fn pin(&mut self, file: FileId) -> Pin {
        self.pins.held.entry(file).or_insert_with(|| Pin(Arc::new(()))).clone()
    }

    /// Whether an answer still refers to a file.
    pub(crate) fn is_pinned(&self, file: FileId) -> bool {
        self.pins.held.get(&file).is_some_and(|pin| Arc::strong_count(&pin.0) > 1)
    }

    /// Closes a file as soon as nobody refers to it: `true` if that is now, and left to the caller.
    pub(super) fn may_close(&mut self, dir: LogDirId, file: FileId) -> bool {
        if self.is_pinned(file) {
            self.pins.waiting.push((dir, file));
            return false;
        }
        self.pins.held.remove(&file);
        true
    }

    /// Closes a file of which nothing is waited for, as soon as nobody refers to it.
    pub(crate) fn close_when_unpinned(&mut self, dir: LogDirId, file: FileId, out: &mut Effects) {
        if self.may_close(dir, file) {
            self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
        }
    }

    /// Closes the files whose last pin has gone.
    pub(super) fn close_unpinned(&mut self, out: &mut Effects) {
        for (dir, file) in std::mem::take(&mut self.pins.waiting) {
            if self.may_close(dir, file) {
                self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
            }
        }
    }
}
