//! The task in which a client's machine lives, with its connections and its clock.
//!
//! It is one future, polled as a whole: what many handles asked for, and what came on all connections, is taken in
//! one go, then everything that is to be sent goes out. So a thousand records cost one wake-up.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ottla_core::client::{
    Acks, Client as Machine, ClientConfig, ClientEffect, ClientEffects, ClientInput, Command, Event,
};
use ottla_core::clock::Instant;
use ottla_core::machine::ConnId;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::error::Error;
use super::jobs::{Handle, Job, Trouble, Waiting};
use super::socket::Socket;
use super::unsent::Unsent;
use crate::driver::Clock;

/// Jobs that are taken before connections have their turn.
const JOBS_TURN: usize = 256;
/// Rounds before other tasks of the thread have their turn.
const ROUNDS_TURN: usize = 8;

/// Starts a client in the current runtime. What its reader has to say comes out of the receiver.
///
/// # Panics
/// Outside of a tokio runtime.
pub(super) fn start(config: &ClientConfig) -> Result<(Handle, mpsc::UnboundedReceiver<Event>), Error> {
    let refused = |why: &str| Error::Config(why.into());
    config.check().map_err(refused)?;
    if config.bootstrap_servers.is_empty() {
        return Err(refused("bootstrap.servers names no server: give HOST:PORT"));
    }
    let seed = crate::service::seed().map_err(|error| refused(&error.to_string()))?;
    let (jobs, inbox) = mpsc::unbounded_channel();
    let (events, receiver) = mpsc::unbounded_channel();
    let trouble = Trouble::default();
    let mut driver = Driver {
        machine: Machine::new(config, seed),
        effects: ClientEffects::new(),
        clock: Clock::new(),
        inbox: Inbox { jobs: inbox, taken: VecDeque::new() },
        waiting: Waiting::new(trouble.clone(), events),
        unsent: (config.producer.acks == Acks::None)
            .then(|| Unsent::new(Duration::from_millis(config.rpc.request_timeout_ms))),
        sockets: BTreeMap::new(),
        dials: JoinSet::new(),
        opened: 0,
        alarm: None,
        trouble: trouble.clone(),
    };
    tokio::spawn(poll_fn(move |cx| driver.poll(cx)));
    Ok((Handle { jobs, trouble }, receiver))
}

struct Driver {
    machine: Machine,
    effects: ClientEffects,
    clock: Clock,
    inbox: Inbox,
    waiting: Waiting,
    /// With acks=0.
    unsent: Option<Unsent>,
    sockets: BTreeMap<ConnId, Socket>,
    /// Each ends with the machine's token.
    dials: JoinSet<(u64, Result<TcpStream, Box<str>>)>,
    /// How many connections there were.
    opened: u64,
    /// When it will be polled though nothing comes.
    alarm: Option<(Instant, Pin<Box<Sleep>>)>,
    trouble: Trouble,
}

struct Inbox {
    jobs: mpsc::UnboundedReceiver<Job>,
    taken: VecDeque<Job>,
}

impl Driver {
    /// Does all that can be done; ready when the last handle is gone.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_TURN {
            let Some(mut moved) = self.poll_inbox(cx) else { return Poll::Ready(()) };
            moved |= self.poll_dials(cx);
            moved |= self.poll_sockets(cx);
            moved |= self.poll_alarm(cx);
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether there was a job; `None` if there will be none any more.
    fn poll_inbox(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        let mut jobs = Vec::new();
        if self.inbox.taken.is_empty() {
            match self.inbox.jobs.poll_recv_many(cx, &mut jobs, JOBS_TURN) {
                Poll::Ready(0) => return None,
                Poll::Ready(_) => self.inbox.taken.extend(jobs),
                Poll::Pending => return Some(false),
            }
        }
        while let Some(job) = self.inbox.taken.pop_front() {
            self.on_job(job);
        }
        self.carry_out();
        Some(true)
    }

    fn poll_dials(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Poll::Ready(Some(dialled)) = self.dials.poll_join_next(cx) {
            let Ok((token, result)) = dialled else { continue };
            self.opened += 1;
            let conn = ConnId(self.opened);
            let result = result.map(|stream| {
                self.sockets.insert(conn, Socket::new(stream));
            });
            *self.trouble.lock().expect("nobody panics with it") = result.clone().err();
            self.step(ClientInput::Opened { conn, token, result });
            moved = true;
        }
        self.carry_out();
        moved
    }

    /// Reads what came, and writes what is to be sent, of all connections.
    fn poll_sockets(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut frames, mut closed) = (Vec::new(), Vec::new());
        let mut moved = false;
        let mut arrived: Vec<(ConnId, Vec<Bytes>)> = Vec::new();
        for (&conn, socket) in &mut self.sockets {
            let read = socket.poll_read(cx, &mut frames);
            moved |= matches!(read, Ok(true));
            arrived.push((conn, std::mem::take(&mut frames)));
            if read.is_err() {
                closed.push(conn);
            }
        }
        for (conn, frames) in arrived {
            for bytes in frames {
                self.step(ClientInput::Frame { conn, bytes });
            }
        }
        self.carry_out();
        for (&conn, socket) in &mut self.sockets {
            if socket.poll_write(cx).is_err() && !closed.contains(&conn) {
                closed.push(conn);
            }
        }
        moved |= !closed.is_empty();
        self.close(closed);
        self.release();
        moved
    }

    fn close(&mut self, conns: Vec<ConnId>) {
        for conn in conns {
            forget(conn, &mut self.sockets, self.unsent.as_mut());
            self.step(ClientInput::Closed { conn });
            // What is sent elsewhere for that goes before the next is closed.
            self.carry_out();
        }
    }

    /// Tells what has left by now.
    fn release(&mut self) {
        let now = self.clock.monotonic();
        while let Some(events) = self.unsent.as_mut().and_then(|unsent| unsent.release(&self.sockets, now)) {
            events.into_iter().for_each(|event| self.waiting.on_event(event));
        }
    }

    /// Tells the machine that its time has come, or sets the alarm for it.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> bool {
        let (machine, unsent) = (self.machine.next_deadline(), self.unsent.as_ref().and_then(Unsent::due));
        let Some(due) = [machine, unsent].into_iter().flatten().min() else { return false };
        let now = self.clock.monotonic();
        if due <= now {
            if machine == Some(due) {
                self.step(ClientInput::Timeout);
            }
            self.carry_out();
            let stuck = self.unsent.as_ref().map(|unsent| unsent.stuck(now));
            self.close(stuck.unwrap_or_default());
            self.release();
            return true;
        }
        // An alarm that rings too soon costs less than setting it anew at every step.
        if self.alarm.as_ref().is_none_or(|(at, _)| due < *at) {
            self.alarm = Some((due, Box::pin(tokio::time::sleep_until(self.clock.to_tokio(due)))));
        }
        let rang = self.alarm.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(cx).is_ready());
        if rang {
            self.alarm = None;
        }
        rang
    }

    fn on_job(&mut self, job: Job) {
        match job {
            Job::Produce { records, room, waiter } => {
                let first = self.waiting.records(records.len(), room, waiter);
                let now = self.clock.now();
                for (token, record) in (first..).zip(records) {
                    let command = Command::Produce { token, record: Box::new(record) };
                    self.machine.handle(now, ClientInput::Command(command), &mut self.effects);
                }
            }
            Job::Flush(waiter) => {
                let token = self.waiting.flush(waiter);
                self.step(ClientInput::Command(Command::Flush { token }));
            }
            Job::Admin { request, waiter } => {
                let token = self.waiting.request(waiter);
                self.step(ClientInput::Command(Command::Admin { token, request }));
            }
            Job::Read(command) => self.step(ClientInput::Command(command)),
            Job::Position { partition, waiter } => {
                let _ = waiter.send(self.machine.position(&partition));
            }
        }
    }

    fn step(&mut self, input: ClientInput) {
        self.machine.handle(self.clock.now(), input, &mut self.effects);
    }

    /// Carries out what the steps so far ask for; [`Driver::poll_sockets`] writes.
    fn carry_out(&mut self) {
        let mut told = Vec::new();
        for effect in self.effects.drain() {
            match effect {
                ClientEffect::Connect { token, address } => {
                    self.dials.spawn(async move { (token, dial(&address).await) });
                }
                ClientEffect::Send { conn, bytes } => {
                    if let Some(socket) = self.sockets.get_mut(&conn) {
                        socket.send(bytes);
                    }
                }
                ClientEffect::Close { conn } => {
                    forget(conn, &mut self.sockets, self.unsent.as_mut());
                }
                ClientEffect::Event(event) if self.unsent.is_some() => told.push(event),
                ClientEffect::Event(event) => self.waiting.on_event(event),
            }
        }
        if let Some(unsent) = self.unsent.as_mut().filter(|_| !told.is_empty()) {
            unsent.hold(told, &self.sockets, self.clock.monotonic());
        }
    }
}

fn forget(conn: ConnId, sockets: &mut BTreeMap<ConnId, Socket>, unsent: Option<&mut Unsent>) {
    if let Some(unsent) = unsent {
        unsent.look(sockets);
    }
    sockets.remove(&conn);
}

/// The machine gives up a dial that takes too long; what still comes of it is closed.
async fn dial(address: &str) -> Result<TcpStream, Box<str>> {
    let explain = |error: std::io::Error| Box::<str>::from(format!("cannot connect to {address}: {error}"));
    let stream = TcpStream::connect(address).await.map_err(explain)?;
    stream.set_nodelay(true).map_err(explain)?;
    Ok(stream)
}
