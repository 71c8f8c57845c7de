//! What a trace says of the disk: which bytes of which file were written when, when they were synced, and which names
//! were made and made durable.

use std::collections::BTreeMap;

use super::journal::{self, Names};
use super::strace::{Call, Piece};

/// A moment: a line of the trace.
pub type Line = usize;

/// One run of bytes in a file.
#[derive(Debug, Clone)]
struct Write {
    from: u64,
    to: u64,
    end: Line,
}

/// From entry to exit of a sync that succeeded.
#[derive(Debug, Clone, Copy)]
struct Sync {
    begin: Line,
    end: Line,
}

/// A record batch as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// The first offset.
    pub base_offset: i64,
    /// The last offset.
    pub last_offset: i64,
    from: u64,
    to: u64,
}

/// A claim of the flush journal, and the write that made it.
#[derive(Debug, Clone)]
struct Claim {
    directory: String,
    end_offset: i64,
    begin: Line,
    end: Line,
}

#[derive(Debug, Default, Clone)]
struct File {
    writes: Vec<Write>,
    syncs: Vec<Sync>,
    batches: Vec<Batch>,
    claims: Vec<Claim>,
    journal_names: Names,
    /// When the present name was made, if the trace saw it.
    named: Option<Line>,
    length: u64,
}

/// The files and directories by path.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<String, File>,
    /// Flush journals that another took the name of.
    replaced: Vec<(String, File)>,
    /// `syncfs` and `sync` cover all.
    everything: Vec<Sync>,
}

impl Disk {
    /// Applies one call, if it succeeded and is about files.
    pub fn apply(&mut self, call: &Call) -> Result<(), String> {
        if call.result < 0 {
            return Ok(());
        }
        let sync = Sync { begin: call.begin, end: call.end };
        match call.name.as_str() {
            "io_uring_enter" => {
                return Err("the broker uses io_uring: a trace of system calls does not show its writes".into());
            }
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => self.write(call)?,
            "fdatasync" | "fsync" => self.target(call).syncs.push(sync),
            "syncfs" | "sync" => self.everything.push(sync),
            "openat" | "open" | "creat" if call.name == "creat" || call.has_flag("O_CREAT") => self.made(call, 0),
            "mkdir" | "mkdirat" => self.made(call, 0),
            "rename" | "renameat" | "renameat2" => self.renamed(call),
            "link" | "linkat" => self.made(call, 1),
            "unlink" | "unlinkat" => drop(call.names().first().and_then(|name| self.files.remove(name))),
            // What does not write, sync or name (sync_file_range promises nothing about power loss).
            _ => {}
        }
        Ok(())
    }

    /// The batch of `partition`'s directory that holds `offset`: its segment's path.
    pub fn batch(&self, directory_suffix: &str, offset: i64) -> Option<(&str, Batch)> {
        let of_log = self.files.iter().filter(|(path, _)| is_segment_of(path, directory_suffix));
        of_log
            .flat_map(|(path, file)| file.batches.iter().map(move |batch| (path.as_str(), *batch)))
            .rev()
            .find(|(_, batch)| (batch.base_offset..=batch.last_offset).contains(&offset))
    }

    /// When the last byte of the batch was written.
    pub fn written(&self, path: &str, batch: Batch) -> Option<Line> {
        let file = self.files.get(path)?;
        let mut reached = batch.from;
        for write in &file.writes {
            if write.from <= reached && reached < write.to {
                reached = write.to;
            }
            if reached >= batch.to {
                return Some(write.end);
            }
        }
        None
    }

    /// When a sync that began after `moment` was the first to end, of this file or of all.
    pub fn synced_after(&self, path: &str, moment: Line) -> Option<Line> {
        self.files.get(path).and_then(|file| self.file_synced_after(file, moment))
    }

    fn file_synced_after(&self, file: &File, moment: Line) -> Option<Line> {
        let syncs = file.syncs.iter().chain(&self.everything);
        syncs.filter(|sync| sync.begin > moment).map(|sync| sync.end).min()
    }

    /// When a claim that `directory` is durable up to `last_offset`, written after `moment`, was first durable under
    /// the journal's name.
    pub fn claimed_after(&self, directory: &str, last_offset: i64, moment: Line) -> Option<Line> {
        let current = self.files.iter().map(|(path, file)| (path.as_str(), file));
        let journals = current.chain(self.replaced.iter().map(|(path, file)| (path.as_str(), file)));
        let durable = |(path, file): (&str, &File)| {
            let covers =
                |claim: &&Claim| claim.directory == directory && claim.end_offset > last_offset && claim.begin > moment;
            let claim = file.claims.iter().filter(covers).map(|claim| claim.end).min()?;
            let named = file.named.map_or(Some(0), |made| self.synced_after(parent(path), made))?;
            Some(self.file_synced_after(file, claim)?.max(named))
        };
        journals.filter(|(path, _)| path.ends_with(journal::NAMES[0])).filter_map(durable).min()
    }

    /// The names on the way to `path` that the trace saw made, and when.
    pub fn names_made(&self, path: &str) -> Vec<(String, Line)> {
        let mut made = Vec::new();
        let mut name = path;
        while !name.is_empty() {
            if let Some(line) = self.files.get(name).and_then(|file| file.named) {
                made.push((name.to_owned(), line));
            }
            name = parent(name);
        }
        made
    }

    fn target(&mut self, call: &Call) -> &mut File {
        self.files.entry(call.target().unwrap_or_default()).or_default()
    }

    fn write(&mut self, call: &Call) -> Result<(), String> {
        let Some(path) = call.target().filter(|path| path.starts_with('/')) else {
            return Ok(());
        };
        let file = self.files.entry(path.clone()).or_default();
        let from = call.position().unwrap_or(file.length);
        let to = from + u64::try_from(call.result).unwrap_or(0);
        file.length = file.length.max(to);
        file.writes.push(Write { from, to, end: call.end });
        if is_segment(&path) {
            let found =
                batches(&call.pieces(), from).map_err(|error| format!("line {}: {path}: {error}", call.begin))?;
            file.batches.extend(found);
        }
        if journal::NAMES.iter().any(|name| path.ends_with(name)) {
            let found = journal::claims(&call.pieces(), &mut file.journal_names)
                .map_err(|error| format!("line {}: {error}", call.begin + 1))?;
            file.claims.extend(found.into_iter().map(|(directory, end_offset)| Claim {
                directory,
                end_offset,
                begin: call.begin,
                end: call.end,
            }));
        }
        Ok(())
    }

    fn made(&mut self, call: &Call, which: usize) {
        if let Some(name) = call.names().into_iter().nth(which) {
            let file = self.files.entry(name).or_default();
            file.named.get_or_insert(call.end);
        }
    }

    /// Whatever lies under the old name lies under the new one, whose entry is still to be synced.
    fn renamed(&mut self, call: &Call) {
        let [from, to] = &call.names()[..] else { return };
        let inside = format!("{from}/");
        let moved: Vec<_> =
            self.files.keys().filter(|path| *path == from || path.starts_with(&inside)).cloned().collect();
        if let Some(before) = self.files.remove(to).filter(|before| !before.claims.is_empty()) {
            self.replaced.push((to.clone(), before));
        }
        for path in moved {
            if let Some(file) = self.files.remove(&path) {
                self.files.insert(format!("{to}{}", &path[from.len()..]), file);
            }
        }
        self.files.entry(to.clone()).or_default().named = Some(call.end);
    }
}

/// The directory of a path.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn is_segment(path: &str) -> bool {
    path.ends_with(".log") && path.rsplit('/').next().is_some_and(|name| name.len() == 24)
}

fn is_segment_of(path: &str, directory_suffix: &str) -> bool {
    is_segment(path) && parent(path).ends_with(directory_suffix)
}

/// The record batches in a write at `position`. A write that starts inside a batch (the rest of a partial write)
/// has none that begin in it.
fn batches(pieces: &[Piece], position: u64) -> Result<Vec<Batch>, String> {
    let total: u64 = pieces.iter().map(|piece| piece.len).sum();
    let mut found = Vec::new();
    let mut at = 0;
    while at + 61 <= total {
        let magic = number::<1>(pieces, at + 16)?;
        if magic != 2 {
            return if at == 0 { Ok(found) } else { Err(format!("no batch at {at} of the write")) };
        }
        let base_offset = number::<8>(pieces, at)?;
        let length = u64::try_from(number::<4>(pieces, at + 8)?).map_err(|error| error.to_string())?;
        let last_offset = base_offset + number::<4>(pieces, at + 23)?;
        let end = at + 12 + length;
        found.push(Batch { base_offset, last_offset, from: position + at, to: position + end });
        at = end;
    }
    Ok(found)
}

/// A big-endian number of `N` bytes at a place in the pieces.
fn number<const N: usize>(pieces: &[Piece], at: u64) -> Result<i64, String> {
    let mut value = 0;
    for place in at..at + u64::try_from(N).unwrap_or(0) {
        value = value << 8 | i64::from(byte(pieces, place).ok_or("the trace does not show a whole batch header")?);
    }
    Ok(value)
}

pub(super) fn byte(pieces: &[Piece], mut at: u64) -> Option<u8> {
    for piece in pieces {
        if at < piece.len {
            return piece.shown.get(usize::try_from(at).ok()?).copied();
        }
        at -= piece.len;
    }
    None
}
