//! A few short runs with the real machine: that they hold, that they are the same twice, and that the checkers
//! are not blind. `make swarm` runs many more.

use ottla_sim::run::{Outcome, RunOptions, run};
use ottla_sim::scenario::Template;

const SHORT: &str = r#"
    format = 1
    duration = "6s"
    [cluster]
    topics = { t = 2 }
    [[event]]
    produce = { clients = 2, every = "20ms", phases = false }
    [[event]]
    read = { seek = "1s" }
    [[event]]
    raw = { every = "200ms" }
    [[event]]
    at = "2s"
    power_loss = { down = "100ms" }
    [[event]]
    at = "4s"
    on = "write:20"
    kill = { down = "50ms" }
"#;

fn outcome(text: &str, seed: u64, digests: bool) -> Outcome {
    let scenario = Template::parse(text).and_then(|template| template.scenario(seed)).expect("a good scenario");
    let options = RunOptions { digests, ..RunOptions::default() };
    run(scenario, &options).expect("good properties")
}

#[test]
fn a_crash_and_a_power_loss_lose_nothing_that_was_acknowledged() {
    for seed in 1..4 {
        let outcome = outcome(SHORT, seed, false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert!(outcome.acked_batches > 100 && outcome.records_read > 100, "seed {seed}: {outcome:?}");
    }
}

/// The same with core's clients, which find their way themselves.
fn core_clients() -> String {
    let other = [("produce = {", "produce = { client = \"core\","), ("read = {", "read = { client = \"core\",")];
    other.iter().fold(SHORT.to_owned(), |text, (of, to)| text.replace(of, to))
}

#[test]
fn cores_clients_come_through_a_crash_and_a_power_loss() {
    for seed in 1..4 {
        let outcome = outcome(&core_clients(), seed, false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert!(outcome.acked_batches > 100 && outcome.records_read > 100, "seed {seed}: {outcome:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (one, two, other) = (outcome(SHORT, 7, true), outcome(SHORT, 7, true), outcome(SHORT, 8, true));
    assert_eq!((one.hash, &one.checkpoints), (two.hash, &two.checkpoints));
    assert_ne!(one.hash, other.hash);
    let (one, two) = (outcome(&core_clients(), 7, true), outcome(&core_clients(), 7, true));
    assert_eq!((one.hash, &one.checkpoints), (two.hash, &two.checkpoints));
}

/// Runs that once showed a defect, kept as they were.
#[test]
fn scripted_scenarios_hold() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/slow");
    for entry in std::fs::read_dir(dir).expect("the directory is there") {
        let path = entry.expect("it can be read").path();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        assert!(Template::parse(&text).expect("a good scenario").is_exact(), "{}", path.display());
        assert_eq!(outcome(&text, 0, false).violation, None, "{}", path.display());
    }
}

#[test]
fn outside_the_contract_loss_is_seen() {
    // Acknowledged when it is written, long before it is synced: power loss must show, once the start is over, which
    // waits for many a sync.
    let expecting = "expect = [\"S1\"]\n[config]\nflush = \"async\"\n[disk]\nsync = \"100ms\"\n[cluster]";
    let async_flush = SHORT.replace("[cluster]", expecting).replace("at = \"2s\"", "at = \"3s\"");
    let lossy = (0..12).filter(|seed| outcome(&async_flush, *seed, false).violation.is_some()).count();
    assert!(lossy >= 6, "{lossy} of twelve runs show loss");
}
