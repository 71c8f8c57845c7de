//! The round: drains the inbox through the machine and carries out what it asks for.

use std::any::Any;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use ottla_core::clock::{Instant, Now};
use ottla_core::machine::{ConnId, Effect, Effects, FileRange, Input, Level, Note};
use tokio::sync::Notify;

use super::clock::Clock;
use super::gates::{Gates, Why};
use super::inbox::{Inbox, Urgency};
use super::intake::{Ingress, Intake};
use super::{Brain, Counters, FrameLimits, NodeOptions};
use crate::disk::{Completions, Disk, Warmer};
use crate::net::{Chunk, Conn, Conns, Partial};

/// How many passes over the inbox one round makes before it lets the connections have their turn.
const PASSES: usize = 4;

/// `deadline` when there is none.
const NEVER: u64 = u64::MAX;

/// What all threads share.
pub(crate) struct Shared {
    core: Mutex<Core>,
    inbox: Inbox,
    intake: Intake,
    partial: Partial,
    /// One a thread: there is something for a round to do.
    wake: Vec<Notify>,
    conns: Conns,
    clock: Clock,
    options: Arc<NodeOptions>,
    counters: Arc<Counters>,
    /// When the machine wants its next Timeout, in nanoseconds of `clock`.
    deadline: AtomicU64,
    ready: Switch,
    stopped: Switch,
    /// There from before the first connection is.
    warmer: OnceLock<Warmer>,
}

/// Something that happens once.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    on: AtomicBool,
    changed: Notify,
}

/// What only the thread that makes a round touches.
struct Core {
    brain: Box<dyn Brain>,
    /// `None` before the start and after the end.
    disk: Option<Disk>,
    on_ready: Option<Box<dyn FnOnce() + Send>>,
    effects: Effects,
    gates: Gates,
    /// The inputs of this pass, and the completions that its effects had at once.
    batch: Vec<Input>,
    completed: Vec<Input>,
    /// The connections that have something to send since the last pass.
    touched: Vec<Arc<Conn>>,
    /// The thread that makes the round: what is dialled is its own.
    thread: usize,
}

impl Shared {
    pub(crate) fn new(
        options: &Arc<NodeOptions>,
        brain: Box<dyn Brain>,
        on_ready: Box<dyn FnOnce() + Send>,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let deadline = brain.next_deadline().map_or(NEVER, |at| at.0);
        Arc::new(Self {
            core: Mutex::new(Core {
                brain,
                disk: None,
                on_ready: Some(on_ready),
                effects: Effects::new(),
                gates: Gates::default(),
                batch: Vec::new(),
                completed: Vec::new(),
                touched: Vec::new(),
                thread: 0,
            }),
            inbox: Inbox::new(options.max_queued_bytes),
            intake: Intake::new(options.frames),
            partial: Partial::new(options.frames.partial_bytes()),
            wake: (0..options.network_threads.max(1)).map(|_| Notify::new()).collect(),
            conns: Conns::default(),
            clock: Clock::new(),
            options: Arc::clone(options),
            counters,
            deadline: AtomicU64::new(deadline),
            ready: Switch::default(),
            stopped: Switch::default(),
            warmer: OnceLock::new(),
        })
    }

    pub(crate) fn attach(&self, disk: Disk) {
        self.warmer.get_or_init(|| disk.warmer());
        self.lock().disk = Some(disk);
    }

    /// Ends the disk's threads.
    pub(crate) fn detach(&self) {
        self.lock().disk = None;
    }

    /// Where the disk's threads put their completions. It holds the node weakly: the disk is part of it.
    pub(crate) fn completions(self: &Arc<Self>) -> Completions {
        let shared = Arc::downgrade(self);
        Arc::new(move |input| {
            if let Some(shared) = shared.upgrade() {
                shared.push(input);
            }
        })
    }

    pub(crate) fn warmer(&self) -> Option<&Warmer> {
        self.warmer.get()
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(crate) fn conns(&self) -> &Conns {
        &self.conns
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn ready(&self) -> &Switch {
        &self.ready
    }

    pub(crate) fn threads(&self) -> usize {
        self.wake.len()
    }

    /// Queues an input from outside the I/O threads.
    pub(crate) fn push(&self, input: Input) {
        self.inbox.push(Urgency::First, input);
        self.wake[0].notify_one();
    }

    /// Queues what a connection read, in order.
    pub(crate) fn push_all(&self, conn: &Conn, inputs: &mut Vec<Input>) {
        self.inbox.append(conn.urgency(), inputs);
        self.wake[conn.thread()].notify_one();
    }

    /// Queues that a peer could not be dialled, on I/O thread `thread`.
    pub(crate) fn push_failed(&self, thread: usize, input: Input) {
        self.inbox.push(Urgency::First, input);
        self.wake[thread].notify_one();
    }

    /// What a frame may hold.
    pub(crate) fn frames(&self) -> FrameLimits {
        self.intake.limits()
    }

    /// What clients' frames take that have not come whole.
    pub(crate) fn partial(&self) -> &Partial {
        &self.partial
    }

    /// What a frame is.
    pub(crate) fn ingress(&self, frame: Bytes) -> Ingress {
        self.intake.ingress(frame)
    }

    /// The input that a heavy frame is; `None` if the node is about to end.
    pub(crate) async fn scan(&self, conn: ConnId, frame: Bytes) -> Option<Input> {
        self.intake.scan(conn, frame).await
    }

    /// Whether a client may be read: what it sends would be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.inbox.has_room()
    }

    /// Waits for the round that makes room. Some thread is at it, or was woken for it: the queue is not empty.
    pub(crate) async fn room(&self) {
        self.inbox.room().await;
    }

    pub(crate) fn inspect<R>(&self, look: impl FnOnce(&dyn Any) -> R) -> R {
        let core = self.lock();
        let brain: &dyn Brain = &*core.brain;
        let seen = look(brain);
        drop(core);
        // A round that met the lock meanwhile left its work to us.
        self.wake[0].notify_one();
        seen
    }

    /// One I/O thread's rounds, until the machine has stopped. The first thread minds the machine's clock.
    pub(crate) async fn run(self: Arc<Self>, thread: usize) {
        let sleep = tokio::time::sleep(std::time::Duration::ZERO);
        tokio::pin!(sleep);
        let mut armed = None;
        loop {
            if self.round(thread) {
                self.wake[thread].notify_one();
                // The wait below would be over at once, without a turn for anybody else.
                tokio::task::yield_now().await;
            }
            let deadline = self.deadline.load(Ordering::Acquire);
            if thread == 0 && armed != Some(deadline) {
                sleep.as_mut().reset(self.clock.to_tokio(Instant(deadline)));
                armed = Some(deadline);
            }
            tokio::select! {
                biased;
                () = self.stopped.wait() => return,
                () = self.wake[thread].notified() => {}
                // Armed anew even for the same deadline: the timer may come a fraction too early.
                () = &mut sleep, if thread == 0 && deadline != NEVER => armed = None,
            }
        }
    }

    /// Handles everything that waits, unless another thread is at it: it then sees what was queued here,
    /// because it looks at the inbox once more after it let go of the lock. True if there is more to do.
    fn round(self: &Arc<Self>, thread: usize) -> bool {
        for _ in 0..PASSES {
            let Ok(mut core) = self.core.try_lock() else {
                return false;
            };
            let _guard = AbortOnPanic;
            core.thread = thread;
            self.pass(&mut core);
            let mut touched = mem::take(&mut core.touched);
            self.publish_deadline(&core, thread);
            drop(core);
            self.send(thread, &mut touched);
            self.give_back(touched);
            if self.inbox.is_empty() {
                return false;
            }
        }
        true
    }

    /// Hands all queued inputs to the machine, then the completions that follow at once, until none does.
    fn pass(self: &Arc<Self>, core: &mut Core) {
        self.inbox.take(&mut core.batch);
        let now = self.clock.now();
        if now.monotonic.0 >= self.deadline.load(Ordering::Acquire) {
            core.batch.push(Input::Timeout);
        }
        if core.batch.is_empty() {
            return;
        }
        self.counters.rounds.add(1);
        self.counters.inbox.set(count(core.batch.len()));
        while !core.batch.is_empty() {
            self.counters.inputs.add(count(core.batch.len()));
            let mut batch = mem::take(&mut core.batch);
            for input in batch.drain(..) {
                self.step(core, now, input);
                while let Some(frame) = core.gates.next_released() {
                    self.step(core, now, frame);
                }
                while let Some(conn) = core.gates.next_opened() {
                    self.with(conn, |conn| conn.pause(false));
                }
            }
            core.batch = batch;
            if let Some(disk) = &mut core.disk {
                disk.flush(&mut core.completed);
            }
            mem::swap(&mut core.batch, &mut core.completed);
        }
    }

    fn step(self: &Arc<Self>, core: &mut Core, now: Now, input: Input) {
        if let Some(input) = core.gates.admit(input) {
            tracing::trace!(target: "ottla::step", "{} < {input}", now.monotonic);
            core.brain.handle(now, input, &mut core.effects);
            self.carry_out(core);
        }
    }

    fn carry_out(self: &Arc<Self>, core: &mut Core) {
        let mut effects = mem::take(&mut core.effects);
        for effect in effects.drain() {
            tracing::trace!(target: "ottla::step", "> {effect}");
            self.carry_out_one(core, effect);
        }
        core.effects = effects;
    }

    fn carry_out_one(self: &Arc<Self>, core: &mut Core, effect: Effect) {
        match effect {
            Effect::Send { conn, bytes, last: _ } => self.enqueue(core, conn, Chunk::Bytes(bytes)),
            Effect::SendRange { conn, range, last: _ } => self.enqueue_range(core, conn, range),
            // The order of answers is the machine's; the driver counts no frames.
            Effect::Done { conn: _ } => {}
            Effect::PauseReading { conn } => self.with(conn, |conn| core.shut(conn, Why::Paused)),
            Effect::ResumeReading { conn } => core.gates.open(conn, Why::Paused),
            Effect::Close { conn } => self.enqueue(core, conn, Chunk::Close),
            Effect::Connect { token, address } => {
                crate::net::dial(self, &self.options, core.thread, token, address);
            }
            Effect::Note(note) => tell(&note),
            Effect::Ready => {
                if let Some(on_ready) = core.on_ready.take() {
                    on_ready();
                }
                self.ready.turn_on();
            }
            Effect::Stopped => self.stopped.turn_on(),
            file @ (Effect::Append { .. }
            | Effect::Write { .. }
            | Effect::Sync { .. }
            | Effect::File { .. }
            | Effect::Run { .. }) => core.file_effect(file),
        }
    }

    fn with(&self, conn: ConnId, act: impl FnOnce(&Conn)) {
        if let Some(conn) = self.conns.get(conn) {
            act(&conn);
        }
    }

    fn enqueue(&self, core: &mut Core, conn: ConnId, chunk: Chunk) {
        let Some(conn) = self.conns.get(conn) else {
            return;
        };
        let queued = conn.enqueue(chunk);
        if queued.is_full {
            core.shut(&conn, Why::Full);
        }
        if queued.is_first {
            core.touched.push(conn);
        }
    }

    /// A range of a file that is not open cannot be sent, and what follows it would be misread.
    fn enqueue_range(&self, core: &mut Core, conn: ConnId, range: FileRange) {
        let file = core.disk.as_ref().and_then(|disk| disk.pin(range));
        let chunk = file.map_or(Chunk::Close, |file| Chunk::Range {
            file,
            pos: u64::from(range.pos),
            warm_to: 0,
            len: u64::from(range.len),
        });
        self.enqueue(core, conn, chunk);
    }

    /// Sends on this thread's connections; the others' owners are woken.
    fn send(&self, thread: usize, touched: &mut Vec<Arc<Conn>>) {
        for conn in touched.drain(..) {
            if conn.thread() != thread {
                conn.leave_to_its_task();
            } else if conn.flush(self).drained {
                self.inbox.push(conn.urgency(), Input::Drained { conn: conn.id() });
            }
        }
    }

    /// Keeps the list's memory for the next pass.
    fn give_back(&self, touched: Vec<Arc<Conn>>) {
        if let Ok(mut core) = self.core.try_lock()
            && core.touched.capacity() == 0
        {
            core.touched = touched;
        }
    }

    fn publish_deadline(&self, core: &Core, thread: usize) {
        let next = core.brain.next_deadline().map_or(NEVER, |at| at.0);
        let before = self.deadline.swap(next, Ordering::AcqRel);
        if thread != 0 && next < before {
            self.wake[0].notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Core {
    /// Neither is anything read, since it would have to be kept.
    fn shut(&mut self, conn: &Conn, why: Why) {
        if self.gates.shut(conn.id(), why) {
            conn.pause(true);
        }
    }

    /// After the end there is no disk, and nobody waits for a completion.
    fn file_effect(&mut self, effect: Effect) {
        if let Some(disk) = &mut self.disk {
            let not_of_files = disk.execute(effect, &mut self.completed);
            debug_assert!(not_of_files.is_none(), "the caller's match takes the others");
        }
    }
}

impl Switch {
    pub(crate) fn turn_on(&self) {
        self.on.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    pub(crate) async fn wait(&self) {
        let changed = self.changed.notified();
        tokio::pin!(changed);
        // Enlisted before the look, so that nothing is missed in between.
        changed.as_mut().enable();
        if !self.is_on() {
            changed.await;
        }
    }
}

/// A panic means that an invariant of the machine is broken: nothing may be served from it any more, and
/// recovery is the restart. (The release profile aborts by itself; a test build would only lose a task.)
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a broken invariant; the process ends, and recovers when it is started again");
            std::process::abort();
        }
    }
}

fn tell(note: &Note) {
    match note.level {
        Level::Info => tracing::info!("{}", note.text),
        Level::Warn => tracing::warn!("{}", note.text),
        Level::Error => tracing::error!("{}", note.text),
    }
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
