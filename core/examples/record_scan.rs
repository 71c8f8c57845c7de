//! Times the scan of 1 MiB batches: `cargo run --release -p ottla-core --example record_scan`.

#![expect(clippy::print_stdout, reason = "a measurement is for people to read")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a measurement needs a clock; the library has none"
)]

use std::hint::black_box;
use std::time::Instant;

use ottla_core::record::{BatchBuilder, BatchOptions, Codec, NewRecord, scan};

fn main() {
    println!("codec   record  batch_bytes  scan_us_per_mib  of_which_crc");
    for codec in [Codec::None, Codec::Lz4, Codec::Snappy, Codec::Zstd, Codec::Gzip] {
        for record_bytes in [100, 1024] {
            let batch = batch(codec, record_bytes);
            let facts = scan(&batch, u64::MAX).expect("the builder writes good batches");
            let scan_us = median_us(|| _ = black_box(scan(black_box(&batch), u64::MAX)));
            let crc_us = median_us(|| _ = black_box(crc32c::crc32c(black_box(&batch[21..]))));
            let mib = facts.inflated_size as f64 / f64::from(1 << 20);
            println!("{codec:6?}  {record_bytes:6}  {:11}  {:15.1}  {:12.1}", batch.len(), scan_us / mib, crc_us / mib);
        }
    }
}

/// A batch of 1 MiB before compression, of text that compresses about as logs do.
fn batch(codec: Codec, record_bytes: usize) -> Vec<u8> {
    let mut builder =
        BatchBuilder::new(BatchOptions { compression: codec.at_default_level(), ..BatchOptions::default() });
    let mut seed = 1_u64;
    let mut timestamp = 1_700_000_000_000;
    while builder.len() < 1 << 20 {
        let mut value = Vec::with_capacity(record_bytes + 16);
        while value.len() < record_bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            value.extend_from_slice(format!("field={:06} ", seed >> 44).as_bytes());
        }
        value.truncate(record_bytes);
        timestamp += i64::from(builder.record_count() % 3 == 0);
        builder.append(&NewRecord { timestamp, value: Some(&value), ..NewRecord::default() });
    }
    builder.build()
}

fn median_us(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..301)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
