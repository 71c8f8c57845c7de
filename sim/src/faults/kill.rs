//! The process dies, as by `kill -9`: what its driver had queued is lost, the page cache stays.

use serde::Deserialize;

use crate::scenario::Span;
use crate::time::MILLISECOND;

/// `kill = { down = "200ms" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kill {
    /// How long until it is started again.
    pub down: Span,
}

impl Default for Kill {
    fn default() -> Self {
        Self { down: Span(200 * MILLISECOND) }
    }
}
