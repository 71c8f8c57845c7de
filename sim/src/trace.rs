//! The trace of a run: a rolling hash over every `(now, input, effects)`, and the steps themselves on demand.
//!
//! The hash is fed fixed-width fields and payload bytes, never text, and at intervals a digest of the node's
//! memory and disk. Two runs of one seed are the same run if their hashes are; where they differ first is
//! found by comparing the hashes at checkpoints.

use std::fmt::{self, Write as _};
use std::ops::Range;

use ottla_core::clock::Now;
use ottla_core::machine::{DiskError, DiskResult, Effect, FileAction, Input, OpenMode, Opened, Path};
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

/// After so many steps the digests are taken.
pub const DIGEST_STEPS: u64 = 1024;

/// The rolling hash of a run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: u64,
    steps: u64,
    buffer: Vec<u8>,
    window: Range<u64>,
    /// Whether digests are taken and the hash is kept at each of them.
    digests: bool,
    checkpoints: Vec<(u64, u64)>,
    text: String,
}

impl Trace {
    /// A trace that takes digests and keeps the hash every [`DIGEST_STEPS`] steps, and the text of the steps in
    /// `window`.
    #[must_use]
    pub fn new(digests: bool, window: Range<u64>) -> Self {
        Self { digests, window, ..Self::default() }
    }

    /// The hash of everything so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many steps there were.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The hash after so many steps, at every digest.
    #[must_use]
    pub fn checkpoints(&self) -> &[(u64, u64)] {
        &self.checkpoints
    }

    /// The text of the steps in the window.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes out the steps in `window`.
    pub const fn show(&mut self, window: Range<u64>) {
        self.window = window;
    }

    /// Whether digests are taken.
    #[must_use]
    pub const fn is_digesting(&self) -> bool {
        self.digests
    }

    /// Whether steps are written out now.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.window.contains(&self.steps)
    }

    /// A step begins.
    pub fn begin(&mut self, node: u16, now: Now, input: &Input) {
        self.buffer.clear();
        self.number(u64::from(node));
        self.number(now.monotonic.0);
        self.number(now.wall.0.cast_unsigned());
        self.input(input);
        if self.is_shown() {
            let _ = writeln!(self.text, "{} n{node} {} {input}", self.steps, now.monotonic);
        }
    }

    /// A step ends with these effects.
    pub fn end(&mut self, effects: &[Effect]) {
        effects.iter().for_each(|effect| self.effect(effect));
        if self.is_shown() {
            for effect in effects {
                let _ = writeln!(self.text, "    -> {effect}");
            }
        }
        self.hash = xxh3_64_with_seed(&self.buffer, self.hash);
        if self.window.contains(&self.steps) && self.digests {
            self.checkpoints.push((self.steps, self.hash));
        }
        self.steps += 1;
    }

    /// Something outside of a machine happened that belongs to the run: a crash, a fault, what a client saw.
    pub fn event(&mut self, what: &str, number: u64) {
        let word = xxh3_64_with_seed(what.as_bytes(), number);
        self.hash = xxh3_64_with_seed(&word.to_le_bytes(), self.hash);
        if self.is_shown() {
            let _ = writeln!(self.text, "{} {what} {number}", self.steps);
        }
    }

    /// Whether the digests are due.
    #[must_use]
    pub const fn wants_digest(&self) -> bool {
        self.digests && self.steps.is_multiple_of(DIGEST_STEPS)
    }

    /// A digest of memory and disk.
    pub fn digest(&mut self, digest: u64) {
        if self.digests {
            self.hash = xxh3_64_with_seed(&digest.to_le_bytes(), self.hash);
            self.checkpoints.push((self.steps, self.hash));
        }
    }

    fn number(&mut self, number: u64) {
        self.buffer.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(xxh3_64(bytes));
    }

    fn path(&mut self, path: &Path) {
        self.number(u64::from(path.dir.0));
        self.bytes(path.name.as_bytes());
    }

    fn input(&mut self, input: &Input) {
        match input {
            Input::Opened { conn, how } => {
                self.number(1);
                self.number(conn.0);
                let token = match how {
                    Opened::Accepted { listener, .. } => u64::from(listener.0),
                    Opened::Dialled { token, .. } => *token,
                };
                self.number(token);
            }
            Input::Frame { conn, request } => {
                self.number(2);
                self.number(conn.0);
                self.bytes(&request.frame);
            }
            Input::Answer { conn, frame } => {
                self.number(10);
                self.number(conn.0);
                self.bytes(frame);
            }
            Input::Malformed { conn, .. } => {
                self.number(3);
                self.number(conn.0);
            }
            Input::Drained { conn } => {
                self.number(4);
                self.number(conn.0);
            }
            Input::Closed { conn } => {
                self.number(5);
                self.number(conn.0);
            }
            Input::Disk { op, result } => {
                self.number(6);
                self.number(op.0);
                self.result(result);
            }
            Input::JobDone { job, .. } => {
                self.number(7);
                self.number(job.0);
            }
            Input::Shutdown => self.number(8),
            Input::Timeout => self.number(9),
        }
    }

    fn result(&mut self, result: &DiskResult) {
        match result {
            DiskResult::Done => self.number(1),
            DiskResult::Opened { len } | DiskResult::Space(len) => self.number(*len),
            DiskResult::Bytes(bytes) => self.bytes(bytes),
            DiskResult::Entries(entries) => {
                for entry in entries {
                    self.bytes(entry.name.as_bytes());
                    self.number(entry.len);
                }
            }
            DiskResult::Failed(error) => self.number(match error {
                DiskError::NotFound => 1,
                DiskError::Full => 2,
                DiskError::Io(number) => u64::from(number.unsigned_abs()) + 3,
            }),
        }
    }

    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Send { conn, bytes, last } => {
                self.number(101 + u64::from(*last));
                self.number(conn.0);
                self.bytes(bytes);
            }
            Effect::SendRange { conn, range, last } => {
                self.number(103 + u64::from(*last));
                self.number(conn.0);
                self.number(u64::from(range.file.0));
                self.number(u64::from(range.pos) << 32 | u64::from(range.len));
            }
            Effect::Done { conn } => self.on_connection(105, conn.0),
            Effect::PauseReading { conn } => self.on_connection(106, conn.0),
            Effect::ResumeReading { conn } => self.on_connection(107, conn.0),
            Effect::Close { conn } => self.on_connection(108, conn.0),
            Effect::Connect { token, address } => {
                self.on_connection(109, *token);
                self.bytes(address.as_bytes());
            }
            Effect::Append { op, file, pos, base_offset, leader_epoch, rest } => {
                self.on_file(110, op.0, file.0, u64::from(*pos));
                self.number(base_offset.0.cast_unsigned());
                self.number(u64::from(leader_epoch.0.cast_unsigned()));
                self.bytes(rest);
            }
            Effect::Write { op, file, pos, bytes } => {
                self.on_file(111, op.0, file.0, *pos);
                self.bytes(bytes);
            }
            Effect::Sync { op, file } => self.on_file(112, op.0, file.0, 0),
            Effect::File { op, action } => {
                self.number(113);
                self.number(op.0);
                self.action(action);
            }
            Effect::Run { job, .. } => self.on_connection(114, job.0),
            Effect::Note(note) => self.bytes(note.text.as_bytes()),
            Effect::Ready => self.number(115),
            Effect::Stopped => self.number(116),
        }
    }

    fn on_connection(&mut self, what: u64, conn: u64) {
        self.number(what);
        self.number(conn);
    }

    fn on_file(&mut self, what: u64, op: u64, file: u32, pos: u64) {
        self.number(what);
        self.number(op);
        self.number(u64::from(file));
        self.number(pos);
    }

    fn action(&mut self, action: &FileAction) {
        match action {
            FileAction::MakeDir { path } => self.named(1, path),
            FileAction::List { path } => self.named(2, path),
            FileAction::Open { file, path, mode } => {
                self.named(3 + u64::from(*mode == OpenMode::Create), path);
                self.number(u64::from(file.0));
            }
            FileAction::CloseFile { file } => self.on_connection(5, u64::from(file.0)),
            FileAction::SetLen { file, len } => self.on_file(6, 0, file.0, *len),
            FileAction::SyncDir { path } => self.named(7, path),
            FileAction::Rename { from, to } => {
                self.named(8, from);
                self.path(to);
            }
            FileAction::Remove { path } => self.named(9, path),
            FileAction::Read { file, pos, len } => self.on_file(10, u64::from(*len), file.0, *pos),
            FileAction::FreeSpace { dir } => self.on_connection(11, u64::from(dir.0)),
            FileAction::Forget { file, pos } => self.on_file(12, 0, file.0, *pos),
        }
    }

    fn named(&mut self, what: u64, path: &Path) {
        self.number(what);
        self.path(path);
    }
}

/// Hashes what would be printed, without printing it: a digest of anything that has a debug form.
#[derive(Default)]
pub struct Digest(Xxh3);

impl Digest {
    /// The digest of a value's debug form.
    #[must_use]
    pub fn of(value: &impl fmt::Debug) -> u64 {
        let mut digest = Self::default();
        let _ = write!(digest, "{value:?}");
        digest.0.digest()
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ottla_core::machine::{ConnId, OpId};

    fn hash(input: &Input, effects: &[Effect]) -> u64 {
        let mut trace = Trace::default();
        trace.begin(0, Now::default(), input);
        trace.end(effects);
        trace.hash()
    }

    fn send(bytes: &'static [u8], last: bool) -> Effect {
        Effect::Send { conn: ConnId(1), bytes: Bytes::from_static(bytes), last }
    }

    #[test]
    fn every_field_counts() {
        let base = hash(&Input::Timeout, &[send(b"abc", true)]);
        assert_eq!(base, hash(&Input::Timeout, &[send(b"abc", true)]));
        assert_ne!(base, hash(&Input::Shutdown, &[send(b"abc", true)]));
        assert_ne!(base, hash(&Input::Timeout, &[send(b"abd", true)]));
        assert_ne!(base, hash(&Input::Timeout, &[send(b"abc", false)]));
        assert_ne!(base, hash(&Input::Timeout, &[]));
        let disk = |result| hash(&Input::Disk { op: OpId(1), result }, &[]);
        assert_ne!(disk(DiskResult::Done), disk(DiskResult::Failed(DiskError::Full)));
    }

    #[test]
    fn the_order_of_steps_counts() {
        let run = |inputs: [Input; 2]| {
            let mut trace = Trace::default();
            for input in inputs {
                trace.begin(0, Now::default(), &input);
                trace.end(&[]);
            }
            (trace.hash(), trace.steps())
        };
        assert_ne!(run([Input::Timeout, Input::Shutdown]), run([Input::Shutdown, Input::Timeout]));
    }

    #[test]
    fn steps_in_the_window_are_written_out() {
        let mut trace = Trace::new(false, 1..2);
        for input in [Input::Timeout, Input::Shutdown, Input::Timeout] {
            trace.begin(0, Now::default(), &input);
            trace.end(&[Effect::Ready]);
        }
        assert_eq!(trace.text(), "1 n0 0.000000 shutdown\n    -> ready\n");
    }
}
