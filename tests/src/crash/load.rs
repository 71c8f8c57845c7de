//! The load: producers of librdkafka and of Ottla's own that live through every crash, a reader that runs all the
//! time, and the last reading.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::ledger::{Ledger, Log, Partition, Promise};
use super::{PARTITIONS, ours};
use crate::records::Random;

/// Records between two breaths of a producer, and how long a breath is: about 3,000 records a second.
pub(super) const BURST: u64 = 30;
pub(super) const BREATH: Duration = Duration::from_millis(10);
/// A producer waits when so many are unanswered: the broker is down.
pub(super) const MAX_IN_DOUBT: usize = 4_000;
/// How long the end may take.
const LAST_LIMIT: Duration = Duration::from_secs(120);

/// The topics and what each is promised.
pub const TOPICS: [(&str, Promise); 3] =
    [("crash-idempotent", Promise::ExactlyOnce), ("crash-plain", Promise::AtLeastOnce), (OURS, Promise::ExactlyOnce)];
/// The topic that Ottla's own client writes to.
const OURS: &str = "crash-ottla";

/// What `topic` is promised.
pub fn promise(topic: &str) -> Promise {
    TOPICS.iter().find(|(name, _)| *name == topic).map_or(Promise::AtLeastOnce, |pair| pair.1)
}

/// The ledger, shared by everything that runs.
pub type Shared = Arc<Mutex<Ledger>>;

/// What a reader saw, by offset.
pub type Seen = BTreeMap<Partition, BTreeMap<i64, u64>>;

struct Acks {
    ledger: Shared,
}

impl ClientContext for Acks {
    // The broker dies all the time; librdkafka's complaints about that are no news.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            lock(&self.ledger).fail(format!("a fatal error of the producer: {reason}"));
        }
    }
}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<(Partition, u64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Self::DeliveryOpaque) {
        let (partition, number) = *sent;
        let mut ledger = lock(&self.ledger);
        match result {
            Ok(message) => ledger.acknowledge(&partition, number, message.offset()),
            Err((error, _)) => {
                ledger.fail(format!("{}-{}: record {number} was given up: {error}", partition.0, partition.1));
            }
        }
    }
}

/// The ledger, whatever became of a thread that had it.
pub fn lock(ledger: &Shared) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that runs beside the crashes.
pub struct Running {
    stop: Arc<AtomicBool>,
    producers: Vec<JoinHandle<Result<(), String>>>,
    reader: JoinHandle<Result<Seen, KafkaError>>,
}

/// Starts a producer a topic, and the reader.
pub fn start(bootstrap: &str, ledger: &Shared, seed: u64) -> Result<Running, KafkaError> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut producers = Vec::new();
    for (number, (topic, promise)) in (0..).zip(TOPICS) {
        let (stop, shared, random) = (Arc::clone(&stop), Arc::clone(ledger), Random::new(seed ^ number));
        if topic == OURS {
            let bootstrap = bootstrap.to_owned();
            producers.push(thread::spawn(move || ours::produce((&bootstrap, topic), &shared, &stop, random)));
            continue;
        }
        let producer = producer(bootstrap, promise, ledger)?;
        let produce = move || produce(&producer, topic, &shared, &stop, random).map_err(|error| error.to_string());
        producers.push(thread::spawn(produce));
    }
    let (consumer, stopped) = (consumer(bootstrap)?, Arc::clone(&stop));
    Ok(Running { stop, producers, reader: thread::spawn(move || tail(&consumer, &stopped)) })
}

impl Running {
    /// Stops sending, waits until nothing is in doubt, and gives what the reader saw.
    pub fn finish(self) -> Result<Seen, String> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = |_| "a thread of the load panicked".to_owned();
        for producer in self.producers {
            producer.join().map_err(ended)?.map_err(|error| format!("a producer: {error}"))?;
        }
        self.reader.join().map_err(ended)?.map_err(|error| format!("the reader: {error}"))
    }
}

fn producer(bootstrap: &str, promise: Promise, ledger: &Shared) -> Result<ThreadedProducer<Acks>, KafkaError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("acks", "all").set("message.timeout.ms", "0");
    config.set("linger.ms", "2").set("reconnect.backoff.max.ms", "200").set("socket.timeout.ms", "5000");
    config.set("request.timeout.ms", "5000").set("retry.backoff.ms", "20").set("retries", "2147483647");
    match promise {
        Promise::ExactlyOnce => config.set("enable.idempotence", "true"),
        // One in flight, so that a retry does not overtake.
        Promise::AtLeastOnce => config.set("enable.idempotence", "false").set("max.in.flight", "1"),
    };
    config.create_with_context(Acks { ledger: Arc::clone(ledger) })
}

fn produce(
    producer: &ThreadedProducer<Acks>,
    topic: &str,
    ledger: &Shared,
    stop: &AtomicBool,
    mut random: Random,
) -> Result<(), KafkaError> {
    while !stop.load(Ordering::Relaxed) {
        if lock(ledger).in_doubt() < MAX_IN_DOUBT {
            for _ in 0..BURST {
                send_one(producer, topic, ledger, &mut random)?;
            }
        }
        thread::sleep(BREATH);
    }
    producer.flush(LAST_LIMIT)
}

fn send_one(
    producer: &ThreadedProducer<Acks>,
    topic: &str,
    ledger: &Shared,
    random: &mut Random,
) -> Result<(), KafkaError> {
    let (place, number, value) = next_value(topic, ledger, random);
    let partition = place.1;
    let mut record =
        BaseRecord::<(), _, _>::with_opaque_to(topic, Box::new((place, number))).partition(partition).payload(&value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                thread::sleep(BREATH);
            }
            Err((error, _)) => return Err(error),
        }
    }
}

/// The next record of a topic: where it goes, its number there, and what it says.
pub(super) fn next_value(topic: &str, ledger: &Shared, random: &mut Random) -> (Partition, u64, String) {
    let partition = i32::try_from(random.next() % u64::from(PARTITIONS.unsigned_abs())).unwrap_or(0);
    let place = (topic.to_owned(), partition);
    let number = lock(ledger).send(&place);
    let padding = usize::try_from(random.below(400)).unwrap_or(0);
    let value = format!("{number}:{}", "x".repeat(padding));
    (place, number, value)
}

fn consumer(bootstrap: &str) -> Result<BaseConsumer<Silent>, KafkaError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "crash-test").set("enable.auto.commit", "false");
    // A reader that is thrown back would hide that offsets went away.
    config.set("auto.offset.reset", "error").set("check.crcs", "true").set("reconnect.backoff.max.ms", "200");
    config.create_with_context(Silent)
}

struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl rdkafka::consumer::ConsumerContext for Silent {}

fn assign(consumer: &BaseConsumer<Silent>) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for (topic, _) in TOPICS {
        for partition in 0..PARTITIONS {
            list.add_partition_offset(topic, partition, Offset::Offset(0))?;
        }
    }
    consumer.assign(&list)
}

/// Reads all the time, through every crash.
fn tail(consumer: &BaseConsumer<Silent>, stop: &AtomicBool) -> Result<Seen, KafkaError> {
    assign(consumer)?;
    let mut seen = Seen::new();
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let (partition, offset, number) = parse(&message);
                seen.entry(partition).or_default().entry(offset).or_insert(number);
            }
            Some(Err(error)) if is_final(&error) => return Err(error),
            Some(Err(_)) | None => {}
        }
    }
    Ok(seen)
}

/// The broker being away is not; an offset that is gone, a bad CRC and the like are.
fn is_final(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, BadMessage, OffsetOutOfRange};
    matches!(error.rdkafka_error_code(), Some(AutoOffsetReset | BadMessage | OffsetOutOfRange))
}

/// A value that is not ours has a number that was never sent.
fn parse(message: &impl Message) -> (Partition, i64, u64) {
    let number = message.payload().and_then(|value| {
        let text = std::str::from_utf8(value).ok()?;
        text.split_once(':')?.0.parse().ok()
    });
    ((message.topic().to_owned(), message.partition()), message.offset(), number.unwrap_or(u64::MAX))
}

/// Reads every partition from its first offset to its last.
pub fn read_all(bootstrap: &str) -> Result<BTreeMap<Partition, Log>, String> {
    let explain = |error: KafkaError| format!("the last reading: {error}");
    let consumer = consumer(bootstrap).map_err(explain)?;
    let mut left = BTreeMap::new();
    let mut logs: BTreeMap<Partition, Log> = BTreeMap::new();
    for (topic, _) in TOPICS {
        for partition in 0..PARTITIONS {
            let (low, high) = consumer.fetch_watermarks(topic, partition, LAST_LIMIT).map_err(explain)?;
            if low != 0 {
                return Err(format!("{topic}-{partition} starts at {low}"));
            }
            if high > 0 {
                left.insert((topic.to_owned(), partition), high);
            }
        }
    }
    assign(&consumer).map_err(explain)?;
    let deadline = Instant::now() + LAST_LIMIT;
    while !left.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let (partition, offset, number) = parse(&message);
                if left.get(&partition).is_some_and(|high| offset + 1 >= *high) {
                    left.remove(&partition);
                }
                logs.entry(partition).or_default().push((offset, number));
            }
            Some(Err(error)) if is_final(&error) => return Err(explain(error)),
            Some(Err(_)) | None => {}
        }
        if Instant::now() > deadline {
            return Err(format!("the last reading stands still before {left:?}"));
        }
    }
    Ok(logs)
}
