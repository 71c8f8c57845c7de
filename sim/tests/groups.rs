//! Consumer groups under the real machine: how often members are asked to join again, and that the rules hold.

use ottla_sim::run::{Outcome, RunOptions, run};
use ottla_sim::scenario::Template;

fn outcome(members: &str, seed: u64) -> Outcome {
    let text = format!(
        r#"
        format = 1
        duration = "12s"
        [cluster]
        topics = {{ t = 60 }}
        [config]
        "offsets.topic.num.partitions" = 1
        "offsets.topic.replication.factor" = 1
        [[event]]
        at = "500ms"
        groups = {{ others = 0, {members} }}
        "#
    );
    let scenario = Template::parse(&text).and_then(|template| template.scenario(seed)).expect("a good scenario");
    let outcome = run(scenario, &RunOptions::default()).expect("good properties");
    assert_eq!(outcome.violation, None);
    outcome
}

#[test]
fn fifty_members_that_come_at_once_are_settled_in_two_rebalances_at_most() {
    for seed in 1..4 {
        let (rebalances, _) = outcome("members = 50, fixed = 0, trouble = \"1000h\"", seed).rebalances;
        assert!((1..=2).contains(&rebalances), "{rebalances} rebalances");
    }
}

#[test]
fn a_rolling_restart_of_static_members_causes_no_rebalance() {
    for seed in 1..4 {
        let members = "members = 10, fixed = 100, trouble = \"3s\", rolling = true";
        let (rebalances, restarts) = outcome(members, seed).rebalances;
        assert!(restarts >= 10, "{restarts} restarts prove little");
        // They come at once in the beginning, and that is all.
        assert!((1..=2).contains(&rebalances), "{rebalances} rebalances for {restarts} restarts");
    }
}
