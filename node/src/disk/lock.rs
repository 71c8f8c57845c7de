//! One process a log directory: an advisory lock on `.lock`, as Kafka has it, with our process id inside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// The lock's name; it is hidden from the machine.
pub(super) const LOCK_FILE: &str = ".lock";

/// More than the digits of any process id.
const LONGEST_PID: u64 = 32;

/// Holds a log directory for this process, until it is dropped or the process ends in any way.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why a log directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("log directory {} is in use by another process{holder}; stop it or use another", dir.display())]
    Held {
        /// Which directory.
        dir: PathBuf,
        /// ` (process 123)`, where known.
        holder: String,
    },
    /// It cannot be made or opened.
    #[error("log directory {}: {error}", dir.display())]
    Io {
        /// Which directory.
        dir: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
}

impl DirectoryLock {
    /// Makes the directory where it is missing, and takes its lock.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let io = |error| LockError::Io { dir: dir.to_path_buf(), error };
        make_durably(dir).map_err(io)?;
        let path = dir.join(LOCK_FILE);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(LockError::Held { dir: dir.to_path_buf(), holder: holder(&path) });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        // The lock is what counts. On a disk without space there may be no room for who has it, and a node must start
        // all the same, to make some.
        if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
            tracing::warn!("{}: the process id cannot be written: {error}", path.display());
        }
        Ok(Self { _file: file })
    }
}

/// A new directory's own name must survive power loss, or all that is synced inside it is lost with it.
fn make_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_durably(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST_PID).read_to_string(&mut text));
    match text.trim().parse::<u32>() {
        Ok(pid) if read.is_ok() => format!(" (process {pid})"),
        Ok(_) | Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_by_name() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let dir = base.path().join("a/b");
        let first = DirectoryLock::take(&dir).expect("nobody has it");
        let refusal = DirectoryLock::take(&dir).expect_err("it is held").to_string();
        assert!(refusal.contains(&format!("(process {})", std::process::id())), "{refusal}");
        assert!(refusal.contains("a/b"), "{refusal}");
        drop(first);
        DirectoryLock::take(&dir).expect("it was given back");
    }
    #[test]
    fn a_lock_holds_though_nothing_can_be_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::os::unix::fs::symlink("/dev/full", dir.path().join(LOCK_FILE)).expect("a link");
        let _held = DirectoryLock::take(dir.path()).expect("nobody has it");
        let refusal = DirectoryLock::take(dir.path()).expect_err("it is held").to_string();
        assert!(refusal.contains("in use by another process;"), "{refusal}");
    }
}
