//! `make interop`: unmodified clients and tools against Ottla, against Apache Kafka, or both.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program: its tables are its output")]

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use lexopt::prelude::*;
use ottla_tests::broker::{Kind, Plan};
use ottla_tests::cluster;
use ottla_tests::install::Workshop;
use ottla_tests::interop::bench::Bench;
use ottla_tests::interop::cases::{CASES, KNOWN_DEFECTS};
use ottla_tests::interop::client::{self, Client, Stop};
use ottla_tests::interop::report::{self, Cell};
use ottla_tests::interop::{groups, matrix, tools};

const HELP: &str = "\
interop [--against ottla|kafka|both] [--nodes N] [--client NAME]… [--case NAME]…

Runs unmodified Kafka clients and tools against one node, or against a cluster of N. OTTLA_BIN names the
ottla program. A case that fails with Ottla is run with Apache Kafka too; the exit code is 1 if one fails
that passes there, or a case that is named was not run.";

/// What was asked for; an empty list means all.
struct Selection {
    against: Vec<Kind>,
    nodes: usize,
    clients: Vec<String>,
    cases: Vec<String>,
    /// Only these (case, client) pairs: a second look at what failed.
    pairs: Option<Vec<(String, String)>>,
}

impl Selection {
    fn parse() -> Result<Option<Self>, lexopt::Error> {
        let against = vec![Kind::Ottla];
        let mut selection = Self { against, nodes: 1, clients: Vec::new(), cases: Vec::new(), pairs: None };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("against") => {
                    let name = arguments.value()?.string()?;
                    selection.against = match name.as_str() {
                        "both" => vec![Kind::Kafka, Kind::Ottla],
                        one => vec![one.parse().map_err(|error| format!("{error}, or both"))?],
                    }
                }
                Long("nodes") => {
                    let wanted = arguments.value()?.parse()?;
                    selection.nodes = (wanted > 0).then_some(wanted).ok_or("--nodes is 1 or more")?;
                }
                Long("client") => selection.clients.push(known(&arguments.value()?.string()?, client::names())?),
                Long("case") => selection.cases.push(known(&arguments.value()?.string()?, case_names())?),
                Long("help") | Short('h') => return Ok(None),
                Long(_) | Short(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        Ok(Some(selection))
    }

    fn wants(&self, case: &str, client: &str) -> bool {
        let listed = |list: &[String], name: &str| list.is_empty() || list.iter().any(|listed| listed == name);
        match &self.pairs {
            Some(pairs) => pairs.iter().any(|(row, column)| row == case && column == client),
            None => listed(&self.cases, case) && listed(&self.clients, client),
        }
    }

    /// Whether the cross matrix is run with this client.
    fn wants_matrix(&self, client: &str) -> bool {
        match &self.pairs {
            Some(pairs) => {
                pairs.iter().any(|(row, column)| row.starts_with("by ") && (column == client || row.ends_with(client)))
            }
            None => self.wants("matrix", client),
        }
    }

    fn wants_tool(&self, case: &str) -> bool {
        self.wants(case, tools::COLUMN) || (self.pairs.is_none() && self.cases.iter().any(|name| name == "tools"))
    }
}

fn case_names() -> impl Iterator<Item = &'static str> {
    let of_groups = groups::CASES.iter().map(|(name, _)| *name);
    CASES
        .iter()
        .map(|(name, _)| *name)
        .chain(of_groups)
        .chain(tools::all_cases().map(|(name, _)| *name))
        .chain(["matrix", "tools"])
}

fn known(name: &str, names: impl Iterator<Item = &'static str>) -> Result<String, lexopt::Error> {
    let names: Vec<_> = names.collect();
    if names.contains(&name) {
        Ok(name.to_owned())
    } else {
        Err(format!("{name} is none of {}", names.join(", ")).into())
    }
}

fn main() -> ExitCode {
    let selection = match Selection::parse() {
        Ok(Some(selection)) => selection,
        Ok(None) => {
            println!("{HELP}\n\nclients: {}\ncases: {}", join(client::names()), join(case_names()));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("interop: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run_all(&selection) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("interop: {error}");
            ExitCode::from(2)
        }
    }
}

fn join(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}

/// True if nothing failed but what fails with Kafka as well.
fn run_all(selection: &Selection) -> Result<bool, String> {
    let workshop = Workshop::open().map_err(|error| error.to_string())?;
    let mut good = true;
    for kind in &selection.against {
        let mut cells = run(&workshop, *kind, selection)?;
        if *kind == Kind::Ottla && cells.iter().any(Cell::is_failure) {
            compare_with_kafka(&workshop, selection.nodes, &mut cells)?;
        }
        println!("\n{}", tables(*kind, &cells));
        println!("{}", report::details(&cells));
        good &= was_run(selection, &cells);
        good &= !cells.iter().any(|cell| cell.is_failure() && !cell.fails_with_kafka);
    }
    Ok(good)
}

/// Whether every case that was named was run; says which was not.
fn was_run(selection: &Selection, cells: &[Cell]) -> bool {
    let ran = |case: &str| {
        cells.iter().any(|cell| match case {
            "matrix" => cell.row.starts_with("by "),
            "tools" => cell.column == tools::COLUMN,
            _ => cell.row == case,
        })
    };
    let missing: Vec<_> = selection.cases.iter().filter(|case| !ran(case)).collect();
    for case in &missing {
        let why = tools::nodes_for(case, selection.nodes).map(|nodes| format!(": it is for --nodes {nodes}"));
        println!("{case} was not run{}", why.unwrap_or_default());
    }
    missing.is_empty()
}

fn tables(kind: Kind, cells: &[Cell]) -> String {
    let is_tool = |cell: &Cell| cell.column == tools::COLUMN;
    let is_matrix = |cell: &Cell| cell.row.starts_with("by ");
    let part = |wanted: &dyn Fn(&Cell) -> bool| cells.iter().filter(|cell| wanted(cell)).cloned().collect::<Vec<_>>();
    let parts = [
        (kind.name().to_owned(), part(&|cell| !is_tool(cell) && !is_matrix(cell))),
        ("written \\ read by".to_owned(), part(&is_matrix)),
        (format!("{} tools", kind.name()), part(&is_tool)),
    ];
    let printed = parts.iter().filter(|(_, cells)| !cells.is_empty());
    printed.map(|(title, cells)| report::table(title, cells)).collect::<Vec<_>>().join("\n")
}

/// Runs what failed with Ottla with Kafka too, and marks what fails there as well.
fn compare_with_kafka(workshop: &Workshop, nodes: usize, cells: &mut [Cell]) -> Result<(), String> {
    let failed = cells.iter().filter(|cell| cell.is_failure()).map(|cell| (cell.row.clone(), cell.column.clone()));
    let (against, pairs) = (vec![Kind::Kafka], Some(failed.collect()));
    let selection = Selection { against, nodes, clients: Vec::new(), cases: Vec::new(), pairs };
    let with_kafka = run(workshop, Kind::Kafka, &selection)?;
    for cell in cells.iter_mut().filter(|cell| cell.is_failure()) {
        let same = |other: &&Cell| other.row == cell.row && other.column == cell.column;
        cell.fails_with_kafka = with_kafka.iter().find(same).is_some_and(Cell::is_failure);
    }
    Ok(())
}

fn run(workshop: &Workshop, kind: Kind, selection: &Selection) -> Result<Vec<Cell>, String> {
    let mut cells = Vec::new();
    let mut clients = install(workshop, selection, &mut cells);
    let reference = Client::install(workshop, client::REFERENCE)?;
    // A directory of its own, so that two runs do not meet.
    let dir = workshop.out.join(format!("run-{}-{}", kind.name(), std::process::id()));
    let plans = cluster::plan(workshop, (kind, selection.nodes), &dir, &[])?;
    let mut nodes = cluster::start(&plans)?;
    let scratch = dir.join("scratch");
    std::fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;
    let ours = Client::install(workshop, "ottla");
    let bench = Bench::new(cluster::bootstrap(&plans), scratch, reference, ours);
    for client in &clients {
        for (case, check) in CASES.iter().filter(|(case, _)| selection.wants(case, client.name)) {
            let defect = KNOWN_DEFECTS.iter().find(|(name, known, _)| *name == client.name && known == case);
            let defect = defect.map(|(.., why)| Stop::Unsupported((*why).to_owned()));
            cells.push(timed(case, client.name, || defect.map_or_else(|| check(&bench, client), Err)));
        }
        for (case, check) in groups::CASES.iter().filter(|(case, _)| selection.wants(case, client.name)) {
            cells.push(timed(case, client.name, || check(&bench, client, &mut nodes[0])));
        }
    }
    clients.retain(|client| selection.wants_matrix(client.name));
    cross_matrix(&bench, &clients, &mut cells);
    for (case, check) in tools::cases(nodes.len()).filter(|(case, _)| selection.wants_tool(case)) {
        let mut tools = tools::Tools::new(workshop, &bench, &mut nodes)?;
        cells.push(timed(case, tools::COLUMN, || check(&mut tools)));
    }
    for node in &mut nodes {
        if node.has_crashed().map_err(|error| error.to_string())? {
            println!("broker {} ended; the end of its log:\n{}", node.plan.node, node.log_tail());
        }
    }
    drop(nodes);
    // What is left behind can be gigabytes; after a failure the brokers' logs stay.
    let failed = cells.iter().any(Cell::is_failure);
    let done = if failed { plans.iter().map(Plan::data).collect() } else { vec![dir] };
    done.iter().try_for_each(std::fs::remove_dir_all).map_err(|error| error.to_string())?;
    Ok(cells)
}

/// Installs the clients; one that cannot be is n/a in one cell.
fn install(workshop: &Workshop, selection: &Selection, cells: &mut Vec<Cell>) -> Vec<Client> {
    let mut clients = Vec::new();
    for name in client::names() {
        let mut cases = CASES.iter().map(|(case, _)| *case).chain(groups::CASES.iter().map(|(case, _)| *case));
        if !selection.wants_matrix(name) && !cases.any(|case| selection.wants(case, name)) {
            continue;
        }
        match Client::install(workshop, name) {
            Ok(client) => clients.push(client),
            Err(why) => cells.push(timed("install", name, || Err(Stop::Unsupported(why)))),
        }
    }
    clients
}

fn cross_matrix(bench: &Bench, clients: &[Client], cells: &mut Vec<Cell>) {
    for writer in clients {
        let row = format!("by {}", writer.name);
        let sent = match matrix::write(bench, writer) {
            Ok(sent) => sent,
            Err(stop) => {
                cells.push(timed(&row, writer.name, || Err(stop)));
                continue;
            }
        };
        for reader in clients {
            cells.push(timed(&row, reader.name, || matrix::read(bench, reader, &sent)));
        }
    }
}

fn timed(row: &str, column: &str, work: impl FnOnce() -> Result<(), Stop>) -> Cell {
    let start = Instant::now();
    let result = work();
    let cell = Cell {
        row: row.to_owned(),
        column: column.to_owned(),
        result,
        elapsed: start.elapsed(),
        fails_with_kafka: false,
    };
    let word = match &cell.result {
        Ok(()) => "ok",
        Err(Stop::Unsupported(_)) => "n/a",
        Err(Stop::Refused { .. } | Stop::Failed(_)) => "FAIL",
    };
    println!("{word:4} {row} / {column}  {:.1} s", cell.elapsed.as_secs_f32());
    // Progress only: a closed terminal must not end the run.
    drop(io::stdout().flush());
    cell
}
