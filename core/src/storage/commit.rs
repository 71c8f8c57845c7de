//! Commit rounds: what makes a directory's logs durable, and in which order.
//!
//! **What must precede which reply.** This is the one place that decides it.
//!
//! 1. A round takes every log of the directory that has something new. For each it notes the end of what is
//!    *written* (completed, not merely issued: a failed write must never be claimed) and issues a sync of every
//!    file of the log written or cut since its last one, a sync of the log's directory if a name in it was made
//!    or taken, and of the log directory if a log was. A log with a name still being made is left to the next
//!    round, because a directory's sync covers only names that are there.
//! 2. When all of these have completed the bytes are safe, but a start could not know it: a later loss of them
//!    would look like a torn tail. So the flush journal gets one block with the claim of each log, which is
//!    synced. Not earlier: a claim on disk before its bytes would make a power loss look like damage.
//! 3. When that has completed, `durable` rises, and whoever waits for it is told: the high watermark of
//!    `flush=quorum`, a follower's flushed offset, the answer to acks=all, and everything on the metadata log.
//!
//! Replies that wait for less: acks=1 and the readable end wait for *written* ([`super::stream`]); a vote, a
//! saved checkpoint, a clean mark wait for their own save ([`super::atomic_save`]); a log's first name and its
//! deletion wait for step 1, of which the events `Named` and `Deleted` come.
//!
//! One round is in flight a directory. Appends that come meanwhile share the next one: that is the group commit.
//! It starts at once if somebody waits, and within `flush_max_delay` otherwise.
//!
//! A failed sync takes the directory offline. A round that finds no room for its journal block ends without
//! effect; its logs are taken again when there is room.

use crate::clock::Now;
use crate::machine::{Effect, Effects, FileAction, FileId, LogDirId, OpenMode, Path};
use crate::planted::Plant;

use super::journal::{self, Mark};
use super::{LogId, Owner, Storage, StorageEvent};

/// A round in flight, or what the next one uses again of it.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(super) logs: Vec<LogId>,
    /// What it writes into the journal.
    claims: Vec<(LogId, Mark)>,
    /// The logs whose own names it makes durable.
    named: Vec<LogId>,
    /// How many deleted logs it tells the journal of, the first in its list.
    gone: usize,
    step: Step,
    /// Operations of the step that have not completed.
    left: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Data and directories.
    Syncing,
    /// A block at the end of the journal: so many bytes.
    Appending(u64),
    /// A new journal, beside the old one.
    Replacing { file: FileId, len: u64 },
    /// It is taking the old one's name.
    Renaming { file: FileId, len: u64 },
    /// That name's sync.
    Naming { file: FileId, len: u64 },
    /// There was no room; the rest of the operations fail or do not matter.
    Failing,
}

impl Round {
    pub(super) const fn new() -> Self {
        Self { logs: Vec::new(), claims: Vec::new(), named: Vec::new(), gone: 0, step: Step::Syncing, left: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.logs.clear();
        self.claims.clear();
        self.named.clear();
        (self.gone, self.step, self.left) = (0, Step::Syncing, 0);
    }
}

impl Storage {
    /// Step 1.
    pub(super) fn start_round(&mut self, now: Now, dir: LogDirId, out: &mut Effects) {
        let mut round = self.directory(dir).take_round();
        let mut logs = std::mem::take(&mut round.logs);
        logs.retain(|&id| match self.stream(id) {
            Some(stream) if stream.is_ready() => {
                self.cover(id, &mut round, out);
                true
            }
            Some(_) => {
                self.directory(dir).put_back(id);
                false
            }
            None => false,
        });
        round.logs = logs;
        if round.logs.is_empty() {
            return self.directory(dir).give_back(round);
        }
        if std::mem::take(&mut self.directory(dir).root_dirty) {
            self.act(dir, Owner::Round, FileAction::SyncDir { path: Path::root(dir) }, out);
            round.left += 1;
        }
        let nothing_to_sync = round.left == 0;
        self.directory(dir).round = Some(round);
        if nothing_to_sync {
            self.write_claims(now, dir, out);
        }
    }

    /// Takes a log into a round. Behind a gate only its lower claim matters; its syncs wait for the next round.
    fn cover(&mut self, id: LogId, round: &mut Round, out: &mut Effects) {
        let Some(stream) = self.streams[id.0 as usize].as_mut() else {
            return;
        };
        stream.cover();
        if stream.is_gated() {
            return;
        }
        let dir = stream.dir;
        let mut files = std::mem::take(&mut stream.dirty_files);
        let dirty = std::mem::take(&mut stream.names.dirty);
        let is_new = dirty && std::mem::take(&mut stream.names.is_new);
        let path = stream.path.clone();
        for file in files.drain(..) {
            let op = self.op(dir, Owner::Round);
            out.push(Effect::Sync { op, file });
            round.left += 1;
        }
        if let Some(stream) = self.stream_mut(id) {
            stream.dirty_files = files;
        }
        if is_new {
            round.named.push(id);
            self.directory(dir).root_dirty = true;
        }
        if dirty && !self.planted.has(Plant::Log01) {
            self.act(dir, Owner::RoundNames(id), FileAction::SyncDir { path }, out);
            round.left += 1;
        }
    }

    pub(super) fn on_round_synced(&mut self, now: Now, dir: LogDirId, out: &mut Effects) {
        if self.is_step_over(dir) {
            if self.planted.has(Plant::Log16) {
                self.cover_late(dir);
            }
            self.write_claims(now, dir, out);
        }
    }

    /// LOG-16: takes what is written by now for what the round has synced.
    fn cover_late(&mut self, dir: LogDirId) {
        let logs = self.directory(dir).round.as_ref().map(|round| round.logs.clone()).unwrap_or_default();
        for id in logs {
            if let Some(stream) = self.stream_mut(id) {
                let written = stream.written;
                stream.syncing = stream.syncing.map(|mark| if written.end > mark.end { written } else { mark });
            }
        }
    }

    /// Step 2.
    fn write_claims(&mut self, now: Now, dir: LogDirId, out: &mut Effects) {
        let directory = &mut self.directories[usize::from(dir.0)];
        let Some(round) = &mut directory.round else {
            return;
        };
        for &id in &round.logs {
            let stream = self.streams[id.0 as usize].as_mut();
            if let Some((stream, mark)) = stream.and_then(|stream| stream.syncing.map(|mark| (stream, mark)))
                && stream.claim.confirmed != Some(mark)
            {
                stream.claim.writing = Some(mark);
                stream.claim.highest = stream.claim.highest.max(mark.end);
                round.claims.push((id, mark));
            }
        }
        let journal = &directory.journal;
        if round.claims.is_empty() && !journal.is_stale {
            return self.finish_round(now, dir, out);
        }
        match journal.file.filter(|_| !journal.is_due_for_rotation()) {
            Some(file) => self.append_claims(dir, file, out),
            None => self.replace_journal(dir, out),
        }
    }

    fn append_claims(&mut self, dir: LogDirId, file: FileId, out: &mut Effects) {
        self.tell_gone(dir);
        let directory = &mut self.directories[usize::from(dir.0)];
        let journal = &mut directory.journal;
        let mut block = journal.block();
        // First: of the same name and topic there may be another already, and it is among those that claim.
        journal.gone.iter().filter_map(|gone| gone.name).for_each(|name| block.gone(name));
        for &(id, mark) in directory.round.iter().flat_map(|round| &round.claims) {
            let Some(stream) = self.streams[id.0 as usize].as_mut() else {
                continue;
            };
            let name = *stream.claim.name.get_or_insert_with(|| {
                let name = journal.new_name();
                block.name(name, &stream.key);
                name
            });
            block.claim(name, &mark);
        }
        let (pos, bytes) = (journal.len, block.finish());
        let step = Step::Appending(bytes.len() as u64);
        self.write_journal(dir, file, pos, bytes, out);
        self.set_step(dir, step, 2);
    }

    /// What is deleted by now the round's block tells, and until that is durable the journal claims it.
    fn tell_gone(&mut self, dir: LogDirId) {
        let directory = self.directory(dir);
        let gone = directory.journal.gone.len();
        if let Some(round) = &mut directory.round {
            round.gone = gone;
        }
    }

    /// The whole journal anew: the claims of this round, and those that stand.
    fn replace_journal(&mut self, dir: LogDirId, out: &mut Effects) {
        self.tell_gone(dir);
        let file = self.new_file();
        let open = FileAction::Open { file, path: Path::new(dir, journal::TEMPORARY), mode: OpenMode::Create };
        self.act(dir, Owner::Journal, open, out);
        let journal = &mut self.directories[usize::from(dir.0)].journal;
        let mut block = journal.start_file();
        for stream in self.streams.iter_mut().flatten().filter(|stream| stream.dir == dir) {
            let name = journal.new_name();
            stream.claim.name = Some(name);
            block.name(name, &stream.key);
            // The claim that stands is the durable mark, or what a truncation since has left of it.
            let claiming = stream.syncing.filter(|_| stream.claim.writing.is_some());
            block.claim(name, &claiming.unwrap_or(stream.durable));
        }
        let orphans: Vec<_> = journal.orphans.iter().map(|(key, mark)| (key.clone(), *mark)).collect();
        for (key, mark) in orphans {
            let name = journal.new_name();
            block.name(name, &key);
            block.claim(name, &mark);
        }
        let (bytes, len) = self.directories[usize::from(dir.0)].journal.first_bytes(block);
        self.write_journal(dir, file, 0, bytes, out);
        self.set_step(dir, Step::Replacing { file, len }, 3);
    }

    fn write_journal(&mut self, dir: LogDirId, file: FileId, pos: u64, bytes: Vec<u8>, out: &mut Effects) {
        let op = self.op(dir, Owner::Journal);
        let bytes = bytes.into();
        out.push(Effect::Write { op, file, pos, bytes });
        let op = self.op(dir, Owner::Journal);
        out.push(Effect::Sync { op, file });
    }

    pub(super) fn on_journal(&mut self, now: Now, dir: LogDirId, out: &mut Effects) {
        if !self.is_step_over(dir) {
            return;
        }
        match self.directory(dir).round.as_ref().map(|round| round.step) {
            Some(Step::Appending(bytes)) => {
                self.directory(dir).journal.len += bytes;
                self.finish_round(now, dir, out);
            }
            Some(Step::Replacing { file, len }) => {
                let rename =
                    FileAction::Rename { from: Path::new(dir, journal::TEMPORARY), to: Path::new(dir, journal::NAME) };
                self.act(dir, Owner::Journal, rename, out);
                self.set_step(dir, Step::Renaming { file, len }, 1);
            }
            Some(Step::Renaming { file, len }) => {
                let path = Path::root(dir);
                self.act(dir, Owner::Journal, FileAction::SyncDir { path }, out);
                self.set_step(dir, Step::Naming { file, len }, 1);
            }
            Some(Step::Naming { file, len }) => {
                let journal = &mut self.directory(dir).journal;
                let old = journal.file;
                journal.replaced(file, len);
                if let Some(file) = old {
                    self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
                }
                self.finish_round(now, dir, out);
            }
            Some(Step::Failing) => self.abandon_round(now, dir),
            Some(Step::Syncing) | None => {}
        }
    }

    /// Step 3.
    fn finish_round(&mut self, now: Now, dir: LogDirId, out: &mut Effects) {
        let Some(mut round) = self.directory(dir).round.take() else {
            return;
        };
        self.directory(dir).journal.gone.drain(..round.gone);
        for &id in &round.logs {
            let Some(stream) = self.stream_mut(id) else {
                continue;
            };
            if let Some(claimed) = stream.claim.writing.take() {
                stream.claim.highest = claimed.end;
                stream.claim.confirmed = Some(claimed);
            }
            let mark = stream.syncing.take();
            // At the same end it may lie elsewhere: a log that begins anew where it ended.
            if let Some(mark) = mark.filter(|mark| mark.end >= stream.durable.end) {
                let before = std::mem::replace(&mut stream.durable, mark).end;
                if mark.end > before {
                    self.events.push(StorageEvent::Durable(id, mark.end));
                }
            }
            self.open_gate(now, id, out);
        }
        self.events.extend(round.named.drain(..).map(StorageEvent::Named));
        self.directory(dir).give_back(round);
        // What came meanwhile and is awaited does not wait any longer.
        let awaited = |id: &LogId| self.stream(*id).is_some_and(super::stream::Stream::is_awaited);
        if self.directories[usize::from(dir.0)].dirty.iter().any(awaited) {
            self.directory(dir).want_round();
        }
    }

    /// Lets go what a truncation held back, or sees to it that the next round does.
    pub(super) fn open_gate(&mut self, now: Now, id: LogId, out: &mut Effects) {
        let Some(stream) = self.stream_mut(id).filter(|stream| stream.is_gated()) else {
            return;
        };
        let unborn = stream.is_unborn();
        for effect in stream.open_gate() {
            out.push(effect);
        }
        let (dir, gated, path) = (stream.dir, stream.is_gated(), stream.path.clone());
        if unborn && !stream.is_unborn() {
            return self.resume_saves(&path, out);
        }
        if gated || !stream.dirty_files.is_empty() || stream.names.dirty {
            self.mark_dirty(now, id);
        }
        if gated {
            self.directory(dir).want_round();
        } else {
            self.resume_saves(&path, out);
        }
    }

    pub(super) fn is_journal_failing(&self, dir: LogDirId) -> bool {
        let round = self.directories[usize::from(dir.0)].round.as_ref();
        round.is_some_and(|round| round.step == Step::Failing)
    }

    /// There is no room for the journal's block: what is on disk of it is replaced when there is.
    pub(super) fn on_journal_no_room(&mut self, now: Now, dir: LogDirId, out: &mut Effects) {
        self.run_out(now, dir);
        let journal = &mut self.directory(dir).journal;
        journal.blocked = true;
        let file = journal.file.take();
        if let Some(file) = file {
            self.act(dir, Owner::Nobody, FileAction::CloseFile { file }, out);
        }
        if let Some(round) = &mut self.directory(dir).round {
            round.step = Step::Failing;
        }
        if self.is_step_over(dir) {
            self.abandon_round(now, dir);
        }
    }

    fn abandon_round(&mut self, now: Now, dir: LogDirId) {
        let Some(round) = self.directory(dir).round.take() else {
            return;
        };
        for id in round.logs {
            if let Some(stream) = self.stream_mut(id) {
                stream.syncing = None;
                if stream.claim.writing.take().is_some() {
                    stream.claim.confirmed = None;
                }
                self.mark_dirty(now, id);
            }
        }
        for id in round.named {
            if let Some(stream) = self.stream_mut(id) {
                stream.names.is_new = true;
                stream.names.dirty = true;
            }
        }
    }

    fn set_step(&mut self, dir: LogDirId, step: Step, left: u32) {
        if let Some(round) = &mut self.directory(dir).round {
            round.step = step;
            round.left = left;
        }
    }

    /// One operation of the step has completed: whether it was the last.
    fn is_step_over(&mut self, dir: LogDirId) -> bool {
        match &mut self.directory(dir).round {
            Some(round) => {
                round.left -= 1;
                round.left == 0
            }
            None => false,
        }
    }
}
