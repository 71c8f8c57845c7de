//! The client against brokers, in virtual time: connections break, brokers fail, leaders move, and what the
//! client says of each record is compared with what is in the logs.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks at what it asks for")]
#![allow(clippy::cast_possible_truncation, clippy::print_stderr, reason = "a test's numbers are small")]

#[path = "../log/disk.rs"]
#[allow(dead_code, dropping_copy_types, reason = "the tests of the logs use more of it")]
mod disk;
mod group;
mod model;
mod model_fetch;
mod model_group;
mod nearest;
mod node;
mod produce;
mod read;
mod real;
mod refusals;
mod world;
