//! Workloads, one a file: what a scenario says of each, and the clients that carry it out.

mod admin;
mod produce;
mod raw;
mod read;

pub use admin::Admin;
pub use produce::Produce;
pub use raw::Raw;
pub use read::Read;
