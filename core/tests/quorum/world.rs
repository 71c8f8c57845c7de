//! Several machines, each with a disk, and connections between them that break and hang; and what must hold of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use ottla_core::clock::{Instant, Now, WallTime};
use ottla_core::config::{BrokerConfig, Config};
use ottla_core::controller::{MetadataImage, Snapshot};
use ottla_core::ingress::ingress;
use ottla_core::machine::{ConnId, Effect, Effects, FileAction, Input, ListenerId, Machine, Opened};
use ottla_core::planted::Planted;
use ottla_core::raft::SnapshotId;
use ottla_core::record::{self, BatchBuilder, BatchOptions, NewRecord};
use ottla_core::rng::Rng;
use ottla_core::types::{BrokerId, Offset};
use ottla_wire::api::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::api::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_wire::api::find_coordinator::FindCoordinatorRequest;
use ottla_wire::api::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use ottla_wire::frame::{PREFIX_LEN, RequestHeader, ResponseHeader};
use ottla_wire::{ApiKey, ErrorCode, Message, Reader, Records, Writer};

use crate::disk::{Crash, Disk};

const MS: u64 = 1_000_000;
const CREATE_TOPICS: i16 = 5;
const DELETE_TOPICS: i16 = 4;
const PRODUCE: i16 = 9;

/// A node, and its disk, which outlives the process.
struct Node {
    machine: Option<Machine>,
    disk: Disk,
    queued: usize,
    boots: u64,
    timer: u64,
    next_conn: u64,
    conns: BTreeMap<ConnId, (u64, usize)>,
    /// It was asked to stop.
    stops: bool,
    stopped: bool,
    notes: Vec<String>,
    /// Up to where its committed metadata was looked at.
    looked: Offset,
    /// It dies when so many more operations of its disk were asked for, with its machine or alone.
    dies: Option<(u64, bool)>,
}

/// A connection: who dialled, who was dialled.
struct Link {
    /// The process at each end, and its number there; `None` for a client, and once the end is gone.
    ends: [Option<(usize, ConnId)>; 2],
    /// When what was sent last by each end arrives.
    last: [u64; 2],
    partial: [Vec<u8>; 2],
    /// It looks open, and nothing comes through.
    hangs: bool,
    /// How long the answer to what a node asks another takes.
    slow_ms: u64,
    listener: ListenerId,
    /// What a client wants.
    wants: Option<Want>,
}

/// What clients asked, and were told.
#[derive(Default)]
struct Told {
    asked: u64,
    /// The topics that are made.
    topics: BTreeSet<String>,
    /// Those that are deleted.
    deleted: BTreeSet<String>,
    /// Where each record lies: partition and offset.
    records: BTreeMap<(i32, i64), u64>,
    /// Whether topics are deleted, too.
    deletes: bool,
    /// The topics that were not answered for: the connection was closed.
    closed: BTreeSet<String>,
    /// How many are produced a second; none if 0.
    rate: u64,
    /// What was answered to readers, with when, by connection.
    read: BTreeMap<u64, (u64, Bytes)>,
}

/// How a world is.
#[derive(Default)]
pub struct Knobs {
    /// Settings of every node.
    pub settings: &'static [(&'static str, &'static str)],
    /// Clients ask only for what the test has them ask.
    pub quiet: bool,
    /// How long nodes take to find each other.
    pub dial_ms: u64,
    /// How long a node takes to answer another that asks for a topic.
    pub answer_ms: u64,
    /// How long records take from a node to another.
    pub fetch_ms: u64,
    /// Each node is in a rack of its own, `r` and its number.
    pub racks: bool,
}

/// What a client wants of a node.
enum Want {
    /// A topic of one replica.
    Topic(String),
    /// None of this name any more.
    Gone(String),
    /// A topic of three replicas.
    Replicated,
    /// A record of this value in a partition of it.
    Record(i32, u64),
    /// Whatever the answer is.
    Read,
}

enum Due {
    Disk { node: usize, boots: u64 },
    Timer { node: usize, timer: u64 },
    Dial { node: usize, boots: u64, token: u64, to: (usize, usize) },
    Dialled { node: usize, boots: u64, token: u64, link: Option<u64> },
    Frame { link: u64, side: usize, bytes: Bytes },
    Closed { link: u64, side: usize },
    Start { node: usize },
    Trouble,
    Create,
    Produce,
}

/// The world.
pub struct World {
    nodes: Vec<Node>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    queue: BTreeMap<(u64, u64), Due>,
    queued: u64,
    now: u64,
    rng: Rng,
    /// How often something bad happens, on average, in ms; never if 0.
    trouble_ms: u64,
    planted: Planted,
    cut: BTreeSet<(usize, usize)>,
    calm: bool,
    told: Told,
    /// How it is there.
    pub knobs: Knobs,
    seen: Seen,
}

/// What was seen of all nodes.
#[derive(Default)]
struct Seen {
    leaders: BTreeMap<i32, usize>,
    images: BTreeMap<Offset, MetadataImage>,
    /// Snapshots that got their names, and those that took the place of a log.
    snapshots: usize,
    installed: usize,
    /// How often a node was asked for topics by another.
    creations: usize,
}

impl World {
    pub fn new(nodes: usize, trouble_ms: u64, planted: Planted, seed: u64) -> Self {
        let node = || Node {
            machine: None,
            disk: Disk::new(),
            queued: 0,
            boots: 0,
            timer: 0,
            next_conn: 1,
            conns: BTreeMap::new(),
            stops: false,
            stopped: false,
            notes: Vec::new(),
            looked: Offset::ZERO,
            dies: None,
        };
        let mut world = Self {
            nodes: (0..nodes).map(|_| node()).collect(),
            links: BTreeMap::new(),
            next_link: 0,
            queue: BTreeMap::new(),
            queued: 0,
            now: MS,
            rng: Rng::new(seed),
            trouble_ms,
            planted,
            cut: BTreeSet::new(),
            calm: false,
            told: Told::default(),
            knobs: Knobs::default(),
            seen: Seen::default(),
        };
        for node in 0..nodes {
            world.add(MS, Due::Start { node });
        }
        world.add(MS, Due::Create);
        if trouble_ms > 0 {
            world.add(10_000 * MS, Due::Trouble);
        }
        world
    }

    /// Clients write to a topic of three replicas, `rate` records a second.
    pub fn produce(&mut self, rate: u64) {
        self.told.rate = rate;
        self.add(self.now, Due::Produce);
    }

    pub fn run(&mut self, ms: u64) {
        let until = self.now + ms * MS;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), due) = entry.remove_entry();
            self.now = at;
            self.on_due(due);
        }
        self.now = until;
    }

    /// Nothing bad happens any more, and nobody asks for anything.
    pub fn heal(&mut self) {
        self.calm = true;
        self.cut.clear();
        (0..self.nodes.len()).for_each(|node| self.add(self.now, Due::Start { node }));
    }

    pub fn acked(&self) -> usize {
        self.told.topics.len()
    }

    /// How many snapshots got their names.
    pub fn snapshots(&self) -> usize {
        self.seen.snapshots
    }

    /// How many snapshots took the place of a log.
    pub fn installed(&self) -> usize {
        self.seen.installed
    }

    /// Clients delete topics, too.
    pub fn delete_topics(&mut self) {
        self.told.deletes = true;
    }

    pub fn epochs(&self) -> usize {
        self.seen.leaders.len()
    }

    /// One leads, all others follow it and know all that is committed, every acknowledged topic among it.
    pub fn check_settled(&self) {
        let quorums = self.nodes.iter().map(|node| node.machine.as_ref().and_then(Machine::quorum));
        let quorums: Vec<_> = quorums.map(|quorum| quorum.unwrap_or_else(|| panic!("{}", self.describe()))).collect();
        let (leader, end) = quorums.iter().find(|(raft, _)| raft.is_leader()).expect("somebody leads");
        let voters = leader.voters().map_or(0, |voters| voters.len());
        assert_eq!(voters, self.nodes.len(), "{}", self.describe());
        for (raft, log_end) in &quorums {
            let same = (raft.leader(), raft.epoch(), raft.high_watermark(), *log_end);
            let expected = (Some(leader.node().id), leader.epoch(), Some(*end), *end);
            assert_eq!(same, expected, "{}", self.describe());
        }
        for node in &self.nodes {
            let image = node.machine.as_ref().expect("it runs").image();
            let lost: Vec<_> = self.told.topics.iter().filter(|topic| image.topic(topic).is_none()).collect();
            assert!(lost.is_empty(), "{lost:?} is lost: {}", self.describe());
            let left: Vec<_> = self.told.deleted.iter().filter(|topic| image.topic(topic).is_some()).collect();
            assert!(left.is_empty(), "{left:?} is left: {}", self.describe());
        }
    }

    pub fn describe(&self) -> String {
        let one = |(id, node): (usize, &Node)| {
            let quorum = node.machine.as_ref().and_then(Machine::quorum);
            let state = quorum.map(|(raft, end)| {
                let (role, epoch, committed) = (raft.role(), raft.epoch(), raft.high_watermark());
                format!("{role} epoch={epoch} end={end} committed={committed:?} leader={:?}", raft.leader())
            });
            format!("node {id} boots={} stopped={} {state:?} {:?}", node.boots, node.stopped, node.notes)
        };
        self.nodes.iter().enumerate().map(one).collect::<Vec<_>>().join("\n")
    }

    fn add(&mut self, at: u64, due: Due) {
        self.queued += 1;
        self.queue.insert((at, self.queued), due);
    }

    fn wait(&mut self, mean_us: u64) -> u64 {
        self.now + self.rng.below(2 * mean_us * 1_000)
    }

    fn clock(&self) -> Now {
        let ms = i64::try_from(self.now / MS).expect("it is small");
        Now { monotonic: Instant(self.now), wall: WallTime(1_700_000_000_000 + ms) }
    }

    fn on_due(&mut self, due: Due) {
        match due {
            Due::Start { node } => self.start(node),
            Due::Disk { node, boots } if self.nodes[node].boots == boots => {
                let node_ref = &mut self.nodes[node];
                node_ref.queued -= 1;
                if let Some(input) = node_ref.disk.step() {
                    self.handle(node, input);
                }
            }
            Due::Timer { node, timer } if self.nodes[node].timer == timer => self.handle(node, Input::Timeout),
            Due::Dial { node, boots, token, to } => self.on_dial(node, boots, token, to),
            Due::Dialled { node, boots, token, link } if self.nodes[node].boots == boots => {
                let conn = self.conn(node);
                let link = link.and_then(|id| self.links.get_mut(&id).map(|link| (id, link)));
                let result = match link {
                    Some((id, link)) => {
                        link.ends[0] = Some((node, conn));
                        self.nodes[node].conns.insert(conn, (id, 0));
                        Ok(())
                    }
                    None => Err("nobody answers".into()),
                };
                self.handle(node, Input::Opened { conn, how: Opened::Dialled { token, result } });
            }
            Due::Frame { link, side, bytes } => self.on_frame(link, side, bytes),
            Due::Closed { link, side } => self.on_closed(link, side),
            Due::Trouble => self.trouble(),
            Due::Create => self.create(),
            Due::Produce => self.on_produce(),
            Due::Disk { .. } | Due::Timer { .. } | Due::Dialled { .. } => {}
        }
    }

    fn start(&mut self, id: usize) {
        let count = self.nodes.len();
        let seed = self.rng.next_u64();
        let node = &mut self.nodes[id];
        if node.machine.is_some() {
            return;
        }
        let listeners =
            |id| format!("PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}", 9092 + 10 * id, 9093 + 10 * id);
        let servers: Vec<_> = (0..count).map(|id| format!("127.0.0.1:{}", 9093 + 10 * id)).collect();
        let settings = [
            ("listeners", listeners(id)),
            ("controller.quorum.bootstrap.servers", servers.join(",")),
            ("controller.quorum.auto.join.enable", "true".to_owned()),
            ("broker.rack", if self.knobs.racks { format!("r{id}") } else { String::new() }),
        ];
        let settings = settings.iter().map(|(key, value)| (*key, value.as_str()));
        let settings: Vec<_> = settings.chain(self.knobs.settings.iter().copied()).collect();
        let mut config = Config::new(BrokerConfig::for_test(i32::try_from(id).expect("small"), &settings));
        config.cluster_id = Some("the-cluster".to_owned());
        // The operator's word, on one node and once.
        config.new_cluster = id == 0 && node.boots == 0;
        config.planted = self.planted;
        node.boots += 1;
        (node.stops, node.stopped) = (false, false);
        node.machine = Some(Machine::new(config, seed));
        self.handle(id, Input::Timeout);
    }

    fn handle(&mut self, id: usize, input: Input) {
        let now = self.clock();
        let boots = self.nodes[id].boots;
        let Some(machine) = &mut self.nodes[id].machine else { return };
        let mut out = Effects::new();
        machine.handle(now, input, &mut out);
        self.look(id);
        let effects: Vec<_> = out.drain().collect();
        for effect in effects {
            if self.nodes[id].boots == boots {
                self.carry_out(id, effect);
            }
        }
        let node = &mut self.nodes[id];
        if node.boots != boots || node.machine.is_none() {
            return;
        }
        let deadline = node.machine.as_ref().and_then(Machine::next_deadline);
        if let Some(deadline) = deadline {
            node.timer += 1;
            let timer = node.timer;
            self.add(deadline.0.max(self.now), Due::Timer { node: id, timer });
        }
    }

    fn carry_out(&mut self, id: usize, effect: Effect) {
        let boots = self.nodes[id].boots;
        match effect {
            Effect::Send { conn, bytes, last } => self.send(id, conn, &bytes, last),
            Effect::SendRange { conn, range, last } => {
                let bytes = self.nodes[id].disk.read(range.file, range.pos.into(), range.len).expect("it is open");
                self.send(id, conn, &bytes, last);
            }
            Effect::Close { conn } => {
                if let Some((link, side)) = self.nodes[id].conns.get(&conn).copied() {
                    self.add(self.now, Due::Closed { link, side });
                    let at = self.wait(500);
                    self.add(at, Due::Closed { link, side: 1 - side });
                }
            }
            Effect::Connect { token, address } => {
                let port: usize = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
                let at = self.wait(500);
                let to = ((port - 9092) / 10, (port - 9092) % 10);
                self.add(at, Due::Dial { node: id, boots, token, to });
            }
            Effect::Note(note) => {
                self.seen.installed += usize::from(note.text.contains("goes on behind the leader's snapshot"));
                self.nodes[id].notes.push(note.text);
            }
            Effect::Stopped => {
                self.nodes[id].stopped = true;
                assert!(self.nodes[id].stops, "{}", self.describe());
                self.crash(id, Crash::Kill);
            }
            Effect::Ready | Effect::Done { .. } | Effect::PauseReading { .. } | Effect::ResumeReading { .. } => {}
            effect => {
                self.look_at_snapshot(id, &effect);
                self.nodes[id].disk.push(effect);
                self.nodes[id].queued += 1;
                let slow = if self.rng.below(100) == 0 { 20_000 } else { 50 };
                let at = self.wait(slow);
                self.add(at, Due::Disk { node: id, boots });
                self.count_down(id);
            }
        }
    }

    fn conn(&mut self, node: usize) -> ConnId {
        self.nodes[node].next_conn += 1;
        ConnId(self.nodes[node].next_conn)
    }

    fn on_dial(&mut self, node: usize, boots: u64, token: u64, (to, listener): (usize, usize)) {
        if self.cut.contains(&(node, to)) || self.cut.contains(&(to, node)) {
            return self.add(self.now + 3_000 * MS, Due::Dialled { node, boots, token, link: None });
        }
        let at = self.wait(500);
        if self.nodes[to].machine.is_none() {
            return self.add(at, Due::Dialled { node, boots, token, link: None });
        }
        let at = at + self.knobs.dial_ms * MS;
        let link = self.accept(to, ListenerId(u16::try_from(listener).expect("small")), None);
        self.add(at, Due::Dialled { node, boots, token, link: Some(link) });
    }

    /// A connection comes to a node.
    fn accept(&mut self, to: usize, listener: ListenerId, wants: Option<Want>) -> u64 {
        self.next_link += 1;
        let (id, conn) = (self.next_link, self.conn(to));
        let ends = [None, Some((to, conn))];
        let partial = [Vec::new(), Vec::new()];
        let link = Link { ends, last: [0; 2], partial, hangs: false, slow_ms: 0, listener, wants };
        self.links.insert(id, link);
        self.nodes[to].conns.insert(conn, (id, 1));
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        self.handle(to, Input::Opened { conn, how: Opened::Accepted { listener, peer } });
        id
    }

    fn send(&mut self, node: usize, conn: ConnId, bytes: &[u8], last: bool) {
        let Some((id, side)) = self.nodes[node].conns.get(&conn).copied() else { return };
        let at = self.wait(500);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.partial[side].extend_from_slice(bytes);
        if last {
            let bytes = Bytes::from(std::mem::take(&mut link.partial[side])).slice(PREFIX_LEN..);
            let slow = if side == 1 { link.slow_ms * MS } else { 0 };
            let at = (at + slow).max(link.last[side]);
            link.last[side] = at;
            self.add(at, Due::Frame { link: id, side: 1 - side, bytes });
        }
    }

    fn on_frame(&mut self, id: u64, side: usize, bytes: Bytes) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let processes = [0, 1].map(|side| link.ends[side].map(|(node, _)| node));
        if let [Some(one), Some(other)] = processes {
            link.hangs |= self.cut.contains(&(one, other)) || self.cut.contains(&(other, one));
        }
        if link.hangs {
            return;
        }
        match link.ends[side] {
            Some((node, conn)) if side == 1 => {
                let request = ingress(bytes, 1 << 30).expect("nodes and clients send what can be read");
                let is_creation = link.wants.is_none() && request.head.api_key == ApiKey::CreateTopics;
                self.seen.creations += usize::from(is_creation);
                link.slow_ms = match request.head.api_key {
                    ApiKey::CreateTopics if is_creation => self.knobs.answer_ms,
                    ApiKey::Fetch if link.wants.is_none() && link.listener == ListenerId(0) => self.knobs.fetch_ms,
                    _ => link.slow_ms,
                };
                self.handle(node, Input::Frame { conn, request });
            }
            Some((node, conn)) => self.handle(node, Input::Answer { conn, frame: bytes }),
            None if side == 0 => self.on_answer(id, &bytes),
            None => {}
        }
    }

    fn on_closed(&mut self, id: u64, side: usize) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some((node, conn)) = link.ends[side].take()
            && self.nodes[node].conns.remove(&conn).is_some()
        {
            self.handle(node, Input::Closed { conn });
        }
        if side == 0
            && let Some(Want::Topic(topic)) = self.links.get_mut(&id).and_then(|link| link.wants.take())
        {
            self.told.closed.insert(topic);
        }
    }

    fn crash(&mut self, id: usize, crash: Crash) {
        let node = &mut self.nodes[id];
        node.machine = None;
        node.disk.crash(crash);
        node.queued = 0;
        node.boots += 1;
        node.timer += 1;
        for (_, (link, side)) in std::mem::take(&mut node.conns) {
            if let Some(link) = self.links.get_mut(&link) {
                link.ends[side] = None;
            }
            let at = self.wait(500);
            self.add(at, Due::Closed { link, side: 1 - side });
        }
    }

    fn trouble(&mut self) {
        if self.calm {
            return;
        }
        let node = usize::try_from(self.rng.below(self.nodes.len() as u64)).expect("small");
        match self.rng.below(12) {
            0 => (0..self.nodes.len()).for_each(|node| self.lose(node, true)),
            1..5 if self.nodes[node].machine.is_some() => {
                let power = self.rng.below(2) == 0;
                self.lose(node, power);
            }
            5..8 => {
                for other in (0..self.nodes.len()).filter(|other| *other != node) {
                    self.cut.extend([(node, other), (other, node)]);
                }
            }
            _ => self.cut.clear(),
        }
        let next = self.now + self.rng.below(2 * self.trouble_ms * MS);
        self.add(next, Due::Trouble);
    }

    /// A process dies, with its machine or alone, and comes back after a while.
    fn lose(&mut self, node: usize, power: bool) {
        let crash = if power { Crash::Power(self.rng.next_u64()) } else { Crash::Kill };
        self.crash(node, crash);
        let back = self.now + self.rng.below(3_000 * MS);
        self.add(back, Due::Start { node });
    }

    /// A node is away for a while.
    pub fn send_away(&mut self, node: usize, ms: u64) {
        self.crash(node, Crash::Kill);
        self.add(self.now + ms * MS, Due::Start { node });
    }

    /// A node is to stop in good order; see [`Self::has_stopped`].
    pub fn shut_down(&mut self, node: usize) {
        self.nodes[node].stops = true;
        self.handle(node, Input::Shutdown);
    }

    /// Whether it has.
    pub fn has_stopped(&self, node: usize) -> bool {
        self.nodes[node].stopped
    }

    /// A node dies when it asks its disk for so many more things.
    pub fn dies_after(&mut self, node: usize, operations: u64, power: bool) {
        self.nodes[node].dies = Some((operations, power));
    }

    fn count_down(&mut self, id: usize) {
        match self.nodes[id].dies {
            Some((0, power)) => {
                self.nodes[id].dies = None;
                self.lose(id, power);
            }
            Some((left, power)) => self.nodes[id].dies = Some((left - 1, power)),
            None => {}
        }
    }

    /// Where a node's metadata log begins and ends.
    pub fn log_of_metadata(&self, node: usize) -> (Offset, Offset) {
        let raft = self.nodes[node].machine.as_ref().and_then(Machine::quorum);
        raft.map(|(raft, _)| (raft.log().start, raft.log().end)).unwrap_or_default()
    }

    /// A snapshot gets its name: it must say what the log says up to there (M11).
    fn look_at_snapshot(&mut self, id: usize, effect: &Effect) {
        let Effect::File { action, .. } = effect else { return };
        let FileAction::Rename { from, to } = &**action else { return };
        let file = to.name.rsplit('/').next().unwrap_or_default();
        let Some(name) = SnapshotId::from_file_name(file) else { return };
        let bytes = self.nodes[id].disk.bytes(&from.name).clone();
        let snapshot = Snapshot::decode(name, &bytes).expect("it is whole");
        let known = self.seen.images.get(&name.end).expect("somebody has come to its end");
        assert_eq!(known, &snapshot.image, "M11: the snapshot at {name} of {id}");
        let raft = self.nodes[id].machine.as_ref().and_then(Machine::quorum);
        assert!(raft.is_none_or(|(raft, _)| raft.voters().is_none() || snapshot.voters.is_some()));
        self.seen.snapshots += 1;
    }

    /// A client asks somebody for a topic, or that it be gone.
    fn create(&mut self) {
        if self.calm {
            return;
        }
        let next = self.now + self.rng.below(100 * MS);
        self.add(next, Due::Create);
        let node = usize::try_from(self.rng.below(self.nodes.len() as u64)).expect("small");
        if self.nodes[node].machine.is_none() || self.knobs.quiet {
            return;
        }
        if self.told.deletes
            && self.rng.below(4) == 0
            && let Some(name) = self.told.topics.pop_first()
        {
            let want = Want::Gone(name.clone());
            let request = DeleteTopicsRequest { topic_names: vec![&name], timeout_ms: 1000, ..Default::default() };
            self.ask(node, want, ApiKey::DeleteTopics, DELETE_TOPICS, &request);
            return;
        }
        self.ask_for_topic(node);
    }

    /// A client asks a node for a topic: its name, and the connection.
    pub fn ask_for_topic(&mut self, node: usize) -> (String, u64) {
        self.told.asked += 1;
        let name = format!("topic-{}", self.told.asked);
        let topic = CreatableTopic { name: &name, num_partitions: 1, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        let link = self.ask(node, Want::Topic(name.clone()), ApiKey::CreateTopics, CREATE_TOPICS, &request);
        (name, link)
    }

    /// A client asks a node for the coordinator of a group.
    pub fn ask_for_coordinator(&mut self, node: usize) {
        let request = FindCoordinatorRequest { coordinator_keys: vec!["g"], ..Default::default() };
        self.ask(node, Want::Read, ApiKey::FindCoordinator, 4, &request);
    }

    /// How often a node was asked for topics by another.
    pub fn creations(&self) -> usize {
        self.seen.creations
    }

    /// The client of a connection goes.
    pub fn leave(&mut self, link: u64) {
        self.on_closed(link, 1);
    }

    /// A node and the others hear no more of each other.
    pub fn cut_off(&mut self, node: usize) {
        self.cut.extend((0..self.nodes.len()).filter(|other| *other != node).map(|other| (node, other)));
    }

    /// How many connections of nodes to a node look open, and hang.
    pub fn hanging(&self, to: usize) -> usize {
        let to = |link: &&Link| link.ends[1].is_some_and(|(node, _)| node == to);
        self.links.values().filter(|link| link.hangs && link.ends[0].is_some()).filter(to).count()
    }

    /// Who leads the latest epoch that anyone leads.
    pub fn controller(&self) -> usize {
        *self.seen.leaders.values().next_back().expect("somebody leads")
    }

    /// What a client that asked for a topic knows: `Some(true)`, it is made; `Some(false)`, the connection was closed.
    pub fn told_of(&self, topic: &str) -> Option<bool> {
        let closed = self.told.closed.contains(topic).then_some(false);
        self.told.topics.contains(topic).then_some(true).or(closed)
    }

    /// Whether a topic is made, as a node knows.
    pub fn is_made(&self, topic: &str) -> bool {
        self.nodes.iter().any(|node| node.machine.as_ref().is_some_and(|it| it.image().topic(topic).is_some()))
    }

    /// A client asks a node for what lies there, on a connection of its own or this one. The connection.
    pub fn read<'a>(
        &mut self,
        (node, link): (usize, Option<u64>),
        api_key: ApiKey,
        api_version: i16,
        request: &impl Message<'a>,
    ) -> u64 {
        let Some(link) = link else { return self.ask(node, Want::Read, api_key, api_version, request) };
        self.links.get_mut(&link).expect("it is open").wants = Some(Want::Read);
        self.send_request(link, api_key, api_version, request);
        link
    }

    /// What a reader was answered, without its header, and when, in ms.
    pub fn answer_to(&mut self, link: u64, api_key: ApiKey, api_version: i16) -> Option<(u64, Bytes)> {
        let (at, bytes) = self.told.read.remove(&link)?;
        let mut reader = Reader::new(&bytes);
        ResponseHeader::decode(&mut reader, api_key, api_version).expect("a header");
        Some((at, bytes.slice(bytes.len() - reader.remaining()..)))
    }

    /// The time, in ms.
    pub const fn now_ms(&self) -> u64 {
        self.now / MS
    }

    /// A node's process.
    pub fn machine(&self, node: usize) -> &Machine {
        self.nodes[node].machine.as_ref().expect("it runs")
    }

    /// A client asks a node. The connection.
    fn ask<'a>(
        &mut self,
        node: usize,
        want: Want,
        api_key: ApiKey,
        api_version: i16,
        request: &impl Message<'a>,
    ) -> u64 {
        let link = self.accept(node, ListenerId(0), Some(want));
        self.send_request(link, api_key, api_version, request);
        link
    }

    fn send_request<'a>(&mut self, link: u64, api_key: ApiKey, api_version: i16, request: &impl Message<'a>) {
        let mut writer = Writer::new();
        RequestHeader { api_key, api_version, correlation_id: 1, client_id: None }.encode(&mut writer);
        request.encode(&mut writer, api_version);
        let at = self.wait(500);
        self.add(at, Due::Frame { link, side: 1, bytes: writer.into_bytes().into() });
    }

    /// A client writes a record to somebody, who may lead the partition.
    fn on_produce(&mut self) {
        if self.calm {
            return;
        }
        let next = self.now + self.rng.below(2_000 * MS / self.told.rate);
        self.add(next, Due::Produce);
        let node = usize::try_from(self.rng.below(self.nodes.len() as u64)).expect("small");
        let Some(machine) = &self.nodes[node].machine else { return };
        if machine.image().topic("r").is_none() {
            let configs = vec![CreatableTopicConfig { name: "min.insync.replicas", value: Some("2") }];
            let (name, num_partitions, replication_factor) = ("r", 3, 3);
            let topic = CreatableTopic { name, num_partitions, replication_factor, configs, ..Default::default() };
            let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
            self.ask(node, Want::Replicated, ApiKey::CreateTopics, CREATE_TOPICS, &request);
            return;
        }
        self.write(node, i32::try_from(self.told.asked % 3).expect("small"));
    }

    /// A client writes a record to a node.
    pub fn write(&mut self, node: usize, partition: i32) {
        self.told.asked += 1;
        let value = self.told.asked;
        let mut batch = BatchBuilder::new(BatchOptions::default());
        batch.append(&NewRecord { timestamp: 1, value: Some(&value.to_be_bytes()), ..Default::default() });
        let batch = batch.build();
        let records = Some(Records::Slice(&batch));
        let partition_data = vec![PartitionProduceData { index: partition, records }];
        let topic_data = vec![TopicProduceData { name: "r", partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 5_000, topic_data, ..Default::default() };
        self.ask(node, Want::Record(partition, value), ApiKey::Produce, PRODUCE, &request);
    }

    fn on_answer(&mut self, id: u64, bytes: &[u8]) {
        let Some(want) = self.links.get_mut(&id).and_then(|link| link.wants.take()) else { return };
        let mut reader = Reader::new(bytes);
        match want {
            Want::Topic(topic) => {
                ResponseHeader::decode(&mut reader, ApiKey::CreateTopics, CREATE_TOPICS).expect("a header");
                let answer = CreateTopicsResponse::decode(&mut reader, CREATE_TOPICS).expect("an answer");
                if answer.topics[0].error_code == ErrorCode::NONE {
                    self.told.topics.insert(topic);
                }
            }
            Want::Gone(topic) => {
                ResponseHeader::decode(&mut reader, ApiKey::DeleteTopics, DELETE_TOPICS).expect("a header");
                let answer = DeleteTopicsResponse::decode(&mut reader, DELETE_TOPICS).expect("an answer");
                if answer.responses[0].error_code == ErrorCode::NONE {
                    self.told.deleted.insert(topic);
                }
            }
            Want::Replicated => {}
            Want::Read => {
                self.told.read.insert(id, (self.now / MS, bytes.to_vec().into()));
                return;
            }
            Want::Record(partition, value) => {
                ResponseHeader::decode(&mut reader, ApiKey::Produce, PRODUCE).expect("a header");
                let answer = ProduceResponse::decode(&mut reader, PRODUCE).expect("an answer");
                let answer = &answer.responses[0].partition_responses[0];
                if answer.error_code == ErrorCode::NONE {
                    let before = self.told.records.insert((partition, answer.base_offset), value);
                    assert_eq!(before, None, "two records at {partition} {}", answer.base_offset);
                }
            }
        }
        self.add(self.now, Due::Closed { link: id, side: 1 });
    }

    /// An operator's word has thrown away what clients were told of.
    pub fn forget_records(&mut self) {
        self.told.records.clear();
    }

    /// How many records clients were told of.
    pub fn written(&self) -> usize {
        self.told.records.len()
    }

    /// Every replica has the same log, and every record in it that a client was told of.
    pub fn check_replicated(&mut self) {
        for partition in 0..3 {
            let mut logs = BTreeSet::new();
            for node in 0..self.nodes.len() {
                let found = self.log_of(node, partition);
                let told: Vec<_> = self.told.records.range((partition, 0)..(partition + 1, 0)).collect();
                for ((_, offset), value) in told {
                    let here = found.get(offset);
                    assert_eq!(here, Some(value), "r-{partition} {offset} on {node}\n{}", self.describe());
                }
                logs.insert(found);
            }
            assert_eq!(logs.len(), 1, "the replicas of r-{partition} differ\n{}", self.describe());
        }
    }

    /// The records of a partition on a node's disk.
    fn log_of(&mut self, node: usize, partition: i32) -> BTreeMap<i64, u64> {
        let bytes = self.nodes[node].disk.bytes(&format!("r-{partition}/00000000000000000000.log")).clone();
        let bytes = Bytes::from(bytes);
        let mut found = BTreeMap::new();
        for batch in record::batches(&bytes).map_while(Result::ok) {
            let mut scratch = Vec::new();
            for record in batch.records(&mut scratch, 1 << 20).expect("they can be read") {
                let record = record.expect("it can be read");
                let value = record.value.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
                found.insert(record.offset.0, value.expect("a number"));
            }
        }
        found
    }

    /// What must hold with every step.
    fn look(&mut self, id: usize) {
        let Some(machine) = &self.nodes[id].machine else { return };
        let Some((raft, _)) = machine.quorum() else { return };
        if raft.is_leader() {
            let before = *self.seen.leaders.entry(raft.epoch().0).or_insert(id);
            assert_eq!(before, id, "M1: two lead in epoch {}\n{}", raft.epoch(), self.describe());
            assert_eq!(raft.leader(), Some(BrokerId(i32::try_from(id).expect("small"))));
        }
        let image = machine.image();
        if self.nodes[id].looked == image.end() {
            return;
        }
        let known = self.seen.images.entry(image.end()).or_insert_with(|| image.clone());
        let (same, end) = (known == image, image.end());
        assert!(same, "M9: two images at {end}\n{}", self.describe());
        self.nodes[id].looked = end;
    }
}
