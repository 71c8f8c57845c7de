//! Directories that go, with all that is in them.
//!
//! Renaming -> Naming (the rename's sync; whoever deleted it is told) -> Waiting (`file.delete.delay.ms`) ->
//! Listing -> Emptying -> the directory itself. A start takes what it finds of these up again at Listing.

use std::time::Duration;

use crate::clock::{Instant, Now};
use crate::machine::{DiskResult, Effects, FileAction, LogDirId, Path};

use super::{LogId, Owner, Storage, StorageEvent};

#[derive(Clone, Debug)]
pub(super) struct Rubbish {
    path: Path,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Renaming(LogId, Duration),
    Naming(LogId, Duration),
    Waiting(Instant),
    Listing,
    /// Files that are being removed.
    Emptying(usize),
}

impl Storage {
    /// Deletes a log: `path` is renamed to `to` and removed after `delay`. Nothing of the stream's own counts any more.
    pub(crate) fn delete_stream(&mut self, id: LogId, to: Path, delay: Duration, out: &mut Effects) {
        let Some(stream) = self.streams.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        self.drop_saves_below(&stream.path, out);
        self.drop_removals_below(&stream.path);
        self.directory(stream.dir).journal.gone.extend(stream.claim.name);
        let number = self.new_id();
        let rename = FileAction::Rename { from: stream.path, to: to.clone() };
        self.act(stream.dir, Owner::Rubbish(number), rename, out);
        let step = Step::Renaming(id, delay);
        self.rubbish.insert(number, Rubbish { path: to, step });
    }

    /// Removes a directory that was left half removed.
    pub(crate) fn remove_directory(&mut self, path: Path, out: &mut Effects) {
        let number = self.new_id();
        self.act(path.dir, Owner::Rubbish(number), FileAction::List { path: path.clone() }, out);
        let step = Step::Listing;
        self.rubbish.insert(number, Rubbish { path, step });
    }

    pub(super) fn on_rubbish(&mut self, now: Now, dir: LogDirId, number: u64, result: &DiskResult, out: &mut Effects) {
        let Some(rubbish) = self.rubbish.get_mut(&number) else {
            return;
        };
        match rubbish.step {
            Step::Renaming(id, delay) => {
                rubbish.step = Step::Naming(id, delay);
                let path = Path::root(dir);
                self.act(dir, Owner::Rubbish(number), FileAction::SyncDir { path }, out);
            }
            Step::Naming(id, delay) => {
                rubbish.step = Step::Waiting(now.monotonic + delay);
                self.events.push(StorageEvent::Deleted(id));
            }
            Step::Waiting(_) => {}
            Step::Listing => {
                let DiskResult::Entries(entries) = result else {
                    self.rubbish.remove(&number);
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
        if self.rubbish.get(&number).is_some_and(|rubbish| rubbish.step == Step::Emptying(0))
            && let Some(Rubbish { path, .. }) = self.rubbish.remove(&number)
        {
            self.act(dir, Owner::Nobody, FileAction::Remove { path }, out);
        }
    }

    pub(super) fn empty_due(&mut self, now: Instant, out: &mut Effects) {
        let due = |rubbish: &Rubbish| matches!(rubbish.step, Step::Waiting(at) if at <= now);
        let numbers: Vec<u64> =
            self.rubbish.iter().filter(|(_, rubbish)| due(rubbish)).map(|(&number, _)| number).collect();
        for number in numbers {
            if let Some(rubbish) = self.rubbish.get_mut(&number) {
                rubbish.step = Step::Listing;
                let path = rubbish.path.clone();
                self.act(path.dir, Owner::Rubbish(number), FileAction::List { path }, out);
            }
        }
    }

    pub(super) fn next_rubbish(&self) -> Option<Instant> {
        let due = |rubbish: &Rubbish| match rubbish.step {
            Step::Waiting(at) => Some(at),
            Step::Renaming(..) | Step::Naming(..) | Step::Listing | Step::Emptying(_) => None,
        };
        self.rubbish.values().filter_map(due).min()
    }
}
