//! The log directories, and the table of open files.
//!
//! The machine numbers the files. A file stays open while anything holds its [`OpenFile`]: a range that is
//! still being sent outlives the table's entry.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path as StdPath, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use ottla_core::machine::{DiskError, DiskResult, Entry, FileId, LogDirId, OpenMode, Path};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};

use super::lock::LOCK_FILE;
use super::{disk_error, io_error};
use crate::driver::Counters;

/// One open file.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    /// In which log directory it lies.
    pub dir: LogDirId,
}

impl OpenFile {
    pub(super) fn len(&self) -> Result<u64, DiskError> {
        self.file.metadata().map(|data| data.len()).map_err(|error| io_error(&error))
    }

    /// Makes content and size durable.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        retry_on_intr(|| rustix::fs::fdatasync(&self.file)).map_err(disk_error)
    }

    /// At most `len` bytes from `pos`; fewer only at the end of the file. Nothing is reserved beyond it.
    pub(super) fn read(&self, pos: u64, len: u32) -> Result<Bytes, DiskError> {
        let there = self.len()?.saturating_sub(pos).min(u64::from(len));
        let wanted = usize::try_from(there).map_err(|_| DiskError::Io(Errno::OVERFLOW.raw_os_error()))?;
        let mut bytes = Vec::with_capacity(wanted);
        while bytes.len() < wanted {
            let at = pos + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            match retry_on_intr(|| rustix::io::pread(&self.file, spare_capacity(&mut bytes), at)) {
                Ok(0) => break,
                Ok(_) => {}
                Err(errno) => return Err(disk_error(errno)),
            }
        }
        bytes.truncate(wanted);
        Ok(Bytes::from(bytes))
    }

    /// Writes all of it at `pos`. A short write is gone on with, a failed one is not.
    pub(super) fn write(&self, pos: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut written = 0;
        while written < bytes.len() {
            let at = pos + u64::try_from(written).unwrap_or(u64::MAX);
            match retry_on_intr(|| rustix::io::pwrite(&self.file, &bytes[written..], at)) {
                Ok(0) => return Err(disk_error(Errno::IO)),
                Ok(count) => written += count,
                Err(errno) => return Err(disk_error(errno)),
            }
        }
        Ok(())
    }
}

/// For ranges that are sent from the page cache.
impl OpenFile {
    /// Whether `sendfile` of these bytes would not wait for the disk, as far as their ends tell: two probes of half a
    /// microsecond. A file system that cannot tell is taken to have them.
    pub(crate) fn is_cached(&self, pos: u64, len: u64) -> bool {
        let probe = |at| {
            let mut byte = [0];
            let read = rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT);
            read != Err(Errno::AGAIN)
        };
        probe(pos) && (len < 2 || probe(pos + len - 1))
    }

    /// These bytes, if they are in the page cache: all of them or none.
    pub(crate) fn read_cached(&self, pos: u64, len: usize) -> Option<Bytes> {
        let mut bytes = vec![0; len];
        let read = rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(&mut bytes)], pos, ReadWriteFlags::NOWAIT);
        (read == Ok(len)).then(|| Bytes::from(bytes))
    }

    /// Brings bytes into the page cache. A failure is left to who sends them: it will meet it too.
    pub(crate) fn warm(&self, pos: u64, len: u64) {
        let mut scrap = vec![0; 64 << 10];
        let (mut at, end) = (pos, pos.saturating_add(len));
        while at < end {
            match retry_on_intr(|| rustix::io::pread(&self.file, &mut scrap[..], at)) {
                Ok(0) | Err(_) => return,
                Ok(count) => at += u64::try_from(count).unwrap_or(u64::MAX),
            }
        }
    }

    /// Where it lies, as far as the system can tell: asked only when there is something to complain of, so that
    /// thousands of open files need not keep it.
    pub(crate) fn path(&self) -> PathBuf {
        let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        fs::read_link(link).unwrap_or_else(|_| PathBuf::from(format!("a file of log directory {}", self.dir.0)))
    }

    #[cfg(test)]
    pub(crate) fn for_test(file: File) -> Self {
        Self { file, dir: LogDirId(0) }
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The open files by number.
#[derive(Debug, Default)]
pub(super) struct Files {
    table: RwLock<HashMap<FileId, Arc<OpenFile>>>,
    counters: Arc<Counters>,
}

impl Files {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { table: RwLock::default(), counters }
    }

    pub(super) fn get(&self, file: FileId) -> Result<Arc<OpenFile>, DiskError> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&file).cloned().ok_or(DiskError::Io(Errno::BADF.raw_os_error()))
    }

    pub(super) fn insert(&self, file: FileId, open: OpenFile) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let before = table.insert(file, Arc::new(open));
        self.count(&table);
        debug_assert!(before.is_none(), "the machine never uses a file number twice");
    }

    /// Forgets a number; there is nothing wrong with forgetting it twice.
    pub(super) fn close(&self, file: FileId) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.remove(&file);
        self.count(&table);
    }

    fn count(&self, table: &HashMap<FileId, Arc<OpenFile>>) {
        self.counters.open_files.set(u64::try_from(table.len()).unwrap_or(u64::MAX));
    }

    pub(super) fn set_len(&self, file: FileId, len: u64) -> Result<DiskResult, DiskError> {
        let open = self.get(file)?;
        retry_on_intr(|| rustix::fs::ftruncate(&open.file, len)).map_err(disk_error)?;
        Ok(DiskResult::Done)
    }

    pub(super) fn forget(&self, file: FileId, pos: u64) -> Result<DiskResult, DiskError> {
        let open = self.get(file)?;
        // Without a length: up to the end, whatever that is.
        rustix::fs::fadvise(&open.file, pos, None, rustix::fs::Advice::DontNeed).map_err(disk_error)?;
        Ok(DiskResult::Done)
    }
}

/// The log directories by number.
#[derive(Debug)]
pub(super) struct Dirs {
    roots: Vec<Arc<StdPath>>,
}

impl Dirs {
    pub(super) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots: roots.into_iter().map(Arc::from).collect() }
    }

    pub(super) fn roots(&self) -> &[Arc<StdPath>] {
        &self.roots
    }

    pub(super) fn root(&self, dir: LogDirId) -> &Arc<StdPath> {
        // The machine knows only the directories that it was configured with.
        &self.roots[usize::from(dir.0)]
    }

    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        let root = self.root(path.dir);
        if path.name.is_empty() { root.to_path_buf() } else { root.join(&*path.name) }
    }

    pub(super) fn open(&self, path: &Path, mode: OpenMode) -> Result<OpenFile, DiskError> {
        let create = mode == OpenMode::Create;
        // The standard library opens with O_CLOEXEC.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(create)
            .open(self.resolve(path))
            .map_err(|error| io_error(&error))?;
        Ok(OpenFile { file, dir: path.dir })
    }

    pub(super) fn make_dir(&self, path: &Path) -> Result<DiskResult, DiskError> {
        let full = self.resolve(path);
        match fs::create_dir(&full) {
            Ok(()) => Ok(DiskResult::Done),
            Err(_) if full.is_dir() => Ok(DiskResult::Done),
            Err(error) => Err(io_error(&error)),
        }
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<DiskResult, DiskError> {
        fs::rename(self.resolve(from), self.resolve(to)).map_err(|error| io_error(&error))?;
        Ok(DiskResult::Done)
    }

    pub(super) fn list(&self, path: &Path) -> Result<DiskResult, DiskError> {
        let entries = fs::read_dir(self.resolve(path)).map_err(|error| io_error(&error))?;
        let mut found = Vec::new();
        for entry in entries {
            if let Some(entry) = describe(entry, path).map_err(|error| io_error(&error))? {
                found.push(entry);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(DiskResult::Entries(found.into()))
    }

    pub(super) fn remove(&self, path: &Path) -> Result<DiskResult, DiskError> {
        let full = self.resolve(path);
        let removed = match fs::symlink_metadata(&full) {
            Ok(data) if data.is_dir() => fs::remove_dir(&full),
            Ok(_) => fs::remove_file(&full),
            Err(error) => Err(error),
        };
        match removed.map_err(|error| io_error(&error)) {
            Ok(()) | Err(DiskError::NotFound) => Ok(DiskResult::Done),
            Err(error) => Err(error),
        }
    }

    pub(super) fn space(&self, dir: LogDirId) -> Result<DiskResult, DiskError> {
        let space = rustix::fs::statvfs(&**self.root(dir)).map_err(disk_error)?;
        Ok(DiskResult::Space(space.f_bavail.saturating_mul(space.f_frsize)))
    }
}

/// An entry as the machine sees it. Names that are not UTF-8 are nobody's of ours, and neither is the lock.
fn describe(entry: std::io::Result<fs::DirEntry>, parent: &Path) -> std::io::Result<Option<Entry>> {
    let entry = entry?;
    let Ok(name) = entry.file_name().into_string() else {
        return Ok(None);
    };
    if parent.name.is_empty() && name == LOCK_FILE {
        return Ok(None);
    }
    let data = match fs::metadata(entry.path()) {
        Ok(data) => data,
        // Removed since it was listed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_dir = data.is_dir();
    Ok(Some(Entry { name: name.into(), is_dir, len: if is_dir { 0 } else { data.len() } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cold_can_be_warmed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dirs = Dirs::new(vec![dir.path().to_path_buf()]);
        let open = dirs.open(&Path::new(LogDirId(0), "f"), OpenMode::Create).expect("it opens");
        let len = 1 << 20;
        rustix::io::pwrite(&open, &vec![7; 1 << 20], 0).expect("it is written");
        assert!(open.is_cached(0, len), "it was just written");
        open.sync().expect("it is synced");
        // A hint that a file system may ignore, as tmpfs does.
        rustix::fs::fadvise(&open, 0, None, rustix::fs::Advice::DontNeed).expect("it can be said");
        open.warm(0, len);
        assert!(open.is_cached(0, len));
        assert_eq!(open.read_cached(10, 3), Some(Bytes::from_static(&[7; 3])));
        assert_eq!(open.read_cached(len - 2, 3), None, "the file ends before");
        assert!(open.is_cached(len, 5), "nothing is there, so nothing is waited for");
    }
}
