//! Every small file of a log directory: any bytes are refused or read, and what was read is written as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_core::log::leader_epoch_cache::LeaderEpochCache;
use ottla_core::log::meta_properties::MetaProperties;
use ottla_core::log::names::{DirName, FileName};
use ottla_core::log::offset_index::OffsetIndex;
use ottla_core::log::producer_state::{MAX_PRODUCERS, ProducerState};
use ottla_core::log::time_index::TimeIndex;
use ottla_core::log::txn_index::{Aborted, TxnIndex};
use ottla_core::log::{
    checkpoint, clean_shutdown, locate, offset_index, partition_metadata, producer_snapshot, time_index,
};
use ottla_core::planted::Planted;
use ottla_core::raft::SavedElection;
use ottla_core::types::Offset;

const BASE: Offset = Offset(1000);
const TARGET: Offset = Offset(5000);

fuzz_target!(|bytes: &[u8]| {
    small_files(bytes);
    indexes(bytes);
    snapshot(bytes);
    let _ = (locate::by_offset(bytes, TARGET), locate::by_timestamp(bytes, 5000));
    let _ = locate::run_len(bytes, 1 << 10, TARGET);
});

fn small_files(bytes: &[u8]) {
    if let Ok(read) = checkpoint::parse(bytes) {
        assert_eq!(checkpoint::parse(&checkpoint::encode(&read)), Ok(read));
    }
    if let Ok(read) = LeaderEpochCache::parse(bytes) {
        assert_eq!(LeaderEpochCache::parse(&read.encode()), Ok(read));
    }
    if let Ok(read) = MetaProperties::parse(bytes) {
        assert_eq!(MetaProperties::parse(&read.encode()), Ok(read));
    }
    if let Ok(read) = SavedElection::parse(bytes) {
        assert_eq!(SavedElection::parse(&read.encode()), Ok(read));
    }
    if let Ok(read) = clean_shutdown::parse(bytes) {
        assert_eq!(clean_shutdown::parse(&clean_shutdown::encode(read)), Ok(read));
    }
    if let Ok(read) = partition_metadata::parse(bytes) {
        assert_eq!(partition_metadata::parse(&partition_metadata::encode(read)), Ok(read));
    }
    if let Ok(name) = std::str::from_utf8(bytes) {
        let _ = (FileName::parse(name), DirName::parse(name));
    }
}

fn indexes(bytes: &[u8]) {
    if let Ok(mut index) = OffsetIndex::parse(BASE, 1 << 20, bytes, u32::MAX) {
        assert_eq!(index.encode(), bytes);
        assert_eq!(index.lookup(TARGET), offset_index::lookup_bytes(BASE, bytes, TARGET));
        let _ = (index.append(TARGET, 77), index.truncate_to(TARGET));
    }
    if let Ok(mut index) = TimeIndex::parse(BASE, 1 << 20, bytes, Offset(1 << 40)) {
        assert_eq!(index.encode(), bytes);
        assert_eq!(index.lookup(5000), time_index::lookup_bytes(BASE, bytes, 5000));
        let _ = (index.append(5000, TARGET, true), index.truncate_to(TARGET));
    }
    if let Ok(mut index) = TxnIndex::parse(Offset::ZERO, bytes) {
        assert_eq!(index.encode(), bytes);
        index.collect(BASE, TARGET, &mut Aborted::default());
        let _ = index.truncate_to(TARGET);
    }
    let _ = (offset_index::lookup_bytes(BASE, bytes, TARGET), time_index::last_of_bytes(BASE, bytes));
}

/// The CRC would keep the fuzzer out: it is put right first.
fn snapshot(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if bytes.len() < 10 {
        return;
    }
    bytes[..2].copy_from_slice(&[0, 1]);
    let crc = crc32c::crc32c(&bytes[6..]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    let Ok(producers) = producer_snapshot::parse(&bytes) else { return };
    let restore = |producers| ProducerState::restore(producers, TARGET, MAX_PRODUCERS, Planted::default());
    let state = restore(producers);
    let again = producer_snapshot::parse(&producer_snapshot::encode(&state)).expect("we read what we write");
    assert!(restore(again) == state);
    for (_, producer) in state.iter() {
        for batch in producer.recent.as_slice() {
            let _ = (batch.base_offset(), batch.first_sequence());
        }
    }
}
