//! A load of Produce requests over plain sockets, several in flight, which remembers what was acknowledged.
//!
//! Old, simple versions of the protocol on purpose: CreateTopics 2 and Produce 3.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::check::Acknowledged;
use crate::frames::{self, key, produce, produced, put_len, put_text};
use crate::probe::Connection;
use crate::records::Random;

/// How long one answer may take: the broker runs under a tracer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Requests in flight on one connection.
const IN_FLIGHT: usize = 5;

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
    connection.call(key::CREATE_TOPICS, 2, &body)?;
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
        let answer = connection.call(key::PRODUCE, 3, &produce(topic, partition, 1, batch)?)?;
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
        let correlation_id = connection.send(key::PRODUCE, 3, &body)?;
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

/// A batch of `records` values, of up to `value_bytes` each.
fn batch(random: &mut Random, records: i32, value_bytes: u64) -> io::Result<Vec<u8>> {
    let values: Vec<_> = (0..records)
        .map(|_| {
            let length = usize::try_from(random.below(value_bytes)).unwrap_or(0);
            random.letters(length)
        })
        .collect();
    frames::batch(values.iter().map(|value| (None, value.as_slice())), crate::interop::cases::now_ms())
}
