//! A broker on a disk that does all that is asked of it at once, and keeps nothing but the metadata, which the machine
//! reads again: what is left is the machine.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use ottla_core::clock::{Instant, Now, WallTime};
use ottla_core::config::{BrokerConfig, Config};
use ottla_core::ingress::{Request, ingress};
use ottla_core::job::Next;
use ottla_core::machine::{
    ConnId, DiskError, DiskResult, Effect, Effects, FileAction, FileId, Input, ListenerId, Machine, OpenMode, Opened,
};
use ottla_core::record::{BatchBuilder, BatchHead, BatchOptions, NewRecord};
use ottla_wire::api::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::frame::{PREFIX_LEN, RequestHeader, encode_request};
use ottla_wire::{ApiKey, Message, Records, Writer};

/// The machine, and one connection to it.
pub struct Node {
    machine: Machine,
    now: Now,
    effects: Effects,
    /// What completed and was not told yet.
    completed: VecDeque<Input>,
    /// The files of the metadata.
    kept: BTreeMap<FileId, Vec<u8>>,
    /// How many requests were answered.
    answered: usize,
    ready: bool,
}

const CONN: ConnId = ConnId(1);

impl Node {
    /// A broker that is ready, with a topic `t`.
    pub fn new(partitions: i32) -> Self {
        let mut config = Config::new(BrokerConfig::for_test(1, &[]));
        config.new_cluster = true;
        let now = Now { monotonic: Instant(1_000_000_000), wall: WallTime(1_700_000_000_000) };
        let mut node = Self {
            machine: Machine::new(config, 7),
            now,
            effects: Effects::new(),
            completed: VecDeque::new(),
            kept: BTreeMap::new(),
            answered: 0,
            ready: false,
        };
        node.run_until(|node| node.ready);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        node.handle(Input::Opened { conn: CONN, how: Opened::Accepted { listener: ListenerId(0), peer } });
        let topic =
            CreatableTopic { name: "t", num_partitions: partitions, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
        node.ask(frame(ApiKey::CreateTopics, 5, &request));
        node
    }

    /// A request, as the driver has read it, and all that follows until it is answered.
    pub fn ask(&mut self, frame: Bytes) {
        let request = ingress(frame, 1 << 30).expect("it can be read");
        self.step(request);
    }

    /// A request that was read, and all that follows until it is answered.
    pub fn step(&mut self, request: Request) {
        let before = self.answered;
        self.handle(Input::Frame { conn: CONN, request });
        self.run_until(|node| node.answered > before);
    }

    fn run_until(&mut self, is_done: impl Fn(&Self) -> bool) {
        while !is_done(self) {
            match self.completed.pop_front() {
                None => self.wait(),
                Some(completed) => self.handle(completed),
            }
        }
    }

    fn wait(&mut self) {
        let deadline = self.machine.next_deadline().expect("somebody waits for an answer");
        let passed = deadline.since(self.now.monotonic);
        self.now.monotonic = self.now.monotonic.max(deadline);
        self.now.wall.0 += i64::try_from(passed.as_millis()).expect("it is soon");
        self.handle(Input::Timeout);
    }

    fn handle(&mut self, input: Input) {
        self.machine.handle(self.now, input, &mut self.effects);
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain() {
            self.carry_out(effect);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Append { op, file, pos, base_offset, leader_epoch, rest } => {
                if let Some(kept) = self.kept.get_mut(&file) {
                    let head = BatchHead::new(base_offset, leader_epoch, rest.len());
                    write(kept, pos as usize, &[&head.0[..], &rest].concat());
                }
                self.completed.push_back(Input::Disk { op, result: DiskResult::Done });
            }
            Effect::Write { op, file, pos, bytes } => {
                if let Some(kept) = self.kept.get_mut(&file) {
                    write(kept, usize::try_from(pos).expect("it is small"), &bytes);
                }
                self.completed.push_back(Input::Disk { op, result: DiskResult::Done });
            }
            Effect::Sync { op, .. } => self.completed.push_back(Input::Disk { op, result: DiskResult::Done }),
            Effect::File { op, action } => {
                let result = self.act(*action);
                self.completed.push_back(Input::Disk { op, result });
            }
            Effect::Run { job, mut work } => {
                let mut read = None;
                let report = loop {
                    match work.step(read) {
                        Next::Done(report) => break report,
                        Next::Read { file, pos, len } => read = Some(Ok(self.read(file, pos, len))),
                        Next::Write { .. } => panic!("nothing is compacted"),
                    }
                };
                self.completed.push_back(Input::JobDone { job, report });
            }
            Effect::Send { last, .. } | Effect::SendRange { last, .. } => self.answered += usize::from(last),
            Effect::Ready => self.ready = true,
            Effect::Note(_) | Effect::Done { .. } | Effect::PauseReading { .. } | Effect::ResumeReading { .. } => {}
            Effect::Close { .. } | Effect::Connect { .. } | Effect::Stopped => panic!("{effect}"),
        }
    }
}

impl Node {
    fn act(&mut self, action: FileAction) -> DiskResult {
        match action {
            FileAction::Open { mode: OpenMode::Existing, .. } => DiskResult::Failed(DiskError::NotFound),
            FileAction::Open { file, path, mode: OpenMode::Create } => {
                if path.name.starts_with("__cluster_metadata") {
                    self.kept.insert(file, Vec::new());
                }
                DiskResult::Opened { len: 0 }
            }
            FileAction::List { .. } => DiskResult::Entries(Box::default()),
            FileAction::Read { file, pos, len } => DiskResult::Bytes(self.read(file, pos, len)),
            FileAction::FreeSpace { .. } => DiskResult::Space(u64::MAX / 2),
            FileAction::MakeDir { .. }
            | FileAction::CloseFile { .. }
            | FileAction::SetLen { .. }
            | FileAction::Forget { .. }
            | FileAction::SyncDir { .. }
            | FileAction::Rename { .. }
            | FileAction::Remove { .. } => DiskResult::Done,
        }
    }

    fn read(&self, file: FileId, pos: u64, len: u32) -> Bytes {
        let kept = self.kept.get(&file).expect("only the metadata is read");
        let rest = &kept[usize::try_from(pos).expect("it is small").min(kept.len())..];
        Bytes::copy_from_slice(&rest[..rest.len().min(len as usize)])
    }
}

fn write(kept: &mut Vec<u8>, pos: usize, bytes: &[u8]) {
    kept.resize(kept.len().max(pos + bytes.len()), 0);
    kept[pos..pos + bytes.len()].copy_from_slice(bytes);
}

fn frame<'a>(api_key: ApiKey, api_version: i16, body: &impl Message<'a>) -> Bytes {
    let mut writer = Writer::new();
    let header = RequestHeader { api_key, api_version, correlation_id: 1, client_id: Some("bench") };
    encode_request(&mut writer, &header, body);
    Bytes::from(writer.into_bytes()).slice(PREFIX_LEN..)
}

/// A batch of so many records with values of so many bytes.
pub fn batch(records: usize, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![b'v'; value_bytes];
    for _ in 0..records {
        builder.append(&NewRecord { timestamp: 1_700_000_000_000, key: None, value: Some(&value), headers: &[] });
    }
    builder.build()
}

/// A Produce with acks=all of the same batch for each of the first partitions of `t`.
pub fn produce(partitions: i32, batch: &[u8]) -> Bytes {
    let records = Some(Records::Slice(batch));
    let partition_data = (0..partitions).map(|index| PartitionProduceData { index, records }).collect();
    let topic_data = vec![TopicProduceData { name: "t", partition_data, ..Default::default() }];
    frame(ApiKey::Produce, 9, &ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..Default::default() })
}

/// A Fetch of the first partitions of `t` from their start.
pub fn fetch(partitions: i32) -> Bytes {
    let partition = |partition| FetchPartition { partition, partition_max_bytes: 1 << 20, ..Default::default() };
    let partitions = (0..partitions).map(partition).collect();
    let topics = vec![FetchTopic { topic: "t", partitions, ..Default::default() }];
    frame(
        ApiKey::Fetch,
        12,
        &FetchRequest { max_wait_ms: 500, min_bytes: 1, max_bytes: 1 << 20, topics, ..Default::default() },
    )
}
