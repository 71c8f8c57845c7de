//! Connections: accepting, dialling, reading frames, sending in order.
//!
//! Each connection is one task on one I/O thread. It reads whole frames, and sends what a round could not send
//! at once because the peer was slow. Bounds: a frame by `socket.request.max.bytes`, and all that have not come whole
//! by four times that; what waits in memory to be sent on a connection by `ottla.connection.max.unsent.bytes`; what
//! clients have sent and the machine has not seen by `queued.max.request.bytes`; a peer that does not read at all by
//! `connections.max.idle.ms`.
//!
//! Absent on purpose: TLS and SASL (they change what a byte is, not who owns it).

mod accept;
mod buffers;
mod conn;
mod out;
mod partial;
mod reader;
mod resolve;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_core::machine::{ConnId, Input, Opened};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::driver::{NodeOptions, Shared};
use accept::{Acceptor, Admission};
pub(crate) use conn::Conn;
use conn::Side;
pub(crate) use out::Chunk;
pub(crate) use partial::Partial;

/// How many connections wait to be accepted: bursts after a failover are large. (The standard library listens
/// with 128.) The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How many threads, at most and only at need, wait for names to be resolved.
const BLOCKING_THREADS: usize = 4;

/// How long a dialled peer has to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one of several addresses of a peer has: less than who waits for the peer's answer waits.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the last answers have to leave after the machine has stopped.
const FAREWELL: Duration = Duration::from_secs(1);

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    table: Mutex<HashMap<ConnId, Arc<Conn>>>,
    last: AtomicU64,
}

impl Conns {
    pub(crate) fn get(&self, conn: ConnId) -> Option<Arc<Conn>> {
        self.lock().get(&conn).cloned()
    }

    fn next_id(&self) -> ConnId {
        ConnId(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn insert(&self, conn: Arc<Conn>) {
        self.lock().insert(conn.id(), conn);
    }

    fn remove(&self, conn: ConnId) {
        self.lock().remove(&conn);
    }

    fn all(&self) -> Vec<Arc<Conn>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnId, Arc<Conn>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds a listener. Connections may queue on it from now on.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    // A second listen(2) only changes the backlog.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// A connection that was accepted, on its way to the I/O thread that will own it.
struct Arrival {
    stream: std::net::TcpStream,
    opened: Opened,
    admission: Admission,
}

/// Starts the I/O threads; the first accepts for all.
pub(crate) fn start(
    shared: &Arc<Shared>,
    options: &Arc<NodeOptions>,
    listeners: Vec<TcpListener>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (1..shared.threads()).map(|_| mpsc::unbounded_channel()).unzip();
    let acceptor = Acceptor::new(shared, options, senders);
    let accept = move || acceptor.start(listeners);
    let mut threads = vec![start_thread(shared, options, 0, accept)?];
    for (index, arrivals) in receivers.into_iter().enumerate() {
        let (theirs, options_too) = (Arc::clone(shared), Arc::clone(options));
        let thread = index + 1;
        let welcome = move || drop(tokio::spawn(welcome(theirs, options_too, thread, arrivals)));
        threads.push(start_thread(shared, options, thread, welcome)?);
    }
    Ok(threads)
}

/// One I/O thread: a runtime that first does `begin`, then rounds until the machine has stopped.
fn start_thread(
    shared: &Arc<Shared>,
    options: &Arc<NodeOptions>,
    thread: usize,
    begin: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime()?;
    let (shared, max_idle) = (Arc::clone(shared), options.max_idle);
    let run = async move {
        begin();
        if thread == 0 {
            tokio::spawn(sweep(Arc::clone(&shared), max_idle));
        }
        Arc::clone(&shared).run(thread).await;
        farewell(&shared, thread).await;
    };
    std::thread::Builder::new().name(format!("ottla-io-{thread}")).spawn(move || run_to_end(runtime, run))
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()
}

/// Its threads that wait are left behind: for a name that nobody wants any more. What must end first is the disk's,
/// which has threads of its own.
fn run_to_end(runtime: Runtime, run: impl Future<Output = ()>) {
    runtime.block_on(run);
    runtime.shutdown_background();
}

/// Lets the last answers leave. What a peer does not read in time is lost with the process, as it always may be.
async fn farewell(shared: &Shared, thread: usize) {
    let emptied = async {
        for conn in shared.conns().all() {
            if conn.thread() == thread {
                conn.emptied().await;
            }
        }
    };
    let _ = tokio::time::timeout(FAREWELL, emptied).await;
}

/// Takes over the connections that the accepting thread gives to this one.
async fn welcome(
    shared: Arc<Shared>,
    options: Arc<NodeOptions>,
    thread: usize,
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
) {
    while let Some(arrival) = arrivals.recv().await {
        match TcpStream::from_std(arrival.stream) {
            Ok(stream) => {
                let admission = Some(arrival.admission);
                take_over(&shared, &options, thread, stream, arrival.opened, admission);
            }
            Err(error) => tracing::warn!("a connection cannot be registered: {error}"),
        }
    }
}

/// Makes the connection known, and starts its task on this thread.
fn take_over(
    shared: &Arc<Shared>,
    options: &NodeOptions,
    thread: usize,
    stream: TcpStream,
    how: Opened,
    admission: Option<Admission>,
) {
    let id = shared.conns().next_id();
    let side = match &how {
        Opened::Dialled { .. } => Side::Ours,
        Opened::Accepted { listener, .. } if options.controllers.contains(listener) => Side::Controller,
        Opened::Accepted { .. } => Side::Client,
    };
    let now = shared.clock().monotonic();
    let conn = Arc::new(Conn::new(id, side, options.max_unsent_bytes, thread, stream, now));
    shared.conns().insert(Arc::clone(&conn));
    shared.counters().connections.open.add(1);
    // Queued before the task reads its first frame, so the machine hears of it first.
    shared.push_all(&conn, &mut vec![Input::Opened { conn: id, how }]);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        conn::serve(&shared, &conn).await;
        // Nobody waits for what it could not send.
        conn.abort();
        shared.conns().remove(id);
        shared.counters().connections.open.sub(1);
        shared.push_all(&conn, &mut vec![Input::Closed { conn: id }]);
        drop(admission);
    });
}

/// Dials a peer. The address is `host:port`; names are resolved.
pub(crate) fn dial(shared: &Arc<Shared>, options: &Arc<NodeOptions>, thread: usize, token: u64, address: Box<str>) {
    let (shared, options) = (Arc::clone(shared), Arc::clone(options));
    tokio::spawn(async move {
        let connect = async { connect(&resolve::resolve(&address).await?, token).await };
        let connected = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(connected) => connected.and_then(|stream| accept::set_options(&stream).map(|()| stream)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let dialled = |result| Opened::Dialled { token, result };
        match connected {
            Ok(stream) => take_over(&shared, &options, thread, stream, dialled(Ok(())), None),
            Err(error) => {
                let conn = shared.conns().next_id();
                let how = dialled(Err(error.to_string().into()));
                shared.push_failed(thread, Input::Opened { conn, how });
            }
        }
    });
}

/// Dials one address after the other, beginning with another each time: one that does not answer has its share of the
/// time, and not that of the others.
async fn connect(addresses: &[SocketAddr], turn: u64) -> io::Result<TcpStream> {
    let count = addresses.len().max(1);
    let first = usize::try_from(turn).unwrap_or(0) % count;
    let each = if count == 1 { CONNECT_TIMEOUT } else { ADDRESS_TIMEOUT };
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses.iter().cycle().skip(first).take(addresses.len()) {
        match tokio::time::timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

/// Closes connections on which no byte has moved for too long.
async fn sweep(shared: Arc<Shared>, max_idle: Duration) {
    let tick = (max_idle / 4).clamp(Duration::from_millis(10), Duration::from_secs(10));
    loop {
        tokio::time::sleep(tick).await;
        let now = shared.clock().monotonic();
        for conn in shared.conns().all() {
            if now.since(conn.last_active()) >= max_idle {
                tracing::debug!("{} moved no byte for {max_idle:?} and is closed", conn.id());
                shared.counters().connections.idle_closed.add(1);
                conn.abort();
            }
        }
    }
}
