//! A controlled shutdown, and a start after it. Who does not stop in time is killed.

use serde::Deserialize;

use crate::scenario::Span;
use crate::time::{MILLISECOND, SECOND};

/// `restart = { grace = "10s", down = "200ms", apart = "5s" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// How long it has to stop in good order.
    pub grace: Span,
    /// How long until it is started again.
    pub down: Span,
    /// How long after one node the next is stopped, where an event is for several: a rolling restart.
    pub apart: Span,
}

impl Default for Restart {
    fn default() -> Self {
        Self { grace: Span(10 * SECOND), down: Span(200 * MILLISECOND), apart: Span(0) }
    }
}
