//! Kills a broker in the middle of a load, again and again, and checks that nothing it acknowledged was lost, doubled,
//! moved or changed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what command-line programs share of their output")]

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use lexopt::prelude::*;

use crate::broker::Kind;

#[cfg(feature = "load")]
pub mod failover;
pub mod ledger;
#[cfg(feature = "load")]
pub mod load;
#[cfg(feature = "load")]
mod ours;

/// Partitions of each topic.
pub const PARTITIONS: i32 = 3;

/// What a crash test is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whose broker is killed.
    pub kind: Kind,
    /// How often.
    pub rounds: u32,
    /// What the moments are drawn from.
    pub seed: u64,
}

impl Options {
    /// From the command line; `None`: it asks for help. `against`: whether another broker than Ottla may be asked for.
    fn parse(against: bool) -> Result<Option<Self>, lexopt::Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut options = Self { kind: Kind::Ottla, rounds: 100, seed: u64::from(now.subsec_nanos()) };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("against") if against => options.kind = arguments.value()?.parse()?,
                Long("rounds") => options.rounds = arguments.value()?.parse()?,
                Long("seed") => options.seed = arguments.value()?.parse()?,
                Long("help") | Short('h') => return Ok(None),
                Long(_) | Short(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

/// A whole program: reads the command line, and says what `run` found, one sentence each. `against`: whether another
/// broker than Ottla may be asked for.
pub fn main(
    (program, help): (&str, &str),
    against: bool,
    run: impl FnOnce(&Options) -> Result<Vec<String>, String>,
) -> ExitCode {
    let options = match Options::parse(against) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{help}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{program}: {error}\n\n{help}");
            return ExitCode::from(2);
        }
    };
    let Options { kind, rounds, seed } = options;
    let against = if against { format!(" --against {}", kind.name()) } else { String::new() };
    println!("{program}{against} --rounds {rounds} --seed {seed}");
    verdict(program, run(&options), seed)
}

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
fn verdict(program: &str, found: Result<Vec<String>, String>, seed: u64) -> ExitCode {
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
