//! How a record is printed: its value, a format string of kcat's and rpk's kind, or JSON.

use std::io::Write;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::cli::client::encoding::{to_base64, unescape};
use crate::client::{FetchedRecord, TopicPartition};

/// What a format string can say.
pub(super) const HELP: &str = "\
  %v, %s  value                  %V, %S  its length in bytes, -1 for null
  %k      key                    %K      its length in bytes, -1 for null
  %h      headers, as a=1,b=2    %H      how many
  %t      topic                  %p      partition
  %o      offset                 %e      leader epoch
  %T, %d  timestamp, ms          %R      length of the value, 4 bytes, big endian
  %%      a percent sign         \\n \\r \\t \\0 \\\\ \\xNN
  A number, followed by {big32}: in 4 bytes, big endian; so for 8, 16 and 64 bits, and little";

/// How records are printed.
#[derive(Clone, Debug)]
pub(super) enum Format {
    /// In pieces.
    Pieces(Vec<Piece>),
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Vec<u8>),
    Value,
    Key,
    Headers,
    Topic,
    /// In digits.
    Number(Number),
    /// In so many bytes.
    Packed {
        number: Number,
        bytes: usize,
        big: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    ValueLength,
    KeyLength,
    HeaderCount,
    Partition,
    Offset,
    LeaderEpoch,
    Timestamp,
}

impl Format {
    /// Reads a format string.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            push_text(&mut pieces, before)?;
            let mut letters = after.chars();
            let letter = letters.next().ok_or("a percent sign ends the format; %% prints one")?;
            rest = letters.as_str();
            let piece = match letter {
                'v' | 's' => Piece::Value,
                'V' | 'S' => Piece::Number(Number::ValueLength),
                'R' => Piece::Packed { number: Number::ValueLength, bytes: 4, big: true },
                'k' => Piece::Key,
                'K' => Piece::Number(Number::KeyLength),
                'h' => Piece::Headers,
                'H' => Piece::Number(Number::HeaderCount),
                't' => Piece::Topic,
                'p' => Piece::Number(Number::Partition),
                'o' => Piece::Number(Number::Offset),
                'e' => Piece::Number(Number::LeaderEpoch),
                'T' | 'd' => Piece::Number(Number::Timestamp),
                '%' => Piece::Text(b"%".to_vec()),
                other => return Err(format!("%{other} is not known; what is:\n{HELP}")),
            };
            pieces.push(match (piece, packing(rest)) {
                (Piece::Number(number), Some((big, bytes, after))) => {
                    rest = after;
                    Piece::Packed { number, bytes, big }
                }
                (piece, _) => piece,
            });
        }
        push_text(&mut pieces, rest)?;
        Ok(Self::Pieces(pieces))
    }

    /// The value, after the key and a separator if that is given, and a delimiter.
    pub(super) fn plain(key_separator: Option<&[u8]>, delimiter: &[u8]) -> Self {
        let key = key_separator.map(|separator| [Piece::Key, Piece::Text(separator.to_vec())]);
        let rest = [Piece::Value, Piece::Text(delimiter.to_vec())];
        Self::Pieces(key.into_iter().flatten().chain(rest).collect())
    }

    /// Appends a record.
    pub(super) fn write(&self, partition: &TopicPartition, record: &FetchedRecord, out: &mut Vec<u8>) {
        match self {
            Self::Pieces(pieces) => pieces.iter().for_each(|piece| piece.write(partition, record, out)),
            Self::Json => {
                // Writing to a Vec does not fail.
                let _ = serde_json::to_writer(&mut *out, &json_of(partition, record));
                out.push(b'\n');
            }
        }
    }
}

/// How a number is packed, if the text begins with that, and what follows: `{big32}` and its like, as rpk has them.
fn packing(text: &str) -> Option<(bool, usize, &str)> {
    let (word, after) = text.strip_prefix('{')?.split_once('}')?;
    let (big, bits) = match word.strip_prefix("big") {
        Some(bits) => (true, bits),
        None => (false, word.strip_prefix("little")?),
    };
    let bytes = ["8", "16", "32", "64"].iter().position(|known| *known == bits)?;
    Some((big, 1 << bytes, after))
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) -> Result<(), String> {
    if !text.is_empty() {
        pieces.push(Piece::Text(unescape(text)?));
    }
    Ok(())
}

impl Piece {
    fn write(&self, partition: &TopicPartition, record: &FetchedRecord, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
            Self::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
            Self::Headers => write_headers(record, out),
            Self::Topic => out.extend_from_slice(partition.topic.as_bytes()),
            Self::Packed { number, bytes, big } => {
                let all = number.of(partition, record).to_be_bytes();
                let low = &all[all.len() - bytes..];
                if *big { out.extend_from_slice(low) } else { out.extend(low.iter().rev()) }
            }
            Self::Number(number) => {
                // Writing to a Vec does not fail.
                let _ = write!(out, "{}", number.of(partition, record));
            }
        }
    }
}

impl Number {
    fn of(self, partition: &TopicPartition, record: &FetchedRecord) -> i64 {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(-1, |it| count(it.len()));
        match self {
            Self::ValueLength => length(&record.value),
            Self::KeyLength => length(&record.key),
            Self::HeaderCount => count(record.headers.len()),
            Self::Partition => partition.partition.into(),
            Self::Offset => record.offset.0,
            Self::LeaderEpoch => record.leader_epoch.0.into(),
            Self::Timestamp => record.timestamp_ms,
        }
    }
}

fn write_headers(record: &FetchedRecord, out: &mut Vec<u8>) {
    for (at, (name, value)) in record.headers.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value.as_deref().unwrap_or(b"NULL"));
    }
}

fn json_of(partition: &TopicPartition, record: &FetchedRecord) -> Value {
    let headers = record.headers.iter().map(|(name, value)| {
        let mut header = Map::new();
        header.insert("key".to_owned(), String::from_utf8_lossy(name).into());
        put(&mut header, "value", value.as_ref());
        Value::Object(header)
    });
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(&*partition.topic));
    object.insert("partition".to_owned(), json!(partition.partition));
    object.insert("offset".to_owned(), json!(record.offset.0));
    object.insert("timestamp".to_owned(), json!(record.timestamp_ms));
    put(&mut object, "key", record.key.as_ref());
    put(&mut object, "value", record.value.as_ref());
    object.insert("headers".to_owned(), headers.collect());
    Value::Object(object)
}

/// Text as text; what is none as base64, under a name that says so.
fn put(object: &mut Map<String, Value>, name: &str, bytes: Option<&Bytes>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => drop(object.insert(name.to_owned(), Value::Null)),
        Some(Ok(text)) => drop(object.insert(name.to_owned(), text.into())),
        Some(Err(bytes)) => drop(object.insert(format!("{name}_base64"), to_base64(bytes).into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{LeaderEpoch, Offset};

    fn record() -> FetchedRecord {
        FetchedRecord {
            offset: Offset(7),
            leader_epoch: LeaderEpoch(2),
            timestamp_ms: 1_000,
            key: Some("k".into()),
            value: Some("val".into()),
            headers: vec![("a".into(), Some("1".into())), ("b".into(), None)],
        }
    }

    fn written(format: &Format, record: &FetchedRecord) -> String {
        let mut out = Vec::new();
        format.write(&TopicPartition::new("t", 3), record, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn every_piece_is_written() {
        let format = Format::parse(r"%t/%p@%o e%e %T %d|%k:%K|%v %s:%V:%S|%h;%H%%\n").expect("a format");
        assert_eq!(written(&format, &record()), "t/3@7 e2 1000 1000|k:1|val val:3:3|a=1,b=NULL;2%\n");
        let null = FetchedRecord { key: None, value: None, headers: vec![], ..record() };
        assert_eq!(written(&format, &null), "t/3@7 e2 1000 1000|:-1| :-1:-1|;0%\n");
        assert_eq!(written(&Format::parse("%R").expect("a format"), &record()), "\0\0\0\u{3}");
        let packed = Format::parse("%p{big32}%o{little16}%K{big8}%p{x}%v{big8}").expect("a format");
        assert_eq!(written(&packed, &record()), "\0\0\0\u{3}\u{7}\0\u{1}3{x}val{big8}");
        assert_eq!(written(&Format::plain(Some(b"\t"), b"\n"), &record()), "k\tval\n");
        for wrong in ["%", "%q", "\\q"] {
            assert!(Format::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_is_one_line_and_keeps_what_is_no_text() {
        let text = written(&Format::Json, &FetchedRecord { value: Some(vec![255].into()), ..record() });
        let object: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(object["value_base64"], "/w==");
        assert_eq!((&object["key"], &object["offset"]), (&json!("k"), &json!(7)));
        assert_eq!(object["headers"], json!([{ "key": "a", "value": "1" }, { "key": "b", "value": null }]));
    }
}
