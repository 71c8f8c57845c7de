//! One node, its disk, and a connection for each request, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_core::clock::{Instant, Now, WallTime};
use ottla_core::machine::{ConnId, DiskError, Input};
use ottla_core::record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_wire::api::Request as Body;
use ottla_wire::api::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::api::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use ottla_wire::api::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use ottla_wire::frame::{PREFIX_LEN, RequestHeader, ResponseHeader};
use ottla_wire::{ApiKey, ErrorCode, Message, Reader, Records, Uuid, Writer};

use crate::disk::Crash;
use crate::node::Node;

const CREATE_TOPICS: i16 = 5;
const PRODUCE: i16 = 9;
const FETCH: i16 = 12;

#[derive(Clone)]
pub struct World {
    pub node: Node,
    now: Instant,
    /// By how much the wall clock has stepped.
    pub stepped_ms: i64,
    conns: u64,
    answers: BTreeMap<ConnId, Bytes>,
}

/// A request that was sent, on a connection of its own.
pub type Request = ConnId;

/// A whole answer, with the version that it has.
pub struct Answer {
    bytes: Bytes,
    api_key: ApiKey,
    api_version: i16,
}

impl Answer {
    /// A reader at the start of the body.
    pub fn body(&self) -> Reader<'_> {
        let mut reader = Reader::new(&self.bytes[PREFIX_LEN..]);
        ResponseHeader::decode(&mut reader, self.api_key, self.api_version).expect("a header");
        reader
    }
}

impl World {
    /// A node of a new cluster that is ready.
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let world = Self::starting(settings, None);
        assert!(world.node.ready, "{:?}", world.node.notes);
        world
    }

    /// A node of a new cluster whose start is over; of its operations one may fail.
    pub fn starting(settings: &[(&str, &str)], fails: Option<(u64, DiskError)>) -> Self {
        let node = Node::new(7, settings);
        let mut world = Self { node, now: Instant(1_000_000_000), stepped_ms: 0, conns: 0, answers: BTreeMap::new() };
        world.node.disk.fail.extend(fails);
        let now = world.now();
        world.node.on_timeout(now);
        world.run_for(Duration::from_secs(10));
        world
    }

    /// A crash, and a start of which an operation may fail.
    pub fn restart(&mut self, crash: Crash, fails: Option<(u64, DiskError)>) {
        let now = self.now();
        self.node.restart(now, crash);
        self.node.disk.fail.extend(fails.map(|(nth, error)| (self.node.disk.done + nth, error)));
        self.run_for(Duration::from_secs(10));
    }

    /// A stop in good order, and a start, which looks at no log then.
    pub fn restart_in_good_order(&mut self) {
        let now = self.now();
        self.node.handle(now, Input::Shutdown);
        self.run_for(Duration::from_secs(10));
        assert!(self.node.stopped);
        self.restart(Crash::Kill, None);
    }

    fn now(&self) -> Now {
        let ms = i64::try_from(self.now.0 / 1_000_000).expect("it is small");
        Now { monotonic: self.now, wall: WallTime(1_700_000_000_000 + ms + self.stepped_ms) }
    }

    /// A crash, and a start that goes as far as serving clients, and no further: the disk has not done all it is asked.
    pub fn restart_until_ready(&mut self, crash: Crash) {
        let now = self.now();
        self.node.restart(now, crash);
        while !self.node.ready {
            assert!(self.node.disk_is_busy(), "{:?}", self.node.notes);
            self.node.on_disk(now);
        }
    }

    /// The client of a request goes.
    pub fn leave(&mut self, request: Request) {
        let now = self.now();
        self.node.on_left(now, request);
    }

    /// The disk does all that is asked of it, and time passes.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        let mut steps = 0;
        loop {
            while self.node.disk_is_busy() {
                let now = self.now();
                self.node.on_disk(now);
            }
            steps += 1;
            assert!(steps < 100_000, "the node wants time to stand still");
            match self.node.next_deadline().filter(|at| *at <= until && !self.node.stopped) {
                Some(at) => {
                    self.now = self.now.max(at);
                    let now = self.now();
                    self.node.on_timeout(now);
                }
                None => break,
            }
        }
        self.now = until;
        self.answers.extend(self.node.take_output().0);
    }

    /// Time passes in which neither the disk nor a job does anything.
    pub fn stall_for(&mut self, time: Duration) {
        self.now = self.now + time;
        let now = self.now();
        self.node.on_timeout(now);
    }

    pub fn send<'a>(&mut self, api_key: ApiKey, api_version: i16, body: &impl Message<'a>) -> Request {
        self.send_frame(api_key, api_version, |writer| body.encode(writer, api_version))
    }

    fn send_frame(&mut self, api_key: ApiKey, api_version: i16, body: impl FnOnce(&mut Writer)) -> Request {
        self.conns += 1;
        let (conn, now) = (ConnId(self.conns), self.now());
        self.node.on_accepted(now, conn);
        let mut writer = Writer::new();
        RequestHeader { api_key, api_version, correlation_id: 1, client_id: None }.encode(&mut writer);
        body(&mut writer);
        self.node.on_frame(now, conn, Bytes::from(writer.into_bytes()));
        self.answers.extend(self.node.take_output().0);
        conn
    }

    /// A request and its answer.
    pub fn call<'a>(&mut self, api_key: ApiKey, api_version: i16, body: &impl Message<'a>) -> Answer {
        let request = self.send(api_key, api_version, body);
        if self.answer_of(request).is_none() {
            self.run_for(Duration::from_secs(2));
        }
        let bytes = self.answer_of(request).expect("an answer");
        Answer { bytes, api_key, api_version }
    }

    /// The same for a request of any kind.
    pub fn call_any(&mut self, api_key: ApiKey, api_version: i16, body: &Body<'_>) -> Answer {
        let request = self.send_frame(api_key, api_version, |writer| body.encode(writer, api_version));
        self.run_for(Duration::from_secs(2));
        self.answer_to(request, api_key, api_version)
            .unwrap_or_else(|| panic!("{api_key} {api_version} is not answered"))
    }

    /// The answer to a request, if there is one yet.
    pub fn answer_to(&self, request: Request, api_key: ApiKey, api_version: i16) -> Option<Answer> {
        Some(Answer { bytes: self.answer_of(request)?, api_key, api_version })
    }

    /// The id of a topic, as clients are told it.
    pub fn topic_id(&mut self, name: &str) -> Uuid {
        let topics = Some(vec![MetadataRequestTopic { name: Some(name), ..Default::default() }]);
        let answer = self.call(ApiKey::Metadata, 12, &MetadataRequest { topics, ..Default::default() });
        MetadataResponse::decode(&mut answer.body(), 12).expect("an answer").topics[0].topic_id
    }

    pub fn answer_of(&self, request: Request) -> Option<Bytes> {
        self.answers.get(&request).cloned()
    }

    /// Asks for a topic of one partition.
    pub fn send_create_topic(&mut self, name: &str) -> Request {
        let topic = CreatableTopic { name, num_partitions: 1, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        self.send(ApiKey::CreateTopics, CREATE_TOPICS, &request)
    }

    pub fn create_topic(&mut self, name: &str, partitions: i32) {
        let topic = CreatableTopic { name, num_partitions: partitions, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        let answer = self.call(ApiKey::CreateTopics, CREATE_TOPICS, &request);
        let answer = CreateTopicsResponse::decode(&mut answer.body(), CREATE_TOPICS).expect("an answer");
        assert_eq!(answer.topics[0].error_code, ErrorCode::NONE);
    }

    /// Sends a batch of one record.
    pub fn send_produce(&mut self, topic: &str, partition: i32, acks: i16, timeout_ms: i32) -> Request {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(&NewRecord { timestamp: 1000, key: None, value: Some(b"value"), headers: &[] });
        let batch = builder.build();
        let records = Some(Records::Slice(&batch));
        let partition_data = vec![PartitionProduceData { index: partition, records }];
        let topic_data = vec![TopicProduceData { name: topic, partition_data, ..Default::default() }];
        let request = ProduceRequest { acks, timeout_ms, topic_data, ..Default::default() };
        self.send(ApiKey::Produce, PRODUCE, &request)
    }

    /// What became of a produce; `None` if it is not answered.
    pub fn produced(&self, request: Request) -> Option<ErrorCode> {
        let answer = Answer { bytes: self.answer_of(request)?, api_key: ApiKey::Produce, api_version: PRODUCE };
        let answer = ProduceResponse::decode(&mut answer.body(), PRODUCE).expect("an answer");
        Some(answer.responses[0].partition_responses[0].error_code)
    }

    /// Sends a batch of one record, and waits for the answer.
    pub fn produce(&mut self, topic: &str, partition: i32, acks: i16, timeout_ms: i32) -> Option<ErrorCode> {
        let request = self.send_produce(topic, partition, acks, timeout_ms);
        self.run_for(Duration::from_secs(2));
        self.produced(request)
    }

    /// Asks for what lies at an offset or after it.
    pub fn send_fetch(&mut self, topic: &str, partition: i32, fetch_offset: i64, max_wait_ms: i32) -> Request {
        let partition = FetchPartition { partition, fetch_offset, partition_max_bytes: 1000, ..Default::default() };
        let request = FetchRequest {
            max_wait_ms,
            min_bytes: 1,
            max_bytes: 1000,
            topics: vec![FetchTopic { topic, partitions: vec![partition], ..Default::default() }],
            ..Default::default()
        };
        self.send(ApiKey::Fetch, FETCH, &request)
    }
}
