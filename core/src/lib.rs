//! Ottla's brain: one deterministic state machine, driven alike by the node and by the simulator.
//!
//! Pure: no clock, thread, file, socket, ambient randomness or printing. What is needed from outside comes
//! in as a [`machine::Input`] and goes out as a [`machine::Effect`].
//!
//! Modules in reading order; each depends only on those above it (a test checks it), but for the plain
//! data of the boundary ([`machine`], [`ingress`], [`job`]) that everyone may name:
//!
//! * [`types`], [`clock`], [`rng`], [`planted`], [`config`]: the words that everything else is written in; [`racks`],
//!   [`pattern`]: what members and coordinators share
//! * `record`: record batches; `storage`: file operations and their durability; `log`: Kafka's log
//! * `raft` and `controller`: the metadata log and the image it describes
//! * [`coordinator`]: groups and their committed offsets
//! * `broker`: partitions, waiting requests, fetch sessions; `api`: one file an API key
//! * [`rpc`]: outgoing calls; [`client`]: a Kafka client on them, apart from the broker
//! * [`machine`]: the boundary, connections and dispatch

pub mod api;
pub mod broker;
pub mod client;
pub mod clock;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod ingress;
pub mod job;
pub mod log;
pub mod machine;
pub mod pattern;
pub mod planted;
pub mod racks;
pub mod raft;
pub mod record;
pub mod replication;
pub mod rng;
pub mod rpc;
pub mod storage;
pub mod types;
