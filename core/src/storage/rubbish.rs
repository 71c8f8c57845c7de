//! Directories that go, with all that is in them.
//!
//! Renaming -> Naming (the rename's sync; whoever deleted it is told) -> Waiting (`file.delete.delay.ms`) ->
//! Listing -> Emptying -> the directory itself. A start takes what it finds of these up again at Listing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::{Instant, Now};
use crate::machine::{DiskResult, Effects, FileAction, LogDirId, Path};

use super::journal::Gone;
use super::{LogId, Owner, Storage, StorageEvent};

/// The directories that go, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Rubbish {
    directories: BTreeMap<u64, Going>,
    /// Those that wait, by until when.
    due: BTreeSet<(Instant, u64)>,
}

#[derive(Clone, Debug)]
struct Going {
    path: Path,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Renaming(LogId, Duration),
    Naming(LogId, Duration),
    Waiting,
    Listing,
    /// Files that are being removed.
    Emptying(usize),
}

impl Storage {
    /// Deletes a log: `path` is renamed to `to` and removed after `delay`. Nothing of the stream's own counts any more.
    pub(crate) fn delete_stream(&mut self, id: LogId, to: Path, delay: Duration, out: &mut Effects) {
        let Some(mut stream) = self.streams.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        // What a gate holds back is done to files that go: nothing is wrong with that, and each operation is to end.
        for effect in stream.take_held() {
            out.push(effect);
        }
        self.directory(stream.dir).logs -= 1;
        self.drop_saves_below(&stream.path, out);
        self.drop_removals_below(&stream.path);
        let gone = Gone { name: stream.claim.name, key: stream.key, end: stream.claim.highest };
        self.directory(stream.dir).journal.gone.push(gone);
        let number = self.new_id();
        let rename = FileAction::Rename { from: stream.path, to: to.clone() };
        self.act(stream.dir, Owner::Rubbish(number), rename, out);
        let step = Step::Renaming(id, delay);
        self.rubbish.directories.insert(number, Going { path: to, step });
    }

    /// Removes a directory that was left half removed.
    pub(crate) fn remove_directory(&mut self, path: Path, out: &mut Effects) {
        let number = self.new_id();
        self.act(path.dir, Owner::Rubbish(number), FileAction::List { path: path.clone() }, out);
        let step = Step::Listing;
        self.rubbish.directories.insert(number, Going { path, step });
    }

    pub(super) fn on_rubbish(&mut self, now: Now, dir: LogDirId, number: u64, result: &DiskResult, out: &mut Effects) {
        let Some(rubbish) = self.rubbish.directories.get_mut(&number) else {
            return;
        };
        match rubbish.step {
            Step::Renaming(id, delay) => {
                rubbish.step = Step::Naming(id, delay);
                let path = Path::root(dir);
                self.act(dir, Owner::Rubbish(number), FileAction::SyncDir { path }, out);
            }
            Step::Naming(id, delay) => {
                rubbish.step = Step::Waiting;
                self.rubbish.due.insert((now.monotonic + delay, number));
                self.events.push(StorageEvent::Deleted(id));
            }
            Step::Waiting => {}
            Step::Listing => {
                let DiskResult::Entries(entries) = result else {
                    self.rubbish.directories.remove(&number);
                    return;
                };
                rubbish.step = Step::Emptying(entries.len());
                let paths: Vec<Path> = entries.iter().map(|entry| rubbish.path.join(&entry.name)).collect();
                for path in paths {
                    self.act(dir, Owner::Rubbish(number), FileAction::Remove { path }, out);
                }
                self.remove_if_empty(dir, number, out);
            }
            Step::Emptying(left) => {
                rubbish.step = Step::Emptying(left.saturating_sub(1));
                self.remove_if_empty(dir, number, out);
            }
        }
    }

    fn remove_if_empty(&mut self, dir: LogDirId, number: u64, out: &mut Effects) {
        if self.rubbish.directories.get(&number).is_some_and(|rubbish| rubbish.step == Step::Emptying(0))
            && let Some(Going { path, .. }) = self.rubbish.directories.remove(&number)
        {
            self.act(dir, Owner::Nobody, FileAction::Remove { path }, out);
        }
    }

    pub(super) fn empty_due(&mut self, now: Instant, out: &mut Effects) {
        while let Some(&(due, number)) = self.rubbish.due.first().filter(|(due, _)| *due <= now) {
            self.rubbish.due.remove(&(due, number));
            if let Some(rubbish) = self.rubbish.directories.get_mut(&number) {
                rubbish.step = Step::Listing;
                let path = rubbish.path.clone();
                self.act(path.dir, Owner::Rubbish(number), FileAction::List { path }, out);
            }
        }
    }

    pub(super) fn next_rubbish(&self) -> Option<Instant> {
        self.rubbish.due.first().map(|(due, _)| *due)
    }
}
