//! Fetch requests to leaders and whom they name, and what their answers bring.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::api::Response;
use ottla_wire::api::fetch::{FetchPartition, FetchResponse, PartitionData};

use crate::rpc::{Answer, Lane, Readiness, Route, RpcError};
use crate::types::{BrokerId, Offset, ProducerId, TopicPartition};

use super::super::boundary::ReadError;
use super::super::turn::Turn;
use super::chunk::{Chunk, Place};
use super::nearest::Source;
use super::session::Wanted;
use super::{Reader, delay, is_passing};

/// The last version of Fetch that names topics; later ones have their ids (KIP-516).
const LAST_WITH_NAMES: i16 = 12;

type All = BTreeMap<TopicPartition, Wanted>;

impl Reader {
    /// Asks each broker of whose partitions nothing is buffered. A Fetch without the partitions that are would wait
    /// at the broker for the others, while the program takes what is buffered and wants more (KAFKA-17182).
    pub(super) fn fetch(&mut self, turn: &mut Turn<'_>) {
        let now = turn.at();
        for assigned in self.partitions.values_mut() {
            assigned.source = assigned.source.reviewed(now, turn.pool);
        }
        for (broker, wanted) in self.wanted(turn) {
            if self.sessions.get(&broker).is_some_and(|session| session.call.is_some()) {
                continue;
            }
            let route = Route::to(broker, Lane::Fetch);
            match turn.pool.connect(turn.now.monotonic, route, turn.sink) {
                Readiness::Ready => self.send(broker, wanted, turn),
                Readiness::Later(at) => turn.wake.by(at),
                Readiness::Unknown => turn.metadata.request(),
                Readiness::Busy | Readiness::Connecting | Readiness::Idle => {}
            }
        }
    }

    fn wanted(&self, turn: &mut Turn<'_>) -> BTreeMap<BrokerId, All> {
        let now = turn.at();
        let mut by_broker: BTreeMap<BrokerId, All> = BTreeMap::new();
        let mut buffered = BTreeSet::new();
        for (partition, assigned) in &self.partitions {
            let leader = turn.metadata.leader_and_epoch(&partition.topic, partition.partition);
            let Some((leader, current)) = leader else { continue };
            if self.is_silent(partition) {
                continue;
            }
            let broker = assigned.source.broker(leader);
            if assigned.chunk.is_some() {
                buffered.insert(broker);
            }
            let Some(place) = assigned.fetchable(now) else { continue };
            let wanted = Wanted {
                topic_id: turn.metadata.topic(now, &partition.topic).id,
                partition: FetchPartition {
                    partition: partition.partition,
                    current_leader_epoch: current.0,
                    fetch_offset: place.offset.0,
                    partition_max_bytes: self.rules.max_partition_fetch_bytes,
                    ..FetchPartition::default()
                },
            };
            by_broker.entry(broker).or_default().insert(partition.clone(), wanted);
        }
        by_broker.retain(|broker, _| !buffered.contains(broker));
        by_broker
    }

    fn send(&mut self, broker: BrokerId, wanted: All, turn: &mut Turn<'_>) {
        let alone = |partition| matches!(self.partitions[partition].source, Source::LeaderAlone { .. });
        let rack = if wanted.keys().any(alone) { "" } else { &*self.rules.client_rack };
        let session = self.sessions.entry(broker).or_default();
        let difference = session.difference(&wanted);
        let request = session.request(&difference, &self.rules, rack).into();
        let all_have_ids = wanted.values().all(|wanted| !wanted.topic_id.is_zero());
        let cap = if all_have_ids { i16::MAX } else { LAST_WITH_NAMES };
        let route = Route::to(broker, Lane::Fetch);
        match turn.pool.send(turn.now.monotonic, route, (&request, cap), turn.sink) {
            Ok(call) => session.on_sent(call, wanted),
            Err(_) => {
                for partition in wanted.keys() {
                    let assigned = self.partitions.get_mut(partition).expect("it is wanted");
                    delay(assigned, self.rules.backoff, turn);
                }
            }
        }
    }

    /// The result of the Fetch that was in flight to `broker`.
    pub(super) fn on_fetched(&mut self, broker: BrokerId, result: Result<&Answer, RpcError>, turn: &mut Turn<'_>) {
        let decoded = result.and_then(|answer| Ok((answer, answer.decode().map_err(RpcError::Malformed)?)));
        let Ok((answer, Response::Fetch(response))) = decoded else {
            self.delay_all(broker, turn);
            self.session(broker).on_lost();
            return turn.metadata.request();
        };
        let lost_session = matches!(
            response.error_code,
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND | ErrorCode::INVALID_FETCH_SESSION_EPOCH
        );
        if response.error_code.is_error() && !lost_session {
            self.delay_all(broker, turn);
        }
        for endpoint in &response.node_endpoints {
            turn.metadata.on_endpoint((endpoint.node_id, endpoint.host, endpoint.port), turn.pool, turn.sink);
        }
        for (partition, data) in self.named(broker, &response) {
            self.on_partition(broker, &partition, data, &answer.frame, turn);
        }
        // Sessions came with version 7: an older broker gets all partitions each time.
        let session_id = if answer.version < 7 { 0 } else { response.session_id };
        self.session(broker).on_answer(response.error_code, session_id);
    }

    /// The whole Fetch failed: its partitions are asked for again after a while.
    fn delay_all(&mut self, broker: BrokerId, turn: &mut Turn<'_>) {
        for partition in self.sessions[&broker].partitions() {
            if let Some(assigned) = self.partitions.get_mut(partition) {
                assigned.avoid(turn.at(), broker);
                delay(assigned, self.rules.backoff, turn);
            }
        }
    }

    fn session(&mut self, broker: BrokerId) -> &mut super::Session {
        self.sessions.get_mut(&broker).expect("a Fetch was in flight to it")
    }

    /// The partitions of an answer by their names.
    fn named<'r, 'a>(
        &self,
        broker: BrokerId,
        response: &'r FetchResponse<'a>,
    ) -> Vec<(TopicPartition, &'r PartitionData<'a>)> {
        let session = &self.sessions[&broker];
        let mut named = Vec::new();
        for topic in &response.responses {
            let name =
                if topic.topic.is_empty() { session.name(topic.topic_id).cloned() } else { Some(topic.topic.into()) };
            let Some(name) = name else { continue };
            named.extend(topic.partitions.iter().map(|it| (TopicPartition::new(name.clone(), it.partition_index), it)));
        }
        named
    }

    fn on_partition(
        &mut self,
        broker: BrokerId,
        partition: &TopicPartition,
        data: &PartitionData<'_>,
        frame: &Bytes,
        turn: &mut Turn<'_>,
    ) {
        let asked_at = self.sessions[&broker].told(partition).map(|told| told.partition.fetch_offset);
        let Some(assigned) = self.partitions.get_mut(partition) else { return };
        // An answer to what was asked before the place moved is of no use.
        let place = assigned.fetchable(turn.at()).filter(|place| Some(place.offset.0) == asked_at);
        let Some(place) = place else { return };
        let (id, epoch) = (data.current_leader.leader_id, data.current_leader.leader_epoch);
        turn.metadata.on_new_leader(&partition.topic, partition.partition, (id, epoch));
        let (now, named) = (turn.at(), BrokerId(data.preferred_read_replica));
        let leads = turn.metadata.leader(&partition.topic, partition.partition) == Some(broker);
        match data.error_code {
            ErrorCode::NONE if named.0 >= 0 && named != broker => {
                assigned.failures = 0;
                assigned.source = Source::Replica { id: named, until: now + self.rules.named_for };
            }
            ErrorCode::NONE => {
                assigned.failures = 0;
                assigned.chunk = self.rules.chunk(data, place, frame);
            }
            // A follower may lag, or begin later: what there is, the leader knows.
            ErrorCode::OFFSET_OUT_OF_RANGE if !leads => {
                assigned.avoid(now, broker);
                turn.metadata.request();
                delay(assigned, self.rules.backoff, turn);
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => self.reset(partition, place.offset, turn),
            code if is_passing(code) => {
                turn.metadata.request();
                delay(assigned, self.rules.backoff, turn);
                assigned.on_refused(now, broker, code);
            }
            code => self.fail(partition, ReadError::Broker(code), turn),
        }
    }
}

impl super::Rules {
    fn chunk(&self, data: &PartitionData<'_>, from: Place, frame: &Bytes) -> Option<Chunk> {
        let records = data.records.and_then(|records| records.as_slice()).filter(|records| !records.is_empty())?;
        let aborted = data.aborted_transactions.iter().flatten();
        let aborted = aborted.map(|it| (Offset(it.first_offset), ProducerId(it.producer_id)));
        let aborted = if self.terms.committed_only { aborted.collect() } else { Vec::new() };
        Some(Chunk::new(frame.slice_ref(records), from, self.terms, aborted))
    }
}
