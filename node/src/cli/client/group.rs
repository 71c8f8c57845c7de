//! `ottla group`: list, describe with lag, seek, delete.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::consume::{chosen, partitions};
use super::place::{PLACES, Place};
use super::{ClientArgs, OutputArgs, admin, block_on, bounds, explain, report, table};
use crate::cli::{Failure, Output, print};
use crate::client::{Admin, Error, GroupDescription, GroupMember, ListedGroup, Offset, TopicPartition};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum GroupCommand {
    /// List the groups
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show groups with their members, offsets and lag
    #[command(visible_alias = "info")]
    Describe(DescribeArgs),
    /// Move a group that has no members to another place
    Seek(SeekArgs),
    /// Delete groups that have no members, with their offsets
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DescribeArgs {
    /// Their names
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SeekArgs {
    /// Its name
    group: String,
    /// Where to
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, long_help = PLACES)]
    to: Place,
    /// In which topics, as in orders, or orders:0,2-4; all that the group has committed in, if not given
    #[arg(short = 't', long = "topics", value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<String>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeleteArgs {
    /// Their names
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(in crate::cli) fn run(command: &GroupCommand) -> Result<(), Failure> {
    block_on(async {
        match command {
            GroupCommand::List(args) => list(args).await,
            GroupCommand::Describe(args) => describe(args).await,
            GroupCommand::Seek(args) => seek(args).await,
            GroupCommand::Delete(args) => delete(args).await,
        }
    })
}

async fn list(args: &ListArgs) -> Result<(), Failure> {
    let groups = admin(&args.client).await?.list_groups().await;
    let groups = groups.map_err(|error| Failure::new(explain("the groups", &error)))?;
    print(&match args.output.output {
        Output::Table => {
            let row = |it: &ListedGroup| {
                [&it.group, &it.state, &it.protocol_type, &it.kind].map(|cell| or_dash(cell)).to_vec()
            };
            table(&["GROUP", "STATE", "PROTOCOL", "TYPE"], groups.iter().map(row))
        }
        Output::Json => {
            let object = |it: &ListedGroup| {
                let (group, state, protocol, kind) = (&it.group, &it.state, &it.protocol_type, &it.kind);
                json!({ "group": group, "state": state, "protocol": protocol, "type": kind })
            };
            super::json(&groups.iter().map(object).collect())?
        }
    })
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

async fn delete(args: &DeleteArgs) -> Result<(), Failure> {
    let admin = admin(&args.client).await?;
    let mut fates = Vec::new();
    for group in &args.groups {
        let deleted = admin.delete_group(group).await;
        fates.push((group.clone(), deleted.map_err(|error| explain(&format!("group {group}"), &error))));
    }
    report("group", &fates, args.output.output)
}

/// Where a group stands in a partition.
struct Row {
    partition: TopicPartition,
    committed: Option<Offset>,
    end: Option<Offset>,
    /// Its place among the group's members.
    member: Option<usize>,
}

impl Row {
    fn lag(&self) -> Option<i64> {
        Some((self.end?.0 - self.committed?.0).max(0))
    }
}

async fn describe(args: &DescribeArgs) -> Result<(), Failure> {
    let admin = admin(&args.client).await?;
    let mut described = Vec::new();
    for name in &args.groups {
        let explain = |error: Error| Failure::new(explain(&format!("group {name}"), &error));
        let group = admin.describe_group(name).await.map_err(explain)?;
        let rows = rows(&admin, &group).await.map_err(explain)?;
        described.push((group, rows));
    }
    print(&match args.output.output {
        Output::Table => described.iter().map(|(group, rows)| as_table(group, rows)).collect::<Vec<_>>().join("\n"),
        Output::Json => super::json(&described.iter().map(|(group, rows)| as_json(group, rows)).collect())?,
    })
}

/// What is committed and what is assigned, with the ends of the logs.
async fn rows(admin: &Admin, group: &GroupDescription) -> Result<Vec<Row>, Error> {
    let mut places: BTreeMap<TopicPartition, (Option<Offset>, Option<usize>)> = BTreeMap::new();
    for committed in admin.committed_offsets(&group.group).await? {
        places.insert(committed.partition, (Some(committed.offset), None));
    }
    for (index, member) in group.members.iter().enumerate() {
        for partition in &member.assignment {
            places.entry(partition.clone()).or_default().1 = Some(index);
        }
    }
    // A topic that is gone has no leader to ask for its end, and a partition may have none.
    let mut names: Vec<_> = places.keys().map(|partition| &*partition.topic).collect();
    names.dedup();
    let cluster = admin.describe_topics(&names).await?;
    let topics = cluster.topics.iter().filter(|topic| topic.error.is_none());
    let all = topics.flat_map(|topic| topic.partitions.iter().map(move |it| (&*topic.name, it)));
    let led = all.filter(|(_, it)| it.leader.is_some()).map(|(name, it)| TopicPartition::new(name, it.index));
    let led: Vec<_> = led.filter(|partition| places.contains_key(partition)).collect();
    let ends = bounds(admin, &led).await;
    let ends: BTreeMap<_, _> =
        led.into_iter().zip(ends).filter_map(|(it, bounds)| Some((it, bounds.ok()?.1))).collect();
    let row =
        |(partition, (committed, member))| Row { end: ends.get(&partition).copied(), partition, committed, member };
    Ok(places.into_iter().map(row).collect())
}

/// Unknown if that of any partition is: a sum of the others would say that the group is further than it is.
fn total_lag(rows: &[Row]) -> Option<i64> {
    rows.iter().map(Row::lag).sum()
}

fn as_table(group: &GroupDescription, rows: &[Row]) -> String {
    let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
    let (kind, lag) = (if group.kip_848 { "consumer" } else { "classic" }, number(total_lag(rows)));
    let assignor = or_dash(&group.assignor);
    let mut text = format!(
        "GROUP     {}\nSTATE     {}\nTYPE      {kind}\nASSIGNOR  {assignor}\nMEMBERS   {}\nLAG       {lag}\n",
        group.group,
        group.state,
        group.members.len(),
    );
    let row = |row: &Row| {
        let member = row.member.map(|index| &group.members[index]);
        let of = |field: fn(&GroupMember) -> &str| member.map_or("-".to_owned(), |member| or_dash(field(member)));
        vec![
            row.partition.topic.to_string(),
            row.partition.partition.to_string(),
            number(row.committed.map(|offset| offset.0)),
            number(row.end.map(|offset| offset.0)),
            number(row.lag()),
            of(|member| &member.id),
            of(|member| member.instance_id.as_deref().unwrap_or_default()),
            of(|member| &member.client_id),
            of(|member| &member.host),
        ]
    };
    let header = ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "INSTANCE", "CLIENT", "HOST"];
    if !rows.is_empty() {
        text += "\n";
        text += &table(&header, rows.iter().map(row));
    }
    text
}

fn as_json(group: &GroupDescription, rows: &[Row]) -> Value {
    let member = |member: &GroupMember| {
        json!({
            "id": member.id,
            "instance_id": member.instance_id,
            "client_id": member.client_id,
            "host": member.host,
            "assignment": member.assignment.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    let row = |row: &Row| {
        json!({
            "topic": &*row.partition.topic,
            "partition": row.partition.partition,
            "committed": row.committed.map(|offset| offset.0),
            "end": row.end.map(|offset| offset.0),
            "lag": row.lag(),
            "member": row.member.map(|index| &group.members[index].id),
        })
    };
    json!({
        "group": group.group,
        "state": group.state,
        "type": if group.kip_848 { "consumer" } else { "classic" },
        "protocol": group.protocol_type,
        "assignor": group.assignor,
        "lag": total_lag(rows),
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
        "offsets": rows.iter().map(row).collect::<Vec<_>>(),
    })
}

async fn seek(args: &SeekArgs) -> Result<(), Failure> {
    let admin = admin(&args.client).await?;
    let explain = |error: Error| Failure::new(explain(&format!("group {}", args.group), &error));
    let committed = admin.committed_offsets(&args.group).await.map_err(explain)?;
    let old: BTreeMap<_, _> = committed.into_iter().map(|it| (it.partition, it.offset)).collect();
    let partitions = if args.topics.is_empty() { old.keys().cloned().collect() } else { named(&admin, args).await? };
    if partitions.is_empty() {
        let why = format!("group {} has committed nothing; say where it shall stand with --topics TOPIC", args.group);
        return Err(Failure::new(why));
    }
    let mut moves = Vec::new();
    for partition in partitions {
        let offset = resolve(args.to, &admin, &partition).await.map_err(explain)?;
        moves.push((partition, offset));
    }
    if !args.dry_run {
        admin.commit_offsets(&args.group, moves.clone()).await.map_err(explain)?;
    }
    print(&match args.output.output {
        Output::Table => {
            let row = |(partition, new): &(TopicPartition, Offset)| {
                let before = old.get(partition).map_or("-".to_owned(), ToString::to_string);
                vec![partition.topic.to_string(), partition.partition.to_string(), before, new.to_string()]
            };
            table(&["TOPIC", "PARTITION", "BEFORE", "NOW"], moves.iter().map(row))
        }
        Output::Json => {
            let object = |(partition, new): &(TopicPartition, Offset)| {
                let before = old.get(partition).map(|offset| offset.0);
                json!({
                    "topic": &*partition.topic, "partition": partition.partition, "before": before, "now": new.0,
                })
            };
            super::json(&moves.iter().map(object).collect())?
        }
    })
}

/// The offset that a place is. One outside of the log would make members go where `auto.offset.reset` says: as with
/// Kafka's own tool it is the nearest that is there.
async fn resolve(to: Place, admin: &Admin, partition: &TopicPartition) -> Result<Offset, Error> {
    let Place::Offset(wanted) = to else { return to.resolve(admin, partition).await };
    let (start, end) = (admin.start_offset(partition).await?, admin.end_offset(partition).await?);
    let nearest = wanted.max(start.0).min(end.0);
    if nearest != wanted {
        let reaches = format!("{partition} reaches from {start} to {end}");
        let _ = writeln!(io::stderr(), "warning: {reaches}: it is {nearest} there, not {wanted}");
    }
    Ok(Offset(nearest))
}

/// The partitions that --topics names.
async fn named(admin: &Admin, args: &SeekArgs) -> Result<Vec<TopicPartition>, Failure> {
    let mut named = Vec::new();
    for text in &args.topics {
        let (topic, list) = match text.split_once(':') {
            Some((topic, list)) => (topic, Some(partitions(list).map_err(Failure::usage)?)),
            None => (text.as_str(), None),
        };
        let cluster = admin.describe_topics(&[topic]).await;
        let cluster = cluster.map_err(|error| Failure::new(explain(&format!("topic {topic}"), &error)))?;
        for described in &cluster.topics {
            named.extend(chosen(described, list.as_ref())?);
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_that_is_not_known_is_not_none() {
        let group = |rows: &[(Option<i64>, Option<i64>)]| {
            let row = |(at, &(committed, end)): (i32, &(Option<i64>, Option<i64>))| Row {
                partition: TopicPartition::new("t", at),
                committed: committed.map(Offset),
                end: end.map(Offset),
                member: None,
            };
            let rows: Vec<_> = (0..).zip(rows).map(row).collect();
            let group = GroupDescription {
                group: "g".into(),
                state: "Stable".into(),
                protocol_type: "consumer".into(),
                assignor: "range".into(),
                kip_848: false,
                members: Vec::new(),
            };
            let table = as_table(&group, &rows);
            let line = table.lines().find(|line| line.starts_with("LAG")).expect("it is told").to_owned();
            (line, as_json(&group, &rows)["lag"].clone())
        };
        assert_eq!(group(&[(Some(3), Some(5)), (Some(7), Some(8))]), ("LAG       3".to_owned(), 3.into()));
        assert_eq!(group(&[]), ("LAG       0".to_owned(), 0.into()));
        let unknown = ("LAG       -".to_owned(), Value::Null);
        assert_eq!(group(&[(Some(3), Some(5)), (None, Some(100))]), unknown, "assigned, and not committed");
        assert_eq!(group(&[(Some(3), None)]), unknown, "nobody says where it ends");
    }
}
