//! What is to go wrong on a disk, and what did.
//!
//! A fault is armed first and strikes when an operation runs into it; only then it has *landed*.

use ottla_core::machine::DiskError;

use super::file::WriteBack;
use super::tree::Ino;
use crate::time::Nanos;

/// EIO.
const INPUT_OUTPUT: i32 = 5;

/// The operations that errors are armed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    /// Reads.
    Read,
    /// Writes and truncations.
    Write,
    /// Syncs of files and directories.
    Sync,
    /// Opens.
    Open,
}

/// A fault that struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hit {
    /// An operation failed with EIO.
    Error(OpKind),
    /// A write met a full disk.
    NoSpace,
    /// An operation took longer, ten times at least.
    Slow,
    /// Bytes that rotted, or that a write lost or misplaced, were read from the platter.
    RotRead,
    /// A page was sent that has gone bad since the process had it in hand.
    SentGoneBad(Ino, usize),
    /// A write-back was lost.
    LostWrite(Ino),
    /// A write-back went elsewhere.
    Misdirected(Ino),
}

/// The faults of one disk.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    errors: Vec<(OpKind, u32)>,
    full: u32,
    factor: u64,
    stalled_until: Nanos,
    lost_writes: u32,
    misdirected_writes: u32,
    hits: Vec<Hit>,
}

impl Faults {
    /// The next `count` operations of this kind fail with EIO.
    pub fn arm_errors(&mut self, kind: OpKind, count: u32) {
        self.errors.push((kind, count));
    }

    /// The next `count` growing writes find no space, though there is some.
    pub const fn arm_full(&mut self, count: u32) {
        self.full = count;
    }

    /// Everything takes `factor` times as long, from now on; 1 ends it.
    pub const fn slow_down(&mut self, factor: u64) {
        self.factor = factor;
    }

    /// What is issued before `until` is not carried out before.
    pub fn stall(&mut self, until: Nanos) {
        self.stalled_until = self.stalled_until.max(until);
    }

    /// The next `count` write-backs are lost.
    pub const fn arm_lost_writes(&mut self, count: u32) {
        self.lost_writes = count;
    }

    /// The next `count` write-backs hit another page of their file.
    pub const fn arm_misdirected_writes(&mut self, count: u32) {
        self.misdirected_writes = count;
    }

    /// Nothing goes wrong from now on. What is broken stays so.
    pub fn heal(&mut self) {
        let hits = std::mem::take(&mut self.hits);
        *self = Self { hits, ..Self::default() };
    }

    /// Whether a fault struck since they were taken.
    #[must_use]
    pub const fn has_hits(&self) -> bool {
        !self.hits.is_empty()
    }

    /// Whether anything is armed.
    #[must_use]
    pub const fn is_armed(&self) -> bool {
        !self.errors.is_empty()
            || self.full > 0
            || self.factor > 1
            || self.lost_writes > 0
            || self.misdirected_writes > 0
    }

    /// Takes the faults that struck since the last call.
    pub fn take_hits(&mut self) -> std::vec::Drain<'_, Hit> {
        self.hits.drain(..)
    }

    pub(super) fn hit(&mut self, hit: Hit) {
        self.hits.push(hit);
    }

    pub(super) fn strike(&mut self, kind: OpKind) -> Result<(), DiskError> {
        let Some(index) = self.errors.iter().position(|(armed, _)| *armed == kind) else {
            return Ok(());
        };
        self.errors[index].1 -= 1;
        if self.errors[index].1 == 0 {
            self.errors.remove(index);
        }
        self.hit(Hit::Error(kind));
        Err(DiskError::Io(INPUT_OUTPUT))
    }

    pub(super) const fn transiently_full(&mut self) -> bool {
        let full = self.full > 0;
        self.full = self.full.saturating_sub(1);
        full
    }

    pub(super) fn slowed(&mut self, now: Nanos, wait: Nanos) -> Nanos {
        let slow = wait.saturating_mul(self.factor.max(1)) + self.stalled_until.saturating_sub(now);
        if slow >= wait.saturating_mul(10) && slow > wait {
            self.hit(Hit::Slow);
        }
        slow
    }

    pub(super) fn write_back(&mut self, ino: Ino, draw: u64) -> WriteBack {
        if self.lost_writes > 0 {
            self.lost_writes -= 1;
            self.hit(Hit::LostWrite(ino));
            return WriteBack::Lost;
        }
        if self.misdirected_writes > 0 {
            self.misdirected_writes -= 1;
            self.hit(Hit::Misdirected(ino));
            return WriteBack::Misdirected(draw);
        }
        WriteBack::Good
    }
}
