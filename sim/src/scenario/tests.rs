//! Files as people write them.

use super::*;
use crate::disk::Preset;
use crate::time::{MILLISECOND, SECOND};

const SWARM: &str = r#"
    format = 1
    duration = "70s"
    [cluster]
    topics = { t = 3 }
    [network]
    latency = { from = "10us", to = "100ms", scale = "log" }
    [disk]
    preset = { pick = ["ordered", "ext4-like", "adversarial"] }
    [config]
    "log.segment.bytes" = { from = 10000, to = 1000000, scale = "log" }
    [[event]]
    produce = { clients = 3, every = "10ms" }
    [[event]]
    name = "crash"
    at = "3s"
    on = "rename:2"
    delay = "1ms"
    power_loss = { down = "1s" }
    [[event]]
    name = "trouble"
    times = { from = 5, to = 100, scale = "log" }
    at = { from = "1s", to = "60s" }
    for = { from = "10ms", to = "20s", scale = "log" }
    each_on = 0.5
    pick = [{ kill = {} }, { pause = {} }, { slow_disk = { factor = 50 } }]
"#;

fn failure(text: &str) -> String {
    let scenario = Template::parse(text).and_then(|template| template.scenario(1));
    scenario.expect_err(text).to_string()
}

#[test]
fn a_swarm_file_stands_for_one_run_a_seed() {
    let template = Template::parse(SWARM).expect("a good file");
    let mut presets = Vec::new();
    for seed in 0..40 {
        let scenario = template.scenario(seed).expect("a good file");
        assert_eq!((scenario.run_seed, scenario.duration), (seed, 70 * SECOND));
        assert!(matches!(scenario.events[0].action, Action::Produce(_)));
        assert_eq!(scenario.events[1].when, When { at: 3 * SECOND, on: Some(Trigger::Rename(2)), delay: MILLISECOND });
        presets.push(scenario.disk.preset);
    }
    for preset in [Preset::Ordered, Preset::Ext4Like, Preset::Adversarial] {
        assert!(presets.contains(&preset));
    }
}

#[test]
fn the_exact_file_is_the_same_run() {
    let template = Template::parse(SWARM).expect("a good file");
    let exact = template.expand(7).expect("a good file");
    let text = toml::to_string(&exact).expect("tables print");
    let again = Template::parse(&text).expect("what we print we read");
    assert_eq!(again.expand(12345).expect("exact"), exact);
    assert_eq!(again.scenario(12345).expect("exact").run_seed, 7);
}

#[test]
fn what_is_unknown_is_named() {
    assert!(failure("[disk]\n").contains("format = 1"));
    assert!(failure("format = 2").contains("reads 1"));
    assert!(failure("format = 1\nspeed = 3").contains("speed"));
    assert!(failure("format = 1\n[disk]\nlatency = \"1s\"").contains("latency"));
    assert!(failure("format = 1\n[[event]]\nat = \"1s\"\nexplode = {}").contains("explode"));
    assert!(failure("format = 1\n[[event]]\nat = \"1s\"").contains("0 actions"));
    assert!(failure("format = 1\n[[event]]\nkill = {}\npause = {}").contains("2 actions"));
    assert!(failure("format = 1\n[[event]]\non = \"lunch:2\"\nkill = {}").contains("lunch"));
    assert!(failure("format = 1\n[[event]]\ntarget = \"node:x\"\nkill = {}").contains("node:x"));
    assert!(failure("format = 1\n[cluster]\nnodes = 8").contains("1 to 7"));
    assert!(failure("format = 1\n[[event]]\nkill = { up = \"1s\" }").contains("up"));
}

#[test]
fn replicas_need_nodes_and_clients_that_follow_leaders() {
    let with = |cluster: &str, client: &str| {
        format!("format = 1\n[cluster]\n{cluster}\n[[event]]\nname = \"load\"\nread = {{ client = \"{client}\" }}")
    };
    let good = Template::parse(&with("nodes = 3\nreplicas = 3", "core")).and_then(|template| template.scenario(1));
    assert_eq!(good.expect("a good file").cluster.replicas, 3);
    assert!(failure(&with("nodes = 3\nreplicas = 3", "frames")).contains("follows no leader"));
    for cluster in ["nodes = 2\nreplicas = 3", "replicas = 0"] {
        assert!(failure(&with(cluster, "core")).contains("no room"), "{cluster}");
    }
    for asked in ["moves = 3", "elections = true"] {
        let with = |client: &str| {
            format!("format = 1\n[[event]]\nname = \"change\"\nadmin = {{ client = \"{client}\", {asked} }}")
        };
        assert!(failure(&with("core")).contains("change: only frames ask for moves"), "{asked}");
        let good = Template::parse(&with("frames")).and_then(|template| template.scenario(1));
        assert!(good.is_ok(), "{asked}: {good:?}");
    }
}
