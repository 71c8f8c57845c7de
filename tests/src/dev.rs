//! A running `ottla dev`, as the tests of the real binary need it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
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
