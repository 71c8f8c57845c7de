//! A running `ottla dev`, of one node or of several, as the tests of the real binary need it.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The process; killed when it is dropped.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    /// Where clients find it.
    pub address: SocketAddr,
}

impl Broker {
    /// Starts the program on a free port, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn start(program: &str, data: &Path) -> Self {
        let mut child = Command::new(program)
            .args(["dev", "--listen", "127.0.0.1:0", "--log-level", "error", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let (_, rest) = line.split_once("clients at ").unwrap_or_else(|| panic!("not ready: {line:?}"));
        let address = rest.split([',', '\n']).next().and_then(|address| address.parse().ok());
        Self { child, address: address.unwrap_or_else(|| panic!("no address: {line:?}")) }
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// It is not running.
    pub fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// Whether it has not ended.
    ///
    /// # Panics
    ///
    /// It cannot be asked.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    /// SIGKILL, as `kill -9`.
    ///
    /// # Panics
    ///
    /// It is not running.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop, and waits.
    ///
    /// # Panics
    ///
    /// It is not running.
    pub fn terminate(mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `ottla dev` of several nodes; they are stopped when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    child: Child,
    /// Where clients find the nodes, in the order of their ids from 1.
    pub addresses: Vec<SocketAddr>,
    pids: Vec<Pid>,
}

impl Cluster {
    /// Starts the program on free ports, and waits until all nodes are ready.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn start(program: &str, data: &Path, nodes: u16) -> Self {
        let listen = format!("127.0.0.1:{}", free_ports(nodes));
        let mut child = Command::new(program)
            .args(["dev", "--nodes", &nodes.to_string(), "--listen", &listen, "--log-level", "error", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let row = |line: String| -> Option<(SocketAddr, Pid)> {
            let mut words = line.split_whitespace();
            let address = words.nth(1)?.parse().ok()?;
            let pid = Pid::from_raw(words.nth(1)?.parse().ok()?)?;
            Some((address, pid))
        };
        let head = lines.find(|line| line.starts_with("NODE ")).expect("the nodes become ready");
        let (addresses, pids): (Vec<SocketAddr>, Vec<Pid>) = lines.by_ref().map_while(row).unzip();
        assert_eq!(addresses.len(), usize::from(nodes), "{head}");
        // Somebody must read what is said of nodes that end.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addresses, pids }
    }

    /// The addresses of all nodes, as clients are given them.
    pub fn bootstrap(&self) -> String {
        self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// SIGKILL to a node, by its id from 1.
    ///
    /// # Panics
    ///
    /// There is no such node.
    pub fn kill(&self, id: usize) {
        kill_process(self.pids[id - 1], Signal::KILL).expect("it runs");
    }
}

impl Drop for Cluster {
    /// No test leaves a process behind, however it ends: this one is asked, since it stops the nodes first.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// The first of the ports of so many nodes, all of them free: those of clients, and those of controllers above them.
///
/// # Panics
///
/// There is none.
pub fn free_ports(nodes: u16) -> u16 {
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let places = (0..nodes).chain(100..100 + nodes);
    let fits = |base: &u16| places.clone().all(|place| base.checked_add(place).is_some_and(is_free));
    std::iter::repeat_with(free).find(fits).expect("it goes on until it finds some")
}
