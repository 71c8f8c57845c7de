//! S2: the offset index and the time index of a segment say nothing that its log does not.
//! Source: Kafka's `LogSegment.sanityCheck` and `DumpLogSegments`.

use super::{Fact, Verdict};
use crate::logs::SegmentImage;

pub(super) const CODE: &str = "S2";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::Indexed { log, segment } = fact else { return Ok(()) };
    offsets(segment).and_then(|()| times(segment)).map_err(|what| format!("{log}, segment {}: {what}", segment.base))
}

/// Entries of eight bytes: the last offset of a batch, relative to the segment, and where that batch lies.
fn offsets(segment: &SegmentImage) -> Verdict {
    let Some(index) = &segment.index else { return Ok(()) };
    let mut last = -1;
    for entry in index.chunks_exact(8) {
        let (relative, position) = entry.split_at(4);
        let offset = segment.base + i64::from(i32::from_be_bytes(relative.try_into().expect("four bytes")));
        let position = u64::from(u32::from_be_bytes(position.try_into().expect("four bytes")));
        // What is preallocated and not used yet reads as zeros.
        if entry == [0; 8] {
            continue;
        }
        let found = segment.batches.iter().find(|batch| batch.pos == position);
        let Some(batch) = found else {
            return Err(format!("the index says that {offset} lies at byte {position}, where no batch begins"));
        };
        if offset < batch.base || offset > batch.last {
            return Err(format!("the index says that {offset} lies at byte {position}, where {} begins", batch.base));
        }
        if offset <= last {
            return Err(format!("the index has {offset} after {last}"));
        }
        last = offset;
    }
    Ok(())
}

/// Entries of twelve bytes: a timestamp, and the relative offset up to which none is greater.
fn times(segment: &SegmentImage) -> Verdict {
    let Some(index) = &segment.time_index else { return Ok(()) };
    let mut last = i64::MIN;
    for entry in index.chunks_exact(12) {
        if entry == [0; 12] {
            continue;
        }
        let (timestamp, relative) = entry.split_at(8);
        let timestamp = i64::from_be_bytes(timestamp.try_into().expect("eight bytes"));
        let offset = segment.base + i64::from(i32::from_be_bytes(relative.try_into().expect("four bytes")));
        if timestamp < last {
            return Err(format!("the time index has {timestamp} after {last}"));
        }
        let before = segment.batches.iter().take_while(|batch| batch.base <= offset);
        if let Some(batch) = before.clone().find(|batch| batch.last <= offset && batch.max_timestamp > timestamp) {
            return Err(format!(
                "the time index says that nothing up to {offset} is later than {timestamp}, and {} is",
                batch.base
            ));
        }
        if before.last().is_none() {
            return Err(format!("the time index has an entry for {offset}, which is not there"));
        }
        last = timestamp;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::test_ref;
    use super::super::tests::log;
    use super::*;
    use bytes::Bytes;

    fn segment(index: &[(i32, u32)], times: &[(i64, i32)]) -> SegmentImage {
        let entry = |(offset, position): &(i32, u32)| [offset.to_be_bytes(), position.to_be_bytes()].concat();
        let time = |(time, offset): &(i64, i32)| [&time.to_be_bytes()[..], &offset.to_be_bytes()].concat();
        SegmentImage {
            base: 0,
            batches: (0..4).map(|n| test_ref(n, n, 0)).collect(),
            sound: 400,
            whole: true,
            len: 400,
            index: Some(index.iter().flat_map(entry).collect::<Bytes>()),
            time_index: Some(times.iter().flat_map(time).collect::<Bytes>()),
        }
    }

    fn verdict(index: &[(i32, u32)], times: &[(i64, i32)]) -> Verdict {
        check(&Fact::Indexed { log: &log(), segment: &segment(index, times) })
    }

    #[test]
    fn what_agrees_passes() {
        assert_eq!(verdict(&[(1, 100), (3, 300)], &[(1, 1), (3, 3)]), Ok(()));
        assert_eq!(verdict(&[], &[]), Ok(()));
    }

    #[test]
    fn an_index_ahead_of_its_log_is_seen() {
        assert!(verdict(&[(4, 400)], &[]).is_err());
        assert!(verdict(&[(1, 200)], &[]).is_err());
        assert!(verdict(&[(3, 300), (1, 100)], &[]).is_err());
    }

    #[test]
    fn a_time_index_that_hides_a_record_is_seen() {
        assert!(verdict(&[], &[(1, 2)]).is_err());
        assert!(verdict(&[], &[(3, 3), (1, 1)]).is_err());
    }
}
