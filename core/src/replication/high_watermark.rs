//! The high watermark: the offset below which every record is on every in-sync replica.
//!
//! With a replica's offset we mean the one that counts for the promise made: what is flushed, or what is
//! written. The minimum over the in-sync replicas is the greatest offset that all of them have.

use crate::types::Offset;

/// The least of the in-sync replicas' offsets; `None` if an offset is not known yet, or if the in-sync
/// replicas are fewer than `needed`, in which case the watermark stands still (KIP-966).
#[must_use]
pub fn high_watermark(offsets: &[Offset], in_sync: usize, needed: usize) -> Option<Offset> {
    if in_sync < needed || offsets.len() < in_sync {
        return None;
    }
    offsets.iter().copied().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_least_in_sync_offset() {
        assert_eq!(high_watermark(&[Offset(7), Offset(5), Offset(9)], 3, 2), Some(Offset(5)));
    }

    #[test]
    fn stands_still_below_min_insync_replicas() {
        assert_eq!(high_watermark(&[Offset(7)], 1, 2), None);
    }

    #[test]
    fn waits_for_every_in_sync_replica() {
        assert_eq!(high_watermark(&[Offset(7)], 2, 1), None);
    }
}
