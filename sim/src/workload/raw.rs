//! A client that sends what no good client sends: old versions, duplicates, frames cut short or full of lies.

use serde::Deserialize;

use crate::scenario::Span;
use crate::time::MILLISECOND;

/// `raw = { every = "100ms" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    /// The mean time between two frames.
    pub every: Span,
    /// The topic that it asks for.
    pub topic: String,
    /// Whether it sends frames that cannot be read, too.
    pub hostile: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self { every: Span(100 * MILLISECOND), topic: "t".into(), hostile: true }
    }
}
