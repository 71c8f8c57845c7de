//! The directories of partitions and the files in them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_core::log::names::{DirName, FileName, PARTITION_METADATA, SegmentFile};
use ottla_core::log::partition_metadata;
use ottla_core::storage::{JOURNAL, Mark, journal_claims};
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
    /// Up to where the flush journal says that the log was durable.
    pub(super) claim: Option<Mark>,
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
        let mut partition =
            Self { name, dir: dir.to_owned(), segments: Vec::new(), snapshots: Vec::new(), claim: None };
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

    /// Keeps what is claimed of this partition.
    fn take_claim(&mut self, claims: &Claims) -> Result<(), Failure> {
        let id = self.read(PARTITION_METADATA)?.and_then(|bytes| partition_metadata::parse(&bytes).ok());
        let is_own = |key: &str| match (key.split_once(' '), id) {
            (Some((name, claimed)), Some(id)) => name == self.name && claimed == id.to_string(),
            (Some((name, _)), None) => name == self.name,
            (None, _) => false,
        };
        self.claim = claims.iter().find(|(key, _)| is_own(key)).map(|(_, mark)| *mark);
        Ok(())
    }
}

/// What a flush journal claims: each partition's name and id, and up to where its log was durable.
type Claims = BTreeMap<Arc<str>, Mark>;

/// The partitions of a log directory by name, or the one whose directory `dir` is.
pub(super) fn partitions(dir: &Path) -> Result<Vec<Partition>, Failure> {
    let whole = dir.canonicalize().map_err(|error| unreadable(dir, &error))?;
    let own_name = whole.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if matches!(DirName::parse(own_name), DirName::Partition(_)) {
        let claims = whole.parent().map_or(Ok(Claims::new()), claims)?;
        let mut only = Partition::open(dir, own_name.to_owned())?;
        only.take_claim(&claims)?;
        return Ok(vec![only]);
    }
    // Before the segments are listed: a node that is at work may roll, and claim a segment that was not there yet.
    let claims = claims(dir)?;
    let mut names = list(dir)?;
    names.retain(|name| matches!(DirName::parse(name), DirName::Partition(_)));
    names.sort_unstable();
    if names.is_empty() {
        let what = "has no directory of a partition; name a log directory, or one topic-partition in it";
        return Err(Failure::usage(format!("{} {what}", dir.display())));
    }
    let opened = names.into_iter().map(|name| {
        let mut partition = Partition::open(&dir.join(&name), name)?;
        partition.take_claim(&claims)?;
        Ok(partition)
    });
    opened.collect()
}

/// What the flush journal of a log directory claims. A directory that Kafka wrote has none.
fn claims(root: &Path) -> Result<Claims, Failure> {
    let path = root.join(JOURNAL);
    match fs::read(&path) {
        Ok(bytes) => Ok(journal_claims(&bytes).0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Claims::new()),
        Err(error) => Err(unreadable(&path, &error)),
    }
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
