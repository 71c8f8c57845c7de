//! Where each reader is in each partition.

use crate::history::PartitionIndex;

/// An offset for each reader and partition.
#[derive(Clone, Debug, Default)]
pub(super) struct ByReader {
    readers: Vec<Vec<Option<i64>>>,
}

impl ByReader {
    /// Remembers where a reader is; answers where it was before, unless it has chosen its place anew since.
    pub(super) fn insert(&mut self, reader: u16, partition: PartitionIndex, offset: i64) -> Option<i64> {
        let reader = usize::from(reader);
        if self.readers.len() <= reader {
            self.readers.resize_with(reader + 1, Vec::new);
        }
        let partitions = &mut self.readers[reader];
        if partitions.len() <= partition {
            partitions.resize(partition + 1, None);
        }
        partitions[partition].replace(offset)
    }

    /// A reader chooses its place anew.
    pub(super) fn remove(&mut self, reader: u16, partition: PartitionIndex) {
        let partitions = self.readers.get_mut(usize::from(reader));
        if let Some(at) = partitions.and_then(|partitions| partitions.get_mut(partition)) {
            *at = None;
        }
    }
}
