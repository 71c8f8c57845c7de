//! Accepting, within `max.connections` and `max.connections.per.ip`, and within what the limit of open files allows.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ottla_core::machine::{ListenerId, Opened};
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;

use super::{Arrival, take_over};
use crate::driver::{NodeOptions, Shared};

/// How many connections of other nodes there may be: each has a few to each other.
const NODES: usize = 1_000;

/// How long accepting rests when the process has no file descriptor left.
const REST: Duration = Duration::from_millis(100);

/// Deals connections out to the I/O threads.
pub(super) struct Acceptor {
    shared: Arc<Shared>,
    options: Arc<NodeOptions>,
    /// The other threads; the acceptor runs on thread 0 and keeps its own share.
    others: Vec<UnboundedSender<Arrival>>,
    dealing: Mutex<Dealing>,
    clients: Arc<Mutex<Counts>>,
    nodes: Arc<Mutex<Counts>>,
    most: Most,
}

/// How many connections of clients there may be at once, and what says so.
struct Most {
    connections: usize,
    limit: &'static str,
    open_files: usize,
}

struct Dealing {
    next: usize,
    /// When a refusal was last logged: a flood must not fill the log.
    complained: Option<Instant>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// A connection's place within the limits, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    ip: IpAddr,
    counts: Arc<Mutex<Counts>>,
}

impl Acceptor {
    pub(super) fn new(shared: &Arc<Shared>, options: &Arc<NodeOptions>, others: Vec<UnboundedSender<Arrival>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            options: Arc::clone(options),
            others,
            dealing: Mutex::new(Dealing { next: 0, complained: None }),
            clients: Arc::default(),
            nodes: Arc::default(),
            most: Most::new(options.max_connections),
        }
    }

    /// Starts a task a listener. Those for clients begin when the machine is ready; the controllers' at once, since no
    /// broker is ready before the quorum has a leader.
    pub(super) fn start(self, listeners: Vec<TcpListener>) {
        let acceptor = Arc::new(self);
        for (index, listener) in listeners.into_iter().enumerate() {
            let id = ListenerId(u16::try_from(index).expect("listeners are few: the configuration names each"));
            let acceptor = Arc::clone(&acceptor);
            let at_once = acceptor.options.controllers.contains(&id);
            tokio::spawn(async move {
                if !at_once {
                    acceptor.shared.ready().wait().await;
                }
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => acceptor.accept_all(&listener, id).await,
                    Err(error) => tracing::error!("listener {} cannot be registered: {error}", id.0),
                }
            });
        }
    }

    async fn accept_all(&self, listener: &tokio::net::TcpListener, id: ListenerId) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => match self.admit(peer.ip(), id) {
                    Ok(admission) => self.deal(stream, peer, id, admission),
                    Err(limit) => self.refuse(peer, limit),
                },
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    self.complain(format_args!("no connection can be accepted: {error}"));
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    fn admit(&self, ip: IpAddr, listener: ListenerId) -> Result<Admission, &'static str> {
        let of_nodes = self.options.nodes.contains(&listener);
        let counts = if of_nodes { &self.nodes } else { &self.clients };
        let mut counted = lock(counts);
        if of_nodes {
            if counted.all >= NODES {
                return Err("what other nodes need");
            }
        } else {
            let open = usize::try_from(self.shared.counters().open_files.get()).unwrap_or(usize::MAX);
            self.most.admits(counted.all, open)?;
        }
        if !counted.add(ip, self.options.max_connections_per_ip) {
            return Err("max.connections.per.ip");
        }
        Ok(Admission { ip, counts: Arc::clone(counts) })
    }

    fn refuse(&self, peer: SocketAddr, limit: &str) {
        self.shared.counters().connections.refused.add(1);
        self.complain(format_args!("a connection from {peer} is refused: {limit} is reached"));
    }

    fn deal(&self, stream: TcpStream, peer: SocketAddr, listener: ListenerId, admission: Admission) {
        if let Err(error) = set_options(&stream) {
            return self.complain(format_args!("a connection from {peer} failed at once: {error}"));
        }
        let opened = Opened::Accepted { listener, peer };
        match self.next_thread() {
            None => take_over(&self.shared, &self.options, 0, stream, opened, Some(admission)),
            Some(other) => match stream.into_std() {
                // The thread is gone only when the node has stopped.
                Ok(stream) => drop(other.send(Arrival { stream, opened, admission })),
                Err(error) => self.complain(format_args!("a connection from {peer} failed at once: {error}")),
            },
        }
    }

    /// The thread whose turn it is; `None` for our own.
    fn next_thread(&self) -> Option<&UnboundedSender<Arrival>> {
        let mut dealing = lock(&self.dealing);
        dealing.next = (dealing.next + 1) % (self.others.len() + 1);
        dealing.next.checked_sub(1).map(|index| &self.others[index])
    }

    fn complain(&self, what: fmt::Arguments<'_>) {
        let mut dealing = lock(&self.dealing);
        if dealing.complained.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
            tracing::warn!("{what}");
            dealing.complained = Some(Instant::now());
        }
    }
}

impl Most {
    /// A quarter of the descriptors is kept for files: a log directory whose next segment cannot be opened has failed,
    /// and no number of clients may do that.
    fn new(max_connections: usize) -> Self {
        let open_files = getrlimit(Resource::Nofile).current;
        let open_files = open_files.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let sockets = open_files / 4 * 3;
        let (connections, limit) = if sockets < max_connections {
            (sockets, "three quarters of the limit of open files")
        } else {
            (max_connections, "max.connections")
        };
        Self { connections, limit, open_files }
    }

    /// Whether there may be one more than so many connections, beside so many open files: an eighth of the descriptors
    /// is left for what is yet to be opened.
    fn admits(&self, connections: usize, files: usize) -> Result<(), &'static str> {
        if connections >= self.connections {
            return Err(self.limit);
        }
        if connections.saturating_add(files) >= self.open_files / 8 * 7 {
            return Err("the limit of open files, of which the logs have many,");
        }
        Ok(())
    }
}

impl Counts {
    /// One more from there, unless there are so many already: then nothing is kept of who is refused.
    fn add(&mut self, ip: IpAddr, most: usize) -> bool {
        let here = self.by_ip.get(&ip).copied().unwrap_or(0);
        let has_room = here < most;
        if has_room {
            self.by_ip.insert(ip, here + 1);
            self.all += 1;
        }
        has_room
    }

    fn remove(&mut self, ip: IpAddr) {
        self.all -= 1;
        if let Some(here) = self.by_ip.get_mut(&ip) {
            *here -= 1;
            if *here == 0 {
                self.by_ip.remove(&ip);
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        lock(&self.counts).remove(self.ip);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers are written whole: waiting for more to fill a segment only adds latency. And a peer that vanished without
/// a word is found out by the kernel within two minutes, long before the connection has been idle for too long.
pub(super) fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    Ok(sockopt::set_tcp_keepcnt(stream, 6)?)
}

/// The peer was gone before we came to it; the listener is well.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_the_logs() {
        let most = Most { connections: 600, limit: "max.connections", open_files: 800 };
        let admits = |connections, files| most.admits(connections, files).is_ok();
        assert_eq!(
            [(599, 0), (600, 0), (599, 100), (599, 101), (0, 700)].map(|(a, b)| admits(a, b)),
            [true, false, true, false, false]
        );
    }

    #[test]
    fn nothing_is_kept_of_who_is_refused_or_has_gone() {
        let mut counts = Counts::default();
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        assert!(!counts.add(ip(1), 0));
        assert!(counts.by_ip.is_empty());
        assert!(counts.add(ip(1), 1) && !counts.add(ip(1), 1) && counts.add(ip(2), 1));
        assert_eq!((counts.all, counts.by_ip.len()), (2, 2));
        counts.remove(ip(1));
        assert_eq!((counts.all, counts.by_ip.len()), (1, 1));
    }
}
