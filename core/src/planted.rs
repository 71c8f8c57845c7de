//! Planted bugs: real bugs of Kafka, Redpanda and Raft systems, one switch each.
//!
//! They exist to measure the simulator: a checker that cannot fail checks nothing. A switch is compiled in
//! only under the feature `planted-bugs`; without it [`Planted::has`] is constant `false` and the code behind
//! it is gone. The node refuses to compile with the feature. `make planted` runs them.

use std::fmt;
use std::str::FromStr;

/// One bug. The name is its id in the catalogue; the doc is the ticket and what the switch removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plant {
    /// LOG-01 (KAFKA-3968): the directory is not synced when a segment file is created.
    Log01,
}

/// Which bugs a machine carries. Ordinarily none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    #[cfg(feature = "planted-bugs")]
    bits: u128,
}

impl Planted {
    /// Whether `plant` is switched on.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub const fn has(self, plant: Plant) -> bool {
        self.bits & (1 << plant as u32) != 0
    }

    /// Whether `plant` is switched on: never, in this build.
    #[cfg(not(feature = "planted-bugs"))]
    #[must_use]
    pub const fn has(self, _plant: Plant) -> bool {
        false
    }

    /// The same with `plant` switched on.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub const fn with(self, plant: Plant) -> Self {
        Self {
            bits: self.bits | 1 << plant as u32,
        }
    }
}

impl Plant {
    /// Every bug that can be planted, in the order of the catalogue.
    pub const ALL: &'static [Self] = &[Self::Log01];

    /// The catalogue's id: `LOG-01`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Log01 => "LOG-01",
        }
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Plant {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|plant| plant.id() == text);
        found.ok_or_else(|| format!("no planted bug is called {text}"))
    }
}
