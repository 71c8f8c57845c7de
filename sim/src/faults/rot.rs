//! Damage that sticks: bits that flip, write-backs that are lost or land elsewhere. It is seen when the
//! page cache no longer hides it.

use serde::Deserialize;

/// `rot = { kind = "bit", under = "t-", file = ".log" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rot {
    /// What goes wrong.
    pub kind: RotKind,
    /// Bits flip in files whose path begins so; in any file if it is empty.
    pub under: String,
    /// And ends so.
    pub file: String,
    /// How many bits, or write-backs.
    pub count: u32,
    /// Whether the kernel forgets its clean pages too, so that the damage is seen: when the process ends, or at once
    /// where nothing is damaged.
    pub evict: bool,
}

/// The kinds of damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RotKind {
    /// A durable bit flips.
    #[default]
    Bit,
    /// The next write-backs do not happen.
    LostWrite,
    /// The next write-backs hit another page of their file.
    MisdirectedWrite,
    /// Nothing is damaged: clean pages leave memory.
    None,
}

impl Default for Rot {
    fn default() -> Self {
        Self { kind: RotKind::Bit, under: String::new(), file: ".log".into(), count: 1, evict: true }
    }
}
