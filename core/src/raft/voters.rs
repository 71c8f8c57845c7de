//! The voter sets of the log, each from the offset on at which it was written.
//!
//! A set counts as soon as it is in the log, committed or not (Raft, section 6); if its batch is cut, the one before
//! it counts again. At most one lies above the high watermark (invariant M10).

use super::voter_set::VoterSet;
use crate::types::Offset;

/// The voter sets that the log names, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterHistory {
    sets: Vec<(Offset, VoterSet)>,
}

impl VoterHistory {
    /// The set that counts.
    #[must_use]
    pub fn current(&self) -> Option<&VoterSet> {
        self.sets.last().map(|(_, set)| set)
    }

    /// The set that counts for a log that ends at `end`, which must be one of those that are still known.
    #[must_use]
    pub fn before(&self, end: Offset) -> Option<&VoterSet> {
        let after = self.sets.partition_point(|(offset, _)| *offset < end);
        after.checked_sub(1).map(|place| &self.sets[place].1)
    }

    /// Where it was written.
    #[must_use]
    pub fn last_offset(&self) -> Option<Offset> {
        self.sets.last().map(|(offset, _)| *offset)
    }

    /// A set is written at `offset`.
    pub fn add(&mut self, offset: Offset, set: VoterSet) {
        self.truncate(offset);
        self.sets.push((offset, set));
    }

    /// The log now ends at `end`. Whether another set counts.
    pub fn truncate(&mut self, end: Offset) -> bool {
        let kept = self.sets.partition_point(|(offset, _)| *offset < end);
        let changed = kept < self.sets.len();
        self.sets.truncate(kept);
        changed
    }

    /// What lies below `committed` cannot be cut: only the last set there is needed.
    pub fn forget_below(&mut self, committed: Offset) {
        let last = self.sets.partition_point(|(offset, _)| *offset < committed).saturating_sub(1);
        self.sets.drain(..last);
    }
}

#[cfg(test)]
mod tests {
    use super::super::voter_set::{Voter, VoterKey};
    use super::*;
    use crate::types::BrokerId;
    use ottla_wire::Uuid;

    fn set(ids: &[i32]) -> VoterSet {
        let key = |id: &i32| VoterKey { id: BrokerId(*id), directory_id: Uuid(1) };
        VoterSet::new(ids.iter().map(|id| (key(id), Voter::default())).collect()).unwrap()
    }

    #[test]
    fn a_cut_brings_the_set_before_it_back() {
        let mut history = VoterHistory::default();
        history.add(Offset(0), set(&[1]));
        history.add(Offset(9), set(&[1, 2]));
        assert!(!history.truncate(Offset(10)));
        assert_eq!((history.current(), history.last_offset()), (Some(&set(&[1, 2])), Some(Offset(9))));
        assert!(history.truncate(Offset(9)));
        assert_eq!(history.current(), Some(&set(&[1])));
        history.add(Offset(12), set(&[1, 3]));
        history.forget_below(Offset(12));
        assert!(history.truncate(Offset(12)));
        assert_eq!(history.current(), Some(&set(&[1])));
        history.add(Offset(12), set(&[1, 3]));
        history.forget_below(Offset(13));
        assert_eq!(history, VoterHistory { sets: vec![(Offset(12), set(&[1, 3]))] });
    }
}
