//! What one run of a line gave.

use std::time::Duration;

use serde_json::{Value, json};

use super::machine::SyncTimes;
use super::usage::Usage;

/// What a figure counts, and so how it is written and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// So many a second; more is better.
    Rate,
    /// Seconds; less is better.
    Time,
    /// Bytes of memory; less is better.
    Memory,
}

/// One figure.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// In records or requests a second, seconds, or bytes.
    pub value: f64,
    /// Which of them.
    pub unit: Unit,
}

/// One run.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The figures, the one that the line is about first.
    pub figures: Vec<Figure>,
    /// The bytes of values that were moved, before compression; 0 where a line is not about bytes.
    pub bytes: u64,
    /// How many records were moved.
    pub records: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// What the broker used for it, and the memory that it held at the end.
    pub broker: Usage,
    /// What the load used.
    pub client: Usage,
    /// How long a sync took just before, where syncs matter.
    pub sync: Option<SyncTimes>,
}

impl Unit {
    /// How many times better `ours` is.
    pub fn times_better(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::Rate => ours / theirs,
            Self::Time | Self::Memory => theirs / ours,
        }
    }

    /// With its unit, in about three digits.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Rate if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
            Self::Rate if value >= 1e4 => format!("{:.0} k/s", value / 1e3),
            Self::Rate if value >= 1e3 => format!("{:.2} k/s", value / 1e3),
            Self::Rate => format!("{value:.0} /s"),
            Self::Time if value >= 1.0 => format!("{value:.2} s"),
            Self::Time if value >= 0.01 => format!("{:.1} ms", value * 1e3),
            Self::Time if value >= 1e-4 => format!("{:.3} ms", value * 1e3),
            Self::Time => format!("{:.1} us", value * 1e6),
            Self::Memory if value >= 1e7 => format!("{:.0} MB", value / 1e6),
            Self::Memory if value >= 1e6 => format!("{:.1} MB", value / 1e6),
            Self::Memory => format!("{:.1} kB", value / 1e3),
        }
    }
}

impl Figure {
    /// So many a second.
    pub fn rate(name: &'static str, count: u64, time: Duration) -> Self {
        Self { name, value: number(count) / time.as_secs_f64(), unit: Unit::Rate }
    }

    /// A time.
    pub const fn time(name: &'static str, time: Duration) -> Self {
        Self { name, value: time.as_secs_f64(), unit: Unit::Time }
    }

    /// An amount of memory.
    pub fn memory(name: &'static str, bytes: u64) -> Self {
        Self { name, value: number(bytes), unit: Unit::Memory }
    }
}

impl Sample {
    /// The broker's CPU seconds a gigabyte, where bytes were moved.
    pub fn cpu_a_gigabyte(&self) -> Option<f64> {
        (self.bytes > 0).then(|| self.broker.cpu.as_secs_f64() * 1e9 / number(self.bytes))
    }

    /// For the JSON file: everything, in seconds and bytes.
    pub fn json(&self) -> Value {
        let Self { figures, bytes, records, elapsed, broker, client, sync } = self;
        let figures: serde_json::Map<_, _> =
            figures.iter().map(|figure| (figure.name.to_owned(), json!(figure.value))).collect();
        json!({
            "figures": figures,
            "bytes": bytes,
            "records": records,
            "seconds": elapsed.as_secs_f64(),
            "broker_cpu_seconds": broker.cpu.as_secs_f64(),
            "broker_cpu_seconds_a_gigabyte": self.cpu_a_gigabyte(),
            "broker_resident_bytes": broker.resident,
            "broker_peak_bytes": broker.peak,
            "broker_sleeps": broker.sleeps,
            "client_cpu_seconds": client.cpu.as_secs_f64(),
            "sync_p50_seconds": sync.map(|sync| sync.p50.as_secs_f64()),
            "sync_p99_seconds": sync.map(|sync| sync.p99.as_secs_f64()),
        })
    }
}

/// The middle one of some numbers, or the mean of the two middle ones.
pub fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        count if count.is_multiple_of(2) => Some(f64::midpoint(numbers[middle - 1], numbers[middle])),
        _ => Some(numbers[middle]),
    }
}

/// A count as a number to reckon with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a measurement has three digits")]
pub const fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn better_is_more_a_second_and_less_of_all_else() {
        assert!((Unit::Rate.times_better(4.0, 2.0) - 2.0).abs() < 1e-9);
        assert!((Unit::Time.times_better(1.0, 50.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn figures_have_three_digits() {
        let texts = [2.614e6, 52_400.0, 1_234.0, 7.0].map(|value| Unit::Rate.text(value));
        assert_eq!(texts, ["2.61 M/s", "52 k/s", "1.23 k/s", "7 /s"]);
        assert_eq!([3.1, 0.0123, 0.000_123].map(|value| Unit::Time.text(value)), ["3.10 s", "12.3 ms", "0.123 ms"]);
    }
}
