//! `ottla log dump` and `ottla log verify`: a log directory read offline, without a node.
//!
//! Nothing is written, and nothing is repaired. A directory that a node has open can be read; what it is just
//! writing then looks like a torn tail.

mod dump;
mod partition;
mod segment;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Failure;
use partition::partitions;

/// What is asked of a log directory.
#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// Print batches, indexes, epochs and producers
    Dump(DumpArgs),
    /// Check everything that can be checked; exit code 3 if something is damaged
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(super) struct DumpArgs {
    /// A log directory, or one partition's directory in it
    dir: PathBuf,
    /// Also the records, with keys and values cut at 100 bytes
    #[arg(long)]
    records: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// A log directory, or one partition's directory in it
    dir: PathBuf,
}

/// At most so many bytes of a compressed batch are inflated to look at its records.
const INFLATED_LIMIT: u64 = 1 << 30;

pub(super) fn run(command: &LogCommand) -> Result<(), Failure> {
    match command {
        LogCommand::Dump(args) => dump::run(&partitions(&args.dir)?, args.records),
        LogCommand::Verify(args) => verify::run(&partitions(&args.dir)?),
    }
}
