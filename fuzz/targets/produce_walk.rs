//! A Produce request: the walk and the decoder accept the same and see the same batches.
//!
//! The first byte chooses the version.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_wire::api::produce::ProduceRequest;
use ottla_wire::{Limits, Message, Reader};

fuzz_target!(|input: &[u8]| {
    let [version, body @ ..] = input else { return };
    let version = i16::from(*version);
    // A walk takes no memory: only without limits of memory do the two refuse alike.
    let limits = Limits { memory: usize::MAX, ..Limits::request(body.len()) };
    let (mut decoding, mut walking) = (Reader::with_limits(body, limits), Reader::with_limits(body, limits));
    let decoded = ProduceRequest::decode(&mut decoding, version);
    let mut seen = Vec::new();
    let walked = ProduceRequest::walk(&mut walking, version, |_, batch| seen.push(batch));
    assert_eq!(decoded.as_ref().err(), walked.as_ref().err());
    let Ok(decoded) = decoded else { return };
    let batches = decoded.topic_data.iter().flat_map(|topic| &topic.partition_data);
    assert!(batches.eq(&seen));
    assert_eq!(decoding.remaining(), walking.remaining());
});
