//! `make durability`: the broker under `strace`, a load of acks=all requests, and the proof that no answer left too
//! soon.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program: what it proves is its output")]

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use lexopt::prelude::*;
use ottla_tests::broker::{Kind, Plan};
use ottla_tests::durability::check::{Proof, Rules, check};
use ottla_tests::durability::load::{self, Load};
use ottla_tests::durability::strace;
use ottla_tests::install::Workshop;

const HELP: &str = "\
durability [--against ottla|kafka] [--requests N] [--seed N] [--expect-violations]

Runs the broker in OTTLA_BIN under strace with a load of Produce requests, and proves that each acks=all
answer left only after its bytes, their journal entry and their names were durable. Needs strace.
--expect-violations turns the exit code round: for a planted fault, or for Apache Kafka, which by default
does not sync before it answers.";

struct Options {
    kind: Kind,
    requests: u64,
    seed: u64,
    expects_violations: bool,
}

fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options { kind: Kind::Ottla, requests: 150, seed: 1, expects_violations: false };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("against") => options.kind = arguments.value()?.parse()?,
            Long("requests") => options.requests = arguments.value()?.parse()?,
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("expect-violations") => options.expects_violations = true,
            Long("help") | Short('h') => return Ok(None),
            Long(_) | Short(_) | Value(_) => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    let options = match parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("durability: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(proof) => report(&options, &proof),
        Err(error) => {
            eprintln!("durability: {error}");
            ExitCode::from(2)
        }
    }
}

fn report(options: &Options, proof: &Proof) -> ExitCode {
    for violation in proof.violations.iter().take(20) {
        println!("VIOLATION {violation}");
    }
    println!("{} answers checked, {} violations", proof.answers, proof.violations.len());
    if proof.answers > 0 && proof.violations.is_empty() != options.expects_violations {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The trace, once the tracer has written the broker's end.
fn finished_trace(trace: &Path, broker: u32) -> Result<String, String> {
    let explain = |error: std::io::Error| format!("{}: {error}", trace.display());
    let end = format!("{broker} +++");
    for _ in 0..1_000 {
        let text = String::from_utf8_lossy(&fs::read(trace).map_err(explain)?).into_owned();
        let last = text.lines().last().unwrap_or_default();
        if last.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(&end) {
            return Ok(text);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("{} does not end with the broker's end", trace.display()))
}

fn run(options: &Options) -> Result<Proof, String> {
    let workshop = Workshop::open().map_err(|error| error.to_string())?;
    workshop.debian("strace")?;
    let dir = workshop.out.join(format!("durability-{}-{}", options.kind.name(), std::process::id()));
    let plan = Plan::new(&workshop, options.kind, &dir)?;
    plan.prepare(&workshop)?;
    let mut proof = Proof::default();
    let mut add = |part: Proof| {
        proof.answers += part.answers;
        proof.violations.extend(part.violations);
    };
    add(run_once(options, &plan, 1)?);
    // Then on what `kill -9` leaves.
    let mut broker = plan.start()?;
    load::run(plan.address, &load(options, 2)).map_err(|error| error.to_string())?;
    broker.kill().map_err(|error| error.to_string())?;
    add(run_once(options, &plan, 3)?);
    if proof.violations.is_empty() || options.expects_violations {
        fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    } else {
        println!("the traces are in {}", dir.display());
    }
    Ok(proof)
}

fn load(options: &Options, number: u64) -> Load {
    Load {
        topics: vec!["first".to_owned(), "second".to_owned()],
        partitions: 3,
        connections: 4,
        requests: options.requests,
        value_bytes: 30_000,
        seed: options.seed ^ (number << 48),
    }
}

/// One life of the broker, from its start to its orderly end, and what its trace proves.
fn run_once(options: &Options, plan: &Plan, number: u64) -> Result<Proof, String> {
    let mut plan = plan.clone();
    let trace = plan.dir.join(format!("trace-{number}"));
    plan.wrapper = strace::STRACE.iter().map(|word| (*word).to_owned()).collect();
    plan.wrapper.extend([strace::CALLS.to_owned(), "-o".to_owned(), trace.to_string_lossy().into_owned()]);
    let load = load(options, number);
    let mut broker = plan.start()?;
    load::create_topics(plan.address, &load).map_err(|error| error.to_string())?;
    let acknowledged = load::run(plan.address, &load).map_err(|error| error.to_string())?;
    broker.stop()?;
    let text = finished_trace(&trace, broker.id())?;
    println!("{} acknowledged with acks=all; a trace of {} calls", acknowledged.len(), text.lines().count());
    let rules = Rules { has_journal: options.kind == Kind::Ottla };
    check(&strace::parse(&text)?, &acknowledged, rules)
}
