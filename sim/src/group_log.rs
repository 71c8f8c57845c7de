//! What the log of a partition of `__consumer_offsets` says, read from the disk without the coordinator's help: of each
//! key the last value, as a compaction would leave it.

use std::collections::BTreeMap;

use ottla_core::types::TopicPartition;
use ottla_wire::group::GroupRecord;

use crate::disk::Disk;
use crate::stored::each_record;

/// By the record's key, its value; what was removed is not there.
pub type Said = BTreeMap<Vec<u8>, Vec<u8>>;

/// The records that are followed: offsets, in both schemas, classic groups, and all of consumer groups that is used.
const KINDS: [[u8; 2]; 9] = [[0, 0], [0, 1], [0, 2], [0, 3], [0, 5], [0, 6], [0, 7], [0, 8], [0, 16]];

/// What a log says below an offset.
#[must_use]
pub fn read(disk: &Disk, log: &TopicPartition, below: i64) -> Said {
    let mut said = Said::new();
    each_record(disk, log, below, |record| take(&mut said, record.key.unwrap_or_default(), record.value));
    said
}

fn take(said: &mut Said, key: &[u8], value: Option<&[u8]>) {
    if !KINDS.iter().any(|kind| key.starts_with(kind)) {
        return;
    }
    match value {
        Some(value) => said.insert(key.to_vec(), value.to_vec()),
        None => said.remove(key),
    };
}

/// What a key is of, for people.
#[must_use]
pub fn name(key: &[u8]) -> String {
    match GroupRecord::decode(key, None) {
        Ok(GroupRecord::OffsetCommit(key, _)) => format!("{} {}-{}", key.group, key.topic, key.partition),
        Ok(GroupRecord::GroupMetadata(key, _)) => format!("group {}", key.group),
        Ok(GroupRecord::ConsumerGroupMetadata(key, _)) => format!("consumer group {}", key.group_id),
        Ok(_) | Err(_) => format!("key {key:02x?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_key_counts() {
        let mut said = Said::new();
        take(&mut said, &[0, 1, 7], Some(&[1]));
        take(&mut said, &[0, 1, 7], Some(&[2]));
        take(&mut said, &[0, 2, 7], Some(&[3]));
        take(&mut said, &[0, 2, 7], None);
        take(&mut said, &[0, 9, 7], Some(&[4]));
        assert_eq!(said, Said::from([(vec![0, 1, 7], vec![2])]));
    }
}
