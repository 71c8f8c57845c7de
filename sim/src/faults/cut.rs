//! Traffic does not get through for the time of the event: one way or both, between a node and clients or other nodes.

use serde::Deserialize;

/// `cut = { direction = "to-node", client = 2 }` or `cut = { off = "halves" }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cut {
    /// Which way.
    pub direction: Direction,
    /// What the node is cut off from.
    pub off: Off,
    /// Of the clients only this one (by its number modulo their count); everybody if absent.
    pub client: Option<u16>,
}

/// Which way traffic is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both.
    #[default]
    Both,
    /// What others send to the node.
    ToNode,
    /// What the node sends.
    FromNode,
}

/// What a node is cut off from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Off {
    /// Clients.
    #[default]
    Clients,
    /// One other node, which is drawn.
    OneNode,
    /// All other nodes.
    Nodes,
    /// All others.
    All,
    /// Nodes in two halves, drawn as large as they come, are cut off from each other, and the clients are with one of
    /// them. The target is in the first half.
    Halves,
}
