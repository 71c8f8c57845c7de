//! A metadata log of any records: each batch is refused or replayed, and the image that results can be dumped.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_core::controller::{MetadataImage, decode_batch, encode};
use ottla_core::raft::control_records;
use ottla_core::record::{RecordBatch, batches};
use ottla_core::types::Offset;

fuzz_target!(|bytes: &[u8]| {
    let mut image = MetadataImage::default();
    for batch in batches(bytes) {
        let Ok(batch) = batch else { break };
        let _ = control_records(&batch);
        let Ok(changes) = decode_batch(&batch, 1 << 20) else { continue };
        for change in &changes {
            image.replay(Offset(7), change);
        }
    }
    let dump = image.dump();
    if dump.is_empty() {
        return;
    }
    let dump = encode(&dump, 0);
    let dump = RecordBatch::first_of(&dump).expect("it is a batch");
    for change in decode_batch(&dump, 1 << 20).expect("we read what we write") {
        let _ = change;
    }
});
