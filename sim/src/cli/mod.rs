//! The command line: what can be asked, and who answers.

mod bench;
mod child;
mod commit;
mod determinism;
mod expand;
mod parallel;
mod planted;
mod report;
mod run;
mod shrink;
mod summary;
mod swarm;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ottla_core::planted::{Plant, Planted};

use crate::scenario::{ScenarioError, Template, parse_seed};

/// The simulator of Ottla: the broker's own machine, and everything that can go wrong around it.
#[derive(Debug, Parser)]
#[command(name = "ottla-sim", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one seed of one scenario.
    Run(run::RunArgs),
    /// Run many seeds, each in a process of its own, and say what they proved.
    Swarm(swarm::SwarmArgs),
    /// Run seeds one after the other, and say how fast the simulator is.
    Bench(bench::BenchArgs),
    /// Make a failing scenario as small as it goes.
    Shrink(shrink::ShrinkArgs),
    /// Run seeds twice, in processes of different age and build, and compare every step.
    CheckDeterminism(determinism::DeterminismArgs),
    /// Print the exact scenario of a seed.
    Expand(expand::ExpandArgs),
    /// Measure how soon planted bugs are found. Needs a build with `--features planted-bugs`.
    Planted(planted::PlantedArgs),
    /// Run one seed for a parent that reads the result as JSON.
    #[command(hide = true)]
    Child(child::ChildArgs),
}

/// A scenario and a seed.
#[derive(Clone, Debug, Args)]
struct Which {
    /// The scenario's file.
    file: PathBuf,
    /// The seed, decimal or 0x…; by default it is the commit's.
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    /// Plant a bug, by its id in the catalogue (LOG-01). Needs a build with `--features planted-bugs`.
    #[arg(long, value_parser = plant)]
    plant: Option<Plant>,
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Swarm(args) => swarm::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Shrink(args) => shrink::main(&args),
        Command::CheckDeterminism(args) => determinism::main(&args),
        Command::Expand(args) => expand::main(&args),
        Command::Planted(args) => planted::main(&args),
        Command::Child(args) => child::main(&args),
    }
}

/// Exit code of a violation.
const VIOLATED: u8 = 1;
/// Exit code of a command that cannot be carried out.
const UNUSABLE: u8 = 2;

fn seed(text: &str) -> Result<u64, String> {
    parse_seed(text).ok_or_else(|| format!("`{text}` is not a seed: write 42 or 0x2a"))
}

fn plant(text: &str) -> Result<Plant, String> {
    text.parse()
}

/// The bugs that a machine is to carry.
///
/// # Errors
/// This build has none.
fn planted(plant: Option<Plant>) -> Result<Planted, String> {
    match plant {
        None => Ok(Planted::default()),
        #[cfg(feature = "planted-bugs")]
        Some(plant) => Ok(Planted::default().with(plant)),
        #[cfg(not(feature = "planted-bugs"))]
        Some(plant) => Err(format!("{plant} is not in this build: build with --features planted-bugs")),
    }
}

/// Reads a scenario's file.
fn template(file: &PathBuf) -> Result<Template, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Template::parse(&text).map_err(|error| in_file(file, &error))
}

fn in_file(file: &std::path::Path, error: &ScenarioError) -> String {
    format!("{}: {error}", file.display())
}

/// Says why a command cannot be carried out.
#[expect(clippy::print_stderr, reason = "this is the command line")]
fn unusable(why: &str) -> ExitCode {
    eprintln!("ottla-sim: {why}");
    ExitCode::from(UNUSABLE)
}

/// Prints a line.
#[expect(clippy::print_stdout, reason = "this is the command line")]
fn say(line: &str) {
    println!("{line}");
}
