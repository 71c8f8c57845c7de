//! Ottla's brain: one deterministic state machine, driven alike by the node and by the simulator.
//!
//! Pure: no clock, thread, file, socket, ambient randomness or printing. What is needed from outside comes
//! in as an [`machine::Input`] and goes out as an [`machine::Effect`].
//!
//! Modules in reading order; each depends only on those above it (a test checks it):
//!
//! * [`types`], [`clock`], [`rng`], [`planted`], [`config`]: the words everything else is written in
