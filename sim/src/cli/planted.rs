//! `ottla-sim planted`: how soon the swarm finds each planted bug.
//!
//! For each bug: its witness script must violate an invariant; then seeds of the general swarm, until enough
//! detections or the last seed. A detection counts only if the same seed passes without the bug.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;
use ottla_core::planted::Plant;

use super::child::Told;
use super::swarm::{SwarmArgs, Work, told_by, work};
use super::{VIOLATED, report, say, unusable};

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

/// What was found of one bug.
#[derive(Default)]
struct Found {
    seeds: usize,
    detections: usize,
    cpu_ms: u64,
    invariants: Vec<String>,
    history_alone: usize,
}

pub(super) fn main(args: &PlantedArgs) -> ExitCode {
    if cfg!(not(feature = "planted-bugs")) {
        return unusable("no bug is in this build: build with --features planted-bugs");
    }
    match measure(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(VIOLATED),
        Err(why) => unusable(&why),
    }
}

fn measure(args: &PlantedArgs) -> Result<bool, String> {
    let work = work(&args.swarm)?;
    let plants: Vec<Plant> = if args.only.is_empty() { Plant::ALL.to_vec() } else { args.only.clone() };
    let header =
        ["bug", "witness", "found", "of seeds", "probability", "95 % interval", "CPU-s each", "seen by", "history"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut good = true;
    for plant in plants {
        let witness = witness(args, plant);
        let found = search(args, &work, plant);
        good &= found.detections > 0 && witness != "-";
        rows.push(row(plant, &witness, &found));
        say(report::table(&rows[rows.len() - 1..]).trim_end());
    }
    say("");
    say(report::table(&rows).trim_end());
    Ok(good)
}

/// The invariant that the witness violates; `-` if there is none, or it shows nothing.
fn witness(args: &PlantedArgs, plant: Plant) -> String {
    let file = args.witnesses.join(format!("{plant}.toml"));
    if !file.exists() {
        return "-".into();
    }
    let planted = run(&file, 1, Some(plant), args);
    let plain = run(&file, 1, None, args);
    match (planted.violation, plain.violation) {
        (Some((invariant, _)), None) => invariant,
        _ => "-".into(),
    }
}

fn search(args: &PlantedArgs, work: &[Work], plant: Plant) -> Found {
    let mut found = Found::default();
    let jobs = args.swarm.jobs.unwrap_or(2).max(1);
    for chunk in work.chunks(jobs * 4) {
        let told = super::parallel::map(chunk, Some(jobs), |work| {
            let planted = run(&work.file, work.seed, Some(plant), args);
            let detected = planted.violation.is_some() && {
                let plain = run(&work.file, work.seed, None, args);
                plain.violation.is_none()
            };
            (planted, detected)
        });
        for (planted, detected) in told {
            found.take(&planted, detected);
        }
        if found.detections >= args.enough {
            break;
        }
    }
    found
}

fn run(file: &PathBuf, seed: u64, plant: Option<Plant>, args: &PlantedArgs) -> Told {
    let Ok(exe) = std::env::current_exe() else { return Told::default() };
    let mut command = Command::new(exe);
    command.arg("child").arg(file).args(["--seed", &seed.to_string(), "--cpu", &args.swarm.cpu.to_string()]);
    if let Some(plant) = plant {
        command.args(["--plant", plant.id()]);
    }
    told_by(&mut command)
}

impl Found {
    fn take(&mut self, planted: &Told, detected: bool) {
        self.seeds += 1;
        self.cpu_ms += planted.cpu_ms;
        let Some((invariant, _)) = planted.violation.as_ref().filter(|_| detected) else { return };
        self.detections += 1;
        // The rules of the client history have names; the others have codes.
        const HISTORY: [&str; 4] = ["inconsistent-offsets", "duplicate", "lost-write", "nonmonotonic-poll"];
        self.history_alone += usize::from(HISTORY.contains(&invariant.as_str()));
        if !self.invariants.contains(invariant) {
            self.invariants.push(invariant.clone());
        }
    }
}

fn row(plant: Plant, witness: &str, found: &Found) -> Vec<String> {
    let share = found.detections as f64 / found.seeds.max(1) as f64;
    let (low, high) = interval(found.detections, found.seeds);
    let each = found.cpu_ms as f64 / 1000.0 / found.detections.max(1) as f64;
    vec![
        plant.to_string(),
        witness.to_owned(),
        found.detections.to_string(),
        found.seeds.to_string(),
        format!("{share:.3}"),
        format!("{low:.3} to {high:.3}"),
        if found.detections == 0 { "-".into() } else { format!("{each:.1}") },
        if found.invariants.is_empty() { "nobody".into() } else { found.invariants.join(" ") },
        if found.history_alone > 0 { format!("{}", found.history_alone) } else { "-".into() },
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
