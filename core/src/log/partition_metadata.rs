//! `partition.metadata`: the id of the topic whose log a directory holds.
//!
//! A directory is a partition's only if the id agrees with the metadata: a topic that was deleted and made again
//! has the name of the old one and none of its records (KIP-516, KAFKA-14616).

use super::Corrupt;
use ottla_wire::Uuid;

/// The file of a topic's id.
#[must_use]
pub fn encode(topic_id: Uuid) -> Vec<u8> {
    format!("version: 0\ntopic_id: {topic_id}").into_bytes()
}

/// Reads a file.
///
/// # Errors
/// If it is not of version 0, or the id is missing, unreadable or zero.
pub fn parse(bytes: &[u8]) -> Result<Uuid, Corrupt> {
    let text = std::str::from_utf8(bytes).map_err(|_| Corrupt::new("it is not text"))?;
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value.trim())
    };
    if value("version") != Some("0") {
        return Err(Corrupt::new("its version is not 0"));
    }
    match value("topic_id").map(str::parse) {
        Some(Ok(topic_id)) if topic_id != Uuid::ZERO => Ok(topic_id),
        _ => Err(Corrupt::new("it has no topic id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let id = Uuid(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210);
        assert_eq!(encode(id), b"version: 0\ntopic_id: ASNFZ4mrze_-3LqYdlQyEA");
        assert_eq!(parse(&encode(id)), Ok(id));
        assert_eq!(parse(b"version: 0\ntopic_id: ASNFZ4mrze_-3LqYdlQyEA\n"), Ok(id));
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = encode(Uuid(u128::MAX));
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
        assert!(parse(b"version: 1\ntopic_id: ASNFZ4mrze_-3LqYdlQyEA").is_err());
        assert!(parse(b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA").is_err());
    }
}
