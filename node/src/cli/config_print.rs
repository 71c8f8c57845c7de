//! `ottla config print`: the effective values and where each comes from. Secrets are not shown.

use std::fmt::Write;

use ottla_core::config::{Described, Effect, Layers, Origin, Source, StaticConfig, describe_broker};
use serde_json::json;

use super::{ConfigPrintArgs, Failure, Output, print};
use crate::config::{Sources, dev_preset, environment};

/// Prints the configuration that the arguments lead to. Keys that fit one by one are printed even if they do
/// not fit together; what is wrong is said then.
pub(super) fn run(args: &ConfigPrintArgs) -> Result<(), Failure> {
    let environment = environment();
    let preset = if args.config.is_some() { Vec::new() } else { dev_preset("ottla-data".as_ref(), None) };
    let sources = Sources { preset, file: args.config.clone(), environment, flags: args.settings.clone() };
    let layers = Layers::of(sources.read().map_err(Failure::usage)?);
    let rows = describe_broker(&layers);
    let shown = rows.iter().filter(|row| args.all || row.source != Source::Default);
    let text = match args.output {
        Output::Table => table(shown, &layers.fixed),
        Output::Json => json_text(shown, &layers.fixed)?,
    };
    print(&text)?;
    sources.effective().map(|_| ()).map_err(Failure::usage)
}

fn table<'a>(rows: impl Iterator<Item = &'a Described>, fixed: &StaticConfig) -> String {
    let rows: Vec<_> = rows.map(|row| (row, row.key.name, shown(row), origin(row, fixed))).collect();
    let widest = |of: &dyn Fn(usize) -> usize, most: usize| (0..rows.len()).map(of).max().unwrap_or(0).min(most);
    let name_width = widest(&|i| rows[i].1.len(), 60);
    let value_width = widest(&|i| rows[i].2.len(), 40);
    let mut text = String::new();
    for (row, name, value, origin) in &rows {
        let remark = if row.key.effect == Effect::Ignored { "  (no effect)" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:name_width$}  {value:value_width$}  {origin}{remark}");
    }
    text
}

fn json_text<'a>(rows: impl Iterator<Item = &'a Described>, fixed: &StaticConfig) -> Result<String, Failure> {
    let rows: Vec<_> = rows
        .map(|row| {
            json!({
                "key": row.key.name,
                "value": row.value,
                "source": origin(row, fixed),
                "default": if row.key.is_sensitive() { None } else { row.key.default },
                "dynamic": !row.key.is_read_only(),
                "sensitive": row.key.is_sensitive(),
                "effect": row.key.effect != Effect::Ignored,
                "doc": row.key.doc,
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(&rows).map_err(Failure::new)?;
    Ok(text + "\n")
}

fn shown(row: &Described) -> String {
    match &row.value {
        Some(value) => value.clone(),
        None if row.key.is_sensitive() && row.source != Source::Default => "[hidden]".to_owned(),
        None => "-".to_owned(),
    }
}

fn origin(row: &Described, fixed: &StaticConfig) -> String {
    match fixed.get(row.key.name) {
        None => "default".to_owned(),
        Some((_, Origin::Preset)) => "dev".to_owned(),
        Some((_, Origin::File { line })) => format!("file, line {line}"),
        Some((_, Origin::Environment)) => "environment".to_owned(),
        Some((_, Origin::Flag)) => "flag".to_owned(),
    }
}
