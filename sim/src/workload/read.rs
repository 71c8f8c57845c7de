//! Clients that read.

use serde::Deserialize;

use crate::scenario::Span;
use crate::time::MILLISECOND;

/// `read = { topic = "t", clients = 2 }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Read {
    /// All partitions of this topic.
    pub topic: String,
    /// How many.
    pub clients: u16,
    /// How long the broker may wait for the least bytes.
    pub max_wait: Span,
    /// The least bytes of an answer that does not wait.
    pub min_bytes: i32,
    /// The most bytes of an answer.
    pub max_bytes: i32,
    /// How often a client starts again, from a place that it draws.
    pub seek: Span,
}

impl Default for Read {
    fn default() -> Self {
        Self {
            topic: "t".into(),
            clients: 1,
            max_wait: Span(500 * MILLISECOND),
            min_bytes: 1,
            max_bytes: 1 << 20,
            seek: Span(5_000 * MILLISECOND),
        }
    }
}
