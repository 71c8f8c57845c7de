//! A broker as a child process, on free loopback ports with its own data directory: Ottla or Apache Kafka.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::install::Workshop;
use crate::{probe, process};

/// How long a broker may take to start, recovery of a big log included.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a controlled shutdown may take.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A node of Ottla that founds a cluster is told so.
const NEW_CLUSTER: &str = "--new-cluster";

/// Which broker is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The program in `OTTLA_BIN`.
    Ottla,
    /// Apache Kafka, one combined node.
    Kafka,
}

impl Kind {
    /// As it is written on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ottla => "ottla",
            Self::Kafka => "kafka",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let kind = [Self::Ottla, Self::Kafka].into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| format!("it is ottla or kafka, not {name}"))
    }
}

/// How to start a broker; the same plan can be started again on the same directory and ports.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which broker.
    pub kind: Kind,
    /// The client listener.
    pub address: SocketAddr,
    /// The controller listener (for Kafka's one combined node).
    controller: SocketAddr,
    /// `node.id`
    pub node: usize,
    /// The controller listeners of a cluster's nodes; empty for a node alone.
    controllers: Vec<SocketAddr>,
    /// Holds `data/`, `server.properties` and `broker.log`.
    pub dir: PathBuf,
    /// Further properties, Kafka's names.
    pub properties: Vec<(String, String)>,
    /// What is put before the broker's own command, as `strace -f …`.
    pub wrapper: Vec<String>,
    program: Vec<String>,
}

/// A running broker. Dropping it kills it.
#[derive(Debug)]
pub struct Broker {
    /// How it was started.
    pub plan: Plan,
    child: Child,
    was_ended: bool,
}

/// Consumers are sent to the replica in their rack (KIP-392).
const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// Where a node of several is: each has a rack of its own.
pub fn rack_of(node: usize) -> String {
    format!("rack-{node}")
}

impl Plan {
    /// Picks free ports and an empty directory; for Kafka the storage is formatted here.
    pub fn new(workshop: &Workshop, kind: Kind, dir: &Path) -> Result<Self, String> {
        let explain = |error: io::Error| format!("cannot prepare {}: {error}", dir.display());
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(explain)?;
        }
        fs::create_dir_all(dir.join("data")).map_err(explain)?;
        let program = match kind {
            Kind::Kafka => {
                ["java", "-Xms1g", "-Xmx1g", "-cp", &workshop.java()?, "kafka.Kafka"].map(str::to_owned).to_vec()
            }
            Kind::Ottla => ottla_program()?,
        };
        let [address, controller] = free_addresses().map_err(explain)?;
        let (dir, properties, wrapper) = (dir.to_path_buf(), Vec::new(), Vec::new());
        Ok(Self { kind, address, controller, node: 1, controllers: Vec::new(), dir, properties, wrapper, program })
    }

    /// A cluster of `count` nodes, their directories in `dir`. The first node of Ottla founds it; Kafka's are given
    /// their voters.
    pub fn several(workshop: &Workshop, kind: Kind, count: usize, dir: &Path) -> Result<Vec<Self>, String> {
        let plan = |node: usize| Self::new(workshop, kind, &dir.join(format!("node-{node}")));
        let mut plans: Vec<Self> = (1..=count).map(plan).collect::<Result<_, _>>()?;
        let controllers: Vec<SocketAddr> = plans.iter().map(|plan| plan.controller).collect();
        for (node, plan) in (1..).zip(&mut plans) {
            (plan.node, plan.controllers) = (node, controllers.clone());
            plan.program.retain(|word| node == 1 || word != NEW_CLUSTER);
            plan.properties.push(("broker.rack".to_owned(), rack_of(node)));
            plan.properties.push(("replica.selector.class".to_owned(), RACK_AWARE.to_owned()));
        }
        Ok(plans)
    }

    /// The same with another build of Ottla.
    pub fn with_program(mut self, program: &Path) -> Result<Self, String> {
        let founds = self.program.iter().any(|word| word == NEW_CLUSTER);
        self.program = serve(program)?;
        self.program.retain(|word| founds || word != NEW_CLUSTER);
        Ok(self)
    }

    /// The data directory (`log.dirs`).
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// `host:port` of the client listener.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// Writes the configuration and, for a new Kafka, formats the directory.
    pub fn prepare(&self, workshop: &Workshop) -> Result<(), String> {
        let file = self.dir.join("server.properties");
        fs::write(&file, self.properties_text())
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        if self.kind == Kind::Kafka {
            let mut format = Command::new("java");
            format.args([
                "-cp",
                &workshop.java()?,
                "kafka.tools.StorageTool",
                "format",
                "-t",
                "AAAAAAAAAAAAAAAAAAAAAQ",
            ]);
            // A cluster's voters stand in its configuration.
            format.args(self.controllers.is_empty().then_some("--standalone"));
            let finished =
                process::run(format.arg("-c").arg(&file), &self.dir, START_LIMIT).map_err(|e| e.to_string())?;
            if !finished.succeeded() {
                return Err(format!("kafka-storage format failed:\n{}", finished.transcript()));
            }
        }
        Ok(())
    }

    fn properties_text(&self) -> String {
        let Self { address, controller, node, .. } = self;
        let replicas = self.controllers.len().clamp(1, 3);
        let join = |servers: Vec<String>| servers.join(",");
        let servers = match (&self.controllers[..], self.kind) {
            ([], _) => format!("controller.quorum.bootstrap.servers={controller}"),
            (several, Kind::Ottla) => {
                let servers = join(several.iter().map(SocketAddr::to_string).collect());
                format!("controller.quorum.bootstrap.servers={servers}\ncontroller.quorum.auto.join.enable=true")
            }
            (several, Kind::Kafka) => {
                let voters = (1..).zip(several).map(|(node, address)| format!("{node}@{address}"));
                format!("controller.quorum.voters={}", join(voters.collect()))
            }
        };
        // The same file for both: Ottla takes Kafka's.
        let mut text = format!(
            "node.id={node}\nprocess.roles=broker,controller\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{address}\ncontroller.listener.names=CONTROLLER\n\
             {servers}\noffsets.topic.replication.factor={replicas}\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n"
        );
        // Old timestamps are part of the cases: retention must not take their records away.
        text += &format!("log.dirs={}\nnum.partitions=1\nlog.retention.ms=-1\n", self.data().display());
        // A consumer group's member cannot choose how soon its silence is noticed: the broker's own are short for that.
        text += "group.consumer.min.session.timeout.ms=6000\ngroup.consumer.session.timeout.ms=6000\n";
        text += "group.consumer.min.heartbeat.interval.ms=1000\ngroup.consumer.heartbeat.interval.ms=1000\n";
        if replicas > 1 {
            text += &format!("default.replication.factor={replicas}\nmin.insync.replicas={}\n", replicas.div_ceil(2));
        }
        for (name, value) in &self.properties {
            text += &format!("{name}={value}\n");
        }
        text
    }

    /// Starts the process and waits until it answers.
    pub fn start(&self) -> Result<Broker, String> {
        let mut broker = self.spawn()?;
        broker.wait_until_ready()?;
        Ok(broker)
    }

    /// Starts the process, and waits for nothing.
    pub fn spawn(&self) -> Result<Broker, String> {
        let log = self.dir.join("broker.log");
        let explain = |error: io::Error| format!("cannot start {}: {error}", self.program.join(" "));
        let out = File::options().create(true).append(true).open(&log).map_err(explain)?;
        let mut words = self.wrapper.iter().chain(&self.program);
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words).arg(self.dir.join("server.properties"));
        command.env("KAFKA_LOG4J_OPTS", "").current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(out.try_clone().map_err(explain)?).stderr(out);
        let child = command.spawn().map_err(explain)?;
        Ok(Broker { plan: self.clone(), child, was_ended: false })
    }
}

impl Broker {
    /// Waits until it answers.
    pub fn wait_until_ready(&mut self) -> Result<(), String> {
        let child = &mut self.child;
        let ready = probe::wait_until_ready(self.plan.address, START_LIMIT, || Ok(child.try_wait()?.is_none()));
        ready.map(drop).map_err(|error| format!("{error}; the end of its log:\n{}", self.log_tail()))
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A controlled shutdown (SIGTERM); gives how it ended.
    pub fn stop(&mut self) -> Result<ExitStatus, String> {
        let explain = |error: io::Error| format!("cannot stop the broker: {error}");
        self.was_ended = true;
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(|error| explain(error.into()))?;
        match process::wait(&mut self.child, STOP_LIMIT).map_err(explain)? {
            Some(status) => Ok(status),
            None => Err(format!("the broker did not stop within {STOP_LIMIT:?} of SIGTERM")),
        }
    }

    /// SIGSTOP: it does nothing until [`Self::resume`].
    pub fn pause(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::STOP)?)
    }

    /// SIGCONT.
    pub fn resume(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }

    /// SIGKILL, as `kill -9`.
    pub fn kill(&mut self) -> io::Result<()> {
        self.was_ended = true;
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Whether the process ended though nobody ended it.
    pub fn has_crashed(&mut self) -> io::Result<bool> {
        Ok(!self.was_ended && self.child.try_wait()?.is_some())
    }

    /// The end of its log, for a report.
    pub fn log_tail(&self) -> String {
        tail(&self.plan.dir.join("broker.log"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.kill());
    }
}

fn ottla_program() -> Result<Vec<String>, String> {
    let path = std::env::var("OTTLA_BIN").map_err(|_| "OTTLA_BIN does not name the ottla program".to_owned())?;
    serve(Path::new(&path))
}

fn serve(program: &Path) -> Result<Vec<String>, String> {
    let path = fs::canonicalize(program).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok([&path.to_string_lossy(), "serve", NEW_CLUSTER, "--config"].map(str::to_owned).to_vec())
}

/// Ports that were free a moment ago. They are held together, so that they differ.
fn free_addresses<const N: usize>() -> io::Result<[SocketAddr; N]> {
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    let mut held = Vec::new();
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addresses)
}

fn tail(path: &Path) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
