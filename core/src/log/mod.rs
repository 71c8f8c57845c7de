//! Kafka's log: segments of record batches with their indexes and what is derived from them.
//!
//! [`LogManager`] is what a broker sees: all logs, and all file operations ([`told`]: what it says of them). Below
//! it, each in its own file:
//!
//! * [`partition`]: one log, with its verbs [`append`], [`read`], [`truncate`], [`retention`], [`checkpointing`]
//! * [`segment`]: one segment; [`cold`]: what is held of older ones; [`questions`], [`timestamps`]: what the
//!   disk must answer
//! * [`boot`], [`recovery`], [`claimed`], [`indexed`], [`recovered`]: a start; [`rebuild`]: the producers after a deep
//!   truncation
//! * [`cleaner`]: compaction, as a job; [`compaction`], [`cleaning`]: when it runs, and how its result is put in place;
//!   [`unfinished`]: what a crash left of that
//! * [`scan`], [`walk`]: the job that looks at batches on disk; [`housekeeping`]: what the clock brings;
//!   [`log_starts`]: where logs begin, durably
//!
//! The leaves are pure: bytes or records in, bytes or answers out. They know a file's format and its rules and
//! nothing of when it is written; that is decided above them. Every format is Kafka's own, so `kafka-dump-log`
//! reads our directories.
//!
//! * [`names`]: the names of files and directories
//! * [`offset_index`], [`time_index`], [`txn_index`]: where in a segment an offset, a time, an abort is
//! * [`locate`]: the walk over the batches themselves
//! * [`leader_epoch_cache`]: which leader epoch began at which offset (KIP-101, KIP-279)
//! * [`producer_state`], [`producer_snapshot`]: idempotent and transactional producers (KIP-98, KIP-360)
//! * [`checkpoint`], [`partition_metadata`], [`meta_properties`], [`clean_shutdown`]: the small files beside
//!
//! Invariant S2: an index says nothing that the log does not. What cannot be parsed is [`Corrupt`]: an index is
//! then rebuilt from the log, a checkpoint is taken as absent, and nothing is guessed.

mod api;
mod append;
mod boot;
mod checkpointing;
mod claimed;
mod cleaner;
mod cleaning;
mod cold;
mod compaction;
mod housekeeping;
mod indexed;
mod log_starts;
mod manager;
mod partition;
mod questions;
mod read;
mod rebuild;
mod recovered;
mod recovery;
mod retention;
mod scan;
mod segment;
mod timestamps;
mod told;
mod truncate;
mod unfinished;
mod walk;

pub mod checkpoint;
pub mod clean_shutdown;
pub mod leader_epoch_cache;
pub mod locate;
pub mod meta_properties;
pub mod names;
pub mod offset_index;
pub mod partition_metadata;
pub mod producer_snapshot;
pub mod producer_state;
pub mod time_index;
pub mod txn_index;

pub use api::*;
pub use cleaner::Clean;
pub use cleaner::plan::{CompactionRules, Dirt};
pub use compaction::{CleanerConfig, CleanerTotals, CleanerView};
pub use manager::LogManager;
pub use scan::Scan;

use std::fmt;

/// A file whose content is not what was ever written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// A clause for the log: "entry 17 is not after entry 16".
    pub why: String,
}

impl Corrupt {
    /// Corrupt, and why.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Corrupt {}

/// The `N` bytes of `bytes` at `at`. Callers have checked that they are there.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has N bytes")
}
