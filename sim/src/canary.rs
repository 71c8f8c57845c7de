//! Canaries: what a deterministic machine must not do, done on purpose. Each must be reported by
//! `check-determinism`, or that check proves nothing.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;

/// A source of difference from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Canary {
    /// The order of a hash map's keys.
    MapOrder,
    /// Where something lies in memory.
    Address,
    /// The real clock, past what madsim interposes.
    RealTime,
    /// What the process has done before.
    ProcessAge,
}

static RUNS: AtomicU64 = AtomicU64::new(0);

/// A run begins.
pub fn run_begins() {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

impl Canary {
    /// Every canary.
    pub const ALL: [Self; 4] = [Self::MapOrder, Self::Address, Self::RealTime, Self::ProcessAge];

    /// A number that should always be the same, and is not.
    #[must_use]
    #[expect(clippy::iter_over_hash_type, reason = "that is the point")]
    pub fn sing(self) -> u64 {
        match self {
            Self::MapOrder => {
                let map: HashMap<u64, ()> = (0..64).map(|key| (key, ())).collect();
                let mut order = 0_u64;
                for key in map.keys() {
                    order = order.wrapping_mul(67).wrapping_add(*key);
                }
                order
            }
            Self::Address => {
                let boxed = Box::new(0_u8);
                let address = std::ptr::from_ref(&*boxed).addr();
                u64::try_from(address).unwrap_or(u64::MAX)
            }
            // A file of the kernel's: no call for the time that could be interposed.
            Self::RealTime => {
                let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
                text.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)))
            }
            Self::ProcessAge => RUNS.load(Ordering::Relaxed),
        }
    }
}
