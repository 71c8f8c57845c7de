//! `ottla-sim expand`: the exact scenario of a seed, to be edited and run.

use std::process::ExitCode;

use clap::Args;

use super::{Which, commit, in_file, say, template, unusable};
use crate::scenario::Scenario;

#[derive(Debug, Args)]
pub(super) struct ExpandArgs {
    #[command(flatten)]
    which: Which,
}

pub(super) fn main(args: &ExpandArgs) -> ExitCode {
    match exact(args) {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(why) => unusable(&why),
    }
}

fn exact(args: &ExpandArgs) -> Result<String, String> {
    let template = template(&args.which.file)?;
    let seed = args.which.seed.unwrap_or_else(commit::seed);
    let exact = template.expand(seed).map_err(|error| in_file(&args.which.file, &error))?;
    Scenario::from_exact(exact.clone()).map_err(|error| in_file(&args.which.file, &error))?;
    toml::to_string(&exact).map_err(|error| error.to_string())
}
