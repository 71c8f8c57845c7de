//! A compacted topic, from its first record to the log files that another broker is given.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::bench::Writing;
use super::client::Stop;
use super::judge::expect_equal;
use super::tools::{Tools, expect_text, files};
use crate::broker::{Kind, Plan};
use crate::records::{Random, Record};

/// So many records are written, in so many turns.
const UPDATES: usize = 10_000_000;
const TURNS: usize = 10;
/// Of so many keys.
const KEYS: u64 = 100_000;
/// How long the cleaner may take.
const CLEANING: Duration = Duration::from_secs(180);

/// How long a reader may take.
const READING: Duration = Duration::from_secs(300);

/// What `kafka-dump-log` says when something is wrong with a log that has holes.
const COMPLAINTS: &[&str] = &["isvalid: false", "Exception", "orrupt", "nvalid", "Could not", "ismatch"];

/// Of each key the number of its last update.
type Latest = BTreeMap<String, u64>;

/// Ten million updates, read before, while and after they are cleaned, over a `kill -9`; then the files are looked at,
/// and served by Apache Kafka.
pub fn compaction(tools: &mut Tools<'_>) -> Result<(), Stop> {
    let policy = |policy: &str| format!("cleanup.policy={policy}");
    let configs = [("segment.bytes", "16777216"), ("min.cleanable.dirty.ratio", "0.01"), ("cleanup.policy", "delete")];
    let topic = tools.bench.topic("compacted", 1, &configs)?;
    let latest = write(tools, &topic)?;
    expect_equal("records before", &UPDATES, &read(tools, tools.bench.bootstrap(), &topic, &latest)?)?;

    let directory = tools.nodes[0].plan.data().join(format!("{topic}-0"));
    let before = size(&directory)?;
    let alter = ["--alter", "--entity-type", "topics", "--entity-name", &topic, "--add-config"];
    tools.run("kafka.admin.ConfigCommand", &[&alter[..], &[&policy("compact")]].concat())?;
    wait_until_smaller(&directory, before)?;
    tools.nodes[0].kill()?;
    tools.nodes[0] = tools.nodes[0].plan.start().map_err(Stop::Failed)?;
    read(tools, tools.bench.bootstrap(), &topic, &latest)?;
    // The last segments are still written; what they have is there twice at the most.
    wait_until_smaller(&directory, before / 10)?;
    let kept = read(tools, tools.bench.bootstrap(), &topic, &latest)?;

    tools.nodes[0].stop().map_err(Stop::Failed)?;
    for file in files(std::slice::from_ref(&directory), &["log"])? {
        let output = tools.offline("DumpLogSegments", &["--deep-iteration", "--files", &file.to_string_lossy()], "")?;
        expect_text(&output, &["baseOffset: "], COMPLAINTS)?;
    }
    let indexes: Vec<_> = files(std::slice::from_ref(&directory), &["index", "timeindex"])?;
    let indexes: Vec<_> = indexes.iter().map(|file| file.to_string_lossy()).collect();
    let output = tools.offline("DumpLogSegments", &["--index-sanity-check", "--files", &indexes.join(",")], "")?;
    expect_text(&output, &[], COMPLAINTS)?;
    expect_equal("records that Kafka serves", &kept, &served_by_kafka(tools, &topic, &directory, &latest)?)
}

fn write(tools: &Tools<'_>, topic: &str) -> Result<Latest, Stop> {
    let (mut random, mut latest) = (Random::new(7), Latest::new());
    let mut number = 0;
    for turn in 0..TURNS {
        let record = |_| {
            number += 1;
            let key = format!("key-{}", random.below(KEYS));
            let record = Record::new(0, Some(key.as_bytes()), Some(number.to_string().as_bytes()));
            latest.insert(key, number);
            record
        };
        let records: Vec<_> = (0..UPDATES / TURNS).map(record).collect();
        let codec = ["none", "lz4", "zstd", "snappy", "gzip"][turn % 5];
        let how = Writing { codec, idempotent: true, ..Writing::default() };
        tools.bench.write(tools.bench.reference(), topic, &records, how)?;
    }
    Ok(latest)
}

/// Reads the whole topic with Kafka's console consumer: offsets must ascend, and the last of each key be the latest.
/// How many records there are.
fn read(tools: &Tools<'_>, bootstrap: &str, topic: &str, latest: &Latest) -> Result<usize, Stop> {
    let arguments = [
        ["--bootstrap-server", bootstrap],
        ["--topic", topic],
        ["--timeout-ms", "10000"],
        ["--formatter-property", "print.key=true"],
        ["--formatter-property", "print.offset=true"],
    ];
    let arguments: Vec<_> = arguments.concat().into_iter().chain(["--from-beginning"]).collect();
    let output = tools.within(READING, "consumer.ConsoleConsumer", &arguments, "")?;
    let (mut found, mut last, mut count) = (Latest::new(), -1, 0);
    // At its end it logs that nothing came for a while.
    for line in output.lines().filter(|line| line.starts_with("Offset:")) {
        let unreadable = || Stop::Failed(format!("the consumer printed {line:?}"));
        let mut columns = line.split('\t');
        let offset = columns.next().and_then(|it| it.strip_prefix("Offset:")?.parse::<i64>().ok());
        let (offset, key) = (offset.ok_or_else(unreadable)?, columns.next().ok_or_else(unreadable)?);
        let number = columns.next().and_then(|it| it.parse().ok()).ok_or_else(unreadable)?;
        if offset <= last {
            return Err(Stop::Failed(format!("offset {offset} is read after {last}")));
        }
        (last, count) = (offset, count + 1);
        found.insert(key.to_owned(), number);
    }
    let other = latest.iter().find(|(key, number)| found.get(*key) != Some(number));
    match other {
        Some((key, number)) => {
            Err(Stop::Failed(format!("the last of {key} is {number}, and {:?} is read", found.get(key))))
        }
        None => expect_equal("keys", &latest.len(), &found.len()).map(|()| count),
    }
}

/// Bytes of a log's segments.
fn size(directory: &Path) -> Result<u64, Stop> {
    // A file may go at any time.
    let logs = files(&[directory.to_path_buf()], &["log"])?;
    Ok(logs.iter().filter_map(|file| fs::metadata(file).ok()).map(|it| it.len()).sum())
}

fn wait_until_smaller(directory: &Path, than: u64) -> Result<(), Stop> {
    let began = Instant::now();
    loop {
        let now = size(directory)?;
        if now < than {
            return Ok(());
        }
        if began.elapsed() > CLEANING {
            return Err(Stop::Failed(format!("after {CLEANING:?} there are {now} bytes, not below {than}")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Gives the files to a topic of an Apache Kafka broker's own; how many records it serves.
fn served_by_kafka(tools: &Tools<'_>, topic: &str, directory: &Path, latest: &Latest) -> Result<usize, Stop> {
    let plan =
        Plan::new(tools.workshop, Kind::Kafka, &tools.bench.scratch().join("inheritor")).map_err(Stop::Failed)?;
    plan.prepare(tools.workshop).map_err(Stop::Failed)?;
    let mut broker = plan.start().map_err(Stop::Failed)?;
    let create = ["--create", "--topic", topic, "--partitions", "1", "--config", "cleanup.policy=compact"];
    tools.offline("TopicCommand", &[&["--bootstrap-server", &plan.bootstrap()], &create[..]].concat(), "")?;
    broker.stop().map_err(Stop::Failed)?;
    let to = plan.data().join(format!("{topic}-0"));
    let own = ["log", "index", "timeindex", "snapshot"];
    for file in files(std::slice::from_ref(&to), &own)? {
        fs::remove_file(file)?;
    }
    for file in files(&[directory.to_path_buf()], &own)? {
        let name = file.file_name().map(PathBuf::from).unwrap_or_default();
        fs::copy(&file, to.join(name))?;
    }
    // As after a crash: every batch is checked, and the leader epochs are made from them.
    for file in [plan.data().join(".kafka_cleanshutdown"), to.join("leader-epoch-checkpoint")] {
        fs::remove_file(file)?;
    }
    let _broker = plan.start().map_err(Stop::Failed)?;
    read(tools, &plan.bootstrap(), topic, latest)
}
