//! What handles ask of the driver, and who waits for which answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ottla_core::client::{AdminReply, AdminRequest, ClientError, Command, Event, ProduceRecord};
use ottla_core::types::{Offset, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::error::Error;
use super::producer::{Delivered, Report};

/// One thing for the driver to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Write records. Their room in `buffer.memory` is given back when all have their fate.
    Produce { records: Vec<ProduceRecord>, room: OwnedSemaphorePermit, waiter: Waiter },
    /// Say when all that was handed in before has its fate.
    Flush(oneshot::Sender<()>),
    /// Change or ask something.
    Admin { request: Box<AdminRequest>, waiter: oneshot::Sender<Result<AdminReply, Error>> },
    /// Reading: what comes of it goes to the client's events.
    Read(Command),
    /// Where the program stands in a partition.
    Position { partition: TopicPartition, waiter: oneshot::Sender<Option<Offset>> },
}

/// Who waits for records that were handed in together.
#[derive(Debug)]
pub(super) enum Waiter {
    One(oneshot::Sender<Result<Delivered, Error>>),
    Many(oneshot::Sender<Report>),
}

/// Why no connection could be made of late: for the texts of errors.
pub(super) type Trouble = Arc<Mutex<Option<Box<str>>>>;

/// A client's end of the way to its driver.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) jobs: mpsc::UnboundedSender<Job>,
    pub(super) trouble: Trouble,
}

/// Who waits for what.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The number of the next job with an answer.
    next: u32,
    records: HashMap<u32, Records>,
    flushes: HashMap<u32, oneshot::Sender<()>>,
    requests: HashMap<u32, oneshot::Sender<Result<AdminReply, Error>>>,
    trouble: Trouble,
    events: mpsc::UnboundedSender<Event>,
}

/// Records that were handed in together.
#[derive(Debug)]
struct Records {
    left: usize,
    report: Report,
    waiter: Option<Waiter>,
    _room: OwnedSemaphorePermit,
}

impl Handle {
    pub(super) fn submit(&self, job: Job) -> Result<(), Error> {
        self.jobs.send(job).map_err(|_| Error::Closed)
    }

    pub(super) fn trouble(&self) -> Option<Box<str>> {
        self.trouble.lock().expect("nobody panics with it").clone()
    }
}

impl Waiting {
    pub(super) fn new(trouble: Trouble, events: mpsc::UnboundedSender<Event>) -> Self {
        let (records, flushes, requests) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { next: 0, records, flushes, requests, trouble, events }
    }

    /// The token of the first of `count` records; the others follow it.
    pub(super) fn records(&mut self, count: usize, room: OwnedSemaphorePermit, waiter: Waiter) -> u64 {
        let waiter = Some(waiter);
        let mut records = Records { left: count, report: Report::default(), waiter, _room: room };
        let job = self.number();
        if count == 0 {
            records.end();
        } else {
            self.records.insert(job, records);
        }
        u64::from(job) << 32
    }

    /// The token of a flush.
    pub(super) fn flush(&mut self, waiter: oneshot::Sender<()>) -> u64 {
        let job = self.number();
        self.flushes.insert(job, waiter);
        u64::from(job) << 32
    }

    /// The token of a request.
    pub(super) fn request(&mut self, waiter: oneshot::Sender<Result<AdminReply, Error>>) -> u64 {
        let job = self.number();
        self.requests.insert(job, waiter);
        u64::from(job) << 32
    }

    /// Hands an event to whoever waits for it; who has stopped waiting misses nothing but the answer.
    pub(super) fn on_event(&mut self, event: Event) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "all that is not an answer is the reader's")]
        match event {
            Event::Delivered { token, partition, offset } => self.on_fate(token, Ok(Delivered { partition, offset })),
            Event::Failed { token, error, definite } => {
                let failed = self.failed(error, definite);
                self.on_fate(token, Err(failed));
            }
            Event::Flushed { token } => {
                if let Some(waiter) = self.flushes.remove(&job_of(token)) {
                    let _ = waiter.send(());
                }
            }
            Event::AdminDone { token, reply } => self.answer(token, Ok(reply)),
            Event::AdminFailed { token, error, definite } => {
                let failed = self.failed(error, definite);
                self.answer(token, Err(failed));
            }
            event => {
                let _ = self.events.send(event);
            }
        }
    }

    fn on_fate(&mut self, token: u64, fate: Result<Delivered, Error>) {
        let job = job_of(token);
        let Some(records) = self.records.get_mut(&job) else { return };
        records.left -= 1;
        match (records.waiter.take(), fate) {
            (Some(Waiter::One(waiter)), fate) => {
                let _ = waiter.send(fate);
            }
            (Some(waiter @ Waiter::Many(_)), Ok(_)) => {
                records.report.delivered += 1;
                records.waiter = Some(waiter);
            }
            (Some(waiter @ Waiter::Many(_)), Err(error)) => {
                let index = usize::try_from(token & u64::from(u32::MAX)).unwrap_or(usize::MAX);
                records.report.failed.push((index, error));
                records.waiter = Some(waiter);
            }
            (None, _) => {}
        }
        if records.left == 0 {
            records.end();
            self.records.remove(&job);
        }
    }

    fn answer(&mut self, token: u64, answer: Result<AdminReply, Error>) {
        if let Some(waiter) = self.requests.remove(&job_of(token)) {
            let _ = waiter.send(answer);
        }
    }

    fn failed(&self, error: ClientError, definite: bool) -> Error {
        let trouble = self.trouble.lock().expect("nobody panics with it").clone();
        Error::Failed { error, definite, trouble }
    }

    const fn number(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }
}

impl Records {
    fn end(&mut self) {
        if let Some(Waiter::Many(waiter)) = self.waiter.take() {
            let _ = waiter.send(std::mem::take(&mut self.report));
        }
    }
}

/// A token is the job's number, and in its lower half the place of a record in the job.
fn job_of(token: u64) -> u32 {
    u32::try_from(token >> 32).expect("half of its bits")
}
