//! A node's disk is replaced by an empty one. What it voted for and wrote it knows no more, so it comes back as
//! somebody else: a quorum loses a voter with each. It happens only where a majority of voters keep their disks.

use serde::Deserialize;

use crate::scenario::Span;
use crate::time::SECOND;

/// `wipe = { down = "2s" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wipe {
    /// How long until the process is started on the new disk.
    pub down: Span,
}

impl Default for Wipe {
    fn default() -> Self {
        Self { down: Span(2 * SECOND) }
    }
}
