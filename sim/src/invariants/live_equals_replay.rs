//! S8 LiveEqualsReplay: what the machine knows of a log's producers equals what its log says, rebuilt.
//! Source: KAFKA-9892, KAFKA-12153; the coordinator pattern's own claim.

use super::{Fact, Verdict};

pub(super) const CODE: &str = "S8";

/// One producer of one log: id, epoch, last sequence, and the offset of its last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProducerRow {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The last sequence number that it used; -1 if none.
    pub last_sequence: i32,
    /// The last offset that it wrote; -1 if none.
    pub last_offset: i64,
}

/// Every producer that is known must be as the log has it; one that the log has may be forgotten (expired).
pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::Producers { log, live, rebuilt } = fact else { return Ok(()) };
    for row in *live {
        let Some(told) = rebuilt.iter().find(|told| told.id == row.id) else {
            // Its records may all be deleted; what it knows then cannot be checked.
            continue;
        };
        if told != row {
            return Err(format!("{log}: producer {} is known as {row:?}, and the log says {told:?}", row.id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::log;
    use super::*;

    #[test]
    fn a_producer_that_is_known_otherwise_than_the_log_has_it_is_a_violation() {
        let row = ProducerRow { id: 1, epoch: 0, last_sequence: 7, last_offset: 9 };
        let verdict =
            |live: &[ProducerRow], rebuilt: &[ProducerRow]| check(&Fact::Producers { log: &log(), live, rebuilt });
        assert_eq!(verdict(&[row], &[row]), Ok(()));
        assert_eq!(verdict(&[], &[row]), Ok(()));
        assert!(verdict(&[ProducerRow { last_sequence: 6, ..row }], &[row]).is_err());
        assert!(verdict(&[ProducerRow { epoch: 1, ..row }], &[row]).is_err());
    }
}
