//! The commands that are clients of a broker, Ottla or Apache Kafka, and what they share: how to reach it, how long to
//! wait, how results are laid out.

pub(super) mod bench;
pub(super) mod cluster;
pub(super) mod consume;
mod encoding;
pub(super) mod group;
mod place;
pub(super) mod produce;
mod progress;
pub(super) mod quorum;
pub(super) mod topic;

use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Failure, Output, parse_pair, print};
use crate::client::{Admin, ClientConfig, Error, ErrorCode, Offset, TopicPartition, settings};

/// How long a server may take to accept a connection before the next is tried.
const REACH_LIMIT: Duration = Duration::from_secs(5);

/// How to reach the cluster.
#[derive(Clone, Debug, Args)]
pub(super) struct ClientArgs {
    /// Brokers to begin with, separated by commas
    #[arg(short = 'b', long, value_name = "HOST:PORT", env = "OTTLA_BROKERS", default_value = "127.0.0.1:9092")]
    pub(super) brokers: String,
    /// Set a client property by Kafka's name, as in -X request.timeout.ms=5000; may be repeated
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(super) properties: Vec<(String, String)>,
}

/// How records are written.
#[derive(Clone, Debug, Args)]
pub(super) struct ProducerArgs {
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, value_name = "CODEC", value_parser = codec)]
    compression: Option<String>,
    /// Whose acknowledgement counts: all, 1 (the leader) or 0 (nobody)
    #[arg(short, long, value_parser = acks)]
    acks: Option<String>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct OutputArgs {
    /// How results are printed
    #[arg(short = 'o', long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

impl ClientArgs {
    /// The configuration: Kafka's defaults, then the command's own, then the user's.
    pub(super) fn config(&self, defaults: &[(&str, &str)]) -> Result<ClientConfig, Failure> {
        const OURS: &[(&str, &str)] = &[("client.id", "ottla-cli"), ("default.api.timeout.ms", "15000")];
        let with_port = |server: &str| {
            let server = server.trim();
            if server.ends_with(']') || !server.contains(':') { format!("{server}:9092") } else { server.to_owned() }
        };
        let servers: Vec<_> = self.brokers.split(',').filter(|it| !it.trim().is_empty()).map(with_port).collect();
        let mut config = crate::client::config(&servers.join(","));
        let users = self.properties.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let properties = OURS.iter().chain(defaults).copied().chain(users);
        settings::apply(&mut config, properties).map_err(|error| Failure::usage(format!("-X: {error}")))?;
        if config.bootstrap_servers.is_empty() {
            return Err(Failure::usage("no broker is named: give HOST:PORT with -b or OTTLA_BROKERS"));
        }
        Ok(config)
    }
}

impl ProducerArgs {
    /// What was said, by Kafka's names.
    pub(super) fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        let compression = self.compression.as_deref().map(|codec| ("compression.type", codec));
        compression.into_iter().chain(self.acks.as_deref().map(|acks| ("acks", acks)))
    }
}

fn codec(text: &str) -> Result<String, &'static str> {
    settings::codec(text).map(|_| text.to_owned())
}

fn acks(text: &str) -> Result<String, &'static str> {
    settings::acks(text).map(|_| text.to_owned())
}

/// Runs a command that is a client: in one thread, so that records do not move from core to core.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(command);
    // A look-up of a name that hangs must not keep a command that is done.
    runtime.shutdown_background();
    done
}

/// Makes sure that there is somebody at all, so that a broker that is down is told at once.
pub(super) async fn reach(config: &ClientConfig) -> Result<(), Failure> {
    let mut troubles = Vec::new();
    for server in &config.bootstrap_servers {
        match tokio::time::timeout(REACH_LIMIT, TcpStream::connect(&**server)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => troubles.push(format!("{server}: {error}")),
            Err(_) => troubles.push(format!("{server}: no answer within {} s", REACH_LIMIT.as_secs())),
        }
    }
    let remedy = "start a broker with `ottla dev`, or name another with -b HOST:PORT";
    Err(Failure::new(format!("no broker can be reached ({}); {remedy}", troubles.join("; "))))
}

/// An administrator of a cluster that can be reached.
pub(super) async fn admin(args: &ClientArgs) -> Result<Admin, Failure> {
    let config = args.config(&[])?;
    reach(&config).await?;
    Admin::new(&config).map_err(Failure::new)
}

/// Why something was not done, and what to do.
pub(super) fn explain(what: &str, error: &Error) -> String {
    let remedy = match error.code() {
        Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => "; `ottla topic list` shows what is there",
        Some(ErrorCode::TOPIC_ALREADY_EXISTS) => "; `--if-not-exists` takes it as it is",
        Some(ErrorCode::NON_EMPTY_GROUP | ErrorCode::UNKNOWN_MEMBER_ID) => "; stop its members first",
        Some(ErrorCode::GROUP_ID_NOT_FOUND) => "; `ottla group list` shows what is there",
        Some(ErrorCode::INVALID_REPLICATION_FACTOR) => "; `ottla cluster info` shows how many brokers there are",
        Some(_) | None => "",
    };
    format!("{what}: {error}{remedy}")
}

/// What became of one of several things.
pub(super) type Fate = (String, Result<(), String>);

/// Prints what became of each thing, and fails if one was not done.
pub(super) fn report(kind: &str, fates: &[Fate], output: Output) -> Result<(), Failure> {
    let status = |fate: &Fate| fate.1.as_ref().map_or_else(Clone::clone, |()| "OK".to_owned());
    let text = match output {
        Output::Table => {
            let done = fates.iter().filter(|(_, fate)| fate.is_ok());
            table(&[&kind.to_uppercase(), "STATUS"], done.map(|fate| vec![fate.0.clone(), status(fate)]))
        }
        Output::Json => {
            let row = |fate: &Fate| serde_json::json!({ kind: fate.0, "ok": fate.1.is_ok(), "status": status(fate) });
            json(&fates.iter().map(row).collect())?
        }
    };
    if output == Output::Json || fates.iter().any(|(_, fate)| fate.is_ok()) {
        print(&text)?;
    }
    let failed: Vec<_> = fates.iter().filter_map(|(_, fate)| fate.clone().err()).collect();
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(failed.join("\nerror: "))) }
}

/// Columns as wide as they have to be, two spaces apart.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut lines: Vec<Vec<String>> = vec![header.iter().map(|&name| name.to_owned()).collect()];
    lines.extend(rows);
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|it| it.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, &width) in line.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(row, "{cell:width$}  ");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn json(value: &Value) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::new)?;
    Ok(text + "\n")
}

/// Start and end of each partition; an error where the leader does not say.
pub(super) async fn bounds(admin: &Admin, partitions: &[TopicPartition]) -> Vec<Result<(Offset, Offset), Error>> {
    let asked = partitions.iter().cloned().map(|partition| {
        let admin = admin.clone();
        tokio::spawn(async move {
            let (start, end) = tokio::join!(admin.start_offset(&partition), admin.end_offset(&partition));
            Ok((start?, end?))
        })
    });
    let mut bounds = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        bounds.push(asked.await.unwrap_or(Err(Error::Closed)));
    }
    bounds
}
