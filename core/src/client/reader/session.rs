//! A fetch session with one broker (KIP-227): after the first full request only what changed is named.
//!
//! The client's side is small: it remembers what the broker was told last, and begins anew when the broker has
//! lost the session or an answer was lost on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::api::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use ottla_wire::{ErrorCode, Uuid};

use crate::rpc::CallId;
use crate::types::TopicPartition;

use super::Rules;

#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// 0: none.
    id: i32,
    /// 0: the next request makes a session, and ends the one with the id.
    epoch: i32,
    /// What the broker knows of.
    told: BTreeMap<TopicPartition, Wanted>,
    /// The request that is in flight.
    pub(super) call: Option<CallId>,
}

/// What is fetched of one partition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) topic_id: Uuid,
    pub(super) partition: FetchPartition,
}

/// The difference between what the broker knows and what is wanted.
pub(super) struct Difference<'a> {
    pub(super) changed: Vec<(&'a TopicPartition, &'a Wanted)>,
    pub(super) forgotten: Vec<(TopicPartition, Uuid)>,
}

impl Session {
    /// What must be said so that the broker knows `wanted`. All of it, if there is no session.
    pub(super) fn difference<'a>(&self, wanted: &'a BTreeMap<TopicPartition, Wanted>) -> Difference<'a> {
        if self.epoch == 0 {
            return Difference { changed: wanted.iter().collect(), forgotten: Vec::new() };
        }
        let changed = wanted.iter().filter(|(partition, it)| self.told.get(partition) != Some(it)).collect();
        let kept = |partition: &TopicPartition, told: &Wanted| {
            wanted.get(partition).is_some_and(|it| it.topic_id == told.topic_id)
        };
        let forgotten = self.told.iter().filter(|(partition, told)| !kept(partition, told));
        Difference { changed, forgotten: forgotten.map(|(it, told)| (it.clone(), told.topic_id)).collect() }
    }

    /// The request that says `difference`, of a client in this rack.
    pub(super) fn request<'a>(
        &self,
        difference: &'a Difference<'a>,
        rules: &Rules,
        rack_id: &'a str,
    ) -> FetchRequest<'a> {
        let mut topics: BTreeMap<&Arc<str>, FetchTopic<'a>> = BTreeMap::new();
        for (partition, wanted) in &difference.changed {
            let topic = topics.entry(&partition.topic).or_insert_with(|| FetchTopic {
                topic: &partition.topic,
                topic_id: wanted.topic_id,
                partitions: Vec::new(),
            });
            topic.partitions.push(wanted.partition.clone());
        }
        let mut forgotten: BTreeMap<(&Arc<str>, Uuid), ForgottenTopic<'a>> = BTreeMap::new();
        for (partition, topic_id) in &difference.forgotten {
            let topic = forgotten.entry((&partition.topic, *topic_id)).or_insert_with(|| ForgottenTopic {
                topic: &partition.topic,
                topic_id: *topic_id,
                partitions: Vec::new(),
            });
            topic.partitions.push(partition.partition);
        }
        FetchRequest {
            max_wait_ms: rules.fetch_max_wait_ms,
            min_bytes: rules.fetch_min_bytes,
            max_bytes: rules.fetch_max_bytes,
            isolation_level: i8::from(rules.terms.committed_only),
            session_id: self.id,
            session_epoch: self.epoch,
            topics: topics.into_values().collect(),
            forgotten_topics_data: forgotten.into_values().collect(),
            rack_id,
            ..FetchRequest::default()
        }
    }

    /// The request went out.
    pub(super) fn on_sent(&mut self, call: CallId, wanted: BTreeMap<TopicPartition, Wanted>) {
        self.call = Some(call);
        self.told = wanted;
    }

    /// What the broker was told of a partition.
    pub(super) fn told(&self, partition: &TopicPartition) -> Option<&Wanted> {
        self.told.get(partition)
    }

    /// What the broker was told of.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.told.keys()
    }

    /// The name that belongs to an id in an answer.
    pub(super) fn name(&self, topic_id: Uuid) -> Option<&Arc<str>> {
        self.told.iter().find(|(_, told)| told.topic_id == topic_id).map(|(partition, _)| &partition.topic)
    }

    /// An answer came: the session goes on, is made, or is not to be had.
    pub(super) fn on_answer(&mut self, error: ErrorCode, session_id: i32) {
        self.call = None;
        if error.is_error() {
            return self.begin_anew(error == ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        if session_id == 0 {
            return self.begin_anew(true);
        }
        self.id = session_id;
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
    }

    /// No answer came: whether the broker took the request is not known.
    pub(super) fn on_lost(&mut self) {
        self.call = None;
        self.begin_anew(false);
    }

    fn begin_anew(&mut self, forgotten: bool) {
        self.epoch = 0;
        self.told.clear();
        if forgotten {
            self.id = 0;
        }
    }
}
