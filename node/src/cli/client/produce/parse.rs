//! From a line to a record.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;
use serde_json::Value;

use super::ShapeArgs;
use crate::cli::client::encoding::from_base64;
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
            return self.json_record(&line);
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

    fn json_record(&self, line: &[u8]) -> Result<ProduceRecord, String> {
        let explain = |what: &str| format!("{what} in {}", String::from_utf8_lossy(line));
        let object: Value = serde_json::from_slice(line).map_err(|error| explain(&error.to_string()))?;
        let object = object.as_object().ok_or_else(|| explain("no object"))?;
        let field = |name: &str| -> Result<Option<Bytes>, String> {
            match (object.get(name), object.get(&format!("{name}_base64"))) {
                (_, Some(Value::String(text))) => {
                    from_base64(text).map(|bytes| Some(bytes.into())).ok_or_else(|| explain("no base64"))
                }
                (None | Some(Value::Null), _) => Ok(None),
                (Some(Value::String(text)), _) => Ok(Some(copied(text))),
                // What is no text is written as what it is: JSON.
                (Some(other), _) => Ok(Some(other.to_string().into())),
            }
        };
        let mut record = self.template.clone();
        record.key = field("key")?.or(record.key);
        record.value = field("value")?;
        if let Some(partition) = object.get("partition").and_then(Value::as_i64).filter(|_| record.partition.is_none())
        {
            record.partition = Some(i32::try_from(partition).map_err(|_| explain("no partition"))?);
        }
        record.timestamp_ms = record.timestamp_ms.or_else(|| object.get("timestamp").and_then(Value::as_i64));
        for header in object.get("headers").and_then(Value::as_array).into_iter().flatten() {
            let name = header.get("key").and_then(Value::as_str).ok_or_else(|| explain("a header without a key"))?;
            let value = match (header.get("value"), header.get("value_base64").and_then(Value::as_str)) {
                (_, Some(text)) => Some(from_base64(text).ok_or_else(|| explain("no base64"))?.into()),
                (Some(Value::String(text)), None) => Some(copied(text)),
                (Some(Value::Null) | None, None) => None,
                (Some(other), None) => Some(other.to_string().into()),
            };
            record.headers.push((copied(name), value));
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
