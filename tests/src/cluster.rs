//! Brokers that are one cluster, on loopback: nodes of Ottla or of Apache Kafka, each broker and controller at once.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Kind, Plan};
use crate::install::Workshop;

/// How long they may take to find each other.
const LIMIT: Duration = Duration::from_secs(30);

/// How a cluster's nodes are started, each in a directory of its own in `dir`, with these further properties.
pub fn plan(
    workshop: &Workshop,
    (kind, nodes): (Kind, usize),
    dir: &Path,
    properties: &[(&str, &str)],
) -> Result<Vec<Plan>, String> {
    let mut plans =
        if nodes == 1 { vec![Plan::new(workshop, kind, dir)?] } else { Plan::several(workshop, kind, nodes, dir)? };
    for plan in &mut plans {
        plan.properties.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        plan.prepare(workshop)?;
    }
    Ok(plans)
}

/// Starts the nodes, and waits until each answers and has a vote.
pub fn start(plans: &[Plan]) -> Result<Vec<Broker>, String> {
    let mut nodes = plans.iter().map(Plan::spawn).collect::<Result<Vec<Broker>, _>>()?;
    nodes.iter_mut().try_for_each(Broker::wait_until_ready)?;
    // Kafka's voters are those that its configuration names.
    if let [first, _, ..] = plans
        && first.kind == Kind::Ottla
    {
        await_voters(first, plans.len())?;
    }
    Ok(nodes)
}

/// The addresses of all nodes, as clients are given them.
pub fn bootstrap<'a>(plans: impl IntoIterator<Item = &'a Plan>) -> String {
    plans.into_iter().map(Plan::bootstrap).collect::<Vec<_>>().join(",")
}

/// Waits until every node is a voter: of fewer, one that is gone may be too many.
fn await_voters(first: &Plan, nodes: usize) -> Result<(), String> {
    let begun = Instant::now();
    let all = (1..=nodes).map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
    let wanted = format!("voters of the metadata quorum are {all}");
    loop {
        let log = fs::read_to_string(first.dir.join("broker.log")).map_err(|error| error.to_string())?;
        if log.contains(&wanted) {
            return Ok(());
        }
        if begun.elapsed() > LIMIT {
            return Err(format!("not every node has become a voter within {LIMIT:?}"));
        }
        thread::sleep(Duration::from_millis(50));
    }
}
