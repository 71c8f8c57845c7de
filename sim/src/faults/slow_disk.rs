//! The disk is slow, or stands still for the time of the event.

use serde::Deserialize;

/// `slow_disk = { factor = 100 }` or `slow_disk = { stall = true }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlowDisk {
    /// How many times as long everything takes.
    pub factor: u64,
    /// Nothing at all is carried out until the event is over.
    pub stall: bool,
}

impl Default for SlowDisk {
    fn default() -> Self {
        Self { factor: 100, stall: false }
    }
}
