//! A real broker: the machine, and a disk in memory.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use ottla_core::clock::{Instant, Now};
use ottla_core::config::{BrokerConfig, Config};
use ottla_core::ingress::ingress;
use ottla_core::machine::{ConnId, Effect, Effects, Input, ListenerId, Machine, Opened};

use crate::disk::{Crash, Disk};

#[derive(Clone)]
pub struct Node {
    pub machine: Machine,
    pub disk: Disk,
    /// What the operator was told.
    pub notes: Vec<String>,
    /// Whether clients are served.
    pub ready: bool,
    /// Whether the node has stopped.
    pub stopped: bool,
    /// File operations that are not carried out yet.
    queued: usize,
    seed: u64,
    incarnation: u64,
    /// Connections that the machine knows.
    open: BTreeMap<ConnId, Vec<u8>>,
    answers: Vec<(ConnId, Bytes)>,
    closed: Vec<ConnId>,
    settings: Vec<(String, String)>,
}

impl Node {
    /// A broker of a new cluster.
    pub fn new(seed: u64, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut node = Self {
            machine: machine(seed, 1, &[]),
            disk: Disk::new(),
            notes: Vec::new(),
            ready: false,
            stopped: false,
            queued: 0,
            seed,
            incarnation: 1,
            open: BTreeMap::new(),
            answers: Vec::new(),
            closed: Vec::new(),
            settings,
        };
        node.machine = machine(seed, 1, &node.settings);
        node
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.machine.next_deadline()
    }

    pub fn on_timeout(&mut self, now: Now) {
        self.handle(now, Input::Timeout);
    }

    pub fn on_accepted(&mut self, now: Now, conn: ConnId) {
        self.open.insert(conn, Vec::new());
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        self.handle(now, Input::Opened { conn, how: Opened::Accepted { listener: ListenerId(0), peer } });
    }

    pub fn on_frame(&mut self, now: Now, conn: ConnId, frame: Bytes) {
        if self.open.contains_key(&conn) {
            let request = ingress(frame, 1 << 30).expect("the client sends what can be read");
            self.handle(now, Input::Frame { conn, request });
        }
    }

    pub fn on_left(&mut self, now: Now, conn: ConnId) {
        if self.open.remove(&conn).is_some() {
            self.handle(now, Input::Closed { conn });
        }
    }

    pub fn on_disk(&mut self, now: Now) {
        if let Some(input) = self.disk.step() {
            self.queued -= 1;
            self.handle(now, input);
        }
    }

    pub fn disk_is_busy(&self) -> bool {
        self.queued > 0
    }

    pub fn restart(&mut self, now: Now, crash: Crash) {
        self.disk.crash(crash);
        self.queued = 0;
        self.open.clear();
        self.notes.clear();
        (self.ready, self.stopped) = (false, false);
        self.incarnation += 1;
        self.machine = machine(self.seed, self.incarnation, &self.settings);
        self.on_timeout(now);
    }

    /// The answers that are whole, and the connections that were closed, since this was last asked.
    pub fn take_output(&mut self) -> (Vec<(ConnId, Bytes)>, Vec<ConnId>) {
        (std::mem::take(&mut self.answers), std::mem::take(&mut self.closed))
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        let mut out = Effects::new();
        self.machine.handle(now, input, &mut out);
        let effects: Vec<_> = out.drain().collect();
        for effect in effects {
            self.carry_out(now, effect);
        }
    }

    fn carry_out(&mut self, now: Now, effect: Effect) {
        match effect {
            Effect::Send { conn, bytes, last } => self.send(conn, &bytes, last),
            Effect::SendRange { conn, range, last } => {
                let bytes =
                    self.disk.read(range.file, range.pos.into(), range.len).expect("a range is of an open file");
                self.send(conn, &bytes, last);
            }
            Effect::Close { conn } => {
                if self.open.remove(&conn).is_some() {
                    self.closed.push(conn);
                    self.handle(now, Input::Closed { conn });
                }
            }
            Effect::Done { .. } | Effect::PauseReading { .. } | Effect::ResumeReading { .. } => {}
            Effect::Note(note) => self.notes.push(note.text),
            Effect::Ready => self.ready = true,
            Effect::Stopped => self.stopped = true,
            Effect::Connect { .. } => panic!("a single broker dials nobody"),
            effect => {
                self.queued += 1;
                self.disk.push(effect);
            }
        }
    }

    fn send(&mut self, conn: ConnId, bytes: &[u8], last: bool) {
        let Some(begun) = self.open.get_mut(&conn) else { return };
        begun.extend_from_slice(bytes);
        if last {
            self.answers.push((conn, std::mem::take(begun).into()));
        }
    }
}

fn machine(seed: u64, incarnation: u64, settings: &[(String, String)]) -> Machine {
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut config = Config::new(BrokerConfig::for_test(1, &settings));
    config.new_cluster = true;
    Machine::new(config, seed.wrapping_mul(31).wrapping_add(incarnation))
}
