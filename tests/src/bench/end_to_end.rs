//! From a record's due time to its arrival at a consumer, at a fixed rate, without coordinated omission: a record
//! carries the moment at which it was to be sent, whenever it was sent in fact, and no record waits for another's
//! answer.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::thread::set_current_timer_slack;

use super::raw::{self, Answers};
use crate::frames::{self, Answer, key};
use crate::interop::cases::now_ms;

/// After the last record was due, how long stragglers are waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nobody can send more often than that, so what is due within goes out together.
const LEAST_GAP: Duration = Duration::from_micros(50);
/// The most that one request of the generator's takes.
const MOST_AT_ONCE: u64 = 500;

/// A rate, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// When record 0 is due.
    pub begin: Instant,
    /// Records a second.
    pub rate: u64,
    /// How many records there are.
    pub count: u64,
    /// The size of a value.
    pub value_bytes: usize,
}

impl Schedule {
    /// Begins a moment from now, so that everybody is ready.
    pub fn new(rate: u64, time: Duration, value_bytes: usize) -> Self {
        let count = rate * u64::try_from(time.as_millis()).unwrap_or(u64::MAX) / 1_000;
        Self { begin: Instant::now() + Duration::from_millis(300), rate, count, value_bytes }
    }

    /// When a record is due, after the begin.
    fn due(&self, record: u64) -> Duration {
        Duration::from_nanos(record * 1_000_000_000 / self.rate)
    }

    /// The value of a record: when it is due, and filling.
    pub fn value(&self, record: u64) -> Vec<u8> {
        let mut value = vec![b'.'; self.value_bytes.max(8)];
        value[..8].copy_from_slice(&raw::nanos(self.due(record)).to_be_bytes());
        value
    }

    /// Calls `send` with the records that are due, when they are.
    pub fn follow(&self, mut send: impl FnMut(Range<u64>) -> Result<(), String>) -> Result<(), String> {
        // A timer that may come 50 us late, as is usual, would be most of what is measured.
        set_current_timer_slack(std::num::NonZeroU64::new(1)).map_err(|error| error.to_string())?;
        let mut next = 0;
        while next < self.count {
            let now = Instant::now().saturating_duration_since(self.begin);
            let due = (raw::nanos(now) / 1_000 * self.rate).div_ceil(1_000_000).min(self.count);
            if due > next {
                let until = due.min(next + MOST_AT_ONCE);
                send(next..until)?;
                next = until;
            }
            if due <= next {
                let wake = self.begin + self.due(next);
                thread::sleep(wake.saturating_duration_since(Instant::now()).max(LEAST_GAP));
            }
        }
        Ok(())
    }

    /// No record is waited for after that.
    pub fn deadline(&self) -> Instant {
        self.begin + self.due(self.count) + PATIENCE
    }
}

/// How late records arrived.
#[derive(Debug, Clone)]
pub struct Arrivals {
    schedule: Schedule,
    /// How many have arrived.
    pub count: u64,
    /// How late they were; the first tenth does not count, in which everything still warms up.
    pub late: Histogram<u64>,
}

impl Arrivals {
    /// None yet.
    pub fn new(schedule: Schedule) -> Self {
        Self { schedule, count: 0, late: raw::latencies() }
    }

    /// One has arrived just now.
    pub fn take(&mut self, value: &[u8], now: Instant) {
        let due = value.first_chunk().map_or(0, |due| u64::from_be_bytes(*due));
        self.count += 1;
        if self.count > self.schedule.count / 10 {
            let now = raw::nanos(now.saturating_duration_since(self.schedule.begin));
            self.late.saturating_record(now.saturating_sub(due));
        }
    }

    /// Whether all have arrived, or it has taken too long.
    pub fn are_over(&self) -> bool {
        self.count >= self.schedule.count || Instant::now() > self.schedule.deadline()
    }

    /// The latencies, if every record has arrived.
    pub fn complete(self) -> Result<Histogram<u64>, String> {
        match self.schedule.count - self.count {
            0 => Ok(self.late),
            missing => Err(format!("{missing} of {} records did not arrive", self.schedule.count)),
        }
    }
}

/// By our own generator, to partition 0 with acks=all: three threads, of which one writes, one takes the answers, and
/// one reads the log.
pub fn run(address: SocketAddr, topic: &str, schedule: Schedule) -> Result<Histogram<u64>, String> {
    let explain = |error: io::Error| error.to_string();
    let mut writer = raw::connect(address).map_err(explain)?;
    let answers = writer.try_clone().map_err(explain)?;
    let reader = raw::connect(address).map_err(explain)?;
    thread::scope(|scope| {
        let checked = scope.spawn(|| check(answers, topic));
        let arrived = scope.spawn(|| read(reader, topic, schedule));
        let written = schedule.follow(|records| {
            let values: Vec<_> = records.map(|record| schedule.value(record)).collect();
            let batch = frames::batch(values.iter().map(|value| (None, value.as_slice())), now_ms());
            let body = batch.and_then(|batch| frames::produce(topic, 0, -1, &batch));
            let frame = body.and_then(|body| frames::request(key::PRODUCE, 7, 0, &body));
            frame.and_then(|frame| writer.write_all(&frame)).map_err(explain)
        });
        let panicked = |_| "a thread of the load panicked".to_owned();
        let arrivals = arrived.join().map_err(panicked)?.map_err(explain);
        // Ends the thread that waits for answers.
        let closed = writer.shutdown(std::net::Shutdown::Both).map_err(explain);
        let checked = checked.join().map_err(panicked)?;
        written.and(checked).and(closed)?;
        arrivals?.complete()
    })
}

/// Takes the answers until the connection ends.
fn check(mut stream: TcpStream, topic: &str) -> Result<(), String> {
    let error_at = 22 + topic.len();
    let mut answers = Answers::default();
    while answers.fill(&mut stream).is_ok() {
        while let Some(answer) = answers.take_one() {
            let error = answer.get(error_at..error_at + 2);
            if error != Some(&[0, 0]) {
                return Err(format!("a Produce request was answered with error {error:?}"));
            }
        }
    }
    Ok(())
}

/// Reads the log as it grows.
fn read(mut stream: TcpStream, topic: &str, schedule: Schedule) -> io::Result<Arrivals> {
    let mut arrivals = Arrivals::new(schedule);
    let (mut request, mut answers, mut offset) = (Vec::new(), Answers::default(), 0);
    while !arrivals.are_over() {
        raw::fetch(&mut request, topic, offset, 4 << 20)?;
        stream.write_all(&request)?;
        while !answers.holds_one() {
            answers.fill(&mut stream)?;
        }
        let now = Instant::now();
        for batch in raw::batches(raw::fetched(answers.take_one().unwrap_or_default())?) {
            offset = batch.next_offset;
            let mut rest = Answer(batch.records);
            while !rest.0.is_empty() {
                arrivals.take(value(&mut rest)?, now);
            }
        }
    }
    Ok(arrivals)
}

/// Passes a record without headers; gives its value.
fn value<'a>(rest: &mut Answer<'a>) -> io::Result<&'a [u8]> {
    let length = usize::try_from(rest.varint()?).map_err(io::Error::other)?;
    let mut record = Answer(rest.take(length)?);
    record.skip(1)?;
    record.varint()?;
    record.varint()?;
    let key = record.varint()?;
    record.skip(usize::try_from(key).unwrap_or(0))?;
    let length = usize::try_from(record.varint()?).map_err(io::Error::other)?;
    record.take(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_sent_once_and_never_early() {
        let schedule = Schedule::new(20_000, Duration::from_millis(100), 20);
        assert_eq!(schedule.count, 2_000);
        let mut next = 0;
        schedule
            .follow(|records| {
                assert_eq!(records.start, next);
                let last = schedule.begin + schedule.due(records.end - 1);
                assert!(last <= Instant::now() + Duration::from_micros(1), "{records:?}");
                next = records.end;
                Ok(())
            })
            .unwrap();
        assert_eq!(next, 2_000);
    }

    #[test]
    fn a_late_record_counts_from_when_it_was_due() {
        let mut schedule = Schedule::new(1_000, Duration::from_millis(10), 20);
        schedule.begin = Instant::now();
        let mut arrivals = Arrivals::new(schedule);
        let now = schedule.begin + Duration::from_millis(20);
        (0..10).for_each(|record| arrivals.take(&schedule.value(record), now));
        let late = arrivals.complete().unwrap();
        assert_eq!(late.len(), 9);
        assert!(late.max() >= 18_900_000 && late.min() <= 11_200_000, "{} to {}", late.min(), late.max());
    }
}
