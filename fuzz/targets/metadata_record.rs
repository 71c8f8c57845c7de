//! A record of `__cluster_metadata`: what is read can be written, and is then read alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_wire::Writer;
use ottla_wire::metadata::MetadataRecord;

fuzz_target!(|input: &[u8]| {
    let Ok(read) = MetadataRecord::decode(input) else { return };
    let version = *read.versions().end();
    let mut first = Writer::new();
    read.encode(&mut first, version);
    let again = MetadataRecord::decode(first.as_bytes()).expect("what was written is a record");
    // Bytes, not values: a quota may be NaN.
    let mut second = Writer::new();
    again.encode(&mut second, version);
    assert_eq!(first.as_bytes(), second.as_bytes());
});
