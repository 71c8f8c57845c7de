//! Messages as Apache Kafka 4.3.1's own classes write them: `golden/GoldenBytes.java` says how they are made.
//!
//! Each is read, written again to the same bytes, and its values are looked at: they follow from the names of
//! their fields, so that two fields of one type cannot change places unseen.

use ottla_wire::api::{Request, Response};
use ottla_wire::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::control::{
    EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
};
use ottla_wire::group::GroupRecord;
use ottla_wire::metadata::MetadataRecord;
use ottla_wire::{ApiKey, Message, Reader, Writer};
use std::collections::BTreeSet;
use std::fmt::Debug;

const APIS: &str = include_str!("golden/apis.txt");
const CONSUMER_PROTOCOL: &str = include_str!("golden/consumer_protocol.txt");
const CONTROL: &str = include_str!("golden/control.txt");
const GROUP: &str = include_str!("golden/group.txt");
const METADATA: &str = include_str!("golden/metadata.txt");

/// Name, version and bytes of each line.
fn lines(text: &str) -> impl Iterator<Item = (&str, i16, Vec<u8>)> {
    text.lines().map(|line| {
        let [name, version, hex] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap());
        (name, version.parse().unwrap(), bytes.collect())
    })
}

#[test]
fn requests_and_responses() {
    let mut seen = BTreeSet::new();
    for (name, version, bytes) in lines(APIS) {
        let mut r = Reader::new(&bytes);
        let mut w = Writer::new();
        if let Some(api) = name.strip_suffix("Request") {
            let request = Request::decode(&mut r, key(api), version).unwrap();
            request.encode(&mut w, version);
            check_names(name, &request);
        } else {
            let api = name.strip_suffix("Response").unwrap();
            let response = Response::decode(&mut r, key(api), version).unwrap();
            response.encode(&mut w, version);
            check_names(name, &response);
        }
        assert_eq!(r.remaining(), 0, "{name} {version}");
        assert_eq!(w.as_bytes(), bytes, "{name} {version}");
        seen.insert((name.to_owned(), version));
    }
    for key in ApiKey::ALL {
        for version in key.implemented_versions().into_iter().flatten() {
            assert!(seen.contains(&(format!("{key}Request"), version)), "no line for {key} {version}");
            assert!(seen.contains(&(format!("{key}Response"), version)), "no line for {key} {version}");
        }
    }
}

fn key(name: &str) -> ApiKey {
    *ApiKey::ALL.iter().find(|key| key.name() == name).unwrap()
}

#[test]
fn metadata_records() {
    let mut seen = BTreeSet::new();
    for (name, version, bytes) in lines(METADATA) {
        let record = MetadataRecord::decode(&bytes).unwrap();
        assert_eq!(record.name(), name);
        check_names(name, &record);
        let mut w = Writer::new();
        record.encode(&mut w, version);
        assert_eq!(w.as_bytes(), bytes, "{name} {version}");
        seen.insert((record.kind(), version));
    }
    for (kind, versions) in MetadataRecord::TYPES {
        for version in versions.clone() {
            assert!(seen.contains(&(*kind, version)), "no line for record type {kind} {version}");
        }
    }
}

#[test]
fn group_records() {
    let mut seen = BTreeSet::new();
    let mut key = Vec::new();
    for (name, version, bytes) in lines(GROUP) {
        if let Some(name) = name.strip_suffix("Key") {
            let record = GroupRecord::decode(&bytes, None).unwrap();
            assert_eq!(record.name(), name);
            check_names(name, &record);
            let mut w = Writer::new();
            record.encode_key(&mut w);
            assert_eq!(w.as_bytes(), bytes, "{name}");
            assert!(!record.encode_value(&mut w, version), "{name}");
            key = bytes;
            continue;
        }
        let record = GroupRecord::decode(&key, Some(&bytes)).unwrap();
        assert_eq!(format!("{}Value", record.name()), name);
        check_names(name, &record);
        let mut w = Writer::new();
        assert!(record.encode_value(&mut w, version), "{name} {version}");
        assert_eq!(w.as_bytes(), bytes, "{name} {version}");
        seen.insert((record.kind(), version));
    }
    for (kind, versions) in GroupRecord::TYPES {
        for version in versions.clone() {
            assert!(seen.contains(&(*kind, version)), "no line for record type {kind} {version}");
        }
    }
}

#[test]
fn consumer_protocol() {
    let mut seen = BTreeSet::new();
    for (name, version, bytes) in lines(CONSUMER_PROTOCOL) {
        let written = match name {
            "ConsumerProtocolSubscription" => again::<ConsumerProtocolSubscription<'_>>(name, version, &bytes),
            "ConsumerProtocolAssignment" => again::<ConsumerProtocolAssignment<'_>>(name, version, &bytes),
            other => panic!("{other} is missing here"),
        };
        assert_eq!(written, bytes, "{name} {version}");
        seen.insert((name, version));
    }
    assert_eq!(seen.len(), 8, "four versions of each");
}

#[test]
fn control_records() {
    for (name, version, bytes) in lines(CONTROL) {
        let written = match name {
            "LeaderChangeMessage" => again::<LeaderChangeMessage>(name, version, &bytes),
            "SnapshotHeaderRecord" => again::<SnapshotHeaderRecord>(name, version, &bytes),
            "SnapshotFooterRecord" => again::<SnapshotFooterRecord>(name, version, &bytes),
            "KRaftVersionRecord" => again::<KRaftVersionRecord>(name, version, &bytes),
            "VotersRecord" => again::<VotersRecord<'_>>(name, version, &bytes),
            "EndTxnMarker" => again::<EndTxnMarker>(name, version, &bytes),
            other => panic!("{other} is missing here"),
        };
        assert_eq!(written, bytes, "{name} {version}");
    }
}

fn again<'a, M: Message<'a> + Debug>(name: &str, version: i16, bytes: &'a [u8]) -> Vec<u8> {
    let message = M::decode(&mut Reader::new(bytes), version).unwrap();
    check_names(name, &message);
    let mut w = Writer::new();
    message.encode(&mut w, version);
    w.into_bytes()
}

/// Walks the pretty form, a line a value: each is what its field's name gives, or a default.
fn check_names(message: &str, value: &impl Debug) {
    let mut fields: Vec<String> = Vec::new();
    for line in format!("{value:#?}").lines() {
        let line = line.trim().trim_end_matches(',');
        if line.starts_with([')', ']', '}']) {
            fields.pop();
            continue;
        }
        let (field, leaf) = match line.split_once(": ") {
            Some((field, leaf)) => (field.to_owned(), leaf),
            None => (fields.last().cloned().unwrap_or_default(), line),
        };
        if leaf.ends_with(['(', '[', '{']) {
            fields.push(field);
        } else if field != "records" {
            assert!(is_default(leaf) || spells(&field, leaf) || follows(&field, leaf), "{message}: {field} is {leaf}");
        }
    }
}

fn is_default(leaf: &str) -> bool {
    let extremes = ["-2147483648", "2147483647", "9223372036854775807"];
    ["0", "-1", "-2", "\"\"", "None", "[]", "false", "true", "0.0"].contains(&leaf) || extremes.contains(&leaf)
        // A struct without fields, or a default of ours in a version that lacks the field.
        || leaf.chars().all(char::is_alphanumeric) && leaf.starts_with(char::is_uppercase)
        || ["1", "16", "2000"].contains(&leaf)
}

/// Whether it is one of the bytes of the field's name, which bytes are given.
fn spells(field: &str, leaf: &str) -> bool {
    leaf.parse().is_ok_and(|byte| field.bytes().any(|of_name| of_name == byte))
}

/// Whether the Java program gives a field of this name this value, at some width.
fn follows(field: &str, leaf: &str) -> bool {
    let hash = field.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let hash = u128::from(hash);
    let integers = [
        10 + hash % 100,
        200 + hash % 30_000,
        40_000 + hash % 20_000,
        1_000_000 + hash % 1_000_000_000,
        10_000_000_000 + hash,
        hash << 64 | hash,
    ];
    integers.iter().any(|integer| integer.to_string() == leaf)
        || format!("{field:?}") == leaf
        || format!("{hash}.25") == leaf
}
