//! A record batch: scanned, read and rewritten. What a scan takes, the reader reads alike, and every codec keeps.
//!
//! Length, magic and CRC are made right, or the fuzzer would never pass them. Run it with
//! `-malloc_limit_mb=256 -rss_limit_mb=1024` and the golden batches of `core/tests` as a corpus: zstd's window of
//! 128 MiB is the most that one batch may ask for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_core::record::{
    BatchFacts, Codec, RecordBatch, RecordProblem, Rewrite, ScanError, Stamp, batches, rewrite, scan,
};

const LIMIT: u64 = 1 << 22;

fuzz_target!(|input: &[u8]| {
    for batch in batches(input) {
        let _ = batch.map(|batch| batch.check_crc());
    }
    let _ = scan(input, LIMIT);
    let mut bytes = input.to_vec();
    if seal(&mut bytes).is_none() {
        return;
    }
    let batch = RecordBatch::first_of(&bytes).expect("the header is right");
    let mut scratch = Vec::new();
    let read: Result<Vec<_>, _> = batch.records(&mut scratch, LIMIT).and_then(Iterator::collect);
    let facts = match scan(&bytes, LIMIT) {
        Ok(facts) => facts,
        // Only the scan asks for rising offsets.
        Err(ScanError::Record { problem: RecordProblem::OffsetDelta(_), .. }) => return,
        Err(_) => return assert!(read.is_err()),
    };
    let read = read.expect("the scan read the records");
    assert_eq!(read.len(), facts.record_count as usize);
    let headers = read.iter().flat_map(|record| record.headers.iter()).count();
    assert_eq!(headers, read.iter().map(|record| record.headers.len()).sum::<usize>());
    rewritten(&batch, &facts);
});

fn rewritten(batch: &RecordBatch<'_>, facts: &BatchFacts) {
    let stamp = Stamp { timestamp_type: facts.timestamp_type(), max_timestamp: facts.timestamps.max };
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let all = codecs.map(|codec| Rewrite::Recompress { compression: codec.at_default_level(), stamp });
    for how in all.into_iter().chain([Rewrite::Restamp(stamp)]) {
        let out = rewrite(batch, &how, u32::MAX, LIMIT).expect("the batch is good");
        let again = scan(&out, LIMIT).expect("and so is what comes of it");
        let same = BatchFacts { size: facts.size, attributes: facts.attributes, ..again };
        let mut was = *facts;
        was.timestamps.header_max = facts.timestamps.max;
        assert_eq!(same, was);
    }
}

/// Makes the header such that only the records can be wrong.
fn seal(bytes: &mut [u8]) -> Option<()> {
    let length = i32::try_from(bytes.len().checked_sub(12)?).ok()?;
    *bytes.get_mut(8..12)?.first_chunk_mut()? = length.to_be_bytes();
    *bytes.get_mut(16)? = 2;
    let crc = crc32c::crc32c(bytes.get(21..)?);
    *bytes.get_mut(17..21)?.first_chunk_mut()? = crc.to_be_bytes();
    (bytes.len() >= 61).then_some(())
}
