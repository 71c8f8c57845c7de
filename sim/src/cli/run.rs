//! `ottla-sim run`: one seed, in this process.

use std::process::ExitCode;

use clap::Args;

use super::child::{Told, told};
use super::{VIOLATED, Which, commit, in_file, planted, report, say, template, unusable};
use crate::panics;
use crate::run::{RunOptions, run};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    which: Which,
    /// Write out every step.
    #[arg(long)]
    trace: bool,
    /// Write out the steps from this one …
    #[arg(long, requires = "to")]
    from: Option<u64>,
    /// … up to this one, and everything in them.
    #[arg(long)]
    to: Option<u64>,
    /// The commit that the seed was seen with; another is pointed out.
    #[arg(long)]
    commit: Option<String>,
    /// The digest of the file that the seed was seen with; another is an error.
    #[arg(long, value_parser = super::seed)]
    digest: Option<u64>,
}

pub(super) fn main(args: &RunArgs) -> ExitCode {
    match told_by(args) {
        Ok(told) if told.violation.is_some() => ExitCode::from(VIOLATED),
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => unusable(&why),
    }
}

fn told_by(args: &RunArgs) -> Result<Told, String> {
    let template = template(&args.which.file)?;
    if let Some(digest) = args.digest.filter(|digest| *digest != template.digest()) {
        let why = format!("{} has changed: its digest is {:#x}", args.which.file.display(), template.digest());
        return Err(format!("{why}, and the run was of {digest:#x}"));
    }
    let here = commit::short();
    if let Some(commit) = args.commit.as_ref().filter(|commit| !here.starts_with(commit.trim_end_matches('+'))) {
        say(&format!("note: the seed was seen at commit {commit}, and this is {here}"));
    }
    let seed = args.which.seed.unwrap_or_else(commit::seed);
    let scenario = template.scenario(seed).map_err(|error| in_file(&args.which.file, &error))?;
    let seed = scenario.run_seed;
    let options = RunOptions {
        window: if args.trace { 0..u64::MAX } else { args.from.unwrap_or(0)..args.to.unwrap_or(0) },
        planted: planted(args.which.plant)?,
        ..RunOptions::default()
    };
    let reproduce = report::reproduce(&args.which.file, seed, template.digest(), args.which.plant);
    let line = reproduce.clone();
    panics::hook(move |violation, step, now| {
        let what = (violation.invariant.to_owned(), violation.what.clone());
        say(&report::violation(&what, step, now, &line));
    });
    let outcome = run(scenario, &options);
    let outcome = outcome.map_err(|error| format!("{}: [config]: {error}", args.which.file.display()))?;
    let told = told(&outcome);
    if !told.text.is_empty() {
        say(told.text.trim_end());
    }
    say(&report::run(&args.which.file, seed, &told));
    if let Some(what) = &told.violation {
        say(&report::violation(what, told.step, told.simulated, &reproduce));
    }
    Ok(told)
}
