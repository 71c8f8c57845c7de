//! Kafka's own command-line tools, as a user runs them, and what survives a restart.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::bench::{Bench, Manner, Seen, Writing};
use super::cases::now_ms;
use super::client::{Client, Stop};
use super::cluster;
use super::compaction::compaction;
use super::judge::{counts, expect_equal, expect_same};
use crate::broker::Broker;
use crate::install::Workshop;
use crate::process;
use crate::records::{Random, Record};

/// How long a member sits that tools look at: on a busy machine each of them takes ten seconds to start.
const SITTING: Duration = Duration::from_secs(90);

/// The column of the table.
pub const COLUMN: &str = "tools";

/// How long one tool may take.
const TOOL_LIMIT: Duration = Duration::from_secs(90);
/// The same for the suite of Ottla's client, which may have to be built.
const SUITE_LIMIT: Duration = Duration::from_secs(1_800);

/// A case: its name, and what is done.
pub type Case = (&'static str, fn(&mut Tools<'_>) -> Result<(), Stop>);

/// All cases in order; the last ones stop the broker and look at its files.
pub const CASES: &[Case] = &[
    ("kafka-topics", topics),
    ("kafka-configs-topic", topic_configs),
    ("kafka-configs-broker", broker_configs),
    ("kafka-configs-group", group_configs),
    ("kafka-get-offsets", get_offsets),
    ("kafka-delete-records", delete_records),
    ("kafka-log-dirs", log_dirs),
    ("kafka-broker-api-versions", api_versions),
    ("kafka-cluster", cluster_id),
    ("kafka-features", features),
    ("kafka-metadata-quorum", metadata_quorum),
    ("kafka-console", console),
    ("kafka-consumer-groups", consumer_groups),
    ("consumer-groups-next", next_consumer_groups),
    ("kafka-producer-perf", producer_perf),
    ("ottla-client-suite", client_suite),
    ("restart", restart),
    ("compaction", compaction),
    ("kafka-dump-log", dump_log),
];

/// Those of them that are about the one broker that there is, and its files.
const ALONE: &[&str] = &["kafka-topics", "kafka-log-dirs", "restart", "compaction", "kafka-dump-log"];

/// The cases for so many nodes.
pub fn cases(nodes: usize) -> impl Iterator<Item = &'static Case> {
    let general = CASES.iter().filter(move |(name, _)| nodes == 1 || !ALONE.contains(name));
    general.chain(cluster::CASES.iter().filter(move |_| nodes >= cluster::NODES))
}

/// Every case, for however many nodes it is.
pub fn all_cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(cluster::CASES)
}

/// Of a case that so many nodes do not have: how many it is for.
pub fn nodes_for(case: &str, nodes: usize) -> Option<usize> {
    let is_it = |(name, _): &&Case| *name == case;
    if cases(nodes).any(|it| is_it(&it)) {
        return None;
    }
    [1, cluster::NODES].into_iter().find(|other| cases(*other).any(|it| is_it(&it)))
}

/// What a case works with.
#[derive(Debug)]
pub struct Tools<'a> {
    class_path: String,
    pub(super) workshop: &'a Workshop,
    pub(super) bench: &'a Bench,
    /// The one broker, or the nodes of a cluster.
    pub(super) nodes: &'a mut [Broker],
}

impl<'a> Tools<'a> {
    /// Installs the tools.
    pub fn new(workshop: &'a Workshop, bench: &'a Bench, nodes: &'a mut [Broker]) -> Result<Self, String> {
        Ok(Self { class_path: workshop.java()?, workshop, bench, nodes })
    }

    /// Runs a tool, by default of `org.apache.kafka.tools`, that must succeed; gives its output.
    pub(super) fn offline(&self, class: &str, arguments: &[&str], input: &str) -> Result<String, Stop> {
        self.within(TOOL_LIMIT, class, arguments, input)
    }

    /// The same for one that may take longer, or must not.
    pub(super) fn within(&self, limit: Duration, class: &str, arguments: &[&str], input: &str) -> Result<String, Stop> {
        let class =
            if class.starts_with("kafka.") { class.to_owned() } else { format!("org.apache.kafka.tools.{class}") };
        let file = self.bench.scratch().join("stdin");
        fs::write(&file, input)?;
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-cp", &self.class_path, &class]).args(arguments);
        let input = Stdio::from(File::open(file)?);
        let finished = process::run_with_input(&mut command, input, self.bench.scratch(), limit)?;
        if finished.succeeded() {
            Ok(finished.stdout)
        } else {
            Err(Stop::Failed(format!("{class} {}\n{}", arguments.join(" "), finished.transcript())))
        }
    }

    /// The same for a tool that asks the broker.
    pub(super) fn run(&self, class: &str, arguments: &[&str]) -> Result<String, Stop> {
        let all: Vec<_> = ["--bootstrap-server", self.bench.bootstrap()].iter().chain(arguments).copied().collect();
        self.offline(class, &all, "")
    }

    /// A topic of one partition that holds `count` records with times a second apart from `start`.
    fn filled(&self, purpose: &str, count: i32, start: i64) -> Result<String, Stop> {
        let topic = self.bench.topic(purpose, 1, &[])?;
        let record = |number: i32| {
            let text = format!("value {number}");
            let timestamp = start + 1_000 * i64::from(number);
            Record { timestamp, ..Record::new(0, Some(b"key"), Some(text.as_bytes())) }
        };
        let records: Vec<_> = (0..count).map(record).collect();
        self.bench.write(self.bench.reference(), &topic, &records, Writing::default())?;
        Ok(topic)
    }
}

/// `output` holds each of `wanted`, and none of `unwanted`.
pub(super) fn expect_text(output: &str, wanted: &[&str], unwanted: &[&str]) -> Result<(), Stop> {
    let missing = wanted.iter().find(|text| !output.contains(**text)).map(|text| format!("misses {text:?}"));
    let surplus = unwanted.iter().find(|text| output.contains(**text)).map(|text| format!("has {text:?}"));
    match missing.or(surplus) {
        Some(what) => Err(Stop::Failed(format!("the output {what}:\n{}", clip(output)))),
        None => Ok(()),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(3_000).collect()
}

fn topics(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let name = tools.bench.fresh_name("by-tool");
    let ask = |arguments: &[&str]| tools.run("TopicCommand", arguments);
    let create = ["--create", "--topic", &name, "--partitions", "3", "--replication-factor", "1"];
    ask(&[&create[..], &["--config", "cleanup.policy=compact"]].concat())?;
    expect_text(&ask(&["--list"])?, &[&name], &[])?;
    let describe = ["--describe", "--topic", &name];
    let wanted = ["PartitionCount: 3", "ReplicationFactor: 1", "cleanup.policy=compact", "Leader: 1", "Isr: 1"];
    expect_text(&ask(&describe)?, &wanted, &["none"])?;
    ask(&["--alter", "--topic", &name, "--partitions", "6"])?;
    expect_text(&ask(&describe)?, &["PartitionCount: 6", "Partition: 5"], &[])?;
    match ask(&create) {
        Err(Stop::Failed(text)) => expect_text(&text, &["TopicExistsException"], &[])?,
        other => return Err(Stop::Failed(format!("a second creation gave {other:?}"))),
    }
    ask(&["--delete", "--topic", &name])?;
    expect_text(&ask(&["--list"])?, &[], &[&name])
}

fn topic_configs(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let name = tools.bench.topic("configs", 1, &[])?;
    let ask = |arguments: &[&str]| {
        let entity = ["--entity-type", "topics", "--entity-name", &name];
        tools.run("kafka.admin.ConfigCommand", &[&entity[..], arguments].concat())
    };
    ask(&["--alter", "--add-config", "retention.ms=1234567,cleanup.policy=[compact,delete]"])?;
    let wanted = ["retention.ms=1234567", "cleanup.policy=compact,delete", "DYNAMIC_TOPIC_CONFIG"];
    expect_text(&ask(&["--describe"])?, &wanted, &[])?;
    ask(&["--alter", "--delete-config", "retention.ms"])?;
    expect_text(&ask(&["--describe"])?, &["cleanup.policy=compact,delete"], &["retention.ms=1234567"])?;
    expect_text(&ask(&["--describe", "--all"])?, &["segment.bytes=1073741824", "DEFAULT_CONFIG"], &[])?;
    match ask(&["--alter", "--add-config", "retention.ms=soon"]) {
        Err(Stop::Failed(text)) => expect_text(&text, &["Invalid value soon for configuration retention.ms"], &[]),
        Ok(_) | Err(Stop::Unsupported(_) | Stop::Refused { .. }) => {
            Err(Stop::Failed("retention.ms=soon was taken".to_owned()))
        }
    }
}

fn broker_configs(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let ask = |entity: &[&str], arguments: &[&str]| {
        tools.run("kafka.admin.ConfigCommand", &[&["--entity-type", "brokers"], entity, arguments].concat())
    };
    let wanted = ["log.segment.bytes=1073741824", "num.partitions=1", "STATIC_BROKER_CONFIG", "DEFAULT_CONFIG"];
    expect_text(&ask(&["--entity-name", "1"], &["--describe", "--all"])?, &wanted, &[])?;
    let everywhere = ["--entity-default"];
    ask(&everywhere, &["--alter", "--add-config", "message.max.bytes=1048000"])?;
    expect_text(&ask(&everywhere, &["--describe"])?, &["message.max.bytes=1048000"], &[])?;
    let one = ask(&["--entity-name", "1"], &["--describe", "--all"])?;
    expect_text(&one, &["message.max.bytes=1048000", "DYNAMIC_DEFAULT_BROKER_CONFIG"], &[])?;
    ask(&everywhere, &["--alter", "--delete-config", "message.max.bytes"])?;
    expect_text(&ask(&everywhere, &["--describe"])?, &[], &["message.max.bytes=1048000"])
}

/// Of a group that there need not be.
fn group_configs(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let name = tools.bench.fresh_name("group");
    let entity = ["--entity-type", "groups", "--entity-name", &name];
    let ask = |arguments: &[&str]| tools.run("kafka.admin.ConfigCommand", &[&entity[..], arguments].concat());
    let own = "consumer.session.timeout.ms=50000,consumer.heartbeat.interval.ms=6000,consumer.assignment.interval.ms=0";
    ask(&["--alter", "--add-config", own])?;
    let told = ask(&["--describe"])?;
    let expected = [
        "consumer.session.timeout.ms=50000",
        "consumer.heartbeat.interval.ms=6000",
        "consumer.assignment.interval.ms=0",
    ];
    expect_text(&told, &expected, &[])?;
    for (wrong, why) in [
        ("consumer.session.timeout.ms=70000", "consumer.session.timeout.ms"),
        ("consumer.heartbeat.interval.ms=20000", "consumer.heartbeat.interval.ms"),
        ("session.timeout.ms=50000", "session.timeout.ms"),
    ] {
        match ask(&["--alter", "--add-config", wrong]) {
            Err(Stop::Failed(text)) => expect_text(&text, &["InvalidConfigurationException", why], &[])?,
            other => return Err(Stop::Failed(format!("{wrong} was not refused: {other:?}"))),
        }
    }
    // Not the session's timeout: the brokers' own is below this heartbeat.
    ask(&["--alter", "--delete-config", "consumer.heartbeat.interval.ms"])?;
    expect_text(&ask(&["--describe"])?, &["consumer.session.timeout.ms=50000"], &["heartbeat.interval.ms=6000"])
}

fn get_offsets(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let start = now_ms() - 1_000_000;
    let topic = tools.filled("get-offsets", 100, start)?;
    let inside = (start + 41_500).to_string();
    for (time, offset) in [("earliest", "0"), ("latest", "100"), ("max-timestamp", "99"), (&inside, "42")] {
        let output = tools.run("GetOffsetShell", &["--topic", &topic, "--time", time])?;
        expect_equal(&format!("offset at {time}"), &format!("{topic}:0:{offset}").as_str(), &output.trim())?;
    }
    Ok(())
}

fn delete_records(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let topic = tools.filled("delete-records", 100, now_ms())?;
    let file = tools.bench.scratch().join("delete.json");
    let text = format!(r#"{{"partitions": [{{"topic": "{topic}", "partition": 0, "offset": 60}}], "version": 1}}"#);
    fs::write(&file, text)?;
    let output = tools.run("DeleteRecordsCommand", &["--offset-json-file", &file.to_string_lossy()])?;
    expect_text(&output, &["low_watermark: 60"], &["rror"])?;
    let reference = tools.bench.reference();
    expect_equal("earliest offset", &60, &tools.bench.offsets(reference, &topic, 0, 0)?.earliest)?;
    let starts = BTreeMap::from([(0, 60)]);
    let seen = tools.bench.read(reference, &topic, &starts, &BTreeMap::from([(0, 40)]))?;
    expect_equal("first value left", &Some(b"value 60".to_vec()), &seen.records[0].value)
}

fn log_dirs(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let topic = tools.filled("log-dirs", 100, now_ms())?;
    let output = tools.run("LogDirsCommand", &["--describe", "--topic-list", &topic])?;
    let json = output.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let answer: serde_json::Value =
        serde_json::from_str(json).map_err(|error| Stop::Failed(format!("{error}: {output}")))?;
    let dir = &answer["brokers"][0]["logDirs"][0];
    expect_text(&output, &[&format!("{topic}-0"), "\"error\":null"], &[])?;
    let size = dir["partitions"][0]["size"].as_u64();
    if size.is_some_and(|size| size > 1_000) { Ok(()) } else { Err(Stop::Failed(format!("size {size:?} in {output}"))) }
}

fn api_versions(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let output = tools.run("BrokerApiVersionsCommand", &[])?;
    // Produce is advertised from 0, for librdkafka's sake, though 3 is the least that is taken (KAFKA-18659).
    let wanted =
        ["(id: 1 rack: null", "Produce(0): 0 to ", "Fetch(1): 4 to ", "ApiVersions(18): 0 to ", "Metadata(3): 0 to "];
    expect_text(&output, &wanted, &["ERROR", "Exception"])
}

fn cluster_id(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let arguments = ["cluster-id", "--bootstrap-server", tools.bench.bootstrap()];
    expect_text(&tools.offline("ClusterTool", &arguments, "")?, &["Cluster ID: "], &[])
}

fn features(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let output = tools.run("FeatureCommand", &["describe"])?;
    expect_text(&output, &["Feature: metadata.version", "FinalizedVersionLevel"], &[])?;
    let level = |output: &str| output.lines().find(|line| line.contains("group.version")).map(str::to_owned);
    let change = |what: &[&str]| tools.run("FeatureCommand", what);
    expect_text(&change(&["downgrade", "--feature", "group.version=0"])?, &["group.version was downgraded to 0"], &[])?;
    let lower = level(&tools.run("FeatureCommand", &["describe"])?).unwrap_or_default();
    expect_text(&lower, &["FinalizedVersionLevel: 0"], &[])?;
    expect_text(&change(&["upgrade", "--feature", "group.version=1"])?, &["group.version was upgraded to 1"], &[])?;
    match change(&["upgrade", "--feature", "group.version=99"]) {
        Err(Stop::Failed(text)) => expect_text(&text, &["Invalid update version 99 for feature group.version"], &[]),
        other => Err(Stop::Failed(format!("group.version=99 gave {other:?}"))),
    }
}

fn metadata_quorum(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let output = tools.run("MetadataQuorumCommand", &["describe", "--status"])?;
    expect_text(&output, &["LeaderId:", "HighWatermark:", "CurrentVoters:"], &[])
}

/// The console producer and consumer, with keys, by partition and offset.
fn console(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let topic = tools.bench.topic("console", 1, &[])?;
    let input: String = (0..20).map(|number| format!("key{number}\tvalue {number}\n")).collect();
    let server = tools.bench.bootstrap();
    let write = ["--bootstrap-server", server, "--topic", &topic, "--reader-property", "parse.key=true"];
    tools.offline("ConsoleProducer", &write, &input)?;
    let format = ["--formatter-property", "print.key=true", "--formatter-property", "print.offset=true"];
    let read = ["--topic", &topic, "--partition", "0", "--timeout-ms", "20000"];
    let some = ["--offset", "7", "--max-messages", "5"];
    let output = tools.run("consumer.ConsoleConsumer", &[&read[..], &format, &some].concat())?;
    let expected: String = (7..12).map(|number| format!("Offset:{number}\tkey{number}\tvalue {number}\n")).collect();
    expect_equal("what the console consumer printed", &expected, &output)?;
    let all = ["--offset", "earliest", "--max-messages", "20"];
    let output = tools.run("consumer.ConsoleConsumer", &[&read[..], &all].concat())?;
    expect_equal("lines from the beginning", &20, &output.lines().count())
}

fn consumer_groups(tools: &mut Tools<'_>) -> Result<(), Stop> {
    group_of_tools(tools, "classic")
}

/// The same of the protocol of KIP-848, and while somebody is in it.
fn next_consumer_groups(tools: &mut Tools<'_>) -> Result<(), Stop> {
    group_of_tools(tools, "consumer")?;
    let topic = tools.bench.topic("consumer-groups", 3, &[])?;
    let group = tools.bench.fresh_name("by-member");
    let java = Client::install(tools.workshop, "java").map_err(Stop::Failed)?;
    let member = tools.bench.member(&java, Manner::CONSUMER, (&topic, &group), 0, SITTING)?;
    let ask = |what: &[&str]| {
        tools.run("consumer.group.ConsumerGroupCommand", &[&["--group", &group, "--describe"], what].concat())
    };
    let began = Instant::now();
    while !ask(&["--state"])?.contains("Stable") {
        if began.elapsed() > Duration::from_secs(60) {
            return Err(Stop::Failed("a group of one member is not stable within a minute".to_owned()));
        }
    }
    expect_text(&ask(&["--state", "--verbose"])?, &["uniform", "Stable"], &["rror"])?;
    expect_text(&ask(&["--members", "--verbose"])?, &[&group, &topic, "0,1,2"], &["rror"])?;
    member.kill().map(drop)
}

/// A group of the console consumer: described, sent back to the start, and taken away.
fn group_of_tools(tools: &Tools<'_>, protocol: &str) -> Result<(), Stop> {
    let protocol = format!("group.protocol={protocol}");
    let topic = tools.filled("consumer-groups", 10, now_ms())?;
    let group = tools.bench.fresh_name("by-tool");
    let read = |count: &str| {
        let read = ["--topic", &topic, "--group", &group, "--timeout-ms", "20000", "--max-messages", count];
        let first = ["--command-property", "auto.offset.reset=earliest", "--command-property", &protocol];
        tools.run("consumer.ConsoleConsumer", &[&read[..], &first].concat())
    };
    let ask = |arguments: &[&str]| tools.run("consumer.group.ConsumerGroupCommand", arguments);
    let of_group = |arguments: &[&str]| ask(&[&["--group", &group], arguments].concat());
    expect_equal("lines that the group read", &10, &read("10")?.lines().count())?;
    expect_text(&ask(&["--list"])?, &[&group], &[])?;
    expect_text(&of_group(&["--describe", "--state"])?, &["Empty"], &["rror"])?;
    expect_position(&of_group(&["--describe"])?, &topic, "10 10 0")?;
    let reset = ["--reset-offsets", "--topic", &topic, "--to-offset", "4", "--execute"];
    expect_text(&of_group(&reset)?, &[&topic], &["rror"])?;
    expect_position(&of_group(&["--describe"])?, &topic, "4 10 6")?;
    let expected: String = (4..10).map(|number| format!("value {number}\n")).collect();
    expect_equal("what the group read after the reset", &expected, &read("6")?)?;
    expect_text(&of_group(&["--delete-offsets", "--topic", &topic])?, &["Successful"], &["rror"])?;
    expect_text(&of_group(&["--describe"])?, &[], &[&topic])?;
    expect_text(&of_group(&["--delete"])?, &["was successful"], &["rror"])?;
    expect_text(&ask(&["--list"])?, &[], &[&group])
}

/// The group's line for partition 0 of a topic has these numbers: its offset, the end, and the lag.
fn expect_position(output: &str, topic: &str, wanted: &str) -> Result<(), Stop> {
    let line =
        output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|line| line.get(1) == Some(&topic));
    let Some(line) = line else { return Err(Stop::Failed(format!("no line for {topic}:\n{}", clip(output)))) };
    expect_equal(
        "offset, end and lag of the group",
        &wanted,
        &&*line[3..].iter().take(3).copied().collect::<Vec<_>>().join(" "),
    )
}

fn producer_perf(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let topic = tools.bench.topic("perf", 4, &[])?;
    let load = ["--topic", &topic, "--num-records", "20000", "--record-size", "200", "--throughput", "-1"];
    let output = tools.run("ProducerPerformance", &[&load[..], &["--command-property", "acks=all"]].concat())?;
    expect_text(&output, &["20000 records sent"], &["rror"])
}

/// Records that make several segments, one run of them with each codec.
fn segmented(tools: &Tools<'_>) -> Result<(String, Vec<Record>), Stop> {
    let topic = tools.bench.topic("segments", 2, &[("segment.bytes", "1048576")])?;
    let mut random = Random::new(5);
    let mut all = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let record = |number| Record::new(number % 2, Some(codec.as_bytes()), Some(&random.letters(1_000)));
        let records: Vec<_> = (0..1_600).map(record).collect();
        let how = Writing { codec, idempotent: true, ..Writing::default() };
        tools.bench.write(tools.bench.reference(), &topic, &records, how)?;
        all.extend(records);
    }
    Ok((topic, all))
}

/// The tests of Ottla's client and commands, which are no other for Apache Kafka.
fn client_suite(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--release", "-p", "ottla", "--test", "client"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("OTTLA_TEST_BROKERS", tools.bench.bootstrap());
    let finished = process::run(&mut command, tools.bench.scratch(), SUITE_LIMIT)?;
    if !finished.succeeded() {
        return Err(Stop::Failed(finished.transcript()));
    }
    expect_text(&finished.stdout, &["test result: ok"], &[" 0 passed"])
}

/// After SIGTERM, and after `kill -9`, everything is still there, and more can be written.
fn restart(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let (topic, mut records) = segmented(tools)?;
    for is_clean in [true, false] {
        if is_clean {
            let status = tools.nodes[0].stop().map_err(Stop::Failed)?;
            // The JVM ends with 128 + 15 after SIGTERM.
            expect_equal("exit code", &true, &matches!(status.code(), Some(0 | 143)))?;
        } else {
            tools.nodes[0].kill()?;
        }
        tools.nodes[0] = tools.nodes[0].plan.start().map_err(Stop::Failed)?;
        let more = Record::new(0, None, Some(b"after the restart"));
        let told =
            tools.bench.write(tools.bench.reference(), &topic, std::slice::from_ref(&more), Writing::default())?;
        records.push(more);
        let Seen { records: read, .. } =
            tools.bench.read(tools.bench.reference(), &topic, &BTreeMap::new(), &counts(&records))?;
        let seen = Seen { records: read, blurs_nulls: false };
        let untold = super::bench::Written { offsets: None, ..told };
        expect_same(&records, &untold, &seen, &BTreeMap::new())?;
    }
    Ok(())
}

/// What `kafka-dump-log` says when something is wrong.
const COMPLAINTS: &[&str] = &[
    "isvalid: false",
    "Mismatch",
    "mismatch",
    "Exception",
    "orrupt",
    "Non-consecutive",
    "out of order",
    "nvalid",
    "Could not",
];

/// Every file of a topic, and the metadata log, over the directory of a stopped broker.
fn dump_log(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let (topic, records) = segmented(tools)?;
    tools.nodes[0].stop().map_err(Stop::Failed)?;
    let data = tools.nodes[0].plan.data();
    let of_topic = [data.join(format!("{topic}-0")), data.join(format!("{topic}-1"))];
    let logs = files(&of_topic, &["log"])?;
    if logs.len() < 4 {
        return Err(Stop::Failed(format!("too few segments: {logs:?}")));
    }
    let dump = |files: &[PathBuf], options: &[&str]| {
        let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        let output = tools.offline("DumpLogSegments", &[&["--files", &files.join(",")], options].concat(), "")?;
        expect_text(&output, &[], COMPLAINTS).map(|()| output)
    };
    let output = dump(&logs, &["--deep-iteration", "--print-data-log"])?;
    expect_equal("records in the dump", &records.len(), &output.matches("| offset: ").count())?;
    let indexes = files(&of_topic, &["index", "timeindex"])?;
    dump(&indexes, &["--index-sanity-check"])?;
    dump(&indexes, &["--verify-index-only"])?;
    dump(&indexes, &[])?;
    let output = dump(&files(&of_topic, &["snapshot"])?, &[])?;
    expect_text(&output, &["producerId: "], &[])?;
    let metadata = files(&[data.join("__cluster_metadata-0")], &["log", "checkpoint"])?;
    let output = dump(&metadata, &["--cluster-metadata-decoder"])?;
    expect_text(&output, &["TOPIC_RECORD", "PARTITION_RECORD", "REGISTER_BROKER_RECORD", &topic], &[])
}

/// The files in `dirs` with one of `extensions`, in order.
pub(super) fn files(dirs: &[PathBuf], extensions: &[&str]) -> Result<Vec<PathBuf>, Stop> {
    let mut found = Vec::new();
    for dir in dirs {
        for entry in fs::read_dir(dir).map_err(|error| Stop::Failed(format!("{}: {error}", dir.display())))? {
            found.push(entry?.path());
        }
    }
    let extension = |path: &Path| path.extension().map(|text| text.to_string_lossy().into_owned());
    found.retain(|path| extension(path).is_some_and(|text| extensions.contains(&text.as_str())));
    found.sort();
    Ok(found)
}
