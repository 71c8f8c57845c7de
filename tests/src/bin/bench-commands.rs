//! `make bench-commands`: `ottla produce` and `ottla consume` beside kcat, which do the same work in turns.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program: its table is its output")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use ottla_tests::broker::{Kind, Plan};
use ottla_tests::install::Workshop;
use ottla_tests::process;
use ottla_tests::records::Random;

const HELP: &str = "\
bench-commands [--against ottla|kafka] [--records N] [--size BYTES] [--rounds N]

Writes the lines of a file into a topic and reads them back, by kcat and by `ottla`, in turns, against one
broker on this machine; both with their own defaults. OTTLA_BIN names the ottla program.";

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(300);
/// The programs, in the order of the first round; the next round goes back.
const PROGRAMS: [&str; 2] = ["kcat", "ottla"];

struct Options {
    kind: Kind,
    records: u64,
    size: usize,
    rounds: usize,
}

fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options { kind: Kind::Ottla, records: 2_000_000, size: 100, rounds: 5 };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("against") => options.kind = arguments.value()?.parse()?,
            Long("records") => options.records = arguments.value()?.parse()?,
            Long("size") => options.size = arguments.value()?.parse()?,
            Long("rounds") => options.rounds = arguments.value()?.parse()?,
            Long("help") | Short('h') => return Ok(None),
            Long(_) | Short(_) | Value(_) => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    let done = match parse() {
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Some(options)) => run(&options),
        Err(error) => Err(format!("{error}\n\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-commands: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let workshop = Workshop::open().map_err(|error| error.to_string())?;
    workshop.debian("kcat")?;
    let dir = workshop.out.join(format!("commands-{}", std::process::id()));
    let measured = measure(options, &workshop, &dir);
    // The log of a broker that failed is worth more than an empty directory.
    if measured.is_ok() {
        fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    }
    measured
}

fn measure(options: &Options, workshop: &Workshop, dir: &Path) -> Result<(), String> {
    let plan = Plan::new(workshop, options.kind, &dir.join("broker"))?;
    plan.prepare(workshop)?;
    let _broker = plan.start()?;
    let lines = dir.join("lines");
    write_lines(&lines, options).map_err(|error| error.to_string())?;
    let (mut writing, mut reading) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for round in 0..options.rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for at in order {
            let topic = format!("t-{round}-{at}");
            let work = Work { program: PROGRAMS[at], bootstrap: plan.bootstrap(), topic, dir };
            work.ottla(&["topic", "create", &work.topic, "-p", "1"])?;
            writing[at].push(work.write(&lines)?);
        }
        for at in order {
            // Each reads what the other wrote.
            let topic = format!("t-{round}-{}", 1 - at);
            let work = Work { program: PROGRAMS[at], bootstrap: plan.bootstrap(), topic, dir };
            reading[at].push(work.read(options)?);
        }
        eprint!(".");
    }
    eprintln!();
    println!("{} records of {} bytes, one partition, {} rounds", options.records, options.size, options.rounds);
    println!("{:8}  {:>14}  {:>14}  ottla / kcat: median (least to most)", "", "kcat, rec/s", "ottla, rec/s");
    show("produce", &writing, options);
    show("consume", &reading, options);
    Ok(())
}

/// Text without any end of line in it.
fn write_lines(path: &Path, options: &Options) -> io::Result<()> {
    let mut random = Random::new(7);
    let mut out = io::BufWriter::new(File::create(path)?);
    for _ in 0..options.records {
        out.write_all(&random.letters(options.size))?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// One run of a program.
struct Work<'a> {
    program: &'static str,
    bootstrap: String,
    topic: String,
    dir: &'a Path,
}

impl Work<'_> {
    fn write(&self, lines: &Path) -> Result<Duration, String> {
        let input = File::open(lines).map_err(|error| error.to_string())?;
        let arguments: &[&str] = match self.program {
            "kcat" => &["-P", "-b", &self.bootstrap, "-t", &self.topic],
            _ => &["produce", "-b", &self.bootstrap, &self.topic],
        };
        self.time(arguments, input.into())
    }

    fn read(&self, options: &Options) -> Result<Duration, String> {
        let count = options.records.to_string();
        let arguments: &[&str] = match self.program {
            "kcat" => &["-C", "-q", "-b", &self.bootstrap, "-t", &self.topic, "-o", "beginning", "-c", &count],
            _ => &["consume", "-b", &self.bootstrap, &self.topic, "-n", &count],
        };
        let taken = self.time(arguments, Stdio::null())?;
        let wanted = options.records * (options.size as u64 + 1);
        let got = fs::metadata(self.dir.join("stdout")).map_err(|error| error.to_string())?.len();
        if got == wanted { Ok(taken) } else { Err(format!("{} printed {got} bytes of {wanted}", self.program)) }
    }

    fn time(&self, arguments: &[&str], input: Stdio) -> Result<Duration, String> {
        let program = if self.program == "kcat" { "kcat".to_owned() } else { ottla()? };
        let begun = Instant::now();
        let explain = |error: io::Error| format!("{} {arguments:?}: {error}", self.program);
        let files = (File::create(self.dir.join("stdout")), File::create(self.dir.join("stderr")));
        let (out, err) = (files.0.map_err(explain)?, files.1.map_err(explain)?);
        let mut command = Command::new(program);
        let mut child = command.args(arguments).stdin(input).stdout(out).stderr(err).spawn().map_err(explain)?;
        let status = process::wait(&mut child, LIMIT).map_err(explain)?;
        let taken = begun.elapsed();
        if status.is_some_and(|status| status.success()) {
            return Ok(taken);
        }
        // What hangs is ended; what failed has ended.
        drop(child.kill());
        let said = fs::read_to_string(self.dir.join("stderr")).unwrap_or_default();
        Err(format!("{} {arguments:?} failed: {said}", self.program))
    }

    fn ottla(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new(ottla()?);
        let output = command.args(arguments).env("OTTLA_BROKERS", &self.bootstrap).output();
        let output = output.map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

fn ottla() -> Result<String, String> {
    std::env::var("OTTLA_BIN").map_err(|_| "OTTLA_BIN does not name the ottla program".to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "figures of a measurement")]
fn show(what: &str, times: &[Vec<Duration>; 2], options: &Options) {
    let rate = |time: &Duration| options.records as f64 / time.as_secs_f64();
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let [kcat, ottla] = times.each_ref().map(|times| middle(times.iter().map(rate).collect()).0);
    let ratios = times[0].iter().zip(&times[1]).map(|(kcat, ottla)| kcat.as_secs_f64() / ottla.as_secs_f64());
    let (median, least, most) = middle(ratios.collect());
    println!("{what:8}  {kcat:>14.0}  {ottla:>14.0}  {median:.2} ({least:.2} to {most:.2})");
}
