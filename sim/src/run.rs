//! One run: a world inside madsim, from its beginning to its end or its first violation.
//!
//! madsim hosts the run: one runtime, one task, its clock set to each event's time. The world needs none of
//! it; but whatever reads a clock or draws entropy by accident meets madsim's, and is the same in every run.

use std::ops::Range;

use madsim::runtime::Runtime;
use madsim::time::TimeHandle;
use ottla_core::config::ConfigError;
use ottla_core::planted::Planted;

use crate::canary::{self, Canary};
use crate::dose::Dose;
use crate::draw::{Draws, Label};
use crate::invariants::Violation;
use crate::panics;
use crate::scenario::Scenario;
use crate::time::{Nanos, duration};
use crate::trace::Trace;
use crate::world::World;

/// How a run is made.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Whether digests of memory and disk go into the hash.
    pub digests: bool,
    /// The steps whose text is wanted.
    pub window: Range<u64>,
    /// The bugs that are planted.
    pub planted: Planted,
    /// What must not be done, done.
    pub canary: Option<Canary>,
    /// Whether only the client history is judged.
    pub history_alone: bool,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was violated, if anything was.
    pub violation: Option<Violation>,
    /// Simulated time.
    pub simulated: Nanos,
    /// Steps of machines.
    pub steps: u64,
    /// The trace's hash.
    pub hash: u64,
    /// The hash after so many steps, if digests were taken.
    pub checkpoints: Vec<(u64, u64)>,
    /// The text of the steps that were wanted.
    pub text: String,
    /// What landed.
    pub dose: Dose,
    /// Batches that were acknowledged.
    pub acked_batches: u64,
    /// Records that were read.
    pub records_read: u64,
    /// Assignments that leaders of groups have made, and members that have died and come back.
    pub rebalances: (u64, u64),
    /// Tuples of states that were seen.
    pub tuples: Vec<u64>,
}

/// Runs a scenario to its end.
///
/// # Errors
/// The scenario's broker properties are bad.
pub fn run(scenario: Scenario, options: &RunOptions) -> Result<Outcome, ConfigError> {
    let seed = scenario.run_seed;
    let trace = Trace::new(options.digests, options.window.clone());
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    let options = options.clone();
    canary::run_begins();
    runtime.block_on(async move {
        let mut world = World::new(scenario, &options, trace)?;
        drive(&mut world, options.canary, |_| ());
        Ok(outcome(&world))
    })
}

/// Runs a scenario, and where a tuple of states is seen for the first time, goes on from there a second time
/// with other draws: `branches` times at most. The outcome is the first violation's, or the whole run's.
///
/// # Errors
/// The scenario's broker properties are bad.
pub fn run_branching(scenario: Scenario, options: &RunOptions, branches: u32) -> Result<Outcome, ConfigError> {
    let seed = scenario.run_seed;
    let trace = Trace::new(options.digests, options.window.clone());
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    let options = options.clone();
    runtime.block_on(async move {
        let mut world = World::new(scenario, &options, trace)?;
        let mut seen = 0;
        let mut forks: Vec<World> = Vec::new();
        drive(&mut world, None, |world| {
            let tuples = world.tuples().len();
            if tuples > seen && forks.len() < usize::try_from(branches).unwrap_or(0) {
                forks.push(world.clone());
            }
            seen = tuples;
        });
        let whole = outcome(&world);
        for (turn, mut fork) in (1..).zip(forks) {
            if whole.violation.is_some() {
                break;
            }
            fork.reseed(Draws::new(seed).at(Label::RunSeed, turn, 0).bits());
            drive(&mut fork, None, |_| ());
            if fork.violation().is_some() {
                return Ok(outcome(&fork));
            }
        }
        Ok(whole)
    })
}

/// Steps a world to its end, with madsim's clock at its side. `look` is called after each step.
fn drive(world: &mut World, canary: Option<Canary>, mut look: impl FnMut(&World)) {
    // Branches start again at an earlier time than madsim's clock shows: it only ever goes on.
    let clock = TimeHandle::current();
    loop {
        let due = world.next_due();
        if due < u64::MAX {
            clock.advance(duration(due.saturating_sub(world.now())));
        }
        panics::at(world.trace.steps(), world.now());
        if let Some(canary) = canary.filter(|_| world.trace.steps().is_multiple_of(1000)) {
            world.trace.event("canary", canary.sing());
        }
        if !world.step(due) {
            return;
        }
        look(world);
    }
}

fn outcome(world: &World) -> Outcome {
    Outcome {
        violation: world.violation().cloned(),
        simulated: world.now(),
        steps: world.trace.steps(),
        hash: world.trace.hash(),
        checkpoints: world.trace.checkpoints().to_vec(),
        text: world.trace.text().to_owned(),
        dose: world.dose.clone(),
        acked_batches: world.acked_batches(),
        records_read: world.judge.history.records_read,
        rebalances: (world.judge.groups.assignments, world.judge.groups.deaths),
        tuples: world.tuples().to_vec(),
    }
}
