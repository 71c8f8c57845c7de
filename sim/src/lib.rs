//! The deterministic simulator: one broker, several clients, and everything that can go wrong between them.
//!
//! The machine under test is the one the node runs. Modules in reading order:
//!
//! * [`time`] and [`draw`]: the words; chance is a function of a label and an identity, never a stream
//! * [`disk`], [`network`], [`clock`]: what a crash leaves, and what breaks without one
//! * [`history`], [`logs`] and [`invariants`]: what clients saw, what was written, and what must hold
//! * [`scenario`], with [`workload`] and [`faults`]: a run is a file and a seed

#[cfg(not(madsim))]
compile_error!(
    "ottla-sim needs `--cfg madsim`, which .cargo/config.toml sets for the workspace. RUSTFLAGS (or \
     CARGO_ENCODED_RUSTFLAGS, or --config build.rustflags) in the environment replaced those flags: unset it, \
     or add `--cfg madsim` to it."
);

pub mod clock;
pub mod disk;
pub mod draw;
pub mod faults;
pub mod history;
pub mod invariants;
pub mod logs;
pub mod network;
pub mod scenario;
pub mod time;
pub mod workload;

use madsim as _;
