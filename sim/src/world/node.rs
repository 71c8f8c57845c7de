//! A node of the world: its disk and clocks, which outlive the process, and the process.

use std::collections::{BTreeMap, VecDeque};

use ottla_core::config::{BrokerConfig, Config, ConfigError, Layers, Origin, StaticConfig};
use ottla_core::job::Job;
use ottla_core::log::LogId;
use ottla_core::machine::{ConnId, Effects, Input, JobId, Machine, OpId};
use ottla_core::types::TopicPartition;
use ottla_wire::Uuid;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::frames::Frames;
use crate::invariants::Part;
use crate::network::{Door, Endpoint, Side, Wire};
use crate::time::Nanos;

/// A broker, running or not.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub id: u16,
    /// Its disk.
    pub disk: Disk,
    /// Its clocks.
    pub clock: Clock,
    /// How often a process was started.
    pub boots: u64,
    /// How often its disk was replaced.
    pub wipes: u64,
    /// The id of the directory that its metadata log is in, as it was seen last.
    pub directory: Uuid,
    /// The process, if one runs.
    pub process: Option<Process>,
    /// The process stands still until then.
    pub paused_until: Nanos,
    /// Whether a cluster was ever seen to be ready on this node's disk: then it is not born again.
    pub born: bool,
    /// Whether the machine has booted since power was lost.
    pub rebooting: bool,
    /// Whether the kernel gives back clean pages when the process ends.
    pub evict: bool,
    /// The latest wall time that a process of it has seen, in ms.
    pub latest_wall_ms: i64,
}

/// A process: what a kill takes.
#[derive(Clone, Debug)]
pub struct Process {
    /// The machine under test.
    pub machine: Machine,
    /// What it was not told yet.
    pub inbox: VecDeque<Input>,
    /// Until then it is at work.
    pub busy_until: Nanos,
    /// When its next deadline is, in the world's time.
    pub deadline: Option<Nanos>,
    /// Its connections.
    pub conns: Conns,
    /// Its jobs.
    pub jobs: Jobs,
    /// A list that is used again and again.
    pub effects: Effects,
    /// Whether it serves.
    pub ready: bool,
    /// Whether a log directory failed in it.
    pub failed: bool,
    /// Whether a read failed in it.
    pub read_failed: bool,
    /// It was asked to stop; how long after its end another is started.
    pub stopping: Option<Nanos>,
    /// How many rounds it has made.
    pub rounds: u64,
    /// Its part in the quorum when it was looked at last.
    pub part: Part,
    /// How it stood to its replicas then.
    pub stands: Vec<(TopicPartition, Stood)>,
}

/// How a process stood to a replica when it was looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stood {
    /// The topic, and the log in the machine: one that is made again is another.
    pub which: (Uuid, LogId),
    /// Its high watermark.
    pub high_watermark: i64,
    /// Where its log began.
    pub log_start: i64,
    /// The epoch that it led in, if it did.
    pub leads: Option<i32>,
}

/// The connections of a process.
#[derive(Clone, Debug)]
pub struct Conns {
    /// By their number for the machine.
    pub known: BTreeMap<ConnId, Conn>,
    /// Dials that have not come to their end, with the machine's names for them.
    pub dials: BTreeMap<Wire, u64>,
    by_end: BTreeMap<(Wire, Side), ConnId>,
    next: u64,
    max_frame: usize,
    /// The most that a batch is inflated to when it is looked at.
    pub inflated_limit: u64,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Its number for the network, and which end of it this is.
    pub end: (Wire, Side),
    /// What has come.
    pub frames: Frames,
    /// The requests that are not answered yet.
    pub owed: VecDeque<Owed>,
    /// Whether an answer has begun, and goes on.
    pub answering: bool,
    /// Whether the machine has closed it: what still comes does not matter.
    pub closing: bool,
}

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Owed {
    /// What its answer is known by.
    pub correlation: i32,
    /// The vote that another node of the quorum asks for in it.
    pub vote: Option<Vote>,
}

/// A vote that a node asks for.
#[derive(Clone, Copy, Debug)]
pub struct Vote {
    /// The version of the request.
    pub version: i16,
    /// In which epoch.
    pub epoch: i32,
    /// For whom.
    pub candidate: i32,
    /// The directory in which that one has its log.
    pub directory: Uuid,
}

/// Jobs under way, and the reads they wait for.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    /// Every job.
    pub running: BTreeMap<JobId, Job>,
    /// Whose a read is.
    pub reads: BTreeMap<OpId, JobId>,
    next_read: u64,
}

impl Process {
    /// A process that has done nothing yet.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Nanos) -> Self {
        let max_frame = usize::try_from(config.broker.network.request_max_bytes).unwrap_or(usize::MAX);
        let inflated_limit = u64::from(config.broker.limits.batch_max_inflated_bytes);
        Self {
            machine: Machine::new(config, seed),
            inbox: VecDeque::new(),
            busy_until: now,
            deadline: Some(now),
            conns: Conns::new(max_frame, inflated_limit),
            jobs: Jobs::default(),
            effects: Effects::new(),
            ready: false,
            failed: false,
            read_failed: false,
            stopping: None,
            rounds: 0,
            part: Part::default(),
            stands: Vec::new(),
        }
    }

    /// How it stood to its replica of a partition when it was looked at last.
    #[must_use]
    pub fn stood(&self, log: &TopicPartition) -> Option<&Stood> {
        self.stands.iter().find(|(of, _)| of == log).map(|(_, stood)| stood)
    }

    /// Whether something is out of service until the process is started anew: an operator would do that.
    #[must_use]
    pub fn is_out_of_service(&self) -> bool {
        let view = self.machine.view();
        let offline = view.log_dirs.iter().any(|dir| dir.health == "offline");
        // Groups whose log could not be read are not served by this process any more.
        let failed = self.failed || view.groups.failed > 0;
        failed || offline || view.partitions.iter().any(|partition| partition.damaged)
    }

    /// When it has something to do.
    #[must_use]
    pub fn next_due(&self) -> Nanos {
        let work = if self.inbox.is_empty() { u64::MAX } else { self.busy_until };
        work.min(self.deadline.map_or(u64::MAX, |deadline| deadline.max(self.busy_until)))
    }
}

impl Node {
    /// A node that was never started.
    #[must_use]
    pub const fn new(id: u16, disk: Disk, clock: Clock) -> Self {
        Self {
            id,
            disk,
            clock,
            boots: 0,
            wipes: 0,
            directory: Uuid::ZERO,
            process: None,
            paused_until: 0,
            born: false,
            rebooting: false,
            evict: false,
            latest_wall_ms: i64::MIN,
        }
    }

    /// Its place in the network.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        Endpoint::Node(self.id)
    }

    /// A number of something that happens to this node, apart from those of others.
    #[must_use]
    pub const fn occurrence(&self, number: u64) -> u64 {
        number | (self.id as u64) << 48
    }

    /// When it has something to do, if it runs.
    #[must_use]
    pub fn next_due(&self) -> Nanos {
        let due = self.process.as_ref().map_or(u64::MAX, Process::next_due);
        if due == u64::MAX { due } else { due.max(self.paused_until) }
    }

    /// The clock was changed, or a step was made: when is the next deadline?
    pub fn refresh_deadline(&mut self, now: Nanos) {
        if let Some(process) = &mut self.process {
            let deadline = process.machine.next_deadline();
            process.deadline = deadline.and_then(|deadline| self.clock.world_time(deadline)).map(|due| due.max(now));
        }
    }
}

impl Conns {
    const fn new(max_frame: usize, inflated_limit: u64) -> Self {
        Self {
            known: BTreeMap::new(),
            dials: BTreeMap::new(),
            by_end: BTreeMap::new(),
            next: 1,
            max_frame,
            inflated_limit,
        }
    }

    /// A number that no connection of the process has had.
    pub const fn next_id(&mut self) -> ConnId {
        self.next += 1;
        ConnId(self.next - 1)
    }

    /// A connection is up: it gets its number.
    pub fn open(&mut self, end: (Wire, Side)) -> ConnId {
        let conn = self.next_id();
        self.by_end.insert(end, conn);
        let frames = Frames::new(self.max_frame);
        self.known.insert(conn, Conn { end, frames, owed: VecDeque::new(), answering: false, closing: false });
        conn
    }

    /// The number of a connection.
    #[must_use]
    pub fn find(&self, end: (Wire, Side)) -> Option<ConnId> {
        self.by_end.get(&end).copied()
    }

    /// A connection is gone.
    pub fn close(&mut self, end: (Wire, Side)) -> Option<ConnId> {
        let conn = self.by_end.remove(&end)?;
        self.known.remove(&conn);
        Some(conn)
    }
}

impl Jobs {
    /// A number for a read of a job: none that the machine uses.
    pub const fn next_read(&mut self) -> OpId {
        self.next_read += 1;
        OpId(self.next_read | 1 << 63)
    }
}

/// Where a node listens, for clients and for the other nodes. Each has ports of its own on one host.
const fn ports(id: u16) -> (u16, u16) {
    (9092 + 10 * id, 9093 + 10 * id)
}

/// Where clients find a node.
#[must_use]
pub fn client_address(id: u16) -> String {
    format!("127.0.0.1:{}", ports(id).0)
}

/// Which node of so many has an address, and which door of it.
#[must_use]
pub fn find_address(nodes: u16, address: &str) -> Option<(usize, Door)> {
    let port: u16 = address.strip_prefix("127.0.0.1:")?.parse().ok()?;
    let door = |id| if ports(id).0 == port { Some(Door(0)) } else { (ports(id).1 == port).then_some(Door(1)) };
    (0..nodes).find_map(|id| Some((usize::from(id), door(id)?)))
}

/// The rack of a node, or of a client, of so many; empty if there are none.
#[must_use]
pub fn rack_of(number: u64, racks: u16) -> String {
    number.checked_rem(u64::from(racks)).map_or_else(String::new, |rack| format!("r{rack}"))
}

/// The configuration of one of so many brokers, with these properties. Several find each other, and those that are not
/// there at the birth of their cluster become voters by themselves.
///
/// # Errors
/// A property is unknown, or bad, or contradicts another.
pub fn broker_config(
    id: u16,
    (nodes, racks): (u16, u16),
    properties: &[(String, String)],
) -> Result<BrokerConfig, ConfigError> {
    let (clients, controllers) = ports(id);
    let listeners = format!("PLAINTEXT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controllers}");
    let servers: Vec<String> = (0..nodes).map(|id| format!("127.0.0.1:{}", ports(id).1)).collect();
    let rack = rack_of(id.into(), racks);
    let (id, servers) = (id.to_string(), servers.join(","));
    let base = [
        ("process.roles", "broker,controller"),
        ("node.id", id.as_str()),
        ("listeners", listeners.as_str()),
        ("controller.listener.names", "CONTROLLER"),
        // The checkers follow a log that is only appended to and cut.
        ("log.cleaner.enable", "false"),
        // What the product zeroes takes a slow disk here seconds: scenarios say how much it is.
        ("ottla.flush.journal.bytes", "0"),
        ("broker.rack", &rack),
    ];
    let mut fixed = StaticConfig::default();
    let quorum =
        [("controller.quorum.bootstrap.servers", servers.as_str()), ("controller.quorum.auto.join.enable", "true")];
    let quorum = quorum.into_iter().filter(|_| nodes > 1);
    let given = properties.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in base.into_iter().chain(quorum).chain(given) {
        fixed.set(key, value, Origin::Flag)?;
    }
    BrokerConfig::new(Layers::of(fixed))
}
