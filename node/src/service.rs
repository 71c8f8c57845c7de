//! A node's life around the machine: ports, directories, signals, the HTTP port, the line that says ready.
//!
//! Threads: the driver's own; and the shell's, a tokio current_thread runtime for signals and HTTP, which
//! starts before the directories are taken, so that a signal during a long start is heard.
//!
//! Absent on purpose: any look inside the machine. What it is and what may be seen of it comes in as a
//! [`Machinery`].

use std::any::Any;
use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ottla_core::config::{BrokerConfig, Config, Endpoint, Source};
use ottla_core::machine::ListenerId;

use crate::cli::Failure;
use crate::disk::LockError;
use crate::driver::{Brain, FrameLimits, Node, NodeOptions, Running, StartError, Stopper};
use crate::http::{self, Observe};
use crate::metrics::{self, Family};
use crate::net;
use crate::signals::Signals;

const PROGRAM: &str = concat!("ottla ", env!("CARGO_PKG_VERSION"));

/// What the machine is, and what may be seen of it.
#[derive(Clone, Copy)]
pub struct Machinery {
    /// Makes the machine from its configuration and seed.
    pub make: fn(Config, u64) -> Box<dyn Brain>,
    /// Looks at it, while it does nothing else: so a look copies what it needs, and no more.
    pub look: fn(&dyn Any) -> Box<dyn Seen>,
}

/// What a look saw.
pub trait Seen {
    /// As metrics.
    fn metrics(&self) -> Vec<Family>;
    /// The log directories, each with its health: `online`, `full` or `offline`.
    fn log_dirs(&self) -> Vec<(String, &'static str)>;
    /// As JSON.
    fn json(&self) -> String;
}

/// How a node announces itself.
#[derive(Clone, Debug)]
pub enum Banner {
    /// To a developer, who wants to know where things are.
    Dev {
        /// Where the data lives.
        data: PathBuf,
    },
    /// To an operator's log.
    Serve,
}

/// Runs a node until it has shut down. Fails if it cannot start, or stops without having been asked.
pub fn run(mut config: Config, banner: Banner, machinery: Machinery) -> Result<(), Failure> {
    let begun = Instant::now();
    let options = node_options(&config.broker)?;
    let shell = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _runtime = shell.enter();
        Signals::take()?
    };
    let http = config.broker.limits.http_listener.as_deref().map(bind_http).transpose()?;
    let node = Node::bind(options).map_err(|error| explain(&error, matches!(banner, Banner::Dev { .. })))?;
    advertise(&mut config.broker, &node.addresses()?);
    let whereabouts = Whereabouts { banner, config: &config.broker, http: http.as_ref() }.to_string();
    tracing::info!("{PROGRAM} starting: {whereabouts}");
    let machine = (machinery.make)(config, seed()?);
    let ready = Arc::new(AtomicBool::new(false));
    let on_ready = {
        let ready = Arc::clone(&ready);
        move || {
            ready.store(true, Ordering::Release);
            tracing::info!("ready after {} ms", begun.elapsed().as_millis());
            announce(&format!("{PROGRAM} ready: {whereabouts}"));
        }
    };
    let running = node.start_with(machine, on_ready).map_err(Failure::new)?;
    let asked = Arc::new(AtomicBool::new(false));
    let view = Observed { node: running.stopper(), ready, asked: Arc::clone(&asked), machinery };
    start_shell(shell, signals, http, view)?;
    wait(running, &asked)
}

/// Joins the node; a node that stops by itself has failed, and has said why in the log.
fn wait(running: Running, asked: &AtomicBool) -> Result<(), Failure> {
    running.wait();
    if asked.load(Ordering::Acquire) {
        tracing::info!("stopped");
        Ok(())
    } else {
        Err(Failure::new("the node stopped by itself; its log says why"))
    }
}

/// The shell's threads: one for signals, and one for the HTTP port where there is one, so that no look at a node that
/// waits for its disk keeps it from being stopped. They end with the process.
fn start_shell(
    shell: tokio::runtime::Runtime,
    signals: Signals,
    http: Option<TcpListener>,
    node: Observed,
) -> io::Result<()> {
    let (stopper, asked) = (node.node.clone(), Arc::clone(&node.asked));
    let stop = move || {
        asked.store(true, Ordering::Release);
        stopper.shutdown();
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || shell.block_on(signals.watch(stop)))?;
    if let Some(listener) = http {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("http".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(http::serve(listener, Arc::new(node))) {
                tracing::error!("http: {error}");
            }
        })?;
    }
    Ok(())
}

/// What the HTTP port sees of a running node.
struct Observed {
    node: Stopper,
    ready: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
    machinery: Machinery,
}

impl Observed {
    /// Whether it serves at all, or why not.
    fn serves(&self) -> Result<(), String> {
        if self.asked.load(Ordering::Acquire) {
            Err("shutting down".to_owned())
        } else if self.ready.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err("recovering".to_owned())
        }
    }
}

impl Observe for Observed {
    fn health(&self) -> Result<(), String> {
        // A broken invariant aborts the process and a hung device is the watchdog's: who answers, lives.
        Ok(())
    }

    fn readiness(&self) -> Result<String, String> {
        self.serves()?;
        readiness_of(&self.node.inspect(self.machinery.look).log_dirs())
    }

    fn metrics(&self) -> Vec<Family> {
        let mut families = metrics::of_driver(&self.node.counters());
        let view = self.node.inspect(self.machinery.look);
        let is_ready = self.serves().and_then(|()| readiness_of(&view.log_dirs())).is_ok();
        families.push(Family::gauge("ottla_ready", "1 if clients are served", f64::from(is_ready)));
        families.extend(view.metrics());
        families
    }

    fn view(&self) -> String {
        self.node.inspect(self.machinery.look).json()
    }
}

/// A node is ready as long as one of its log directories serves: an orchestrator that took it away for the loss of
/// another would take away the partitions that are well. What cannot be served is in the answer.
fn readiness_of(log_dirs: &[(String, &'static str)]) -> Result<String, String> {
    let unwell = log_dirs.iter().filter(|(_, health)| *health != "online");
    let unwell: Vec<String> = unwell.map(|(path, health)| format!("log directory {path} is {health}")).collect();
    match &unwell[..] {
        [] => Ok("ok".to_owned()),
        _ if log_dirs.iter().all(|(_, health)| *health == "offline") => Err(unwell.join("\n")),
        _ => Ok(format!("ok, but\n{}", unwell.join("\n"))),
    }
}

/// What the driver needs to know of the configuration. Host names are resolved here.
fn node_options(config: &BrokerConfig) -> Result<NodeOptions, Failure> {
    let network = &config.network;
    let defaults = NodeOptions::default();
    let bound = config.listeners.bound.iter();
    let controllers = (0..).map(ListenerId).zip(bound.clone()).filter(|(_, listener)| listener.is_controller);
    let controllers: Vec<ListenerId> = controllers.map(|(id, _)| id).collect();
    let of_brokers = || (0..).map(ListenerId).zip(bound.clone()).filter(|(_, listener)| !listener.is_controller);
    let between = |name: &str| name == config.listeners.inter_broker && of_brokers().count() > 1;
    let between_brokers = of_brokers().filter(|(_, listener)| between(&listener.endpoint.name)).map(|(id, _)| id);
    let nodes = between_brokers.chain(controllers.iter().copied()).collect();
    let listeners = bound.map(|listener| resolve(&listener.endpoint)).collect::<Result<_, _>>()?;
    let threads = config.layers.sources("num.network.threads").next();
    let threads_given = threads.is_some_and(|(source, _)| source != Source::Default);
    // As in Kafka 0 is no bound of one's own, too.
    let queued = network.queued_max_request_bytes.filter(|bytes| *bytes > 0);
    Ok(NodeOptions {
        listeners,
        controllers,
        nodes,
        log_dirs: config.storage.log_dirs().iter().map(PathBuf::from).collect(),
        network_threads: if threads_given { to_usize(network.network_threads) } else { defaults.network_threads },
        workers: defaults.workers,
        frames: FrameLimits {
            request_max_bytes: network.request_max_bytes,
            inflated_max_bytes: config.limits.batch_max_inflated_bytes.into(),
        },
        max_unsent_bytes: u64::try_from(config.limits.connection_max_unsent_bytes).unwrap_or(u64::MAX),
        max_queued_bytes: queued.unwrap_or(defaults.max_queued_bytes),
        max_connections: to_usize(network.max_connections),
        max_connections_per_ip: to_usize(network.max_connections_per_ip),
        max_idle: network.max_idle_ms.map_or(Duration::MAX, Duration::from_millis),
        disk_timeout: Duration::from_millis(config.storage.disk_timeout_ms),
    })
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The first address of an endpoint; every interface, IPv6 where there is any, for an empty host.
fn resolve(endpoint: &Endpoint) -> Result<SocketAddr, Failure> {
    let host = match endpoint.host.as_str() {
        "" if UdpSocket::bind("[::]:0").is_ok() => "::",
        "" => "0.0.0.0",
        host => host,
    };
    first_address(host, endpoint.port).map_err(|error| {
        Failure::usage(format!("listeners: {endpoint}: {error}; give an address of this host, or none for all of them"))
    })
}

fn first_address(host: &str, port: u16) -> io::Result<SocketAddr> {
    let mut addresses = (host, port).to_socket_addrs()?;
    addresses.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

pub(crate) fn bind_http(address: &str) -> Result<TcpListener, Failure> {
    let resolved = address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    let resolved = resolved.ok_or_else(|| {
        Failure::usage(format!("ottla.http.listener: {address} is no address; write HOST:PORT, as in 127.0.0.1:9644"))
    })?;
    TcpListener::bind(resolved).map_err(|error| {
        Failure::new(format!("cannot listen on {resolved} for HTTP: {error}; choose another with --http HOST:PORT"))
    })
}

/// Puts the host's name and the ports that were chosen where the configuration left them open.
fn advertise(config: &mut BrokerConfig, addresses: &[SocketAddr]) {
    let host_name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    for (endpoint, address) in config.listeners.advertised.iter_mut().zip(addresses) {
        if endpoint.host.is_empty() {
            endpoint.host = host_name();
        }
        if endpoint.port == 0 {
            endpoint.port = address.port();
        }
    }
    for (listener, address) in config.listeners.bound.iter_mut().zip(addresses) {
        listener.endpoint.port = address.port();
    }
}

/// Whether a developer's node could listen there now.
pub(crate) fn check_free(address: &str) -> Result<(), Failure> {
    let wrong = |error| Failure::usage(format!("--listen: {address}: {error}; give an address of this host"));
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    let address = first_address(host, port.parse().unwrap_or(0)).map_err(wrong)?;
    net::listen(address).map(drop).map_err(|error| explain(&StartError::Listen { address, error }, true))
}

/// Why the node cannot start, and what to do; `dev`: its developer has said where on the command line.
fn explain(error: &StartError, dev: bool) -> Failure {
    let remedy = match error {
        StartError::Listen { error, .. } if error.kind() == io::ErrorKind::AddrInUse => {
            let other = if dev { "choose another with --listen HOST:PORT" } else { "choose another in `listeners`" };
            format!("another process has the port: stop it, or {other}")
        }
        StartError::Listen { .. } if dev => "give an address of this host with --listen HOST:PORT".to_owned(),
        StartError::Listen { .. } => "give an address of this host in `listeners`".to_owned(),
        StartError::Lock(LockError::Io { .. }) => {
            let setting = if dev { "--data DIR" } else { "`log.dirs`" };
            format!("give a directory that this user may write to with {setting}")
        }
        StartError::Lock(LockError::Held { .. }) | StartError::Thread(_) => return Failure::new(error),
    };
    Failure::new(format!("{error}; {remedy}"))
}

/// What a machine draws its random numbers from.
pub(crate) fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(u64::from_ne_bytes(bytes))
}

/// Where clients, data and operators' port are.
struct Whereabouts<'a> {
    banner: Banner,
    config: &'a BrokerConfig,
    http: Option<&'a TcpListener>,
}

impl fmt::Display for Whereabouts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = &self.config.listeners;
        let is_controller = |endpoint: &Endpoint| listeners.controllers.contains(&endpoint.name);
        match &self.banner {
            Banner::Dev { data } => {
                let endpoint = listeners.advertised.iter().find(|endpoint| !is_controller(endpoint));
                let (host, port) = endpoint.map_or(("", 0), |endpoint| (endpoint.host.as_str(), endpoint.port));
                write!(f, "Kafka clients at {host}:{port}, data in {}", data.display())?;
            }
            Banner::Serve => {
                write!(f, "node {}", self.config.node.id)?;
                listeners.advertised.iter().try_for_each(|endpoint| write!(f, ", {endpoint}"))?;
            }
        }
        match self.http.map(TcpListener::local_addr) {
            Some(Ok(address)) => write!(f, ", HTTP at {address}"),
            Some(Err(_)) | None => Ok(()),
        }
    }
}

/// Prints the line that says ready. Whoever started the node may have closed standard output; it serves all the
/// same.
fn announce(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_ends_of_the_configuration_are_closed_by_what_was_bound() {
        let mut config = BrokerConfig::for_test(1, &[("listeners", "PLAINTEXT://:0,CONTROLLER://127.0.0.1:0")]);
        let addresses = ["0.0.0.0:4001".parse().expect("valid"), "127.0.0.1:4002".parse().expect("valid")];
        advertise(&mut config, &addresses);
        let told = &config.listeners.advertised;
        assert!(!told[0].host.is_empty(), "an open host becomes the name of this one");
        assert_eq!(told[0].port, 4001);
        assert_eq!(told[1].to_string(), "CONTROLLER://127.0.0.1:4002");
        assert_eq!(config.listeners.bound[1].endpoint.port, 4002);
    }

    #[test]
    fn only_a_given_number_of_threads_counts() {
        let threads = |settings| node_options(&BrokerConfig::for_test(1, settings)).expect("valid").network_threads;
        assert_eq!(threads(&[]), NodeOptions::default().network_threads);
        assert_eq!(threads(&[("num.network.threads", "5")]), 5);
    }

    #[test]
    fn a_node_is_ready_as_long_as_one_directory_serves() {
        let dirs = |healths: &[&'static str]| -> Vec<(String, &'static str)> {
            ["/a", "/b"].iter().zip(healths).map(|(path, health)| ((*path).to_owned(), *health)).collect()
        };
        assert_eq!(readiness_of(&dirs(&["online", "online"])), Ok("ok".to_owned()));
        let one = readiness_of(&dirs(&["online", "offline"]));
        assert_eq!(one, Ok("ok, but\nlog directory /b is offline".to_owned()));
        let full = readiness_of(&dirs(&["full", "full"]));
        assert!(full.is_ok_and(|how| how.contains("/a is full") && how.contains("/b is full")));
        let none = readiness_of(&dirs(&["offline", "offline"]));
        assert_eq!(none, Err("log directory /a is offline\nlog directory /b is offline".to_owned()));
    }

    #[test]
    fn a_node_says_where_everything_is() {
        let config = BrokerConfig::for_test(1, &[]);
        let banner = Banner::Dev { data: "ottla-data".into() };
        let line = Whereabouts { banner, config: &config, http: None }.to_string();
        assert!(line.starts_with("Kafka clients at 127.0.0.1:9092, data in ottla-data"), "{line}");
        let line = Whereabouts { banner: Banner::Serve, config: &config, http: None }.to_string();
        assert!(line.starts_with("node 1, PLAINTEXT://127.0.0.1:9092, CONTROLLER://127.0.0.1:9093"), "{line}");
    }
}
