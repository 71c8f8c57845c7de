//! Traffic does not get through for the time of the event: one way or both, for all clients or one.

use serde::Deserialize;

/// `cut = { direction = "to-node", client = 2 }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cut {
    /// Which way.
    pub direction: Direction,
    /// Only this client (by its number modulo their count); everybody if absent.
    pub client: Option<u16>,
}

/// Which way traffic is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both.
    #[default]
    Both,
    /// What clients send.
    ToNode,
    /// What the node sends.
    FromNode,
}
