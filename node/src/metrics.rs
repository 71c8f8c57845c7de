//! Metrics as the OpenMetrics text that Prometheus scrapes.
//!
//! A scrape asks the node for what it knows at that moment ([`Family`]); nothing is registered beforehand, so
//! that partitions and groups come and go without anyone keeping a list.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::driver::{Count, Counters};

/// The media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One metric with all its labelled values.
#[derive(Clone, Debug)]
pub struct Family {
    /// The name, without the `_total` of counters.
    pub name: &'static str,
    /// One sentence, without the full stop.
    pub help: &'static str,
    /// The values.
    pub points: Points,
}

/// The values of a family.
#[derive(Clone, Debug)]
pub enum Points {
    /// What only grows.
    Counter(Vec<Point>),
    /// What goes up and down.
    Gauge(Vec<Point>),
    /// A distribution: sum, count, and for each upper bound how many lie below it and above the one before.
    Histogram {
        /// The sum of all values.
        sum: f64,
        /// How many values.
        count: u64,
        /// Upper bounds and counts; the last bound is infinite.
        buckets: Vec<(f64, u64)>,
    },
}

/// One value with its labels.
#[derive(Clone, Debug)]
pub struct Point {
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Family {
    /// A counter without labels.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, points: Points::Counter(vec![Point::plain(value)]) }
    }

    /// A gauge without labels.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, points: Points::Gauge(vec![Point::plain(value)]) }
    }
}

impl Point {
    /// A value without labels.
    #[must_use]
    pub fn plain(value: f64) -> Self {
        Self { labels: Vec::new(), value }
    }
}

/// The families as text, with those of the process beside them.
#[must_use]
pub fn render(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(families)));
    registry.register_collector(Box::new(Snapshot(process())));
    let mut text = String::new();
    // The only error is that of the String, which has none.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

/// What the driver counts.
#[must_use]
pub fn of_driver(counters: &Counters) -> Vec<Family> {
    let number = |count: &Count| count.get() as f64;
    let syncs = Points::Histogram {
        sum: counters.syncs.sum().as_secs_f64(),
        count: counters.syncs.count(),
        buckets: counters.syncs.buckets().collect(),
    };
    vec![
        Family::counter("ottla_rounds", "Rounds of the machine that handled an input", number(&counters.rounds)),
        Family::counter("ottla_inputs", "Inputs that the machine handled", number(&counters.inputs)),
        Family::gauge("ottla_inbox_inputs", "Inputs that waited when the last round began", number(&counters.inbox)),
        Family::gauge("ottla_connections", "Open connections", number(&counters.connections.open)),
        Family::gauge("ottla_open_files", "Open files of the log directories", number(&counters.open_files)),
        Family::counter(
            "ottla_connections_refused",
            "Connections refused for a limit",
            number(&counters.connections.refused),
        ),
        Family::counter(
            "ottla_connections_idle_closed",
            "Connections closed as idle",
            number(&counters.connections.idle_closed),
        ),
        Family::counter("ottla_received_bytes", "Bytes received from connections", number(&counters.bytes_in)),
        Family::counter("ottla_sent_bytes", "Bytes sent from memory", number(&counters.bytes_out)),
        Family::counter("ottla_sent_file_bytes", "Bytes sent from files", number(&counters.bytes_out_file)),
        Family::counter("ottla_answers_unreadable", "Answers cut as a file failed", number(&counters.unreadable)),
        Family::counter("ottla_file_writes", "File writes that the machine asked for", number(&counters.writes)),
        Family::counter("ottla_file_write_calls", "Calls that carried them out", number(&counters.write_calls)),
        Family::counter("ottla_file_written_bytes", "Bytes written to files", number(&counters.bytes_written)),
        Family { name: "ottla_sync_seconds", help: "How long syncs of files and directories took", points: syncs },
        Family::counter("ottla_syncs_failed", "Syncs that failed or hung", number(&counters.syncs_failed)),
    ]
}

/// Memory, processor time and open files of this process, under the names that Prometheus' own clients use.
fn process() -> Vec<Family> {
    let mut families = Vec::new();
    let page = rustix::param::page_size();
    let field = |file: &str, index: usize| -> Option<f64> {
        let text = fs::read_to_string(file).ok()?;
        // In `stat` the second field is the command's name in brackets, which may hold spaces.
        let text = text.rsplit_once(')').map_or(text.as_str(), |(_, rest)| rest);
        text.split_ascii_whitespace().nth(index)?.parse().ok()
    };
    if let Some(pages) = field("/proc/self/statm", 1) {
        let bytes = pages * page as f64;
        families.push(Family::gauge("process_resident_memory_bytes", "Memory that is resident", bytes));
    }
    if let (Some(user), Some(system)) = (field("/proc/self/stat", 11), field("/proc/self/stat", 12)) {
        let seconds = (user + system) / rustix::param::clock_ticks_per_second() as f64;
        families.push(Family::counter("process_cpu_seconds", "Processor time used", seconds));
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        families.push(Family::gauge("process_open_fds", "Open files", files.count() as f64));
    }
    families
}

/// Families on their way into the encoder.
#[derive(Debug)]
struct Snapshot(Vec<Family>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.iter().try_for_each(|family| encode_family(family, &mut encoder))
    }
}

fn encode_family(family: &Family, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let kind = match family.points {
        Points::Counter(_) => MetricType::Counter,
        Points::Gauge(_) => MetricType::Gauge,
        Points::Histogram { .. } => MetricType::Histogram,
    };
    let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
    let is_counter = matches!(family.points, Points::Counter(_));
    match &family.points {
        Points::Counter(points) | Points::Gauge(points) => {
            points.iter().try_for_each(|point| encode_point(point, is_counter, &mut metric))
        }
        Points::Histogram { sum, count, buckets } => metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None),
    }
}

fn encode_point(point: &Point, is_counter: bool, metric: &mut MetricEncoder<'_>) -> Result<(), fmt::Error> {
    let encode = |metric: &mut MetricEncoder<'_>| match is_counter {
        true => metric.encode_counter::<NoLabelSet, _, f64>(&point.value, None),
        false => metric.encode_gauge(&point.value),
    };
    if point.labels.is_empty() { encode(metric) } else { encode(&mut metric.encode_family(&point.labels)?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_become_text() {
        let labelled = |topic: &str, value| Point { labels: vec![("topic", topic.to_owned())], value };
        let text = render(vec![
            Family::counter("ottla_rounds", "Rounds", 3.0),
            Family {
                name: "ottla_size",
                help: "Bytes",
                points: Points::Gauge(vec![labelled("a", 1.0), labelled("b", 2.5)]),
            },
            Family {
                name: "ottla_sync_seconds",
                help: "Syncs",
                points: Points::Histogram { sum: 0.5, count: 2, buckets: vec![(0.1, 1), (f64::INFINITY, 1)] },
            },
        ]);
        for line in [
            "# TYPE ottla_rounds counter",
            "ottla_rounds_total 3.0",
            "ottla_size{topic=\"a\"} 1.0",
            "ottla_size{topic=\"b\"} 2.5",
            "ottla_sync_seconds_bucket{le=\"0.1\"} 1",
            "ottla_sync_seconds_bucket{le=\"+Inf\"} 2",
            "ottla_sync_seconds_count 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing from\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }
}
