//! Short runs of several nodes: that they hold and come to rest, that they are the same twice, and that targets are who
//! they say.

use ottla_sim::run::{Outcome, RunOptions, run};
use ottla_sim::scenario::Template;

const SHORT: &str = r#"
    format = 1
    duration = "12s"
    recovery = "60s"
    [cluster]
    nodes = 3
    [config]
    "controller.quorum.election.timeout.ms" = 300
    "controller.quorum.fetch.timeout.ms" = 800
    [[event]]
    admin = { every = "20ms" }
"#;

/// Every class of what happens between and to nodes, with every way to say to whom.
const TROUBLE: &str = r#"
    [[event]]
    name = "cut"
    at = "3s"
    for = "2s"
    target = "leader"
    cut = { off = "nodes", direction = "from-node" }
    [[event]]
    name = "halves"
    at = "5s"
    for = "1s"
    cut = { off = "halves" }
    [[event]]
    name = "elected"
    at = "6s"
    on = "elected:1"
    target = "leader"
    power_loss = { down = "500ms" }
    [[event]]
    name = "all"
    at = "8s"
    target = "all"
    power_loss = { down = "200ms" }
    [[event]]
    name = "kill"
    at = "9s"
    target = "minority"
    kill = { down = "1s" }
    [[event]]
    name = "wipe"
    at = "11s"
    target = "node:2"
    wipe = { down = "200ms" }
"#;

/// Partitions of three replicas, of which two must be in sync, with who writes and reads them.
const REPLICATED: &str = r#"
    format = 1
    duration = "12s"
    recovery = "60s"
    [cluster]
    nodes = 3
    replicas = 3
    topics = { t = 2 }
    [config]
    "min.insync.replicas" = 2
    "controller.quorum.election.timeout.ms" = 300
    "controller.quorum.fetch.timeout.ms" = 800
    "broker.session.timeout.ms" = 2000
    "broker.heartbeat.interval.ms" = 200
    "replica.lag.time.max.ms" = 2000
    [[event]]
    produce = { client = "core", clients = 2, every = "20ms" }
    [[event]]
    read = { client = "core" }
"#;

fn outcome(events: &str, seed: u64, digests: bool) -> Outcome {
    run_text(&format!("{SHORT}{events}"), seed, digests)
}

fn run_text(text: &str, seed: u64, digests: bool) -> Outcome {
    let scenario = Template::parse(text).and_then(|template| template.scenario(seed)).expect("a good scenario");
    let options = RunOptions { digests, ..RunOptions::default() };
    run(scenario, &options).expect("good properties")
}

#[test]
fn nobody_else_is_elected_where_nothing_happens() {
    for seed in 1..3 {
        let outcome = outcome("", seed, false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        // Processes may be started anew when it is healed.
        assert!(outcome.dose.elections <= 2 && outcome.acked_batches > 100, "seed {seed}: {outcome:?}");
    }
}

#[test]
fn what_is_acknowledged_is_there_when_all_is_healed() {
    for seed in 1..5 {
        let outcome = outcome(TROUBLE, seed, false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert!(outcome.dose.elections >= 3 && outcome.acked_batches > 50, "seed {seed}: {outcome:?}");
    }
}

#[test]
fn replicas_keep_what_is_acknowledged_and_are_the_same_in_the_end() {
    // No disk is replaced: that is one replica less than was promised.
    let trouble = TROUBLE.split("    [[event]]\n    name = \"wipe\"").next().expect("what is before");
    for seed in 1..5 {
        let outcome = run_text(&format!("{REPLICATED}{trouble}"), seed, false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert!(outcome.acked_batches > 100, "seed {seed}: {outcome:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (one, two, other) = (outcome(TROUBLE, 7, true), outcome(TROUBLE, 7, true), outcome(TROUBLE, 8, true));
    assert_eq!((one.hash, &one.checkpoints), (two.hash, &two.checkpoints));
    assert_ne!(one.hash, other.hash);
}
