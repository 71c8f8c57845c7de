//! Where each reader is in each partition.

use super::Fact;
use crate::history::PartitionIndex;

/// The offset that each reader has passed last in each partition.
#[derive(Clone, Debug, Default)]
pub struct ByReader {
    readers: Vec<Vec<Option<i64>>>,
}

impl ByReader {
    /// Follows the readers. Of who reads, answers what it has passed before; `None` if it has chosen its place anew
    /// since, and nobody knows where that is.
    pub fn follow(&mut self, fact: &Fact<'_>) -> Option<i64> {
        let (reader, partition, at) = if let Fact::Polled { reader, partition, offset, .. } = fact {
            (usize::from(*reader), *partition, Some(*offset))
        } else if let Fact::Sought { reader, partition, to } = fact {
            (usize::from(*reader), *partition, to.map(|to| to.saturating_sub(1)))
        } else {
            return None;
        };
        if self.readers.len() <= reader {
            self.readers.resize_with(reader + 1, Vec::new);
        }
        let partitions = &mut self.readers[reader];
        if partitions.len() <= partition {
            partitions.resize(partition + 1, None);
        }
        std::mem::replace(&mut partitions[partition], at)
    }

    /// What a reader has passed last, if that is known.
    #[must_use]
    pub fn passed(&self, reader: u16, partition: PartitionIndex) -> Option<i64> {
        *self.readers.get(usize::from(reader))?.get(partition)?
    }
}
