//! S3: no batch with a bad CRC is served. Source: KAFKA-5211, and promise P5.

use super::{Fact, Verdict};

pub(super) const CODE: &str = "S3";

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::BadBatch { partition, offset } = fact else { return Ok(()) };
    Err(format!("a reader of partition {partition} got a bad batch, asking for {offset}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_batch_at_a_reader_is_a_violation() {
        assert!(check(&Fact::BadBatch { partition: 0, offset: 5 }).is_err());
        assert_eq!(check(&Fact::Booted), Ok(()));
    }
}
