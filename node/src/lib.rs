//! The production node: the tokio driver of `ottla_core` and the `ottla` command.

pub mod disk;
pub mod driver;
mod net;
