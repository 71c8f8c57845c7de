//! Which partition a record goes to, exactly as Java's producer decides it.
//!
//! With a key: murmur2 of it. Without: "uniform sticky" (KIP-794): one partition gets `batch.size` bytes, then
//! another is drawn from those that have a leader.

use crate::rng::Rng;

/// The partition of `key` among `count` partitions.
#[must_use]
pub fn by_key(key: &[u8], count: i32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    positive.checked_rem(count.unsigned_abs()).and_then(|it| i32::try_from(it).ok()).unwrap_or(0)
}

/// The 32-bit MurmurHash2 with Kafka's seed.
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // Java's lengths are 32 bits; no key is longer.
    let mut hash = SEED ^ u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let words = bytes.chunks_exact(4);
    let tail = words.remainder();
    for word in words {
        let word = u32::from_le_bytes(word.try_into().expect("chunks of four bytes"));
        let mixed = word.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (mixed ^ mixed >> 24).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0_u32, |rest, &byte| rest << 8 | u32::from(byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

/// The partition that records without a key stick to for a while.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sticky {
    partition: Option<i32>,
    bytes: usize,
}

impl Sticky {
    /// The partition for a record of `size` bytes. `led` gives the partitions with a leader, of `count` in all.
    pub(super) fn choose(
        &mut self,
        (led, count): (&dyn Fn() -> Vec<i32>, i32),
        size: usize,
        batch_size: usize,
        rng: &mut Rng,
    ) -> i32 {
        if let Some(partition) = self.partition.filter(|_| self.bytes < batch_size) {
            self.bytes += size;
            return partition;
        }
        let partition = draw(&led(), count, rng);
        *self = Self { partition: Some(partition), bytes: size };
        partition
    }
}

fn draw(led: &[i32], count: i32, rng: &mut Rng) -> i32 {
    let of = |bound: usize, rng: &mut Rng| usize::try_from(rng.below(bound as u64)).expect("below a length");
    match led {
        [] => i32::try_from(rng.below(count.unsigned_abs().into())).expect("below a number of partitions"),
        led => led[of(led.len(), rng)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own test of its hash (UtilsTest).
    #[test]
    fn murmur2_is_that_of_the_java_client() {
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    #[test]
    fn a_key_keeps_its_partition() {
        assert_eq!(by_key(b"foobar", 12), (-790_332_482_i32 & i32::MAX) % 12);
        assert_eq!(by_key(b"anything", 1), 0);
        assert_eq!(by_key(b"anything", 0), 0, "a topic without partitions is no reason to divide by zero");
    }

    #[test]
    fn records_without_a_key_stick_for_a_batch_and_then_move_among_partitions_with_a_leader() {
        let (mut sticky, mut rng) = (Sticky::default(), Rng::new(3));
        let chosen: Vec<_> = (0..400).map(|_| sticky.choose((&|| vec![1, 3], 4), 25, 100, &mut rng)).collect();
        for run in chosen.chunks(4) {
            assert!(run.iter().all(|partition| partition == &run[0]), "{run:?}");
        }
        assert!(chosen.contains(&1) && chosen.contains(&3) && chosen.iter().all(|it| [1, 3].contains(it)));
        assert!((0..4).contains(&Sticky::default().choose((&Vec::new, 4), 25, 100, &mut rng)), "nobody leads: any");
    }
}
