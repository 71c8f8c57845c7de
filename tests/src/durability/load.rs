//! A load of Produce requests over plain sockets, several in flight, which remembers what was acknowledged.
//!
//! Old, simple versions of the protocol on purpose: CreateTopics 2 and Produce 3.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::check::Acknowledged;
use crate::probe::Connection;
use crate::records::Random;

/// How long one answer may take: the broker runs under a tracer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Requests in flight on one connection.
const IN_FLIGHT: usize = 5;

const PRODUCE: i16 = 0;
const CREATE_TOPICS: i16 = 19;

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// The topics' names; each has `partitions` partitions.
    pub topics: Vec<String>,
    /// Partitions of each topic.
    pub partitions: i32,
    /// Connections, each with a thread.
    pub connections: u64,
    /// Requests on each connection.
    pub requests: u64,
    /// The largest value in bytes; lengths are drawn.
    pub value_bytes: u64,
    /// From which everything is drawn.
    pub seed: u64,
}

/// Creates the topics, with small segments, where they are missing, and waits until each partition takes a record.
pub fn create_topics(address: SocketAddr, load: &Load) -> io::Result<()> {
    let mut connection = Connection::open(address, ANSWER_LIMIT)?;
    let mut body = Vec::new();
    put_len(&mut body, load.topics.len())?;
    for topic in &load.topics {
        put_text(&mut body, topic)?;
        body.extend(load.partitions.to_be_bytes());
        body.extend(1_i16.to_be_bytes());
        body.extend(0_i32.to_be_bytes());
        body.extend(1_i32.to_be_bytes());
        put_text(&mut body, "segment.bytes")?;
        put_text(&mut body, "1048576")?;
    }
    body.extend(30_000_i32.to_be_bytes());
    body.push(0);
    connection.call(CREATE_TOPICS, 2, &body)?;
    let mut random = Random::new(0);
    for topic in &load.topics {
        for partition in 0..load.partitions {
            wait_until_written(&mut connection, topic, partition, &batch(&mut random, 1, 10)?)?;
        }
    }
    Ok(())
}

fn wait_until_written(connection: &mut Connection, topic: &str, partition: i32, batch: &[u8]) -> io::Result<()> {
    for _ in 0..500 {
        let answer = connection.call(PRODUCE, 3, &produce(topic, partition, 1, batch)?)?;
        let (error, _) = produced(&answer)?;
        if error == 0 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(io::Error::other(format!("{topic}-{partition} takes no record")))
}

/// Runs the load; gives every acks=all request that was answered without error.
pub fn run(address: SocketAddr, load: &Load) -> io::Result<Vec<Acknowledged>> {
    let results: Vec<_> = thread::scope(|scope| {
        let one = |number| scope.spawn(move || one_connection(address, load, number));
        let threads: Vec<_> = (0..load.connections).map(one).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| io::Error::other("a load thread panicked")))
            .collect()
    });
    let mut all = Vec::new();
    for result in results {
        all.extend(result??);
    }
    Ok(all)
}

/// A request whose answer is awaited.
struct Waiting {
    correlation_id: i32,
    partition: String,
    records: i64,
    is_all: bool,
}

fn one_connection(address: SocketAddr, load: &Load, number: u64) -> io::Result<Vec<Acknowledged>> {
    let mut random = Random::new(load.seed ^ (number << 32));
    let mut connection = Connection::open(address, ANSWER_LIMIT)?;
    let client = connection.local_addr()?.to_string();
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    let mut done = Vec::new();
    for _ in 0..load.requests {
        let topic = &load.topics[usize::try_from(random.below(load.topics.len() as u64)).unwrap_or(0)];
        let partition = i32::try_from(random.below(u64::from(load.partitions.unsigned_abs()))).unwrap_or(0);
        let records = 1 + i32::try_from(random.below(3)).unwrap_or(0);
        // One in eight is acks=1 and one in eight acks=0: they must not carry the others past their sync.
        let acks = [1, 0, -1, -1, -1, -1, -1, -1_i16][usize::try_from(random.below(8)).unwrap_or(2)];
        let batch = batch(&mut random, records, load.value_bytes)?;
        let body = produce(topic, partition, acks, &batch)?;
        let correlation_id = connection.send(PRODUCE, 3, &body)?;
        if acks != 0 {
            let partition = format!("{topic}-{partition}");
            waiting.push_back(Waiting { correlation_id, partition, records: i64::from(records), is_all: acks == -1 });
        }
        if waiting.len() >= IN_FLIGHT {
            done.extend(receive(&mut connection, &client, waiting.pop_front())?);
        }
    }
    while !waiting.is_empty() {
        done.extend(receive(&mut connection, &client, waiting.pop_front())?);
    }
    Ok(done)
}

/// Takes one answer; answers come in the order of the requests.
fn receive(connection: &mut Connection, client: &str, asked: Option<Waiting>) -> io::Result<Option<Acknowledged>> {
    let Some(asked) = asked else { return Ok(None) };
    let (correlation_id, answer) = connection.receive()?;
    if correlation_id != asked.correlation_id {
        return Err(io::Error::other(format!("answer {correlation_id} in place of {}", asked.correlation_id)));
    }
    let (error, base_offset) = produced(&answer)?;
    if error != 0 {
        return Err(io::Error::other(format!(
            "a Produce request to {} was answered with error {error}",
            asked.partition
        )));
    }
    let last_offset = base_offset + asked.records - 1;
    Ok(asked.is_all.then(|| Acknowledged {
        client: client.to_owned(),
        correlation_id,
        partition: asked.partition,
        base_offset,
        last_offset,
    }))
}

/// The error and the base offset in an answer for one partition.
fn produced(answer: &[u8]) -> io::Result<(i16, i64)> {
    let mut rest = Answer(answer);
    rest.skip(4)?;
    rest.text()?;
    rest.skip(8)?;
    Ok((rest.i16()?, rest.i64()?))
}

fn produce(topic: &str, partition: i32, acks: i16, batch: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    body.extend((-1_i16).to_be_bytes());
    body.extend(acks.to_be_bytes());
    body.extend(30_000_i32.to_be_bytes());
    put_len(&mut body, 1)?;
    put_text(&mut body, topic)?;
    put_len(&mut body, 1)?;
    body.extend(partition.to_be_bytes());
    put_len(&mut body, batch.len())?;
    body.extend(batch);
    Ok(body)
}

/// A record batch of magic 2, not compressed, without a producer id.
fn batch(random: &mut Random, records: i32, value_bytes: u64) -> io::Result<Vec<u8>> {
    let mut after_crc = Vec::new();
    after_crc.extend(0_i16.to_be_bytes());
    after_crc.extend((records - 1).to_be_bytes());
    let now = crate::interop::cases::now_ms();
    after_crc.extend(now.to_be_bytes());
    after_crc.extend(now.to_be_bytes());
    after_crc.extend((-1_i64).to_be_bytes());
    after_crc.extend((-1_i16).to_be_bytes());
    after_crc.extend((-1_i32).to_be_bytes());
    after_crc.extend(records.to_be_bytes());
    for delta in 0..records {
        let length = usize::try_from(random.below(value_bytes)).unwrap_or(0);
        let mut record = vec![0];
        put_varint(&mut record, 0);
        put_varint(&mut record, i64::from(delta));
        put_varint(&mut record, -1);
        put_varint(&mut record, i64::try_from(length).map_err(io::Error::other)?);
        record.extend(random.letters(length));
        put_varint(&mut record, 0);
        put_varint(&mut after_crc, i64::try_from(record.len()).map_err(io::Error::other)?);
        after_crc.extend(record);
    }
    let mut batch = Vec::new();
    batch.extend(0_i64.to_be_bytes());
    put_len(&mut batch, after_crc.len() + 9)?;
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c::crc32c(&after_crc).to_be_bytes());
    batch.extend(after_crc);
    Ok(batch)
}

fn put_len(out: &mut Vec<u8>, length: usize) -> io::Result<()> {
    out.extend(i32::try_from(length).map_err(io::Error::other)?.to_be_bytes());
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    out.extend(i16::try_from(text.len()).map_err(io::Error::other)?.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

/// Zigzag, then seven bits a byte.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    loop {
        let low = rest.to_le_bytes()[0] & 0x7f;
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Reads an answer of a non-flexible version.
struct Answer<'a>(&'a [u8]);

impl Answer<'_> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| io::Error::other("a short answer"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn skip(&mut self, count: usize) -> io::Result<()> {
        self.0 = self.0.get(count..).ok_or_else(|| io::Error::other("a short answer"))?;
        Ok(())
    }

    fn i16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    /// Passes a string; a null one is empty.
    fn text(&mut self) -> io::Result<()> {
        let length = self.i16()?;
        self.skip(usize::try_from(length).unwrap_or(0))
    }
}
