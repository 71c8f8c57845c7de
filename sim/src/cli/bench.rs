//! `ottla-sim bench`: how fast runs are, with all checkers on. Each is a process of its own, by default one at a time.

use std::process::ExitCode;

use clap::Args;

use super::child::Told;
use super::report::grouped;
use super::swarm::{SwarmArgs, Work, bar, child, work};
use super::{VIOLATED, parallel, say, unusable};
use crate::time::SECOND;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    swarm: SwarmArgs,
}

pub(super) fn main(args: &BenchArgs) -> ExitCode {
    match bench(&args.swarm) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(VIOLATED),
        Err(why) => unusable(&why),
    }
}

fn bench(args: &SwarmArgs) -> Result<bool, String> {
    let work: Vec<Work> = work(args)?.into_iter().filter(|work| work.counts).collect();
    let bar = bar(work.len(), 0);
    let told = parallel::map(&work, Some(args.jobs.unwrap_or(1)), |work| {
        let told = child(args, work);
        bar.inc(1);
        told
    });
    bar.finish_and_clear();
    let paths: Vec<String> = args.paths.iter().map(|path| path.display().to_string()).collect();
    say(&format!("{:<42} {:>11} {:>11} {:>11}", paths.join(" "), "median", "least", "most"));
    let a_cpu_second = |count: u64, told: &Told| count * 1000 / told.cpu_ms.max(1);
    line("steps a CPU second", &told, |told| a_cpu_second(told.step, told));
    line("acknowledged batches a CPU second", &told, |told| a_cpu_second(told.acked_batches, told));
    line("simulated seconds a CPU second", &told, |told| a_cpu_second(told.simulated / SECOND, told));
    line("acknowledged batches a simulated second", &told, |told| {
        told.acked_batches / (told.simulated / SECOND).max(1)
    });
    line("memory, MiB", &told, |told| told.peak_mib);
    let an_hour = |count: u64| grouped(count * 3_600_000 / told.iter().map(|told| told.cpu_ms).sum::<u64>().max(1));
    let counted = told.iter().filter(|told| !told.vacuous).count() as u64;
    say(&format!("{:<42} {:>11}", "simulated seconds a CPU hour, all", an_hour(seconds(&told))));
    say(&format!("{:<42} {:>11}", format!("counted seeds a CPU hour, {counted} of {}", told.len()), an_hour(counted)));
    let violations = told.iter().filter_map(|told| told.violation.as_ref());
    Ok(violations.inspect(|(code, what)| say(&format!("VIOLATION   {code}: {what}"))).count() == 0)
}

fn seconds(told: &[Told]) -> u64 {
    told.iter().map(|told| told.simulated / SECOND).sum()
}

fn line(what: &str, told: &[Told], measure: impl Fn(&Told) -> u64) {
    let mut values: Vec<u64> = told.iter().map(measure).collect();
    values.sort_unstable();
    let at = |index: usize| values.get(index).map_or_else(String::new, |value| grouped(*value));
    let (median, most) = (at(values.len() / 2), at(values.len().saturating_sub(1)));
    say(&format!("{what:<42} {median:>11} {:>11} {most:>11}", at(0)));
}
