//! The production node: the tokio driver of `ottla_core` and the `ottla` command.

pub mod cli;
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
