//! Append, roll, truncate and atomic save as operations on files, and what they have come to.
//!
//! * [`stream`]: how far one log's bytes are issued, written, durable; its truncation
//! * [`commit`]: the commit rounds of a directory, and the one comment on what precedes which reply
//! * [`journal`]: the flush journal, which tells a torn tail from damage
//! * [`atomic_save`]: a file that is there whole or not at all; [`load`]: a small file, read whole
//! * [`removal`]: files that go: renamed at once, removed later; [`rubbish`]: directories that do
//! * [`directory`]: a log directory and its health
//!
//! Operations are numbered from 1 and never again, so a completion that comes after a truncation, a deletion or
//! a failure finds nobody and changes nothing: there is no ABA.
//!
//! Absent on purpose: what the bytes mean. Segments, indexes and producers are `log`'s.

pub(crate) mod atomic_save;
pub(crate) mod commit;
pub(crate) mod directory;
pub(crate) mod journal;
pub(crate) mod load;
mod pins;
pub(crate) mod removal;
pub(crate) mod rubbish;
pub(crate) mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::{Instant, Now};
use crate::machine::{DiskError, DiskResult, Effect, Effects, FileAction, FileId, LogDirId, OpId, Path};
use crate::planted::{Plant, Planted};
use crate::types::Offset;

pub(crate) use atomic_save::SaveOwner;
use atomic_save::{SaveId, Saves};
use directory::Directory;
pub(crate) use directory::Health;
use journal::Journal;
pub use journal::Mark;
pub use journal::NAME as JOURNAL;
use load::{Load, LoadId};
pub(crate) use load::{LoadOwner, MAX_FILE};
pub use pins::Pin;
use pins::Pins;
use removal::Removals;
use rubbish::Rubbish;
pub(crate) use stream::Stream;

/// What a flush journal's bytes claim of each log, by `topic-partition topic-id`, and whether they are damaged.
#[must_use]
pub fn journal_claims(bytes: &[u8]) -> (BTreeMap<std::sync::Arc<str>, Mark>, bool) {
    let claims = journal::parse(bytes);
    (claims.logs, claims.damaged)
}

/// A log, for as long as the process lives. Never used for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u32);

/// What an operation was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody waits for it, and its failure changes nothing: a file closed or removed.
    Nobody,
    /// A record batch of a stream.
    Batch(LogId),
    /// A name of a stream: a file or directory made or removed, which must be durable before what follows.
    Name(LogId),
    /// A file of a stream was cut: it has something to sync.
    Cut(LogId, FileId),
    /// A file that goes was renamed.
    Retired(LogId, u64),
    /// Part of the removal of a directory.
    Rubbish(u64),
    /// Part of the sync phase of the directory's commit round.
    Round,
    /// The same: the names in a log's directory.
    RoundNames(LogId),
    /// Part of the journal phase of the directory's commit round.
    Journal,
    /// Part of a save.
    Save(SaveId),
    /// Part of a load.
    Load(LoadId),
    /// Whether there is room again.
    Space,
    /// The log's own, not about its records' durability: it says what.
    Log(LogId, LogOp),
    /// The start's own.
    Boot(BootOp),
}

/// What a log asked for that the storage does not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogOp {
    /// An older segment's file was opened; the segment by its base offset.
    Opened(Offset),
    /// A slice for a read of bytes, by the question's number and its own.
    Slice { question: u64, read: u64 },
    /// Part of a pass of the cleaner, by its number.
    Clean(u64),
    /// The first segment goes, to make room: its file was renamed, or that was synced.
    Leaving,
}

/// What the start asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BootOp {
    /// The entries of a log directory.
    Root,
    /// The removal of the mark that the last run has left.
    Unmark,
    /// That of its recovery points.
    UnmarkPoints,
    /// Their sync.
    UnmarkSync,
    /// The entries of a log's directory, or a segment opened: by the recovery's number.
    Log(u32),
}

/// What the log manager must know of.
#[derive(Clone, Debug)]
pub(crate) enum StorageEvent {
    /// Written offsets rose.
    Written(LogId, Offset),
    /// Durable offsets rose.
    Durable(LogId, Offset),
    /// The names of a stream are durable for the first time.
    Named(LogId),
    /// The stream is deleted, durably.
    Deleted(LogId),
    /// A batch did not fit: the stream now ends here.
    NoRoom(LogId),
    /// A save is durable.
    Saved(SaveOwner),
    /// A load is over.
    Loaded(LoadOwner, Result<Option<bytes::Bytes>, DiskError>),
    /// The directory is offline, and why.
    Offline(LogDirId, DiskError),
    /// The directory is full.
    Full(LogDirId),
    /// The directory has room again.
    Room(LogDirId),
    /// Something that is the log's own to handle.
    Log(LogId, LogOp, DiskResult),
    /// Something that is the start's own to handle.
    Boot(LogDirId, BootOp, DiskResult),
}

/// How often a full directory is asked whether it has room.
const SPACE_POLL: Duration = Duration::from_secs(1);
/// Room enough to go on.
const SPACE_ENOUGH: u64 = 1 << 20;

/// All operations of all directories.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    /// Operations that have not completed, by number from `first_op` on.
    pending: VecDeque<Option<(LogDirId, Owner)>>,
    first_op: u64,
    next_file: u32,
    pub(crate) directories: Vec<Directory>,
    /// By number, boxed: a deleted log leaves nothing but its place.
    pub(crate) streams: Vec<Option<Box<Stream>>>,
    saves: Saves,
    loads: BTreeMap<LoadId, Load>,
    removals: Removals,
    pins: Pins,
    rubbish: Rubbish,
    next_id: u64,
    pub(crate) events: Vec<StorageEvent>,
    flush_max_delay: Duration,
    pub(crate) planted: Planted,
}

impl Storage {
    pub(crate) fn new(dirs: u16, flush_max_delay: Duration, journal_bytes: u32, planted: Planted) -> Self {
        Self {
            pending: VecDeque::new(),
            first_op: 1,
            next_file: 1,
            directories: (0..dirs).map(|dir| Directory::new(LogDirId(dir), Journal::new(journal_bytes))).collect(),
            streams: Vec::new(),
            saves: Saves::default(),
            loads: BTreeMap::new(),
            removals: Removals::default(),
            pins: Pins::default(),
            rubbish: Rubbish::default(),
            next_id: 1,
            events: Vec::new(),
            flush_max_delay,
            planted,
        }
    }

    /// A completion. What the log manager must know of it is in `events` afterwards.
    pub(crate) fn on_disk(&mut self, now: Now, op: OpId, result: DiskResult, out: &mut Effects) {
        let Some((dir, owner)) = self.take(op) else {
            return;
        };
        if self.health(dir) == Health::Offline {
            return self.after_offline(owner, result);
        }
        if let DiskResult::Failed(error) = result {
            self.on_failed(now, dir, op, owner, error, out);
        } else {
            self.on_done(now, dir, op, owner, result, out);
        }
    }

    fn on_done(&mut self, now: Now, dir: LogDirId, op: OpId, owner: Owner, result: DiskResult, out: &mut Effects) {
        match owner {
            Owner::Nobody => {}
            Owner::Batch(id) => self.on_written(now, id, op),
            Owner::Name(id) => self.on_named(now, id),
            Owner::Cut(id, file) => self.on_cut(now, id, file),
            Owner::Retired(id, removal) => self.on_retired(now, id, removal),
            Owner::Rubbish(number) => self.on_rubbish(now, dir, number, &result, out),
            Owner::Round | Owner::RoundNames(_) => self.on_round_synced(now, dir, out),
            Owner::Journal => self.on_journal(now, dir, out),
            Owner::Save(save) => self.on_save(dir, save, out),
            Owner::Load(load) => self.on_load(dir, load, result, out),
            Owner::Space => self.on_space(now, dir, &result, out),
            Owner::Log(id, what) => self.events.push(StorageEvent::Log(id, what, result)),
            Owner::Boot(what) => self.events.push(StorageEvent::Boot(dir, what, result)),
        }
    }

    /// A failure is final: nothing is tried again, but where there was no room and nothing was promised yet.
    fn on_failed(&mut self, now: Now, dir: LogDirId, op: OpId, owner: Owner, error: DiskError, out: &mut Effects) {
        let full = error == DiskError::Full;
        match owner {
            Owner::Load(load) => self.on_load_failed(dir, load, error, out),
            Owner::Log(id, what) => self.events.push(StorageEvent::Log(id, what, DiskResult::Failed(error))),
            Owner::Boot(what) => self.events.push(StorageEvent::Boot(dir, what, DiskResult::Failed(error))),
            Owner::Space => self.ask_for_room_later(now, dir),
            Owner::Nobody => {}
            Owner::Rubbish(number) if error == DiskError::NotFound => {
                self.on_rubbish(now, dir, number, &DiskResult::Done, out);
            }
            Owner::Retired(id, removal) if error == DiskError::NotFound => self.on_retired(now, id, removal),
            Owner::Batch(id) if !self.is_pending(id, op) => {}
            // A sync may be overtaken by the rename of a directory that goes: nobody needs its names any more.
            Owner::RoundNames(id) if error == DiskError::NotFound && self.stream(id).is_none() => {
                self.on_round_synced(now, dir, out);
            }
            Owner::Save(save) if error == DiskError::NotFound && !self.is_saved_for_somebody(save) => {}
            Owner::Name(id) if full => {
                self.on_named(now, id);
                self.on_no_room(now, id, dir);
            }
            Owner::Batch(id) if full => self.on_no_room(now, id, dir),
            Owner::Save(save) if full || self.is_save_failing(save) => self.on_save_no_room(now, dir, save, out),
            Owner::Journal if full || self.is_journal_failing(dir) => self.on_journal_no_room(now, dir, out),
            Owner::Round | Owner::RoundNames(_) if self.planted.has(Plant::Log18) => {
                self.on_round_synced(now, dir, out);
            }
            Owner::Batch(id) if self.planted.has(Plant::Log05) => self.on_written(now, id, op),
            Owner::Batch(_)
            | Owner::Name(_)
            | Owner::Cut(..)
            | Owner::Retired(..)
            | Owner::Rubbish(_)
            | Owner::Round
            | Owner::RoundNames(_)
            | Owner::Journal
            | Owner::Save(_) => self.take_offline(dir, error),
        }
    }

    /// After the directory failed only those are told who wait for an answer, not for durability.
    fn after_offline(&mut self, owner: Owner, result: DiskResult) {
        let failed = DiskResult::Failed(DiskError::Io(0));
        match owner {
            Owner::Log(id, what) => self.events.push(StorageEvent::Log(id, what, failed)),
            Owner::Load(load) => {
                if let Some(load) = self.loads.remove(&load) {
                    self.events.push(StorageEvent::Loaded(load.owner, Err(DiskError::Io(0))));
                }
            }
            Owner::Boot(_)
            | Owner::Nobody
            | Owner::Batch(_)
            | Owner::Name(_)
            | Owner::Cut(..)
            | Owner::Retired(..)
            | Owner::Rubbish(_)
            | Owner::Round
            | Owner::RoundNames(_)
            | Owner::Journal
            | Owner::Save(_)
            | Owner::Space => drop(result),
        }
    }

    /// Fail-stop of a directory (promise P6): it is out of use for this process.
    pub(crate) fn take_offline(&mut self, dir: LogDirId, error: DiskError) {
        if self.health(dir) == Health::Offline {
            return;
        }
        self.directory(dir).fail();
        self.drop_saves_in(dir);
        self.drop_held_in(dir);
        self.events.push(StorageEvent::Offline(dir, error));
    }

    /// The directory has no room: writes are refused until it has.
    pub(crate) fn run_out(&mut self, now: Now, dir: LogDirId) {
        if self.health(dir) == Health::Online {
            self.directory(dir).health = Health::Full;
            self.ask_for_room_later(now, dir);
            self.events.push(StorageEvent::Full(dir));
        }
    }

    fn ask_for_room_later(&mut self, now: Now, dir: LogDirId) {
        self.directory(dir).next_space_poll = Some(now.monotonic + SPACE_POLL);
    }

    fn on_space(&mut self, now: Now, dir: LogDirId, result: &DiskResult, out: &mut Effects) {
        if !matches!(result, DiskResult::Space(bytes) if *bytes >= SPACE_ENOUGH) {
            return self.ask_for_room_later(now, dir);
        }
        self.directory(dir).health = Health::Online;
        self.directory(dir).journal.blocked = false;
        self.events.push(StorageEvent::Room(dir));
        self.resume_saves(&Path::root(dir), out);
        self.directory(dir).want_round();
    }

    /// Asks for room and starts rounds, where that is due.
    pub(crate) fn settle(&mut self, now: Now, out: &mut Effects) {
        self.close_unpinned(out);
        self.remove_due(now.monotonic, out);
        self.empty_due(now.monotonic, out);
        for index in 0..self.directories.len() {
            let directory = &mut self.directories[index];
            let dir = directory.id;
            if directory.next_space_poll.is_some_and(|at| at <= now.monotonic) {
                directory.next_space_poll = None;
                self.act(dir, Owner::Space, FileAction::FreeSpace { dir }, out);
            }
            if self.directories[index].round_is_due(now.monotonic) {
                self.start_round(now, dir, out);
            }
        }
    }

    /// Whether everything of a directory's logs is durable.
    pub(crate) fn is_settled(&self, dir: LogDirId) -> bool {
        let directory = &self.directories[usize::from(dir.0)];
        let quiet = directory.round.is_none() && directory.dirty.is_empty();
        quiet && self.streams.iter().flatten().all(|stream| stream.dir != dir || stream.is_settled())
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let directories = self.directories.iter().filter_map(Directory::next_deadline).min();
        [directories, self.next_removal(), self.next_rubbish()].into_iter().flatten().min()
    }

    /// A number for an operation, and who its completion is for.
    pub(crate) fn op(&mut self, dir: LogDirId, owner: Owner) -> OpId {
        let op = OpId(self.first_op + self.pending.len() as u64);
        self.pending.push_back(Some((dir, owner)));
        op
    }

    /// Issues a file action.
    pub(crate) fn act(&mut self, dir: LogDirId, owner: Owner, action: FileAction, out: &mut Effects) {
        let op = self.op(dir, owner);
        out.push(Effect::File { op, action: Box::new(action) });
    }

    pub(crate) fn new_file(&mut self) -> FileId {
        let file = FileId(self.next_file);
        self.next_file += 1;
        file
    }

    pub(crate) fn health(&self, dir: LogDirId) -> Health {
        self.directories[usize::from(dir.0)].health
    }

    pub(crate) fn directory(&mut self, dir: LogDirId) -> &mut Directory {
        &mut self.directories[usize::from(dir.0)]
    }

    pub(crate) fn stream(&self, id: LogId) -> Option<&Stream> {
        self.streams.get(id.0 as usize)?.as_deref()
    }

    pub(crate) fn stream_mut(&mut self, id: LogId) -> Option<&mut Stream> {
        self.streams.get_mut(id.0 as usize)?.as_deref_mut()
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// What gates hold back in a directory that failed is never done, and never ends.
    fn drop_held_in(&mut self, dir: LogDirId) {
        let streams = self.streams.iter_mut().flatten().filter(|stream| stream.dir == dir);
        let held: Vec<Effect> = streams.flat_map(|stream| stream.take_held()).collect();
        for op in held.iter().filter_map(Effect::op) {
            self.take(op);
        }
    }

    fn take(&mut self, op: OpId) -> Option<(LogDirId, Owner)> {
        let index = usize::try_from(op.0.checked_sub(self.first_op)?).ok()?;
        let owner = self.pending.get_mut(index)?.take();
        while let Some(None) = self.pending.front() {
            self.pending.pop_front();
            self.first_op += 1;
        }
        owner
    }
}

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "l{}", self.0)
    }
}
