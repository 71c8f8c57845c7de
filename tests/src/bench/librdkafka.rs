//! The load of real clients: librdkafka, set up as for throughput.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::end_to_end::{Arrivals, Schedule};
use super::payload;

/// How long the last records may take to be acknowledged, or the next ones to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// Records between two looks at the clock and at librdkafka's events.
const STRIDE: usize = 1_000;

/// A load of one producer.
#[derive(Debug, Clone)]
pub struct Produce {
    /// The topic.
    pub topic: String,
    /// Its partitions, which take turns.
    pub partitions: i32,
    /// `0`, `1` or `all`.
    pub acks: &'static str,
    /// `none` or `lz4`.
    pub codec: &'static str,
    /// The size of a value.
    pub value_bytes: usize,
    /// Each record in a request of its own.
    pub one_a_request: bool,
    /// How long records are made; what is queued then is sent too.
    pub time: Duration,
}

/// Counts what was given up; librdkafka's own complaints would spoil the table.
#[derive(Default)]
struct Quiet {
    failed: std::sync::atomic::AtomicU64,
}

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Quiet {}

impl ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

impl Produce {
    /// Runs it; gives how many records were acknowledged, and in which time.
    pub fn run(&self, bootstrap: &str) -> Result<(u64, Duration), String> {
        let producer = self.producer(bootstrap).map_err(|error| error.to_string())?;
        let values = payload::values(self.value_bytes);
        // Connects, and learns of the topic, before the clock runs.
        producer.client().fetch_metadata(Some(&self.topic), PATIENCE).map_err(|error| error.to_string())?;
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < self.time {
            for value in values.iter().cycle().skip(sent % values.len()).take(STRIDE) {
                let partition = i32::try_from(sent).unwrap_or(0) % self.partitions;
                send(&producer, BaseRecord::to(&self.topic).partition(partition).payload(&**value))?;
                sent += 1;
            }
            producer.poll(Duration::ZERO);
        }
        producer.flush(PATIENCE).map_err(|error| error.to_string())?;
        let elapsed = begun.elapsed();
        match producer.context().failed.load(std::sync::atomic::Ordering::Relaxed) {
            0 => Ok((sent as u64, elapsed)),
            failed => Err(format!("{failed} of {sent} records were given up")),
        }
    }

    fn producer(&self, bootstrap: &str) -> Result<BaseProducer<Quiet>, KafkaError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("acks", self.acks).set("compression.codec", self.codec);
        config.set("linger.ms", if self.one_a_request { "0" } else { "5" });
        // What is queued when the time is over is sent too, and must not take as long again.
        config.set("queue.buffering.max.messages", "500000").set("queue.buffering.max.kbytes", "65536");
        if self.one_a_request {
            config.set("batch.num.messages", "1").set("max.in.flight", "5");
            config.set("queue.buffering.max.messages", "1000");
        }
        config.set("delivery.report.only.error", "true");
        config.create_with_context(Quiet::default())
    }
}

/// Waits while the queue is full.
fn send(producer: &BaseProducer<Quiet>, record: BaseRecord<'_, (), [u8]>) -> Result<(), String> {
    let mut next = record;
    loop {
        match producer.send(next) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                next = back;
                producer.poll(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(error.to_string()),
        }
    }
}

/// Reads partition 0 from its first record on; gives the time from the first request to the last record.
pub fn consume(bootstrap: &str, topic: &str, records: u64) -> Result<Duration, String> {
    let consumer = consumer(bootstrap).map_err(|error| error.to_string())?;
    consumer.client().fetch_metadata(Some(topic), PATIENCE).map_err(|error| error.to_string())?;
    let begun = Instant::now();
    assign(&consumer, topic).map_err(|error| error.to_string())?;
    for count in 0..records {
        match consumer.poll(PATIENCE) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err(format!("only {count} of {records} records arrived")),
        }
    }
    Ok(begun.elapsed())
}

fn consumer(bootstrap: &str) -> Result<BaseConsumer<Quiet>, KafkaError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "bench").set("enable.auto.commit", "false");
    config.set("auto.offset.reset", "error").set("queued.min.messages", "1000000");
    config.set("fetch.queue.backoff.ms", "1");
    config.create_with_context(Quiet::default())
}

fn assign(consumer: &BaseConsumer<Quiet>, topic: &str) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(0))?;
    consumer.assign(&list)
}

/// The latencies of records at a fixed rate, acks=all: each is sent by itself, at once.
pub fn end_to_end(bootstrap: &str, topic: &str, schedule: Schedule) -> Result<Histogram<u64>, String> {
    let explain = |error: KafkaError| error.to_string();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("acks", "all").set("linger.ms", "0");
    config.set("delivery.report.only.error", "true");
    let producer: BaseProducer<Quiet> = config.create_with_context(Quiet::default()).map_err(explain)?;
    producer.client().fetch_metadata(Some(topic), PATIENCE).map_err(explain)?;
    let consumer = consumer(bootstrap).map_err(explain)?;
    assign(&consumer, topic).map_err(explain)?;
    thread::scope(|scope| {
        let arrived = scope.spawn(|| arrivals(&consumer, schedule));
        schedule.follow(|records| {
            for record in records {
                let value = schedule.value(record);
                send(&producer, BaseRecord::to(topic).partition(0).payload(value.as_slice()))?;
            }
            producer.poll(Duration::ZERO);
            Ok(())
        })?;
        producer.flush(PATIENCE).map_err(explain)?;
        arrived.join().map_err(|_| "a thread of the load panicked".to_owned())?.map_err(explain)?.complete()
    })
}

fn arrivals(consumer: &BaseConsumer<Quiet>, schedule: Schedule) -> Result<Arrivals, KafkaError> {
    let mut arrivals = Arrivals::new(schedule);
    while !arrivals.are_over() {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            arrivals.take(message?.payload().unwrap_or_default(), Instant::now());
        }
    }
    Ok(arrivals)
}
