//! How long the steps of the hot path take: `cargo bench -p ottla-core --bench micro`.
//!
//! Every time is of the whole way from a frame to its answer, on a disk that takes none. On a noisy machine look at
//! the fastest, or count instructions ([`instructions.rs`]).

#[path = "node/cases.rs"]
mod cases;
#[path = "node/mod.rs"]
mod node;

use cases::{Asked, Indexes};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

#[divan::bench(args = [(1, 1), (1, 150), (64, 1)])]
fn produce(bencher: Bencher<'_, '_>, (partitions, records): (i32, usize)) {
    let mut asked = Asked::produce(partitions, records);
    bencher.bench_local(|| asked.once());
}

#[divan::bench(args = [1, 64])]
fn fetch(bencher: Bencher<'_, '_>, partitions: i32) {
    let mut asked = Asked::fetch(partitions);
    bencher.bench_local(|| asked.once());
}

#[divan::bench(args = [16 << 10, 1 << 20])]
fn scan(bencher: Bencher<'_, '_>, bytes: usize) {
    let frame = cases::produce_of(bytes);
    bencher.counter(divan::counter::BytesCount::new(frame.len())).bench_local(|| cases::scan(black_box(&frame)));
}

#[divan::bench]
fn look_up(bencher: Bencher<'_, '_>) {
    let indexes = Indexes::new();
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1;
        indexes.once(at)
    });
}

#[divan::bench(args = [1, 1000])]
fn metadata(bencher: Bencher<'_, '_>, partitions: i32) {
    let metadata = cases::metadata(partitions);
    bencher.bench_local(|| cases::encode(black_box(&metadata)));
}
