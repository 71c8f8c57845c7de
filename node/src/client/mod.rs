//! A Kafka client for Rust programs: [`Producer`], [`Consumer`] and [`Admin`], on tokio. It speaks to Ottla and to
//! Apache Kafka alike. Whole programs stand in `node/examples`.
//!
//! ```no_run
//! # async fn example() -> Result<(), ottla::client::Error> {
//! use ottla::client::{Producer, ProduceRecord, config};
//!
//! let producer = Producer::new(&config("127.0.0.1:9092"))?;
//! let record = ProduceRecord { topic: "greetings".into(), value: Some("hello".into()), ..Default::default() };
//! let written = producer.send(record).await?;
//! println!("{} at {:?}", written.partition, written.offset);
//! # Ok(())
//! # }
//! ```
//!
//! All decisions (batches, retries, idempotence, fetch sessions) are made by [`ottla_core::client`], the machine that
//! the simulator drives too. Here is what it leaves to its driver: sockets, names, time, framing, and waiting for room.
//!
//! * `driver`: one task a client, in which the machine and its connections live; `socket`: framing
//! * `unsent`: when a record that nobody acknowledges has its fate
//! * `jobs`: what a handle asks of the driver, and who waits for which answer
//! * `settings`: the configuration by Kafka's names
//!
//! Invariants: a handle never waits without a bound of the configuration; a future that is dropped loses nothing but
//! its answer; a client ends when its last handle is dropped.

mod admin;
mod consumer;
mod driver;
mod error;
mod jobs;
mod producer;
pub mod settings;
mod socket;
mod unsent;

pub use admin::{Admin, NewTopic};
pub use consumer::Consumer;
pub use error::{ConsumeError, Error};
pub use producer::{Delivered, Deliveries, Delivery, Producer, Report};

pub use ottla_core::client::assignor::Strategy;
pub use ottla_core::client::{
    Acks, AdminReply, AdminRequest, AutoOffsetReset, BrokerDescription, ClientConfig, ClientError, ClusterDescription,
    CommittedOffset, CompactionDescription, ConfigEntry, ConfigSource, FetchedRecord, GroupConfig, GroupDescription,
    GroupMember, IsolationLevel, ListedGroup, LogDescription, PartitionDescription, PolledRecords, ProduceRecord,
    QuorumDescription, QuorumMember, ReadError, Resource, Start, TopicDescription,
};
pub use ottla_core::record::{Codec, Compression};
pub use ottla_core::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};
pub use ottla_wire::{ErrorCode, Uuid};

/// Kafka's defaults, with the servers to begin with: `host:port`, several separated by commas.
#[must_use]
pub fn config(bootstrap_servers: &str) -> ClientConfig {
    let servers = bootstrap_servers.split(',').map(str::trim).filter(|server| !server.is_empty());
    ClientConfig { bootstrap_servers: servers.map(Into::into).collect(), ..ClientConfig::default() }
}
