//! `ottla-sim swarm`: many seeds, one process each, and what they proved.
//!
//! The work is a list of (file, seed) in a fixed order by the files' weights, so that what is run does not
//! depend on how many run at once. The parent simulates nothing: it starts children, reads what each tells,
//! and records how each ended.
//!
//! What counts are seeds of files that draw, within the contract. Beside them, and not among them, run: seeds of
//! files outside the contract, which must show loss and end where they do; and once each the exact files, each
//! of which is one run whatever the seed. A seed that proved nothing ([`crate::dose::FLOOR`]) is vacuous.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ottla_core::planted::Plant;
use serde::{Deserialize, Serialize};

use super::child::Told;
use super::{VIOLATED, commit, parallel, plant, report, say, summary, template, unusable};

#[derive(Clone, Debug, Args)]
pub(super) struct SwarmArgs {
    /// Scenario files, or directories of them.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Seeds from A up to B: `A..B`, or only how many, from the commit's on.
    #[arg(long, default_value = "100", value_parser = seeds)]
    pub seeds: Seeds,
    /// How many run at once; as many as there are CPUs by default.
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Where results are kept.
    #[arg(long, default_value = "target/swarm.jsonl")]
    pub results: PathBuf,
    /// Go on where the results end.
    #[arg(long)]
    pub resume: bool,
    /// Go on anew from so many first-seen states of each run.
    #[arg(long, default_value_t = 0, num_args = 0..=1, default_missing_value = "8")]
    pub branch: u32,
    /// Plant a bug in every run.
    #[arg(long, value_parser = plant)]
    pub plant: Option<Plant>,
    /// The most memory of a run, in MiB.
    #[arg(long, default_value_t = 4096)]
    pub memory: u64,
    /// The most CPU time of a run, in seconds.
    #[arg(long, default_value_t = 120)]
    pub cpu: u64,
}

/// A range of seeds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeds {
    pub first: Option<u64>,
    pub count: usize,
}

/// One piece of work.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub file: PathBuf,
    pub seed: u64,
    pub digest: u64,
    /// Invariants whose violation is expected of this file.
    pub expect: Vec<String>,
    /// Whether it is one of the seeds that were asked for, and not beside them.
    pub counts: bool,
}

/// Seeds of files that expect a violation: one for so many that count.
const COUNTED_PER_EXPECTING: usize = 20;
/// How a piece of work ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    pub file: PathBuf,
    pub seed: u64,
    pub told: Told,
}

pub(super) fn main(args: &SwarmArgs) -> ExitCode {
    match swarm(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(VIOLATED),
        Err(why) => unusable(&why),
    }
}

fn swarm(args: &SwarmArgs) -> Result<bool, String> {
    let work = work(args)?;
    let done = if args.resume { read_results(&args.results)? } else { Vec::new() };
    let known: BTreeSet<(PathBuf, u64)> = done.iter().map(|ended| (ended.file.clone(), ended.seed)).collect();
    let left: Vec<&Work> = work.iter().filter(|work| !known.contains(&(work.file.clone(), work.seed))).collect();
    let log = Mutex::new(open_results(args)?);
    let bar = bar(work.len(), done.len());
    let start = Instant::now();
    let ended = parallel::map(&left, args.jobs, |work| {
        let ended = Ended { file: work.file.clone(), seed: work.seed, told: child(args, work) };
        if let Some((what, line)) = complaint(&ended, work, args.plant) {
            bar.suspend(|| say(&report::violation(&what, ended.told.step, ended.told.simulated, &line)));
        }
        if let Ok(line) = serde_json::to_string(&ended)
            && let Ok(mut log) = log.lock()
        {
            let _ = writeln!(log, "{line}");
        }
        bar.inc(1);
        ended
    });
    bar.finish_and_clear();
    let fresh = ended.len();
    let all: Vec<Ended> = done.into_iter().chain(ended).collect();
    Ok(summary::print(&all, &work, fresh, start.elapsed().as_secs_f64()))
}

/// All pairs of file and seed, in the order in which they are run.
pub(super) fn work(args: &SwarmArgs) -> Result<Vec<Work>, String> {
    let mut files = Vec::new();
    for path in &args.paths {
        collect(path, &mut files).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let (mut counted, mut idle, mut expecting, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let first = args.seeds.first.unwrap_or_else(commit::seed);
    for file in files {
        let template = template(&file)?;
        // Whatever is wrong with it is better known before the first seed is run.
        template.scenario(0).map_err(|error| super::in_file(&file, &error))?;
        let work = Work { file, seed: first, digest: template.digest(), expect: template.expects(), counts: false };
        let weight = usize::try_from(template.weight()).unwrap_or(1);
        if template.is_exact() {
            all.push(work);
        } else if !work.expect.is_empty() {
            expecting.extend(std::iter::repeat_n(work, weight));
        } else if weight == 0 {
            idle.push(work);
        } else {
            counted.extend(std::iter::repeat_n(Work { counts: true, ..work }, weight));
        }
    }
    // Alone, they are what was asked for.
    if counted.is_empty() && expecting.is_empty() {
        counted.extend(idle.into_iter().map(|work| Work { counts: true, ..work }));
    }
    let beside = if counted.is_empty() { args.seeds.count } else { args.seeds.count.div_ceil(COUNTED_PER_EXPECTING) };
    all.extend(turns(&counted, first, args.seeds.count));
    all.extend(turns(&expecting, first, beside));
    if all.is_empty() { Err("there is no scenario here".into()) } else { Ok(all) }
}

/// The first `count` seeds from `first` on, which these take in turn.
fn turns(wheel: &[Work], first: u64, count: usize) -> impl Iterator<Item = Work> {
    let count = if wheel.is_empty() { 0 } else { count };
    (0..count).map(move |turn| Work { seed: first.wrapping_add(turn as u64), ..wheel[turn % wheel.len()].clone() })
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        // Witnesses are for planted bugs; they show nothing without one.
        let witness = entry.file_name().is_some_and(|name| name == "witness");
        if (entry.is_dir() && !witness) || entry.extension().is_some_and(|extension| extension == "toml") {
            collect(&entry, files)?;
        }
    }
    Ok(())
}

/// Runs one seed in a process of its own.
pub(super) fn child(args: &SwarmArgs, work: &Work) -> Told {
    let mut command = match std::env::current_exe() {
        Ok(exe) => Command::new(exe),
        Err(error) => return broken(&error.to_string()),
    };
    command.arg("child").arg(&work.file).args(["--seed", &work.seed.to_string()]);
    command.args(["--memory", &args.memory.to_string(), "--cpu", &args.cpu.to_string()]);
    command.args(["--branch", &args.branch.to_string()]);
    if let Some(plant) = args.plant {
        command.args(["--plant", plant.id()]);
    }
    told_by(&mut command)
}

/// What a child tells on its last line of output; or how it ended, if it could not.
pub(super) fn told_by(command: &mut Command) -> Told {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return broken(&error.to_string()),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(told) = text.lines().next_back().and_then(|line| serde_json::from_str(line).ok()) {
        return told;
    }
    let error = String::from_utf8_lossy(&output.stderr);
    let last = error.lines().next_back().unwrap_or_default();
    broken(&format!("{}: {last}", output.status))
}

fn broken(why: &str) -> Told {
    Told { violation: Some(("ended".into(), why.to_owned())), fingerprint: "ended".into(), ..Told::default() }
}

/// What is to be said of a run: a violation that was not expected of its file.
fn complaint(ended: &Ended, work: &Work, plant: Option<Plant>) -> Option<((String, String), String)> {
    let what = ended.told.violation.clone()?;
    if work.expect.contains(&what.0) {
        return None;
    }
    Some((what, report::reproduce(&work.file, work.seed, work.digest, plant)))
}

pub(super) fn bar(total: usize, done: usize) -> ProgressBar {
    let bar = ProgressBar::new(total as u64).with_position(done as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn open_results(args: &SwarmArgs) -> Result<File, String> {
    let path = &args.results;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    let file = OpenOptions::new().create(true).write(true).append(args.resume).truncate(!args.resume).open(path);
    file.map_err(|error| format!("{}: {error}", path.display()))
}

fn read_results(path: &Path) -> Result<Vec<Ended>, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn seeds(text: &str) -> Result<Seeds, String> {
    let number = |text: &str| super::seed(text);
    match text.split_once("..") {
        None => {
            let count = usize::try_from(number(text)?).map_err(|_| "too many seeds".to_owned())?;
            Ok(Seeds { first: None, count })
        }
        Some((first, end)) => {
            let (first, end) = (number(first)?, number(end)?);
            let count = end.checked_sub(first).and_then(|count| usize::try_from(count).ok());
            let count = count.ok_or_else(|| format!("`{text}` ends before it begins"))?;
            Ok(Seeds { first: Some(first), count })
        }
    }
}
