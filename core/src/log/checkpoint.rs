//! Kafka's text checkpoint files: a version, a count, and so many lines.
//!
//! Three of them name an offset a partition, each in a log directory: [`super::names`] has which. The leader
//! epoch checkpoint has the same frame. They are replaced as a whole, never appended to.
//!
//! Invariant S4: a checkpoint claims only what is durable; the parent saves it after that, not before. The count
//! is what tells a torn file: one with fewer lines, or more, is [`Corrupt`].

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Corrupt;
use crate::types::{Offset, TopicPartition};

const VERSION: u32 = 0;

/// An offset a partition: recovery points, log start offsets, or high watermarks.
pub type OffsetCheckpoint = BTreeMap<TopicPartition, Offset>;

/// The file that holds `offsets`.
#[must_use]
pub fn encode(offsets: &OffsetCheckpoint) -> Vec<u8> {
    encode_lines(
        offsets.iter().map(|(partition, offset)| format!("{} {} {offset}", partition.topic, partition.partition)),
    )
}

/// Reads a file.
///
/// # Errors
/// If it is torn, of another version, or a line cannot be read. It is then as if it were not there.
pub fn parse(bytes: &[u8]) -> Result<OffsetCheckpoint, Corrupt> {
    let mut offsets = OffsetCheckpoint::new();
    for line in parse_lines(bytes)? {
        let (partition, offset) = parse_line(line).ok_or_else(|| bad_line(line))?;
        offsets.insert(partition, offset);
    }
    Ok(offsets)
}

/// The frame of a checkpoint around lines.
pub(super) fn encode_lines(lines: impl ExactSizeIterator<Item = String>) -> Vec<u8> {
    let mut text = format!("{VERSION}\n{}\n", lines.len());
    for line in lines {
        writeln!(text, "{line}").expect("a String takes everything");
    }
    text.into_bytes()
}

/// The lines of a checkpoint.
pub(super) fn parse_lines(bytes: &[u8]) -> Result<Vec<&str>, Corrupt> {
    let text = std::str::from_utf8(bytes).map_err(|_| Corrupt::new("it is not text"))?;
    // The last line's end is there, or the last line may be torn.
    let text = text.strip_suffix('\n').ok_or_else(|| Corrupt::new("it has no end"))?;
    let mut lines = text.split('\n').map(str::trim_end);
    let version = lines.next().and_then(|line| line.parse::<u32>().ok());
    if version != Some(VERSION) {
        return Err(Corrupt::new("its version is not 0"));
    }
    let count = lines.next().and_then(|line| line.parse::<usize>().ok());
    let lines: Vec<&str> = lines.collect();
    if count != Some(lines.len()) {
        return Err(Corrupt::new(format!("it has {} lines, not as many as it says", lines.len())));
    }
    Ok(lines)
}

pub(super) fn bad_line(line: &str) -> Corrupt {
    Corrupt::new(format!("a line cannot be read: {line:?}"))
}

fn parse_line(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut words = line.split_ascii_whitespace();
    let topic = words.next()?;
    let partition: i32 = words.next()?.parse().ok()?;
    let offset: i64 = words.next()?.parse().ok()?;
    let valid = words.next().is_none() && partition >= 0 && offset >= 0;
    valid.then(|| (TopicPartition::new(topic, partition), Offset(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_format_is_kafkas() {
        let offsets = OffsetCheckpoint::from([
            (TopicPartition::new("t", 0), Offset(12)),
            (TopicPartition::new("a-b", 3), Offset(0)),
        ]);
        assert_eq!(encode(&offsets), b"0\n2\na-b 3 0\nt 0 12\n");
        assert_eq!(encode(&OffsetCheckpoint::new()), b"0\n0\n");
        assert_eq!(parse(b"0\n0\n"), Ok(OffsetCheckpoint::new()));
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = b"0\n2\na-b 3 0\nt 0 12\n";
        assert!(parse(whole).is_ok());
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
        for bad in ["1\n0\n", "0\n-1\n", "0\n1\nt 0\n", "0\n1\nt 0 1 2\n", "0\n1\nt x 1\n", "0\n1\nt 0 -1\n"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(offsets in prop::collection::btree_map(("[a-z._-]{1,9}", 0i32..9), 0i64..=i64::MAX, 0..9)) {
            let offsets: OffsetCheckpoint = offsets
                .into_iter()
                .map(|((topic, partition), offset)| (TopicPartition::new(topic, partition), Offset(offset)))
                .collect();
            prop_assert_eq!(parse(&encode(&offsets)), Ok(offsets));
        }

        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&bytes);
        }
    }
}
