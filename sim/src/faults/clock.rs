//! Clocks: wall time steps, and both run at another rate, or stand still, for the time of the event.

use serde::Deserialize;

/// `clock = { step_ms = -3600000 }` or `clock = { rate_ppm = 0 }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockFault {
    /// Wall time steps by so much.
    pub step_ms: i64,
    /// The step goes back instead of forward.
    pub back: bool,
    /// Parts per million of the right rate; 0 is a frozen clock.
    pub rate_ppm: Option<u64>,
}
