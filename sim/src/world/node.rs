//! A node of the world: its disk and clocks, which outlive the process, and the process.

use std::collections::{BTreeMap, VecDeque};

use ottla_core::config::{BrokerConfig, Config, ConfigError, Layers, Origin, StaticConfig};
use ottla_core::job::Job;
use ottla_core::machine::{ConnId, Effects, Input, JobId, Machine, OpId};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::frames::Frames;
use crate::network::Wire;
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
}

/// The connections of a process.
#[derive(Clone, Debug)]
pub struct Conns {
    /// By their number for the machine.
    pub open: BTreeMap<ConnId, Conn>,
    by_wire: BTreeMap<Wire, ConnId>,
    next: u64,
    max_frame: usize,
    /// The most that a batch is inflated to when it is looked at.
    pub inflated_limit: u64,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Its number for the network.
    pub wire: Wire,
    /// What has come.
    pub frames: Frames,
    /// The correlation ids of the requests that are not answered yet.
    pub owed: VecDeque<i32>,
    /// Whether an answer has begun, and goes on.
    pub answering: bool,
    /// Whether the machine has closed it: what still comes does not matter.
    pub closing: bool,
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
            conns: Conns { open: BTreeMap::new(), by_wire: BTreeMap::new(), next: 1, max_frame, inflated_limit },
            jobs: Jobs::default(),
            effects: Effects::new(),
            ready: false,
            failed: false,
            read_failed: false,
            stopping: None,
            rounds: 0,
        }
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
    /// Gives a connection its number.
    pub fn accept(&mut self, wire: Wire) -> ConnId {
        let conn = ConnId(self.next);
        self.next += 1;
        self.by_wire.insert(wire, conn);
        let frames = Frames::new(self.max_frame);
        self.open.insert(conn, Conn { wire, frames, owed: VecDeque::new(), answering: false, closing: false });
        conn
    }

    /// The number of a connection.
    #[must_use]
    pub fn find(&self, wire: Wire) -> Option<ConnId> {
        self.by_wire.get(&wire).copied()
    }

    /// A connection is gone.
    pub fn close(&mut self, wire: Wire) -> Option<ConnId> {
        let conn = self.by_wire.remove(&wire)?;
        self.open.remove(&conn);
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

/// The configuration of a broker with these properties.
///
/// # Errors
/// A property is unknown, or bad, or contradicts another.
pub fn broker_config(id: u16, properties: &[(String, String)]) -> Result<BrokerConfig, ConfigError> {
    let id = id.to_string();
    let base = [
        ("process.roles", "broker,controller"),
        ("node.id", id.as_str()),
        ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
        ("controller.listener.names", "CONTROLLER"),
        // The checkers follow a log that is only appended to and cut.
        ("log.cleaner.enable", "false"),
        // What the product zeroes takes a slow disk here seconds: scenarios say how much it is.
        ("ottla.flush.journal.bytes", "0"),
    ];
    let mut fixed = StaticConfig::default();
    let given = properties.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in base.into_iter().chain(given) {
        fixed.set(key, value, Origin::Flag)?;
    }
    BrokerConfig::new(Layers::of(fixed))
}
