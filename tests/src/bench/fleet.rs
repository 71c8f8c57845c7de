//! The brokers that take turns: Ottla, another build of it, Apache Kafka, and the sink.
//!
//! They stay up for the whole run, so that a JVM is warm when it is measured; an idle one costs next to nothing, and
//! the table says how much. What is about starting and about memory gets brokers of its own.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::sink;
use crate::broker::{Broker, Kind, Plan};
use crate::cluster;
use crate::crash::PARTITIONS;
use crate::install::Workshop;

/// Nodes of a cluster.
const NODES: usize = 3;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The program in `OTTLA_BIN`.
    Ottla,
    /// Another build of Ottla.
    Before,
    /// Apache Kafka as it comes.
    Kafka,
    /// Apache Kafka whose socket buffers are left to the kernel; its own 100 KiB hold it back on a loopback.
    KafkaTuned,
    /// A broker that throws the data away: the ceiling.
    Sink,
}

/// What is on the disk before acks=all is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flush {
    /// The record: `flush=quorum`, and `flush.messages=1` with Kafka.
    Quorum,
    /// Nothing: `flush=async`, and Kafka as it comes.
    Async,
}

/// All that run.
#[derive(Debug)]
pub struct Fleet {
    workshop: Workshop,
    dir: PathBuf,
    before: Option<PathBuf>,
    running: BTreeMap<(Who, Flush), Broker>,
    clusters: BTreeMap<(Who, Flush), Cluster>,
    sink: Option<Sink>,
    plans: u32,
}

/// Three nodes.
#[derive(Debug)]
pub struct Cluster {
    /// In the order of their ids, from 1.
    pub nodes: Vec<Broker>,
}

impl Cluster {
    /// The addresses of all nodes, as clients are given them.
    pub fn bootstrap(&self) -> String {
        cluster::bootstrap(self.nodes.iter().map(|node| &node.plan))
    }
}

/// Where requests go, and whose CPU counts.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Who it is.
    pub who: Who,
    /// Its listener.
    pub address: SocketAddr,
    /// Its process.
    pub process: u32,
}

/// A broker that a line has for itself. Dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct Own {
    /// The broker.
    pub broker: Broker,
    who: Who,
}

#[derive(Debug)]
struct Sink {
    child: Child,
    address: SocketAddr,
}

impl Who {
    /// As it stands in the table and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ottla => "ottla",
            Self::Before => "before",
            Self::Kafka => "kafka",
            Self::KafkaTuned => "kafka-tuned",
            Self::Sink => "ceiling",
        }
    }

    const fn is_kafka(self) -> bool {
        matches!(self, Self::Kafka | Self::KafkaTuned)
    }
}

impl Flush {
    /// As it stands in the name of a line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Async => "async",
        }
    }

    /// What a topic needs for it on that broker.
    pub fn topic_settings(self, who: Who) -> Vec<(&'static str, &'static str)> {
        let mut settings = vec![("file.delete.delay.ms", "1000")];
        if who.is_kafka() && self == Self::Quorum {
            settings.push(("flush.messages", "1"));
        }
        settings
    }
}

impl Fleet {
    /// Nobody runs yet; `before` is the other build.
    pub fn new(workshop: Workshop, before: Option<PathBuf>) -> io::Result<Self> {
        let dir = workshop.out.join(format!("bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self { workshop, dir, before, running: BTreeMap::new(), clusters: BTreeMap::new(), sink: None, plans: 0 })
    }

    /// Where the brokers' directories are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The one that stays up; it is started if it does not run, or no longer.
    pub fn target(&mut self, who: Who, flush: Flush) -> Result<Target, String> {
        if who == Who::Sink {
            return self.sink();
        }
        // With Kafka it is the topic's setting.
        let flush = if who.is_kafka() { Flush::Async } else { flush };
        let ended = self.running.get_mut(&(who, flush)).map(Broker::has_crashed).transpose();
        if ended.map_err(|error| error.to_string())?.unwrap_or(true) {
            let broker = self.plan(who, flush, &[])?.start()?;
            self.running.insert((who, flush), broker);
        }
        let broker = &self.running[&(who, flush)];
        Ok(Target { who, address: broker.plan.address, process: broker.id() })
    }

    /// The data directory of the one that stays up.
    pub fn data(&self, target: &Target) -> Option<PathBuf> {
        let broker = self.running.values().find(|broker| broker.id() == target.process)?;
        Some(broker.plan.data())
    }

    /// The cluster that stays up; it is started if it does not run.
    pub fn cluster(&mut self, who: Who, flush: Flush) -> Result<&mut Cluster, String> {
        if !self.clusters.contains_key(&(who, flush)) {
            let kind = if who.is_kafka() { Kind::Kafka } else { Kind::Ottla };
            let dir = self.dir.join(format!("{}-{}-cluster", who.name(), flush.name()));
            let mode = match (kind, flush) {
                (Kind::Ottla, _) => ("flush", flush.name()),
                (Kind::Kafka, Flush::Quorum) => ("log.flush.interval.messages", "1"),
                (Kind::Kafka, Flush::Async) => ("log.retention.ms", "-1"),
            };
            let partitions = PARTITIONS.to_string();
            let properties = [("num.partitions", &*partitions), ("log.segment.delete.delay.ms", "1000"), mode];
            let mut plans = cluster::plan(&self.workshop, (kind, NODES), &dir, &properties)?;
            if let (Who::Before, Some(program)) = (who, &self.before) {
                let plans_of_it: Result<_, _> = plans.into_iter().map(|plan| plan.with_program(program)).collect();
                plans = plans_of_it?;
            }
            self.clusters.insert((who, flush), Cluster { nodes: cluster::start(&plans)? });
        }
        self.clusters.get_mut(&(who, flush)).ok_or_else(|| "no cluster".to_owned())
    }

    /// A plan for a broker that a line has for itself.
    pub fn plan(&mut self, who: Who, flush: Flush, settings: &[(&str, &str)]) -> Result<Plan, String> {
        let kind = if who.is_kafka() { Kind::Kafka } else { Kind::Ottla };
        self.plans += 1;
        let dir = self.dir.join(format!("{}-{}", who.name(), self.plans));
        let mut plan = Plan::new(&self.workshop, kind, &dir)?;
        if let (Who::Before, Some(program)) = (who, &self.before) {
            plan = plan.with_program(program)?;
        }
        let mut set = |name: &str, value: &str| plan.properties.push((name.to_owned(), value.to_owned()));
        if kind == Kind::Ottla {
            set("flush", flush.name());
        }
        if who == Who::KafkaTuned {
            set("socket.send.buffer.bytes", "-1");
            set("socket.receive.buffer.bytes", "-1");
        }
        settings.iter().for_each(|(name, value)| set(name, value));
        plan.prepare(&self.workshop)?;
        Ok(plan)
    }

    /// Starts a broker that a line has for itself.
    pub fn own(&mut self, who: Who, flush: Flush) -> Result<Own, String> {
        Ok(Own::new(self.plan(who, flush, &[])?.start()?, who))
    }

    /// Kafka's jars are installed at the first use; that is not part of a line.
    pub fn can_run_kafka(&self) -> Result<(), String> {
        self.workshop.java().map(drop)
    }

    fn sink(&mut self) -> Result<Target, String> {
        let explain = |error: io::Error| format!("cannot start the sink: {error}");
        if self.sink.is_none() {
            self.sink = Some(Sink::start().map_err(explain)?);
        }
        let Some(sink) = &self.sink else { return Err("no sink".to_owned()) };
        Ok(Target { who: Who::Sink, address: sink.address, process: sink.child.id() })
    }
}

impl Own {
    /// Takes a broker over.
    pub const fn new(broker: Broker, who: Who) -> Self {
        Self { broker, who }
    }

    /// Where it is now.
    pub fn target(&self) -> Target {
        Target { who: self.who, address: self.broker.plan.address, process: self.broker.id() }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // As with the fleet: an error means that there is nothing left to do.
        drop(self.broker.kill());
        drop(std::fs::remove_dir_all(&self.broker.plan.dir));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.running.clear();
        self.clusters.clear();
        // What is left behind can be gigabytes; nothing can be done about what cannot be removed.
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Sink {
    /// Starts this program again as `--sink`.
    fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--sink").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { child, address })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// What `--sink` does, until the parent is gone: it says where it listens, and serves.
pub fn serve_sink(mut say: impl FnMut(SocketAddr)) -> io::Result<()> {
    let listener = sink::listen()?;
    say(listener.local_addr()?);
    std::thread::spawn(move || sink::serve(&listener));
    super::machine::wait_for_parent();
    Ok(())
}
