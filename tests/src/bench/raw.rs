//! The generator of ours, as cheap as it can be: frames made beforehand, many in flight, answers looked at just enough.
//!
//! What it leaves of the machine is the broker's, so it shows what a fast client will see; and its small batches
//! cost a broker what librdkafka's of a megabyte hide. One thread and one connection each, blocking sockets.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::payload;
use crate::frames::{self, Answer, key};
use crate::interop::cases::now_ms;
use crate::records::Random;

/// A read or write that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(60);
/// Frames are repeated up to this size, so that one write can take many of them.
const SCRIPT_BYTES: usize = 1 << 20;
/// The same where no two frames have the same keys.
const KEYED_SCRIPT_BYTES: usize = 32 << 20;
/// The version of Produce that is sent.
const PRODUCE_VERSION: i16 = 7;
/// The version of Fetch that is sent.
const FETCH_VERSION: i16 = 4;

/// Latencies in nanoseconds, from 100 ns to a minute, within 1 %.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 2).unwrap_or_else(|_| unreachable!("constant bounds are valid"))
}

/// Nanoseconds, for a histogram.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A load of Produce requests.
#[derive(Debug, Clone)]
pub struct Produce {
    /// The topic.
    pub topic: String,
    /// How many partitions it has; each connection keeps to its share of them.
    pub partitions: i32,
    /// 0, 1 or -1.
    pub acks: i16,
    /// The size of a value.
    pub value_bytes: usize,
    /// How many records a request has.
    pub batch_records: usize,
    /// Records have one of so many keys, or none if 0.
    pub keys: u64,
    /// Connections, each with a thread.
    pub connections: usize,
    /// Requests that wait for an answer, on each connection.
    pub in_flight: usize,
    /// How long.
    pub until: Until,
}

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this time.
    Passed(Duration),
    /// After so many requests on each connection.
    Requests(u64),
}

/// What a load did.
#[derive(Debug, Clone)]
pub struct Done {
    /// Records that were answered, or sent and read where there are no answers.
    pub records: u64,
    /// The bytes of their values, or what was read of the log.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
    /// From the first byte to the last answer.
    pub elapsed: Duration,
    /// From a request's sending to its answer.
    pub latency: Histogram<u64>,
}

impl Done {
    fn none() -> Self {
        Self { records: 0, bytes: 0, requests: 0, elapsed: Duration::ZERO, latency: latencies() }
    }

    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.latency.add(&other.latency).unwrap_or_else(|_| unreachable!("the bounds are the same"));
    }
}

impl Produce {
    /// The bytes of values in one request.
    pub fn request_bytes(&self) -> usize {
        self.value_bytes * self.batch_records
    }

    /// Runs it.
    pub fn run(&self, address: SocketAddr) -> io::Result<Done> {
        let part = |number| Ok((Script::new(self, number)?, connect(address)?));
        let parts = (0..self.connections).map(part).collect::<io::Result<_>>()?;
        in_parallel(parts, |(script, stream)| Pipe::new(self, &script, stream).run())
    }

    fn batch(&self, values: &[Vec<u8>], random: &mut Random) -> io::Result<Vec<u8>> {
        let key = |random: &mut Random| (self.keys > 0).then(|| random.below(self.keys).to_be_bytes());
        let values = values.iter().map(Vec::as_slice).cycle().take(self.batch_records);
        frames::batch(values.map(|value| (key(random), value)), now_ms())
    }
}

/// One request a partition, again and again, all of one length, one after another in memory.
struct Script {
    bytes: Vec<u8>,
    frame: usize,
    count: usize,
    /// Where the error stands in an answer: behind length, correlation id, counts, name and partition.
    error_at: usize,
}

impl Script {
    fn new(load: &Produce, connection: usize) -> io::Result<Self> {
        let (values, mut random) = (payload::values(load.value_bytes), Random::new(connection as u64));
        let batch = load.batch(&values, &mut random)?;
        // Where there are keys each request has other ones, as far as that goes.
        let most_bytes = if load.keys > 0 { KEYED_SCRIPT_BYTES } else { SCRIPT_BYTES };
        let connections = i32::try_from(load.connections).map_err(io::Error::other)?;
        let mine = i32::try_from(connection).map_err(io::Error::other)?;
        let shares = |partition: &i32| load.partitions < connections || partition % connections == mine;
        let mut bytes = Vec::new();
        let mut count = 0_i32;
        while count == 0 || bytes.len() < most_bytes {
            for partition in (0..load.partitions).filter(shares) {
                let other = (load.keys > 0).then(|| load.batch(&values, &mut random)).transpose()?;
                let batch = other.as_ref().unwrap_or(&batch);
                let body = frames::produce(&load.topic, partition, load.acks, batch)?;
                bytes.extend(frames::request(key::PRODUCE, PRODUCE_VERSION, count, &body)?);
                count += 1;
            }
        }
        let count = usize::try_from(count).map_err(io::Error::other)?;
        Ok(Self { frame: bytes.len() / count, bytes, count, error_at: 22 + load.topic.len() })
    }
}

/// One connection of a load.
struct Pipe<'a> {
    load: &'a Produce,
    script: &'a Script,
    stream: TcpStream,
    /// The next frame of the script.
    next: usize,
    sent: u64,
    /// When the frames that wait for an answer were sent.
    waiting: VecDeque<Instant>,
    answers: Answers,
    latency: Histogram<u64>,
    begun: Instant,
}

impl<'a> Pipe<'a> {
    fn new(load: &'a Produce, script: &'a Script, stream: TcpStream) -> Self {
        Self {
            load,
            script,
            stream,
            next: 0,
            sent: 0,
            waiting: VecDeque::with_capacity(load.in_flight),
            answers: Answers::default(),
            latency: latencies(),
            begun: Instant::now(),
        }
    }

    fn run(mut self) -> io::Result<Done> {
        loop {
            let room = self.room();
            if room > 0 {
                self.send(room)?;
            } else if self.waiting.is_empty() {
                break;
            }
            if self.load.acks != 0 {
                self.receive()?;
            }
        }
        if self.load.acks == 0 {
            self.barrier()?;
        }
        let records = self.sent * self.load.batch_records as u64;
        Ok(Done {
            records,
            bytes: records * self.load.value_bytes as u64,
            requests: self.sent,
            elapsed: self.begun.elapsed(),
            latency: self.latency,
        })
    }

    /// How many more may be sent now.
    fn room(&self) -> usize {
        let room = self.load.in_flight - self.waiting.len();
        match self.load.until {
            Until::Passed(limit) if self.begun.elapsed() >= limit => 0,
            Until::Passed(_) => room,
            Until::Requests(count) => usize::try_from(count - self.sent).map_or(room, |left| room.min(left)),
        }
    }

    fn send(&mut self, room: usize) -> io::Result<()> {
        let count = room.min(self.script.count - self.next);
        let now = Instant::now();
        let frames = self.next * self.script.frame..(self.next + count) * self.script.frame;
        self.stream.write_all(&self.script.bytes[frames])?;
        if self.load.acks != 0 {
            self.waiting.extend(std::iter::repeat_n(now, count));
        }
        self.sent += count as u64;
        self.next = (self.next + count) % self.script.count;
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        self.answers.fill(&mut self.stream)?;
        let now = Instant::now();
        while let Some(answer) = self.answers.take_one() {
            let error = answer.get(self.script.error_at..self.script.error_at + 2);
            if error != Some(&[0, 0]) {
                return Err(io::Error::other(format!("a Produce request was answered with error {error:?}")));
            }
            let sent = self.waiting.pop_front().ok_or_else(|| io::Error::other("an answer to nothing"))?;
            self.latency.saturating_record(nanos(now - sent));
        }
        Ok(())
    }

    /// Waits until everything that was sent has been taken, by a request that has an answer.
    fn barrier(&mut self) -> io::Result<()> {
        self.stream.write_all(&frames::request(key::API_VERSIONS, 0, 0, &[])?)?;
        while self.answers.take_one().is_none() {
            self.answers.fill(&mut self.stream)?;
        }
        Ok(())
    }
}

/// A load of Fetch requests: every connection reads a partition from its first offset to its last.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The topic; its partition 0 is read.
    pub topic: String,
    /// Where the log ends.
    pub end: i64,
    /// Connections, each with a thread.
    pub connections: usize,
    /// The most that one answer may hold.
    pub max_bytes: i32,
}

impl Fetch {
    /// Runs it.
    pub fn run(&self, address: SocketAddr) -> io::Result<Done> {
        let streams = (0..self.connections).map(|_| connect(address)).collect::<io::Result<_>>()?;
        in_parallel(streams, |stream| self.read_all(stream))
    }

    fn read_all(&self, mut stream: TcpStream) -> io::Result<Done> {
        let mut request = Vec::new();
        let mut answers = Answers::default();
        let mut done = Done::none();
        let begun = Instant::now();
        let mut offset = 0;
        while offset < self.end {
            fetch(&mut request, &self.topic, offset, self.max_bytes)?;
            let sent = Instant::now();
            stream.write_all(&request)?;
            while !answers.holds_one() {
                answers.fill(&mut stream)?;
            }
            let answer = answers.take_one().unwrap_or_default();
            let records = fetched(answer)?;
            done.latency.saturating_record(nanos(sent.elapsed()));
            done.requests += 1;
            done.bytes += records.len() as u64;
            let next = batches(records).last().map_or(offset, |batch| batch.next_offset);
            done.records += u64::try_from(next - offset).unwrap_or(0);
            offset = next;
        }
        done.elapsed = begun.elapsed();
        Ok(done)
    }
}

/// Makes a Fetch request for partition 0, which waits up to half a second for the first byte.
pub fn fetch(request: &mut Vec<u8>, topic: &str, offset: i64, max_bytes: i32) -> io::Result<()> {
    let mut body = Vec::new();
    body.extend((-1_i32).to_be_bytes());
    body.extend(500_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(max_bytes.to_be_bytes());
    body.push(0);
    frames::put_len(&mut body, 1)?;
    frames::put_text(&mut body, topic)?;
    frames::put_len(&mut body, 1)?;
    body.extend(0_i32.to_be_bytes());
    body.extend(offset.to_be_bytes());
    body.extend(max_bytes.to_be_bytes());
    *request = frames::request(key::FETCH, FETCH_VERSION, 0, &body)?;
    Ok(())
}

/// The record batches in the answer to [`fetch`], length and correlation id before it.
pub fn fetched(answer: &[u8]) -> io::Result<&[u8]> {
    let mut rest = Answer(answer);
    rest.skip(16)?;
    rest.text()?;
    rest.skip(8)?;
    let error = rest.i16()?;
    if error != 0 {
        return Err(io::Error::other(format!("a Fetch request was answered with error {error}")));
    }
    rest.skip(16)?;
    let aborted = rest.count()?;
    rest.skip(16 * aborted)?;
    let length = rest.count()?;
    rest.take(length)
}

/// A batch in an answer.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The offset after it.
    pub next_offset: i64,
    /// Its records.
    pub records: &'a [u8],
}

/// The whole batches; the last one may be cut.
pub fn batches(mut rest: &[u8]) -> impl Iterator<Item = Batch<'_>> {
    std::iter::from_fn(move || {
        let mut head = Answer(rest);
        let base = head.i64().ok()?;
        let length = head.count().ok()?;
        let (whole, behind) = rest.split_at_checked(12 + length)?;
        let mut head = Answer(whole.get(23..)?);
        let last_delta = head.i32().ok()?;
        rest = behind;
        Some(Batch { next_offset: base + i64::from(last_delta) + 1, records: whole.get(frames::BATCH_HEADER..)? })
    })
}

/// Answers as they arrive, with their length before them.
#[derive(Debug, Default)]
pub struct Answers {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Answers {
    /// Reads what is there, at least a byte.
    pub fn fill(&mut self, stream: &mut impl Read) -> io::Result<()> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        } else if self.begin > 0 && self.bytes.len() - self.begin < self.wanted() {
            self.bytes.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        let room = self.begin + self.wanted();
        if self.bytes.len() < room {
            self.bytes.resize(room, 0);
        }
        match stream.read(&mut self.bytes[self.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }

    /// Whether a whole answer is here.
    pub fn holds_one(&self) -> bool {
        self.end - self.begin >= 4 && self.end - self.begin >= self.wanted_now()
    }

    /// Takes the next whole answer.
    pub fn take_one(&mut self) -> Option<&[u8]> {
        if !self.holds_one() {
            return None;
        }
        let begin = self.begin;
        self.begin += self.wanted_now();
        Some(&self.bytes[begin..self.begin])
    }

    /// The length of the answer that has begun to arrive, or of its length.
    fn wanted_now(&self) -> usize {
        let mut head = Answer(&self.bytes[self.begin..self.end]);
        head.count().map_or(4, |length| 4 + length)
    }

    /// Room for that answer and for others behind it.
    fn wanted(&self) -> usize {
        self.wanted_now().max(64 << 10)
    }
}

/// Runs `work` on a thread for each of `parts`, all of which begin together; adds up what they did.
fn in_parallel<T: Send>(parts: Vec<T>, work: impl Fn(T) -> io::Result<Done> + Sync) -> io::Result<Done> {
    let (begin, work) = (Barrier::new(parts.len()), &work);
    let results: Vec<_> = thread::scope(|scope| {
        let one = |part| {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                work(part)
            })
        };
        let threads: Vec<_> = parts.into_iter().map(one).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut sum = Done::none();
    for result in results {
        sum.add(&result.map_err(|_| io::Error::other("a thread of the load panicked"))??);
    }
    Ok(sum)
}

/// Connects as clients do.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}
