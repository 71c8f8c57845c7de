//! Files that go: renamed to a name that says so at once, removed after a delay.
//!
//! Renames keep the order of the effects and removals do not, so only a rename can free a name that will be
//! used again: a segment that was truncated away and then rolled anew. A start removes what it finds of these.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::{Instant, Now};
use crate::machine::{Effect, Effects, FileAction, Path};

use super::{LogId, Owner, Storage};

/// The files that go, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Removals {
    files: BTreeMap<u64, Removal>,
    /// Those that have their new name, by when they are to be removed.
    due: BTreeSet<(Instant, u64)>,
}

#[derive(Clone, Debug)]
struct Removal {
    path: Path,
    delay: Duration,
}

impl Storage {
    /// Renames a file of a stream, and removes it after `delay`. The stream's next durable offset waits for it.
    pub(crate) fn retire(&mut self, id: LogId, path: &Path, delay: Duration, out: &mut Effects) {
        let removal = self.new_id();
        let to = retired(path, removal);
        let op = self.op(path.dir, Owner::Retired(id, removal));
        let rename = FileAction::Rename { from: path.clone(), to: to.clone() };
        if let Some(stream) = self.stream_mut(id) {
            stream.names.pending += 1;
        }
        self.removals.files.insert(removal, Removal { path: to, delay });
        self.emit(id, Effect::File { op, action: Box::new(rename) }, out);
    }

    /// Removes what the last process has left under a name that may soon be used: the name is free at once, however
    /// late the removal is. A start removes what it finds of these, too.
    pub(crate) fn discard(&mut self, path: &Path, out: &mut Effects) {
        let gone = Path::new(path.dir, format!("{}.deleted", path.name));
        let rename = FileAction::Rename { from: path.clone(), to: gone.clone() };
        self.act(path.dir, Owner::Nobody, rename, out);
        self.act(path.dir, Owner::Nobody, FileAction::Remove { path: gone }, out);
    }

    /// A name that a file can be renamed to that goes; no other has it in this process.
    pub(crate) fn retired_name(&mut self, path: &Path) -> Path {
        let removal = self.new_id();
        retired(path, removal)
    }

    /// Removes a file after `delay` that was renamed to such a name.
    pub(crate) fn remove_later(&mut self, now: Now, path: Path, delay: Duration) {
        let removal = self.new_id();
        self.removals.files.insert(removal, Removal { path, delay });
        self.removals.due.insert((now.monotonic + delay, removal));
    }

    pub(super) fn on_retired(&mut self, now: Now, id: LogId, removal: u64) {
        if let Some(file) = self.removals.files.get(&removal) {
            self.removals.due.insert((now.monotonic + file.delay, removal));
        }
        self.on_named(now, id);
    }

    /// What goes with a directory needs no removal of its own.
    pub(crate) fn drop_removals_below(&mut self, directory: &Path) {
        self.removals.files.retain(|_, removal| super::atomic_save::parent(&removal.path) != *directory);
    }

    pub(super) fn remove_due(&mut self, now: Instant, out: &mut Effects) {
        while let Some(&(due, removal)) = self.removals.due.first().filter(|(due, _)| *due <= now) {
            self.removals.due.remove(&(due, removal));
            if let Some(Removal { path, .. }) = self.removals.files.remove(&removal) {
                self.act(path.dir, Owner::Nobody, FileAction::Remove { path }, out);
            }
        }
    }

    pub(super) fn next_removal(&self) -> Option<Instant> {
        self.removals.due.first().map(|(due, _)| *due)
    }
}

fn retired(path: &Path, removal: u64) -> Path {
    Path::new(path.dir, format!("{}.{removal}.deleted", path.name))
}
