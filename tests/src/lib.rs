//! The workshop behind `make interop`, `make crash-test`, `make durability` and `make bench`: real brokers as child
//! processes, real clients, and what is needed to judge them.
//!
//! Nothing here knows how Ottla works inside; everything is seen from the outside, as a user's client or `strace`
//! sees it. (The effect scripts are the exception: they speak the language of the boundary.)

pub mod bench;
pub mod broker;
pub mod cluster;
pub mod crash;
pub mod dev;
pub mod durability;
pub mod effect_scripts;
pub mod frames;
pub mod install;
pub mod interop;
pub mod probe;
pub mod process;
pub mod records;
