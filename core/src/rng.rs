//! The machine's only source of chance: a stream drawn from the seed it was made with.
//!
//! xoshiro256++ of the `rand_xoshiro` crate, whose output is specified and so stays the same across
//! versions and machines. Not for secrets.

use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A reproducible stream of numbers.
#[derive(Clone, Debug)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`, without bias worth the name (2^-64 of `bound`). 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of a 128-bit product is 64 bits")
    }

    /// A random (version 4) UUID.
    pub fn uuid(&mut self) -> ottla_wire::Uuid {
        let bits = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
        let version_4 = bits & !(0xf << 76) | 4 << 76;
        ottla_wire::Uuid(version_4 & !(0b11 << 62) | 0b10 << 62)
    }
}
