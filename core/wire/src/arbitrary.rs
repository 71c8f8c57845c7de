//! Arbitrary messages for tests, built from a run of random bytes, so that proptest shrinks them.

use crate::primitives::Version;
use crate::{ErrorCode, Message, Records, Uuid};

/// The bytes that choices are made from; when they run out every choice is the least.
pub(crate) struct Entropy<'e> {
    bytes: &'e [u8],
}

impl<'e> Entropy<'e> {
    pub(crate) fn new(bytes: &'e [u8]) -> Self {
        Self { bytes }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        })
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(u16::from_be_bytes(self.array())) % bound
    }

    /// Mostly short, at times beyond what a varint of one byte holds.
    fn length(&mut self, max: usize) -> usize {
        if self.below(16) == 15 { self.below(max + 1) } else { self.below(6) }
    }
}

/// A value that is arbitrary in the fields that the version has, and the default elsewhere.
pub(crate) trait Arbitrary {
    fn arbitrary(g: &mut Entropy, v: Version, nullable: bool) -> Self;
}

/// An arbitrary message that has this version.
pub(crate) fn message<M: Message<'static> + Arbitrary>(version: i16, g: &mut Entropy) -> M {
    M::arbitrary(g, Version { number: version, flexible: M::flexible(version) }, false)
}

macro_rules! numbers {
    ($($ty:ty)*) => { $(impl Arbitrary for $ty {
        fn arbitrary(g: &mut Entropy, _: Version, _: bool) -> Self {
            match g.below(4) {
                0 => <$ty>::default(),
                1 => <$ty>::MAX,
                2 => <$ty>::MIN,
                _ => Self::from_be_bytes(g.array()),
            }
        }
    })* };
}

numbers! { i8 i16 u16 i32 u32 i64 u128 }

impl Arbitrary for f64 {
    fn arbitrary(g: &mut Entropy, v: Version, n: bool) -> Self {
        f64::from(i32::arbitrary(g, v, n)) / 64.0
    }
}

impl Arbitrary for bool {
    fn arbitrary(g: &mut Entropy, _: Version, _: bool) -> Self {
        g.below(2) == 1
    }
}

impl Arbitrary for Uuid {
    fn arbitrary(g: &mut Entropy, v: Version, n: bool) -> Self {
        Self(u128::arbitrary(g, v, n))
    }
}

impl Arbitrary for ErrorCode {
    fn arbitrary(g: &mut Entropy, v: Version, n: bool) -> Self {
        Self(i16::arbitrary(g, v, n))
    }
}

const TEXT: &str = "Ottla, Schwester, 妹, été, 🐀; the rest of this text is long enough for a length that takes two \
                    bytes of a varint: one hundred and twenty-eight bytes and some more, so that it is seen. ";

impl Arbitrary for &str {
    fn arbitrary(g: &mut Entropy, _: Version, _: bool) -> Self {
        &TEXT[..TEXT.floor_char_boundary(g.length(TEXT.len()))]
    }
}

impl Arbitrary for &[u8] {
    fn arbitrary(g: &mut Entropy, _: Version, _: bool) -> Self {
        &TEXT.as_bytes()[..g.length(TEXT.len())]
    }
}

impl Arbitrary for Records<'_> {
    fn arbitrary(g: &mut Entropy, v: Version, n: bool) -> Self {
        Self::Slice(Arbitrary::arbitrary(g, v, n))
    }
}

impl<T: Arbitrary> Arbitrary for Vec<T> {
    fn arbitrary(g: &mut Entropy, v: Version, _: bool) -> Self {
        (0..g.length(40)).map(|_| T::arbitrary(g, v, true)).collect()
    }
}

impl<T: Arbitrary> Arbitrary for Option<T> {
    fn arbitrary(g: &mut Entropy, v: Version, nullable: bool) -> Self {
        (!nullable || g.below(3) > 0).then(|| T::arbitrary(g, v, true))
    }
}
