//! `make crash-cluster`: leaders of a cluster of three are killed with -9 and paused in turn, under load.
#![expect(clippy::print_stdout, reason = "a command-line program: its progress is its output")]

use std::fs;
use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Kind};
use ottla_tests::cluster;
use ottla_tests::crash::failover::Probe;
use ottla_tests::crash::ledger::contradictions;
use ottla_tests::crash::load;
use ottla_tests::crash::{self, Options, PARTITIONS};
use ottla_tests::install::Workshop;
use ottla_tests::records::Random;

const HELP: &str = "\
crash-cluster [--rounds N] [--seed N]

Starts three nodes of OTTLA_BIN and a load of librdkafka producers and Ottla's own with acks=all. In each round
the leader of a partition is killed with -9, or paused, and comes back when others have taken its place. At the end
every record that was acknowledged and every offset that was read is checked, and it is said how long writes stood
still.";

const NODES: usize = 3;
/// Writes go on within this time of a leader's kill -9, at the default time-outs.
const AFTER_KILL: Duration = Duration::from_secs(2);
/// And of its pause, for a client whose requests have half a second.
const AFTER_PAUSE: Duration = Duration::from_secs(3);
/// Longer is no failover at all.
const LIMIT: Duration = Duration::from_secs(30);

/// How long writes stood still, by what was done.
#[derive(Default)]
struct Gaps {
    killed: Vec<Duration>,
    paused: Vec<Duration>,
}

fn main() -> ExitCode {
    crash::main(("crash-cluster", HELP), false, run)
}

/// What is wrong in the end, one sentence each.
fn run(options: &Options) -> Result<Vec<String>, String> {
    let Options { rounds, seed, .. } = *options;
    let workshop = Workshop::open().map_err(|error| error.to_string())?;
    let dir = workshop.out.join(format!("crash-cluster-{}", std::process::id()));
    let partitions = PARTITIONS.to_string();
    let properties = [("num.partitions", partitions.as_str()), ("log.segment.bytes", "1048576")];
    let plans = cluster::plan(&workshop, (Kind::Ottla, NODES), &dir, &properties)?;
    let mut nodes = cluster::start(&plans)?;
    let bootstrap = cluster::bootstrap(&plans);
    let ledger = load::Shared::default();
    let running = load::start(&bootstrap, &ledger, seed).map_err(|error| error.to_string())?;
    let probe = Probe::start(&bootstrap).map_err(|error| error.to_string())?;
    let (mut random, mut gaps) = (Random::new(seed), Gaps::default());
    for round in 1..=rounds {
        let partition = i32::try_from(random.below(PARTITIONS.unsigned_abs().into())).unwrap_or(0);
        let leader = probe.settled(partition, NODES, LIMIT)?;
        thread::sleep(Duration::from_millis(random.below(500)));
        strike(round, (&probe, partition), &mut nodes[leader], &mut gaps)?;
        progress(round, rounds, &ledger, &gaps);
    }
    probe.settled(0, NODES, LIMIT)?;
    probe.finish();
    let seen = running.finish()?;
    let logs = load::read_all(&bootstrap)?;
    for node in &mut nodes {
        node.stop()?;
    }
    let ledger = load::lock(&ledger);
    let mut wrong = ledger.judge(&logs, load::promise);
    wrong.extend(contradictions(&seen, &logs));
    let read: usize = logs.values().map(Vec::len).sum();
    println!(
        "\n{rounds} rounds: {} records acknowledged, {read} read at the end, {} in doubt",
        ledger.acknowledged(),
        ledger.in_doubt()
    );
    wrong.extend(report("kill -9", &mut gaps.killed, AFTER_KILL));
    wrong.extend(report("pause", &mut gaps.paused, AFTER_PAUSE));
    if wrong.is_empty() {
        fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    } else {
        println!("the nodes' directories are in {}", dir.display());
    }
    Ok(wrong)
}

/// Kills or pauses a leader, waits until writes go on, and has it back.
fn strike(round: u32, (probe, partition): (&Probe, i32), node: &mut Broker, gaps: &mut Gaps) -> Result<(), String> {
    let explain = |error: io::Error| error.to_string();
    let kills = round % 2 == 1;
    let moment = Instant::now();
    if kills {
        node.kill().map_err(explain)?;
    } else {
        node.pause().map_err(explain)?;
    }
    let gap = probe.resumed(partition, moment, LIMIT);
    if kills {
        *node = node.plan.clone().start()?;
    } else {
        node.resume().map_err(explain)?;
    }
    let what = if kills { "kill -9" } else { "pause" };
    let gap = gap.ok_or_else(|| format!("round {round}: writes stand still {LIMIT:?} after a {what}"))?;
    if kills {
        gaps.killed.push(gap)
    } else {
        gaps.paused.push(gap)
    }
    Ok(())
}

/// Prints how long writes stood still; what is too long is a violation.
fn report(what: &str, gaps: &mut [Duration], limit: Duration) -> Option<String> {
    gaps.sort_unstable();
    let (median, longest) = (gaps.get(gaps.len() / 2)?, gaps.last()?);
    let late = gaps.iter().filter(|gap| **gap > limit).count();
    let ms = |it: &Duration| it.as_millis();
    println!(
        "{what:<8} {:>3} times: writes went on after {:>5} ms p50, {:>5} ms at most",
        gaps.len(),
        ms(median),
        ms(longest)
    );
    (late > 0)
        .then(|| format!("{late} of {} times writes stood still for more than {limit:?} after a {what}", gaps.len()))
}

/// How far it is.
fn progress(round: u32, rounds: u32, ledger: &load::Shared, gaps: &Gaps) {
    let acknowledged = load::lock(ledger).acknowledged();
    let longest = |gaps: &[Duration]| gaps.iter().max().map_or(0, Duration::as_millis);
    let (killed, paused) = (longest(&gaps.killed), longest(&gaps.paused));
    let text = format!(
        "round {round} of {rounds}: {acknowledged} acknowledged, longest gap {killed} ms killed, {paused} ms paused"
    );
    crash::progress(round, rounds, &text);
}
