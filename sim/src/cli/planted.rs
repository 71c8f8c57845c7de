//! `ottla-sim planted`: how soon the swarm finds each planted bug.
//!
//! For each bug: its witness script must violate the invariant that it names; then seeds of the general swarm,
//! until enough detections or the last seed. A detection counts only if the same seed passes without the bug. Each
//! is judged once more by the client history alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread::available_parallelism;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ottla_core::planted::Plant;

use super::child::Told;
use super::swarm::{SwarmArgs, Work, told_by, work};
use super::{VIOLATED, report, say, template, unusable};

#[derive(Debug, Args)]
pub(super) struct PlantedArgs {
    #[command(flatten)]
    swarm: SwarmArgs,
    /// Only these bugs.
    #[arg(long = "only", value_parser = super::plant)]
    only: Vec<Plant>,
    /// So many detections are enough.
    #[arg(long, default_value_t = 20)]
    enough: usize,
    /// Where the witness scripts lie: one a bug, `LOG-01.toml`.
    #[arg(long, default_value = "scenarios/witness")]
    witnesses: PathBuf,
}

/// The rules of the client history: what a test sees that has nothing but clients.
const HISTORY: [&str; 15] = [
    "inconsistent-offsets",
    "duplicate",
    "lost-write",
    "C1",
    "nonmonotonic-poll",
    "G1",
    "G2",
    "G3",
    "G4",
    "G5",
    "G7",
    "G8",
    "G9",
    "G10",
    "group-skip",
];

/// What was found of one bug.
#[derive(Default)]
struct Found {
    seeds: usize,
    detections: usize,
    cpu_ms: u64,
    /// How often each invariant was the first to fire.
    invariants: BTreeMap<String, usize>,
    history_alone: usize,
}

/// What one seed showed of a bug.
struct Shown {
    cpu_ms: u64,
    /// The invariant that fired, if the same seed passes without the bug.
    invariant: Option<String>,
    /// Whether the client history alone would have shown it.
    history_alone: bool,
}

/// The measurement: what does not change from bug to bug.
struct Measure<'a> {
    args: &'a PlantedArgs,
    work: Vec<Work>,
    /// Whether a seed passes without a bug, where that is known.
    passes: Mutex<BTreeMap<(PathBuf, u64), bool>>,
}

pub(super) fn main(args: &PlantedArgs) -> ExitCode {
    if cfg!(not(feature = "planted-bugs")) {
        return unusable("no bug is in this build: build with --features planted-bugs");
    }
    let measured = work(&args.swarm).and_then(|mut work| {
        work.retain(|work| work.counts);
        let measure = Measure { args, work, passes: Mutex::default() };
        measure.all()
    });
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(VIOLATED),
        Err(why) => unusable(&why),
    }
}

impl Measure<'_> {
    /// Every bug; answers whether each has its witness and is detected.
    fn all(&self) -> Result<bool, String> {
        let plants = if self.args.only.is_empty() { Plant::ALL } else { &self.args.only[..] };
        let header =
            ["bug", "witness", "found", "of seeds", "probability", "95 % interval", "CPU-s each", "history", "seen by"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        let mut good = true;
        for (done, plant) in plants.iter().enumerate() {
            let witness = self.witness(*plant)?;
            let found = self.search(*plant, &format!("{plant}, {} of {}", done + 1, plants.len()));
            good &= found.detections > 0 && witness.is_some();
            rows.push(row(*plant, witness, &found));
            say(report::table(&rows[rows.len() - 1..]).trim_end());
        }
        say("");
        say(report::table(&rows).trim_end());
        Ok(good)
    }

    /// The invariant that the witness names and violates; `None` if there is no witness, or it shows anything else.
    fn witness(&self, plant: Plant) -> Result<Option<String>, String> {
        let file = self.args.witnesses.join(format!("{plant}.toml"));
        if !file.exists() {
            return Ok(None);
        }
        let template = template(&file)?;
        if template.plant() != Some(plant.id()) {
            return Err(format!("{}: is not the witness of {plant}", file.display()));
        }
        let planted = self.run(&file, 1, Some(plant), false).violation.map(|(invariant, _)| invariant);
        let passes = self.run(&file, 1, None, false).violation.is_none();
        Ok(planted.filter(|invariant| passes && template.expects().contains(invariant)))
    }

    /// Seeds of the swarm, until there are enough detections.
    fn search(&self, plant: Plant, what: &str) -> Found {
        let mut found = Found::default();
        let jobs = self.args.swarm.jobs.or_else(|| available_parallelism().ok().map(Into::into)).unwrap_or(1).max(1);
        let bar = ProgressBar::new(self.work.len() as u64);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds of {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        for chunk in self.work.chunks(jobs * 2) {
            bar.set_message(format!("{what}, {} detections", found.detections));
            for shown in super::parallel::map(chunk, Some(jobs), |work| self.show(work, plant)) {
                found.take(shown);
                bar.inc(1);
            }
            if found.detections >= self.args.enough {
                break;
            }
        }
        bar.finish_and_clear();
        found
    }

    fn show(&self, work: &Work, plant: Plant) -> Shown {
        let told = self.run(&work.file, work.seed, Some(plant), false);
        let violated = told.violation.map(|(invariant, _)| invariant);
        let invariant = violated.filter(|_| self.passes(work));
        let alone = || self.run(&work.file, work.seed, Some(plant), true).violation;
        let history_alone =
            invariant.is_some() && alone().is_some_and(|(invariant, _)| HISTORY.contains(&invariant.as_str()));
        Shown { cpu_ms: told.cpu_ms, invariant, history_alone }
    }

    /// Whether a seed violates nothing without a bug.
    fn passes(&self, work: &Work) -> bool {
        let key = (work.file.clone(), work.seed);
        if let Some(known) = self.passes.lock().ok().and_then(|passes| passes.get(&key).copied()) {
            return known;
        }
        let passes = self.run(&work.file, work.seed, None, false).violation.is_none();
        if let Ok(mut known) = self.passes.lock() {
            known.insert(key, passes);
        }
        passes
    }

    fn run(&self, file: &Path, seed: u64, plant: Option<Plant>, history_alone: bool) -> Told {
        let Ok(exe) = std::env::current_exe() else { return Told::default() };
        let mut command = Command::new(exe);
        let cpu = self.args.swarm.cpu.to_string();
        command.arg("child").arg(file).args(["--seed", &seed.to_string(), "--cpu", &cpu]);
        if let Some(plant) = plant {
            command.args(["--plant", plant.id()]);
        }
        if history_alone {
            command.arg("--history-alone");
        }
        told_by(&mut command)
    }
}

impl Found {
    fn take(&mut self, shown: Shown) {
        self.seeds += 1;
        self.cpu_ms += shown.cpu_ms;
        let Some(invariant) = shown.invariant else { return };
        self.detections += 1;
        self.history_alone += usize::from(shown.history_alone);
        *self.invariants.entry(invariant).or_default() += 1;
    }

    /// Which invariants fired, the most frequent first.
    fn seen_by(&self) -> String {
        let mut seen: Vec<(&String, &usize)> = self.invariants.iter().collect();
        seen.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let seen: Vec<String> = seen.iter().map(|(invariant, count)| format!("{invariant} {count}")).collect();
        if seen.is_empty() { "nobody".into() } else { seen.join(", ") }
    }
}

fn row(plant: Plant, witness: Option<String>, found: &Found) -> Vec<String> {
    let share = found.detections as f64 / found.seeds.max(1) as f64;
    let (low, high) = interval(found.detections, found.seeds);
    let each = found.cpu_ms as f64 / 1000.0 / found.detections.max(1) as f64;
    vec![
        plant.to_string(),
        witness.unwrap_or_else(|| "none".into()),
        found.detections.to_string(),
        found.seeds.to_string(),
        format!("{share:.3}"),
        format!("{low:.3} to {high:.3}"),
        if found.detections == 0 { "-".into() } else { format!("{each:.1}") },
        format!("{} of {}", found.history_alone, found.detections),
        found.seen_by(),
    ]
}

/// The exact (Clopper-Pearson) 95 % interval of a probability, by bisection.
fn interval(hits: usize, seeds: usize) -> (f64, f64) {
    if seeds == 0 {
        return (0.0, 1.0);
    }
    // P(at least `hits`) grows with p, P(at most `hits`) falls.
    let low = if hits == 0 { 0.0 } else { bisect(|p| 1.0 - at_most(hits - 1, seeds, p) < 0.025) };
    let high = if hits == seeds { 1.0 } else { bisect(|p| at_most(hits, seeds, p) > 0.025) };
    (low, high)
}

/// The greatest p for which `holds`, which holds below some p and not above.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// P(X <= hits) for X of a binomial distribution.
fn at_most(hits: usize, seeds: usize, p: f64) -> f64 {
    let mut sum = 0.0;
    let mut log_choose = 0.0_f64;
    for k in 0..=hits {
        if k > 0 {
            log_choose += ((seeds - k + 1) as f64).ln() - (k as f64).ln();
        }
        let log = log_choose + k as f64 * p.max(1e-300).ln() + (seeds - k) as f64 * (1.0 - p).max(1e-300).ln();
        sum += log.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        let close = |(low, high): (f64, f64), want: (f64, f64)| {
            assert!((low - want.0).abs() < 0.0005 && (high - want.1).abs() < 0.0005, "{low} {high}");
        };
        close(interval(0, 10), (0.0, 0.3085));
        close(interval(5, 10), (0.1871, 0.8129));
        close(interval(20, 20), (0.8316, 1.0));
        close(interval(3, 400), (0.0015, 0.0218));
    }
}
