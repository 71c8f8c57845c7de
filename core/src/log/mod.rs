//! Kafka's log: segments of record batches with their indexes and what is derived from them.

mod api;
mod manager;

pub use api::*;
pub use manager::LogManager;
