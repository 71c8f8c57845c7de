//! The production node: the tokio driver of `ottla_core` and the `ottla` command; and a client for Rust programs.

pub mod cli;
pub mod client;
pub mod config;
pub mod disk;
pub mod driver;
pub mod http;
pub mod logging;
mod machinery;
pub mod metrics;
mod net;
pub mod service;
pub mod signals;

// A broker that people rely on never carries a planted bug, switched on or not.
const _: () = assert!(
    !ottla_core::planted::COMPILED_IN,
    "the node does not run with planted bugs: build it without the feature `planted-bugs` (only `make planted` sets it)"
);
