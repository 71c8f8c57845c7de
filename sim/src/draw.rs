//! Labelled random streams: every draw is a pure function of what it is drawn for.
//!
//! A draw is `hash(run_seed, label, identity, occurrence)`: which kind of choice, for whom, and the how
//! manieth for that one. So taking a fault away, or adding a client, leaves every other draw as it was; that
//! is what makes shrinking and branching work.
//!
//! Whole numbers only: `ln` and `exp` are not the same on every machine and in every build, and one bit of
//! difference is another run. The curves here are drawn with straight lines between powers of two.

use crate::time::Nanos;

/// The streams of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    run_seed: u64,
}

/// What a draw is for. The numbers are part of every recorded seed: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Label {
    /// The seed of a machine: (node, incarnation).
    MachineSeed,
    /// A value of the scenario file: (its path, 0).
    Scenario,
    /// Whether and how an event happens: (event, occurrence).
    Event,
    /// How long a disk operation takes: (disk, operation).
    DiskLatency,
    /// How much of a failed write is carried out: (disk, operation).
    PartialWrite,
    /// What a power loss leaves of one page, size or name: (disk and loss, item).
    PowerLoss,
    /// Which page rots, or is hit by a misdirected write: (disk, occurrence).
    Rot,
    /// How long a segment of bytes travels, and where it is cut: (connection and direction, segment).
    Segment,
    /// How a connection comes up or goes down: (connection, what).
    Connection,
    /// How long a node takes for a round: (node, round).
    Round,
    /// What a client does next: (client, step).
    Workload,
    /// A client's own seed: (client, incarnation).
    ClientSeed,
    /// What a workload's records look like: (client, record).
    Payload,
    /// A fresh run seed: (branch or attempt, occurrence).
    RunSeed,
}

/// One draw: 64 bits that are turned into what is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Draw(u64);

impl Draws {
    /// The streams of `run_seed`.
    #[must_use]
    pub const fn new(run_seed: u64) -> Self {
        Self { run_seed }
    }

    /// The seed these streams come from.
    #[must_use]
    pub const fn run_seed(self) -> u64 {
        self.run_seed
    }

    /// The draw for `identity`'s `occurrence`-th choice of kind `label`.
    #[must_use]
    pub const fn at(self, label: Label, identity: u64, occurrence: u64) -> Draw {
        let hash = mix(self.run_seed ^ 0x6f74_746c_612d_7369);
        let hash = mix(hash ^ (label as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let hash = mix(hash ^ identity.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Draw(mix(hash ^ occurrence.wrapping_add(0x2545_f491_4f6c_dd1d)))
    }

    /// The same, for something that has a name.
    #[must_use]
    pub fn named(self, label: Label, name: &str, occurrence: u64) -> Draw {
        self.at(label, name_hash(name), occurrence)
    }
}

impl Draw {
    /// All 64 bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Another draw of the same identity and occurrence.
    #[must_use]
    pub const fn and(self, salt: u64) -> Self {
        Self(mix(self.0 ^ salt.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// True with probability `p`.
    #[must_use]
    pub fn chance(self, p: f64) -> bool {
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64 <= p && p > 0.0
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    #[must_use]
    pub fn below(self, bound: u64) -> u64 {
        let wide = u128::from(self.0) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of a 128-bit product is 64 bits")
    }

    /// The same for an index.
    #[must_use]
    pub fn index(self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// A number in `low..=high`, uniformly.
    #[must_use]
    pub fn between(self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A number in `low..=high` whose logarithm is uniform; `low` counts as 1 at least.
    #[must_use]
    pub fn log_between(self, low: u64, high: u64) -> u64 {
        let low = low.max(1);
        let high = high.max(low);
        exp2_fixed(self.between(log2_fixed(low), log2_fixed(high))).clamp(low, high)
    }

    /// Exponentially distributed with this mean.
    #[must_use]
    pub fn exponential(self, mean: Nanos) -> Nanos {
        let halvings = u64::from(self.0.leading_zeros());
        let within = u64::from(u16::try_from(self.0 & 0xffff).expect("16 bits"));
        let halvings_fixed = (halvings << 16) + within;
        let wide = u128::from(mean) * u128::from(halvings_fixed) * 693 / 1000;
        u64::try_from(wide >> 16).unwrap_or(u64::MAX)
    }
}

/// A hash of a name that stays the same for ever (FNV-1a, then mixed).
#[must_use]
pub fn name_hash(name: &str) -> u64 {
    let fnv = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(fnv)
}

/// The finaliser of SplitMix64.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// log2 in 1/65536ths, a straight line between powers of two.
fn log2_fixed(value: u64) -> u64 {
    let whole = u64::from(value.ilog2());
    let rest = u128::from(value) - (1_u128 << whole);
    (whole << 16) + u64::try_from((rest << 16) >> whole).expect("less than one octave")
}

/// The inverse of [`log2_fixed`].
fn exp2_fixed(log: u64) -> u64 {
    let (whole, part) = (log >> 16, u128::from(log & 0xffff));
    let value = (1_u128 << whole) + ((part << whole) >> 16);
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(draw: impl Fn(Draw) -> u64) -> u64 {
        let draws = Draws::new(7);
        let total: u64 = (0..10_000).map(|n| draw(draws.at(Label::Event, 1, n))).sum();
        total / 10_000
    }

    #[test]
    fn each_part_of_the_identity_matters() {
        let base = Draws::new(1).at(Label::Event, 2, 3).bits();
        assert_ne!(base, Draws::new(2).at(Label::Event, 2, 3).bits());
        assert_ne!(base, Draws::new(1).at(Label::Rot, 2, 3).bits());
        assert_ne!(base, Draws::new(1).at(Label::Event, 3, 3).bits());
        assert_ne!(base, Draws::new(1).at(Label::Event, 2, 4).bits());
        assert_eq!(base, Draws::new(1).at(Label::Event, 2, 3).bits());
    }

    #[test]
    fn means_are_what_they_say() {
        assert!((4_900..5_100).contains(&mean_of(|draw| draw.between(0, 10_000))));
        assert!((9_500..10_700).contains(&mean_of(|draw| draw.exponential(10_000))));
        let heads = mean_of(|draw| u64::from(draw.chance(0.25)) * 1000);
        assert!((235..265).contains(&heads), "{heads}");
    }

    #[test]
    fn a_logarithmic_draw_gives_each_decade_its_share() {
        let small = mean_of(|draw| u64::from(draw.log_between(10, 100_000) < 1_000) * 1000);
        assert!((470..530).contains(&small), "{small}");
        let draws = Draws::new(3);
        assert!((0..1000).all(|n| (10..=100).contains(&draws.at(Label::Event, 0, n).log_between(10, 100))));
    }

    #[test]
    fn certain_and_impossible_are_exact() {
        let draws = Draws::new(3);
        assert!((0..1000).all(|n| draws.at(Label::Event, 0, n).chance(1.0)));
        assert!(!(0..1000).any(|n| draws.at(Label::Event, 0, n).chance(0.0)));
    }
}
