//! One connection, and the task that serves it.
//!
//! The task reads while it may, and writes only after a send would have blocked: a round sends by itself, so
//! an answer normally leaves without the task being woken.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ottla_core::clock::Instant;
use ottla_core::ingress::Malformed;
use ottla_core::machine::{ConnId, Input};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::out::{Chunk, Cold, OutQueue, Sent, Step};
use super::partial::Share;
use super::reader::{Filled, FrameReader};
use crate::driver::{Counters, Ingress, Shared, Urgency};

/// What one connection sends in one turn before the others have theirs.
const TURN_BYTES: u64 = 1 << 20;

/// The longest answer that a peer of ours may give: as our client's.
const ANSWER_MAX_BYTES: u32 = 1 << 30;

/// How long a closing connection has to take its last answers, and its peer to close too.
const LINGER: Duration = Duration::from_secs(5);
/// A closing connection's peer may send so much more. Who goes on is reset.
const LINGER_BYTES: usize = 16 << 20;

/// So long one connection may keep its thread with the frames that it sent, before the others have their turn.
const TURN_TIME: Duration = Duration::from_millis(2);

/// What every thread may know of a connection.
#[derive(Debug)]
pub(crate) struct Conn {
    id: ConnId,
    side: Side,
    /// With more bytes than these in memory to be sent, the connection is full, unless it is ours.
    max_unsent: u64,
    /// The I/O thread that its task runs on.
    thread: usize,
    stream: TcpStream,
    out: Mutex<Out>,
    /// The machine wants no more frames for now, or may not have them.
    paused: AtomicBool,
    /// It sent what is no frame: nothing after it can be read, and the machine closes it.
    deaf: AtomicBool,
    /// When a byte last moved, in nanoseconds of the driver's clock.
    last_active: AtomicU64,
    /// Its task has to look again at what it waits for.
    changed: Notify,
    /// The queue became empty, or the connection has ended.
    emptied: Notify,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// We dialled it: what comes are answers. It waits for nothing, since two nodes that each waited for the other to
    /// read first would wait for ever.
    Ours,
    /// Another node's, to the controllers' listener: it does not wait because of clients.
    Controller,
    /// A client's, or another broker's.
    Client,
}

#[derive(Debug, Default)]
struct Out {
    queue: OutQueue,
    /// The round in progress knows that there is something to send.
    touched: bool,
    /// The socket took no more, or the turn was over: the task goes on.
    pending: bool,
    /// A `Close` is queued: nothing after it is sent, and nothing more is read.
    closing: bool,
    /// The queue had been more than full since it was last empty.
    was_full: bool,
    /// The connection broke.
    broken: bool,
}

impl Out {
    fn end(&mut self) {
        self.broken = true;
        self.queue.clear();
    }
}

/// What followed from a [`Conn::enqueue`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub(crate) struct Queued {
    /// The caller is the first since the last flush, and is to see to it.
    pub(crate) is_first: bool,
    /// Too much waits: the machine must have no more of the connection's frames before it hears that all was sent.
    pub(crate) is_full: bool,
}

/// How a [`Conn::flush`] ended.
#[derive(Debug)]
#[must_use]
pub(crate) struct Flushed {
    /// The queue became empty, and a range had been in it or the connection was full: the machine wants to hear.
    pub(crate) drained: bool,
    /// There is more to send, but others have their turn first.
    turn_is_over: bool,
    /// The next bytes must be read from the disk first, which only the connection's own task can wait for.
    cold: Option<Cold>,
}

impl Conn {
    pub(super) fn new(id: ConnId, side: Side, max_unsent: u64, thread: usize, stream: TcpStream, now: Instant) -> Self {
        Self {
            id,
            side,
            max_unsent,
            thread,
            stream,
            out: Mutex::default(),
            paused: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            last_active: AtomicU64::new(now.0),
            changed: Notify::new(),
            emptied: Notify::new(),
        }
    }

    pub(crate) fn id(&self) -> ConnId {
        self.id
    }

    pub(crate) fn thread(&self) -> usize {
        self.thread
    }

    /// Who is ours, or a controller's, does not wait for clients.
    pub(crate) fn urgency(&self) -> Urgency {
        if self.side == Side::Client { Urgency::Clients } else { Urgency::First }
    }

    pub(super) fn last_active(&self) -> Instant {
        Instant(self.last_active.load(Ordering::Relaxed))
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.wake();
    }

    /// Makes the task look again.
    fn wake(&self) {
        self.changed.notify_one();
    }

    /// Queues something to send.
    pub(crate) fn enqueue(&self, chunk: Chunk) -> Queued {
        let mut out = self.out();
        if out.closing || out.broken {
            return Queued::default();
        }
        out.closing = matches!(chunk, Chunk::Close);
        out.queue.push(chunk);
        let is_full = self.side != Side::Ours && out.queue.memory() > self.max_unsent;
        out.was_full |= is_full;
        Queued { is_first: !std::mem::replace(&mut out.touched, true), is_full }
    }

    /// Sends until the queue is empty, the socket takes no more, or the turn is over; then the task goes on.
    pub(crate) fn flush(&self, shared: &Shared) -> Flushed {
        let mut out = self.out();
        out.touched = false;
        let mut turn = TURN_BYTES;
        let mut cold = None;
        out.pending = false;
        while !out.queue.is_empty() && !out.queue.closes() {
            if turn == 0 {
                out.pending = true;
                break;
            }
            match self.stream.try_io(Interest::WRITABLE, || out.queue.send(&self.stream, turn)) {
                Ok(Step::Cold(bytes)) => {
                    out.pending = true;
                    cold = Some(bytes);
                    break;
                }
                Ok(Step::Sent(sent)) => {
                    sent.count(shared.counters());
                    turn = turn.saturating_sub(sent.from_memory + sent.from_files);
                    self.touch(shared);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    out.pending = true;
                    break;
                }
                // The machine has the connection closed before it cuts a file that is being sent.
                Ok(Step::Unreadable(what)) if out.closing => {
                    tracing::debug!("{} is closed within an answer: {what}", self.id);
                    out.end();
                }
                // The rest of the answer will not come, and what follows it would be taken for that.
                Ok(Step::Unreadable(what)) => {
                    tracing::error!("{} is closed within an answer: {what}", self.id);
                    shared.counters().unreadable.add(1);
                    out.end();
                }
                Err(error) => {
                    tracing::debug!("{} broke: {error}", self.id);
                    out.end();
                }
            }
        }
        if out.pending || out.closing || out.broken {
            self.wake();
        }
        let mut drained = false;
        if out.queue.is_empty() {
            self.emptied.notify_waiters();
            let was_full = std::mem::take(&mut out.was_full);
            drained = (out.queue.take_had_range() || was_full) && !out.broken;
        }
        Flushed { drained, turn_is_over: turn == 0, cold }
    }

    /// Has what is queued sent on the connection's own thread.
    pub(crate) fn leave_to_its_task(&self) {
        self.out().pending = true;
        self.wake();
    }

    /// Waits for the disk, with everything else of this connection, and with nobody else; until it breaks.
    async fn warm(&self, shared: &Shared, cold: Cold) {
        let Some(warmer) = shared.warmer() else {
            return;
        };
        let mut warmed = cold.warm(warmer);
        while !self.out().broken {
            tokio::select! {
                biased;
                // Whatever else has changed is looked at after this.
                () = self.changed.notified() => {}
                warmed = &mut warmed => {
                    match warmed {
                        Ok(()) => self.out().queue.warmed(&cold),
                        // The device hangs: the rest of the answer will not come, and the watchdog has said why.
                        Err(_) => self.abort(),
                    }
                    return;
                }
            }
        }
    }

    /// Ends the connection without further ado.
    pub(super) fn abort(&self) {
        self.out().end();
        self.wake();
        self.emptied.notify_waiters();
    }

    /// Waits until nothing waits to be sent; if it is to be closed, until it is.
    pub(super) async fn emptied(&self) {
        let emptied = self.emptied.notified();
        tokio::pin!(emptied);
        emptied.as_mut().enable();
        let done = {
            let out = self.out();
            out.queue.is_empty() || out.broken
        };
        if !done {
            emptied.await;
        }
    }

    fn touch(&self, shared: &Shared) {
        self.last_active.store(shared.clock().monotonic().0, Ordering::Relaxed);
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants(&self) -> Wants {
        let out = self.out();
        if out.broken {
            return Wants::End;
        }
        if out.queue.closes() {
            return Wants::Linger;
        }
        let reads = !out.closing && !self.paused.load(Ordering::Acquire) && !self.deaf.load(Ordering::Acquire);
        match (reads, out.pending) {
            (true, true) => Wants::Io(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Wants::Io(Interest::READABLE),
            (false, true) => Wants::Io(Interest::WRITABLE),
            (false, false) => Wants::Nothing,
        }
    }
}

impl Sent {
    fn count(self, counters: &Counters) {
        counters.bytes_out.add(self.from_memory);
        counters.bytes_out_file.add(self.from_files);
    }
}

/// What a connection's task waits for.
#[derive(Clone, Copy, Debug)]
enum Wants {
    Io(Interest),
    /// To be woken.
    Nothing,
    /// Everything has left: close in good order.
    Linger,
    End,
}

/// Serves a connection until it ends.
pub(super) async fn serve(shared: &Shared, conn: &Conn) {
    let max_bytes = match conn.side {
        Side::Ours => ANSWER_MAX_BYTES,
        Side::Controller | Side::Client => shared.frames().request_max_bytes,
    };
    let mut received = Received { reader: FrameReader::new(max_bytes), share: shared.partial().share(), left: false };
    let mut inputs = Vec::new();
    loop {
        let interest = match conn.wants() {
            Wants::End => return,
            Wants::Linger => return linger(conn).await,
            Wants::Nothing => {
                tokio::select! {
                    () = conn.changed.notified() => continue,
                    () = received.share.overdue() => return,
                }
            }
            Wants::Io(interest) => interest,
        };
        let ready = tokio::select! {
            biased;
            () = conn.changed.notified() => continue,
            () = received.share.overdue() => return,
            () = std::future::ready(()), if received.left && interest.is_readable() => Ok(Ready::READABLE),
            ready = conn.stream.ready(interest) => ready,
        };
        let Ok(ready) = ready else {
            return;
        };
        let mut turn = Turn::Wait;
        if ready.is_writable() && interest.is_writable() {
            turn = send(shared, conn).await;
        }
        let wants_to_read = ready.is_readable() && interest.is_readable();
        let may_read = conn.side != Side::Client || shared.has_room();
        if wants_to_read && may_read {
            turn = turn.max(receive(shared, conn, &mut received, &mut inputs).await);
        }
        if !inputs.is_empty() {
            shared.push_all(conn, &mut inputs);
        }
        if wants_to_read && !may_read {
            // The task waits, not its thread: the round may be this thread's to make.
            shared.room().await;
        }
        match turn {
            Turn::End => return,
            // The round comes first: what it does may pause this connection.
            Turn::Again | Turn::More => tokio::task::yield_now().await,
            Turn::Wait => {}
        }
    }
}

/// What follows a turn; of two, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Wait until there is more to do.
    Wait,
    /// There may be more to do, after the others had their turn.
    Again,
    /// The same, with what was received already.
    More,
    End,
}

/// Sends what waits for it.
async fn send(shared: &Shared, conn: &Conn) -> Turn {
    let flushed = conn.flush(shared);
    if flushed.drained {
        shared.push_all(conn, &mut vec![Input::Drained { conn: conn.id }]);
    }
    if let Some(cold) = flushed.cold {
        conn.warm(shared, cold).await;
    }
    if flushed.turn_is_over { Turn::Again } else { Turn::Wait }
}

/// Waits for something, and sends meanwhile; `None` if the connection breaks.
async fn beside<T>(shared: &Shared, conn: &Conn, something: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(something);
    loop {
        let (broken, pending) = {
            let out = conn.out();
            (out.broken, out.pending)
        };
        if broken {
            return None;
        }
        tokio::select! {
            biased;
            done = &mut something => return Some(done),
            () = conn.changed.notified() => {}
            ready = conn.stream.writable(), if pending => {
                ready.ok()?;
                if send(shared, conn).await == Turn::Again {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// What has come of a connection's requests.
struct Received<'a> {
    reader: FrameReader,
    /// Of the memory for what has not come whole.
    share: Share<'a>,
    /// Whether there may be a whole frame.
    left: bool,
}

/// Reads what has come, unless something of it is left, and takes frames out of that.
async fn receive(shared: &Shared, conn: &Conn, received: &mut Received<'_>, inputs: &mut Vec<Input>) -> Turn {
    let Received { reader, share, left } = received;
    if conn.side == Side::Client {
        let room = share.grow_to(reader.takes());
        if beside(shared, conn, room).await.is_none() {
            return Turn::End;
        }
    }
    let filled = if *left { Turn::Wait } else { fill(shared, conn, reader) };
    if filled == Turn::End {
        return filled;
    }
    let mut heavy = None;
    let taken = take(shared, conn, reader, inputs, &mut heavy);
    *left = taken == Turn::More;
    if let Some(frame) = heavy {
        shared.push_all(conn, inputs);
        let scanned = beside(shared, conn, shared.scan(conn.id, frame)).await;
        let Some(input) = scanned.flatten() else { return Turn::End };
        inputs.push(input);
    }
    // Not before: what waits to be looked at is of no other bound.
    share.shrink_to(reader.takes());
    share.moved();
    filled.max(taken)
}

fn fill(shared: &Shared, conn: &Conn, reader: &mut FrameReader) -> Turn {
    match reader.fill(&conn.stream) {
        Ok(Filled::End) => Turn::End,
        Ok(Filled::More(count)) => {
            count_in(shared, conn, count);
            Turn::Again
        }
        Ok(Filled::All(count)) => {
            count_in(shared, conn, count);
            // The socket is empty, so tokio need not find that out by one more read. A close that came with
            // the bytes is kept by tokio apart from this.
            let _ = conn.stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
            Turn::Wait
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Turn::Wait,
        Err(_) => Turn::End,
    }
}

/// Takes whole frames out of what was received; up to one whose records take long to look at, which is `heavy`.
fn take(
    shared: &Shared,
    conn: &Conn,
    reader: &mut FrameReader,
    inputs: &mut Vec<Input>,
    heavy: &mut Option<Bytes>,
) -> Turn {
    let begun = shared.clock().monotonic();
    loop {
        let malformed = match reader.next_frame() {
            Ok(None) => return Turn::Wait,
            Ok(Some(frame)) if conn.side == Side::Ours => {
                inputs.push(Input::Answer { conn: conn.id, frame });
                continue;
            }
            Ok(Some(frame)) => match shared.ingress(frame) {
                Ingress::Request(request) => {
                    let took_long = request.scanned.is_some() && shared.clock().monotonic().since(begun) > TURN_TIME;
                    inputs.push(Input::Frame { conn: conn.id, request });
                    if took_long {
                        return Turn::More;
                    }
                    continue;
                }
                Ingress::Heavy(frame) => {
                    *heavy = Some(frame);
                    return Turn::More;
                }
                Ingress::Malformed(why) => why,
            },
            // The calls that wait for an answer then fail at once.
            Err(error) if conn.side == Side::Ours => {
                tracing::warn!("{}: a peer's answer cannot be read: {error}", conn.id);
                return Turn::End;
            }
            Err(error) => Malformed { head: None, error },
        };
        inputs.push(Input::Malformed { conn: conn.id, why: Box::new(malformed) });
        conn.deaf.store(true, Ordering::Release);
        return Turn::Wait;
    }
}

fn count_in(shared: &Shared, conn: &Conn, count: usize) {
    shared.counters().bytes_in.add(u64::try_from(count).unwrap_or(u64::MAX));
    conn.touch(shared);
}

/// Says that we are done, and waits a little for the peer to be done too: closing while there is something
/// unread makes the kernel reset the connection, and the peer may lose the last answer.
async fn linger(conn: &Conn) {
    if rustix::net::shutdown(&conn.stream, rustix::net::Shutdown::Write).is_err() {
        return;
    }
    let read_away = async {
        let mut scrap = vec![0; 16 << 10];
        let mut left = LINGER_BYTES;
        while left > 0 && conn.stream.readable().await.is_ok() {
            match conn.stream.try_read(&mut scrap) {
                Ok(0) => return,
                Ok(read) => {
                    left = left.saturating_sub(read);
                    // A socket that is never empty would keep the thread, and the timeout from being looked at.
                    tokio::task::yield_now().await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, read_away).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls it once.
    async fn is_over(future: impl Future) -> bool {
        tokio::select! {
            biased;
            _ = future => true,
            () = std::future::ready(()) => false,
        }
    }

    #[test]
    fn nobody_waits_for_a_connection_that_has_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("it binds");
            let address = listener.local_addr().expect("it is bound");
            let stream = TcpStream::connect(address).await.expect("it listens");
            let conn = Conn::new(ConnId(1), Side::Client, 1 << 20, 0, stream, Instant(0));
            assert!(is_over(conn.emptied()).await, "nothing is to be sent");
            let _ = conn.enqueue(Chunk::Close);
            let emptied = conn.emptied();
            tokio::pin!(emptied);
            assert!(!is_over(&mut emptied).await, "it is to be closed in good order");
            conn.abort();
            assert!(is_over(&mut emptied).await);
            assert!(is_over(conn.emptied()).await);
        });
    }
}
