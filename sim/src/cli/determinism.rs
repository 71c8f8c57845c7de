//! `ottla-sim check-determinism`: each seed in a young process, and then, with every build that is given, in one
//! that has made another run before. All that is told of them must be the same. The canaries prove that a
//! difference would be seen.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use super::child::Told;
use super::swarm::{Seeds, SwarmArgs, Work, bar, told_by, work};
use super::{VIOLATED, parallel, report, say, unusable};
use crate::canary::Canary;
use crate::trace::DIGEST_STEPS;

#[derive(Debug, Args)]
pub(super) struct DeterminismArgs {
    #[command(flatten)]
    swarm: SwarmArgs,
    /// The same program, built otherwise; may be given several times.
    #[arg(long)]
    other: Vec<PathBuf>,
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

/// The builds that are compared, and how.
struct Pair<'a> {
    exe: &'a Path,
    others: &'a [PathBuf],
    args: &'a SwarmArgs,
}

/// What became of one seed.
struct Compared {
    steps: u64,
    /// Whether a hash says that all of it was the same. A run that panics has none.
    hashed: bool,
    differing: usize,
}

fn check(args: &DeterminismArgs) -> Result<bool, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let others = if args.other.is_empty() { vec![exe.clone()] } else { args.other.clone() };
    let pair = Pair { exe: &exe, others: &others, args: &args.swarm };
    let work = work(&args.swarm)?;
    let bar = bar(work.len(), 0);
    let seeds = parallel::map(&work, args.swarm.jobs, |work| {
        let young = pair.young(work, &[]);
        let differences = others.iter().filter_map(|other| pair.difference(other, work, &young));
        let differing = differences.map(|text| bar.suspend(|| say(&text))).count();
        bar.inc(1);
        Compared { steps: young.step, hashed: young.hash != 0, differing }
    });
    bar.finish_and_clear();
    let steps: u64 = seeds.iter().map(|seed| seed.steps).sum();
    let differing = seeds.iter().filter(|seed| seed.differing > 0).count();
    let hashed = seeds.iter().filter(|seed| seed.hashed && seed.differing == 0).count();
    say(&format!(
        "{} seeds in {} processes each, {} steps: {hashed} have one hash, {differing} differ, {} have none",
        work.len(),
        1 + others.len(),
        report::grouped(steps),
        work.len() - hashed - differing,
    ));
    Ok(pair.canaries()? && differing == 0 && hashed > 0)
}

impl Pair<'_> {
    fn young(&self, work: &Work, more: &[&str]) -> Told {
        self.run(self.exe, work, more)
    }

    /// In a process that has made another run before.
    fn old(&self, exe: &Path, work: &Work, more: &[&str]) -> Told {
        self.run(exe, work, &[&["--warm-up", "12345"], more].concat())
    }

    fn run(&self, exe: &Path, work: &Work, more: &[&str]) -> Told {
        let mut command = Command::new(exe);
        command.arg("child").arg(&work.file).args(["--seed", &work.seed.to_string(), "--digests"]).args(more);
        command.args(["--memory", &self.args.memory.to_string(), "--cpu", &self.args.cpu.to_string()]);
        Told { cpu_ms: 0, ..told_by(&mut command) }
    }

    /// What differs in a run of another build, and from which step on.
    fn difference(&self, other: &Path, work: &Work, young: &Told) -> Option<String> {
        let old = self.old(other, work, &[]);
        if old == *young {
            return None;
        }
        let same = young.checkpoints.iter().zip(&old.checkpoints).take_while(|(one, two)| one == two);
        let from = same.last().map_or(0, |((step, _), _)| *step);
        let window = ["--window".to_owned(), from.to_string(), (from + 2 * DIGEST_STEPS).to_string()];
        let window: Vec<&str> = window.iter().map(String::as_str).collect();
        let what = first_difference(&self.young(work, &window), &self.old(other, work, &window));
        Some(format!(
            "DIFFERENT   {} seed {:#x}, {}: {:016x} and {:016x}, the same up to step {from}\n{what}",
            work.file.display(),
            work.seed,
            other.display(),
            young.hash,
            old.hash,
        ))
    }

    /// Every canary must be heard in every build.
    fn canaries(&self) -> Result<bool, String> {
        let seeds = Seeds { count: CANARY_SEEDS, ..self.args.seeds };
        let work = work(&SwarmArgs { seeds, ..self.args.clone() })?;
        let mut all = true;
        for canary in Canary::ALL {
            let name = clap::ValueEnum::to_possible_value(&canary).map(|value| value.get_name().to_owned());
            let name = name.unwrap_or_default();
            let sing = ["--canary", &name];
            let deaf = self.others.iter().find(|other| {
                let heard = |work| self.young(work, &sing).hash != self.old(other, work, &sing).hash;
                !work.iter().any(heard)
            });
            match deaf {
                None => say(&format!("canary {name}: reported")),
                Some(other) => say(&format!("canary {name}: NOT REPORTED by {}", other.display())),
            }
            all &= deaf.is_none();
        }
        Ok(all)
    }
}

/// The first step that differs, as each run has it. Both were asked for each step's hash and text.
fn first_difference(one: &Told, two: &Told) -> String {
    let mut hashes = one.checkpoints.iter().zip(&two.checkpoints);
    let step = hashes.find(|(one, two)| one != two).map(|((one, _), (two, _))| *one.min(two));
    let Some(step) = step else {
        return format!("  {}\n  {}", ended(one), ended(two));
    };
    let (one, two) = (text_of(&one.text, step), text_of(&two.text, step));
    if one == two {
        return format!("{one}  the text is the same; the bytes, memory or disk differ");
    }
    format!("{one}and\n{two}")
}

/// The lines of one step: that of the step itself begins with its number, those of its effects with a space.
fn text_of(text: &str, step: u64) -> String {
    let number = |line: &str| line.split(' ').next().and_then(|word| word.parse::<u64>().ok());
    let from = text.lines().skip_while(|line| number(line) != Some(step));
    let lines = from.take_while(|line| number(line).is_none_or(|number| number == step));
    lines.map(|line| format!("  {line}\n")).collect()
}

fn ended(told: &Told) -> String {
    let how = told.violation.as_ref().map_or("no violation".to_owned(), |(name, what)| format!("{name}: {what}"));
    format!("step {}, {} s, {how}", told.step, report::seconds(told.simulated))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(checkpoints: &[(u64, u64)], text: &str) -> Told {
        Told { checkpoints: checkpoints.to_vec(), text: text.into(), ..Told::default() }
    }

    #[test]
    fn the_first_step_that_differs_is_shown() {
        let one = told(&[(7, 1), (8, 2), (9, 3)], "7 a\n    -> b\n8 c\n    -> d\n9 e\n");
        let two = told(&[(7, 1), (8, 4), (9, 5)], "7 a\n    -> b\n8 c\n    -> x\n9 e\n");
        assert_eq!(first_difference(&one, &two), "  8 c\n      -> d\nand\n  8 c\n      -> x\n");
    }

    #[test]
    fn a_step_may_differ_in_what_its_text_does_not_show() {
        let one = told(&[(7, 1), (8, 2)], "7 a\n8 c\n");
        let two = told(&[(7, 1), (8, 3)], "7 a\n8 c\n");
        assert!(first_difference(&one, &two).starts_with("  8 c\n  the text is the same"));
    }

    #[test]
    fn runs_may_differ_in_their_end_alone() {
        let one = Told { step: 5, ..told(&[], "") };
        let two = Told { violation: Some(("panic".into(), "why".into())), ..one.clone() };
        assert_eq!(first_difference(&one, &two), "  step 5, 0.000 s, no violation\n  step 5, 0.000 s, panic: why");
    }
}
