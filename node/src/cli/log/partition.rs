//! The directories of partitions and the files in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ottla_core::log::names::{DirName, FileName, SegmentFile};
use ottla_core::types::Offset;

use crate::cli::Failure;

/// One partition's directory.
#[derive(Debug)]
pub(super) struct Partition {
    /// `topic-partition`
    pub(super) name: String,
    /// Where it is.
    pub(super) dir: PathBuf,
    /// The segments' base offsets, rising.
    pub(super) segments: Vec<Offset>,
    /// The end offsets of the producers' snapshots, rising.
    pub(super) snapshots: Vec<Offset>,
}

impl Partition {
    /// Where a file of a segment is.
    pub(super) fn path(&self, base_offset: Offset, file: SegmentFile) -> PathBuf {
        self.dir.join(file.name(base_offset))
    }

    /// A file's content; `None` if it is not there.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.dir.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    fn open(dir: &Path, name: String) -> Result<Self, Failure> {
        let mut partition = Self { name, dir: dir.to_owned(), segments: Vec::new(), snapshots: Vec::new() };
        for file in list(dir)? {
            match FileName::parse(&file) {
                FileName::Segment { base_offset, file: SegmentFile::Log } => partition.segments.push(base_offset),
                FileName::Segment { base_offset, file: SegmentFile::Snapshot } => partition.snapshots.push(base_offset),
                FileName::Segment { .. } | FileName::Leftover | FileName::Swap { .. } | FileName::Other => {}
            }
        }
        partition.segments.sort_unstable();
        partition.snapshots.sort_unstable();
        Ok(partition)
    }
}

/// The partitions of a log directory by name, or the one whose directory `dir` is.
pub(super) fn partitions(dir: &Path) -> Result<Vec<Partition>, Failure> {
    let whole = dir.canonicalize().map_err(|error| unreadable(dir, &error))?;
    let own_name = whole.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if matches!(DirName::parse(own_name), DirName::Partition(_)) {
        return Ok(vec![Partition::open(dir, own_name.to_owned())?]);
    }
    let mut names = list(dir)?;
    names.retain(|name| matches!(DirName::parse(name), DirName::Partition(_)));
    names.sort_unstable();
    if names.is_empty() {
        let what = "has no directory of a partition; name a log directory, or one topic-partition in it";
        return Err(Failure::usage(format!("{} {what}", dir.display())));
    }
    names.into_iter().map(|name| Partition::open(&dir.join(&name), name)).collect()
}

/// `path` cannot be read, and why.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {error}", path.display()))
}

/// The names in a directory. One that is not UTF-8 is none of ours.
fn list(dir: &Path) -> Result<Vec<String>, Failure> {
    let entries = fs::read_dir(dir).map_err(|error| unreadable(dir, &error))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(dir, &error))?;
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
}
