//! What a request allocates in the steady state: nothing for each record, nothing for each batch.
//!
//! `DHAT_FILE=/tmp/dhat.json cargo test -p ottla-core --test allocations` writes where each block is allocated, for
//! dhat's viewer.

#[path = "../benches/node/mod.rs"]
mod node;

use node::Node;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const REQUESTS: u64 = 1000;

/// Blocks a request, rounded: checkpoints and growing tables are in it now and then.
fn blocks(node: &mut Node, frame: &bytes::Bytes) -> u64 {
    let mut ask = |requests| (0..requests).for_each(|_| node.ask(frame.clone()));
    ask(200);
    let before = dhat::HeapStats::get().total_blocks;
    ask(REQUESTS);
    (dhat::HeapStats::get().total_blocks - before + REQUESTS / 2) / REQUESTS
}

fn produce(partitions: i32, records: usize) -> u64 {
    blocks(&mut Node::new(partitions), &node::produce(partitions, &node::batch(records, 100)))
}

fn fetch(partitions: i32) -> u64 {
    let mut node = Node::new(partitions);
    node.ask(node::produce(partitions, &node::batch(1, 100)));
    blocks(&mut node, &node::fetch(partitions))
}

/// One test, because the allocator counts what all threads do.
#[test]
fn a_record_and_a_batch_allocate_nothing() {
    let _profiler = match std::env::var("DHAT_FILE") {
        Ok(file) => dhat::Profiler::builder().file_name(file).build(),
        Err(_) => dhat::Profiler::builder().testing().build(),
    };
    let one = produce(1, 1);
    assert_eq!(produce(1, 500), one, "blocks of a produce of 500 records, and of one");
    assert!(one <= 15, "blocks of a produce: {one}");
    assert_no_batch_allocates("produce", |partitions| produce(partitions, 1));

    let one = fetch(1);
    assert!(one <= 15, "blocks of a fetch: {one}");
    assert_no_batch_allocates("fetch", fetch);
}

/// Of twice as many batches lists grow once more, and B-trees get nodes, one for every six waits or so.
fn assert_no_batch_allocates(what: &str, blocks: impl Fn(i32) -> u64) {
    let (some, twice) = (blocks(64), blocks(128));
    assert!(twice <= some + 64 / 4, "blocks of a {what} of 128 batches: {twice}; of 64: {some}");
}
