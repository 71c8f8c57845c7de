//! `ottla quorum`: the nodes that decide what the cluster's metadata is.

use clap::Subcommand;
use ottla_core::types::BrokerId;
use ottla_wire::Uuid;
use serde_json::json;

use super::{ClientArgs, OutputArgs, admin, block_on, explain, table};
use crate::cli::{Failure, Output, print};
use crate::client::{QuorumDescription, QuorumMember};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum QuorumCommand {
    /// Show who leads the metadata quorum, who votes, and how far each is
    #[command(visible_aliases = ["info", "status"])]
    Describe {
        #[command(flatten)]
        client: ClientArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Take a voter's vote away, for good if its node is gone
    RemoveVoter {
        /// The node's id
        id: i32,
        /// Only if it votes with this directory id; `ottla quorum describe` shows it
        #[arg(long, value_name = "ID")]
        directory: Option<Uuid>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(in crate::cli) fn run(command: &QuorumCommand) -> Result<(), Failure> {
    match command {
        QuorumCommand::Describe { client, output } => {
            let quorum = block_on(async {
                let admin = admin(client).await?;
                admin.describe_quorum().await.map_err(|error| Failure::new(explain("the quorum", &error)))
            })?;
            print(&match output.output {
                Output::Table => as_table(&quorum),
                Output::Json => as_json(&quorum)?,
            })
        }
        QuorumCommand::RemoveVoter { id, directory, client } => {
            let directory = block_on(remove_voter(BrokerId(*id), *directory, client))?;
            print(&format!("node {id} with directory {directory} has no vote any more\n"))
        }
    }
}

async fn remove_voter(id: BrokerId, directory: Option<Uuid>, client: &ClientArgs) -> Result<Uuid, Failure> {
    let admin = admin(client).await?;
    let failed = |error| Failure::new(explain(&format!("voter {}", id.0), &error));
    let directory = match directory {
        Some(directory) => directory,
        None => {
            let voters = admin.describe_quorum().await.map_err(failed)?.voters;
            let known = voters.iter().find(|voter| voter.id == id);
            let unknown = || {
                let ids: Vec<_> = voters.iter().map(|voter| voter.id.0.to_string()).collect();
                Failure::new(format!("node {} is no voter; voters are {}", id.0, ids.join(", ")))
            };
            known.ok_or_else(unknown)?.directory_id
        }
    };
    admin.remove_voter(id, directory).await.map_err(failed)?;
    Ok(directory)
}

/// Each member with what it is.
fn members(quorum: &QuorumDescription) -> impl Iterator<Item = (&QuorumMember, &'static str)> {
    let voters = quorum.voters.iter().map(|it| (it, if it.id == quorum.leader { "leader" } else { "voter" }));
    voters.chain(quorum.observers.iter().map(|it| (it, "observer")))
}

fn end_of_log(quorum: &QuorumDescription) -> i64 {
    let leader = quorum.voters.iter().find(|it| it.id == quorum.leader);
    leader.map_or(quorum.high_watermark.0, |leader| leader.log_end.0)
}

fn as_table(quorum: &QuorumDescription) -> String {
    let end = end_of_log(quorum);
    let latest = quorum.voters.iter().map(|it| it.fetched_ms).max().unwrap_or(-1);
    let rows = members(quorum).map(|(it, part)| {
        let known = |value: i64| if value < 0 { "-".to_owned() } else { value.to_string() };
        let lag = if it.log_end.0 < 0 { -1 } else { (end - it.log_end.0).max(0) };
        let silent = if it.fetched_ms < 0 { -1 } else { (latest - it.fetched_ms).max(0) };
        let directory = it.directory_id.to_string();
        vec![it.id.0.to_string(), part.to_owned(), known(it.log_end.0), known(lag), known(silent), directory]
    });
    let rows = table(&["ID", "PART", "LOG END", "LAG", "SILENT MS", "DIRECTORY"], rows);
    let (leader, epoch, committed) = (quorum.leader.0, quorum.epoch.0, quorum.high_watermark);
    format!("LEADER     {leader}\nEPOCH      {epoch}\nCOMMITTED  {committed}\n\n{rows}")
}

fn as_json(quorum: &QuorumDescription) -> Result<String, Failure> {
    let member = |(it, part): (&QuorumMember, &str)| {
        json!({
            "id": it.id.0,
            "part": part,
            "directory_id": it.directory_id.to_string(),
            "log_end": it.log_end.0,
            "fetched_ms": it.fetched_ms,
            "caught_up_ms": it.caught_up_ms,
        })
    };
    super::json(&json!({
        "leader": quorum.leader.0,
        "epoch": quorum.epoch.0,
        "committed": quorum.high_watermark.0,
        "members": members(quorum).map(member).collect::<Vec<_>>(),
    }))
}
