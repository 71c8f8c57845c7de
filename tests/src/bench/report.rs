//! What comes out: a line of progress a run, the table, the JSON file.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fleet::Who;
use super::sample::{Figure, Sample, median};

/// All runs of a line, in the order of the rounds.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    /// The line's name.
    pub name: String,
    /// What each broker gave, or why it could not.
    pub samples: BTreeMap<Who, Vec<Result<Sample, String>>>,
}

impl Runs {
    fn good(&self, who: Who) -> impl Iterator<Item = &Sample> {
        self.samples.get(&who).into_iter().flatten().filter_map(|sample| sample.as_ref().ok())
    }

    fn median(&self, who: Who, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(self.good(who).filter_map(of).collect())
    }

    /// The names of the figures, as the first good run has them.
    fn figures(&self) -> Vec<Figure> {
        let first = self.samples.values().flatten().find_map(|sample| sample.as_ref().ok());
        first.map(|sample| sample.figures.clone()).unwrap_or_default()
    }

    /// How many times better Ottla was, round by round: only neighbours are compared.
    fn times_better(&self, figure: &Figure, peer: Who) -> Vec<f64> {
        let of = |sample: &Result<Sample, String>| value(sample.as_ref().ok()?, figure.name);
        let pair = |(ours, theirs)| Some(figure.unit.times_better(of(ours)?, of(theirs)?));
        let (Some(ours), Some(theirs)) = (self.samples.get(&Who::Ottla), self.samples.get(&peer)) else {
            return Vec::new();
        };
        ours.iter().zip(theirs).filter_map(pair).collect()
    }
}

fn value(sample: &Sample, name: &str) -> Option<f64> {
    sample.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
}

/// The table: a row a figure; a line's CPU, memory and sync times stand in its first row.
pub fn table(results: &[Runs], peers: &[Who]) -> String {
    let mut rows = vec![head(peers)];
    for runs in results {
        for (index, figure) in runs.figures().iter().enumerate() {
            rows.push(row(runs, figure, index == 0, peers));
        }
    }
    align(&rows) + &failures(results)
}

fn head(peers: &[Who]) -> Vec<String> {
    let mut head = ["line", "", "ottla", "CPU s/GB", "memory"].map(str::to_owned).to_vec();
    for peer in peers {
        head.extend([peer.name(), "CPU s/GB", "memory", "better", "of their CPU"].map(str::to_owned));
    }
    head.extend(["ceiling", "of it", "sync p50/p99"].map(str::to_owned));
    head
}

fn row(runs: &Runs, figure: &Figure, is_first: bool, peers: &[Who]) -> Vec<String> {
    let cell = |who| {
        let value = runs.median(who, |sample| value(sample, figure.name));
        value.map_or_else(String::new, |value| figure.unit.text(value))
    };
    let costs = |who| {
        let cpu = runs.median(who, Sample::cpu_a_gigabyte).filter(|_| is_first);
        let memory = runs.median(who, |sample| Some(super::sample::number(sample.broker.resident)));
        let memory = memory.filter(|memory| is_first && *memory > 0.0);
        let megabytes = memory.map_or_else(String::new, |bytes| format!("{:.0} MB", bytes / 1e6));
        [cpu.map_or_else(String::new, |cpu| format!("{cpu:.2}")), megabytes]
    };
    let mut row = vec![if is_first { runs.name.clone() } else { String::new() }, figure.name.to_owned()];
    row.push(cell(Who::Ottla));
    row.extend(costs(Who::Ottla));
    for peer in peers {
        row.push(cell(*peer));
        row.extend(costs(*peer));
        row.push(spread(&runs.times_better(figure, *peer)));
        let cpu = |who| runs.median(who, Sample::cpu_a_gigabyte);
        let share = cpu(Who::Ottla).zip(cpu(*peer)).filter(|(_, theirs)| is_first && *theirs > 0.0);
        row.push(share.map_or_else(String::new, |(ours, theirs)| format!("{:.0} %", 100.0 * ours / theirs)));
    }
    row.push(cell(Who::Sink));
    let reached = median(runs.times_better(figure, Who::Sink));
    row.push(reached.map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share)));
    row.push(if is_first { syncs(runs) } else { String::new() });
    row
}

/// The middle ratio, and from where to where they go.
fn spread(ratios: &[f64]) -> String {
    let Some(middle) = median(ratios.to_vec()) else { return String::new() };
    if ratios.len() == 1 {
        return format!("{middle:.2}x");
    }
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{middle:.2}x ({least:.2}-{most:.2})")
}

fn syncs(runs: &Runs) -> String {
    let of = |pick: fn(&super::machine::SyncTimes) -> Duration| {
        let all = runs.samples.values().flatten().filter_map(|sample| sample.as_ref().ok()?.sync);
        median(all.map(|sync| pick(&sync).as_secs_f64() * 1e3).collect())
    };
    let both = of(|sync| sync.p50).zip(of(|sync| sync.p99));
    both.map_or_else(String::new, |(p50, p99)| format!("{p50:.2}/{p99:.2} ms"))
}

/// Why a run of a line has no figures, each reason once.
fn failures(results: &[Runs]) -> String {
    let mut text = String::new();
    for runs in results {
        for (who, samples) in &runs.samples {
            let mut reasons: Vec<_> = samples.iter().filter_map(|sample| sample.as_ref().err()).collect();
            reasons.sort_unstable();
            reasons.dedup();
            for reason in reasons {
                text += &format!("\nn/a {} with {}: {}", runs.name, who.name(), reason.trim_end());
            }
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Words to the left, numbers to the right.
fn align(rows: &[Vec<String>]) -> String {
    const WORDS: usize = 2;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < WORDS { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// Everything that was measured, in seconds and bytes.
pub fn json(machine: &Value, results: &[Runs], peers: &[Who]) -> Value {
    let lines = results.iter().map(|runs| {
        let samples = runs.samples.iter().map(|(who, samples)| {
            let one = |sample: &Result<Sample, String>| match sample {
                Ok(sample) => sample.json(),
                Err(why) => json!({ "error": why }),
            };
            (who.name().to_owned(), samples.iter().map(one).collect())
        });
        let better = peers.iter().map(|peer| {
            let ratios = runs.figures().into_iter();
            let ratios = ratios.map(|figure| (figure.name.to_owned(), json!(runs.times_better(&figure, *peer))));
            (peer.name().to_owned(), ratios.collect())
        });
        json!({
            "line": runs.name,
            "samples": samples.collect::<serde_json::Map<_, _>>(),
            "times_better_than": better.collect::<serde_json::Map<_, _>>(),
        })
    });
    json!({ "machine": machine, "lines": lines.collect::<Vec<_>>() })
}

/// Says how far the run is.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    total: usize,
    done: usize,
}

impl Progress {
    /// So many runs are to come.
    pub fn new(total: usize) -> Self {
        Self { begun: Instant::now(), total, done: 0 }
    }

    /// What runs now; written over by [`Progress::end`] where the output is a terminal.
    pub fn begin(&self, what: &str) {
        if io::stdout().is_terminal() {
            say(&format!("\r{} {what} ...", self.place()));
        }
    }

    /// One run is over.
    pub fn end(&mut self, what: &str, result: &Result<Sample, String>) {
        self.done += 1;
        let outcome = match result {
            Ok(sample) => figures(sample),
            Err(why) => format!("n/a: {}", why.lines().next().unwrap_or_default()),
        };
        let start = if io::stdout().is_terminal() { "\r\x1b[K" } else { "" };
        say(&format!("{start}{} {what}  {outcome}\n", self.place()));
    }

    fn place(&self) -> String {
        let seconds = self.begun.elapsed().as_secs();
        format!("{:2}:{:02} {:3}/{}", seconds / 60, seconds % 60, self.done, self.total)
    }
}

fn figures(sample: &Sample) -> String {
    let named = |figure: &Figure| format!("{} {}", figure.name, figure.unit.text(figure.value));
    let mut texts: Vec<_> = sample.figures.iter().map(named).collect();
    texts.extend(sample.cpu_a_gigabyte().map(|cpu| format!("CPU {cpu:.2} s/GB")));
    texts.join(", ")
}

/// Progress only: a closed terminal must not end the run.
fn say(text: &str) {
    let mut out = io::stdout();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::usage::Usage;

    fn sample(rate: u64, cpu: u64) -> Result<Sample, String> {
        let figures =
            vec![Figure::rate("records", rate, Duration::from_secs(1)), Figure::time("p99", Duration::from_millis(3))];
        let broker = Usage { cpu: Duration::from_secs(cpu), resident: 31 << 20, ..Usage::default() };
        Ok(Sample { figures, bytes: 1_000_000_000, broker, ..Sample::default() })
    }

    #[test]
    fn ratios_are_of_neighbours_and_failures_are_told() {
        let mut runs = Runs { name: "some/line".to_owned(), ..Runs::default() };
        runs.samples.insert(Who::Ottla, vec![sample(4_000_000, 1), sample(1_000_000, 1)]);
        runs.samples.insert(Who::Kafka, vec![sample(2_000_000, 4), sample(500_000, 4)]);
        runs.samples.insert(Who::Sink, vec![sample(5_000_000, 0), Err("no sink".to_owned())]);
        let text = table(&[runs], &[Who::Kafka]);
        assert!(text.contains("2.00x (2.00-2.00)"), "{text}");
        assert!(text.contains("25 %") && text.contains("80 %"), "{text}");
        assert!(text.contains("n/a some/line with ceiling: no sink"), "{text}");
        let widths: Vec<_> = text.lines().take(3).map(|line| line.find("MB")).collect();
        assert_eq!(widths[1], widths[1].max(widths[0]));
    }
}
