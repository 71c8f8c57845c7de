//! The tokio driver of the machine.
//!
//! The machine stands behind a lock and is called by whichever I/O thread has work; each I/O thread is a
//! tokio current_thread runtime. Connections queue inputs; a round drains the queue, carries out the file
//! writes of all steps in as few calls as it can, feeds their completions back, and then sends. Only syncs,
//! cold reads and jobs run on other threads ([`crate::disk`]). A thread of its own for the machine, behind a
//! channel, was measured: 2.7 times fewer requests on one connection, for four times the CPU.
//!
//! ```text
//!  accept ─► connection task ─► inbox ─► round: step, step, … write, step … ─► out-queues ─► writev, sendfile
//!                                 ▲                        │
//!                                 └── completions ◄── sync, worker threads
//! ```
//!
//! Invariants: what `ottla_core::machine` says that a driver promises.
//!
//! Absent on purpose: every decision. What is durable, who may read what, and when to answer are the machine's.

mod brain;
mod clock;
mod counters;
mod gates;
mod inbox;
mod intake;
mod round;

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_core::machine::{Input, ListenerId};

use crate::disk::{DirectoryLock, Disk, DiskOptions, LockError};
use crate::net;
pub use brain::Brain;
pub(crate) use clock::Clock;
pub use counters::{ConnectionCounters, Count, Counters, Histogram};
pub(crate) use inbox::Urgency;
pub(crate) use intake::Ingress;
pub(crate) use round::Shared;

/// What may be queued for the machine. It holds a few hundred large requests, and is little beside the memory of a host
/// whose disk so many wait for.
const MAX_QUEUED_BYTES: u64 = 64 << 20;

/// So many frames of the largest size may be under way at once: a hundred clients must not take ten gigabytes by
/// sending the most of a frame each, and then nothing.
const PARTIAL_FRAMES: u64 = 4;

/// How a node is set up: what the driver itself needs to know. All else is the machine's configuration.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Where to listen, by [`ottla_core::machine::ListenerId`]. Port 0 is any free port.
    pub listeners: Vec<SocketAddr>,
    /// Those of them that are the controllers': they accept before the machine is ready.
    pub controllers: Vec<ListenerId>,
    /// Those of them that are for other nodes alone, the controllers' among them: no number of clients takes their
    /// connections' places (KIP-402).
    pub nodes: Vec<ListenerId>,
    /// `log.dirs`, by [`ottla_core::machine::LogDirId`]. They are made where missing.
    pub log_dirs: Vec<PathBuf>,
    /// `num.network.threads`
    pub network_threads: usize,
    /// How many threads run jobs.
    pub workers: usize,
    /// What a frame may hold.
    pub frames: FrameLimits,
    /// `ottla.connection.max.unsent.bytes`: with more in memory for its client, a connection's next frame waits.
    pub max_unsent_bytes: u64,
    /// `queued.max.request.bytes`: with so many bytes of requests queued for the machine no client is read, until
    /// rounds take them.
    pub max_queued_bytes: u64,
    /// `max.connections`; three quarters of the limit of open files, if that is less.
    pub max_connections: usize,
    /// `max.connections.per.ip`
    pub max_connections_per_ip: usize,
    /// `connections.max.idle.ms`: a connection on which no byte moves for so long is closed.
    pub max_idle: Duration,
    /// `ottla.disk.timeout.ms`
    pub disk_timeout: Duration,
}

/// What a frame may hold; beyond it the connection is closed, or the batch refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// `socket.request.max.bytes`: a longer frame closes its connection.
    pub request_max_bytes: u32,
    /// `ottla.batch.max.inflated.bytes`: a batch that inflates beyond this is refused.
    pub inflated_max_bytes: u64,
}

impl FrameLimits {
    /// What clients' frames may take together that have not come whole. One goes on beyond it.
    pub(crate) const fn partial_bytes(self) -> u64 {
        PARTIAL_FRAMES * self.request_max_bytes as u64
    }
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { request_max_bytes: 100 << 20, inflated_max_bytes: 256 << 20 }
    }
}

impl Default for NodeOptions {
    /// Kafka's defaults, without listeners and directories.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listeners: Vec::new(),
            controllers: Vec::new(),
            nodes: Vec::new(),
            log_dirs: Vec::new(),
            network_threads: if cores <= 4 { 1 } else { 3 },
            workers: 2,
            frames: FrameLimits::default(),
            max_unsent_bytes: 1 << 20,
            max_queued_bytes: MAX_QUEUED_BYTES,
            max_connections: usize::MAX,
            max_connections_per_ip: usize::MAX,
            max_idle: Duration::from_secs(600),
            disk_timeout: Duration::from_secs(30),
        }
    }
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A log directory is held by another process, or cannot be made.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A listener cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// A thread or a runtime cannot be made.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// A node that holds its directories and its ports, and does nothing yet.
#[derive(Debug)]
pub struct Node {
    options: Arc<NodeOptions>,
    listeners: Vec<TcpListener>,
    locks: Vec<DirectoryLock>,
}

impl Node {
    /// Takes the log directories' locks, binds the listeners, and raises the limit of open files.
    pub fn bind(options: NodeOptions) -> Result<Self, StartError> {
        raise_open_files();
        let locks = options.log_dirs.iter().map(|dir| DirectoryLock::take(dir)).collect::<Result<_, _>>()?;
        let listeners = options
            .listeners
            .iter()
            .map(|&address| net::listen(address).map_err(|error| StartError::Listen { address, error }))
            .collect::<Result<_, _>>()?;
        Ok(Self { options: Arc::new(options), listeners, locks })
    }

    /// The addresses that were bound, in the order of the options: with port 0, which ports they became.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Starts the threads. Connections are accepted once the machine is ready; until then they wait in the
    /// listeners' queues. `on_ready` is called on an I/O thread and must not block.
    pub fn start_with(
        self,
        brain: Box<dyn Brain>,
        on_ready: impl FnOnce() + Send + 'static,
    ) -> Result<Running, StartError> {
        let counters = Arc::new(Counters::default());
        let shared = Shared::new(&self.options, brain, Box::new(on_ready), Arc::clone(&counters));
        let disk = Disk::new(
            DiskOptions {
                log_dirs: self.options.log_dirs.clone(),
                timeout: self.options.disk_timeout,
                workers: self.options.workers,
            },
            counters,
            shared.completions(),
        )?;
        shared.attach(disk);
        let threads = net::start(&shared, &self.options, self.listeners)?;
        Ok(Running { shared, threads, locks: self.locks })
    }
}

/// A running node.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    locks: Vec<DirectoryLock>,
}

impl Running {
    /// Asks for a shutdown in good order. [`Running::wait`] returns when it is complete.
    pub fn shutdown(&self) {
        self.shared.push(Input::Shutdown);
    }

    /// A handle that asks for a shutdown from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    /// Waits until the machine has stopped, and gives the directories free.
    pub fn wait(self) {
        for thread in self.threads {
            // A panic on an I/O thread aborts the process, so there is nothing to pass on.
            let _ = thread.join();
        }
        self.shared.detach();
        drop(self.locks);
    }

    /// What the driver counts.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(self.shared.counters())
    }

    /// Looks at the machine between two rounds. The node serves nobody meanwhile.
    pub fn inspect<R>(&self, look: impl FnOnce(&dyn Any) -> R) -> R {
        self.shared.inspect(look)
    }
}

/// A handle of a running node: asks it to shut down, and looks at it.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// As [`Running::shutdown`].
    pub fn shutdown(&self) {
        self.0.push(Input::Shutdown);
    }

    /// As [`Running::counters`].
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(self.0.counters())
    }

    /// As [`Running::inspect`].
    pub fn inspect<R>(&self, look: impl FnOnce(&dyn Any) -> R) -> R {
        self.0.inspect(look)
    }
}

/// Each connection and each segment is an open file: the soft limit is often 1,024, the hard one large. What it is then
/// bounds the connections, too.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files cannot be raised: {error}");
    }
}

#[cfg(test)]
mod tests;
