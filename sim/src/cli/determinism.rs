//! `ottla-sim check-determinism`: each seed twice, in a young process and in one that has run another seed
//! before, and with another binary if there is one. Every digest must be the same. The canaries prove that
//! a difference would be seen.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;

use super::child::Told;
use super::swarm::{Seeds, SwarmArgs, Work, told_by, work};
use super::{VIOLATED, report, say, unusable};
use crate::canary::Canary;

#[derive(Debug, Args)]
pub(super) struct DeterminismArgs {
    #[command(flatten)]
    swarm: SwarmArgs,
    /// The same program, built otherwise.
    #[arg(long)]
    other: Option<PathBuf>,
}

/// How many seeds are run with each canary.
const CANARY_SEEDS: usize = 3;

pub(super) fn main(args: &DeterminismArgs) -> ExitCode {
    match check(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(VIOLATED),
        Err(why) => unusable(&why),
    }
}

fn check(args: &DeterminismArgs) -> Result<bool, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let other = args.other.clone().unwrap_or_else(|| exe.clone());
    let work = work(&args.swarm)?;
    let pair = |work: &Work| (run(&exe, work, &[]), run(&other, work, &["--warm-up", "12345"]));
    let mut differing = 0;
    let pairs = super::parallel::map(&work, args.swarm.jobs, |work| {
        let (young, old) = pair(work);
        (young.hash, young.checkpoints == old.checkpoints && young.hash == old.hash, young, old)
    });
    for (work, (_, same, young, old)) in work.iter().zip(&pairs) {
        if !same {
            differing += 1;
            say(&difference(&exe, &other, work, young, old));
        }
    }
    let steps: u64 = pairs.iter().map(|(_, _, told, _)| told.step).sum();
    say(&format!("{} seeds twice, {} steps, {differing} differ", work.len(), report::grouped(steps)));
    let heard = canaries(&exe, &other, args)?;
    Ok(differing == 0 && heard)
}

fn run(exe: &PathBuf, work: &Work, more: &[&str]) -> Told {
    let mut command = Command::new(exe);
    command.arg("child").arg(&work.file).args(["--seed", &work.seed.to_string(), "--digests"]).args(more);
    told_by(&mut command)
}

/// The first step that differs, with both texts.
fn difference(exe: &PathBuf, other: &PathBuf, work: &Work, young: &Told, old: &Told) -> String {
    let same = young.checkpoints.iter().zip(&old.checkpoints).take_while(|(one, two)| one == two);
    let from = same.last().map_or(0, |((step, _), _)| *step);
    let window = ["--window".to_owned(), from.to_string(), (from + 2 * crate::trace::DIGEST_STEPS).to_string()];
    let window: Vec<&str> = window.iter().map(String::as_str).collect();
    let one = run(exe, work, &window);
    let two = run(other, work, &[&window[..], &["--warm-up", "12345"]].concat());
    let line = one.text.lines().zip(two.text.lines()).find(|(one, two)| one != two);
    let (first, second) = line.unwrap_or(("the same text: memory or disk differ", ""));
    format!(
        "DIFFERENT   {} seed {:#x}: {:016x} and {:016x}, after step {from}\n  {first}\n  {second}",
        work.file.display(),
        work.seed,
        young.hash,
        old.hash
    )
}

/// Every canary must be heard.
fn canaries(exe: &PathBuf, other: &PathBuf, args: &DeterminismArgs) -> Result<bool, String> {
    let seeds = Seeds { count: CANARY_SEEDS, ..args.swarm.seeds };
    let work = work(&SwarmArgs { seeds, ..args.swarm.clone() })?;
    let mut all = true;
    for canary in Canary::ALL {
        let name = clap::ValueEnum::to_possible_value(&canary).map(|value| value.get_name().to_owned());
        let name = name.unwrap_or_default();
        let heard = work.iter().any(|work| {
            let young = run(exe, work, &["--canary", &name]);
            let old = run(other, work, &["--canary", &name, "--warm-up", "12345"]);
            young.hash != old.hash
        });
        say(&format!("canary {name}: {}", if heard { "reported" } else { "NOT REPORTED" }));
        all &= heard;
    }
    Ok(all)
}
