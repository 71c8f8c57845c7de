//! The client that makes the topics which a run begins with.

use std::collections::BTreeMap;

use ottla_wire::api::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::{ApiKey, DecodeError, ErrorCode, Message, Reader};

use crate::client::Ctx;
use crate::client::ask::Ask;
use crate::time::{MILLISECOND, Nanos};

/// Asks until every topic is there.
#[derive(Clone, Debug)]
pub struct SetupActor {
    missing: BTreeMap<String, i32>,
    replicas: i16,
    wait_until: Nanos,
    /// Whether the node that was asked does not lead the quorum.
    elsewhere: bool,
}

impl SetupActor {
    /// Makes these topics, with so many partitions, each of so many replicas.
    #[must_use]
    pub const fn new(topics: BTreeMap<String, i32>, replicas: i16) -> Self {
        Self { missing: topics, replicas, wait_until: 0, elsewhere: false }
    }

    pub(super) fn next_wake(&self, in_flight: usize) -> Nanos {
        if in_flight > 0 || self.is_done() { u64::MAX } else { self.wait_until }
    }

    pub(super) fn is_done(&self) -> bool {
        self.missing.is_empty()
    }

    pub(super) const fn hangs_up(&mut self) -> bool {
        std::mem::replace(&mut self.elsewhere, false)
    }

    pub(super) fn next_ask(&mut self, ctx: &mut Ctx<'_>, in_flight: usize) -> Option<Ask> {
        if in_flight > 0 || self.is_done() || ctx.now < self.wait_until {
            return None;
        }
        self.wait_until = ctx.now + 100 * MILLISECOND;
        let topics = self.missing.iter().map(|(name, partitions)| CreatableTopic {
            name,
            num_partitions: *partitions,
            replication_factor: self.replicas,
            ..CreatableTopic::default()
        });
        let request = CreateTopicsRequest { topics: topics.collect(), ..CreateTopicsRequest::default() };
        Some(Ask::new(ApiKey::CreateTopics, 5, 0, &request))
    }

    pub(super) fn on_answer(&mut self, _: &mut Ctx<'_>, ask: &Ask, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        let answer = CreateTopicsResponse::decode(body, ask.api_version)?;
        for topic in &answer.topics {
            if topic.error_code == ErrorCode::NONE || topic.error_code == ErrorCode::TOPIC_ALREADY_EXISTS {
                self.missing.remove(topic.name);
            }
            self.elsewhere |= topic.error_code == ErrorCode::NOT_CONTROLLER;
        }
        Ok(())
    }
}
