//! `make crash-test`: `kill -9` in the middle of a load, a hundred times.
#![expect(clippy::print_stdout, reason = "a command-line program: its progress is its output")]

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use ottla_tests::broker::Plan;
use ottla_tests::crash::ledger::contradictions;
use ottla_tests::crash::load::{self, Shared};
use ottla_tests::crash::{self, Options, PARTITIONS};
use ottla_tests::install::Workshop;
use ottla_tests::records::Random;

const HELP: &str = "\
crash-test [--against ottla|kafka] [--rounds N] [--seed N]

Starts the broker in OTTLA_BIN and a load of librdkafka producers with acks=all, with and without
idempotence, and of Ottla's own, kills the broker at moments drawn from the seed, starts it again on the
same directory and port, and at the end checks every record that was acknowledged and every offset that
was read.";

fn main() -> ExitCode {
    crash::main(("crash-test", HELP), true, run)
}

/// What is wrong in the end, one sentence each.
fn run(options: &Options) -> Result<Vec<String>, String> {
    let workshop = Workshop::open().map_err(|error| error.to_string())?;
    let dir = workshop.out.join(format!("crash-{}-{}", options.kind.name(), std::process::id()));
    let mut plan = Plan::new(&workshop, options.kind, &dir)?;
    plan.properties.push(("num.partitions".to_owned(), PARTITIONS.to_string()));
    // Small segments, so that crashes fall into rolls too.
    plan.properties.push(("log.segment.bytes".to_owned(), "1048576".to_owned()));
    plan.prepare(&workshop)?;
    let mut broker = plan.start()?;
    let ledger = Shared::default();
    let running = load::start(&plan.bootstrap(), &ledger, options.seed).map_err(|error| error.to_string())?;
    let mut random = Random::new(options.seed);
    for round in 1..=options.rounds {
        // Log-uniform from 20 ms to 2.5 s: many crashes soon after the start, some in full load.
        thread::sleep(Duration::from_millis(20 << random.below(8)));
        broker.kill().map_err(|error| error.to_string())?;
        if random.below(4) == 0 {
            // Again, while it recovers.
            let mut early = plan.spawn()?;
            thread::sleep(Duration::from_millis(random.below(400)));
            early.kill().map_err(|error| error.to_string())?;
        }
        broker = plan.start().map_err(|error| format!("round {round}: {error}"))?;
        progress(round, options.rounds, &ledger);
    }
    let seen = running.finish()?;
    let logs = load::read_all(&plan.bootstrap())?;
    broker.stop()?;
    let ledger = load::lock(&ledger);
    let mut wrong = ledger.judge(&logs, load::promise);
    wrong.extend(contradictions(&seen, &logs));
    let read: usize = logs.values().map(Vec::len).sum();
    let tailed: usize = seen.values().map(|records| records.len()).sum();
    println!(
        "\n{} crashes: {} records acknowledged, {read} read at the end, {tailed} read between, {} in doubt",
        options.rounds,
        ledger.acknowledged(),
        ledger.in_doubt()
    );
    if wrong.is_empty() {
        fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    } else {
        println!("the broker's directory is {}", dir.display());
    }
    Ok(wrong)
}

/// How far it is.
fn progress(round: u32, rounds: u32, ledger: &Shared) {
    let ledger = load::lock(ledger);
    let text =
        format!("crash {round} of {rounds}: {} acknowledged, {} in doubt", ledger.acknowledged(), ledger.in_doubt());
    crash::progress(round, rounds, &text);
}
