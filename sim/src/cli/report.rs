//! What is printed: aligned, short, and with one line that reproduces.

use std::fmt::Write as _;
use std::path::Path;

use ottla_core::planted::Plant;

use super::child::Told;
use super::commit;
use crate::dose::FLOOR;
use crate::faults::Class;
use crate::time::{Nanos, SECOND};

/// The line that reproduces a run.
pub(super) fn reproduce(file: &Path, seed: u64, digest: u64, plant: Option<Plant>) -> String {
    let commit = commit::short();
    let mut line = format!(
        "cargo run --release -p ottla-sim -- run {} --seed {seed:#x} --commit {commit} --digest {digest:#x}",
        file.display()
    );
    if let Some(plant) = plant {
        let _ = write!(line, " --plant {plant}");
    }
    line
}

/// What one run did.
pub(super) fn run(file: &Path, seed: u64, told: &Told) -> String {
    let mut text = format!(
        "{}  seed {seed:#x}\n  simulated {} s, {} steps in {} ms of CPU, {} batches acknowledged, {} records read\n",
        file.display(),
        seconds(told.simulated),
        grouped(told.step),
        grouped(told.cpu_ms),
        grouped(told.acked_batches),
        grouped(told.records_read),
    );
    let landed: Vec<String> = Class::ALL
        .iter()
        .zip(&told.dose.landed)
        .filter(|(_, count)| **count > 0)
        .map(|(class, count)| format!("{class} {count}"))
        .collect();
    let landed = if landed.is_empty() { "nothing".to_owned() } else { landed.join(", ") };
    let _ = writeln!(text, "  landed    {landed}");
    if told.dose.snapshots[0] > 0 {
        let [written, taken] = told.dose.snapshots;
        let _ = writeln!(text, "  snapshots {written}, {taken} of them from leaders");
    }
    let _ = write!(text, "  hash      {:016x}", told.hash);
    if told.violation.is_none() {
        let verdict = if told.vacuous { vacuous() } else { "no violation".to_owned() };
        let _ = write!(text, "\n  {verdict}");
    }
    text
}

fn vacuous() -> String {
    let (time, batches, classes) = FLOOR;
    format!(
        "no violation, but it proves little: that takes {} s, {batches} batches and {classes} classes of faults",
        time / SECOND
    )
}

/// A violation, and how to see it again.
pub(super) fn violation(what: &(String, String), step: u64, now: Nanos, reproduce: &str) -> String {
    format!(
        "VIOLATION   {}: {}\n  at        step {step}, {} s simulated\n  reproduce {reproduce}",
        what.0,
        what.1,
        seconds(now)
    )
}

/// Seconds with three decimals.
pub(super) fn seconds(nanos: Nanos) -> String {
    format!("{}.{:03}", nanos / SECOND, nanos % SECOND / 1_000_000)
}

/// A number with commas.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rows of cells, each column as wide as it must be; numbers to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let number = cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
            let _ = if number { write!(line, "  {cell:>width$}") } else { write!(line, "  {cell:<width$}") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [vec!["kill".into(), "12".into()], vec!["power loss".into(), "3".into()]];
        assert_eq!(table(&rows), "  kill        12\n  power loss   3\n");
    }
}
