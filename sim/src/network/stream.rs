//! One direction of a connection: an ordered run of bytes, cut into segments anywhere.
//!
//! What is sent waits in the sender's queue until the window has room, then travels, then is read. While the
//! receiver does not read, nothing frees the window, and the sender's queue grows: back-pressure.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::disk::Ino;
use crate::draw::Draw;
use crate::time::{MILLISECOND, Nanos};

/// What is to be sent.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a file, read when they leave.
    Range { ino: Ino, pos: u64, len: usize },
    /// The end of the stream.
    End,
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Segment {
    /// Some bytes.
    Bytes(Bytes),
    /// The end of the stream.
    End,
}

/// How streams behave on this network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The time from one end to the other, on average.
    pub latency: Nanos,
    /// How often a segment is lost once, per million; it comes later then.
    pub loss_ppm: u32,
    /// How often a piece is cut in two, per million.
    pub cut_ppm: u32,
    /// The most bytes under way or unread.
    pub window: usize,
}

/// One direction.
#[derive(Clone, Debug)]
pub struct Stream {
    path: Path,
    queue: VecDeque<Outgoing>,
    flight: VecDeque<(Nanos, Segment)>,
    unread: VecDeque<Bytes>,
    /// Bytes in `flight` and `unread`.
    used: usize,
    last_arrival: Nanos,
    segments: u64,
    /// Whether the receiver takes bytes.
    pub reading: bool,
    /// Nothing travels any more, and nobody is told.
    pub hung: bool,
    /// Whether the end of the stream has left the sender.
    closing: bool,
    /// Bytes were lost for good: none that come after them may arrive.
    broken: bool,
}

impl Stream {
    /// An empty stream.
    pub const fn new(path: Path) -> Self {
        Self {
            path,
            queue: VecDeque::new(),
            flight: VecDeque::new(),
            unread: VecDeque::new(),
            used: 0,
            last_arrival: 0,
            segments: 0,
            reading: true,
            hung: false,
            closing: false,
            broken: false,
        }
    }

    /// Queues something to send.
    pub fn push(&mut self, outgoing: Outgoing) {
        self.queue.push_back(outgoing);
    }

    /// Whether all that was sent has left the sender.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the end of the stream has left the sender.
    pub const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether a frame, or part of one, is on its way.
    pub fn is_busy(&self) -> bool {
        !self.queue.is_empty() || !self.flight.is_empty()
    }

    /// Nothing arrives before: until then the other side does not know that it is connected.
    pub const fn begin(&mut self, at: Nanos) {
        self.last_arrival = at;
    }

    /// Lets leave what the window has room for. Answers when the first segment in flight arrives, if that is
    /// news.
    pub fn pump(
        &mut self,
        now: Nanos,
        draw: impl Fn(u64) -> Draw,
        read: &mut dyn FnMut(Ino, u64, usize) -> Bytes,
    ) -> Option<Nanos> {
        if self.broken {
            self.queue.clear();
            return None;
        }
        let was_empty = self.flight.is_empty();
        while let Some(front) = self.queue.pop_front() {
            let room = self.path.window.saturating_sub(self.used);
            // Half a window at least, unless that is all there is: else a full window is opened byte by byte, and
            // the stream ends as segments of one byte (RFC 1122 4.2.3.4, the silly window syndrome).
            if room < front.len().min(self.path.window.div_ceil(2)) {
                self.queue.push_front(front);
                break;
            }
            self.segments += 1;
            let draw = draw(self.segments);
            let segment = self.take_segment(front, room, draw, read);
            self.used += segment.len();
            self.last_arrival = self.last_arrival.max(now + self.travel_time(draw));
            self.flight.push_back((self.last_arrival, segment));
        }
        let first = self.flight.front().map(|(arrival, _)| *arrival);
        first.filter(|_| was_empty)
    }

    /// The first segment in flight arrives: it is taken off, and the time when the next one does is answered.
    pub fn arrive(&mut self) -> (Option<Segment>, Option<Nanos>) {
        let segment = self.flight.pop_front().map(|(_, segment)| segment);
        (segment, self.flight.front().map(|(arrival, _)| *arrival))
    }

    /// Hands arrived bytes over, or keeps them while the receiver does not read.
    pub fn receive(&mut self, bytes: Bytes) -> Option<Bytes> {
        if self.reading && self.unread.is_empty() {
            self.used -= bytes.len();
            return Some(bytes);
        }
        self.unread.push_back(bytes);
        None
    }

    /// The receiver reads again: what has waited for it.
    pub fn resume(&mut self) -> Vec<Bytes> {
        self.reading = true;
        self.used -= self.unread.iter().map(Bytes::len).sum::<usize>();
        self.unread.drain(..).collect()
    }

    /// The sender's process dies: its queue is lost, what is in flight is not.
    pub fn lose_queue(&mut self) {
        self.queue.clear();
    }

    /// What is in flight is lost too.
    pub fn lose_all(&mut self) {
        self.queue.clear();
        self.flight.clear();
        self.unread.clear();
        self.used = 0;
    }

    /// What is in flight is lost, and so is whatever is sent before the sender learns that the connection is gone.
    pub fn break_off(&mut self) {
        self.lose_all();
        self.broken = true;
    }

    /// Takes one segment off what is to be sent; the rest goes back to the front.
    fn take_segment(
        &mut self,
        front: Outgoing,
        room: usize,
        draw: Draw,
        read: &mut dyn FnMut(Ino, u64, usize) -> Bytes,
    ) -> Segment {
        match front {
            Outgoing::End => {
                self.closing = true;
                Segment::End
            }
            Outgoing::Bytes(mut bytes) => {
                let take = self.cut(bytes.len(), room, draw);
                let segment = bytes.split_to(take);
                if !bytes.is_empty() {
                    self.queue.push_front(Outgoing::Bytes(bytes));
                }
                Segment::Bytes(segment)
            }
            Outgoing::Range { ino, pos, len } => {
                let take = self.cut(len, room, draw);
                if take < len {
                    let (pos, len) = (pos + take as u64, len - take);
                    self.queue.push_front(Outgoing::Range { ino, pos, len });
                }
                Segment::Bytes(read(ino, pos, take))
            }
        }
    }

    fn cut(&self, len: usize, room: usize, draw: Draw) -> usize {
        let most = len.min(room);
        if most > 1 && draw.and(1).below(1_000_000) < u64::from(self.path.cut_ppm) {
            return 1 + draw.and(2).index(most - 1);
        }
        most
    }

    fn travel_time(&self, draw: Draw) -> Nanos {
        let mean = self.path.latency;
        let mut time = mean / 2 + draw.exponential(mean - mean / 2);
        let mut again = 200 * MILLISECOND;
        // Each retransmission may be lost too.
        for attempt in 3..8 {
            if draw.and(attempt).below(1_000_000) >= u64::from(self.path.loss_ppm) {
                break;
            }
            time += again;
            again *= 2;
        }
        time
    }
}

impl Outgoing {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Range { len, .. } => *len,
            Self::End => 0,
        }
    }
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::End => 0,
        }
    }
}
