//! The process dies, and the logs of a topic that nobody wrote to yet are, when it is started again, what another
//! broker's cleaner leaves of a log: one record, in a batch that spans all the offsets that were.

use serde::Deserialize;

use crate::scenario::Span;
use crate::time::MILLISECOND;

/// `compacted = { topic = "t", end = 2147483000 }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compacted {
    /// Whose logs.
    pub topic: String,
    /// The offset after the last that was.
    pub end: i64,
    /// How long until the process is started again.
    pub down: Span,
}

impl Default for Compacted {
    fn default() -> Self {
        Self { topic: "t".into(), end: 1 << 31, down: Span(100 * MILLISECOND) }
    }
}
