//! Connections are reset, or hang without anybody being told.

use serde::Deserialize;

/// `connection = { how = "reset", share = 100 }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionFault {
    /// What happens to them.
    pub how: How,
    /// To how many of a hundred; at least one.
    pub share: u8,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Both ends learn that it is gone, each in its own time.
    #[default]
    Reset,
    /// Nobody learns anything.
    Hang,
}

impl Default for ConnectionFault {
    fn default() -> Self {
        Self { how: How::Reset, share: 50 }
    }
}
