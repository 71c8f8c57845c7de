//! The sections of an exact file, with what they are when they are absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};
use toml::Value;

use crate::disk::{Preset, Speeds};
use crate::network::stream::Path;
use crate::time::{MICROSECOND, MILLISECOND, Nanos, SECOND, parse_duration};

/// A time as files write it, `1.5s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Nanos);

/// All of a file but its events and its seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sections {
    #[serde(rename = "format")]
    _format: i64,
    #[serde(rename = "weight", default)]
    _weight: Option<u64>,
    #[serde(rename = "plant", default)]
    _plant: Option<String>,
    #[serde(default = "minute")]
    pub duration: Span,
    #[serde(default = "minute")]
    pub recovery: Span,
    #[serde(default)]
    pub expect: Vec<String>,
    #[serde(default)]
    pub lossless: bool,
    #[serde(default)]
    pub in_turn: bool,
    #[serde(default)]
    pub cluster: Cluster,
    #[serde(default)]
    pub network: NetworkSection,
    #[serde(default)]
    pub disk: DiskSection,
    #[serde(default)]
    pub clock: ClockSection,
    #[serde(default)]
    pub config: BTreeMap<String, Value>,
}

/// `[cluster]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// How many nodes, from 1 to 7. The cluster is born on the first; the others join it as voters.
    #[serde(deserialize_with = "nodes")]
    pub nodes: u16,
    /// How many replicas the partitions of these topics have.
    pub replicas: i16,
    /// In how many racks the nodes are, in turn, and core's clients, at random or in none; nobody says so if 0.
    pub racks: u16,
    /// Topics that are there before the load starts, with their numbers of partitions.
    pub topics: BTreeMap<String, i32>,
    /// The time a node takes for one step, on average.
    pub step_time: Span,
    /// How long after a storage failure the process is started anew, as an operator would; never if 0.
    pub restart_failed: Span,
}

/// `[network]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSection {
    /// One way, on average.
    pub latency: Span,
    /// How many of a million segments are lost once.
    pub loss_ppm: u32,
    /// How many of a million are cut in two.
    pub cut_ppm: u32,
    /// The most bytes under way or unread in one direction.
    pub window: usize,
}

/// `[disk]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskSection {
    /// What a power loss may leave.
    pub preset: Preset,
    /// Into the page cache, on average.
    pub write: Span,
    /// A sync.
    pub sync: Span,
    /// A read from the platter.
    pub read: Span,
    /// What a sync writes back in a second, in bytes; without bound if 0.
    pub bandwidth: u64,
}

/// `[clock]`: of every node, each with a sign of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockSection {
    /// How far off the rate is at most, in parts per million.
    pub drift_ppm: u32,
    /// How far off wall time is at most.
    pub offset: Span,
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(de::Error::custom)
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            nodes: 1,
            replicas: 1,
            racks: 0,
            topics: BTreeMap::from([("t".to_owned(), 1)]),
            step_time: Span(5 * MICROSECOND),
            restart_failed: Span(3 * SECOND),
        }
    }
}

impl Default for NetworkSection {
    fn default() -> Self {
        Self { latency: Span(200 * MICROSECOND), loss_ppm: 0, cut_ppm: 10_000, window: 1 << 20 }
    }
}

impl Default for DiskSection {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            write: Span(10 * MICROSECOND),
            sync: Span(MILLISECOND),
            read: Span(200 * MICROSECOND),
            bandwidth: 0,
        }
    }
}

impl NetworkSection {
    /// The same for the network.
    #[must_use]
    pub const fn path(&self) -> Path {
        Path { latency: self.latency.0, loss_ppm: self.loss_ppm, cut_ppm: self.cut_ppm, window: self.window }
    }
}

impl DiskSection {
    /// The same for a disk.
    #[must_use]
    pub const fn speeds(&self) -> Speeds {
        Speeds { write: self.write.0, sync: self.sync.0, read: self.read.0, bandwidth: self.bandwidth }
    }
}

/// A quorum of more than seven nobody runs.
fn nodes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let nodes = u16::deserialize(deserializer)?;
    let few = (1..=7).contains(&nodes).then_some(nodes);
    few.ok_or_else(|| de::Error::custom(format!("a cluster has 1 to 7 nodes, not {nodes}")))
}

const fn minute() -> Span {
    Span(60 * SECOND)
}
