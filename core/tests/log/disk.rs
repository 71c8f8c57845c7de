//! A disk with three layers: what is queued, what is written, what is synced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use ottla_core::job::Next;
use ottla_core::machine::{DiskError, DiskResult, Effect, Entry, FileAction, FileId, Input, OpenMode, Path};
use ottla_core::record::BatchHead;

const SECTOR: usize = 512;

/// The files of one or more log directories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    names: BTreeMap<String, Node>,
    durable_names: BTreeMap<String, Node>,
    files: BTreeMap<u64, Content>,
    open: BTreeMap<FileId, u64>,
    queue: VecDeque<Effect>,
    last_inode: u64,
    /// Bytes that can still be written.
    pub(crate) room: u64,
    /// Operations, by count from here on, that fail.
    pub(crate) fail: BTreeMap<u64, DiskError>,
    /// What was carried out, as effects are written, if somebody wants to read it.
    pub(crate) trace: Option<Vec<String>>,
    /// Operations that were carried out.
    pub(crate) done: u64,
    /// Jobs do not wait for what was queued before them: they run on threads of their own.
    pub(crate) jobs_overtake: bool,
    /// Directories are synced when there is nothing else to do.
    pub(crate) syncs_are_late: bool,
    /// Files are not removed as yet.
    pub(crate) removals_wait: bool,
    /// Renames of files that no sync of their directory has covered.
    renames: Vec<(String, String, Node)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(u64),
    Dir,
}

#[derive(Clone, Debug, Default)]
struct Content {
    written: Vec<u8>,
    synced: Vec<u8>,
    /// What a sync failed of: memory shows it, and it will not be written again.
    lost: Range<usize>,
}

/// What is left after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process dies: what was queued is lost.
    Kill,
    /// Power goes: of what was not synced each sector and each name may be lost.
    Power(u64),
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { room: u64::MAX / 2, ..Self::default() }
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.queue.push_back(effect);
    }

    /// Whether a file is open and stays so.
    pub(crate) fn is_kept(&self, file: FileId) -> bool {
        let closes = |effect: &Effect| match effect {
            Effect::File { action, .. } => matches!(**action, FileAction::CloseFile { file: other } if other == file),
            _ => false,
        };
        self.open.contains_key(&file) && !self.queue.iter().any(closes)
    }

    /// Carries out the next operation.
    pub(crate) fn step(&mut self) -> Option<Input> {
        let is_job = |effect: &Effect| matches!(effect, Effect::Run { .. });
        let is_sync = |effect: &Effect| match effect {
            Effect::File { action, .. } => matches!(**action, FileAction::SyncDir { .. }),
            _ => false,
        };
        let overtaking = self.queue.iter().position(is_job).filter(|_| self.jobs_overtake);
        let passing = self.queue.iter().position(|effect| !is_sync(effect)).filter(|_| self.syncs_are_late);
        let is_removal = |effect: &Effect| match effect {
            Effect::File { action, .. } => matches!(**action, FileAction::Remove { .. }),
            _ => false,
        };
        let first = match self.removals_wait {
            true => self.queue.iter().position(|effect| !is_removal(effect))?,
            false => 0,
        };
        let effect = self.queue.remove(overtaking.or(passing).unwrap_or(first))?;
        self.done += 1;
        if let Some(trace) = &mut self.trace {
            trace.push(effect.to_string());
        }
        let (op, result) = match effect {
            Effect::Append { op, file, pos, base_offset, leader_epoch, rest } => {
                let mut bytes = BatchHead::new(base_offset, leader_epoch, rest.len()).0.to_vec();
                bytes.extend_from_slice(&rest);
                (op, self.write(file, pos.into(), &bytes))
            }
            Effect::Write { op, file, pos, bytes } => (op, self.write(file, pos, &bytes)),
            Effect::Sync { op, file } => (op, self.sync(file)),
            Effect::File { op, action } => (op, self.act(*action)),
            Effect::Run { job, mut work } => {
                let mut read = None;
                let fails = self.fail.remove(&self.done);
                loop {
                    match work.step(read) {
                        Next::Read { file, pos, len } => {
                            read = Some(fails.map_or_else(|| self.read(file, pos, len), Err));
                        }
                        Next::Write { file, pos, bytes } => {
                            let written = self.write(file, pos, &bytes).map(|_| bytes::Bytes::new());
                            read = Some(fails.map_or(written, Err));
                        }
                        Next::Done(report) => return Some(Input::JobDone { job, report }),
                    }
                }
            }
            Effect::Note(_) => return self.step(),
            other => panic!("no file effect: {other}"),
        };
        let result = match self.fail.remove(&self.done) {
            Some(error) => DiskResult::Failed(error),
            None => result.unwrap_or_else(DiskResult::Failed),
        };
        Some(Input::Disk { op, result })
    }

    fn write(&mut self, file: FileId, pos: u64, bytes: &[u8]) -> Result<DiskResult, DiskError> {
        if let Some(&error) = self.fail.get(&self.done) {
            // A failed write may have been carried out in part, and a failed sync loses what it should have synced.
            self.put(file, pos, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        if (bytes.len() as u64) > self.room {
            let part = self.room as usize;
            self.room = 0;
            self.put(file, pos, &bytes[..part])?;
            return Err(DiskError::Full);
        }
        self.room -= bytes.len() as u64;
        self.put(file, pos, bytes)?;
        Ok(DiskResult::Done)
    }

    fn put(&mut self, file: FileId, pos: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let content = self.content(file)?;
        let (pos, end) = (pos as usize, pos as usize + bytes.len());
        if content.written.len() < end {
            content.written.resize(end, 0);
        }
        content.written[pos..end].copy_from_slice(bytes);
        let lost = &mut content.lost;
        if pos <= lost.start {
            lost.start = lost.start.max(end)
        } else {
            lost.end = lost.end.min(pos)
        }
        Ok(())
    }

    fn sync(&mut self, file: FileId) -> Result<DiskResult, DiskError> {
        let failed = self.fail.contains_key(&self.done);
        let content = self.content(file)?;
        if failed {
            content.lost = content.synced.len().min(content.written.len())..content.written.len();
        } else {
            content.synced = content.platter();
        }
        Ok(DiskResult::Done)
    }

    pub(crate) fn read(&mut self, file: FileId, pos: u64, len: u32) -> Result<Bytes, DiskError> {
        let written = &self.content(file)?.written;
        let pos = (pos as usize).min(written.len());
        let end = (pos + len as usize).min(written.len());
        Ok(Bytes::copy_from_slice(&written[pos..end]))
    }

    fn act(&mut self, action: FileAction) -> Result<DiskResult, DiskError> {
        match action {
            FileAction::MakeDir { path } => {
                self.names.insert(name(&path), Node::Dir);
            }
            FileAction::List { path } => return self.list(&path),
            FileAction::Open { file, path, mode } => return self.open(file, &path, mode),
            FileAction::CloseFile { file } => {
                self.open.remove(&file).ok_or(DiskError::Io(9))?;
            }
            FileAction::SetLen { file, len } => self.content(file)?.written.resize(len as usize, 0),
            FileAction::Forget { file, .. } => self.content(file)?.forget(),
            FileAction::SyncDir { path } => self.sync_dir(&name(&path))?,
            FileAction::Rename { from, to } => self.rename(&name(&from), &name(&to))?,
            FileAction::Remove { path } => {
                if let Some(Node::File(inode)) = self.names.remove(&name(&path)) {
                    self.room += self.files[&inode].written.len() as u64;
                }
            }
            FileAction::Read { file, pos, len } => return self.read(file, pos, len).map(DiskResult::Bytes),
            FileAction::FreeSpace { .. } => return Ok(DiskResult::Space(self.room)),
        }
        Ok(DiskResult::Done)
    }

    fn list(&self, path: &Path) -> Result<DiskResult, DiskError> {
        let directory = name(path);
        if !is_root(&directory) && self.names.get(&directory) != Some(&Node::Dir) {
            return Err(DiskError::NotFound);
        }
        let entries = self.names.iter().filter(|(name, _)| parent(name) == directory);
        let entry = |(path, node): (&String, &Node)| Entry {
            name: path.rsplit('/').next().unwrap().into(),
            is_dir: *node == Node::Dir,
            len: match node {
                Node::File(inode) => self.files[inode].written.len() as u64,
                Node::Dir => 0,
            },
        };
        Ok(DiskResult::Entries(entries.map(entry).collect()))
    }

    fn open(&mut self, file: FileId, path: &Path, mode: OpenMode) -> Result<DiskResult, DiskError> {
        let path = name(path);
        let directory = parent(&path);
        if !is_root(directory) && self.names.get(directory) != Some(&Node::Dir) {
            return Err(DiskError::NotFound);
        }
        let inode = match (self.names.get(&path), mode) {
            (Some(Node::File(inode)), _) => *inode,
            (Some(Node::Dir), _) => return Err(DiskError::Io(21)),
            (None, OpenMode::Existing) => return Err(DiskError::NotFound),
            (None, OpenMode::Create) => {
                self.last_inode += 1;
                self.files.insert(self.last_inode, Content::default());
                self.names.insert(path, Node::File(self.last_inode));
                self.last_inode
            }
        };
        assert!(self.open.insert(file, inode).is_none(), "{file} is used twice");
        let content = self.files.get_mut(&inode).unwrap();
        if mode == OpenMode::Create {
            content.written.clear();
        }
        Ok(DiskResult::Opened { len: content.written.len() as u64 })
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let node = self.names.remove(from).ok_or(DiskError::NotFound)?;
        self.names.insert(to.into(), node);
        if let Node::File(_) = node {
            self.renames.push((from.into(), to.into(), node));
        }
        let below: Vec<String> =
            self.names.keys().filter(|name| name.starts_with(&format!("{from}/"))).cloned().collect();
        for old in below {
            let node = self.names.remove(&old).unwrap();
            self.names.insert(format!("{to}{}", &old[from.len()..]), node);
        }
        // What is durable below a directory goes with its inode; only the directory's own name may be old.
        Ok(())
    }

    fn sync_dir(&mut self, directory: &str) -> Result<(), DiskError> {
        if !is_root(directory) && self.names.get(directory) != Some(&Node::Dir) {
            return Err(DiskError::NotFound);
        }
        self.renames.retain(|(from, ..)| parent(from) != directory);
        let all: BTreeSet<String> = self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        for path in all.iter().filter(|path| parent(path) == directory) {
            match self.names.get(path) {
                Some(node) => self.durable_names.insert(path.clone(), *node),
                None => self.durable_names.remove(path),
            };
        }
        // A directory's rename is durable with all that is in it.
        let gone: Vec<String> = self.durable_names.keys().filter(|path| self.has_no_parent(path)).cloned().collect();
        for path in gone {
            self.durable_names.remove(&path);
        }
        for (path, node) in self.names.clone() {
            let moved = parent(&path) != directory && path.ends_with("-delete") | parent(&path).ends_with("-delete");
            if moved {
                self.durable_names.insert(path, node);
            }
        }
        Ok(())
    }

    fn has_no_parent(&self, path: &str) -> bool {
        let directory = parent(path);
        // What is synced in a new directory is there if that directory is.
        let is_there = self.durable_names.contains_key(directory) || self.names.contains_key(directory);
        !is_root(directory) && !is_there
    }

    /// The process or the machine is gone; what is left is what the next one finds.
    pub(crate) fn crash(&mut self, crash: Crash) {
        self.queue.clear();
        self.open.clear();
        self.fail.clear();
        let Crash::Power(seed) = crash else {
            return;
        };
        let mut draw = Draw(seed);
        let all: BTreeSet<String> = self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        for path in all {
            let (new, old) = (self.names.get(&path).copied(), self.durable_names.get(&path).copied());
            let kept = if draw.flip() { new } else { old };
            match kept {
                Some(node) => self.names.insert(path, node),
                None => self.names.remove(&path),
            };
        }
        // A rename never loses both names.
        for (from, to, node) in std::mem::take(&mut self.renames) {
            if self.names.get(&from) != Some(&node) && !self.names.values().any(|other| *other == node) {
                self.names.insert(to, node);
            }
        }
        for content in self.files.values_mut() {
            content.tear(&mut draw);
        }
        let lost: Vec<String> = self
            .names
            .keys()
            .filter(|path| !is_root(parent(path)) && !self.names.contains_key(parent(path)))
            .cloned()
            .collect();
        for path in lost {
            self.names.remove(&path);
        }
        self.durable_names = self.names.clone();
    }

    fn content(&mut self, file: FileId) -> Result<&mut Content, DiskError> {
        let inode = self.open.get(&file).ok_or(DiskError::Io(9))?;
        Ok(self.files.get_mut(inode).unwrap())
    }

    /// The bytes of a file by name, to be looked at or spoilt.
    pub(crate) fn bytes(&mut self, path: &str) -> &mut Vec<u8> {
        let Some(Node::File(inode)) = self.names.get(path) else {
            panic!("no file {path} among {:?}", self.names.keys());
        };
        &mut self.files.get_mut(inode).unwrap().written
    }

    /// Makes a file, and its directory, that are there after any crash.
    pub(crate) fn plant(&mut self, path: &str, bytes: Vec<u8>) {
        self.last_inode += 1;
        self.files.insert(self.last_inode, Content { synced: bytes.clone(), written: bytes, lost: 0..0 });
        for names in [&mut self.names, &mut self.durable_names] {
            names.insert(path.to_owned(), Node::File(self.last_inode));
            if !is_root(parent(path)) {
                names.insert(parent(path).to_owned(), Node::Dir);
            }
        }
    }

    /// Takes a file away, as if it had never been; what it held.
    pub(crate) fn take(&mut self, path: &str) -> Vec<u8> {
        let bytes = self.bytes(path).clone();
        self.names.remove(path);
        self.durable_names.remove(path);
        bytes
    }

    /// Names that are gone and may come back when power is lost.
    pub(crate) fn names_to_come_back(&self) -> impl Iterator<Item = &String> {
        self.durable_names.keys().filter(|name| !self.names.contains_key(*name))
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// Whether a job is what is carried out next.
    pub(crate) fn next_is_a_job(&self) -> bool {
        matches!(self.queue.front(), Some(Effect::Run { .. }))
    }

    /// How many files are open.
    pub(crate) fn open_files(&self) -> usize {
        self.open.len()
    }
}

impl Content {
    fn forget(&mut self) {
        self.written = self.platter();
        self.lost = 0..0;
    }

    /// What is written, but for what was lost.
    fn platter(&self) -> Vec<u8> {
        let mut bytes = self.written.clone();
        for at in self.lost.start..self.lost.end.min(bytes.len()) {
            bytes[at] = self.synced.get(at).copied().unwrap_or(0);
        }
        bytes
    }

    fn tear(&mut self, draw: &mut Draw) {
        let (written, synced) = (&self.written, &self.synced);
        let len = if draw.flip() { written.len() } else { synced.len() };
        let mut left = vec![0; len];
        for start in (0..len).step_by(SECTOR) {
            let source = if draw.flip() { written } else { synced };
            let end = (start + SECTOR).min(len).min(source.len());
            if start < end {
                left[start..end].copy_from_slice(&source[start..end]);
            }
        }
        self.written.clone_from(&left);
        self.synced = left;
    }
}

/// Flips of a coin.
struct Draw(u64);

impl Draw {
    fn flip(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) & 1 == 1
    }
}

/// The first log directory is the disk's root, and the others lie beside its files.
fn name(path: &Path) -> String {
    match (path.dir.0, &*path.name) {
        (0, name) => name.to_owned(),
        (dir, "") => format!("{BESIDE}{dir}"),
        (dir, name) => format!("{BESIDE}{dir}/{name}"),
    }
}

/// A name that nothing in the first log directory has.
const BESIDE: &str = "log directory ";

fn is_root(name: &str) -> bool {
    name.is_empty() || name.starts_with(BESIDE) && !name.contains('/')
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}
