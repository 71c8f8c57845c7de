//! Which offset is the last of each key, in bounded memory.
//!
//! A table with open addressing: for each key the 128-bit SipHash of it, which is taken for the key itself, and the
//! last offset. The hash is keyed with a secret of the process, so nobody can send two keys that are taken for one. The
//! table begins small and doubles; while it does the old one and the new one are both within the bound.
//! No more keys fit when that would pass the bound: the pass goes up to there, and the next pass on from there.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::planted::{Plant, Planted};
use crate::types::Offset;

/// The least number of slots.
const FIRST_SLOTS: usize = 1 << 10;
/// At most so many of eight slots are taken: beyond that a search takes long.
const LOAD_OF_EIGHT: usize = 6;

/// Keys with their last offsets.
#[derive(Clone)]
pub(crate) struct OffsetMap {
    hasher: SipHasher13,
    /// Always a power of two of them.
    slots: Vec<Slot>,
    keys: usize,
    max_slots: usize,
    planted: Planted,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: [u64; 2],
    /// -1: the slot is free.
    offset: i64,
}

const FREE: Slot = Slot { hash: [0; 2], offset: -1 };

impl OffsetMap {
    /// An empty one that takes at most `max_bytes`, but has room for some keys however few that are.
    pub(crate) fn new(max_bytes: u64, secret: u128, planted: Planted) -> Self {
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX) / size_of::<Slot>();
        // The largest power of two that fits, with the half from which it grows.
        let max_slots = (most / 3 * 2 + 1).next_power_of_two() / 2;
        Self {
            hasher: SipHasher13::new_with_key(&secret.to_le_bytes()),
            slots: Vec::new(),
            keys: 0,
            max_slots: max_slots.max(16),
            planted,
        }
    }

    /// Notes that a key has a record at an offset, which is above all noted before. `false`: there is no room for it.
    #[must_use]
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        if self.slots.is_empty() {
            self.slots = vec![FREE; FIRST_SLOTS.min(self.max_slots)];
        }
        let hash = self.hash(key);
        let mut at = find(&self.slots, hash);
        if self.slots[at].offset < 0 {
            if (self.keys + 1) * 8 > self.slots.len() * LOAD_OF_EIGHT {
                if self.slots.len() >= self.max_slots {
                    return false;
                }
                self.grow();
                at = find(&self.slots, hash);
            }
            self.keys += 1;
        }
        self.slots[at] = Slot { hash, offset: offset.0 };
        true
    }

    /// The last offset of a key, if it was noted.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = self.slots[find(&self.slots, self.hash(key))];
        (slot.offset >= 0).then_some(Offset(slot.offset))
    }

    /// How many keys were noted.
    pub(crate) fn len(&self) -> usize {
        self.keys
    }

    /// How much memory they take.
    pub(crate) fn bytes(&self) -> u64 {
        (self.slots.len() * size_of::<Slot>()) as u64
    }

    /// How many keys have room at the most.
    pub(crate) fn most_keys(&self) -> usize {
        self.max_slots * LOAD_OF_EIGHT / 8
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let mut hasher = self.hasher;
        hasher.write(key);
        let hash = hasher.finish128();
        if self.planted.has(Plant::Cmp21) { [hash.h1 & 0x3ff, 0] } else { [hash.h1, hash.h2] }
    }

    fn grow(&mut self) {
        let mut slots = vec![FREE; self.slots.len() * 2];
        for slot in self.slots.iter().filter(|slot| slot.offset >= 0) {
            let at = find(&slots, slot.hash);
            slots[at] = *slot;
        }
        self.slots = slots;
    }
}

/// Where a key is, or where it would be. There is always a free slot.
fn find(slots: &[Slot], hash: [u64; 2]) -> usize {
    let mask = slots.len() - 1;
    let mut at = usize::try_from(hash[0] & mask as u64).unwrap_or(0);
    while slots[at].offset >= 0 && slots[at].hash != hash {
        at = (at + 1) & mask;
    }
    at
}

/// Not its millions of slots.
impl std::fmt::Debug for OffsetMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OffsetMap").field("keys", &self.keys).field("slots", &self.slots.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_each_key_is_found() {
        let mut map = OffsetMap::new(1 << 20, 7, Planted::default());
        for offset in 0..30_000_i64 {
            let key = (offset % 5000).to_be_bytes();
            assert!(map.put(&key, Offset(offset)));
        }
        assert_eq!(map.len(), 5000);
        for key in 0..5000_i64 {
            assert_eq!(map.get(&key.to_be_bytes()), Some(Offset(25_000 + key)));
        }
        assert_eq!(map.get(b"another"), None);
    }

    #[test]
    fn it_keeps_within_its_bytes_and_says_when_it_is_full() {
        for max_bytes in [0, 1000, 100_000, 1 << 20] {
            let mut map = OffsetMap::new(max_bytes, 7, Planted::default());
            let fitted = (0_i64..).find(|key| !map.put(&key.to_be_bytes(), Offset(*key))).unwrap();
            assert_eq!(usize::try_from(fitted).unwrap(), map.most_keys());
            assert!(fitted >= 12 && map.bytes() * 3 / 2 <= max_bytes.max(1000), "{max_bytes}: {fitted}");
            // What is in it has its place still.
            assert!(map.put(&0_i64.to_be_bytes(), Offset(1000)));
            assert_eq!(map.get(&0_i64.to_be_bytes()), Some(Offset(1000)));
        }
    }
}
