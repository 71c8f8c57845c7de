//! Fetching from the nearest replica (KIP-392): whom a leader sends a consumer to.
//!
//! With `replica.selector.class` Kafka's `RackAwareReplicaSelector`, a consumer that names its rack is sent to a
//! replica there: to the leader, if it is there, else to the follower in sync that has the most of the log. The leader
//! then answers with that replica's id, at once and without records. Any consumer of Fetch 11 and above may read from
//! any follower, whoever sent it there.

use super::Broker;
use crate::config::ReplicaSelector;
use crate::log::LogId;
use crate::machine::ListenerId;
use crate::types::{BrokerId, Offset};

/// What a consumer says of itself in Fetch 11 and above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMetadata {
    /// `client.rack`; empty if it has none.
    pub rack: Box<str>,
    /// Where it came to: it can be sent to who listens there, too.
    pub listener: ListenerId,
}

impl Broker {
    /// The follower of a log led here that a consumer is sent to, to read from `offset` on. `None`: nobody is nearer.
    pub(super) fn nearest_replica(&self, log: LogId, client: &ClientMetadata, offset: Offset) -> Option<BrokerId> {
        if !self.selects_by_rack() || client.rack.is_empty() {
            return None;
        }
        let image = self.image();
        let is_near = |id| image.broker(id).is_some_and(|broker| broker.rack.as_deref() == Some(&*client.rack));
        if is_near(self.node()) {
            return None;
        }
        let can_be_told = |id| self.endpoints(client.listener).any(|address| address.id == id);
        let may = |id| is_near(id) && image.is_active(id) && can_be_told(id);
        self.replicas.get(log)?.leader()?.most_caught_up(offset, may)
    }

    /// Whether consumers are sent to followers, which then are to know the high watermark soon.
    pub(super) fn selects_by_rack(&self) -> bool {
        self.config.broker.replication.replica_selector == ReplicaSelector::RackAware
    }
}
