//! The dose of a run: which faults landed, what was done, and whether the run proved anything.

use crate::faults::Class;
use crate::time::{Nanos, SECOND};

/// What a run needs to count: simulated time, acknowledged batches, classes of faults that landed.
pub const FLOOR: (Nanos, u64, usize) = (60 * SECOND, 500, 3);

/// Counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dose {
    landed: [u64; Class::ALL.len()],
    given: [u64; Class::ALL.len()],
}

impl Dose {
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
        simulated < FLOOR.0 || acked_batches < FLOOR.1 || self.classes() < FLOOR.2
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
    }
}
