//! `make bench`: Ottla, Apache Kafka and the ceiling, side by side.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program: its table is its output")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use ottla_tests::bench::fleet::{self, Fleet, Who};
use ottla_tests::bench::lines::{self, Line};
use ottla_tests::bench::machine::{self, Spinners};
use ottla_tests::bench::report::{self, Progress, Runs};
use ottla_tests::bench::work::{Pace, Stage};
use ottla_tests::install::Workshop;
use serde_json::json;

const HELP: &str = "\
bench [--short] [--only WORDS]… [--against PEERS] [--before PROGRAM] [--rounds N] [--seconds S] [--json FILE]
bench --list

Runs loads of librdkafka and of a generator of its own against the broker in OTTLA_BIN, its peers, and a
broker that throws the data away (the ceiling), in turns, and prints a table; nothing fails for a figure.

--short     a choice of lines, once each: about two minutes
--only      lines with all of these words in their names: --only produce/1KiB/raw; may be repeated
--against   kafka (default, where Java and Maven are at hand), kafka-tuned, none; several with commas
--before    another build of Ottla, as one more peer
--rounds    how often each line is run with each broker (3)
--seconds   how long a load lasts (3)
--json      where everything that was measured goes (target/bench.json)
--list      the names of the lines";

struct Options {
    short: bool,
    only: Vec<String>,
    against: Option<Vec<Who>>,
    before: Option<PathBuf>,
    rounds: Option<usize>,
    seconds: Option<f64>,
    json: Option<PathBuf>,
}

/// What this process is to be.
enum Role {
    Bench(Options),
    List,
    Help,
    /// Children of a bench.
    Sink,
    Spinner,
}

fn parse() -> Result<Role, lexopt::Error> {
    let (mut short, mut only, mut against) = (false, Vec::new(), None);
    let (mut before, mut rounds, mut seconds, mut json) = (None, None, None, None);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("short") => short = true,
            Long("only") => only.push(arguments.value()?.string()?),
            Long("against") => against = Some(peers(&arguments.value()?.string()?)?),
            Long("before") => before = Some(arguments.value()?.into()),
            Long("rounds") => rounds = Some(arguments.value()?.parse()?),
            Long("seconds") => seconds = Some(arguments.value()?.parse()?),
            Long("json") => json = Some(arguments.value()?.into()),
            Long("list") => return Ok(Role::List),
            Long("sink") => return Ok(Role::Sink),
            Long("spin") => return Ok(Role::Spinner),
            Long("help") | Short('h') => return Ok(Role::Help),
            Long(_) | Short(_) | Value(_) => return Err(argument.unexpected()),
        }
    }
    Ok(Role::Bench(Options { short, only, against, before, rounds, seconds, json }))
}

fn peers(names: &str) -> Result<Vec<Who>, lexopt::Error> {
    let peer = |name: &str| match name {
        "kafka" => Ok(Who::Kafka),
        "kafka-tuned" => Ok(Who::KafkaTuned),
        other => Err(format!("--against takes kafka, kafka-tuned and none, not {other}").into()),
    };
    if names == "none" { Ok(Vec::new()) } else { names.split(',').map(peer).collect() }
}

fn main() -> ExitCode {
    let done = match parse() {
        Ok(Role::Bench(options)) => bench(&options),
        Ok(Role::List) => {
            lines::all().iter().for_each(|line| println!("{}", line.name));
            Ok(())
        }
        Ok(Role::Help) => {
            println!("{HELP}");
            Ok(())
        }
        Ok(Role::Sink) => fleet::serve_sink(|address| println!("{address}")).map_err(|error| error.to_string()),
        Ok(Role::Spinner) => {
            machine::spin();
            Ok(())
        }
        Err(error) => {
            eprintln!("bench: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    let explain = |error: std::io::Error| error.to_string();
    let workshop = Workshop::open().map_err(explain)?;
    let facts = machine::facts(&workshop.root);
    let file = options.json.clone().unwrap_or_else(|| workshop.root.join("target/bench.json"));
    let lines = chosen(options)?;
    let fleet = Fleet::new(workshop, options.before.clone()).map_err(explain)?;
    let mut peers = at_hand(options, &fleet);
    let pace = pace(options);
    let spinners = Spinners::start();
    let machine = json!({ "facts": facts, "kept_awake": spinners.is_some(), "run_seconds": pace.run.as_secs_f64() });
    println!("{machine}");
    let mut stage = Stage::new(fleet, pace);
    peers.retain(|peer| warm_up(&mut stage, *peer));
    let results = run_all(&mut stage, &lines, &peers)?;
    println!("\n{}", report::table(&results, &peers));
    let text = serde_json::to_string_pretty(&report::json(&machine, &results, &peers)).map_err(|e| e.to_string())?;
    std::fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    println!("everything that was measured is in {}", file.display());
    Ok(())
}

fn chosen(options: &Options) -> Result<Vec<Line>, String> {
    let mut lines = lines::all();
    if options.only.is_empty() {
        lines.retain(|line| !options.short || line.is_short());
    } else {
        lines.retain(|line| options.only.iter().any(|pattern| line.matches(pattern)));
    }
    if lines.is_empty() { Err("no line has these words; --list shows all".to_owned()) } else { Ok(lines) }
}

/// The peers that can run here. Who asks for one by name hears why it cannot.
fn at_hand(options: &Options, fleet: &Fleet) -> Vec<Who> {
    let mut peers = options.against.clone().unwrap_or_else(|| vec![Who::Kafka]);
    if !peers.is_empty()
        && let Err(why) = fleet.can_run_kafka()
    {
        println!("without Apache Kafka: {}", why.trim_end());
        peers.clear();
    }
    peers.extend(options.before.as_ref().map(|_| Who::Before));
    peers
}

/// False if it cannot even do that: then the others run without it.
fn warm_up(stage: &mut Stage, peer: Who) -> bool {
    println!("warming up {}", peer.name());
    let done = stage.warm_up(peer);
    if let Err(why) = &done {
        println!("without {}: {}", peer.name(), why.trim_end());
    }
    done.is_ok()
}

fn pace(options: &Options) -> Pace {
    let short = options.short;
    let seconds = options.seconds.unwrap_or(if short { 0.7 } else { 3.0 });
    Pace {
        run: Duration::from_secs_f64(seconds),
        rounds: options.rounds.unwrap_or(if short { 1 } else { 3 }).max(1),
        log_bytes: if short { 200_000_000 } else { 1_000_000_000 },
        settle: Duration::from_millis(if short { 300 } else { 3_000 }),
        touch: if short { 0 } else { 4 << 30 },
    }
}

fn run_all(stage: &mut Stage, lines: &[Line], peers: &[Who]) -> Result<Vec<Runs>, String> {
    let rounds = stage.pace.rounds;
    let everybody = |line: &Line| {
        let ceiling = line.has_ceiling().then_some(Who::Sink);
        ceiling.into_iter().chain([Who::Ottla]).chain(peers.iter().copied()).collect::<Vec<_>>()
    };
    let runs_of = |line: &Line| everybody(line).iter().map(|who| line.rounds(rounds, *who)).sum::<usize>();
    let mut progress = Progress::new(lines.iter().map(runs_of).sum());
    let mut results = Vec::new();
    for line in lines {
        let mut runs = Runs { name: line.name.clone(), ..Runs::default() };
        let mut turns = everybody(line);
        let most = turns.iter().map(|who| line.rounds(rounds, *who)).max().unwrap_or(0);
        for round in 0..most {
            machine::touch_memory(stage.fleet.dir(), stage.pace.touch).map_err(|error| error.to_string())?;
            for who in turns.iter().copied().filter(|who| round < line.rounds(rounds, *who)) {
                let what = format!("{} {}", line.name, who.name());
                progress.begin(&what);
                let sample = stage.run(line, who);
                progress.end(&what, &sample);
                runs.samples.entry(who).or_default().push(sample);
            }
            // There and back: who came first comes last, so that a drift of the machine cancels out.
            turns.reverse();
        }
        results.push(runs);
    }
    Ok(results)
}
