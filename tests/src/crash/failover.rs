//! How long writes stand still when a leader is gone: a client that writes one record after the other to each
//! partition, and gives each request half a second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::PARTITIONS;

/// The probe's topic.
pub const TOPIC: &str = "crash-probe";
/// Between two records to one partition.
const PERIOD: Duration = Duration::from_millis(10);
/// How long the metadata may take.
const LIMIT: Duration = Duration::from_secs(5);

/// When each partition last took a record that was sent at or after some moment.
#[derive(Debug, Default)]
struct Seen {
    /// By partition: when it was sent, when it was acknowledged.
    last: BTreeMap<i32, (Instant, Instant)>,
}

struct Acks(Arc<Mutex<Seen>>);

impl ClientContext for Acks {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<(i32, Instant)>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Self::DeliveryOpaque) {
        let (partition, at) = *sent;
        // A record that ran out of time is no news: the next one is on its way.
        if result.is_ok() {
            lock(&self.0).last.insert(partition, (at, Instant::now()));
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for the topic until every partition of it has a leader and `nodes` replicas in sync: who leads each.
pub fn await_whole(looker: &BaseConsumer, topic: &str, nodes: usize, limit: Duration) -> Result<Vec<i32>, String> {
    let begun = Instant::now();
    loop {
        let found = looker.fetch_metadata(Some(topic), LIMIT).map_or_else(|_| Vec::new(), |it| standing(&it));
        let whole = |it: &Option<(i32, usize)>| it.filter(|(_, in_sync)| *in_sync == nodes).map(|(leader, _)| leader);
        let leaders: Option<Vec<i32>> = found.iter().map(whole).collect();
        if let Some(leaders) = leaders.filter(|leaders| i32::try_from(leaders.len()) == Ok(PARTITIONS)) {
            return Ok(leaders);
        }
        if begun.elapsed() > limit {
            return Err(format!("the replicas of {topic} are not in sync after {limit:?}: {found:?}"));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Who leads each partition of what was asked for, and how many are in sync; `None` where nobody leads.
fn standing(metadata: &Metadata) -> Vec<Option<(i32, usize)>> {
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let mut found: Vec<(i32, Option<(i32, usize)>)> =
        partitions.map(|it| (it.id(), (it.leader() >= 0).then_some((it.leader(), it.isr().len())))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, leader)| leader).collect()
}

/// A client that writes all the time.
pub struct Probe {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    writer: JoinHandle<()>,
    looker: BaseConsumer,
}

impl Probe {
    /// Starts it.
    pub fn start(bootstrap: &str) -> Result<Self, KafkaError> {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("acks", "all").set("linger.ms", "0");
        config.set("request.timeout.ms", "500").set("socket.timeout.ms", "500").set("message.timeout.ms", "10000");
        config.set("reconnect.backoff.max.ms", "100").set("retry.backoff.ms", "20").set("retry.backoff.max.ms", "100");
        // A leader that is gone is named by the metadata until the controller knows: it is asked often.
        config.set("topic.metadata.refresh.interval.ms", "100").set("topic.metadata.refresh.fast.interval.ms", "50");
        let producer: ThreadedProducer<Acks> = config.create_with_context(Acks(Arc::clone(&seen)))?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("reconnect.backoff.max.ms", "100").set("log_level", "0");
        let looker = config.create()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = thread::spawn(move || write(&producer, &stopped));
        Ok(Self { seen, stop, writer, looker })
    }

    /// Waits until every partition has a leader and `nodes` replicas in sync; the place of the node, by its id from 1,
    /// that leads `partition`.
    pub fn settled(&self, partition: i32, nodes: usize, limit: Duration) -> Result<usize, String> {
        let leaders = await_whole(&self.looker, TOPIC, nodes, limit)?;
        let leader = usize::try_from(partition).ok().and_then(|place| leaders.get(place));
        let leader = leader.ok_or_else(|| format!("there is no partition {partition}"))?;
        usize::try_from(leader - 1).map_err(|error| error.to_string())
    }

    /// How long after `moment` the partition took a record that was sent after it; `None` within `limit`.
    pub fn resumed(&self, partition: i32, moment: Instant, limit: Duration) -> Option<Duration> {
        while moment.elapsed() < limit {
            let last = lock(&self.seen).last.get(&partition).copied();
            if let Some((sent, acknowledged)) = last
                && sent >= moment
            {
                return Some(acknowledged - moment);
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// Stops it.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic there has been reported by its own thread.
        drop(self.writer.join());
    }
}

fn write(producer: &ThreadedProducer<Acks>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for partition in 0..PARTITIONS {
            let opaque = Box::new((partition, Instant::now()));
            let record = BaseRecord::<(), _, _>::with_opaque_to(TOPIC, opaque).partition(partition).payload("probe");
            // A full queue: the partition stands still, and the next record is as good.
            drop(producer.send(record));
        }
        thread::sleep(PERIOD);
    }
    drop(producer.flush(LIMIT));
}
