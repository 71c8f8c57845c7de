//! The result: an aligned table, then each failure in full.

use std::time::Duration;

use super::client::Stop;

/// One cell of the table.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The case (or tool, or writer).
    pub row: String,
    /// The client (or reader).
    pub column: String,
    /// `Ok`, or why not.
    pub result: Result<(), Stop>,
    /// How long it took.
    pub elapsed: Duration,
    /// It fails against Apache Kafka too, so it says nothing about Ottla.
    pub fails_with_kafka: bool,
}

impl Cell {
    /// True if it failed; what a client cannot do is no failure.
    pub const fn is_failure(&self) -> bool {
        matches!(self.result, Err(Stop::Refused { .. } | Stop::Failed(_)))
    }

    fn text(&self) -> String {
        match &self.result {
            Ok(()) => format!("ok {:.1}", self.elapsed.as_secs_f32()),
            Err(Stop::Unsupported(_)) => "n/a".to_owned(),
            Err(_) if self.fails_with_kafka => "FAIL*".to_owned(),
            Err(_) => "FAIL".to_owned(),
        }
    }
}

/// The cells as a table with one row a case and one column a client, in order of first appearance.
pub fn table(title: &str, cells: &[Cell]) -> String {
    let rows = distinct(cells.iter().map(|cell| &cell.row));
    let columns = distinct(cells.iter().map(|cell| &cell.column));
    let mut lines = vec![vec![title.to_owned()]];
    lines[0].extend(columns.iter().map(|column| (*column).clone()));
    for row in rows {
        let mut line = vec![row.clone()];
        for column in &columns {
            let cell = cells.iter().find(|cell| cell.row == *row && cell.column == **column);
            line.push(cell.map_or_else(String::new, Cell::text));
        }
        lines.push(line);
    }
    align(&lines)
}

/// Failures in full, and why something is n/a (each reason once).
pub fn details(cells: &[Cell]) -> String {
    let mut text = String::new();
    for cell in cells.iter().filter(|cell| cell.is_failure()) {
        let note = if cell.fails_with_kafka { " (fails against Apache Kafka too)" } else { "" };
        let why = cell.result.as_ref().err().map(Stop::text).unwrap_or_default();
        text += &format!("\nFAIL {} / {}{note}\n  {}\n", cell.row, cell.column, why.replace('\n', "\n  "));
    }
    let lacking = cells.iter().filter_map(|cell| match &cell.result {
        Err(Stop::Unsupported(why)) => Some(format!("{}: {why}", cell.column)),
        _ => None,
    });
    let mut lacking: Vec<_> = lacking.collect();
    lacking.sort();
    lacking.dedup();
    if !lacking.is_empty() {
        text += &format!("\nn/a:\n  {}\n", lacking.join("\n  "));
    }
    text
}

fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}
