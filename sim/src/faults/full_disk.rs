//! The disk is full for the time of the event, or some writes find it so.

use serde::Deserialize;

/// `full_disk = { free = 4096 }` or `full_disk = { writes = 3 }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FullDisk {
    /// So many bytes are still free.
    pub free: u64,
    /// Only so many writes that grow a file meet it, whatever space there is.
    pub writes: Option<u32>,
}
