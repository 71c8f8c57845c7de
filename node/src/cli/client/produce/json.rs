//! From a JSON object, as `consume -o json` writes it, to a record.
//!
//! What is not understood is refused: it was meant to be written. What is no text is written as the JSON that it is, in
//! the very characters: no number is rounded and no order of fields is lost.

use std::collections::BTreeMap;
use std::str::FromStr;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::cli::client::encoding::from_base64;
use crate::client::ProduceRecord;

/// Where it was read says nothing of where it is to go: `topic` and `offset` are taken and not looked at.
const FIELDS: &[&str] =
    &["value", "value_base64", "key", "key_base64", "headers", "partition", "timestamp", "topic", "offset"];
const HEADER_FIELDS: &[&str] = &["key", "value", "value_base64"];

/// The fields of an object, each in its own characters.
struct Object<'a>(BTreeMap<String, &'a RawValue>);

/// The record that a line says, beside what is said of all.
pub(super) fn record(template: &ProduceRecord, line: &[u8]) -> Result<ProduceRecord, String> {
    read(template, line).map_err(|what| format!("{what} in {}", String::from_utf8_lossy(line)))
}

fn read(template: &ProduceRecord, line: &[u8]) -> Result<ProduceRecord, String> {
    let fields = serde_json::from_slice(line);
    let fields = fields.map_err(|error| if error.is_data() { "no object".to_owned() } else { error.to_string() })?;
    let object = Object::of(fields, FIELDS)?;
    let mut record = template.clone();
    record.value = object.bytes("value")?.ok_or("neither value nor value_base64 (null is a value too)")?;
    record.key = object.bytes("key")?.flatten().or(record.key);
    record.partition = record.partition.or(object.whole("partition")?);
    record.timestamp_ms = record.timestamp_ms.or(object.whole("timestamp")?);
    for fields in object.objects("headers")? {
        let header = Object::of(fields, HEADER_FIELDS)?;
        let name = header.said("key").and_then(text).ok_or("a header whose key is no text")?;
        record.headers.push((name.into(), header.bytes("value")?.flatten()));
    }
    Ok(record)
}

impl<'a> Object<'a> {
    fn of(fields: BTreeMap<String, &'a RawValue>, known: &[&str]) -> Result<Self, String> {
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(format!("the field {unknown:?}, which is none of {}", known.join(", "))),
            None => Ok(Self(fields)),
        }
    }

    /// A field that is there and not null.
    fn said(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|said| said.get() != "null")
    }

    /// Text, what base64 says, or JSON; the inner `None` is null.
    fn bytes(&self, name: &str) -> Result<Option<Option<Bytes>>, String> {
        let base64 = format!("{name}_base64");
        match (self.0.get(name), self.0.get(&base64)) {
            (Some(_), Some(_)) => Err(format!("both {name} and {base64}")),
            (None, None) => Ok(None),
            (None, Some(said)) => {
                let bytes =
                    text(said).and_then(|text| from_base64(&text)).ok_or_else(|| format!("no base64 in {base64}"));
                Ok(Some(Some(bytes?.into())))
            }
            (Some(said), None) => Ok(Some(match said.get() {
                "null" => None,
                json if json.starts_with('"') => Some(text(said).ok_or_else(|| format!("no text in {name}"))?.into()),
                json => Some(Bytes::copy_from_slice(json.as_bytes())),
            })),
        }
    }

    fn whole<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let parsed = self.said(name).map(|said| said.get().parse().map_err(|_| format!("no {name}: {}", said.get())));
        parsed.transpose()
    }

    fn objects(&self, name: &str) -> Result<Vec<BTreeMap<String, &'a RawValue>>, String> {
        let parsed = self.said(name).map(|said| serde_json::from_str(said.get()));
        parsed.unwrap_or(Ok(Vec::new())).map_err(|_| format!("{name} that are no list of objects"))
    }
}

fn text(said: &RawValue) -> Option<String> {
    serde_json::from_str(said.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Result<ProduceRecord, String> {
        record(&ProduceRecord::default(), line.as_bytes())
    }

    #[test]
    fn an_object_says_a_record() {
        let all = r#"{"topic":"t","partition":3,"offset":7,"timestamp":5,"key":"k","value":"v\n",
            "headers":[{"key":"a","value":"1"},{"key":"b","value":null},{"key":"c","value_base64":"/w=="}]}"#;
        let expected = ProduceRecord {
            topic: "".into(),
            partition: Some(3),
            timestamp_ms: Some(5),
            key: Some("k".into()),
            value: Some("v\n".into()),
            headers: vec![
                ("a".into(), Some("1".into())),
                ("b".into(), None),
                ("c".into(), Some(Bytes::from_static(&[255]))),
            ],
        };
        assert_eq!(said(all), Ok(expected));
        let null = ProduceRecord { value: None, ..ProduceRecord::default() };
        assert_eq!(said(r#"{"value":null,"key":null,"headers":null,"partition":null}"#), Ok(null));
        let template = ProduceRecord { partition: Some(1), key: Some("all".into()), ..ProduceRecord::default() };
        let record = record(&template, br#"{"value_base64":"AAE=","partition":3}"#).expect("a record");
        assert_eq!((record.partition, record.key), (Some(1), Some("all".into())));
        assert_eq!(record.value, Some(Bytes::from_static(&[0, 1])));
    }

    #[test]
    fn json_is_written_as_it_stands() {
        for json in [r#"{"z":1, "a":[1.10,12345678901234567890123]}"#, "1e2", "-0.0", "false", "[ ]"] {
            let record = said(&format!(r#"{{"key": {json} , "value":{json}}}"#)).expect("a record");
            assert_eq!(
                (record.key.as_deref(), record.value.as_deref()),
                (Some(json.as_bytes()), Some(json.as_bytes()))
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (line, why) in [
            ("{}", "neither value nor value_base64"),
            (r#"{"id":1,"name":"x"}"#, r#"the field "id", which is none of value, value_base64, key"#),
            (r#"{"key":"k"}"#, "neither value nor value_base64"),
            (r#"{"value":"","value_base64":""}"#, "both value and value_base64"),
            (r#"{"value_base64":null}"#, "no base64 in value_base64"),
            (r#"{"value":1,"key_base64":7}"#, "no base64 in key_base64"),
            (r#"{"value":"\ud800"}"#, "no text in value"),
            (r#"{"value":1,"partition":"3"}"#, r#"no partition: "3""#),
            (r#"{"value":1,"partition":3000000000}"#, "no partition: 3000000000"),
            (r#"{"value":1,"timestamp":1.5}"#, "no timestamp: 1.5"),
            (r#"{"value":1,"headers":{"a":"1"}}"#, "headers that are no list of objects"),
            (r#"{"value":1,"headers":["a"]}"#, "headers that are no list of objects"),
            (r#"{"value":1,"headers":[{"value":"1"}]}"#, "a header whose key is no text"),
            (r#"{"value":1,"headers":[{"key":"a","val":"1"}]}"#, r#"the field "val""#),
            ("[1]", "no object"),
            ("", "EOF"),
        ] {
            let error = said(line).expect_err(line);
            assert!(error.starts_with(why) && error.ends_with(&format!(" in {line}")), "{error}");
        }
    }
}
