//! `ottla topic`: create, list, describe, alter, delete.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ClientArgs, Fate, OutputArgs, admin, block_on, bounds, explain, report, table};
use crate::cli::{Failure, Output, parse_pair, print};
use crate::client::{
    Admin, BrokerId, CompactionDescription, ConfigEntry, ConfigSource, Error, ErrorCode, LogDescription, NewTopic,
    Offset, Resource, TopicDescription, TopicPartition,
};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TopicCommand {
    /// Create topics
    Create(CreateArgs),
    /// List the topics
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show topics with their partitions and settings
    #[command(visible_alias = "info")]
    Describe(DescribeArgs),
    /// Change a topic's settings, or give it more partitions
    Alter(AlterArgs),
    /// Delete topics
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    /// Their names
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    /// How many partitions; the broker's num.partitions if not given
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas of each; the broker's default.replication.factor if not given
    #[arg(short, long, value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    /// A setting of the topic, as in -c cleanup.policy=compact; may be repeated
    #[arg(short = 'c', long = "config", value_name = "KEY=VALUE", value_parser = parse_pair)]
    configs: Vec<(String, String)>,
    /// Take it as done if there is a topic of this name, whatever it is like
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Also the topics that brokers keep for themselves
    #[arg(short, long)]
    internal: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DescribeArgs {
    /// Their names
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    /// Also the settings that nobody set
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AlterArgs {
    /// Its name
    #[arg(value_name = "TOPIC")]
    name: String,
    /// Set a key of it; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
    /// Set a key of it no more; may be repeated
    #[arg(short = 'd', long, value_name = "KEY")]
    unset: Vec<String>,
    /// How many partitions it shall have in all
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeleteArgs {
    /// Their names
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    /// Take it as done if there is no topic of this name
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(in crate::cli) fn run(command: &TopicCommand) -> Result<(), Failure> {
    block_on(async {
        match command {
            TopicCommand::Create(args) => create(args).await,
            TopicCommand::List(args) => list(args).await,
            TopicCommand::Describe(args) => describe(args).await,
            TopicCommand::Alter(args) => alter(args).await,
            TopicCommand::Delete(args) => delete(args).await,
        }
    })
}

async fn create(args: &CreateArgs) -> Result<(), Failure> {
    let admin = admin(&args.client).await?;
    let configs: Vec<(Box<str>, Box<str>)> =
        args.configs.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect();
    let mut fates = Vec::new();
    for name in &args.names {
        let topic = NewTopic {
            name: name.as_str().into(),
            partitions: args.partitions,
            replication_factor: args.replicas,
            configs: configs.clone(),
        };
        let created = admin.create_topic(topic).await.map(|_| ());
        let excused = args.if_not_exists.then_some(ErrorCode::TOPIC_ALREADY_EXISTS);
        fates.push(fate(name, created, excused));
    }
    report("topic", &fates, args.output.output)
}

async fn delete(args: &DeleteArgs) -> Result<(), Failure> {
    let admin = admin(&args.client).await?;
    let mut fates = Vec::new();
    for name in &args.names {
        let excused = args.if_exists.then_some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        fates.push(fate(name, admin.delete_topic(name).await, excused));
    }
    report("topic", &fates, args.output.output)
}

async fn alter(args: &AlterArgs) -> Result<(), Failure> {
    if args.set.is_empty() && args.unset.is_empty() && args.partitions.is_none() {
        return Err(Failure::usage("nothing to change: give --set KEY=VALUE, --unset KEY or --partitions N"));
    }
    let admin = admin(&args.client).await?;
    let set = args.set.iter().map(|(key, value)| (key.as_str().into(), Some(value.as_str().into())));
    let entries: Vec<_> = set.chain(args.unset.iter().map(|key| (key.as_str().into(), None))).collect();
    // Two requests: if the first is refused nothing is done; if the second is, what the first did is told.
    if let Some(count) = args.partitions {
        let added = admin.create_partitions(&args.name, count).await;
        if added.is_err() || entries.is_empty() {
            return report("topic", &[fate(&args.name, added, None)], args.output.output);
        }
    }
    let set = admin.alter_configs(Resource::Topic, &args.name, entries).await;
    let (name, mut done) = fate(&args.name, set, None);
    if let (Err(why), Some(count)) = (&mut done, args.partitions) {
        *why += &format!("; its partitions were added, there are {count} now");
    }
    report("topic", &[(name, done)], args.output.output)
}

fn fate(name: &str, done: Result<(), Error>, excused: Option<ErrorCode>) -> Fate {
    let done = match done {
        Err(error) if excused.is_none() || error.code() != excused => Err(explain(&format!("topic {name}"), &error)),
        Ok(()) | Err(_) => Ok(()),
    };
    (name.to_owned(), done)
}

async fn list(args: &ListArgs) -> Result<(), Failure> {
    let cluster = admin(&args.client).await?.describe_cluster().await;
    let cluster = cluster.map_err(|error| Failure::new(explain("the cluster", &error)))?;
    let topics = cluster.topics.iter().filter(|topic| args.internal || !topic.internal);
    print(&match args.output.output {
        Output::Table => table(&["NAME", "PARTITIONS", "REPLICAS"], topics.map(summary)),
        Output::Json => super::json(&topics.map(summary_json).collect())?,
    })
}

fn replicas(topic: &TopicDescription) -> usize {
    topic.partitions.first().map_or(0, |partition| partition.replicas.len())
}

fn summary(topic: &TopicDescription) -> Vec<String> {
    vec![topic.name.to_string(), topic.partitions.len().to_string(), replicas(topic).to_string()]
}

fn summary_json(topic: &TopicDescription) -> Value {
    json!({
        "name": topic.name,
        "id": topic.id.to_string(),
        "partitions": topic.partitions.len(),
        "replicas": replicas(topic),
        "internal": topic.internal,
    })
}

/// All that is known of a topic.
struct Described {
    topic: TopicDescription,
    bounds: Vec<Result<(Offset, Offset), Error>>,
    /// Its partitions' logs at their leaders, as far as those tell.
    logs: BTreeMap<i32, LogDescription>,
    configs: Vec<ConfigEntry>,
}

async fn describe(args: &DescribeArgs) -> Result<(), Failure> {
    let admin = admin(&args.client).await?;
    let names: Vec<_> = args.names.iter().map(String::as_str).collect();
    let cluster = admin.describe_topics(&names).await;
    let cluster = cluster.map_err(|error| Failure::new(explain("the topics", &error)))?;
    let mut described = Vec::new();
    for topic in cluster.topics {
        described.push(look_at(&admin, topic, args.all).await?);
    }
    print(&match args.output.output {
        Output::Table => described.iter().map(as_table).collect::<Vec<_>>().join("\n"),
        Output::Json => super::json(&described.iter().map(as_json).collect())?,
    })
}

async fn look_at(admin: &Admin, topic: TopicDescription, all: bool) -> Result<Described, Failure> {
    if let Some(code) = topic.error {
        return Err(missing(&topic.name, code));
    }
    let partitions = topic.partitions.iter().filter(|partition| partition.leader.is_some());
    let partitions: Vec<_> = partitions.map(|it| TopicPartition::new(&*topic.name, it.index)).collect();
    let bounds = bounds(admin, &partitions).await;
    let logs = logs(admin, &topic).await;
    let configs = admin.describe_configs(Resource::Topic, &topic.name).await;
    let mut configs = configs.map_err(|error| Failure::new(explain(&format!("topic {}", topic.name), &error)))?;
    configs.retain(|entry| all || entry.source == ConfigSource::Topic);
    Ok(Described { topic, bounds, logs, configs })
}

/// What the leaders tell of the logs. One that tells nothing (an ACL may forbid it) leaves its columns empty.
async fn logs(admin: &Admin, topic: &TopicDescription) -> BTreeMap<i32, LogDescription> {
    let mut led: BTreeMap<BrokerId, Vec<i32>> = BTreeMap::new();
    for partition in &topic.partitions {
        if let Some(leader) = partition.leader {
            led.entry(leader).or_default().push(partition.index);
        }
    }
    let mut logs = BTreeMap::new();
    for (leader, partitions) in led {
        let described = admin.describe_logs(leader, &topic.name, partitions).await.unwrap_or_default();
        logs.extend(described.into_iter().map(|log| (log.index, log)));
    }
    logs
}

/// A topic that is not there, or about which nothing is known.
pub(super) fn missing(name: &str, code: ErrorCode) -> Failure {
    let error = Error::Failed { error: crate::client::ClientError::Broker(code), definite: true, trouble: None };
    Failure::new(explain(&format!("topic {name}"), &error))
}

fn as_table(described: &Described) -> String {
    let Described { topic, bounds, logs, configs } = described;
    let id = topic.id.to_string();
    let (count, replicas) = (topic.partitions.len(), replicas(topic));
    let mut text =
        format!("NAME        {}\nID          {id}\nPARTITIONS  {count}\nREPLICAS    {replicas}\n\n", topic.name);
    let ids = |ids: &[crate::client::BrokerId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(",");
    let mut bounds = bounds.iter();
    let partitions = topic.partitions.iter().map(|it| {
        let known = it.leader.and_then(|_| bounds.next()).and_then(|bounds| bounds.as_ref().ok());
        let number =
            |of: &dyn Fn(&(Offset, Offset)) -> i64| known.map_or("-".to_owned(), |known| of(known).to_string());
        vec![
            it.index.to_string(),
            it.leader.map_or("none".to_owned(), |id| id.0.to_string()),
            it.leader_epoch.0.to_string(),
            ids(&it.replicas),
            ids(&it.in_sync),
            number(&|(start, _)| start.0),
            number(&|(_, end)| end.0),
            number(&|(start, end)| *end - *start),
            logs.get(&it.index).map_or("-".to_owned(), |log| log.size.to_string()),
        ]
    });
    let header = ["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END", "RECORDS", "BYTES"];
    text += &table(&header, partitions.collect::<Vec<_>>());
    let compacted = logs.values().filter_map(|log| Some((log.index, log.compaction.as_ref()?)));
    let compacted: Vec<_> = compacted.map(|(index, state)| compaction_row(index, state)).collect();
    if !compacted.is_empty() {
        text += "\n";
        text += &table(&["PARTITION", "CLEAN TO", "CLEAN BYTES", "DIRTY BYTES", "CLEANER"], compacted);
    }
    if !configs.is_empty() {
        let row = |entry: &ConfigEntry| vec![entry.name.to_string(), shown(entry), source(entry.source)];
        text += "\n";
        text += &table(&["KEY", "VALUE", "SOURCE"], configs.iter().map(row));
    }
    text
}

fn compaction_row(index: i32, state: &CompactionDescription) -> Vec<String> {
    let cleaner = match (&state.uncleanable, state.is_running) {
        (Some(why), _) => format!("given up: {why}"),
        (None, true) => "running".to_owned(),
        (None, false) => "idle".to_owned(),
    };
    let numbers = [i64::from(index), state.clean_to.0, state.clean_bytes, state.dirty_bytes];
    numbers.iter().map(i64::to_string).chain([cleaner]).collect()
}

fn shown(entry: &ConfigEntry) -> String {
    let unknown = if entry.sensitive { "[hidden]" } else { "-" };
    entry.value.as_deref().unwrap_or(unknown).to_owned()
}

fn source(source: ConfigSource) -> String {
    match source {
        ConfigSource::Topic => "topic".to_owned(),
        ConfigSource::Broker => "broker".to_owned(),
        ConfigSource::Brokers => "all brokers".to_owned(),
        ConfigSource::File => "file".to_owned(),
        ConfigSource::Default => "default".to_owned(),
        ConfigSource::Other(number) => format!("source {number}"),
    }
}

fn as_json(described: &Described) -> Value {
    let Described { topic, bounds, logs, configs } = described;
    let mut bounds = bounds.iter();
    let partitions = topic.partitions.iter().map(|it| {
        let known = it.leader.and_then(|_| bounds.next()).and_then(|bounds| bounds.as_ref().ok());
        json!({
            "partition": it.index,
            "leader": it.leader.map(|id| id.0),
            "leader_epoch": it.leader_epoch.0,
            "replicas": it.replicas.iter().map(|id| id.0).collect::<Vec<_>>(),
            "isr": it.in_sync.iter().map(|id| id.0).collect::<Vec<_>>(),
            "offline": it.offline.iter().map(|id| id.0).collect::<Vec<_>>(),
            "start_offset": known.map(|(start, _)| start.0),
            "end_offset": known.map(|(_, end)| end.0),
            "bytes": logs.get(&it.index).map(|log| log.size),
            "compaction": logs.get(&it.index).and_then(|log| log.compaction.as_ref()).map(|state| json!({
                "clean_to": state.clean_to.0,
                "clean_bytes": state.clean_bytes,
                "dirty_bytes": state.dirty_bytes,
                "running": state.is_running,
                "uncleanable": state.uncleanable,
            })),
        })
    });
    let partitions: Vec<_> = partitions.collect();
    let configs = configs.iter().map(|entry| {
        json!({ "key": entry.name, "value": entry.value, "source": source(entry.source), "read_only": entry.read_only })
    });
    let configs: Vec<_> = configs.collect();
    let mut all = summary_json(topic);
    all["partitions"] = partitions.into();
    all["configs"] = configs.into();
    all
}
