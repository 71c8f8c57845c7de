//! How many instructions the steps of the hot path take, so that a change of a hundredth shows on any machine:
//! `make instructions`, which needs valgrind. The figures stand beside those of the run before.

#![expect(clippy::disallowed_types, reason = "what the macros make opens files, and the core does not")]

#[path = "node/cases.rs"]
mod cases;
#[path = "node/mod.rs"]
mod node;

use bytes::Bytes;
use cases::{Asked, Indexes};
use gungraun::prelude::*;
use ottla_wire::api::metadata::MetadataResponse;

const TIMES: i64 = 100;

// A hundred requests; what is dropped afterwards does not count.
#[library_benchmark]
#[bench::produce_1_record(args = (1, 1), setup = Asked::produce)]
#[bench::produce_16_kib(args = (1, 150), setup = Asked::produce)]
#[bench::produce_64_partitions(args = (64, 1), setup = Asked::produce)]
#[bench::fetch_1_partition(args = (1), setup = Asked::fetch)]
#[bench::fetch_64_partitions(args = (64), setup = Asked::fetch)]
fn hundred_requests(mut asked: Asked) -> Asked {
    (0..TIMES).for_each(|_| asked.once());
    asked
}

#[library_benchmark]
#[bench::of_16_kib(args = (16 << 10), setup = cases::produce_of)]
#[bench::of_1_mib(args = (1 << 20), setup = cases::produce_of)]
fn scan(frame: Bytes) -> (usize, Bytes) {
    (cases::scan(&frame), frame)
}

#[library_benchmark]
#[bench::of_a_gibibyte(setup = Indexes::new)]
fn hundred_look_ups(indexes: Indexes) -> (u32, Indexes) {
    ((0..TIMES).fold(0, |sum, at| sum ^ indexes.once(at)), indexes)
}

#[library_benchmark]
#[bench::of_1000_partitions(args = (1000), setup = cases::metadata)]
fn encode_metadata(metadata: MetadataResponse<'static>) -> (usize, MetadataResponse<'static>) {
    (cases::encode(&metadata), metadata)
}

library_benchmark_group!(name = hot_path, benchmarks = [hundred_requests, scan, hundred_look_ups, encode_metadata]);

gungraun::main!(library_benchmark_groups = hot_path);
