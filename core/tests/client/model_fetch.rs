//! The model's side of reading: fetch sessions that are judged strictly (KIP-227), offsets by time, epochs' ends.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_core::record::batches;
use ottla_wire::api::fetch::{
    AbortedTransaction, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use ottla_wire::api::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla_wire::api::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use ottla_wire::frame::RequestHeader;
use ottla_wire::{ErrorCode, Records, Uuid};

use crate::model::{Model, Near, Partition, reply};

/// The fetch sessions of all brokers.
#[derive(Default)]
pub struct Sessions {
    open: BTreeMap<(i32, i32), Session>,
    next: i32,
    /// Chance in 1,000 that a broker has lost a session.
    pub lose: u64,
    /// How many were made, and how many partitions were named in requests that go on with one.
    pub made: u64,
    pub named: u64,
}

struct Session {
    epoch: i32,
    partitions: BTreeMap<(String, i32), FetchPartition>,
}

impl Model {
    pub(super) fn fetch(&mut self, broker: i32, header: &RequestHeader<'_>, request: &FetchRequest<'_>) -> Bytes {
        let lost = self.rng.below(1_000) < self.sessions.lose;
        let named = self.named(request);
        let (session_id, wanted) = match self.sessions.enter(broker, request, named, lost, header.api_version) {
            Ok(entered) => entered,
            Err(error_code) => return reply(header, &FetchResponse { error_code, ..FetchResponse::default() }),
        };
        let mut topics: BTreeMap<&str, FetchableTopicResponse<'_>> = BTreeMap::new();
        for ((name, _), asked) in &wanted {
            let Some(topic) = self.topics.get_mut(name) else { continue };
            topic.partitions[usize::try_from(asked.partition).unwrap()].count(broker);
        }
        for ((name, _), asked) in &wanted {
            let Some(topic) = self.topics.get(name) else { continue };
            let data = topic.partitions[usize::try_from(asked.partition).unwrap()].read(broker, asked, request.rack_id);
            let known = topics.entry(name).or_insert_with(|| FetchableTopicResponse {
                topic: name,
                topic_id: topic.id,
                partitions: Vec::new(),
            });
            known.partitions.push(data);
        }
        let responses: Vec<_> = topics.into_values().collect();
        let silent = |it: &PartitionData<'_>| is_quiet(it) && it.records.is_none_or(|records| records.is_empty());
        let held = responses.iter().flat_map(|topic| &topic.partitions).all(silent);
        let answer = reply(header, &FetchResponse { session_id, responses, ..FetchResponse::default() });
        self.held = held;
        answer
    }

    fn named(&self, request: &FetchRequest<'_>) -> Named {
        let name = |name: &str, id: Uuid| {
            let found = self.topics.iter().find(|(known, topic)| *known == name || topic.id == id);
            found.map_or_else(|| name.to_owned(), |(name, _)| name.clone())
        };
        let wanted = request.topics.iter().flat_map(|topic| {
            let name = name(topic.topic, topic.topic_id);
            topic.partitions.iter().map(move |it| ((name.clone(), it.partition), it.clone()))
        });
        let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
            let name = name(topic.topic, topic.topic_id);
            topic.partitions.iter().map(move |&partition| (name.clone(), partition))
        });
        Named { wanted: wanted.collect(), forgotten: forgotten.collect() }
    }

    pub(super) fn list_offsets(
        &mut self,
        broker: i32,
        header: &RequestHeader<'_>,
        request: &ListOffsetsRequest<'_>,
    ) -> Bytes {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let index = usize::try_from(asked.partition_index).unwrap();
                let partition = &self.topics[topic.name].partitions[index];
                let mut found = ListOffsetsPartitionResponse {
                    partition_index: asked.partition_index,
                    error_code: partition.refusal(broker, asked.current_leader_epoch),
                    ..ListOffsetsPartitionResponse::default()
                };
                match asked.timestamp {
                    -1 => found.offset = partition.end,
                    -2 => found.offset = partition.start,
                    _ => {}
                }
                found
            });
            ListOffsetsTopicResponse { name: topic.name, partitions: partitions.collect() }
        });
        reply(header, &ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() })
    }

    pub(super) fn epoch_ends(
        &mut self,
        broker: i32,
        header: &RequestHeader<'_>,
        request: &OffsetForLeaderEpochRequest<'_>,
    ) -> Bytes {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let partition = &self.topics[topic.topic].partitions[usize::try_from(asked.partition).unwrap()];
                let (leader_epoch, end_offset) = partition.end_of(asked.leader_epoch);
                EpochEndOffset {
                    error_code: partition.refusal(broker, asked.current_leader_epoch),
                    partition: asked.partition,
                    leader_epoch,
                    end_offset,
                }
            });
            OffsetForLeaderTopicResult { topic: topic.topic, partitions: partitions.collect() }
        });
        reply(header, &OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() })
    }
}

fn is_quiet(it: &PartitionData<'_>) -> bool {
    it.error_code.is_none() && it.preferred_read_replica < 0
}

struct Named {
    wanted: BTreeMap<(String, i32), FetchPartition>,
    forgotten: Vec<(String, i32)>,
}

type Wanted = BTreeMap<(String, i32), FetchPartition>;

impl Sessions {
    fn enter(
        &mut self,
        broker: i32,
        request: &FetchRequest<'_>,
        named: Named,
        lost: bool,
        version: i16,
    ) -> Result<(i32, Wanted), ErrorCode> {
        if version < 7 {
            return Ok((0, named.wanted));
        }
        let key = (broker, request.session_id);
        if lost {
            self.open.remove(&key);
        }
        if request.session_epoch == 0 {
            self.open.remove(&key);
            self.next += 1;
            self.made += 1;
            self.open.insert((broker, self.next), Session { epoch: 1, partitions: named.wanted.clone() });
            return Ok((self.next, named.wanted));
        }
        let session = self.open.get_mut(&key).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        session.epoch += 1;
        self.named += named.wanted.len() as u64;
        session.partitions.extend(named.wanted);
        session.partitions.retain(|partition, _| !named.forgotten.contains(partition));
        Ok((request.session_id, session.partitions.clone()))
    }
}

impl Partition {
    fn refusal(&self, broker: i32, current: i32) -> ErrorCode {
        match current.cmp(&self.leader_epoch) {
            _ if self.leader != broker => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            std::cmp::Ordering::Less if current >= 0 => ErrorCode::FENCED_LEADER_EPOCH,
            std::cmp::Ordering::Greater => ErrorCode::UNKNOWN_LEADER_EPOCH,
            _ => ErrorCode::NONE,
        }
    }

    /// Who is asked of it.
    fn count(&mut self, broker: i32) {
        let leads = self.leader == broker;
        if let Some(near) = &mut self.near {
            near.asked.0 += u32::from(near.id == broker);
            near.asked.1 += u32::from(leads);
        }
    }

    fn read(&self, broker: i32, asked: &FetchPartition, rack: &str) -> PartitionData<'_> {
        let mut data =
            PartitionData { partition_index: asked.partition, high_watermark: self.end, ..Default::default() };
        if let Some(near) = self.near.filter(|near| near.id == broker) {
            return self.read_near(&near, asked, data);
        }
        data.error_code = self.refusal(broker, asked.current_leader_epoch);
        let outside = asked.fetch_offset < self.start || asked.fetch_offset > self.end;
        if let Some(near) = self.near.filter(|_| data.error_code.is_none() && !outside && !rack.is_empty()) {
            data.preferred_read_replica = near.id;
            return data;
        }
        if data.error_code.is_none() && outside {
            data.error_code = ErrorCode::OFFSET_OUT_OF_RANGE;
        }
        if data.error_code.is_none() {
            data.records = Some(Records::Slice(self.bytes_from(asked)));
            let aborted = self.aborted.iter();
            let aborted = aborted.map(|&(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset });
            data.aborted_transactions = Some(aborted.collect());
        }
        data
    }

    /// Reads at the follower: nothing above its high watermark, whole batches at least.
    fn read_near<'a>(&'a self, near: &Near, asked: &FetchPartition, mut data: PartitionData<'a>) -> PartitionData<'a> {
        data.high_watermark = near.high_watermark;
        data.error_code = match asked.fetch_offset {
            _ if near.refuses.is_some() => near.refuses.unwrap_or_default(),
            offset if offset > near.end => ErrorCode::OFFSET_OUT_OF_RANGE,
            offset if offset > near.high_watermark => ErrorCode::OFFSET_NOT_AVAILABLE,
            _ => ErrorCode::NONE,
        };
        if data.error_code.is_none() && asked.fetch_offset < near.high_watermark {
            data.records = Some(Records::Slice(self.bytes_from(asked)));
        }
        data
    }

    /// The batches from an offset on, cut where the most bytes end, but for the first.
    fn bytes_from(&self, asked: &FetchPartition) -> &[u8] {
        let mut start = None;
        let mut at = 0;
        let mut first = 0;
        for batch in batches(&self.log) {
            let Ok(batch) = batch else { break };
            if start.is_none() && batch.header().last_offset().0 >= asked.fetch_offset {
                start = Some(at);
                first = batch.bytes().len();
            }
            at += batch.bytes().len();
        }
        let Some(start) = start else { return &[] };
        let most = first.max(usize::try_from(asked.partition_max_bytes).unwrap());
        &self.log[start..(start + most).min(self.log.len())]
    }

    /// The largest epoch that is not above `epoch`, and where it ends.
    fn end_of(&self, epoch: i32) -> (i32, i64) {
        let mut found = (-1, -1);
        for batch in batches(&self.log).map(Result::unwrap) {
            let header = batch.header();
            if header.leader_epoch.0 <= epoch {
                found = (header.leader_epoch.0, header.next_offset().0);
            }
        }
        if epoch >= self.leader_epoch { (self.leader_epoch, self.end) } else { found }
    }
}
