//! What decoding allocates, measured: one test in a process of its own, since the allocator counts for all threads.

use ottla_wire::api::{Request, Response};
use ottla_wire::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::group::GroupRecord;
use ottla_wire::metadata::MetadataRecord;
use ottla_wire::{ApiKey, Limits, Reader};
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The most that `work` had allocated at once, in bytes.
fn peak<T>(work: impl FnOnce() -> T) -> usize {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    drop(work());
    ALLOCATOR.peak_usage().saturating_sub(before)
}

/// Returns the most that a request took.
fn check(frame: &[u8]) -> usize {
    let mut most = 0;
    let (request, response) = (Limits::request(frame.len()), Limits::response(frame.len()));
    for key in ApiKey::ALL {
        for version in key.implemented_versions().into_iter().flatten() {
            let took = peak(|| Request::decode(&mut Reader::new(frame), *key, version));
            most = most.max(took);
            assert!(took <= request.memory, "{key} {version}: {took} bytes for {}", frame.len());
            let took = peak(|| Response::decode(&mut Reader::with_limits(frame, response), *key, version));
            assert!(took <= response.memory, "{key} {version}: {took} bytes for {}", frame.len());
        }
    }
    let took = peak(|| MetadataRecord::decode(frame));
    assert!(took <= request.memory, "metadata record: {took} bytes for {}", frame.len());
    let took = peak(|| ConsumerProtocolSubscription::decode_versioned(frame));
    assert!(took <= request.memory, "subscription: {took} bytes for {}", frame.len());
    let took = peak(|| ConsumerProtocolAssignment::decode_versioned(frame));
    assert!(took <= request.memory, "assignment: {took} bytes for {}", frame.len());
    for (kind, versions) in GroupRecord::TYPES {
        for version in versions.clone() {
            let [key, value] = [*kind, version].map(|prefix| [&prefix.to_be_bytes(), frame].concat());
            // A key and a value are frames of their own.
            let took = peak(|| GroupRecord::decode(&key, Some(&value)));
            assert!(took <= 2 * request.memory, "group record {kind} {version}: {took} bytes for {}", frame.len());
        }
    }
    most
}

#[test]
fn no_frame_takes_more_than_its_limits() {
    let mut most = 0;
    // Frames of one byte: arrays of as many elements as fit, of all kinds.
    for byte in [0, 1, 2, 3, 0x10, 0x7f, 0x80, 0xff] {
        for len in [0, 10, 1_000, 300_000] {
            most = most.max(check(&vec![byte; len]));
        }
    }
    assert!(most > 10_000, "nothing was allocated: {most} bytes at most");

    // Arrays of arrays, whose counts fit what is left.
    let byte = prop_oneof![4 => Just(0u8), 3 => 1..4u8, 2 => Just(0x7f), 1 => any::<u8>()];
    let frame = (prop::collection::vec(byte, 0..40), 1..2_000usize).prop_map(|(head, times)| head.repeat(times));
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(100) });
    let outcome = runner.run(&frame, |frame| {
        check(&frame);
        Ok(())
    });
    outcome.unwrap();
}
