//! `meta.properties`: to which cluster and node a log directory belongs, and its own id (KIP-858).
//!
//! Version 1, in the format of Java's properties files. A node refuses a directory of another node or cluster by
//! name; one without this file is empty or was wiped, and is not taken for the old one (KIP-853).

use std::collections::BTreeMap;

use super::Corrupt;
use crate::types::BrokerId;
use ottla_wire::Uuid;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster's id, as a text: Kafka takes any.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: BrokerId,
    /// The directory's id.
    pub directory_id: Uuid,
    /// A process with `flush=async` wrote here, and none has ended in good order since: what was acknowledged may be
    /// gone. A key of ours, which Kafka does not read.
    pub async_flush: bool,
}

impl MetaProperties {
    /// The file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { cluster_id, node_id, directory_id, async_flush } = self;
        let (cluster_id, flush) = (escape(cluster_id), if *async_flush { ASYNC_FLUSH } else { "" });
        let ids = format!("cluster.id={cluster_id}\ndirectory.id={directory_id}\nnode.id={}\n", node_id.0);
        format!("{ids}{flush}version=1\n").into_bytes()
    }

    /// Reads a file, ours or Kafka's.
    ///
    /// # Errors
    /// If it is not of version 1, or a key is missing or unreadable.
    pub fn parse(bytes: &[u8]) -> Result<Self, Corrupt> {
        let text = std::str::from_utf8(bytes).map_err(|_| Corrupt::new("it is not text"))?;
        let properties: BTreeMap<String, String> = text.lines().filter_map(property).collect();
        let get = |key: &str| {
            let value = properties.get(key);
            value.ok_or_else(|| Corrupt::new(format!("it has no {key}")))
        };
        let unreadable = |key: &str| Corrupt::new(format!("its {key} cannot be read"));
        if get("version")? != "1" {
            return Err(Corrupt::new("its version is not 1"));
        }
        Ok(Self {
            cluster_id: get("cluster.id")?.clone(),
            node_id: BrokerId(get("node.id")?.parse().map_err(|_| unreadable("node.id"))?),
            directory_id: get("directory.id")?.parse().map_err(|_| unreadable("directory.id"))?,
            async_flush: properties.get("ottla.flush").is_some_and(|mode| mode == "async"),
        })
    }
}

/// The line that says so.
const ASYNC_FLUSH: &str = "ottla.flush=async\n";

/// One line: a key and a value between which is `=` or `:`. Continued lines are not written by anyone here.
fn property(line: &str) -> Option<(String, String)> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return None;
    }
    let mut escaped = false;
    let separator = line.char_indices().find(|&(_, character)| {
        let here = !escaped && matches!(character, '=' | ':');
        escaped = !escaped && character == '\\';
        here
    });
    let (at, _) = separator?;
    Some((unescape(line[..at].trim_end()), unescape(line[at + 1..].trim_start())))
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '=' | ':' | '#' | '!' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

fn unescape(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let escaped = character == '\\';
        value.extend(if escaped { characters.next() } else { Some(character) });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kafka_writes() {
        let file = b"#\n#Thu Nov 20 18:53:00 UTC 2025\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\n\
            directory.id=ASNFZ4mrze_-3LqYdlQyEA\nnode.id=7\nversion=1\n";
        let parsed = MetaProperties::parse(file).unwrap();
        assert_eq!(parsed.cluster_id, "MkU3OEVBNTcwNTJENDM2Qg");
        assert_eq!(parsed.node_id, BrokerId(7));
        assert_eq!(parsed.directory_id, Uuid(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210));
        assert_eq!(MetaProperties::parse(&parsed.encode()), Ok(parsed));
    }

    #[test]
    fn odd_cluster_ids_survive() {
        for async_flush in [false, true] {
            let (node_id, directory_id) = (BrokerId(0), Uuid(5));
            let odd = MetaProperties { cluster_id: r"a=b:c\d#e!f".to_owned(), node_id, directory_id, async_flush };
            assert_eq!(MetaProperties::parse(&odd.encode()), Ok(odd));
        }
    }

    #[test]
    fn a_cut_file_is_refused() {
        let (node_id, directory_id) = (BrokerId(12), Uuid(5));
        let whole = MetaProperties { cluster_id: "c".to_owned(), node_id, directory_id, async_flush: true }.encode();
        // The version comes last, so every cut before it shows.
        for end in 0..whole.len() - 1 {
            assert!(MetaProperties::parse(&whole[..end]).is_err(), "{end}");
        }
    }
}
