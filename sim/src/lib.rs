//! The deterministic simulator: one broker, several clients, and everything that can go wrong between them.
//!
//! The machine under test is the one the node runs. Modules in reading order:
//!
//! * [`time`] and [`draw`]: the words; chance is a function of a label and an identity, never a stream
//! * [`disk`], [`network`], [`clock`]: what a crash leaves, and what breaks without one
//! * [`history`], [`groups`], [`logs`], [`stored`], [`group_log`] and [`invariants`]: what clients saw, what was
//!   written, and what must hold
//! * [`client`], [`frames`] and [`known`]: core's own client, and others that trust nobody; [`cross`]: who reads their
//!   frames, too; [`judge`]: who watches them
//! * [`scenario`], with [`workload`] and [`faults`]: a run is a file and a seed

#[cfg(not(madsim))]
compile_error!(
    "ottla-sim needs `--cfg madsim`, which .cargo/config.toml sets for the workspace. RUSTFLAGS (or \
     CARGO_ENCODED_RUSTFLAGS, or --config build.rustflags) in the environment replaced those flags: unset it, \
     or add `--cfg madsim` to it."
);

pub mod canary;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cross;
pub mod deletions;
pub mod disk;
pub mod dose;
pub mod draw;
pub mod faults;
pub mod frames;
pub mod group_log;
pub mod groups;
pub mod history;
pub mod invariants;
pub mod judge;
pub mod known;
pub mod logs;
pub mod metadata;
pub mod network;
mod panics;
pub mod run;
pub mod scenario;
pub mod stored;
pub mod time;
pub mod trace;
pub mod workload;
pub mod world;

use madsim as _;
