//! `ottla consume`: records to standard output.

mod format;
mod output;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use ottla_core::pattern::Pattern;

use self::format::Format;
use self::output::Writer;
use super::place::{PLACES, Place, Range};
use super::topic::missing;
use super::{ClientArgs, block_on, encoding, explain, reach};
use crate::cli::Failure;
use crate::client::{
    Admin, ConsumeError, Consumer, Error, ErrorCode, Offset, PolledRecords, Start, TopicDescription, TopicPartition,
};
use crate::signals;

/// How long a poll waits.
const POLL: Duration = Duration::from_millis(500);
/// Polls without anything before the reason is looked for and told.
const PATIENCE: u32 = 6;

#[derive(Debug, Args)]
#[command(after_help = format!("A format (-f) is text and:\n{}", format::HELP))]
pub(in crate::cli) struct ConsumeArgs {
    /// From which topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Topics are regular expressions, of which any may match any part of a name (^ and $ stand for its ends); in a
    /// group, topics that come later too
    #[arg(short, long)]
    regex: bool,
    /// As a member of this group: from where it has committed, shared with its other members, committed as it is read
    #[arg(short, long, conflicts_with_all = ["partitions", "exit", "offset"])]
    group: Option<String>,
    /// From which partitions, as in 0,2-4; all if not given
    #[arg(short, long, value_name = "LIST", value_parser = partitions)]
    partitions: Option<Partitions>,
    /// Where to begin, or a range FROM:UNTIL; see below
    #[arg(long, visible_alias = "from", value_name = "WHERE", default_value = "start", allow_hyphen_values = true,
          long_help = PLACES)]
    offset: Range,
    /// End when what is there now has been read
    #[arg(short, long)]
    exit: bool,
    /// End after so many records
    #[arg(short = 'n', long = "count", value_name = "N")]
    count: Option<u64>,
    /// How each record is printed, as in '%t %p %o %k %v\n'
    #[arg(short, long, conflicts_with_all = ["key_separator", "delimiter", "json", "output"])]
    format: Option<String>,
    /// Print keys too, and this behind each
    #[arg(short = 'K', long, value_name = "SEPARATOR")]
    key_separator: Option<String>,
    /// What is printed behind each record
    #[arg(short = 'D', long, default_value = "\\n")]
    delimiter: String,
    /// The same as -o json
    #[arg(short = 'J', long)]
    json: bool,
    /// Values as they are, or one JSON object a line
    #[arg(short = 'o', long, value_enum, default_value_t = Look::Text)]
    output: Look,
    #[command(flatten)]
    client: ClientArgs,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Look {
    Text,
    Json,
}

/// A list of partitions.
#[derive(Clone, Debug)]
pub(super) struct Partitions(pub(super) Vec<i32>);

pub(in crate::cli) fn run(args: &ConsumeArgs) -> Result<(), Failure> {
    let format = format_of(args).map_err(Failure::usage)?;
    let mut own = vec![
        ("auto.offset.reset", "earliest"),
        ("allow.auto.create.topics", "false"),
        ("max.poll.records", "4000"),
        ("max.partition.fetch.bytes", "4194304"),
    ];
    own.extend(args.group.as_deref().map(|group| ("group.id", group)));
    let config = args.client.config(&own)?;
    block_on(async {
        let interrupted = signals::interrupted()?;
        reach(&config).await?;
        let admin = Admin::new(&config).map_err(Failure::new)?;
        let mut consumer = Consumer::new(&config).map_err(Failure::new)?;
        let mut reading = Reading {
            format,
            left: args.count.unwrap_or(u64::MAX),
            until: BTreeMap::new(),
            bounded: false,
            commits: args.group.is_some(),
            // The topics of a group, and those that are found by their names, may go and come back.
            named: if args.group.is_some() || args.regex { &[] } else { &args.topics },
            last: Vec::new(),
        };
        if args.group.is_some() {
            subscribe(args, &admin, &mut consumer).await?;
        } else {
            reading.begin(args, &admin, &mut consumer).await?;
        }
        let writer = Writer::start()?;
        let read = tokio::select! {
            read = reading.read(&admin, &mut consumer, &writer) => read,
            () = interrupted => Ok(()),
        };
        let written = writer.finish().await;
        if args.group.is_some() {
            reading.put_back(&mut consumer, matches!(written, Ok(true))).map_err(Failure::new)?;
            consumer.close().await.map_err(Failure::new)?;
        }
        read.and(written.map(drop))
    })
}

fn format_of(args: &ConsumeArgs) -> Result<Format, String> {
    match &args.format {
        Some(format) => Format::parse(format),
        None if args.json || args.output == Look::Json => Ok(Format::Json),
        None => {
            let separator = args.key_separator.as_deref().map(encoding::unescape).transpose()?;
            Ok(Format::plain(separator.as_deref(), &encoding::unescape(&args.delimiter)?))
        }
    }
}

/// What is read, and how far.
struct Reading<'a> {
    format: Format,
    /// How many records are still to be printed.
    left: u64,
    /// Where to stop, of the partitions that are not there yet.
    until: BTreeMap<TopicPartition, Offset>,
    /// Whether there is a place to stop at all.
    bounded: bool,
    /// Whether what was polled is committed by the next poll: then it has to be printed before that.
    commits: bool,
    /// The topics that have to be there.
    named: &'a [String],
    /// What the last poll brought.
    last: Vec<Part>,
}

/// What a poll brought of a partition.
struct Part {
    partition: TopicPartition,
    first: Offset,
    /// The first record that is not to be printed, as there are enough.
    surplus: Option<Offset>,
}

impl Reading<'_> {
    /// Finds partitions and places.
    async fn begin(&mut self, args: &ConsumeArgs, admin: &Admin, consumer: &mut Consumer) -> Result<(), Failure> {
        let until = args.offset.until.or(args.exit.then_some(Place::End));
        self.bounded = until.is_some();
        for partition in find(args, admin).await? {
            let explain = |error: Error| Failure::new(explain(&partition.to_string(), &error));
            if let Place::Offset(first) = args.offset.from {
                check_end(&partition, first, admin.end_offset(&partition).await.map_err(explain)?)?;
            }
            let start = match args.offset.from {
                Place::Start => Start::Earliest,
                Place::End if until.is_none() => Start::Latest,
                place @ (Place::End
                | Place::Offset(_)
                | Place::BeforeEnd(_)
                | Place::AfterStart(_)
                | Place::Time(_)) => Start::Offset(place.resolve(admin, &partition).await.map_err(explain)?),
            };
            if let Some(until) = until {
                let until = until.resolve(admin, &partition).await.map_err(explain)?;
                let first = match start {
                    Start::Offset(offset) => offset,
                    Start::Earliest | Start::Latest | Start::Timestamp { .. } => {
                        admin.start_offset(&partition).await.map_err(explain)?
                    }
                };
                if first >= until {
                    continue;
                }
                self.until.insert(partition.clone(), until);
            }
            consumer.assign(partition, start).map_err(Failure::new)?;
        }
        Ok(())
    }

    async fn read(&mut self, admin: &Admin, consumer: &mut Consumer, writer: &Writer) -> Result<(), Failure> {
        let mut idle: u32 = 0;
        while self.left > 0 && !(self.bounded && self.until.is_empty()) {
            match consumer.poll(POLL).await {
                Ok(polled) => {
                    idle = if polled.is_empty() { idle + 1 } else { 0 };
                    if idle > 0 {
                        self.look_for_ends(consumer).await;
                    }
                    if idle == PATIENCE {
                        tell(consumer);
                    }
                    if idle > 0 && idle.is_multiple_of(PATIENCE) {
                        self.look_for_topics(admin).await?;
                    }
                    let block = self.format_all(&polled, consumer);
                    let wanted =
                        if self.commits { writer.write_through(block).await } else { writer.write(block).await };
                    if !wanted {
                        return Ok(());
                    }
                }
                Err(error @ ConsumeError::Truncated { .. }) => {
                    let _ = writeln!(io::stderr(), "warning: {error}");
                }
                Err(error @ (ConsumeError::Partition { .. } | ConsumeError::Group { .. } | ConsumeError::Closed)) => {
                    return Err(Failure::new(error));
                }
            }
        }
        Ok(())
    }

    fn format_all(&mut self, polled: &[PolledRecords], consumer: &mut Consumer) -> Vec<u8> {
        let mut out = Vec::with_capacity(if polled.is_empty() { 0 } else { 512 << 10 });
        self.last.clear();
        for PolledRecords { partition, records, position } in polled {
            let until = self.until.get(partition).copied();
            if self.bounded && until.is_none() {
                continue;
            }
            let mut surplus = None;
            for record in records.iter().take_while(|record| until.is_none_or(|until| record.offset < until)) {
                if self.left == 0 {
                    surplus = Some(record.offset);
                    break;
                }
                self.left -= 1;
                self.format.write(partition, record, &mut out);
            }
            if let Some(first) = records.first().map(|record| record.offset) {
                self.last.push(Part { partition: partition.clone(), first, surplus });
            }
            if until.is_some_and(|until| *position >= until) {
                self.end(partition, consumer);
            }
        }
        out
    }

    /// What was polled is about to be committed, so a group goes back to the first record that was not printed. Of a
    /// block that could not be written nobody knows how much was seen: then to its beginning.
    fn put_back(&mut self, consumer: &mut Consumer, written: bool) -> Result<(), Error> {
        for Part { partition, first, surplus } in self.last.drain(..) {
            if let Some(offset) = if written { surplus } else { Some(first) } {
                consumer.seek(partition, Start::Offset(offset))?;
            }
        }
        Ok(())
    }

    /// What stands behind the last record may be no record, but the end of a transaction, which no poll brings.
    async fn look_for_ends(&mut self, consumer: &mut Consumer) {
        for (partition, until) in self.until.clone() {
            if consumer.position(&partition).await.is_some_and(|position| position >= until) {
                self.end(&partition, consumer);
            }
        }
    }

    /// A client waits for a topic that is gone, as it may be that a broker does not know it yet. A person does not.
    async fn look_for_topics(&self, admin: &Admin) -> Result<(), Failure> {
        const GONE: &[ErrorCode] = &[ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_ID];
        if self.named.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.named.iter().map(String::as_str).collect();
        // Who says nothing is waited for.
        let Ok(cluster) = admin.describe_topics(&names).await else { return Ok(()) };
        let gone = |topic: &TopicDescription| topic.error.filter(|code| GONE.contains(code));
        match cluster.topics.iter().find_map(|topic| Some((topic, gone(topic)?))) {
            Some((topic, code)) => Err(missing(&topic.name, code)),
            None => Ok(()),
        }
    }

    fn end(&mut self, partition: &TopicPartition, consumer: &mut Consumer) {
        self.until.remove(partition);
        // A client that is gone has nothing to unassign.
        let _ = consumer.unassign(partition.clone());
    }
}

/// A place behind the end is a mistake: it may be of a topic that was made anew, and the reader, outside of the log,
/// would begin at its start.
fn check_end(partition: &TopicPartition, first: i64, end: Offset) -> Result<(), Failure> {
    if first <= end.0 {
        return Ok(());
    }
    let remedy = "--offset end waits for what comes, --offset -N begins N before it, -p leaves partitions out";
    Err(Failure::new(format!("{partition} ends at {end}; {remedy}")))
}

/// Joins the group.
async fn subscribe(args: &ConsumeArgs, admin: &Admin, consumer: &mut Consumer) -> Result<(), Failure> {
    if args.regex {
        let pattern = pattern(&args.topics)?;
        return consumer.subscribe_pattern(pattern.text()).map_err(Failure::new);
    }
    let topics: Vec<_> = find(args, admin).await?.iter().map(|it| it.topic.clone()).collect();
    let topics: BTreeSet<_> = topics.iter().map(|topic| &**topic).collect();
    consumer.subscribe(&topics.into_iter().collect::<Vec<_>>()).map_err(Failure::new)
}

/// One expression for whole names from several for parts of them.
fn pattern(parts: &[String]) -> Result<Pattern, Failure> {
    for part in parts {
        Pattern::new(part).map_err(|why| Failure::usage(format!("{part:?} is no regular expression: {why}")))?;
    }
    let parts: Vec<_> = parts.iter().map(|part| format!("(?:.*(?:{part}).*)")).collect();
    Pattern::new(&parts.join("|")).map_err(|why| Failure::usage(format!("the expressions are too much: {why}")))
}

/// The partitions that were asked for.
async fn find(args: &ConsumeArgs, admin: &Admin) -> Result<Vec<TopicPartition>, Failure> {
    let matched = if args.regex { matching(&pattern(&args.topics)?, admin).await? } else { args.topics.clone() };
    let names: Vec<_> = matched.iter().map(String::as_str).collect();
    let cluster = admin.describe_topics(&names).await;
    let cluster = cluster.map_err(|error| Failure::new(explain("the topics", &error)))?;
    let mut found = Vec::new();
    for topic in &cluster.topics {
        found.extend(chosen(topic, args.partitions.as_ref())?);
    }
    Ok(found)
}

/// The partitions of a topic that are wanted; all, if that is not said.
pub(super) fn chosen(topic: &TopicDescription, wanted: Option<&Partitions>) -> Result<Vec<TopicPartition>, Failure> {
    if let Some(code) = topic.error {
        return Err(missing(&topic.name, code));
    }
    let all: Vec<_> = topic.partitions.iter().map(|partition| partition.index).collect();
    let wanted = wanted.map_or(&all, |Partitions(wanted)| wanted);
    if let Some(absent) = wanted.iter().find(|index| !all.contains(index)) {
        let last = all.len().saturating_sub(1);
        return Err(Failure::new(format!("topic {} has no partition {absent}; its last is {last}", topic.name)));
    }
    Ok(wanted.iter().map(|&index| TopicPartition::new(&*topic.name, index)).collect())
}

/// The topics that there are now and that the pattern matches; but for Kafka's own.
async fn matching(pattern: &Pattern, admin: &Admin) -> Result<Vec<String>, Failure> {
    let cluster = admin.describe_cluster().await;
    let cluster = cluster.map_err(|error| Failure::new(explain("the cluster", &error)))?;
    let topics = cluster.topics.iter().filter(|topic| !topic.internal && pattern.matches(&topic.name));
    let matched: Vec<_> = topics.map(|topic| topic.name.to_string()).collect();
    if matched.is_empty() {
        return Err(Failure::new("no topic matches"));
    }
    Ok(matched)
}

/// Says why nothing comes, if that is because nobody is there.
fn tell(consumer: &Consumer) {
    if let Some(trouble) = consumer.trouble() {
        let _ = writeln!(io::stderr(), "waiting: {trouble}");
    }
}

pub(super) fn partitions(text: &str) -> Result<Partitions, String> {
    let wrong = || format!("{text:?} is no list of partitions: write 3, or 0,2-4");
    let mut list = Vec::new();
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last): (i32, i32) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        if first < 0 || last < first || last - first > 100_000 {
            return Err(wrong());
        }
        list.extend(first..=last);
    }
    list.sort_unstable();
    list.dedup();
    Ok(Partitions(list))
}
