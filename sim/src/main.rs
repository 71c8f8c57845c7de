//! The `ottla-sim` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ottla_sim::cli::main()
}
