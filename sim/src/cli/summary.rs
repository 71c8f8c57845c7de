//! What a swarm proved: how many seeds counted, what landed, and where loss was expected and seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::child::Told;
use super::swarm::{Ended, Work};
use super::{report, say};
use crate::dose::FLOOR;
use crate::faults::Class;

/// With so many seeds shares are no chance any more: the swarm fails if they are not what they must be.
const ENOUGH: usize = 1000;
/// The most vacuous seeds, in a hundred.
const MOST_VACUOUS: usize = 5;
/// The least seeds that each class of faults lands in, in a hundred.
const LEAST_LANDED: usize = 20;

/// Prints what all of it proved; answers whether it is good. `fresh` runs took `seconds`.
pub(super) fn print(all: &[Ended], work: &[Work], fresh: usize, seconds: f64) -> bool {
    let of: BTreeMap<(&PathBuf, u64), &Work> = work.iter().map(|work| ((&work.file, work.seed), work)).collect();
    let known = |ended: &Ended| of.get(&(&ended.file, ended.seed)).copied();
    let violated = |ended: &&Ended| {
        let violation = ended.told.violation.as_ref();
        violation.is_some_and(|(name, _)| !known(ended).is_some_and(|work| work.expect.contains(name)))
    };
    let violations = all.iter().filter(violated).count();
    let counting: Vec<&Ended> = all.iter().filter(|ended| known(ended).is_some_and(|work| work.counts)).collect();
    let runs: Vec<&Told> = counting.iter().map(|ended| &ended.told).collect();
    let vacuous = runs.iter().filter(|told| is_vacuous(told)).count();
    say(&format!(
        "{} seeds, {vacuous} of them vacuous, {violations} violations; beside them {} runs\n{}",
        runs.len(),
        all.len() - runs.len(),
        pace(all, fresh, seconds),
    ));
    say(report::table(&files(&counting)).trim_end());
    say(report::table(&dose(&runs)).trim_end());
    say(&snapshots(&runs));
    let shown = expectations(all, work);
    let proved = runs.is_empty() || (vacuous < runs.len() && (runs.len() < ENOUGH || proves(&runs, vacuous)));
    violations == 0 && shown && proved
}

/// Whether few enough seeds are vacuous, and every class of faults landed often enough.
fn proves(runs: &[&Told], vacuous: usize) -> bool {
    let weak: Vec<String> = Class::ALL
        .into_iter()
        .filter(|class| count(runs, |told| &told.dose.landed, *class) * 100 < runs.len() * LEAST_LANDED)
        .map(|class| class.to_string())
        .collect();
    if !weak.is_empty() {
        say(&format!("landed in less than {LEAST_LANDED} % of the seeds: {}", weak.join(", ")));
    }
    let few = vacuous * 100 <= runs.len() * MOST_VACUOUS;
    if !few {
        say(&format!("more than {MOST_VACUOUS} % of the seeds are vacuous"));
    }
    few && weak.is_empty()
}

fn is_vacuous(told: &Told) -> bool {
    told.vacuous && told.violation.is_none()
}

fn pace(all: &[Ended], fresh: usize, seconds: f64) -> String {
    let sum = |value: fn(&Told) -> u64| all.iter().map(|ended| value(&ended.told)).sum::<u64>();
    let steps = sum(|told| told.step);
    let cpu_ms = sum(|told| told.cpu_ms).max(1);
    let tuples: BTreeSet<u64> = all.iter().flat_map(|ended| ended.told.tuples.iter().copied()).collect();
    format!(
        "{:.1} runs/s, {} steps/CPU-s, {} simulated s/CPU-s, {} steps, {} tuples of states",
        fresh as f64 / seconds.max(0.001),
        report::grouped(steps * 1000 / cpu_ms),
        report::grouped(sum(|told| told.simulated / 1_000_000) / cpu_ms),
        report::grouped(steps),
        report::grouped(tuples.len() as u64),
    )
}

/// Each file, and why its seeds did not count.
fn files(counting: &[&Ended]) -> Vec<Vec<String>> {
    let header = ["file", "seeds", "vacuous", "too short", "too idle", "too calm", "CPU-ms a seed"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let names: BTreeSet<&PathBuf> = counting.iter().map(|ended| &ended.file).collect();
    for file in names {
        let runs: Vec<&Told> = counting.iter().filter(|ended| ended.file == *file).map(|ended| &ended.told).collect();
        let vacuous: Vec<&Told> = runs.iter().copied().filter(|told| is_vacuous(told)).collect();
        let because = |why: fn(&Told) -> bool| vacuous.iter().filter(|told| why(told)).count().to_string();
        let landed = |told: &Told| told.dose.landed.iter().filter(|count| **count > 0).count();
        rows.push(vec![
            file.display().to_string(),
            runs.len().to_string(),
            vacuous.len().to_string(),
            because(|told| told.simulated < FLOOR.0),
            because(|told| told.acked_batches < FLOOR.1),
            vacuous.iter().filter(|told| landed(told) < FLOOR.2).count().to_string(),
            (runs.iter().map(|told| told.cpu_ms).sum::<u64>() / runs.len().max(1) as u64).to_string(),
        ]);
    }
    rows
}

/// The table of faults: in how many seeds each was given, and landed.
fn dose(runs: &[&Told]) -> Vec<Vec<String>> {
    let share = |count: usize| format!("{} %", count * 100 / runs.len().max(1));
    let mut rows = vec![["fault", "given in", "landed in", "landed"].map(str::to_owned).to_vec()];
    for class in Class::ALL {
        let total: u64 = runs.iter().filter_map(|told| told.dose.landed.get(class.index())).sum();
        rows.push(vec![
            class.to_string(),
            share(count(runs, |told| &told.dose.given, class)),
            share(count(runs, |told| &told.dose.landed, class)),
            report::grouped(total),
        ]);
    }
    rows
}

/// In how many seeds snapshots of the metadata were written, and taken from leaders, and how many.
fn snapshots(runs: &[&Told]) -> String {
    let share = |place: usize| {
        let seeds = runs.iter().filter(|told| told.dose.snapshots[place] > 0).count();
        seeds * 100 / runs.len().max(1)
    };
    let sum = |place: usize| report::grouped(runs.iter().map(|told| told.dose.snapshots[place]).sum());
    let (written, taken) = (share(0), share(1));
    format!("snapshots written in {written} %, {}; taken from leaders in {taken} %, {}", sum(0), sum(1))
}

/// In how many runs a class is in a list of counts.
fn count(runs: &[&Told], list: fn(&Told) -> &Vec<u64>, class: Class) -> usize {
    runs.iter().filter(|told| list(told).get(class.index()).is_some_and(|n| *n > 0)).count()
}

/// Files that are there to see a violation must have seen one.
fn expectations(all: &[Ended], work: &[Work]) -> bool {
    let mut good = true;
    let files: BTreeSet<&PathBuf> = work.iter().filter(|work| !work.expect.is_empty()).map(|work| &work.file).collect();
    for file in files {
        let runs = all.iter().filter(|ended| ended.file == *file);
        let seen = runs.clone().filter(|ended| ended.told.violation.is_some()).count();
        say(&format!("{}: {seen} of {} seeds show the loss that is expected", file.display(), runs.count()));
        good &= seen > 0;
    }
    good
}
