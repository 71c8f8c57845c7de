//! Kafka's wire format: frames, primitives, the `message!` macro and one module an API.
//!
//! This crate knows nothing of Ottla: its [`Uuid`], [`ErrorCode`] and [`ApiKey`] are everyone's. In reading order:
//!
//! * `primitives`, `writer`: [`Reader`], [`Writer`], [`Wire`], [`DecodeError`] and the [`Limits`] of decoding;
//! * `message`: the macro that declares a message, and the [`Message`] trait;
//! * [`frame`]: the length prefix and the headers of requests and responses;
//! * [`api`]: the requests and responses, one module an API; Produce and Fetch have walks that allocate nothing;
//! * [`metadata`], [`group`], [`control`]: the records of `__cluster_metadata` and of `__consumer_offsets`, and the
//!   control records of any log;
//! * [`consumer_protocol`]: what consumers of a classic group tell each other.
//!
//! Everything decodes to values that borrow from the input, and nothing panics on it. Absent on purpose: record
//! batches (they are bytes here), connections, and which versions a broker offers.

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod hostile;
mod message;
#[cfg(test)]
mod oracle;
mod primitives;
mod records;
#[cfg(test)]
mod tests;
mod uuid;
mod writer;

pub mod api;
mod api_key;
pub mod consumer_protocol;
pub mod control;
mod error_code;
pub mod frame;
pub mod group;
pub mod metadata;

pub use api_key::ApiKey;
pub use error_code::ErrorCode;
pub use message::Message;
pub use primitives::{DecodeError, Limits, Reader, Result, Version, Wire};
pub use records::Records;
pub use uuid::{ParseUuidError, Uuid};
pub use writer::{Split, Writer};
