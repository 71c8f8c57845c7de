//! The real binary, spoken to in Kafka's protocol: what it answers, how soon, and what it keeps when it is killed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ottla_core::record::{BatchBuilder, BatchOptions, NewRecord, Producer, batches};
use ottla_core::types::{ProducerEpoch, ProducerId};
use ottla_wire::api::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::api::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::api::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ottla_wire::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::api::metadata::{MetadataRequest, MetadataResponse};
use ottla_wire::api::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use ottla_wire::frame::{RequestHeader, ResponseHeader, encode_request};
use ottla_wire::{ApiKey, ErrorCode, Message, Reader, Records, Writer};
use rustix::process::Pid;

use ottla_tests::dev::Broker;

const TOPIC: &str = "t";
const FETCH: i16 = 12;
const PRODUCE: i16 = 9;
/// What a client of ours has unanswered at most: as many batches as an idempotent producer may.
const IN_FLIGHT: i32 = 5;

fn start(data: &Path) -> Broker {
    Broker::start(env!("CARGO_BIN_EXE_ottla"), data)
}

struct Client {
    stream: TcpStream,
    sent: i32,
}

impl Client {
    fn connect(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.address).expect("it accepts");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it can be set");
        Self { stream, sent: 0 }
    }

    fn send<'a>(&mut self, api_key: ApiKey, api_version: i16, body: &impl Message<'a>) -> std::io::Result<()> {
        self.sent += 1;
        let mut frame = Writer::new();
        let header = RequestHeader { api_key, api_version, correlation_id: self.sent, client_id: Some("test") };
        encode_request(&mut frame, &header, body);
        self.stream.write_all(frame.as_bytes())
    }

    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("it fits")];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    fn call<'a>(&mut self, key: ApiKey, version: i16, body: &impl Message<'a>) -> Vec<u8> {
        self.send(key, version, body).expect("it reads");
        self.receive().expect("it answers")
    }

    fn create_topic(&mut self) {
        let topic = CreatableTopic { name: TOPIC, num_partitions: 1, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let answer = self.call(ApiKey::CreateTopics, 7, &request);
        let created: CreateTopicsResponse = decode(&answer, ApiKey::CreateTopics, 7);
        assert_eq!(created.topics[0].error_code, ErrorCode::NONE);
    }

    fn producer(&mut self) -> (ProducerId, ProducerEpoch) {
        let answer = self.call(ApiKey::InitProducerId, 4, &InitProducerIdRequest::default());
        let given: InitProducerIdResponse = decode(&answer, ApiKey::InitProducerId, 4);
        assert_eq!(given.error_code, ErrorCode::NONE);
        (ProducerId(given.producer_id), ProducerEpoch(given.producer_epoch))
    }

    /// Sends one record, the text of its number, as the batch with that sequence number.
    fn send_record(&mut self, (id, epoch): (ProducerId, ProducerEpoch), number: i32) -> std::io::Result<()> {
        let producer = Producer { id, epoch, base_sequence: number };
        let mut batch = BatchBuilder::new(BatchOptions { producer, ..Default::default() });
        batch.append(&NewRecord { timestamp: 1, value: Some(number.to_string().as_bytes()), ..Default::default() });
        let bytes = batch.build();
        let data = PartitionProduceData { index: 0, records: Some(Records::Slice(&bytes)) };
        let topic = TopicProduceData { name: TOPIC, partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
        self.send(ApiKey::Produce, PRODUCE, &request)
    }

    fn receive_ack(&mut self) -> std::io::Result<i64> {
        let answer = self.receive()?;
        let produced: ProduceResponse = decode(&answer, ApiKey::Produce, PRODUCE);
        let partition = &produced.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, ErrorCode::NONE);
        Ok(partition.base_offset)
    }

    /// All records, as their offset and text.
    fn read_all(&mut self) -> Vec<(i64, String)> {
        let mut found = Vec::new();
        loop {
            let next = found.last().map_or(0, |(offset, _)| offset + 1);
            let partition = FetchPartition { fetch_offset: next, partition_max_bytes: 1 << 20, ..Default::default() };
            let topic = FetchTopic { topic: TOPIC, partitions: vec![partition], ..Default::default() };
            let request = FetchRequest { topics: vec![topic], ..Default::default() };
            let answer = self.call(ApiKey::Fetch, FETCH, &request);
            let fetched: FetchResponse = decode(&answer, ApiKey::Fetch, FETCH);
            let data = &fetched.responses[0].partitions[0];
            assert_eq!(data.error_code, ErrorCode::NONE);
            let bytes = data.records.and_then(|records| records.as_slice()).unwrap_or_default();
            if bytes.is_empty() {
                assert_eq!(data.high_watermark, next);
                return found;
            }
            found.extend(records(bytes).into_iter().filter(|(offset, _)| *offset >= next));
        }
    }
}

/// KIP-511: without a name the answer is INVALID_REQUEST.
fn who_we_are() -> ApiVersionsRequest<'static> {
    ApiVersionsRequest { client_software_name: "test", client_software_version: "1" }
}

fn decode<'a, M: Message<'a>>(frame: &'a [u8], key: ApiKey, version: i16) -> M {
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, key, version).expect("a header");
    M::decode(&mut reader, version).expect("a body")
}

fn records(bytes: &[u8]) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for batch in batches(bytes).map_while(Result::ok) {
        let mut scratch = Vec::new();
        for record in batch.records(&mut scratch, 1 << 20).expect("it can be read") {
            let record = record.expect("it can be read");
            let value = record.value.expect("it has a value");
            found.push((record.offset.0, String::from_utf8_lossy(value).into_owned()));
        }
    }
    found
}

/// The acceptance line (50 ms from start to answer, 20 MiB) is for the release binary; this one only must not be slow.
#[test]
fn it_answers_soon_and_is_small() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let begun = Instant::now();
    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    let answer = client.call(ApiKey::ApiVersions, 3, &who_we_are());
    let took = begun.elapsed();
    let versions: ApiVersionsResponse = decode(&answer, ApiKey::ApiVersions, 3);
    assert_eq!(versions.error_code, ErrorCode::NONE);
    let answer = client.call(ApiKey::Metadata, 12, &MetadataRequest::default());
    let metadata: MetadataResponse = decode(&answer, ApiKey::Metadata, 12);
    assert_eq!(metadata.brokers.len(), 1);
    assert_eq!(i64::from(broker.address.port()), i64::from(metadata.brokers[0].port));
    let resident = resident_kib(broker.pid());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(resident < 64 << 10, "{resident} KiB");
}

fn resident_kib(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The short form of `make crash-test`: an idempotent producer goes on over kills, with batches in doubt each time.
#[test]
fn kill_9_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut broker = start(dir.path());
    let mut client = Client::connect(&broker);
    client.create_topic();
    let producer = client.producer();
    let mut acked = 0;
    for round in 1..=5 {
        let until = acked + 20 * round;
        let mut sent = acked;
        while acked < until {
            while sent < acked + IN_FLIGHT {
                client.send_record(producer, sent).expect("it reads");
                sent += 1;
            }
            assert_eq!(client.receive_ack().expect("it answers"), i64::from(acked));
            acked += 1;
        }
        // Now some are in doubt: sent, and perhaps written, and perhaps answered.
        broker.kill();
        broker = start(dir.path());
        client = Client::connect(&broker);
    }
    let read = client.read_all();
    let numbers: Vec<(i64, String)> = (0..).zip(0..read.len()).map(|(at, number)| (at, number.to_string())).collect();
    assert_eq!(read, numbers);
    let acked = usize::try_from(acked).expect("it only rises");
    assert!((acked..=acked + 5).contains(&read.len()), "{acked} acknowledged, {} there", read.len());
}

/// A client that lost an answer asks again, perhaps of the next process, and perhaps nothing else is ever written.
#[test]
fn a_retry_of_what_is_there_is_answered_at_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut broker = start(dir.path());
    let mut client = Client::connect(&broker);
    client.create_topic();
    let producer = client.producer();
    for _ in 0..2 {
        client.send_record(producer, 0).expect("it reads");
        assert_eq!(client.receive_ack().expect("it answers"), 0);
    }
    broker.kill();
    broker = start(dir.path());
    client = Client::connect(&broker);
    client.send_record(producer, 0).expect("it reads");
    assert_eq!(client.receive_ack().expect("it answers"), 0);
    assert_eq!(client.read_all().len(), 1);
}

#[test]
fn sigterm_ends_it_in_good_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for number in 0..3 {
        let broker = start(dir.path());
        let mut client = Client::connect(&broker);
        if number == 0 {
            client.create_topic();
        }
        let producer = client.producer();
        client.send_record(producer, 0).expect("it reads");
        assert_eq!(client.receive_ack().expect("it answers"), number);
        assert_eq!(client.read_all().len(), usize::try_from(number + 1).expect("small"));
        assert!(broker.terminate().success());
    }
}
