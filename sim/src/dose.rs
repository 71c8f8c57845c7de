//! The dose of a run: which faults landed, what was done, and whether the run proved anything.

use crate::faults::Class;
use crate::time::{Nanos, SECOND};

/// What a run needs to count: simulated time, acknowledged batches, classes of faults that landed.
pub const FLOOR: (Nanos, u64, usize) = (60 * SECOND, 500, 3);

/// And a quorum of several: elections after its first, and truncations.
pub const QUORUM_FLOOR: u64 = 2;

/// Counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dose {
    /// Leaders that a quorum of several has elected.
    pub elections: u64,
    /// Cuts that took something from a metadata log of one of several voters.
    pub truncations: u64,
    /// Snapshots of the metadata that several nodes gave their names, and how many of them came from a leader.
    pub snapshots: [u64; 2],
    /// Whether there are several.
    pub several: bool,
    landed: [u64; Class::ALL.len()],
    given: [u64; Class::ALL.len()],
}

impl Dose {
    /// Nothing has landed yet on one node, or on several.
    #[must_use]
    pub fn new(several: bool) -> Self {
        Self { several, ..Self::default() }
    }

    /// A fault was given, whether or not something runs into it.
    pub const fn give(&mut self, class: Class) {
        self.given[class.index()] += 1;
    }

    /// A fault landed.
    pub const fn land(&mut self, class: Class) {
        self.landed[class.index()] += 1;
    }

    /// How often each class landed, in the order of [`Class::ALL`].
    #[must_use]
    pub const fn landed(&self) -> &[u64; Class::ALL.len()] {
        &self.landed
    }

    /// How often each class was given.
    #[must_use]
    pub const fn given(&self) -> &[u64; Class::ALL.len()] {
        &self.given
    }

    /// How many classes landed.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.landed.iter().filter(|count| **count > 0).count()
    }

    /// Whether a run with this dose proved nothing.
    #[must_use]
    pub fn is_vacuous(&self, simulated: Nanos, acked_batches: u64) -> bool {
        simulated < FLOOR.0 || acked_batches < FLOOR.1 || self.classes() < FLOOR.2 || self.is_calm()
    }

    /// Whether a quorum of several went on as if nothing had happened.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        self.several && self.elections.saturating_sub(1) + self.truncations < QUORUM_FLOOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_with_time_load_and_three_classes() {
        let mut dose = Dose::default();
        for class in [Class::Kill, Class::Kill, Class::Cut] {
            dose.land(class);
        }
        assert!(dose.is_vacuous(60 * SECOND, 500));
        dose.land(Class::Rot);
        assert!(!dose.is_vacuous(60 * SECOND, 500));
        assert!(dose.is_vacuous(59 * SECOND, 500));
        assert!(dose.is_vacuous(60 * SECOND, 499));
        // Of several nodes that elected one of them, and no other.
        dose = Dose { several: true, elections: 2, ..dose };
        assert!(dose.is_vacuous(60 * SECOND, 500));
        dose.truncations = 1;
        assert!(!dose.is_vacuous(60 * SECOND, 500));
    }
}
