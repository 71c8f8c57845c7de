//! A value for each offset of each partition. Every record that anybody reads is looked up here by several
//! checkers, so offsets that lie together are kept together, and no tree is searched.

use std::collections::BTreeMap;

use crate::history::{PartitionIndex, ValueId};

/// Which value is where.
#[derive(Clone, Debug, Default)]
pub(super) struct ByOffset {
    partitions: Vec<Values>,
}

/// The values of one partition.
#[derive(Clone, Debug, Default)]
struct Values {
    /// The offsets below [`FAR`], by pages.
    pages: Vec<Option<Box<Page>>>,
    /// What no broker should ever answer.
    far: BTreeMap<i64, ValueId>,
}

type Page = [Option<ValueId>; PAGE];

/// Offsets in a page.
const PAGE: usize = 256;
/// No run reaches this offset; what lies beyond it, or below 0, takes no pages.
const FAR: i64 = 1 << 26;

impl ByOffset {
    /// The value at an offset.
    pub(super) fn get(&self, partition: PartitionIndex, offset: i64) -> Option<ValueId> {
        let values = self.partitions.get(partition)?;
        match place(offset) {
            Some((page, within)) => values.pages.get(page)?.as_ref()?[within],
            None => values.far.get(&offset).copied(),
        }
    }

    /// Puts a value at an offset; answers the one that was there.
    pub(super) fn insert(&mut self, partition: PartitionIndex, offset: i64, value: ValueId) -> Option<ValueId> {
        if self.partitions.len() <= partition {
            self.partitions.resize_with(partition + 1, Values::default);
        }
        let values = &mut self.partitions[partition];
        let Some((page, within)) = place(offset) else { return values.far.insert(offset, value) };
        if values.pages.len() <= page {
            values.pages.resize_with(page + 1, || None);
        }
        values.pages[page].get_or_insert_with(|| Box::new([None; PAGE]))[within].replace(value)
    }

    /// The first value from one offset up to another, which is not looked at.
    pub(super) fn first_in(&self, partition: PartitionIndex, from: i64, to: i64) -> Option<(i64, ValueId)> {
        let values = self.partitions.get(partition)?;
        let paged = i64::try_from(values.pages.len() * PAGE).unwrap_or(FAR);
        let near = (from.max(0)..to.min(paged)).find_map(|offset| Some((offset, self.get(partition, offset)?)));
        let far =
            |from: i64, to: i64| values.far.range(from.min(to)..to).next().map(|(offset, value)| (*offset, *value));
        far(from, to.min(0)).or(near).or_else(|| far(from.max(FAR), to))
    }
}

/// The page of an offset, and where in it.
fn place(offset: i64) -> Option<(usize, usize)> {
    let offset = usize::try_from(offset).ok().filter(|_| offset < FAR)?;
    Some((offset / PAGE, offset % PAGE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(
            entries in prop::collection::vec((0..2_usize, offset(), 0..9_u64), 0..200),
            (from, to) in (offset(), offset()),
        ) {
            let (mut values, mut model) = (ByOffset::default(), BTreeMap::new());
            for (partition, offset, value) in entries {
                prop_assert_eq!(values.insert(partition, offset, value), model.insert((partition, offset), value));
                prop_assert_eq!(values.get(partition, offset), Some(value));
            }
            let in_model = model.range((1, from.min(to))..(1, to)).next().map(|((_, offset), value)| (*offset, *value));
            prop_assert_eq!(values.first_in(1, from, to), in_model);
            prop_assert_eq!(values.get(1, to), model.get(&(1, to)).copied());
        }
    }

    /// Mostly near each other, around 0 and around the limit.
    fn offset() -> impl Strategy<Value = i64> {
        prop_oneof![8 => -3..700_i64, 1 => Just(i64::MAX), 1 => Just(FAR), 1 => Just(i64::MIN)]
    }
}
