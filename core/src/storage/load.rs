//! A small file, read whole: opened, read in slices, closed.

use bytes::{Bytes, BytesMut};

use crate::job::SLICE;
use crate::machine::{DiskError, DiskResult, Effects, FileAction, FileId, LogDirId, OpenMode, Path};

use super::{LogId, Owner, Storage, StorageEvent};
use crate::types::Offset;

/// The largest file that is read whole: more is damage, or no file of ours.
pub(crate) const MAX_FILE: u64 = 256 << 20;

/// A load in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LoadId(pub(super) u64);

/// Who waits for a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadOwner {
    /// The parent of the log manager, with its ticket.
    Parent(u64),
    /// The start: a file of a log directory, by its place in the list of those.
    Root(LogDirId, u8),
    /// The recovery of a log, by its number: a file of its directory, by its place in the list of those.
    Recovery(u32, u8),
    /// A snapshot of a log's producers, by its offset.
    Producers(LogId, Offset),
    /// An older segment's index, by the segment's base offset.
    Index(LogId, Offset),
    /// An older segment's time index.
    TimeIndex(LogId, Offset),
    /// A segment's transaction index, for a pass of the cleaner with this number.
    Aborts(LogId, u64, Offset),
}

#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) owner: LoadOwner,
    file: FileId,
    len: u64,
    bytes: BytesMut,
}

impl Storage {
    /// Reads a file whole. [`StorageEvent::Loaded`] follows; `Ok(None)` if it is not there.
    pub(crate) fn load(&mut self, path: Path, owner: LoadOwner, out: &mut Effects) {
        let (id, file, dir) = (LoadId(self.new_id()), self.new_file(), path.dir);
        let load = Load { owner, file, len: 0, bytes: BytesMut::new() };
        self.loads.insert(id, load);
        let open = FileAction::Open { file, path, mode: OpenMode::Existing };
        self.act(dir, Owner::Load(id), open, out);
    }

    pub(super) fn on_load(&mut self, dir: LogDirId, id: LoadId, result: DiskResult, out: &mut Effects) {
        let Some(load) = self.loads.get_mut(&id) else {
            return;
        };
        match result {
            DiskResult::Opened { len } if len > MAX_FILE => {
                return self.on_load_failed(dir, id, DiskError::Io(27), out);
            }
            DiskResult::Opened { len } => load.len = len,
            DiskResult::Bytes(bytes) if bytes.is_empty() => load.len = load.bytes.len() as u64,
            DiskResult::Bytes(bytes) => load.bytes.extend_from_slice(&bytes),
            DiskResult::Done | DiskResult::Entries(_) | DiskResult::Space(_) | DiskResult::Failed(_) => return,
        }
        let (file, pos) = (load.file, load.bytes.len() as u64);
        if pos >= load.len {
            return self.finish_load(dir, id, out);
        }
        let len = u32::try_from(load.len - pos).map_or(SLICE, |len| len.min(SLICE));
        self.act(dir, Owner::Load(id), FileAction::Read { file, pos, len }, out);
    }

    pub(super) fn on_load_failed(&mut self, dir: LogDirId, id: LoadId, error: DiskError, out: &mut Effects) {
        let Some(load) = self.loads.remove(&id) else {
            return;
        };
        if error != DiskError::NotFound {
            let file = load.file;
            self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
        }
        let result = match error {
            DiskError::NotFound => Ok(None),
            DiskError::Full | DiskError::Io(_) => Err(error),
        };
        self.events.push(StorageEvent::Loaded(load.owner, result));
    }

    fn finish_load(&mut self, dir: LogDirId, id: LoadId, out: &mut Effects) {
        let Some(load) = self.loads.remove(&id) else {
            return;
        };
        let file = load.file;
        self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
        let bytes: Bytes = load.bytes.freeze();
        self.events.push(StorageEvent::Loaded(load.owner, Ok(Some(bytes))));
    }
}
