//! Unmodified clients and tools against a broker: what is run, and what it must give.
//!
//! A client is a script with the contract of `interop/README.md`; a case is a function of a [`bench::Bench`] and a
//! client. A case is proved against Apache Kafka before it judges Ottla, so a failure of Ottla counts only if Kafka
//! passes.

pub mod bench;
pub mod cases;
pub mod client;
mod cluster;
mod compaction;
pub mod groups;
pub mod judge;
pub mod matrix;
pub mod report;
pub mod tools;
