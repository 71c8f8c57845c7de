//! From a line to a record.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;

use super::{ShapeArgs, json};
use crate::client::ProduceRecord;

/// What all records have, and how a line becomes one.
pub(super) struct Shape {
    template: ProduceRecord,
    key_separator: Option<Bytes>,
    null: bool,
    json: bool,
}

impl Shape {
    pub(super) fn new(topic: &str, args: &ShapeArgs) -> Result<Self, &'static str> {
        if args.delimiter.is_empty() || args.key_separator.as_ref().is_some_and(Bytes::is_empty) {
            return Err("a delimiter or separator has at least one character");
        }
        let header = |text: &String| match text.split_once('=') {
            Some((name, value)) => (copied(name), Some(copied(value))),
            None => (copied(text), None),
        };
        let template = ProduceRecord {
            topic: Arc::from(topic),
            partition: args.partition,
            timestamp_ms: args.timestamp,
            key: args.key.as_deref().map(copied),
            value: None,
            headers: args.headers.iter().map(header).collect(),
        };
        Ok(Self { template, key_separator: args.key_separator.clone(), null: args.null, json: args.json })
    }

    /// The record that a line says.
    pub(super) fn record(&mut self, line: Bytes) -> Result<ProduceRecord, String> {
        if self.json {
            return json::record(&self.template, &line);
        }
        let mut record = self.template.clone();
        let value = match &self.key_separator {
            Some(separator) => match memmem::find(&line, separator) {
                Some(end) => {
                    record.key = Some(line.slice(..end));
                    line.slice(end + separator.len()..)
                }
                // As kcat has it: a line without a separator has no key.
                None => line,
            },
            None => line,
        };
        record.value = Some(value);
        if self.null {
            record.key = record.key.filter(|key| !key.is_empty());
            record.value = record.value.filter(|value| !value.is_empty());
        }
        Ok(record)
    }
}

fn copied(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A separator as it is typed.
pub(super) fn bytes(text: &str) -> Result<Bytes, String> {
    crate::cli::client::encoding::unescape(text).map(Bytes::from)
}
