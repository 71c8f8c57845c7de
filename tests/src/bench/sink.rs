//! The ceiling: a broker that answers at once and throws the data away.
//!
//! It looks at a request no further than it must to answer it, keeps nothing, and gives every Fetch the same records,
//! made beforehand. What a client reaches against it is the client's own limit on this machine. A thread a
//! connection, blocking, in a process of its own, as the brokers are.
//!
//! It has every topic: a topic's name says how many partitions it has and how large its values are (see [`topic`]).

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::payload;
use crate::frames::{self, Answer, key, put_len, put_text};

/// What each API answers to: key, lowest and highest version. librdkafka chooses its features by them.
const VERSIONS: [(i16, i16, i16); 5] = [
    (key::PRODUCE, 3, 7),
    (key::FETCH, 4, 4),
    (key::LIST_OFFSETS, 1, 1),
    (key::METADATA, 1, 4),
    (key::API_VERSIONS, 0, 0),
];
/// No request that is answered from its beginning is decided by more than this much of it.
const HEAD: usize = 4 << 10;
/// What is read at once.
const BUFFER: usize = 256 << 10;
/// About how large one answer to a Fetch is, as librdkafka asks for a partition.
const ANSWER: usize = 1 << 20;
/// And each batch in it.
const BATCH: usize = 64 << 10;

/// A topic's name for a load, whichever broker it goes to.
pub fn topic(purpose: &str, number: u32, partitions: i32, value_bytes: usize) -> String {
    format!("{purpose}-{number}.{partitions}.{value_bytes}")
}

/// Serves until the process ends.
pub fn serve(listener: &TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // A client that goes away ends its thread.
        thread::spawn(move || Connection::new(stream, address).serve());
    }
}

/// Listens on a free port of the loopback.
pub fn listen() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    answer: Vec<u8>,
    /// The records of one answer, and for which size of value.
    records: Option<(usize, Records)>,
}

/// Batches of which only the offsets differ from answer to answer.
struct Records {
    bytes: Vec<u8>,
    batch: usize,
    count: i64,
}

impl Connection {
    fn new(stream: TcpStream, address: SocketAddr) -> Self {
        Self { stream, address, buffer: vec![0; BUFFER], begin: 0, end: 0, answer: Vec::new(), records: None }
    }

    fn serve(mut self) -> io::Result<()> {
        loop {
            self.gather(4)?;
            let frame = Answer(&self.buffer[self.begin..]).count()?;
            self.begin += 4;
            let head = frame.min(HEAD);
            self.gather(head)?;
            let head = self.buffer[self.begin..self.begin + head].to_vec();
            self.discard(frame)?;
            self.answer(&head)?;
            // Answers to what came in one read leave in one write.
            if self.begin == self.end || self.answer.len() > BUFFER {
                self.stream.write_all(&self.answer)?;
                self.answer.clear();
            }
        }
    }

    /// Makes sure that so many bytes stand in the buffer.
    fn gather(&mut self, count: usize) -> io::Result<()> {
        if self.end - self.begin >= count {
            return Ok(());
        }
        if !self.answer.is_empty() {
            self.stream.write_all(&self.answer)?;
            self.answer.clear();
        }
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        while self.end < count {
            self.end += read(&mut self.stream, &mut self.buffer[self.end..])?;
        }
        Ok(())
    }

    /// Passes the rest of a frame.
    fn discard(&mut self, frame: usize) -> io::Result<()> {
        let here = frame.min(self.end - self.begin);
        self.begin += here;
        let mut rest = frame - here;
        while rest > 0 {
            let most = rest.min(BUFFER);
            rest -= read(&mut self.stream, &mut self.buffer[..most])?;
        }
        Ok(())
    }

    fn answer(&mut self, head: &[u8]) -> io::Result<()> {
        let mut request = Answer(head);
        let (api_key, version, correlation_id) = (request.i16()?, request.i16()?, request.i32()?);
        request.text()?;
        let mut body = vec![0; 4];
        body.extend(correlation_id.to_be_bytes());
        match api_key {
            key::PRODUCE if !produced(&mut request, version, &mut body)? => return Ok(()),
            key::PRODUCE => {}
            key::FETCH => return self.fetched(&mut request, body),
            key::LIST_OFFSETS => offsets(&mut request, &mut body)?,
            key::METADATA => metadata(&mut request, version, self.address, &mut body)?,
            // A version that is not known is answered in the oldest, with the error that says so.
            key::API_VERSIONS => versions(version, &mut body)?,
            other => return Err(io::Error::other(format!("the sink has no API {other}"))),
        }
        frames::seal(&mut body)?;
        self.answer.extend(body);
        Ok(())
    }

    /// One partition's records from the offset that is asked for; there is no end.
    fn fetched(&mut self, request: &mut Answer<'_>, mut body: Vec<u8>) -> io::Result<()> {
        request.skip(17)?;
        request.skip(4)?;
        let topic = request.text()?;
        request.skip(4)?;
        let (partition, offset) = (request.i32()?, request.i64()?);
        let (_, value_bytes) = shape(topic);
        if self.records.as_ref().is_none_or(|(size, _)| *size != value_bytes) {
            self.records = Some((value_bytes, Records::new(value_bytes)?));
        }
        let Some((_, records)) = &mut self.records else { return Ok(()) };
        records.move_to(offset);
        body.extend(0_i32.to_be_bytes());
        put_len(&mut body, 1)?;
        put_len_of_text(&mut body, topic)?;
        put_len(&mut body, 1)?;
        body.extend(partition.to_be_bytes());
        body.extend(0_i16.to_be_bytes());
        body.extend([i64::MAX.to_be_bytes(), i64::MAX.to_be_bytes()].concat());
        body.extend((-1_i32).to_be_bytes());
        put_len(&mut body, records.bytes.len())?;
        let length = i32::try_from(body.len() - 4 + records.bytes.len()).map_err(io::Error::other)?;
        body[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&self.answer)?;
        self.answer.clear();
        self.stream.write_all(&body)?;
        self.stream.write_all(&records.bytes)
    }
}

impl Records {
    fn new(value_bytes: usize) -> io::Result<Self> {
        let count = (BATCH / (value_bytes + 8)).max(1);
        let values = payload::values(value_bytes);
        let values = values.iter().map(|value| (None, value.as_slice())).cycle().take(count);
        let batch = frames::batch(values, crate::interop::cases::now_ms())?;
        let count = i64::try_from(count).map_err(io::Error::other)?;
        Ok(Self { bytes: batch.repeat((ANSWER / batch.len()).max(1)), batch: batch.len(), count })
    }

    /// The base offset stands before what the CRC covers.
    fn move_to(&mut self, mut offset: i64) {
        for batch in self.bytes.chunks_exact_mut(self.batch) {
            batch[..8].copy_from_slice(&offset.to_be_bytes());
            offset += self.count;
        }
    }
}

fn read(stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    match stream.read(into)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

/// Answers for the first partition of the first topic, as librdkafka and our generator send. False for acks=0.
fn produced(request: &mut Answer<'_>, version: i16, body: &mut Vec<u8>) -> io::Result<bool> {
    request.text()?;
    let acks = request.i16()?;
    request.skip(8)?;
    about_first(request, body)?;
    // Base offset, time of appending, and from version 5 on the log's start.
    body.extend([0_i64.to_be_bytes(), (-1_i64).to_be_bytes()].concat());
    if version >= 5 {
        body.extend(0_i64.to_be_bytes());
    }
    body.extend(0_i32.to_be_bytes());
    Ok(acks != 0)
}

fn offsets(request: &mut Answer<'_>, body: &mut Vec<u8>) -> io::Result<()> {
    request.skip(8)?;
    about_first(request, body)?;
    body.extend([(-1_i64).to_be_bytes(), 0_i64.to_be_bytes()].concat());
    Ok(())
}

/// Begins an answer about the first partition of the first topic that is asked about: nothing is wrong with it.
fn about_first(request: &mut Answer<'_>, body: &mut Vec<u8>) -> io::Result<()> {
    let topic = request.text()?;
    request.skip(4)?;
    let partition = request.i32()?;
    put_len(body, 1)?;
    put_len_of_text(body, topic)?;
    put_len(body, 1)?;
    body.extend(partition.to_be_bytes());
    body.extend(0_i16.to_be_bytes());
    Ok(())
}

fn metadata(request: &mut Answer<'_>, version: i16, address: SocketAddr, body: &mut Vec<u8>) -> io::Result<()> {
    let mut topics = Vec::new();
    for _ in 0..request.count()? {
        topics.push(request.text()?);
    }
    if version >= 3 {
        body.extend(0_i32.to_be_bytes());
    }
    put_len(body, 1)?;
    body.extend(1_i32.to_be_bytes());
    put_text(body, &address.ip().to_string())?;
    body.extend(i32::from(address.port()).to_be_bytes());
    body.extend((-1_i16).to_be_bytes());
    if version >= 2 {
        put_text(body, "sink")?;
    }
    body.extend(1_i32.to_be_bytes());
    put_len(body, topics.len())?;
    for topic in topics {
        body.extend(0_i16.to_be_bytes());
        put_len_of_text(body, topic)?;
        body.push(0);
        let (partitions, _) = shape(topic);
        put_len(body, partitions)?;
        for partition in 0..i32::try_from(partitions).map_err(io::Error::other)? {
            body.extend(0_i16.to_be_bytes());
            body.extend(partition.to_be_bytes());
            // The leader; the one replica; the one in sync.
            body.extend([1_i32, 1, 1, 1, 1].map(i32::to_be_bytes).concat());
        }
    }
    Ok(())
}

fn versions(asked: i16, body: &mut Vec<u8>) -> io::Result<()> {
    const UNSUPPORTED_VERSION: i16 = 35;
    body.extend(if asked == 0 { 0 } else { UNSUPPORTED_VERSION }.to_be_bytes());
    put_len(body, VERSIONS.len())?;
    for (api_key, lowest, highest) in VERSIONS {
        body.extend([api_key, lowest, highest].map(i16::to_be_bytes).concat());
    }
    Ok(())
}

fn put_len_of_text(body: &mut Vec<u8>, text: &[u8]) -> io::Result<()> {
    body.extend(i16::try_from(text.len()).map_err(io::Error::other)?.to_be_bytes());
    body.extend(text);
    Ok(())
}

/// Partitions and size of a value, as [`topic`] put them into the name.
fn shape(topic: &[u8]) -> (usize, usize) {
    let text = String::from_utf8_lossy(topic);
    let mut numbers = text.split('.').skip(1).map(|number| number.parse().unwrap_or(1));
    (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::raw::{Fetch, Produce, Until};

    fn start() -> SocketAddr {
        let listener = listen().unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener));
        address
    }

    #[test]
    fn every_request_of_a_load_is_answered() {
        let address = start();
        for acks in [0, 1, -1] {
            let load = Produce {
                topic: topic("p", 1, 3, 100),
                partitions: 3,
                acks,
                value_bytes: 100,
                batch_records: 40,
                keys: 0,
                connections: 2,
                in_flight: 7,
                until: Until::Requests(1_000),
            };
            let done = load.run(address).unwrap();
            assert_eq!((done.requests, done.records, done.bytes), (2_000, 80_000, 8_000_000));
            assert_eq!(done.latency.len(), if acks == 0 { 0 } else { 2_000 });
        }
    }

    #[test]
    fn a_log_without_end_is_read_in_order() {
        let fetch = Fetch { topic: topic("f", 1, 1, 100), end: 50_000, connections: 2, max_bytes: 1 << 20 };
        let done = fetch.run(start()).unwrap();
        assert!(done.records >= 100_000 && done.requests >= 10, "{} in {}", done.records, done.requests);
    }

    #[test]
    fn a_name_has_a_shape() {
        assert_eq!(shape(topic("x", 3, 8, 1024).as_bytes()), (8, 1024));
    }
}
