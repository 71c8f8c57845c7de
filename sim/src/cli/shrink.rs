//! `ottla-sim shrink`: makes a failing scenario as small as it goes.
//!
//! It works on the exact file: events are taken away, and a cut is accepted if one of some fresh seeds still
//! fails with the same fingerprint. Trouble goes first, load last.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use toml::{Table, Value};

use super::child::Told;
use super::swarm::told_by;
use super::{VIOLATED, Which, commit, in_file, report, say, template, unusable};
use crate::draw::{Draws, Label};
use crate::scenario::{Scenario, Template};

#[derive(Debug, Args)]
pub(super) struct ShrinkArgs {
    #[command(flatten)]
    which: Which,
    /// Where the small scenario goes.
    #[arg(long, short, default_value = "shrunk.toml")]
    output: PathBuf,
    /// With how many fresh seeds a cut is tried.
    #[arg(long, default_value_t = 40)]
    tries: u64,
}

pub(super) fn main(args: &ShrinkArgs) -> ExitCode {
    match shrink(args) {
        Ok(true) => ExitCode::from(VIOLATED),
        Ok(false) => {
            say("nothing to shrink: this seed violates nothing");
            ExitCode::SUCCESS
        }
        Err(why) => unusable(&why),
    }
}

/// A scenario that fails, and how.
struct Failing {
    exact: Table,
    told: Told,
}

struct Shrinker<'a> {
    args: &'a ShrinkArgs,
    fingerprint: String,
    attempt: PathBuf,
}

fn shrink(args: &ShrinkArgs) -> Result<bool, String> {
    let template = template(&args.which.file)?;
    let seed = args.which.seed.unwrap_or_else(commit::seed);
    let exact = template.expand(seed).map_err(|error| in_file(&args.which.file, &error))?;
    let attempt = args.output.with_extension("attempt.toml");
    let mut shrinker = Shrinker { args, fingerprint: String::new(), attempt };
    let told = shrinker.run(&exact)?;
    if told.violation.is_none() {
        return Ok(false);
    }
    shrinker.fingerprint.clone_from(&told.fingerprint);
    let mut failing = Failing { exact, told };
    let before = events(&failing.exact).len();
    shrinker.shrink_events(&mut failing)?;
    write(&args.output, &failing.exact)?;
    let _ = fs::remove_file(&shrinker.attempt);
    let after = events(&failing.exact).len();
    say(&format!("{before} events are {after} now, in {}", args.output.display()));
    let text = fs::read_to_string(&args.output).map_err(|error| error.to_string())?;
    let small = Template::parse(&text).map_err(|error| in_file(&args.output, &error))?;
    let seed = small.scenario(0).map_err(|error| in_file(&args.output, &error))?.run_seed;
    let reproduce = report::reproduce(&args.output, seed, small.digest(), args.which.plant);
    if let Some(what) = &failing.told.violation {
        say(&report::violation(what, failing.told.step, failing.told.simulated, &reproduce));
    }
    Ok(true)
}

impl Shrinker<'_> {
    /// Takes events away, in halves, quarters and so on, down to one at a time.
    fn shrink_events(&self, failing: &mut Failing) -> Result<(), String> {
        let mut size = events(&failing.exact).len().div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < events(&failing.exact).len() {
                let mut fewer = failing.exact.clone();
                let mut kept = order(events(&fewer));
                kept.drain(start..(start + size).min(kept.len()));
                fewer.insert("event".into(), Value::Array(kept));
                match self.still_fails(&fewer)? {
                    Some(smaller) => *failing = smaller,
                    None => start += size,
                }
            }
            size /= 2;
        }
        Ok(())
    }

    /// Tries the scenario with its own seed and with fresh ones.
    fn still_fails(&self, exact: &Table) -> Result<Option<Failing>, String> {
        let own = Scenario::from_exact(exact.clone()).map_err(|error| error.to_string())?.run_seed;
        for turn in 0..=self.args.tries {
            let seed = if turn == 0 { own } else { Draws::new(own).at(Label::RunSeed, turn, 1).bits() };
            let mut exact = exact.clone();
            exact.insert("run_seed".into(), Value::String(format!("{seed:#018x}")));
            let told = self.run(&exact)?;
            if told.violation.is_some() && told.fingerprint == self.fingerprint {
                return Ok(Some(Failing { exact, told }));
            }
        }
        Ok(None)
    }

    fn run(&self, exact: &Table) -> Result<Told, String> {
        write(&self.attempt, exact)?;
        let exe = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(exe);
        command.arg("child").arg(&self.attempt);
        if let Some(plant) = self.args.which.plant {
            command.args(["--plant", plant.id()]);
        }
        Ok(told_by(&mut command))
    }
}

fn events(exact: &Table) -> &[Value] {
    exact.get("event").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Trouble first, so that it is taken away first.
fn order(events: &[Value]) -> Vec<Value> {
    const LOAD: [&str; 4] = ["produce", "read", "admin", "raw"];
    let is_load = |event: &Value| LOAD.iter().any(|name| event.get(name).is_some());
    let (load, mut trouble): (Vec<Value>, Vec<Value>) = events.iter().cloned().partition(is_load);
    trouble.extend(load);
    trouble
}

fn write(path: &Path, exact: &Table) -> Result<(), String> {
    let text = toml::to_string(exact).map_err(|error| error.to_string())?;
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
