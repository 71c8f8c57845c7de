//! Scenarios: a run is a function of the binary and one TOML file, and this is the file.
//!
//! A file may hold ranges ([`expand`]); then it stands for many runs, one a seed. The exact file of a seed
//! has none, holds its `run_seed` apart, and is what shrinking edits. Unknown keys are errors.
//!
//! Sections: `[cluster]`, `[network]`, `[disk]`, `[clock]`, `[config]` (properties of the broker), and one
//! list of `[[event]]`: workloads and faults alike, each with `at` or `on`, and one action.

mod event;
pub mod expand;
mod sections;

use std::fmt;

use toml::{Table, Value};
use xxhash_rust::xxh3::xxh3_64;

pub use event::{Action, Event, Target, Trigger, When};
pub use sections::{ClockSection, Cluster, DiskSection, NetworkSection, Span};

use crate::draw::Draws;
use crate::time::Nanos;
use crate::workload::{Admin, Kind, Members};
use sections::Sections;

/// The version of the format that this build reads.
pub const FORMAT: i64 = 1;

/// A file as it was written.
#[derive(Clone, Debug)]
pub struct Template {
    table: Table,
    digest: u64,
}

/// One exact run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What all draws of the run hang on.
    pub run_seed: u64,
    /// How long workloads and faults go on; then everything heals.
    pub duration: Nanos,
    /// How long it may take, after healing, until all is read.
    pub recovery: Nanos,
    /// Invariants whose violation is what this file is for: some seed must show one.
    pub expect: Vec<String>,
    /// Whether what acks=all acknowledges survives all that happens here, though it is not synced (promise P3).
    pub lossless: bool,
    /// Whether no more nodes at once die, or lose power, or have yet to catch up, than one fewer than must be in sync.
    pub in_turn: bool,
    /// Brokers and topics.
    pub cluster: Cluster,
    /// The network.
    pub network: NetworkSection,
    /// The disks.
    pub disk: DiskSection,
    /// The clocks.
    pub clock: ClockSection,
    /// The broker's properties.
    pub config: Vec<(String, String)>,
    /// Workloads and faults.
    pub events: Vec<Event>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    place: String,
    why: String,
}

impl Template {
    /// Reads a file's text.
    ///
    /// # Errors
    /// It is not TOML, or of another format version.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let table: Table = text.parse().map_err(|error| ScenarioError::new("file", &format!("{error}")))?;
        match table.get("format").and_then(Value::as_integer) {
            Some(FORMAT) => (),
            Some(other) => {
                return Err(ScenarioError::new("format", &format!("is {other}, and this build reads {FORMAT}")));
            }
            None => return Err(ScenarioError::new("format", &format!("is missing: write `format = {FORMAT}` first"))),
        }
        Ok(Self { table, digest: xxh3_64(text.as_bytes()) })
    }

    /// A hash of the text: part of the line that reproduces a run.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// How often a swarm takes this file, against others; 0 keeps it out of swarms that have others.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let weight = self.table.get("weight").and_then(Value::as_integer);
        weight.and_then(|weight| u64::try_from(weight).ok()).unwrap_or(1)
    }

    /// The invariants that the file is there to see violated.
    #[must_use]
    pub fn expects(&self) -> Vec<String> {
        let list = self.table.get("expect").and_then(Value::as_array);
        let names = list.into_iter().flatten().filter_map(Value::as_str);
        names.map(str::to_owned).collect()
    }

    /// Whether the file holds its seed, and so is one run and no more.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.table.contains_key("run_seed")
    }

    /// The planted bug that the file is the witness of, by its id: with it the run violates what is expected,
    /// without it nothing.
    #[must_use]
    pub fn plant(&self) -> Option<&str> {
        self.table.get("plant").and_then(Value::as_str)
    }

    /// The exact file of a seed. The seed that the file itself holds wins: then it is exact already.
    ///
    /// # Errors
    /// A range that is none.
    pub fn expand(&self, seed: u64) -> Result<Table, ScenarioError> {
        let seed = self.run_seed()?.unwrap_or(seed);
        let mut exact = expand::expand(&self.table, Draws::new(seed))?;
        exact.insert("run_seed".into(), Value::String(format!("{seed:#018x}")));
        Ok(exact)
    }

    /// The run of a seed.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn scenario(&self, seed: u64) -> Result<Scenario, ScenarioError> {
        Scenario::from_exact(self.expand(seed)?)
    }

    fn run_seed(&self) -> Result<Option<u64>, ScenarioError> {
        self.table.get("run_seed").map(read_seed).transpose()
    }
}

impl Scenario {
    /// Reads an exact file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_exact(mut table: Table) -> Result<Self, ScenarioError> {
        let run_seed = table.remove("run_seed").as_ref().map(read_seed).transpose()?.unwrap_or(0);
        let events = match table.remove("event") {
            None => Vec::new(),
            Some(Value::Array(list)) => list.into_iter().map(Event::from_value).collect::<Result<_, _>>()?,
            Some(_) => return Err(ScenarioError::new("event", "is not a list: write [[event]]")),
        };
        let sections: Sections = table.try_into().map_err(|error| ScenarioError::new("file", &format!("{error}")))?;
        replicas_fit(&sections.cluster, &events)?;
        let config = sections.config.into_iter().map(|(key, value)| (key, property(&value)));
        Ok(Self {
            run_seed,
            duration: sections.duration.0,
            recovery: sections.recovery.0,
            expect: sections.expect,
            lossless: sections.lossless,
            in_turn: sections.in_turn,
            cluster: sections.cluster,
            network: sections.network,
            disk: sections.disk,
            clock: sections.clock,
            config: config.collect(),
            events,
        })
    }
}

impl ScenarioError {
    /// Something is wrong at `place`.
    pub(crate) fn new(place: &str, why: &str) -> Self {
        Self { place: place.into(), why: why.trim_end().into() }
    }
}

/// Partitions of several replicas have a leader that may be any node, and a client of frames knows one node. What
/// core's client cannot ask for is not asked of it.
fn replicas_fit(cluster: &Cluster, events: &[Event]) -> Result<(), ScenarioError> {
    if !(1..=i32::from(cluster.nodes)).contains(&i32::from(cluster.replicas)) {
        let (replicas, nodes) = (cluster.replicas, cluster.nodes);
        return Err(ScenarioError::new("cluster", &format!("{nodes} nodes have no room for {replicas} replicas")));
    }
    let frames = |action: &Action| {
        matches!(action, Action::Produce(params) if params.client == Kind::Frames)
            || matches!(action, Action::Read(params) if params.client == Kind::Frames)
            || matches!(action, Action::Groups(params) if params.client == Members::Frames)
    };
    if let Some(event) = events.iter().find(|event| cluster.replicas > 1 && frames(&event.action)) {
        return Err(ScenarioError::new(&event.name, "follows no leader: say client = \"core\""));
    }
    let beyond_core = |it: &Admin| it.client == Kind::Core && (it.moves > 0 || it.elections || it.voters);
    match events.iter().find(|event| matches!(&event.action, Action::Admin(params) if beyond_core(params))) {
        Some(event) => {
            Err(ScenarioError::new(&event.name, "only frames ask for moves, elections and voters: say no client"))
        }
        None => Ok(()),
    }
}

/// A broker's property as its file would have it.
fn property(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Seeds are written as hexadecimal strings, because TOML's integers are signed.
fn read_seed(value: &Value) -> Result<u64, ScenarioError> {
    let bad = || ScenarioError::new("run_seed", "is not a seed: write it as \"0x0123456789abcdef\"");
    if let Some(number) = value.as_integer() {
        return u64::try_from(number).map_err(|_| bad());
    }
    parse_seed(value.as_str().ok_or_else(bad)?).ok_or_else(bad)
}

/// Reads a seed, decimal or hexadecimal.
#[must_use]
pub fn parse_seed(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

impl std::error::Error for ScenarioError {}

#[cfg(test)]
mod tests;
