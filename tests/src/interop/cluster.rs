//! Kafka's tools against several nodes: what is replicated, moved, elected, joins and leaves.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::bench::Writing;
use super::client::Stop;
use super::judge::{counts, expect_equal};
use super::tools::{Case, Tools, expect_text};
use crate::broker::rack_of;
use crate::records::Record;

/// How long a cluster may take for what it does by itself. Each look at it takes a tool seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// How many nodes a cluster must have for these cases.
pub(super) const NODES: usize = 3;

/// What is asked of a cluster beside what is asked of every broker.
pub(super) const CASES: &[Case] = &[
    ("replicated-topics", topics),
    ("kafka-reassign-partitions", reassign),
    ("kafka-leader-election", elect),
    ("nearest-replica", nearest),
    ("quorum-replication", replication),
    ("remove-controller", remove_controller),
    ("unregister", unregister),
];

/// Waits until a tool says what it should.
fn until(tools: &Tools<'_>, class: &str, arguments: &[&str], is_so: impl Fn(&str) -> bool) -> Result<String, Stop> {
    let began = Instant::now();
    loop {
        let output = tools.run(class, arguments)?;
        if is_so(&output) {
            return Ok(output);
        }
        if began.elapsed() > LIMIT {
            return Err(Stop::Failed(format!("{class} {} still says:\n{output}", arguments.join(" "))));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// A topic whose one partition has its replicas on these nodes, the first being preferred.
fn on_nodes(tools: &Tools<'_>, purpose: &str, nodes: &str) -> Result<String, Stop> {
    let name = tools.bench.fresh_name(purpose);
    tools.run("TopicCommand", &["--create", "--topic", &name, "--replica-assignment", nodes])?;
    Ok(name)
}

fn describe(topic: &str) -> [&str; 3] {
    ["--describe", "--topic", topic]
}

/// What a describing tool says of the one partition: as `Leader: 1`, `Isr: 1,2,3` in any order.
fn field(output: &str, name: &str) -> Vec<i32> {
    let line = output.lines().find(|line| line.contains("Partition: 0"));
    let value = line.and_then(|line| line.split('\t').find_map(|part| part.trim().strip_prefix(name)));
    let mut ids: Vec<i32> = value.unwrap_or_default().split(',').filter_map(|id| id.trim().parse().ok()).collect();
    ids.sort_unstable();
    ids
}

fn in_sync(output: &str) -> Vec<i32> {
    field(output, "Isr:")
}

/// Every replica in sync; one that is gone is missed, and comes back.
fn topics(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let name = tools.bench.fresh_name("replicated");
    let create = ["--create", "--topic", &name, "--partitions", "1", "--replication-factor", "3"];
    tools.run("TopicCommand", &create)?;
    let whole = |output: &str| in_sync(output) == [1, 2, 3];
    let output = until(tools, "TopicCommand", &describe(&name), whole)?;
    expect_text(&output, &["ReplicationFactor: 3"], &["none"])?;
    tools.nodes[2].kill()?;
    let missing = ["--describe", "--under-replicated-partitions", "--topic", &name];
    let output = until(tools, "TopicCommand", &missing, |output| output.contains(&name))?;
    expect_equal("who is in sync", &vec![1, 2], &in_sync(&output))?;
    tools.nodes[2] = tools.nodes[2].plan.start().map_err(Stop::Failed)?;
    until(tools, "TopicCommand", &missing, |output| !output.contains(&name)).map(drop)
}

/// A partition with records moves to other nodes, and is whole there.
fn reassign(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let name = on_nodes(tools, "moved", "1:2")?;
    let records: Vec<_> = (0..1_000).map(|_| Record::new(0, Some(b"key"), Some(&[b'v'; 1_000]))).collect();
    tools.bench.write(tools.bench.reference(), &name, &records, Writing::default())?;
    let file = |what: &str, text: String| -> Result<String, Stop> {
        let file = tools.bench.scratch().join(what);
        fs::write(&file, text)?;
        Ok(file.to_string_lossy().into_owned())
    };
    let class = "reassign.ReassignPartitionsCommand";
    let topics = file("topics.json", format!(r#"{{"topics": [{{"topic": "{name}"}}], "version": 1}}"#))?;
    let generate = ["--generate", "--topics-to-move-json-file", &topics, "--broker-list", "1,2,3"];
    expect_text(&tools.run(class, &generate)?, &["Proposed partition reassignment", &name], &["rror"])?;
    let moved = format!(r#"{{"version":1,"partitions":[{{"topic":"{name}","partition":0,"replicas":[3,2]}}]}}"#);
    let moved = file("moved.json", moved)?;
    let of_file = ["--reassignment-json-file", &moved];
    let output = tools.run(class, &[&of_file[..], &["--execute"]].concat())?;
    expect_text(&output, &["Successfully started partition reassignment"], &["rror"])?;
    let verify = [&of_file[..], &["--verify"]].concat();
    until(tools, class, &verify, |output| output.contains(&format!("{name}-0 is completed")))?;
    expect_text(&tools.run(class, &["--list"])?, &["No partition reassignments found"], &[])?;
    let output = tools.run("TopicCommand", &describe(&name))?;
    expect_equal("replicas", &vec![2, 3], &field(&output, "Replicas:"))?;
    expect_equal("who is in sync", &vec![2, 3], &in_sync(&output))?;
    let starts = [(0, 0)].into();
    let seen = tools.bench.read(tools.bench.reference(), &name, &starts, &counts(&records))?;
    expect_equal("records after the move", &records.len(), &seen.records.len())
}

/// The preferred leader goes and comes back, and leads again when it is told to.
fn elect(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let name = on_nodes(tools, "elected", "1:2:3")?;
    tools.nodes[0].stop().map_err(Stop::Failed)?;
    let others = |output: &str| matches!(field(output, "Leader:")[..], [2 | 3]);
    until(tools, "TopicCommand", &describe(&name), others)?;
    tools.nodes[0] = tools.nodes[0].plan.start().map_err(Stop::Failed)?;
    let output = until(tools, "TopicCommand", &describe(&name), |output| in_sync(output) == [1, 2, 3])?;
    expect_equal("who leads after the return", &true, &others(&output))?;
    let elect = ["--election-type", "preferred", "--topic", &name, "--partition", "0"];
    let output = tools.run("LeaderElectionCommand", &elect)?;
    expect_text(&output, &["Successfully completed leader election (PREFERRED)"], &["rror"])?;
    until(tools, "TopicCommand", &describe(&name), |output| field(output, "Leader:") == [1])?;
    let output = tools.run("LeaderElectionCommand", &elect)?;
    expect_text(&output, &["Valid replica already elected"], &["rror"])
}

/// A consumer is sent to the replica in its rack, and reads everything there (KIP-392).
fn nearest(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let name = on_nodes(tools, "nearest", "1:2:3")?;
    let records: Vec<_> = (0..5_000).map(|_| Record::new(0, Some(b"key"), Some(&[b'v'; 1_000]))).collect();
    tools.bench.write(tools.bench.reference(), &name, &records, Writing::default())?;
    until(tools, "TopicCommand", &describe(&name), |output| in_sync(output) == [1, 2, 3])?;
    let file = tools.bench.scratch().join("nearest.properties");
    fs::write(&file, format!("client.rack={}\nauto.offset.reset=earliest\n", rack_of(3)))?;
    let count = records.len().to_string();
    let config = file.to_string_lossy();
    let read = ["--topic", &name, "--num-records", &count, "--command-config", &config, "--print-metrics"];
    let output = tools.run("ConsumerPerformance", &read)?;
    let came = |node: &str| {
        let line = output.lines().find(|line| line.contains("incoming-byte-total") && line.contains(node));
        line.and_then(|line| line.rsplit(':').next()?.trim().parse::<f64>().ok()).unwrap_or_default()
    };
    let (leader, near) = (came("node-id=node-1}"), came("node-id=node-3}"));
    let is_near = near > 5_000_000.0 && leader < 500_000.0;
    if is_near { Ok(()) } else { Err(Stop::Failed(format!("{near} bytes came from node 3, {leader} from the leader"))) }
}

const QUORUM: &str = "MetadataQuorumCommand";

/// The rows of `describe --replication`: a node's id, directory id and part.
fn members(output: &str) -> Vec<(String, String, String)> {
    let rows = output.lines().skip_while(|line| !line.starts_with("NodeId")).skip(1);
    let word = |words: &[&str], place: usize| words.get(place).map_or_else(String::new, |word| (*word).to_owned());
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (word(&words, 0), word(&words, 1), words.last().map_or_else(String::new, |last| (*last).to_owned()))
    };
    rows.filter(|line| !line.trim().is_empty()).map(row).collect()
}

fn replication(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let output = tools.run(QUORUM, &["describe", "--replication"])?;
    let mut parts: Vec<_> = members(&output).into_iter().map(|(_, _, part)| part).collect();
    parts.sort();
    expect_equal(
        "the parts of the nodes",
        &vec!["Follower", "Follower", "Leader"],
        &parts.iter().map(|it| &**it).collect(),
    )
}

/// A voter that is gone is removed by name, and joins again when it is back.
fn remove_controller(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let voters = |output: &str| members(output).iter().filter(|(_, _, part)| part != "Observer").count();
    let describe = ["describe", "--replication"];
    let all = members(&tools.run(QUORUM, &describe)?);
    let gone = all.iter().find(|(id, ..)| id == "3").ok_or_else(|| Stop::Failed(format!("no node 3: {all:?}")))?;
    tools.nodes[2].stop().map_err(Stop::Failed)?;
    let remove = ["remove-controller", "--controller-id", "3", "--controller-directory-id", &gone.1];
    expect_text(&tools.run(QUORUM, &remove)?, &["Removed"], &["rror"])?;
    expect_equal("voters that are left", &2, &voters(&tools.run(QUORUM, &describe)?))?;
    tools.nodes[2] = tools.nodes[2].plan.start().map_err(Stop::Failed)?;
    until(tools, QUORUM, &describe, |output| voters(output) == 3).map(drop)
}

/// A broker that is gone is forgotten, and registers again when it is back.
fn unregister(tools: &mut Tools<'_>) -> Result<(), Stop> {
    tools.nodes[2].stop().map_err(Stop::Failed)?;
    let server = tools.bench.bootstrap();
    let arguments = ["unregister", "--bootstrap-server", server, "--id", "3"];
    expect_text(&tools.offline("ClusterTool", &arguments, "")?, &["Broker 3 is no longer registered"], &["rror"])?;
    tools.nodes[2] = tools.nodes[2].plan.start().map_err(Stop::Failed)?;
    let is_there = |output: &str| output.contains("(id: 3 ");
    until(tools, "BrokerApiVersionsCommand", &[], is_there).map(drop)
}
