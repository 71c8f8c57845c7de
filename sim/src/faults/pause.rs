//! The process stands still (`SIGSTOP`, a stalled virtual machine) while the world and its clocks go on.

use serde::Deserialize;

/// `pause = {}`, for the time that the event says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pause {}
