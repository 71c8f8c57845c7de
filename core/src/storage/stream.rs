//! How far one log's bytes are: issued, written, durable.
//!
//! * *issued*: a write effect was pushed; lost when the process dies.
//! * *written*: that write and all before it completed; lost when power goes.
//! * *durable*: a commit round covered it: data, names and the flush journal are synced.
//!
//! A truncation cuts all three at once. Progress from before it cannot raise them again: writes above the cut
//! leave the queue, so their completions find nothing, and what a round in flight will make durable is lowered.
//!
//! **The gate.** A log that is shorter than the journal's claim looks damaged. So a truncation below the claim
//! first has a lower claim synced, and until then everything that the log does to its files is held back, in
//! order. Nobody above notices but by the written offset standing still. A new log's gate is closed until its
//! `partition.metadata` is durable: a log that has records says whose they are, whatever crashes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Now;
use crate::machine::{Effect, Effects, FileAction, FileId, LogDirId, OpId, Path};
use crate::planted::{Plant, Planted};
use crate::types::{LeaderEpoch, Offset};

use super::journal::Mark;
use super::{LogId, Owner, Storage, StorageEvent};

/// The progress of one log's files.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) dir: LogDirId,
    /// The log's own directory.
    pub(crate) path: Path,
    /// What the journal knows it by.
    pub(crate) key: Arc<str>,
    pub(super) claim: Claim,
    writes: VecDeque<PendingWrite>,
    pub(crate) written: Mark,
    pub(crate) durable: Mark,
    /// What the round in flight makes durable.
    pub(super) syncing: Option<Mark>,
    /// Files written or cut since their last sync was issued.
    pub(super) dirty_files: Vec<FileId>,
    pub(super) names: Names,
    gate: Option<Gate>,
    /// Somebody waits for durability up to here.
    awaited: Offset,
    /// Whether it is in its directory's list.
    pub(super) queued: bool,
}

/// What the flush journal says of a log.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// The log's number in the journal's present file.
    pub(super) name: Option<u32>,
    /// The highest that may be on disk.
    pub(super) highest: Offset,
    /// The one that is the last for certain; `None` after a round that failed to write one.
    pub(super) confirmed: Option<Mark>,
    /// The one that the round in flight writes.
    pub(super) writing: Option<Mark>,
}

/// The names in a log's directory, and its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Operations that have not completed.
    pub(super) pending: u32,
    /// They have changed since the directory's last sync was issued.
    pub(super) dirty: bool,
    /// The log's own directory is new.
    pub(super) is_new: bool,
}

#[derive(Clone, Debug)]
struct PendingWrite {
    op: OpId,
    file: FileId,
    mark: Mark,
    done: bool,
}

#[derive(Clone, Debug)]
struct Gate {
    cut: Offset,
    /// A round that started since has taken the log: when it is over, its claim is the cut's.
    covered: bool,
    /// The log does not say whose it is yet. No round takes it.
    unmarked: bool,
    /// How many of what is held back make the log: it has come again, and the journal claims what it had before.
    births: usize,
    held: Vec<Effect>,
}

impl Gate {
    const fn new(cut: Offset) -> Self {
        Self { cut, covered: false, unmarked: false, births: 0, held: Vec::new() }
    }

    /// A new log's.
    const fn unmarked() -> Self {
        Self { cut: Offset(i64::MAX), covered: true, unmarked: true, births: 0, held: Vec::new() }
    }
}

impl Stream {
    /// A log that goes to `written` and is known to be durable up to `durable`.
    pub(crate) fn new(path: Path, key: Arc<str>, written: Mark, durable: Mark) -> Self {
        Self {
            dir: path.dir,
            path,
            key,
            claim: Claim { name: None, highest: durable.end, confirmed: Some(durable), writing: None },
            writes: VecDeque::new(),
            written,
            durable,
            syncing: None,
            dirty_files: Vec::new(),
            names: Names::default(),
            gate: None,
            awaited: Offset::ZERO,
            queued: false,
        }
    }

    /// A log that is being made.
    pub(crate) fn created(path: Path, key: Arc<str>, empty: Mark) -> Self {
        let mut stream = Self::new(path, key, empty, empty);
        stream.names.is_new = true;
        stream
    }

    /// Whether a round can cover it: names that were given have completed, or only the gate waits.
    pub(super) fn is_ready(&self) -> bool {
        self.gate.as_ref().map_or(self.names.pending == 0, |gate| !gate.unmarked)
    }

    /// Whether somebody waits for what the next round covers.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited > self.durable.end || self.gate.as_ref().is_some_and(|gate| !gate.unmarked) || self.names.is_new
    }

    /// A round takes it: what the round makes durable.
    pub(super) fn cover(&mut self) {
        self.queued = false;
        self.syncing = Some(self.written);
        if let Some(gate) = &mut self.gate {
            gate.covered = true;
        }
    }

    /// Whether a cut or its first name holds back what is done to its files.
    pub(crate) fn is_gated(&self) -> bool {
        self.gate.is_some()
    }

    /// Whether everything issued is durable.
    pub(crate) fn is_settled(&self) -> bool {
        !self.queued
            && self.syncing.is_none()
            && self.writes.is_empty()
            && self.gate.is_none()
            && self.names.pending == 0
    }

    /// Whether nothing of it may be made yet.
    pub(super) fn is_unborn(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.births > 0)
    }

    /// The effects that the journal's claim held back, once it is low enough. A log that is made by them does not say
    /// yet whose it is: the rest waits for that.
    pub(super) fn open_gate(&mut self) -> Vec<Effect> {
        match self.gate.take_if(|gate| gate.covered && !gate.unmarked && self.claim.highest <= gate.cut) {
            Some(mut gate) if gate.births > 0 => {
                let rest = gate.held.split_off(gate.births);
                self.gate = Some(Gate { held: rest, ..Gate::unmarked() });
                gate.held
            }
            Some(gate) => gate.held,
            None => Vec::new(),
        }
    }

    /// What the gate holds back, whatever it waits for.
    pub(super) fn take_held(&mut self) -> Vec<Effect> {
        self.gate.take().map(|gate| gate.held).unwrap_or_default()
    }

    /// Cuts the progress to `mark`, below which nothing changes.
    fn cut(&mut self, mark: Mark, planted: Planted) {
        self.writes.retain(|write| write.mark.end <= mark.end);
        self.awaited = self.awaited.min(mark.end);
        for progress in [&mut self.written, &mut self.durable] {
            if progress.end > mark.end {
                *progress = mark;
            }
        }
        let lowered = self.syncing.as_mut().filter(|syncing| syncing.end > mark.end);
        if let Some(syncing) = lowered.filter(|_| !planted.has(Plant::Log16)) {
            *syncing = mark;
        }
        if let Some(gate) = &mut self.gate {
            gate.cut = gate.cut.min(mark.end);
            gate.covered = false;
        } else if self.claim.highest > mark.end {
            self.gate = Some(Gate::new(mark.end));
        }
    }
}

impl Storage {
    /// Takes a log under its care. `id` is the next that was never used. One that is made while the journal claims what
    /// a log of its name and topic had (it moved away, and is back, or it is made anew) is made behind a gate.
    pub(crate) fn add_stream(&mut self, mut stream: Stream) -> LogId {
        let id = LogId(u32::try_from(self.streams.len()).expect("fewer than 2^32 logs are made in a process's life"));
        let claimed = self.directory(stream.dir).journal.inherited(&stream.key);
        if let Some(claimed) = claimed.filter(|claimed| stream.names.is_new && *claimed > stream.written.end) {
            let begins = Mark::begin(stream.written.end);
            (stream.written, stream.durable) = (begins, begins);
            (stream.claim.highest, stream.claim.confirmed) = (claimed, None);
            stream.gate = Some(Gate::new(begins.end));
        }
        self.directory(stream.dir).logs += 1;
        self.streams.push(Some(Box::new(stream)));
        id
    }

    /// Writes a batch: `rest` is it from byte 16 on; `mark` says where it lies. `awaited`: somebody waits for it.
    #[expect(clippy::too_many_arguments, reason = "one effect's fields")]
    pub(crate) fn append(
        &mut self,
        id: LogId,
        file: FileId,
        mark: Mark,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        rest: Bytes,
        awaited: bool,
        out: &mut Effects,
    ) {
        let Some(dir) = self.stream(id).map(|stream| stream.dir) else {
            return;
        };
        let op = self.op(dir, Owner::Batch(id));
        if let Some(stream) = self.stream_mut(id) {
            let done = false;
            stream.writes.push_back(PendingWrite { op, file, mark, done });
            if awaited {
                stream.awaited = mark.end;
            }
        }
        let effect = Effect::Append { op, file, pos: mark.start, base_offset, leader_epoch, rest };
        self.emit(id, effect, out);
    }

    /// Makes, opens or renames something in the log's directory, or that directory itself.
    pub(crate) fn name(&mut self, id: LogId, action: FileAction, out: &mut Effects) {
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        stream.names.pending += 1;
        let dir = stream.dir;
        let op = self.op(dir, Owner::Name(id));
        let action = Box::new(action);
        self.emit(id, Effect::File { op, action }, out);
    }

    /// A new log's names are made, and what follows waits until it is marked.
    pub(crate) fn hold(&mut self, now: Now, id: LogId) {
        let Some(stream) = self.stream_mut(id) else { return };
        let Some(gate) = &mut stream.gate else {
            stream.gate = Some(Gate::unmarked());
            return;
        };
        gate.births = gate.held.len();
        let dir = stream.dir;
        self.mark_dirty(now, id);
        self.directory(dir).want_round();
    }

    /// A new log says whose it is, durably.
    pub(crate) fn on_marked(&mut self, now: Now, id: LogId, out: &mut Effects) {
        if let Some(gate) = self.stream_mut(id).and_then(|stream| stream.gate.as_mut()) {
            gate.unmarked = false;
        }
        self.open_gate(now, id, out);
    }

    /// Cuts a log's progress to `mark`: call this first, then [`Self::set_len`] and [`Self::retire`].
    pub(crate) fn cut(&mut self, now: Now, id: LogId, mark: Mark) {
        let planted = self.planted;
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        stream.cut(mark, planted);
        if stream.is_gated() {
            let dir = stream.dir;
            self.mark_dirty(now, id);
            self.directory(dir).want_round();
        }
    }

    /// Drops all of a log: it goes on at `base`, in a new segment.
    pub(crate) fn restart(&mut self, now: Now, id: LogId, base: Offset) {
        let mark = Mark::begin(base);
        self.cut(now, id, mark);
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        stream.writes.clear();
        stream.dirty_files.clear();
        stream.written = mark;
        // What the round in flight claims is of a segment that goes; also a claim below the base names one.
        stream.syncing = None;
        let dir = stream.dir;
        stream.gate.get_or_insert(Gate::new(base)).cut = base;
        self.mark_dirty(now, id);
        self.directory(dir).want_round();
    }

    /// Cuts a file of a log.
    pub(crate) fn set_len(&mut self, id: LogId, file: FileId, len: u32, out: &mut Effects) {
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        // Like a name, it must have completed before a round can cover the log.
        stream.names.pending += 1;
        let dir = stream.dir;
        let op = self.op(dir, Owner::Cut(id, file));
        let action = FileAction::SetLen { file, len: len.into() };
        let action = Box::new(action);
        self.emit(id, Effect::File { op, action }, out);
    }

    /// Closes a file of a log, after what is to be done to it.
    pub(crate) fn close(&mut self, id: LogId, file: FileId, out: &mut Effects) {
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        stream.dirty_files.retain(|dirty| *dirty != file);
        let dir = stream.dir;
        if !self.may_close(dir, file) {
            return;
        }
        let op = self.op(dir, Owner::Nobody);
        let action = Box::new(FileAction::CloseFile { file });
        self.emit(id, Effect::File { op, action }, out);
    }

    /// An effect on a log's files, which the gate may hold back.
    pub(crate) fn emit(&mut self, id: LogId, effect: Effect, out: &mut Effects) {
        match self.stream_mut(id).and_then(|stream| stream.gate.as_mut()) {
            Some(gate) => gate.held.push(effect),
            None => out.push(effect),
        }
    }

    /// Whether a file of a log has something that no sync was issued for.
    pub(crate) fn is_dirty(&self, id: LogId, file: FileId) -> bool {
        let dirty = |stream: &Stream| {
            stream.dirty_files.contains(&file) || stream.writes.iter().any(|write| write.file == file)
        };
        self.stream(id).is_some_and(dirty)
    }

    pub(super) fn on_written(&mut self, now: Now, id: LogId, op: OpId) {
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        let Some(write) = stream.writes.iter_mut().find(|write| write.op == op) else {
            return;
        };
        write.done = true;
        let before = stream.written.end;
        while let Some(write) = stream.writes.pop_front_if(|write| write.done) {
            stream.written = write.mark;
            add_file(&mut stream.dirty_files, write.file);
        }
        let (dir, end) = (stream.dir, stream.written.end);
        if end == before {
            return;
        }
        let awaited = stream.awaited > stream.durable.end;
        self.events.push(StorageEvent::Written(id, end));
        self.mark_dirty(now, id);
        if awaited {
            self.directory(dir).want_round();
        }
    }

    pub(super) fn on_named(&mut self, now: Now, id: LogId) {
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        stream.names.pending -= 1;
        stream.names.dirty = true;
        let dir = stream.dir;
        self.mark_dirty(now, id);
        self.directory(dir).want_round();
    }

    pub(super) fn on_cut(&mut self, now: Now, id: LogId, file: FileId) {
        if let Some(stream) = self.stream_mut(id) {
            stream.names.pending -= 1;
            self.mark_file_dirty(now, id, file);
        }
    }

    /// A write or a new file did not fit. The log is told to cut itself to what is written.
    pub(super) fn on_no_room(&mut self, now: Now, id: LogId, dir: LogDirId) {
        self.run_out(now, dir);
        self.events.push(StorageEvent::NoRoom(id));
    }

    /// Whether an operation's batch still counts: a truncation may have taken it.
    pub(super) fn is_pending(&self, id: LogId, op: OpId) -> bool {
        self.stream(id).is_some_and(|stream| stream.writes.iter().any(|write| write.op == op))
    }

    /// A log has something that a round must cover.
    pub(crate) fn mark_dirty(&mut self, now: Now, id: LogId) {
        let by = now.monotonic + self.flush_max_delay;
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        let (dir, queued) = (stream.dir, std::mem::replace(&mut stream.queued, true));
        if !queued {
            self.directory(dir).dirty.push(id);
        }
        self.directory(dir).round_by(by);
    }

    /// The journal's claim of a log is written again.
    pub(crate) fn claim_anew(&mut self, now: Now, id: LogId) {
        if let Some(stream) = self.stream_mut(id) {
            stream.claim.confirmed = None;
            self.mark_dirty(now, id);
        }
    }

    /// What recovery found in a log's directory, and that directory's own name, are synced like what is made.
    pub(crate) fn mark_names_dirty(&mut self, now: Now, id: LogId) {
        if let Some(stream) = self.stream_mut(id) {
            stream.names.dirty = true;
            let dir = stream.dir;
            self.directory(dir).root_dirty = true;
            self.mark_dirty(now, id);
        }
    }

    /// What recovery found written and not known to be durable is synced like what is appended.
    pub(crate) fn mark_file_dirty(&mut self, now: Now, id: LogId, file: FileId) {
        if let Some(stream) = self.stream_mut(id) {
            add_file(&mut stream.dirty_files, file);
            self.mark_dirty(now, id);
        }
    }
}

fn add_file(files: &mut Vec<FileId>, file: FileId) {
    if !files.contains(&file) {
        files.push(file);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bytes_each<T>(_: &[T]) -> usize {
        size_of::<T>()
    }

    #[test]
    fn a_log_that_is_gone_leaves_nothing_but_its_place() {
        let storage = Storage::new(1, Duration::ZERO, 0, Planted::default());
        assert_eq!(bytes_each(&storage.streams), size_of::<usize>());
    }
}
