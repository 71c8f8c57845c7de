//! What the flush journal's claim says of the files that a start finds.

use super::recovery::Recovery;
use crate::planted::{Plant, Planted};
use crate::storage::Mark;
use crate::types::Offset;

impl Recovery {
    /// A log that was to begin anew does. Nothing is done to its files before the claim says so, and a crash may
    /// leave any of the old ones, with the new segment or without it.
    pub(super) fn drop_what_was_dropped(&mut self) {
        let Some(claim) = self.claim.filter(|claim| claim.begins) else {
            return;
        };
        let is_there = self.files.logs.iter().any(|(base, _)| *base == claim.segment);
        let is_of_it = |base: Offset| is_there && base >= claim.segment;
        let old = self.files.logs.iter().map(|(base, _)| *base).filter(|base| !is_of_it(*base));
        self.files.gone.extend(old);
        self.files.logs.retain(|(base, _)| is_of_it(*base));
    }

    /// Whether the bytes that the journal claims are there at all.
    pub(super) fn has_claimed(&self, claim: &Mark) -> Result<(), String> {
        match self.files.logs.iter().find(|(base, _)| *base == claim.segment) {
            None => Err(format!("the segment is missing, though it was durable up to offset {}", claim.end)),
            Some((_, len)) if *len < claim.pos => Err(format!("it has {len} bytes, and {} were durable", claim.pos)),
            Some(_) => Ok(()),
        }
    }

    /// Snapshots above it may describe what a cut took away, and are not believed; nor is any of a log that has
    /// just begun anew.
    pub(super) fn snapshots_end(&self, planted: Planted) -> Offset {
        let unbounded = self.claim.is_none() && self.hints.clean || planted.has(Plant::Log23);
        let claimed = self.claim.filter(|claim| !claim.begins).map_or(Offset(-1), |claim| claim.end);
        if unbounded { Offset(i64::MAX) } else { claimed }
    }

    /// The last batch that was durable must be there, and be the one.
    pub(super) fn check_claim(&mut self) {
        let Some(claim) = self.claim.filter(|claim| claim.end > self.hints.log_start && claim.pos > 0) else {
            return;
        };
        let in_walk = self.walked.segments.iter().any(|segment| segment.base == claim.segment);
        if in_walk && !self.walked.claim_met && !self.hints.clean {
            let why = format!("its batch before offset {} is not the one that was durable", claim.end);
            self.damage(claim.segment, claim.start, why);
        }
    }
}
