//! How each line is run with one broker.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::admin::Admin;
use super::connections::Crowd;
use super::end_to_end::{self, Schedule};
use super::fleet::{Fleet, Flush, Own, Target, Who};
use super::lines::{Client, Line, Produce, Work};
use super::machine::{self, SyncTimes};
use super::raw::{self, Done, Until};
use super::sample::{Figure, Sample, number};
use super::usage::Usage;
use super::{librdkafka, sink};

/// A batch of our generator: what the Java client sends if nobody tells it otherwise.
const BATCH_BYTES: usize = 16 << 10;
/// A batch of what is there to be read.
const FILL_BATCH_BYTES: usize = 64 << 10;
/// Keys of a log that is cleaned.
const CLEANED_KEYS: u64 = 100_000;
/// How a topic waits to be cleaned: when its policy changes all of it is due.
const DIRTY: [(&str, &str); 3] =
    [("segment.bytes", "67108864"), ("min.cleanable.dirty.ratio", "0.01"), ("file.delete.delay.ms", "1000")];
/// How long something is written beside the cleaner: it has to do for longer.
const WHILE_CLEANING: Duration = Duration::from_secs(1);
/// How long a cleaner may take.
const CLEAN_LIMIT: Duration = Duration::from_secs(120);
/// How long a broker may take to come back.
const RESTART_LIMIT: Duration = Duration::from_secs(120);

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long a load lasts.
    pub run: Duration,
    /// How often a line is run with each broker.
    pub rounds: usize,
    /// Bytes of log that are read.
    pub log_bytes: u64,
    /// How long a broker is left alone before its idle memory counts.
    pub settle: Duration,
    /// Bytes of page cache to touch before each round.
    pub touch: u64,
}

/// Where lines are run.
#[derive(Debug)]
pub struct Stage {
    /// The brokers.
    pub fleet: Fleet,
    /// How long everything lasts.
    pub pace: Pace,
    topics: u32,
    /// Logs that are there to be read, by process and size of value.
    filled: BTreeMap<(u32, usize), Log>,
}

/// A log that is there to be read.
#[derive(Debug, Clone)]
struct Log {
    topic: String,
    end: i64,
}

impl Stage {
    /// Sets it up.
    pub const fn new(fleet: Fleet, pace: Pace) -> Self {
        Self { fleet, pace, topics: 0, filled: BTreeMap::new() }
    }

    /// Runs a line with a broker.
    pub fn run(&mut self, line: &Line, who: Who) -> Result<Sample, String> {
        let flush = line.flush;
        match &line.work {
            Work::Produce(load) => self.produce(load, who, flush),
            Work::OneRecord { in_flight, client } => self.one_record(*in_flight, *client, who, flush),
            Work::Consume { value_bytes, cold, client } => self.consume(*value_bytes, *cold, *client, who),
            Work::EndToEnd { rate, client } => self.end_to_end(*rate, *client, who, flush),
            Work::Partitions(count) => self.partitions(*count, who, flush),
            Work::Connections(count) => self.connections(*count, who),
            Work::Start => self.start(who),
            Work::Loaded => self.loaded(who),
            Work::Restart(bytes) => self.restart(*bytes, who),
            Work::Clean(bytes) => self.clean(*bytes, who),
            Work::Replicated { value_bytes } => self.replicated(*value_bytes, who, flush),
            Work::Failover => self.failover(who, flush),
        }
    }

    /// Lets a JVM compile what will be measured; the figures are thrown away.
    pub fn warm_up(&mut self, who: Who) -> Result<(), String> {
        for client in [Client::Raw, Client::Librdkafka] {
            let load = Produce { value_bytes: 100, acks: -1, codec: "none", partitions: 1, client };
            self.produce(&load, who, Flush::Async)?;
        }
        self.consume(1024, false, Client::Raw, who).map(drop)
    }

    fn produce(&mut self, load: &Produce, who: Who, flush: Flush) -> Result<Sample, String> {
        let Produce { value_bytes, acks, codec, partitions, client } = *load;
        let time = self.pace.run;
        self.with_topic(who, flush, (partitions, value_bytes), |topic, target| {
            if client == Client::Raw {
                let connections = if partitions == 1 { 1 } else { 2 };
                let batch_records = (BATCH_BYTES / (value_bytes + 8)).max(1);
                let (in_flight, until) = (64, Until::Passed(time));
                let load = raw::Produce {
                    topic,
                    partitions,
                    acks,
                    value_bytes,
                    batch_records,
                    keys: 0,
                    connections,
                    in_flight,
                    until,
                };
                return Ok(of_requests(&load.run(target.address).map_err(text)?, false));
            }
            let acks = if acks == -1 { "all" } else { ["0", "1"][usize::from(acks == 1)] };
            let load = librdkafka::Produce { topic, partitions, acks, codec, value_bytes, one_a_request: false, time };
            load.run(&target.address.to_string()).map(|(records, elapsed)| of_records(records, value_bytes, elapsed))
        })
    }

    fn one_record(&mut self, in_flight: usize, client: Client, who: Who, flush: Flush) -> Result<Sample, String> {
        let (value_bytes, partitions, time) = (100, 1, self.pace.run);
        let mut sample = self.with_topic(who, flush, (partitions, value_bytes), |topic, target| {
            if client == Client::Librdkafka {
                let (acks, codec, one_a_request) = ("all", "none", true);
                let load = librdkafka::Produce { topic, partitions, acks, codec, value_bytes, one_a_request, time };
                let (records, elapsed) = load.run(&target.address.to_string())?;
                return Ok(of_records(records, value_bytes, elapsed));
            }
            let connections = in_flight.min(4);
            let (in_flight, until) = (in_flight / connections, Until::Passed(time));
            let load = one_record_requests(topic, partitions, (connections, in_flight), until);
            Ok(of_requests(&load.run(target.address).map_err(text)?, true))
        })?;
        let cpu = sample.broker.cpu.div_f64(number(sample.records.max(1)));
        sample.figures.push(Figure::time("CPU a request", cpu));
        Ok(sample)
    }

    fn consume(&mut self, value_bytes: usize, cold: bool, client: Client, who: Who) -> Result<Sample, String> {
        let target = self.fleet.target(who, Flush::Async)?;
        let log = self.filled(&target, value_bytes)?;
        if let Some(data) = self.fleet.data(&target) {
            let dir = data.join(format!("{}-0", log.topic));
            if cold { machine::evict(&dir) } else { read_once(&dir) }.map_err(text)?;
        }
        let records = u64::try_from(log.end).unwrap_or(0);
        measured(&target, || match client {
            Client::Librdkafka => librdkafka::consume(&target.address.to_string(), &log.topic, records)
                .map(|elapsed| of_records(records, value_bytes, elapsed)),
            Client::Raw => {
                // A second reader of a cold log would find it warm.
                let connections = if cold { 1 } else { 4 };
                let fetch = raw::Fetch { topic: log.topic.clone(), end: log.end, connections, max_bytes: 1 << 20 };
                let done = fetch.run(target.address).map_err(text)?;
                let bytes = done.records * value_bytes as u64;
                Ok(of_requests(&Done { bytes, ..done }, false))
            }
        })
    }

    /// The log to be read, which is written once.
    fn filled(&mut self, target: &Target, value_bytes: usize) -> Result<Log, String> {
        if let Some(log) = self.filled.get(&(target.process, value_bytes)) {
            return Ok(log.clone());
        }
        let topic = self.topic_name(1, value_bytes);
        let log = if target.who == Who::Sink {
            let records = self.pace.log_bytes / (value_bytes as u64);
            Log { topic, end: i64::try_from(records).unwrap_or(i64::MAX) }
        } else {
            create(target, &topic, 1, Flush::Async)?;
            fill(target, topic, value_bytes, self.pace.log_bytes)?
        };
        self.filled.insert((target.process, value_bytes), log.clone());
        Ok(log)
    }

    fn end_to_end(&mut self, rate: u64, client: Client, who: Who, flush: Flush) -> Result<Sample, String> {
        let (value_bytes, time) = (1024, self.pace.run);
        self.with_topic(who, flush, (1, value_bytes), |topic, target| {
            let schedule = Schedule::new(rate, time, value_bytes);
            let late = match client {
                Client::Raw => end_to_end::run(target.address, &topic, schedule),
                Client::Librdkafka => librdkafka::end_to_end(&target.address.to_string(), &topic, schedule),
            }?;
            let figures = quantiles(&late);
            let (bytes, records) = (schedule.count * value_bytes as u64, schedule.count);
            Ok(Sample { figures, bytes, records, elapsed: time, ..Sample::default() })
        })
    }

    fn partitions(&mut self, count: i32, who: Who, flush: Flush) -> Result<Sample, String> {
        let mut own = self.fleet.own(who, flush)?;
        let target = own.target();
        thread::sleep(self.pace.settle);
        let before = Usage::of(target.process).map_err(text)?;
        let topic = self.topic_name(count, 1024);
        let begun = Instant::now();
        create(&target, &topic, count, flush)?;
        let created = begun.elapsed();
        let held = Usage::of(target.process).map_err(text)?.resident.saturating_sub(before.resident);
        let connections = 4;
        let load = raw::Produce {
            topic: topic.clone(),
            partitions: count,
            acks: -1,
            value_bytes: 1024,
            batch_records: 1,
            keys: 0,
            connections,
            in_flight: 64,
            until: Until::Passed(self.pace.run),
        };
        // Each has a record before anything is measured: what is new has files to be made first.
        let share = u64::from(count.unsigned_abs()).div_ceil(connections as u64);
        raw::Produce { until: Until::Requests(share), ..load.clone() }.run(target.address).map_err(text)?;
        let active = begun.elapsed();
        thread::sleep(self.pace.settle);
        let idle = idle_cpu(&target, self.pace.settle)?;
        let sync = self.sync_times(flush)?;
        let mut sample = measured(&target, || Ok(of_requests(&load.run(target.address).map_err(text)?, true)))?;
        sample.sync = sync;
        own.broker.kill().map_err(text)?;
        let restart = start_again(&mut own, &topic, 0)?;
        sample.figures.extend([
            Figure::time("create", created),
            Figure::time("all with a record", active),
            Figure::memory("memory a partition", held / u64::from(count.unsigned_abs())),
            Figure::time("idle CPU a second", idle),
            Figure::time("restart", restart),
        ]);
        Ok(sample)
    }

    fn connections(&mut self, count: usize, who: Who) -> Result<Sample, String> {
        let own = self.fleet.own(who, Flush::Async)?;
        let target = own.target();
        thread::sleep(self.pace.settle);
        let before = Usage::of(target.process).map_err(text)?;
        let crowd = Crowd::open(target.address, count).map_err(text)?;
        let served = crowd.served;
        thread::sleep(self.pace.settle);
        let held = Usage::of(target.process).map_err(text)?.resident.saturating_sub(before.resident);
        measured(&target, || {
            let (answers, elapsed) = crowd.ask(self.pace.run).map_err(text)?;
            let figures = vec![
                Figure::time("all served", served),
                Figure::rate("requests", answers, elapsed),
                Figure::memory("memory a connection", held / count as u64),
            ];
            Ok(Sample { figures, elapsed, ..Sample::default() })
        })
    }

    fn start(&mut self, who: Who) -> Result<Sample, String> {
        let plan = self.fleet.plan(who, Flush::Quorum, &[])?;
        let begun = Instant::now();
        let own = Own::new(plan.start()?, who);
        let answered = begun.elapsed();
        let target = own.target();
        thread::sleep(self.pace.settle);
        let idle = idle_cpu(&target, self.pace.settle)?;
        let broker = Usage::of(target.process).map_err(text)?;
        let figures = vec![
            Figure::time("first answer", answered),
            Figure::memory("idle memory", broker.resident),
            Figure::time("idle CPU a second", idle),
        ];
        Ok(Sample { figures, elapsed: answered, broker, ..Sample::default() })
    }

    fn loaded(&mut self, who: Who) -> Result<Sample, String> {
        let own = self.fleet.own(who, Flush::Async)?;
        let target = own.target();
        let topic = self.topic_name(1, 1024);
        create(&target, &topic, 1, Flush::Async)?;
        let mut sample = measured(&target, || {
            let log = fill(&target, topic, 1024, self.pace.log_bytes)?;
            let records = u64::try_from(log.end).unwrap_or(0);
            let elapsed = librdkafka::consume(&target.address.to_string(), &log.topic, records)?;
            Ok(of_records(records, 1024, elapsed))
        })?;
        sample.figures =
            vec![Figure::memory("memory", sample.broker.resident), Figure::memory("most memory", sample.broker.peak)];
        Ok(sample)
    }

    fn restart(&mut self, bytes: u64, who: Who) -> Result<Sample, String> {
        let mut own = self.fleet.own(who, Flush::Quorum)?;
        let target = own.target();
        let topic = self.topic_name(1, 1024);
        create(&target, &topic, 1, Flush::Async)?;
        let log = fill(&target, topic, 1024, bytes)?;
        own.broker.kill().map_err(text)?;
        let elapsed = start_again(&mut own, &log.topic, log.end - 1)?;
        let broker = Usage::of(own.broker.id()).map_err(text)?;
        let figures = vec![Figure::time("last record again", elapsed)];
        Ok(Sample { figures, elapsed, broker, ..Sample::default() })
    }

    /// A log of many updates is cleaned alone, and another one while something else is written.
    fn clean(&mut self, bytes: u64, who: Who) -> Result<Sample, String> {
        let settings = [("log.cleaner.backoff.ms", "100")];
        let own = Own::new(self.fleet.plan(who, Flush::Async, &settings)?.start()?, who);
        let target = own.target();
        let dirty = [(); 2].map(|()| self.topic_name(1, 100));
        for topic in &dirty {
            Admin::open(target.address).and_then(|mut admin| admin.create(topic, 1, &DIRTY)).map_err(text)?;
            fill_with_keys(&target, topic, bytes, CLEANED_KEYS)?;
        }
        let begin = |topic: &str| {
            let compact = |mut admin: Admin| admin.alter(topic, "cleanup.policy", "compact");
            Admin::open(target.address).and_then(compact).map_err(text)
        };
        let dir = |topic: &str| own.broker.plan.data().join(format!("{topic}-0"));
        let mut sample = measured(&target, || {
            let begun = Instant::now();
            begin(&dirty[0])?;
            wait_until_clean(&dir(&dirty[0]), bytes / 4)?;
            Ok(Sample { bytes, elapsed: begun.elapsed(), ..Sample::default() })
        })?;
        let cpu = sample.broker.cpu.max(Duration::from_millis(10));
        sample.figures = vec![
            Figure::rate("bytes a CPU second", bytes, cpu),
            Figure::rate("bytes a second", bytes, sample.elapsed),
            Figure::memory("most memory", sample.broker.peak),
        ];

        let other = self.topic_name(1, 100);
        create(&target, &other, 1, Flush::Async)?;
        let load = one_record_requests(other, 1, (1, 4), Until::Passed(WHILE_CLEANING));
        let alone = load.run(target.address).map_err(text)?;
        begin(&dirty[1])?;
        let beside = load.run(target.address).map_err(text)?;
        wait_until_clean(&dir(&dirty[1]), bytes / 4)?;
        let p99 = |done: &Done| Duration::from_nanos(done.latency.value_at_quantile(0.99));
        sample.figures.push(Figure::time("produce p99 before", p99(&alone)));
        sample.figures.push(Figure::time("produce p99 meanwhile", p99(&beside)));
        Ok(sample)
    }

    /// Runs a load on a topic of its own, which is deleted after.
    fn with_topic(
        &mut self,
        who: Who,
        flush: Flush,
        (partitions, value_bytes): (i32, usize),
        work: impl FnOnce(String, &Target) -> Result<Sample, String>,
    ) -> Result<Sample, String> {
        let target = self.fleet.target(who, flush)?;
        let topic = self.topic_name(partitions, value_bytes);
        if who == Who::Sink {
            return measured(&target, || work(topic, &target));
        }
        create(&target, &topic, partitions, flush)?;
        let sync = self.sync_times(flush)?;
        let sample = measured(&target, || work(topic.clone(), &target));
        Admin::open(target.address).and_then(|mut admin| admin.delete(&topic)).map_err(text)?;
        Ok(Sample { sync, ..sample? })
    }

    pub(super) fn sync_times(&self, flush: Flush) -> Result<Option<SyncTimes>, String> {
        match flush {
            Flush::Quorum => SyncTimes::measure(self.fleet.dir()).map(Some).map_err(text),
            Flush::Async => Ok(None),
        }
    }

    pub(super) fn topic_name(&mut self, partitions: i32, value_bytes: usize) -> String {
        self.topics += 1;
        sink::topic("bench", self.topics, partitions, value_bytes)
    }
}

/// Runs `work`, and adds what the broker and the load used.
fn measured(target: &Target, work: impl FnOnce() -> Result<Sample, String>) -> Result<Sample, String> {
    let broker = Usage::of(target.process).map_err(text)?;
    let client = Usage::own().map_err(text)?;
    let sample = work()?;
    let broker = Usage::of(target.process).map_err(text)?.since(broker);
    let client = Usage::own().map_err(text)?.since(client);
    Ok(Sample { broker, client, ..sample })
}

pub(super) fn of_records(records: u64, value_bytes: usize, elapsed: Duration) -> Sample {
    let figures = vec![Figure::rate("records", records, elapsed)];
    Sample { figures, bytes: records * value_bytes as u64, records, elapsed, ..Sample::default() }
}

fn of_requests(done: &Done, with_latency: bool) -> Sample {
    let Done { records, bytes, elapsed, .. } = *done;
    let mut figures = vec![Figure::rate("records", records, elapsed)];
    if with_latency {
        figures.extend(quantiles(&done.latency));
    }
    Sample { figures, bytes, records, elapsed, ..Sample::default() }
}

fn quantiles(times: &Histogram<u64>) -> Vec<Figure> {
    let at = |name, quantile| Figure::time(name, Duration::from_nanos(times.value_at_quantile(quantile)));
    vec![at("p50", 0.5), at("p99", 0.99), at("p99.9", 0.999)]
}

fn create(target: &Target, topic: &str, partitions: i32, flush: Flush) -> Result<(), String> {
    let mut admin = Admin::open(target.address).map_err(text)?;
    admin.create(topic, partitions, &flush.topic_settings(target.who)).map_err(text)
}

/// One record of 100 bytes a request, so many of them in flight on each of so many connections.
fn one_record_requests(
    topic: String,
    partitions: i32,
    (connections, in_flight): (usize, usize),
    until: Until,
) -> raw::Produce {
    let (acks, value_bytes, batch_records, keys) = (-1, 100, 1, 0);
    raw::Produce { topic, partitions, acks, value_bytes, batch_records, keys, connections, in_flight, until }
}

/// Writes so many bytes of values.
fn fill(target: &Target, topic: String, value_bytes: usize, bytes: u64) -> Result<Log, String> {
    fill_requests(&topic, value_bytes, bytes, 0).run(target.address).map_err(text)?;
    let ends = Admin::open(target.address).and_then(|mut admin| admin.ends(&topic, 1)).map_err(text)?;
    Ok(Log { topic, end: ends.first().copied().unwrap_or(0) })
}

/// The same of 100 bytes each, with keys.
fn fill_with_keys(target: &Target, topic: &str, bytes: u64, keys: u64) -> Result<(), String> {
    fill_requests(topic, 100, bytes, keys).run(target.address).map(drop).map_err(text)
}

fn fill_requests(topic: &str, value_bytes: usize, bytes: u64, keys: u64) -> raw::Produce {
    let batch_records = FILL_BATCH_BYTES / (value_bytes + 8);
    let requests = bytes / (value_bytes * batch_records) as u64;
    let (topic, until) = (topic.to_owned(), Until::Requests(requests));
    let (partitions, acks, connections, in_flight) = (1, 1, 1, 32);
    raw::Produce { topic, partitions, acks, value_bytes, batch_records, keys, connections, in_flight, until }
}

/// Waits until the segments of a log are no more than so many bytes.
fn wait_until_clean(dir: &Path, most: u64) -> Result<(), String> {
    let begun = Instant::now();
    let size = || -> io::Result<u64> {
        let files = fs::read_dir(dir)?.filter_map(Result::ok);
        let logs = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
        // A file may go at any time.
        Ok(logs.filter_map(|file| file.metadata().ok()).map(|it| it.len()).sum())
    };
    while size().map_err(text)? > most {
        if begun.elapsed() > CLEAN_LIMIT {
            return Err(format!("not clean after {CLEAN_LIMIT:?}"));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Starts a broker that was killed; gives the time until the record at `offset` (or the end of an empty log) can be
/// fetched.
fn start_again(own: &mut Own, topic: &str, offset: i64) -> Result<Duration, String> {
    let begun = Instant::now();
    own.broker = own.broker.plan.spawn()?;
    loop {
        let answer = fetch_once(&own.target(), topic, offset);
        match answer {
            Ok(()) => return Ok(begun.elapsed()),
            Err(error) if begun.elapsed() > RESTART_LIMIT => return Err(format!("not back: {error}")),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn fetch_once(target: &Target, topic: &str, offset: i64) -> io::Result<()> {
    let mut stream = raw::connect(target.address)?;
    let mut request = Vec::new();
    raw::fetch(&mut request, topic, offset, 1 << 20)?;
    io::Write::write_all(&mut stream, &request)?;
    let mut answers = raw::Answers::default();
    while !answers.holds_one() {
        answers.fill(&mut stream)?;
    }
    match raw::fetched(answers.take_one().unwrap_or_default())? {
        [] => Err(io::Error::other("the record is not there")),
        _ => Ok(()),
    }
}

/// The CPU time that a broker uses in a second though nobody asks it for anything.
fn idle_cpu(target: &Target, time: Duration) -> Result<Duration, String> {
    let before = Usage::of(target.process).map_err(text)?;
    thread::sleep(time);
    let used = Usage::of(target.process).map_err(text)?.since(before);
    Ok(used.cpu.div_f64(time.as_secs_f64()))
}

/// Brings files into the page cache.
fn read_once(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() {
            io::copy(&mut File::open(path)?, &mut io::sink())?;
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn text(error: io::Error) -> String {
    error.to_string()
}
