//! One seed in a process of its own: what leaks from run to run in one process cannot leak here.

use std::process::ExitCode;

use clap::Args;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{VIOLATED, Which, planted, say, template, unusable};
use crate::invariants::Violation;
use crate::panics;
use crate::run::{Outcome, RunOptions, run, run_branching};
use crate::time::{Nanos, SECOND};

#[derive(Debug, Args)]
pub(super) struct ChildArgs {
    #[command(flatten)]
    which: Which,
    /// The most memory, in MiB.
    #[arg(long, default_value_t = 4096)]
    memory: u64,
    /// The most CPU time, in seconds.
    #[arg(long, default_value_t = 120)]
    cpu: u64,
    /// From how many first-seen states to go on anew.
    #[arg(long, default_value_t = 0)]
    branch: u32,
    /// Take digests, and print every checkpoint of the hash.
    #[arg(long)]
    digests: bool,
    /// Print the hash of every step in this range, and its text.
    #[arg(long, num_args = 2)]
    window: Vec<u64>,
    /// Judge by the client history alone.
    #[arg(long)]
    history_alone: bool,
    /// Run the beginning of this seed first, to be an older process.
    #[arg(long)]
    warm_up: Option<u64>,
    /// Do what must not be done.
    #[arg(long, value_enum)]
    canary: Option<crate::canary::Canary>,
}

/// A process is old after so much load, in simulated time: what it allocated is in use again, and maps have seeds.
const WARM_UP: Nanos = 5 * SECOND;

/// What a child tells its parent: one line of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// The invariant that was violated, and how.
    pub violation: Option<(String, String)>,
    /// What stays the same of it from run to run.
    pub fingerprint: String,
    pub step: u64,
    pub simulated: u64,
    pub hash: u64,
    pub acked_batches: u64,
    pub records_read: u64,
    #[serde(flatten)]
    pub dose: Counts,
    pub vacuous: bool,
    pub cpu_ms: u64,
    /// The most memory it had; 0 where the system does not say.
    #[serde(default)]
    pub peak_mib: u64,
    pub tuples: Vec<u64>,
    pub checkpoints: Vec<(u64, u64)>,
    pub text: String,
}

/// What happened in a run, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub landed: Vec<u64>,
    pub given: Vec<u64>,
    /// Snapshots of the metadata, and how many of them came from a leader.
    #[serde(default)]
    pub snapshots: [u64; 2],
}

pub(super) fn main(args: &ChildArgs) -> ExitCode {
    limit(Resource::As, args.memory << 20);
    limit(Resource::Cpu, args.cpu);
    let outcome = match outcome(args) {
        Ok(outcome) => outcome,
        Err(why) => return unusable(&why),
    };
    let told = told(&outcome);
    print(&told);
    if told.violation.is_some() { ExitCode::from(VIOLATED) } else { ExitCode::SUCCESS }
}

fn outcome(args: &ChildArgs) -> Result<Outcome, String> {
    let template = template(&args.which.file)?;
    let seed = args.which.seed.unwrap_or(0);
    let scenario = |seed| template.scenario(seed).map_err(|error| super::in_file(&args.which.file, &error));
    let window = args.window.first().copied().unwrap_or(0)..args.window.get(1).copied().unwrap_or(0);
    let options = RunOptions {
        digests: args.digests,
        window,
        planted: planted(args.which.plant)?,
        canary: args.canary,
        history_alone: args.history_alone,
    };
    panics::hook(|violation, step, now| print(&told_of(violation, step, now)));
    if let Some(other) = args.warm_up {
        let older = RunOptions { digests: false, window: 0..0, ..options };
        let mut other = scenario(other)?;
        other.duration = other.duration.min(WARM_UP);
        run(other, &older).map_err(|error| error.to_string())?;
    }
    let run = if args.branch > 0 {
        run_branching(scenario(seed)?, &options, args.branch)
    } else {
        run(scenario(seed)?, &options)
    };
    run.map_err(|error| format!("{}: [config]: {error}", args.which.file.display()))
}

pub(super) fn told(outcome: &Outcome) -> Told {
    let mut told = match &outcome.violation {
        Some(violation) => told_of(violation, outcome.steps, outcome.simulated),
        None => Told { step: outcome.steps, simulated: outcome.simulated, ..Told::default() },
    };
    told.hash = outcome.hash;
    told.acked_batches = outcome.acked_batches;
    told.records_read = outcome.records_read;
    let dose = &outcome.dose;
    let (landed, given) = (dose.landed().to_vec(), dose.given().to_vec());
    told.dose = Counts { landed, given, snapshots: dose.snapshots };
    told.vacuous = outcome.dose.is_vacuous(outcome.simulated, outcome.acked_batches);
    (told.cpu_ms, told.peak_mib) = (cpu_ms(), peak_mib());
    told.tuples.clone_from(&outcome.tuples);
    told.checkpoints.clone_from(&outcome.checkpoints);
    told.text.clone_from(&outcome.text);
    told
}

fn told_of(violation: &Violation, step: u64, simulated: u64) -> Told {
    Told {
        violation: Some((violation.invariant.to_owned(), violation.what.clone())),
        fingerprint: violation.fingerprint(),
        step,
        simulated,
        cpu_ms: cpu_ms(),
        ..Told::default()
    }
}

fn print(told: &Told) {
    if let Ok(line) = serde_json::to_string(told) {
        say(&line);
    }
}

fn limit(resource: Resource, value: u64) {
    let limit = Rlimit { current: Some(value), maximum: Some(value) };
    // Where limits cannot be set, the run is not worse for it.
    let _ = setrlimit(resource, limit);
}

/// CPU time of this process, past what madsim interposes.
fn cpu_ms() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1000 + time.tv_nsec / 1_000_000).unwrap_or(0)
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
