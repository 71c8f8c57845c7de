//! Log lines: short and aligned for people, or JSON for machines; on standard error.

use std::fmt;
use std::io;

use clap::ValueEnum;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `2026-01-31T12:00:00.123Z INFO  message field=value`
    Text,
    /// One object a line.
    Json,
}

/// What the operator wants to see.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// How lines look.
    pub format: LogFormat,
    /// As RUST_LOG: `LEVEL` and `TARGET=LEVEL` separated by commas. RUST_LOG itself if `None`, else `info`.
    pub filter: Option<String>,
}

/// Installs the process's log. Call it once; fails if the filter cannot be read.
pub fn start(options: &LogOptions) -> Result<(), String> {
    let filter = options.filter.clone().or_else(|| std::env::var("RUST_LOG").ok());
    let filter = filter.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| "info".to_owned());
    let targets = parse_filter(&filter).ok_or_else(|| {
        let levels = "error, warn, info, debug, trace or off";
        format!("log filter {filter}: write LEVEL or TARGET=LEVEL, separated by commas; a level is {levels}")
    })?;
    let registry = tracing_subscriber::registry().with(targets);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let installed = match options.format {
        LogFormat::Text => registry.with(lines.event_format(ShortLines)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    installed.map_err(|error| error.to_string())
}

/// Reads `LEVEL` and `TARGET=LEVEL`. A bare word that is no level would be taken for a target; it is a typo.
fn parse_filter(text: &str) -> Option<Targets> {
    let is_level = |word: &str| word.trim().parse::<LevelFilter>().is_ok();
    let valid = |item: &str| item.split_once('=').map_or(is_level(item), |(_, level)| is_level(level));
    if text.split(',').all(valid) { text.parse().ok() } else { None }
}

/// Time to the millisecond, level in five columns, message, fields.
struct ShortLines;

impl<S, N> FormatEvent<S, N> for ShortLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        // "2026-01-31T12:00:00.123456Z": microseconds are noise in a line for people.
        let millis = time.get(..23).unwrap_or(&time);
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN ",
            Level::INFO => "INFO ",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        };
        write!(out, "{millis}Z {level} ")?;
        context.field_format().format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}
