//! The contract of acks=all, cell by cell (promises P1 to P3 and P9): what kills, how many nodes at once, and what a
//! record waits for. Nothing is ever lost in silence: where it may be, nobody leads until an operator says so.
//!
//! | | one process | as many as must be in sync | all |
//! |---|---|---|---|
//! | `quorum`, killed or without power | kept | kept | kept |
//! | `async`, killed or without power | kept | kept, or refused if no more are left | refused |
//!
//! With three replicas of which two must be in sync, one fewer than must be in sync is one. That checkers see loss
//! where there is some is for `scenarios/loss` and for the planted bugs to show.

use std::ops::RangeInclusive;

use ottla_sim::run::{RunOptions, run};
use ottla_sim::scenario::Template;

const BASE: &str = r#"
    format = 1
    duration = "16s"
    recovery = "60s"
    CONTRACT
    [cluster]
    nodes = 3
    replicas = 3
    topics = { t = 1 }
    [disk]
    preset = { pick = ["ordered", "ext4-like", "adversarial"] }
    sync = { from = "1ms", to = "50ms", scale = "log" }
    [config]
    flush = "FLUSH"
    "min.insync.replicas" = 2
    "controller.quorum.election.timeout.ms" = 300
    "controller.quorum.fetch.timeout.ms" = 800
    "broker.session.timeout.ms" = 1500
    "broker.heartbeat.interval.ms" = 200
    "replica.lag.time.max.ms" = 1000
    [[event]]
    produce = { client = "core", clients = 2, every = "20ms", phases = false }
    [[event]]
    at = { from = "7s", to = "8s" }
    target = "WHO"
    CRASH = { down = "100ms" }
    [[event]]
    at = { from = "13s", to = "14s" }
    target = "WHO"
    CRASH = { down = "100ms" }
"#;

/// What a seed violates.
fn violated(flush: &str, crash: &str, who: &str, seed: u64) -> Option<String> {
    let contract = if flush == "async" { "lossless = true" } else { "" };
    let text = BASE.replace("CONTRACT", contract).replace("FLUSH", flush).replace("WHO", who).replace("CRASH", crash);
    let template = Template::parse(&text).expect("a good file");
    let outcome = run(template.scenario(seed).expect("a good scenario"), &RunOptions::default());
    let outcome = outcome.expect("good properties");
    assert!(outcome.acked_batches > 20, "{flush} {crash} {who}: seed {seed}: there is little to lose");
    outcome.violation.map(|violation| violation.to_string())
}

/// So many seeds of each cell: a few, or as many as `make cells` asks for.
fn seeds(few: u64) -> RangeInclusive<u64> {
    let asked = std::env::var("OTTLA_CELL_SEEDS").ok().map(|text| text.parse().expect("OTTLA_CELL_SEEDS is a number"));
    1..=asked.unwrap_or(few)
}

const CRASHES: [&str; 2] = ["kill", "power_loss"];

#[test]
fn under_flush_quorum_nothing_is_lost_whatever_dies() {
    for crash in CRASHES {
        for who in ["any", "leader", "majority", "all"] {
            for seed in seeds(2) {
                assert_eq!(violated("quorum", crash, who, seed), None, "{crash} of {who}, seed {seed}");
            }
        }
    }
}

/// When all is healed half of the nodes are killed once more, so that even one node's death may not be the only one.
#[test]
fn under_flush_async_nothing_is_lost_in_silence() {
    const REFUSED: &str = "liveness: after all healed nobody leads t-0";
    for crash in CRASHES {
        for who in ["any", "leader", "majority", "all"] {
            let seen: Vec<Option<String>> = seeds(3).map(|seed| violated("async", crash, who, seed)).collect();
            let refused = seen.iter().flatten().filter(|seen| seen.starts_with(REFUSED)).count();
            let kept = seen.iter().filter(|seen| seen.is_none()).count();
            assert_eq!(refused + kept, seen.len(), "{crash} of {who}: {seen:?}");
            assert_eq!(kept > 0, who != "all", "{crash} of {who}: {seen:?}");
        }
    }
}
