//! The walk over the batches of a log's bytes: which one holds an offset or a time, and where a run of whole
//! batches ends.
//!
//! A look-up goes by an index to a place where a batch starts, reads some bytes from there, and comes here. The
//! bytes may end inside a batch; then more are needed, and [`Located::More`] says from where. Only the first 61
//! bytes of each batch are looked at. Nothing is checked but that the walk can go on: CRCs are checked before
//! bytes are sent, not here.

use super::Corrupt;
use crate::record::{BatchHeader, HEADER_LEN};
use crate::types::Offset;

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located {
    /// The batch, in whose header the answer lies. Its bytes may reach beyond those that were walked.
    Found {
        /// Where it starts, counted from the first byte walked.
        position: usize,
        /// Its whole length, in bytes.
        len: usize,
        /// The batch's header.
        header: BatchHeader,
    },
    /// It lies further on: the batch after the last one looked at starts here (perhaps at the log's very end).
    More {
        /// Counted from the first byte walked; it may be beyond the last.
        position: usize,
    },
}

/// The first batch that ends at `target` or above: the one that holds it, or, in a compacted log, the next.
///
/// # Errors
/// If what should be a batch's header is none: the log is damaged there, or `bytes` do not start at a batch.
pub fn by_offset(bytes: &[u8], target: Offset) -> Result<Located, Corrupt> {
    first_where(bytes, |header| header.last_offset() >= target)
}

/// The first batch whose greatest timestamp is `target` or more.
///
/// # Errors
/// As [`by_offset`].
pub fn by_timestamp(bytes: &[u8], target: i64) -> Result<Located, Corrupt> {
    first_where(bytes, |header| header.max_timestamp >= target)
}

/// How long the longest run of whole batches is that starts at the first byte, takes at most `max_bytes`, and
/// holds only offsets below `end_offset`. If the first batch is larger than `max_bytes`, it is the run alone,
/// so that a reader with a small buffer still goes on (KIP-74). 0 if no whole batch is there.
///
/// # Errors
/// As [`by_offset`].
pub fn run_len(bytes: &[u8], max_bytes: usize, end_offset: Offset) -> Result<usize, Corrupt> {
    let mut end = 0;
    while let Some(header) = header_at(bytes, end)? {
        let next = end + header.size();
        let fits = end == 0 || next <= max_bytes;
        if !fits || next > bytes.len() || header.last_offset() >= end_offset {
            break;
        }
        end = next;
    }
    Ok(end)
}

fn first_where(bytes: &[u8], wanted: impl Fn(&BatchHeader) -> bool) -> Result<Located, Corrupt> {
    let mut position = 0;
    while let Some(header) = header_at(bytes, position)? {
        let len = header.size();
        if wanted(&header) {
            return Ok(Located::Found { position, len, header });
        }
        position += len;
    }
    Ok(Located::More { position })
}

/// The header at `position`; `None` if the bytes end before it does.
fn header_at(bytes: &[u8], position: usize) -> Result<Option<BatchHeader>, Corrupt> {
    let rest = bytes.get(position..).unwrap_or_default();
    if rest.len() < HEADER_LEN {
        return Ok(None);
    }
    let header = BatchHeader::parse(rest);
    header.map(Some).map_err(|error| Corrupt::new(format!("no batch at {position}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Attributes, Producer};
    use crate::types::LeaderEpoch;
    use proptest::prelude::*;

    /// Batches by their last offset delta, greatest timestamp and extra bytes, one after the other.
    fn run(batches: &[(i32, i64, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut offset = Offset(10);
        for &(last_offset_delta, max_timestamp, extra) in batches {
            let header = BatchHeader {
                base_offset: offset,
                batch_length: i32::try_from(HEADER_LEN - 12 + extra).unwrap(),
                leader_epoch: LeaderEpoch(0),
                crc: 0,
                attributes: Attributes::default(),
                last_offset_delta,
                base_timestamp: max_timestamp,
                max_timestamp,
                producer: Producer::NONE,
                record_count: 1,
            };
            bytes.extend(header.to_bytes());
            bytes.resize(bytes.len() + extra, 0);
            offset = header.next_offset();
        }
        bytes
    }

    #[test]
    fn finds_the_batch_that_holds_an_offset() {
        let bytes = run(&[(4, 7, 10), (0, 9, 20), (9, 8, 30)]);
        let position = |target| match by_offset(&bytes, Offset(target)).unwrap() {
            Located::Found { position, .. } => position,
            Located::More { position } => position + 1000,
        };
        for (target, expected) in [(0, 0), (14, 0), (15, 71), (16, 152), (25, 152), (26, 1243)] {
            assert_eq!(position(target), expected, "{target}");
        }
    }

    #[test]
    fn a_walk_that_is_cut_says_where_to_go_on() {
        let bytes = run(&[(4, 7, 10), (0, 9, 20)]);
        assert_eq!(by_offset(&bytes[..100], Offset(15)).unwrap(), Located::More { position: 71 });
        // The header is there, the rest is not.
        let found = by_offset(&bytes[..140], Offset(15)).unwrap();
        assert!(matches!(found, Located::Found { position: 71, len: 81, .. }));
        // The bytes end before the batch does that is passed over.
        assert_eq!(by_offset(&bytes[..65], Offset(15)).unwrap(), Located::More { position: 71 });
    }

    #[test]
    fn damage_is_an_error() {
        let mut bytes = run(&[(4, 7, 10), (0, 9, 20)]);
        bytes[71 + 16] = 9;
        assert!(by_offset(&bytes, Offset(15)).is_err());
        assert!(by_offset(&bytes, Offset(14)).is_ok());
        assert!(run_len(&bytes, 1000, Offset(100)).is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(
            batches in prop::collection::vec((0i32..5, 0i64..50, 0usize..40), 0..20),
            target in 0i64..80,
            time in 0i64..50,
            max_bytes in 0usize..1500,
            cut in 0usize..1500,
        ) {
            let bytes = run(&batches);
            let mut starts = Vec::new();
            let mut at = (0, 10);
            for &(delta, timestamp, extra) in &batches {
                let last = at.1 + i64::from(delta);
                starts.push((at.0, last, timestamp, at.0 + HEADER_LEN + extra));
                at = (at.0 + HEADER_LEN + extra, last + 1);
            }
            let position = |located| match located {
                Located::Found { position, .. } | Located::More { position } => position,
            };
            let expected = starts.iter().find(|batch| batch.1 >= target).map_or(bytes.len(), |batch| batch.0);
            prop_assert_eq!(position(by_offset(&bytes, Offset(target)).unwrap()), expected);
            let expected = starts.iter().find(|batch| batch.2 >= time).map_or(bytes.len(), |batch| batch.0);
            prop_assert_eq!(position(by_timestamp(&bytes, time).unwrap()), expected);

            let bytes = &bytes[..cut.min(bytes.len())];
            let whole = starts.iter().filter(|batch| batch.3 <= bytes.len() && batch.1 < target);
            let ends: Vec<usize> = whole.map(|batch| batch.3).collect();
            let fitting = ends.iter().copied().filter(|&end| end <= max_bytes).max();
            let expected = fitting.or(ends.first().copied()).unwrap_or(0);
            prop_assert_eq!(run_len(bytes, max_bytes, Offset(target)).unwrap(), expected);
        }

        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..300), target in any::<i64>()) {
            let _ = (by_offset(&bytes, Offset(target)), run_len(&bytes, 100, Offset(target)));
        }
    }
}
