//! Clients that write.

use serde::Deserialize;

use crate::scenario::Span;
use crate::time::MILLISECOND;

/// `produce = { topic = "t", clients = 3, every = "5ms" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Produce {
    /// To all partitions of this topic.
    pub topic: String,
    /// How many.
    pub clients: u16,
    /// The mean time between two batches of one client.
    pub every: Span,
    /// -1, 0 or 1.
    pub acks: i16,
    /// Whether a record is written once whatever is retried.
    pub idempotent: bool,
    /// none, gzip, snappy, lz4 or zstd.
    pub codec: String,
    /// The most records in one batch.
    pub records: u32,
    /// The most bytes in one value.
    pub value_bytes: u32,
    /// The most batches of one client that are not answered.
    pub in_flight: u32,
    /// How long a client waits for an answer.
    pub timeout: Span,
    /// Whether load comes in phases: idle, trickle, burst, one hot partition.
    pub phases: bool,
}

impl Default for Produce {
    fn default() -> Self {
        Self {
            topic: "t".into(),
            clients: 1,
            every: Span(20 * MILLISECOND),
            acks: -1,
            idempotent: true,
            codec: "none".into(),
            records: 5,
            value_bytes: 100,
            in_flight: 5,
            timeout: Span(2_000 * MILLISECOND),
            phases: true,
        }
    }
}
