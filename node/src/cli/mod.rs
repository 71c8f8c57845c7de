//! The command line: what can be said to `ottla`, and what it answers.
//!
//! Exit codes: 0 done; 1 it could not be done; 2 the arguments or the configuration are wrong; 3 damage was
//! found (`log verify`). Errors go to standard error and say what to do; results go to standard output.

mod client;
mod config_print;
mod crowd;
mod log;
mod start;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::logging::{self, LogFormat, LogOptions};

/// A Kafka-compatible broker, and a client of any such broker.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a broker for development: one node or --nodes N, data in ./ottla-data, topics made on first use
    Dev(DevArgs),
    /// Start a node from a properties file with Kafka's keys
    Serve(ServeArgs),
    /// Create, look at, change and delete topics
    #[command(subcommand)]
    Topic(client::topic::TopicCommand),
    /// Write records from arguments, a file or standard input
    Produce(Box<client::produce::ProduceArgs>),
    /// Print records
    Consume(Box<client::consume::ConsumeArgs>),
    /// Look at groups, move them, delete them
    #[command(subcommand)]
    Group(client::group::GroupCommand),
    /// Measure how fast a broker takes and gives records
    Bench(client::bench::BenchArgs),
    /// Look at a cluster
    #[command(subcommand)]
    Cluster(client::cluster::ClusterCommand),
    /// Look at the metadata quorum, take votes away
    #[command(subcommand)]
    Quorum(client::quorum::QuorumCommand),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at the files of logs, without a node
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Print the version
    Version,
    /// Print a script of completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
struct LogArgs {
    /// How log lines look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// What is logged, as in `info,ottla::net=debug`; RUST_LOG says the same
    #[arg(long, global = true, value_name = "FILTER")]
    log_level: Option<String>,
}

#[derive(Debug, Args)]
struct DevArgs {
    /// Where the data lives
    #[arg(long, value_name = "DIR", default_value = "ottla-data")]
    data: PathBuf,
    /// Where to listen for Kafka's clients
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,
    /// How many nodes, each a process of its own; the ports above --listen are theirs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The properties file; without it, KAFKA_* variables and -c say everything
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Begin a new cluster on this node, if its directories are empty
    #[arg(long)]
    new_cluster: bool,
    /// The id of the cluster; one is drawn for a new cluster if not given
    #[arg(long, value_name = "ID", env = "CLUSTER_ID")]
    cluster_id: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Where to serve health, readiness, metrics and the machine's view; of several nodes the first one's, the ports
    /// above it are the others'
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Set one key of the configuration; may be repeated
    #[arg(short = 'c', value_name = "KEY=VALUE", value_parser = parse_pair)]
    settings: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the effective values, and where each comes from
    Print(ConfigPrintArgs),
}

#[derive(Debug, Args)]
struct ConfigPrintArgs {
    /// The properties file; without it, what `ottla dev` uses
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also the keys that nobody set
    #[arg(long)]
    all: bool,
    /// How it is printed
    #[arg(short = 'o', long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Set one key of the configuration; may be repeated
    #[arg(short = 'c', value_name = "KEY=VALUE", value_parser = parse_pair)]
    settings: Vec<(String, String)>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Why a command failed, and with which exit code.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// It could not be done.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// Damage was found.
    pub fn damage(message: impl fmt::Display) -> Self {
        Self { code: 3, message: message.to_string() }
    }

    /// The arguments or the configuration are wrong.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(error)
    }
}

/// Parses the arguments, does what they say, and reports.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error is all there is to complain to, so its own failure is ignored.
            let _ = writeln!(io::stderr(), "error: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let log = LogOptions { format: cli.log.log_format, filter: cli.log.log_level };
    logging::start(&log).map_err(Failure::usage)?;
    match cli.command {
        Command::Dev(args) if args.nodes > 1 => crowd::run(&args, &log),
        Command::Dev(args) => start::dev(&args),
        Command::Serve(args) => start::serve(&args),
        Command::Topic(command) => client::topic::run(&command),
        Command::Produce(args) => client::produce::run(&args),
        Command::Consume(args) => client::consume::run(&args),
        Command::Group(command) => client::group::run(&command),
        Command::Bench(args) => client::bench::run(&args),
        Command::Cluster(command) => client::cluster::run(&command),
        Command::Quorum(command) => client::quorum::run(&command),
        Command::Config(ConfigCommand::Print(args)) => config_print::run(&args),
        Command::Log(command) => log::run(&command),
        Command::Version => print(concat!("ottla ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ottla", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// Writes a result to standard output. A reader that has gone away, as `head` does, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in num.partitions=3")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
