//! The power goes: what was not synced is kept, dropped or torn as the disk's preset has it.

use serde::Deserialize;

use crate::scenario::Span;
use crate::time::SECOND;

/// `power_loss = { down = "2s" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PowerLoss {
    /// How long until the machine has booted and the process is started.
    pub down: Span,
}

impl Default for PowerLoss {
    fn default() -> Self {
        Self { down: Span(2 * SECOND) }
    }
}
