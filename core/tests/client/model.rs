//! A cluster as a client sees it: a few brokers that answer each frame at once, from one shared truth.
//!
//! It exists for what the real broker cannot be made to do at will: to refuse with any code, to append and then
//! say that it did not, to move leaders, to forget a producer. It judges sequences as Kafka does (KIP-98), with five
//! batches remembered.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ottla_core::record::{BatchHead, BatchHeader, RecordBatch, batches};
use ottla_core::rng::Rng;
use ottla_core::types::{LeaderEpoch, Offset};
use ottla_wire::api::api_versions::{ApiVersion, ApiVersionsResponse};
use ottla_wire::api::init_producer_id::InitProducerIdResponse;
use ottla_wire::api::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::api::produce::{PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse};
use ottla_wire::api::{Request, decode_request};
use ottla_wire::frame::{self, RequestHeader};
use ottla_wire::{ApiKey, ErrorCode, Message, Uuid, Writer};

use crate::model_fetch::Sessions;
use crate::model_group::Group;

pub struct Model {
    pub rng: Rng,
    pub brokers: i32,
    pub topics: BTreeMap<String, Topic>,
    pub faults: Faults,
    /// The next batch of this partition is refused.
    pub next_refusal: Option<(i32, ErrorCode)>,
    /// Whether each broker has a rack of its own.
    pub has_racks: bool,
    /// How often metadata were asked for.
    pub looks: u32,
    pub ids: Ids,
    /// The highest version of ApiVersions that is not refused (KIP-511).
    pub api_versions_max: i16,
    /// The highest version of Produce.
    pub produce_max: i16,
    /// The highest version of Fetch.
    pub fetch_max: i16,
    pub sessions: Sessions,
    pub group: Group,
    /// The highest versions of other calls.
    pub caps: BTreeMap<ApiKey, i16>,
    /// Whether the last answer would have waited for records: a Fetch that brings nothing.
    pub held: bool,
}

/// Producer ids.
pub struct Ids {
    last: i64,
    /// None is to be had, for now.
    pub refused: bool,
}

#[derive(Default)]
pub struct Topic {
    pub id: Uuid,
    pub partitions: Vec<Partition>,
    /// What is said of it instead of its partitions.
    pub refused: Option<ErrorCode>,
}

#[derive(Default)]
pub struct Partition {
    pub leader: i32,
    pub leader_epoch: i32,
    /// Whom the leader names to a client that has a rack.
    pub near: Option<Near>,
    /// Whole batches with their offsets.
    pub log: Vec<u8>,
    pub start: i64,
    pub end: i64,
    /// Aborted transactions: producer and first offset.
    pub aborted: Vec<(i64, i64)>,
    producers: BTreeMap<i64, Remembered>,
}

/// A follower near the client.
#[derive(Clone, Copy, Default)]
pub struct Near {
    pub id: i32,
    /// Its high watermark.
    pub high_watermark: i64,
    /// Where its log ends.
    pub end: i64,
    /// What it answers instead of records.
    pub refuses: Option<ErrorCode>,
    /// How often it was asked, and how often the leader was.
    pub asked: (u32, u32),
}

#[derive(Default)]
struct Remembered {
    epoch: i16,
    /// First and last sequence, and base offset.
    batches: VecDeque<(i32, i32, i64)>,
}

/// Chances in 1,000 for each batch.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// Refused, nothing written.
    pub refuse: u64,
    /// Written, and an error all the same.
    pub lie: u64,
    /// Everything but the last batch of each producer is forgotten, as by a restart.
    pub forget: u64,
    /// The leader moves.
    pub election: u64,
    /// Too large, if it has more than one record.
    pub too_large: u64,
}

impl Model {
    pub fn new(seed: u64, brokers: i32, partitions: usize) -> Self {
        let mut rng = Rng::new(seed);
        let partitions = (0..partitions).map(|_| Partition { leader: draw(&mut rng, brokers), ..Partition::default() });
        let topic = Topic { id: Uuid(77), partitions: partitions.collect(), refused: None };
        Self {
            rng,
            brokers,
            topics: BTreeMap::from([("t".to_owned(), topic)]),
            faults: Faults::default(),
            next_refusal: None,
            has_racks: false,
            looks: 0,
            ids: Ids { last: 1_000, refused: false },
            api_versions_max: 4,
            produce_max: 13,
            fetch_max: 18,
            sessions: Sessions::default(),
            group: Group::default(),
            caps: BTreeMap::new(),
            held: false,
        }
    }

    /// The values in a partition's log, in order of their offsets.
    pub fn values(&self, topic: &str, partition: usize) -> Vec<(i64, Vec<u8>)> {
        let mut values = Vec::new();
        for batch in batches(&self.topics[topic].partitions[partition].log) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let mut scratch = Vec::new();
            for record in batch.records(&mut scratch, 1 << 30).unwrap() {
                let record = record.unwrap();
                values.push((record.offset.0, record.value.unwrap_or_default().to_vec()));
            }
        }
        values
    }

    /// The answer of broker `id` to a frame, with its length prefix; `None` for acks=0.
    pub fn answer(&mut self, id: i32, bytes: &[u8]) -> Option<Bytes> {
        self.held = false;
        let (header, request) = match decode_request(bytes) {
            Ok(decoded) => decoded,
            Err(error) => panic!("the client sent a frame that cannot be read: {error}"),
        };
        match request {
            Request::ApiVersions(_) if header.api_version > self.api_versions_max => {
                let refusal = ApiVersionsResponse {
                    error_code: ErrorCode::UNSUPPORTED_VERSION,
                    api_keys: vec![self.offered(ApiKey::ApiVersions)],
                    ..ApiVersionsResponse::default()
                };
                Some(reply(&RequestHeader { api_version: 0, ..header }, &refusal))
            }
            Request::ApiVersions(_) => Some(reply(&header, &self.api_versions())),
            Request::Metadata(_) => Some(self.metadata(&header)),
            Request::InitProducerId(_) if self.ids.refused => {
                let error_code = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
                Some(reply(&header, &InitProducerIdResponse { error_code, ..InitProducerIdResponse::default() }))
            }
            Request::InitProducerId(_) => {
                self.ids.last += 1;
                let response = InitProducerIdResponse {
                    producer_id: self.ids.last,
                    producer_epoch: 0,
                    ..InitProducerIdResponse::default()
                };
                Some(reply(&header, &response))
            }
            Request::Produce(request) => self.produce(id, &header, &request),
            Request::Fetch(request) => Some(self.fetch(id, &header, &request)),
            Request::ListOffsets(request) => Some(self.list_offsets(id, &header, &request)),
            Request::OffsetForLeaderEpoch(request) => Some(self.epoch_ends(id, &header, &request)),
            request => Some(self.of_group(id, &header, &request)),
        }
    }

    fn offered(&self, key: ApiKey) -> ApiVersion {
        let max_version = match key {
            ApiKey::ApiVersions => self.api_versions_max,
            ApiKey::Produce => self.produce_max,
            ApiKey::Fetch => self.fetch_max,
            other => self.caps.get(&other).copied().unwrap_or(*other.versions().end()),
        };
        ApiVersion { api_key: key.code(), min_version: *key.versions().start(), max_version }
    }

    fn api_versions(&self) -> ApiVersionsResponse<'static> {
        let api_keys = ApiKey::ALL.iter().map(|&key| self.offered(key)).collect();
        ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() }
    }

    fn metadata(&mut self, header: &RequestHeader<'_>) -> Bytes {
        self.looks += 1;
        let hosts: Vec<_> = (0..self.brokers).map(|id| format!("broker{id}")).collect();
        let brokers = hosts.iter().zip(0..).map(|(host, node_id)| MetadataResponseBroker {
            node_id,
            host,
            port: 9092,
            rack: Some(&**host).filter(|_| self.has_racks),
        });
        let partitions = |topic: &Topic| {
            let all = topic.partitions.iter().zip(0..);
            all.map(|(it, partition_index)| MetadataResponsePartition {
                partition_index,
                leader_id: it.leader,
                leader_epoch: it.leader_epoch,
                replica_nodes: vec![it.leader],
                ..MetadataResponsePartition::default()
            })
            .collect()
        };
        let topics = self.topics.iter().map(|(name, topic)| MetadataResponseTopic {
            name: Some(name),
            topic_id: topic.id,
            error_code: topic.refused.unwrap_or(ErrorCode::NONE),
            partitions: if topic.refused.is_some() { Vec::new() } else { partitions(topic) },
            ..MetadataResponseTopic::default()
        });
        let response = MetadataResponse {
            brokers: brokers.collect(),
            controller_id: 0,
            topics: topics.collect(),
            ..MetadataResponse::default()
        };
        reply(header, &response)
    }

    fn produce(&mut self, id: i32, header: &RequestHeader<'_>, request: &ProduceRequest<'_>) -> Option<Bytes> {
        let mut responses = Vec::new();
        for data in &request.topic_data {
            let found = self.topics.iter().find(|(name, topic)| *name == data.name || topic.id == data.topic_id);
            let name = found.map(|(name, _)| name.clone()).unwrap_or_default();
            let partition_responses = data.partition_data.iter().map(|it| {
                let bytes = it.records.and_then(|records| records.as_slice()).unwrap_or_default();
                let (error_code, base_offset) = self.append(id, &name, it.index, bytes);
                PartitionProduceResponse { index: it.index, error_code, base_offset, ..Default::default() }
            });
            let partition_responses = partition_responses.collect();
            responses.push(TopicProduceResponse { name: data.name, topic_id: data.topic_id, partition_responses });
        }
        let response = ProduceResponse { responses, ..ProduceResponse::default() };
        (request.acks != 0).then(|| reply(header, &response))
    }

    fn append(&mut self, id: i32, topic: &str, index: i32, bytes: &[u8]) -> (ErrorCode, i64) {
        if let Some((_, code)) = self.next_refusal.take_if(|it| it.0 == index) {
            return (code, -1);
        }
        let Self { rng, topics, faults, brokers, .. } = self;
        let mut fault = |chance: u64| rng.below(1_000) < chance;
        let (refuse, lie, forget) = (fault(faults.refuse), fault(faults.lie), fault(faults.forget));
        let (election, too_large) = (fault(faults.election), fault(faults.too_large));
        let Some(partition) =
            topics.get_mut(topic).and_then(|it| it.partitions.get_mut(usize::try_from(index).unwrap()))
        else {
            return (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1);
        };
        if election {
            partition.leader = draw(rng, *brokers);
            partition.leader_epoch += 1;
        }
        if partition.leader != id {
            return (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
        }
        if forget {
            partition.producers.values_mut().for_each(Remembered::restart);
        }
        let batch = RecordBatch::first_of(bytes).unwrap();
        assert_eq!(batch.bytes().len(), bytes.len(), "one batch a partition");
        if too_large && batch.header().record_count > 1 {
            return (ErrorCode::MESSAGE_TOO_LARGE, -1);
        }
        if refuse {
            return (ErrorCode::NOT_ENOUGH_REPLICAS, -1);
        }
        let result = partition.append(batch.header(), bytes);
        if lie && result.0.is_none() {
            let lies = [
                ErrorCode::REQUEST_TIMED_OUT,
                ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                ErrorCode::NOT_LEADER_OR_FOLLOWER,
                ErrorCode::UNKNOWN_SERVER_ERROR,
            ];
            return (lies[usize::try_from(rng.below(4)).unwrap()], -1);
        }
        result
    }
}

impl Partition {
    fn append(&mut self, header: &BatchHeader, bytes: &[u8]) -> (ErrorCode, i64) {
        let producer = header.producer;
        if producer.is_some() {
            let (first, last) = (producer.base_sequence, header.last_sequence());
            let known = self.producers.get(&producer.id.0);
            if let Some(known) = known.filter(|known| known.epoch == producer.epoch.0) {
                if let Some(found) = known.batches.iter().find(|it| (it.0, it.1) == (first, last)) {
                    return (ErrorCode::NONE, found.2);
                }
                let next = known.batches.back().map_or(0, |it| it.1.wrapping_add(1) & i32::MAX);
                if first != next {
                    return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
                }
            } else if let Some(known) = known {
                if producer.epoch.0 < known.epoch {
                    return (ErrorCode::INVALID_PRODUCER_EPOCH, -1);
                }
                if first != 0 {
                    return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
                }
            }
            let known = self.producers.entry(producer.id.0).or_default();
            if known.epoch != producer.epoch.0 {
                *known = Remembered { epoch: producer.epoch.0, batches: VecDeque::new() };
            }
            known.batches.push_back((first, last, self.end));
            if known.batches.len() > 5 {
                known.batches.pop_front();
            }
        }
        let base = self.end;
        self.log.extend_from_slice(&BatchHead::new(Offset(base), LeaderEpoch(self.leader_epoch), bytes.len() - 16).0);
        self.log.extend_from_slice(&bytes[16..]);
        self.end += i64::from(header.last_offset_delta) + 1;
        (ErrorCode::NONE, base)
    }
}

impl Remembered {
    fn restart(&mut self) {
        let last = self.batches.pop_back();
        self.batches.clear();
        self.batches.extend(last);
    }
}

fn draw(rng: &mut Rng, brokers: i32) -> i32 {
    i32::try_from(rng.below(u64::from(brokers.unsigned_abs()))).unwrap()
}

pub fn reply<'a>(header: &RequestHeader<'_>, body: &impl Message<'a>) -> Bytes {
    let mut writer = Writer::new();
    frame::encode_response(&mut writer, header.api_key, header.api_version, header.correlation_id, body);
    writer.into_bytes().into()
}
