//! Kills a broker in the middle of a load, again and again, and checks that nothing it acknowledged was lost, doubled,
//! moved or changed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what command-line programs share of their output")]

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

#[cfg(feature = "load")]
pub mod failover;
pub mod ledger;
#[cfg(feature = "load")]
pub mod load;
#[cfg(feature = "load")]
mod ours;

/// One line that is written over, or a line every ten rounds where the output is no terminal.
pub fn progress(round: u32, rounds: u32, text: &str) {
    let mut out = io::stdout();
    // Progress only: a closed terminal must not end the run.
    let written = if out.is_terminal() {
        write!(out, "\r{text}    ")
    } else if round.is_multiple_of(10) || round == rounds {
        writeln!(out, "{text}")
    } else {
        Ok(())
    };
    drop(written.and_then(|()| out.flush()));
}

/// Says what `program` has found, one sentence each, and how it is run again.
pub fn verdict(program: &str, found: Result<Vec<String>, String>, seed: u64) -> ExitCode {
    match found {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            wrong.iter().take(50).for_each(|text| println!("WRONG {text}"));
            println!("{} violations; again with --seed {seed}", wrong.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("\n{program}: {error}\nagain with --seed {seed}");
            ExitCode::FAILURE
        }
    }
}
