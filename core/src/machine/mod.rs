//! The boundary: what comes into the machine, what goes out, and the contract between it and a driver.
//!
//! A driver calls [`crate::ingress::ingress`] on each whole frame, queues [`Input`]s, hands them one at a time to
//! [`Machine::handle`], and carries out the [`Effect`]s in order. One call is one whole step,
//! `(now, input) -> effects`: the line of a trace, the unit of replay and of a text script.
//!
//! What a driver promises:
//!
//! * Every effect with an [`OpId`] completes exactly once, as [`Input::Disk`]; every job as
//!   [`Input::JobDone`]. Completions of one file's writes come in the order of the effects.
//! * Writes, truncations, directories made, opens, closes and renames are carried out in the order they were
//!   issued; a sync covers every write of its file that was issued before it. Syncs, directory syncs, reads, lists
//!   and removals may overtake and be overtaken: the machine waits where the order matters.
//! * After a failed write or sync the driver neither retries nor hides it.
//! * [`Input::Timeout`] comes at or after [`Machine::next_deadline`], perhaps late, never early, and not never.
//! * Effects to one connection leave in order; effects for a connection it does not know are dropped.
//!
//! Absent on purpose: timers (the deadline is a function of state), closures, trait objects, `async`.

mod connections;
mod dispatch;
mod effect;
mod input;
mod peers;

pub use connections::{Answer, Connections, Part, Ticket};
pub use dispatch::Machine;
pub use effect::{Effect, Effects, FileAction, FileRange, Level, Note, OpenMode};
pub use input::{DiskError, DiskResult, Entry, Input, ListenerId, Opened};

use std::fmt;
use std::sync::Arc;

/// A connection. Drivers count them from 1 and never use a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// An open file. The machine counts them; it never uses a number twice in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// One file operation. The machine counts them from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// One job. The machine counts them from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// One log directory, by its place in `log.dirs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogDirId(pub u16);

/// The name of a file or directory below a log directory, with `/` between its parts.
///
/// The empty name is the log directory itself. The machine never makes a name that leaves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Below which log directory.
    pub dir: LogDirId,
    /// `t-0/00000000000000000000.log`
    pub name: Arc<str>,
}

impl Path {
    /// The name `name` below `dir`.
    pub fn new(dir: LogDirId, name: impl Into<Arc<str>>) -> Self {
        Self { dir, name: name.into() }
    }

    /// The log directory itself.
    #[must_use]
    pub fn root(dir: LogDirId) -> Self {
        Self::new(dir, "")
    }

    /// `name` inside this directory.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        if self.name.is_empty() {
            Self::new(self.dir, name)
        } else {
            Self::new(self.dir, format!("{}/{name}", self.name))
        }
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f{}", self.0)
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "j{}", self.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dir.0 != 0 {
            write!(f, "{}:", self.dir.0)?;
        }
        f.write_str(if self.name.is_empty() { "." } else { &self.name })
    }
}
