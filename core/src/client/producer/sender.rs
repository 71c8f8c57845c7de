//! Produce requests: to each leader what it can take, oldest batches first, and the answers to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::api::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla_wire::api::{Request, Response};
use ottla_wire::{ErrorCode, Records, Uuid};

use crate::record::Producer;
use crate::rpc::{Answer, CallId, Lane, Readiness, Route, RpcError};
use crate::types::{BrokerId, Offset, ProducerEpoch, ProducerId, TopicPartition};

use super::super::turn::Turn;
use super::super::{Acks, ClientError};
use super::Rules;
use super::batch::{Batch, Flight};
use super::partition::{Partition, Reset};
use super::topic::Topic;
use super::verdict::{self, Facts, Verdict};

/// The last version of Produce that names topics; later ones have their ids (KIP-516).
const LAST_WITH_NAMES: i16 = 12;

#[derive(Clone, Debug, Default)]
pub(super) struct Sender {
    /// What is in each request that is in flight.
    calls: BTreeMap<CallId, Vec<Sent>>,
}

/// One batch in a request.
#[derive(Clone, Debug)]
struct Sent {
    topic: Arc<str>,
    topic_id: Uuid,
    partition: i32,
    number: u64,
}

/// A batch that may be sent.
struct Candidate {
    number: u64,
    topic: Arc<str>,
    partition: i32,
    place: usize,
}

/// How a batch ended.
pub(super) enum Fate {
    Delivered(Batch, Option<Offset>),
    Failed(Batch, ClientError),
}

/// What an answer says of one partition.
struct Said {
    code: ErrorCode,
    base_offset: i64,
}

type Topics = BTreeMap<Arc<str>, Topic>;

impl Sender {
    /// Sends what can be sent. Returns what needs no answer, with acks=0.
    pub(super) fn pump(
        &mut self,
        topics: &mut Topics,
        rules: &Rules,
        id: Option<(ProducerId, ProducerEpoch)>,
        flush: bool,
        turn: &mut Turn<'_>,
    ) -> Vec<(TopicPartition, Batch)> {
        let mut done = Vec::new();
        loop {
            let mut sent = false;
            for (leader, candidates) in candidates(topics, rules, id.is_some(), flush, turn) {
                let route = Route::to(leader, Lane::Produce);
                let now = turn.at();
                match turn.pool.connect(now, route, turn.sink) {
                    Readiness::Ready => {
                        sent = true;
                        self.send(route, candidates, topics, (rules, id), turn, &mut done);
                    }
                    Readiness::Later(at) => turn.wake.by(at),
                    Readiness::Unknown => turn.metadata.request(),
                    Readiness::Busy | Readiness::Connecting | Readiness::Idle => {}
                }
            }
            if !sent {
                return done;
            }
        }
    }

    fn send(
        &mut self,
        route: Route,
        candidates: Vec<Candidate>,
        topics: &mut Topics,
        (rules, id): (&Rules, Option<(ProducerId, ProducerEpoch)>),
        turn: &mut Turn<'_>,
        done: &mut Vec<(TopicPartition, Batch)>,
    ) {
        let chosen = choose(candidates, topics, (rules, id), turn);
        let result = {
            let (request, cap) = request(&chosen, topics, rules);
            turn.pool.send(turn.now.monotonic, route, (&request, cap), turn.sink)
        };
        let conn = turn.pool.conn(route).expect("the link is ready");
        let mut sent = Vec::new();
        for (candidate, topic_id) in chosen {
            let Candidate { number, topic, partition: index, place } = candidate;
            let partition = partition_of(topics, &topic, index).expect("the candidate came from there");
            let batch = &mut partition.queue[place];
            batch.attempts += 1;
            match result {
                Ok(_) if rules.acks == Acks::None => {
                    let batch = partition.queue.remove(place).expect("the candidate came from there");
                    done.push((TopicPartition::new(topic, index), batch));
                }
                Ok(call) => {
                    batch.flight = Some(Flight { call, conn, sequence: batch.sequence });
                    sent.push(Sent { topic, topic_id, partition: index, number });
                }
                Err(_) => {
                    // The broker is too old or too new for us; another may lead tomorrow.
                    batch.last_error = Some(ErrorCode::UNSUPPORTED_VERSION);
                    batch.retry_at = turn.now.monotonic + rules.backoff.delay(batch.attempts, turn.rng);
                }
            }
        }
        if let Ok(call) = result
            && rules.acks != Acks::None
        {
            self.calls.insert(call, sent);
        }
    }

    /// The result of a call that was ours.
    pub(super) fn on_result(
        &mut self,
        call: CallId,
        result: Result<&Answer, RpcError>,
        topics: &mut Topics,
        rules: &Rules,
        turn: &mut Turn<'_>,
    ) -> Vec<(TopicPartition, Fate)> {
        let Some(sent) = self.calls.remove(&call) else { return Vec::new() };
        let answer = result.and_then(|answer| answer.decode().map_err(RpcError::Malformed));
        let response = match &answer {
            Ok(Response::Produce(response)) => Some(response),
            _ => None,
        };
        if let Some(response) = response {
            learn(response, &sent, turn);
        } else {
            turn.metadata.request();
        }
        let mut fates = Vec::new();
        for it in sent {
            // A record that expired meanwhile has its event already.
            let Some(partition) = partition_of(topics, &it.topic, it.partition) else { continue };
            let Some(place) = partition.place(it.number, call) else { continue };
            let said = response
                .and_then(|response| find(response, &it))
                .map(|found| Said { code: found.error_code, base_offset: found.base_offset });
            if let Some(fate) = judge(partition, place, said, rules, turn) {
                fates.push((TopicPartition::new(it.topic, it.partition), fate));
            }
        }
        fates
    }
}

/// What may be sent to each leader, oldest first.
fn candidates(
    topics: &Topics,
    rules: &Rules,
    has_id: bool,
    flush: bool,
    turn: &mut Turn<'_>,
) -> BTreeMap<BrokerId, Vec<Candidate>> {
    let mut by_leader: BTreeMap<BrokerId, Vec<Candidate>> = BTreeMap::new();
    for (name, topic) in topics {
        for (&index, partition) in topic.partitions.iter().filter(|(_, partition)| !partition.queue.is_empty()) {
            if rules.idempotent && !has_id && partition.needs_id() {
                continue;
            }
            let leader = turn.metadata.leader(name, index);
            let conn = leader.and_then(|leader| turn.pool.conn(Route::to(leader, Lane::Produce)));
            let Some(place) = partition.sendable(turn.at(), conn, rules, flush) else { continue };
            let Some(leader) = leader else {
                let _in_use = turn.metadata.topic(turn.now.monotonic, name);
                turn.metadata.request();
                continue;
            };
            let number = partition.queue[place].number;
            by_leader.entry(leader).or_default().push(Candidate {
                number,
                topic: name.clone(),
                partition: index,
                place,
            });
        }
    }
    by_leader.values_mut().for_each(|candidates| candidates.sort_by_key(|candidate| candidate.number));
    by_leader
}

/// Closes the oldest candidates, as many as fit into a request, and says the ids of their topics.
fn choose(
    candidates: Vec<Candidate>,
    topics: &mut Topics,
    (rules, id): (&Rules, Option<(ProducerId, ProducerEpoch)>),
    turn: &mut Turn<'_>,
) -> Vec<(Candidate, Uuid)> {
    let fresh = id.filter(|_| rules.idempotent);
    let fresh = fresh.map(|(id, epoch)| Producer { id, epoch, base_sequence: rules.first_sequence });
    let mut size = 0;
    let mut chosen = Vec::new();
    for candidate in candidates {
        let partition = partition_of(topics, &candidate.topic, candidate.partition).expect("it is a candidate");
        if size > 0 && size + partition.queue[candidate.place].memory > rules.max_request_size {
            break;
        }
        partition.sequence(candidate.place, fresh);
        size += partition.queue[candidate.place].bytes().len();
        let topic_id = turn.metadata.topic(turn.now.monotonic, &candidate.topic).id;
        chosen.push((candidate, topic_id));
    }
    chosen
}

/// The request with the chosen batches, and the highest version that it can be sent in.
fn request<'a>(chosen: &'a [(Candidate, Uuid)], topics: &'a Topics, rules: &Rules) -> (Request<'a>, i16) {
    let mut by_topic: BTreeMap<&str, TopicProduceData<'_>> = BTreeMap::new();
    for (candidate, topic_id) in chosen {
        let name: &str = &candidate.topic;
        let batch = &topics[name].partitions[&candidate.partition].queue[candidate.place];
        let data = PartitionProduceData { index: candidate.partition, records: Some(Records::Slice(batch.bytes())) };
        let new = || TopicProduceData { name, topic_id: *topic_id, partition_data: Vec::new() };
        by_topic.entry(name).or_insert_with(new).partition_data.push(data);
    }
    let all_have_ids = chosen.iter().all(|(_, topic_id)| !topic_id.is_zero());
    let request = ProduceRequest {
        transactional_id: None,
        acks: rules.acks.code(),
        timeout_ms: i32::try_from(rules.request_timeout_ms).unwrap_or(i32::MAX),
        topic_data: by_topic.into_values().collect(),
    };
    (request.into(), if all_have_ids { i16::MAX } else { LAST_WITH_NAMES })
}

/// What an answer says of new leaders (KIP-951).
fn learn(response: &ProduceResponse<'_>, sent: &[Sent], turn: &mut Turn<'_>) {
    for endpoint in &response.node_endpoints {
        turn.metadata.on_endpoint((endpoint.node_id, endpoint.host, endpoint.port), turn.pool, turn.sink);
    }
    for it in sent {
        if let Some(found) = find(response, it) {
            let leader = (found.current_leader.leader_id, found.current_leader.leader_epoch);
            turn.metadata.on_new_leader(&it.topic, it.partition, leader);
        }
    }
}

fn find<'r, 'a>(response: &'r ProduceResponse<'a>, sent: &Sent) -> Option<&'r PartitionProduceResponse<'a>> {
    let ours = |name: &str, id: Uuid| if name.is_empty() { id == sent.topic_id } else { name == &*sent.topic };
    let topic = response.responses.iter().find(|topic| ours(topic.name, topic.topic_id))?;
    topic.partition_responses.iter().find(|partition| partition.index == sent.partition)
}

/// What becomes of a batch that was in flight; `None`: it stays in the queue. No `said`: there was no answer.
fn judge(
    partition: &mut Partition,
    place: usize,
    said: Option<Said>,
    rules: &Rules,
    turn: &mut Turn<'_>,
) -> Option<Fate> {
    if let Some(said) = said.as_ref().filter(|said| said.code.is_none()) {
        let offset = Some(Offset(said.base_offset)).filter(|offset| offset.0 >= 0);
        return Some(Fate::Delivered(partition.on_acknowledged(place), offset));
    }
    let batch = &mut partition.queue[place];
    let code = said.map(|said| said.code);
    let sent_as = batch.flight.take().and_then(|flight| flight.sequence);
    batch.doubtful |= !code.is_some_and(verdict::proves_absence);
    batch.last_error = code.or(Some(ErrorCode::NETWORK_EXCEPTION));
    let facts = Facts { first: place == 0, moved: sent_as != batch.sequence, divisible: batch.tokens.len() > 1 };
    if code.is_none_or(verdict::blames_metadata) {
        turn.metadata.request();
    }
    match code.map_or(Verdict::Retry, |code| verdict::verdict(code, facts)) {
        Verdict::Duplicate => return Some(Fate::Delivered(partition.on_acknowledged(place), None)),
        Verdict::Fail => return Some(fail(partition, place)),
        Verdict::Split if batch.doubtful => return Some(fail(partition, place)),
        Verdict::Split => split(partition, place, rules),
        Verdict::Retry => {
            batch.retry_at = turn.now.monotonic + rules.backoff.delay(batch.attempts, turn.rng);
        }
        Verdict::NewEpoch => partition.end_lineage(Reset::Epoch),
        Verdict::NewId => partition.end_lineage(Reset::Id),
    }
    None
}

fn fail(partition: &mut Partition, place: usize) -> Fate {
    let batch = &partition.queue[place];
    let error = ClientError::Broker(batch.last_error.unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR));
    let definite = !batch.doubtful;
    Fate::Failed(partition.give_up(place, definite), error)
}

fn split(partition: &mut Partition, place: usize, rules: &Rules) {
    let batch = partition.queue.remove(place).expect("the place was found");
    let halves = batch.split(rules.compression).expect("it has more than one record");
    for half in halves.into_iter().rev() {
        partition.queue.insert(place, half);
    }
}

fn partition_of<'t>(topics: &'t mut Topics, topic: &str, partition: i32) -> Option<&'t mut Partition> {
    topics.get_mut(topic)?.partitions.get_mut(&partition)
}
