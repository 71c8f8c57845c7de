//! `make bench`: Ottla beside Apache Kafka, and both beside the ceiling, which is the same client against a broker that
//! throws the data away.
//!
//! Rates move by a factor of two from run to run on a shared machine, so nothing is compared but runs that stood next
//! to each other: the subjects of a line take turns, there and back, and a ratio is the median over the turns. What
//! a broker costs is its CPU time a gigabyte, which a client that eats the machine cannot hide. Nothing fails here for
//! a figure; a line that cannot be run says why.

pub mod admin;
#[cfg(feature = "load")]
mod clustered;
pub mod connections;
pub mod end_to_end;
pub mod fleet;
#[cfg(feature = "load")]
pub mod librdkafka;
#[cfg(feature = "load")]
pub mod lines;
pub mod machine;
pub mod payload;
pub mod raw;
pub mod report;
pub mod sample;
pub mod sink;
pub mod usage;
#[cfg(feature = "load")]
pub mod work;
