//! One member of a classic group.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::coordinator::answer::{DescribedMember, JoinedMember};
use crate::coordinator::image::MemberMetadata;
use crate::coordinator::request::{JoinRequest, Protocol};
use crate::machine::Ticket;

/// Who it is, what it speaks, what it has, and what it waits for.
#[derive(Clone, Debug)]
pub(in crate::coordinator) struct Member {
    pub id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// What it can speak and what it says in it, best first.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    /// Empty until the generation has one.
    pub assignment: Bytes,
    /// Whether it has never been in a generation.
    pub is_new: bool,
    /// Whether it has still to ask for this generation's assignment.
    pub must_sync: bool,
    pub parked: Option<Parked>,
}

/// What a member waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::coordinator) enum Parked {
    /// The next generation.
    Join(Ticket),
    /// Its assignment.
    Sync(Ticket),
}

impl Member {
    /// A new member.
    pub fn new(id: Arc<str>, request: &JoinRequest<'_>) -> Self {
        Self {
            id,
            instance_id: request.instance_id.map(Into::into),
            client_id: request.client_id.into(),
            client_host: request.client_host.into(),
            rebalance_timeout_ms: request.rebalance_timeout_ms.max(0),
            session_timeout_ms: request.session_timeout_ms,
            protocols: owned(&request.protocols),
            assignment: Bytes::new(),
            is_new: true,
            must_sync: false,
            parked: None,
        }
    }

    /// A member as the log has it: of what it could speak, the log has what was chosen.
    pub fn load(member: &MemberMetadata, protocol: Arc<str>) -> Self {
        Self {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms.max(0),
            session_timeout_ms: member.session_timeout_ms.max(0),
            protocols: vec![(protocol, member.subscription.clone())],
            assignment: member.assignment.clone(),
            is_new: false,
            must_sync: false,
            parked: None,
        }
    }

    /// What it says now.
    pub fn update(&mut self, request: &JoinRequest<'_>) {
        self.protocols = owned(&request.protocols);
        self.rebalance_timeout_ms = request.rebalance_timeout_ms.max(0);
        self.session_timeout_ms = request.session_timeout_ms;
    }

    pub fn session_timeout(&self) -> Duration {
        millis(self.session_timeout_ms)
    }

    /// Whether its silence is no sign of death.
    pub const fn is_waiting(&self) -> bool {
        !self.is_new && self.parked.is_some()
    }

    pub const fn has_joined(&self) -> bool {
        matches!(self.parked, Some(Parked::Join(_)))
    }

    /// Whether it has nothing new to say.
    pub fn says(&self, protocols: &[Protocol<'_>]) -> bool {
        let same = |((name, metadata), new): (&(Arc<str>, Bytes), &Protocol<'_>)| {
            **name == *new.name && **metadata == *new.metadata
        };
        self.protocols.len() == protocols.len() && self.protocols.iter().zip(protocols).all(same)
    }

    /// What it says in a protocol.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| **name == *protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// What the leader is told.
    pub fn joined(&self, protocol: &str) -> JoinedMember {
        JoinedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// Without a protocol: not what it says and has, which are of no generation yet.
    pub fn describe(&self, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: protocol.map(|protocol| self.metadata(protocol)).unwrap_or_default(),
            assignment: protocol.map(|_| self.assignment.clone()).unwrap_or_default(),
        }
    }

    /// What the log is to say.
    pub fn record(&self, protocol: &str, assignment: Bytes) -> MemberMetadata {
        MemberMetadata {
            id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment,
        }
    }
}

/// A timeout of the protocol; below zero it is none.
fn millis(timeout_ms: i32) -> Duration {
    Duration::from_millis(timeout_ms.try_into().unwrap_or(0))
}

fn owned(protocols: &[Protocol<'_>]) -> Vec<(Arc<str>, Bytes)> {
    protocols.iter().map(|protocol| (protocol.name.into(), Bytes::copy_from_slice(protocol.metadata))).collect()
}
