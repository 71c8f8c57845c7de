//! One thing on a disk, a page, a size or a name, with all that it may be after a power loss.
//!
//! `cached` is what the running kernel shows. `durable` is what is certain to be on the platter. Between
//! them lie the versions written since the last sync, each stamped with the disk's change number: the
//! kernel may have written back any of them, at any time, in any order.

use crate::draw::Draw;

/// The number of a change to the disk, in the order in which changes were carried out.
pub type Change = u64;

/// More unsynced versions than this, and the oldest counts as written back.
const MAX_UNSYNCED: usize = 64;

/// A value in three layers.
#[derive(Clone, Debug)]
pub struct Versioned<T> {
    cached: T,
    durable: T,
    unsynced: Vec<(Change, T)>,
}

impl<T: Clone> Versioned<T> {
    /// A value that is durable.
    pub const fn new(value: T) -> Self
    where
        T: Copy,
    {
        Self { cached: value, durable: value, unsynced: Vec::new() }
    }

    /// A value that was never written: `before` is durable.
    pub fn unwritten(before: T) -> Self {
        Self { cached: before.clone(), durable: before, unsynced: Vec::new() }
    }

    /// What the running kernel shows.
    pub const fn cached(&self) -> &T {
        &self.cached
    }

    /// What is on the platter for certain.
    pub const fn durable(&self) -> &T {
        &self.durable
    }

    /// Whether a power loss may change it.
    pub const fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// The versions written since the last sync, oldest first.
    pub fn unsynced(&self) -> &[(Change, T)] {
        &self.unsynced
    }

    /// Writes a new version. The parts of one change are one version: the kernel copies all of a write into a page
    /// under its lock.
    pub fn write(&mut self, change: Change, value: T) {
        if let Some((_, last)) = self.unsynced.last_mut().filter(|(at, _)| *at == change) {
            last.clone_from(&value);
            self.cached = value;
            return;
        }
        if self.unsynced.len() == MAX_UNSYNCED {
            self.durable = self.unsynced.remove(0).1;
        }
        self.cached = value.clone();
        self.unsynced.push((change, value));
    }

    /// Makes all versions up to `change` durable.
    pub fn sync(&mut self, change: Change) {
        if let Some(value) = self.forget(change) {
            self.durable = value;
        }
    }

    /// A sync up to `change` failed: its versions are dropped, and count as clean from now on.
    /// Answers the newest of them.
    pub fn forget(&mut self, change: Change) -> Option<T> {
        let covered = self.unsynced.partition_point(|(at, _)| *at <= change);
        self.unsynced.drain(..covered).next_back().map(|(_, value)| value)
    }

    /// Changes what is on the platter, behind the kernel's back.
    pub fn corrupt(&mut self, value: T) {
        self.durable = value;
    }

    /// The kernel drops its copy and reads the platter's. Only where nothing is unsynced.
    pub fn reload(&mut self) {
        if !self.is_unsynced() {
            self.cached = self.durable.clone();
        }
    }

    /// Power is lost: `value` is what is left.
    pub fn settle(&mut self, value: T) {
        self.cached = value.clone();
        self.durable = value;
        self.unsynced.clear();
    }

    /// The newest version at or before `change`.
    pub fn at(&self, change: Change) -> &T {
        self.version(self.index_at(change))
    }

    /// Its number, for [`Self::version`].
    pub fn index_at(&self, change: Change) -> usize {
        self.unsynced.partition_point(|(at, _)| *at <= change)
    }

    /// The version that came first after `change`, if it was `change + 1`.
    pub fn just_after(&self, change: Change) -> Option<&T> {
        let next = self.unsynced.iter().find(|(at, _)| *at > change)?;
        (next.0 == change + 1).then_some(&next.1)
    }

    /// The number of any of the versions: a third of the draws drop all, a third keep all.
    pub fn any_index(&self, draw: Draw) -> usize {
        let newest = self.unsynced.len();
        match draw.below(3) {
            0 => 0,
            1 => newest,
            _ => draw.and(1).index(newest + 1),
        }
    }

    /// When version `count` was written; 0 for the durable one.
    pub fn stamp(&self, count: usize) -> Change {
        count.checked_sub(1).map_or(0, |index| self.unsynced[index].0)
    }

    /// Version `count`: 0 is the durable one.
    pub fn version(&self, count: usize) -> &T {
        match count.checked_sub(1) {
            None => &self.durable,
            Some(index) => &self.unsynced[index].1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_covers_what_came_before_it() {
        let mut value = Versioned::new(0);
        value.write(1, 10);
        value.write(5, 50);
        value.sync(3);
        assert_eq!((*value.durable(), *value.cached(), value.is_unsynced()), (10, 50, true));
        value.sync(5);
        assert_eq!((*value.durable(), value.is_unsynced()), (50, false));
    }

    #[test]
    fn one_change_is_one_version() {
        let mut value = Versioned::new(0);
        value.write(1, 10);
        value.write(2, 20);
        value.write(2, 21);
        assert_eq!((*value.cached(), value.unsynced()), (21, &[(1, 10), (2, 21)][..]));
    }

    #[test]
    fn a_failed_sync_forgets_and_the_next_one_succeeds_without_the_data() {
        let mut value = Versioned::new(0);
        value.write(1, 10);
        value.forget(1);
        value.sync(9);
        assert_eq!((*value.durable(), *value.cached()), (0, 10));
        value.reload();
        assert_eq!(*value.cached(), 0);
    }

    #[test]
    fn an_ordered_cut_finds_its_version() {
        let mut value = Versioned::new(0);
        value.write(2, 20);
        value.write(4, 40);
        assert_eq!([1, 2, 3, 4].map(|cut| *value.at(cut)), [0, 20, 20, 40]);
        assert_eq!((value.just_after(3), value.just_after(2)), (Some(&40), None));
    }

    #[test]
    fn unsynced_versions_are_bounded() {
        let mut value = Versioned::new(0);
        (1..1000).for_each(|n| value.write(n, n));
        assert_eq!(value.unsynced().len(), MAX_UNSYNCED);
        assert_eq!(*value.durable(), 999 - MAX_UNSYNCED as u64);
    }
}
