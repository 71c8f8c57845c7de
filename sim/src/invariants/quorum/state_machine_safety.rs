//! M9 StateMachineSafety: what one node applies at an offset, no other applies differently. Source: Raft, figure 3. By
//! the logs below each high watermark, and by the images that come of them.

use std::collections::BTreeMap;

use ottla_core::controller::MetadataImage;

use super::{Committed, Verdict, is_same};
use crate::logs::FollowedLog;

pub(super) const CODE: &str = "M9";

/// So many images are kept to compare others with. A node that is further behind is compared when it has caught up.
const KEPT: usize = 64;

/// Remembers the newest images by their offsets.
#[derive(Clone, Debug, Default)]
pub(super) struct StateMachineSafety {
    images: BTreeMap<i64, MetadataImage>,
}

impl StateMachineSafety {
    pub(super) fn check_image(&mut self, at: usize, image: &MetadataImage) -> Verdict {
        let end = image.end().0;
        if let Some(known) = self.images.get(&end) {
            let differs = || {
                let first = known.changes_to(image).into_iter().next();
                format!("n{at} has another image at {end} than who had one there first: {first:?}")
            };
            return if known == image { Ok(()) } else { Err(differs()) };
        }
        self.images.insert(end, image.clone());
        if self.images.len() > KEPT {
            self.images.pop_first();
        }
        Ok(())
    }
}

/// The log below a node's high watermark is what was committed: judged at the last batch of both, for logs that match
/// there match before (M4).
pub(super) fn check_log(at: usize, log: &FollowedLog, high_watermark: i64, committed: &Committed) -> Verdict {
    let end = high_watermark.min(committed.end()).min(log.end());
    let Some(own) = log.find(end - 1).filter(|own| own.last < end) else { return Ok(()) };
    if committed.holding(own.base).is_none_or(|known| is_same(known, own)) {
        return Ok(());
    }
    Err(format!("n{at} takes its batch at {} of epoch {} for committed, and another is", own.base, own.epoch))
}

#[cfg(test)]
mod tests {
    use super::super::metadata;
    use super::super::tests::{committed, logs};
    use super::*;
    use ottla_core::controller::Change;
    use ottla_core::types::Offset;

    #[test]
    fn a_committed_offset_holds_one_batch() {
        let verdict = |own: &[(i32, u32)], high_watermark| {
            let logs = logs(&[own]);
            let log = metadata(&logs[0]).expect("it is there");
            check_log(0, log, high_watermark, &committed(&[(1, 1), (2, 2)]))
        };
        assert_eq!(verdict(&[(1, 1), (2, 2), (2, 3)], 3), Ok(()));
        assert_eq!(verdict(&[(1, 1), (1, 7)], 1), Ok(()));
        assert!(verdict(&[(1, 1), (1, 7)], 2).is_err());
    }

    #[test]
    fn one_offset_has_one_image() {
        let image = |feature: &str| {
            let mut image = MetadataImage::default();
            image.replay(Offset(7), &Change::FeatureLevel { name: feature.into(), level: 1 });
            image
        };
        let mut checker = StateMachineSafety::default();
        assert_eq!(checker.check_image(0, &image("one")), Ok(()));
        assert_eq!(checker.check_image(1, &image("one")), Ok(()));
        assert!(checker.check_image(2, &image("another")).is_err());
    }
}
