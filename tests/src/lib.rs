//! The workshop behind `make interop`, `make crash-test` and `make durability`: real brokers as child processes, real
//! clients as scripts, and what is needed to judge them.
//!
//! Nothing here knows how Ottla works inside; everything is seen from the outside, as a user's client or `strace`
//! sees it. (The effect scripts are the exception: they speak the language of the boundary.)

pub mod broker;
pub mod crash;
pub mod durability;
pub mod effect_scripts;
pub mod install;
pub mod interop;
pub mod probe;
pub mod process;
pub mod records;
