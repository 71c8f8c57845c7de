//! Who leads what: brokers, topics and partitions, asked for when they are needed and refreshed when they are old
//! or proved wrong.
//!
//! An answer whose leader epoch is older than what is known of the same topic is not believed (KIP-320): brokers
//! learn of elections at different times. A topic that has a new id is a new topic, whatever its epochs.
//!
//! Who wants topics by a pattern is told which there are: then all topics are asked for.
//!
//! Bounded by the topics in use: one that nobody asked for in `metadata.max.idle.ms` is forgotten; and, while there is
//! a pattern, by the topics that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::api::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::api::{Request, Response};
use ottla_wire::{ErrorCode, Uuid};

use crate::clock::Instant;
use crate::pattern::Pattern;
use crate::racks::Racks;
use crate::rng::Rng;
use crate::rpc::{Answer, Backoff, CallId, Lane, Peer, Pool, Readiness, Route, RpcError, Sink};
use crate::types::{BrokerId, LeaderEpoch};

use super::ClientConfig;
use super::turn::Wake;

#[derive(Clone, Debug)]
pub(super) struct Metadata {
    topics: BTreeMap<Arc<str>, TopicMetadata>,
    watch: Option<Watch>,
    brokers: BTreeSet<BrokerId>,
    controller: Option<BrokerId>,
    /// How many entries `bootstrap.servers` has.
    bootstrap: u16,
    refresh: Refresh,
    max_age: Duration,
    max_idle: Duration,
    backoff: Backoff,
    allow_auto_create_topics: bool,
}

/// A pattern, and the topics that there are.
#[derive(Clone, Debug)]
struct Watch {
    pattern: Pattern,
    /// Whether an answer has come since it is watched for.
    is_known: bool,
    /// By id, but for those that are none of a program's.
    names: BTreeMap<Uuid, Arc<str>>,
    matched: BTreeSet<Arc<str>>,
}

/// What is known of a topic.
#[derive(Clone, Debug, Default)]
pub(super) struct TopicMetadata {
    /// Zero from brokers before Kafka 2.8.
    pub(super) id: Uuid,
    /// Empty until the topic is known.
    pub(super) partitions: BTreeMap<i32, PartitionMetadata>,
    /// Where the replicas of partitions are, as far as brokers say it.
    pub(super) racks: BTreeMap<i32, Racks>,
    /// What the last answer said instead.
    pub(super) error: Option<ErrorCode>,
    last_used: Instant,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartitionMetadata {
    pub(super) leader: Option<BrokerId>,
    /// -1 from brokers that do not say.
    pub(super) leader_epoch: LeaderEpoch,
}

#[derive(Clone, Debug, Default)]
struct Refresh {
    wanted: bool,
    /// Whether brokers are wanted, even if no topic is in use.
    for_brokers: bool,
    call: Option<CallId>,
    /// Whether that call asks for every topic.
    asked_for_all: bool,
    /// Not before this.
    next_at: Instant,
    /// Requests in a row that did not bring what is needed.
    failures: u32,
    /// When the last good answer came.
    fresh_at: Option<Instant>,
}

/// Which broker to ask what any broker can answer.
pub(super) enum Pick {
    /// This one, now.
    Ready(Route),
    /// None yet; at this time another may be dialled, if none comes up before.
    Wait(Option<Instant>),
}

impl Metadata {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            topics: BTreeMap::new(),
            watch: None,
            brokers: BTreeSet::new(),
            controller: None,
            bootstrap: u16::try_from(config.bootstrap_servers.len()).expect("the configuration was checked"),
            refresh: Refresh::default(),
            max_age: Duration::from_millis(config.metadata_max_age_ms),
            max_idle: Duration::from_millis(config.metadata_max_idle_ms),
            backoff: config.backoff(),
            allow_auto_create_topics: config.allow_auto_create_topics,
        }
    }

    /// What is known of a topic that is in use; it is asked for if nothing is.
    pub(super) fn topic(&mut self, now: Instant, name: &Arc<str>) -> &TopicMetadata {
        if !self.topics.contains_key(name) {
            self.topics.insert(name.clone(), TopicMetadata::default());
            self.refresh.wanted = true;
        }
        let topic = self.topics.get_mut(name).expect("it was inserted above");
        topic.last_used = now;
        topic
    }

    /// From now on looks for the topics that the pattern matches, or for none.
    pub(super) fn watch(&mut self, pattern: Option<&Pattern>) {
        if self.watch.as_ref().map(|watch| &watch.pattern) == pattern {
            return;
        }
        let (names, matched) = (BTreeMap::new(), BTreeSet::new());
        self.watch = pattern.map(|pattern| Watch { pattern: pattern.clone(), is_known: false, names, matched });
        self.refresh.wanted |= self.watch.is_some();
    }

    /// The topics that the pattern matches; `None` while that is not known.
    pub(super) fn matched(&self) -> Option<&BTreeSet<Arc<str>>> {
        self.watch.as_ref().filter(|watch| watch.is_known).map(|watch| &watch.matched)
    }

    /// The name of a topic, while topics are watched for.
    pub(super) fn name_of(&self, id: Uuid) -> Option<&Arc<str>> {
        self.watch.as_ref()?.names.get(&id)
    }

    /// The id of a topic that is known.
    pub(super) fn id_of(&self, name: &str) -> Option<Uuid> {
        self.topics.get(name).map(|topic| topic.id).filter(|id| *id != Uuid::ZERO)
    }

    /// The partition's leader, if there is one to the best of our knowledge.
    pub(super) fn leader(&self, topic: &str, partition: i32) -> Option<BrokerId> {
        self.leader_and_epoch(topic, partition).map(|(leader, _)| leader)
    }

    /// The partition's leader and its epoch, if there is one to the best of our knowledge.
    pub(super) fn leader_and_epoch(&self, topic: &str, partition: i32) -> Option<(BrokerId, LeaderEpoch)> {
        let known = self.topics.get(topic)?.partitions.get(&partition)?;
        Some((known.leader?, known.leader_epoch))
    }

    /// What is known turned out to be wrong, or is not enough.
    pub(super) fn request(&mut self) {
        self.refresh.wanted = true;
    }

    /// The error of a topic was heard: who needs the topic from now on asks anew.
    pub(super) fn forget_error(&mut self, name: &str) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.error = None;
            if topic.partitions.is_empty() {
                self.topics.remove(name);
            }
        }
    }

    /// A broker's address is wanted.
    pub(super) fn request_brokers(&mut self) {
        self.refresh.wanted = true;
        self.refresh.for_brokers = true;
    }

    /// A link failed: its broker may be gone for good.
    pub(super) fn on_down(&mut self) {
        if !self.topics.is_empty() || self.watch.is_some() {
            self.refresh.wanted = true;
        }
    }

    /// A broker named a newer leader when it refused a request (KIP-951). Whether the leader's address is known.
    pub(super) fn on_new_leader(&mut self, topic: &str, partition: i32, (leader, leader_epoch): (i32, i32)) {
        let known = self.topics.get_mut(topic).and_then(|topic| topic.partitions.get_mut(&partition));
        if let Some(known) = known.filter(|known| known.leader_epoch.0 < leader_epoch && leader >= 0) {
            *known = PartitionMetadata { leader: Some(BrokerId(leader)), leader_epoch: LeaderEpoch(leader_epoch) };
        }
    }

    /// The address of a broker that an answer named (KIP-951).
    pub(super) fn on_endpoint(&mut self, (id, host, port): (i32, &str, i32), pool: &mut Pool, sink: &mut Sink) {
        self.brokers.insert(BrokerId(id));
        pool.set_address(Peer::Broker(BrokerId(id)), &format!("{host}:{port}"), sink);
    }

    pub(super) fn owns(&self, call: CallId) -> bool {
        self.refresh.call == Some(call)
    }

    /// Asks, if that is due and somebody can be asked.
    pub(super) fn pump(&mut self, now: Instant, pool: &mut Pool, rng: &mut Rng, sink: &mut Sink, wake: &mut Wake) {
        if self.refresh.call.is_some() {
            return;
        }
        self.topics.retain(|_, topic| topic.last_used + self.max_idle > now);
        if self.topics.is_empty() && self.watch.is_none() && !self.refresh.for_brokers {
            self.refresh.wanted = false;
        } else if let Some(fresh_at) = self.refresh.fresh_at {
            let old_at = fresh_at + self.max_age;
            self.refresh.wanted |= old_at <= now;
            if !self.refresh.wanted {
                wake.by(old_at);
            }
        }
        if !self.refresh.wanted {
            return;
        }
        if self.refresh.next_at > now {
            return wake.by(self.refresh.next_at);
        }
        match self.any_broker(now, Lane::Control, pool, rng, sink) {
            Pick::Ready(route) => self.ask(now, route, pool, rng, sink, wake),
            Pick::Wait(at) => at.into_iter().for_each(|at| wake.by(at)),
        }
    }

    /// An answer to what `pump` asked, or why there is none.
    pub(super) fn on_result(
        &mut self,
        now: Instant,
        result: Result<&Answer, RpcError>,
        pool: &mut Pool,
        rng: &mut Rng,
        sink: &mut Sink,
    ) {
        self.refresh.call = None;
        let answer = result.and_then(|answer| answer.decode().map_err(RpcError::Malformed));
        let complete = match answer {
            Ok(Response::Metadata(response)) => self.learn(now, &response, pool, sink),
            Ok(_) | Err(_) => false,
        };
        if complete {
            self.refresh.failures = 0;
            self.refresh.wanted = false;
            self.refresh.for_brokers = false;
        } else {
            self.refresh.failures += 1;
            self.refresh.wanted = true;
        }
        // Even what is complete may prove wrong at once: whoever asks again has to wait a moment.
        self.refresh.next_at = now + self.backoff.delay(self.refresh.failures.max(1), rng);
    }

    /// Chooses a broker for what any can answer: one that is connected, else one that may be dialled; the
    /// bootstrap servers, too, while no broker is known or each of them was down of late.
    pub(super) fn any_broker(&self, now: Instant, lane: Lane, pool: &mut Pool, rng: &mut Rng, sink: &mut Sink) -> Pick {
        let brokers = self.brokers.iter().map(|&id| Peer::Broker(id));
        let mut routes: Vec<_> = brokers.map(|peer| Route { peer, lane }).collect();
        let down = |readiness| matches!(readiness, Readiness::Later(_) | Readiness::Unknown);
        if routes.iter().all(|&route| down(pool.readiness(now, route))) {
            routes.extend((0..self.bootstrap).map(|place| Route { peer: Peer::Bootstrap(place), lane }));
        }
        let with = |wanted: fn(Readiness) -> bool| -> Vec<_> {
            routes.iter().copied().filter(|&route| wanted(pool.readiness(now, route))).collect()
        };
        if let Some(route) = draw(&with(|it| it == Readiness::Ready), rng) {
            return Pick::Ready(route);
        }
        if !with(|it| matches!(it, Readiness::Connecting | Readiness::Busy)).is_empty() {
            return Pick::Wait(None);
        }
        if let Some(route) = draw(&with(|it| it == Readiness::Idle), rng) {
            let _dialled = pool.connect(now, route, sink);
            return Pick::Wait(None);
        }
        let later = routes.iter().filter_map(|&route| match pool.readiness(now, route) {
            Readiness::Later(at) => Some(at),
            Readiness::Ready | Readiness::Busy | Readiness::Connecting | Readiness::Idle | Readiness::Unknown => None,
        });
        Pick::Wait(later.min())
    }

    fn ask(&mut self, now: Instant, route: Route, pool: &mut Pool, rng: &mut Rng, sink: &mut Sink, wake: &mut Wake) {
        let topics = self.topics.keys().map(|name| MetadataRequestTopic { name: Some(name), topic_id: Uuid::ZERO });
        let request = Request::from(MetadataRequest {
            topics: self.watch.is_none().then(|| topics.collect()),
            allow_auto_topic_creation: self.allow_auto_create_topics,
            ..MetadataRequest::default()
        });
        // Before version 4 a request cannot forbid creation; nobody who matters is so old.
        match pool.send(now, route, (&request, i16::MAX), sink) {
            Ok(call) => {
                self.refresh.call = Some(call);
                self.refresh.asked_for_all = self.watch.is_some();
            }
            Err(_) => {
                self.refresh.failures += 1;
                self.refresh.next_at = now + self.backoff.delay(self.refresh.failures, rng);
                wake.by(self.refresh.next_at);
            }
        }
    }

    /// Takes an answer in. Whether it says all that is needed of the topics in use.
    fn learn(&mut self, now: Instant, response: &MetadataResponse<'_>, pool: &mut Pool, sink: &mut Sink) -> bool {
        if response.error_code.is_error() || response.brokers.is_empty() {
            return false;
        }
        self.refresh.fresh_at = Some(now);
        let brokers: BTreeSet<_> = response.brokers.iter().map(|broker| BrokerId(broker.node_id)).collect();
        for &gone in self.brokers.difference(&brokers) {
            pool.forget(Peer::Broker(gone), sink);
        }
        self.brokers = brokers;
        for broker in &response.brokers {
            self.on_endpoint((broker.node_id, broker.host, broker.port), pool, sink);
        }
        self.controller = Some(BrokerId(response.controller_id)).filter(|id| self.brokers.contains(id));
        let racks = response.brokers.iter().filter_map(|broker| Some((broker.node_id, broker.rack?.into()))).collect();
        self.look(now, response);
        for topic in &response.topics {
            if let Some(known) = topic.name.and_then(|name| self.topics.get_mut(name)) {
                known.learn(topic, &racks);
            }
        }
        // A pattern may have come while the question was on its way: then the answer names few topics.
        let looked = self.watch.as_ref().is_none_or(|watch| watch.is_known);
        looked && self.topics.values().all(TopicMetadata::is_complete)
    }

    /// Takes in which topics there are, if all were asked for: of one that is not named, that there is none.
    fn look(&mut self, now: Instant, response: &MetadataResponse<'_>) {
        // What was asked before there was a pattern names few.
        let Some(watch) = self.watch.as_mut().filter(|_| self.refresh.asked_for_all) else { return };
        let named = response.topics.iter().filter_map(|topic| Some((topic, Arc::<str>::from(topic.name?))));
        let named: Vec<_> = named.filter(|(topic, _)| !topic.error_code.is_error()).collect();
        let present: BTreeSet<&Arc<str>> = named.iter().map(|(_, name)| name).collect();
        for (_, gone) in self.topics.iter_mut().filter(|(name, _)| !present.contains(name)) {
            gone.error = Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        watch.is_known = true;
        watch.names = named.iter().map(|(topic, name)| (topic.topic_id, name.clone())).collect();
        let of_programs = named.iter().filter(|(topic, _)| !topic.is_internal).map(|(_, name)| name);
        watch.matched = of_programs.filter(|name| watch.pattern.matches(name)).cloned().collect();
        for name in &watch.matched {
            self.topics.entry(name.clone()).or_default().last_used = now;
        }
    }
}

impl TopicMetadata {
    /// Whether an answer has said anything of the topic, be it that there is none.
    pub(super) fn is_known(&self) -> bool {
        self.error.is_some() || !self.partitions.is_empty()
    }

    /// The partitions that have a leader, in order.
    pub(super) fn led(&self) -> Vec<i32> {
        self.partitions.iter().filter(|(_, partition)| partition.leader.is_some()).map(|(&index, _)| index).collect()
    }

    /// How many partitions there are.
    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// Whether the topic is there and led, or will never be.
    fn is_complete(&self) -> bool {
        match self.error {
            Some(error) => !error.is_retriable(),
            None => !self.partitions.is_empty() && self.partitions.values().all(|it| it.leader.is_some()),
        }
    }

    fn learn(&mut self, answer: &MetadataResponseTopic<'_>, rack_of: &BTreeMap<i32, Arc<str>>) {
        self.error = Some(answer.error_code).filter(|code| code.is_error());
        if self.error.is_some() {
            return;
        }
        let same = self.id == answer.topic_id;
        let old = std::mem::take(&mut self.partitions);
        self.id = answer.topic_id;
        self.partitions = answer.partitions.iter().map(|it| (it.partition_index, newer(it, &old, same))).collect();
        let racks = |it: &MetadataResponsePartition| -> Racks {
            it.replica_nodes.iter().filter_map(|broker| rack_of.get(broker).cloned()).collect()
        };
        let racks = answer.partitions.iter().map(|it| (it.partition_index, racks(it)));
        self.racks = racks.filter(|(_, racks)| !racks.is_empty()).collect();
    }
}

/// The newer of what an answer says of a partition and what was known of it before.
fn newer(
    answer: &MetadataResponsePartition,
    old: &BTreeMap<i32, PartitionMetadata>,
    same_topic: bool,
) -> PartitionMetadata {
    let leader = Some(BrokerId(answer.leader_id)).filter(|id| id.0 >= 0);
    let new = PartitionMetadata { leader, leader_epoch: LeaderEpoch(answer.leader_epoch) };
    let known = old.get(&answer.partition_index).filter(|known| same_topic && known.leader_epoch > new.leader_epoch);
    known.copied().filter(|_| new.leader_epoch.0 >= 0).unwrap_or(new)
}

fn draw(routes: &[Route], rng: &mut Rng) -> Option<Route> {
    let index = usize::try_from(rng.below(routes.len() as u64)).expect("below a length");
    routes.get(index).copied()
}
