//! Writing records.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ottla_core::client::{ClientConfig, ProduceRecord};
use ottla_core::types::{Offset, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::driver;
use super::error::Error;
use super::jobs::{Handle, Job, Waiter};

/// Writes records: in batches, with retries, each once and in order as long as `enable.idempotence` is on, which it is
/// unless switched off.
///
/// A clone writes through the same connections. A program that ends should [`flush`](Producer::flush) first: what
/// lingers when the last clone is dropped is not sent.
#[derive(Clone, Debug)]
pub struct Producer {
    handle: Handle,
    /// One permit a byte of `buffer.memory`.
    room: Arc<Semaphore>,
    buffer_memory: u32,
    max_block: Duration,
}

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// To which partition.
    pub partition: TopicPartition,
    /// Not known with acks=0, and for some records that were sent twice.
    pub offset: Option<Offset>,
}

/// What became of records that were handed in together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many were acknowledged.
    pub delivered: usize,
    /// The others: the place of each among those that were handed in, and why.
    pub failed: Vec<(usize, Error)>,
}

/// The fate of a record, to be awaited.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Delivered, Error>>);

/// The fate of records that were handed in together, to be awaited.
#[derive(Debug)]
pub struct Deliveries(oneshot::Receiver<Report>);

impl Producer {
    /// A producer in the current runtime. It dials when it has something to write.
    ///
    /// # Errors
    /// [`Error::Config`]
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: &ClientConfig) -> Result<Self, Error> {
        let buffer_memory =
            u32::try_from(config.producer.buffer_memory.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let mut config = config.clone();
        // Whoever writes waits for room here, so that the machine never has to refuse a record for want of it.
        config.producer.buffer_memory = usize::MAX;
        let (handle, _) = driver::start(&config)?;
        Ok(Self {
            handle,
            room: Arc::new(Semaphore::new(usize::try_from(buffer_memory).unwrap_or(usize::MAX))),
            buffer_memory,
            max_block: Duration::from_millis(config.producer.max_block_ms),
        })
    }

    /// Writes a record, and waits until it is acknowledged or has failed. Many at once go together in batches.
    ///
    /// # Errors
    /// Why it was not acknowledged; [`Error::is_definite`] says whether it may be there all the same.
    pub async fn send(&self, record: ProduceRecord) -> Result<Delivered, Error> {
        self.enqueue(record).await?.await
    }

    /// Hands a record in, waiting for room in `buffer.memory`; what becomes of it can be awaited, or not.
    ///
    /// # Errors
    /// [`Error::NoRoom`], [`Error::Closed`]
    pub async fn enqueue(&self, record: ProduceRecord) -> Result<Delivery, Error> {
        let (waiter, fate) = oneshot::channel();
        let room = self.room_for(record.buffered_size()).await?;
        self.handle.submit(Job::Produce { records: vec![record], room, waiter: Waiter::One(waiter) })?;
        Ok(Delivery(fate))
    }

    /// Hands records in together, waiting for room in `buffer.memory`: one wake-up for all, which makes a difference
    /// with millions a second.
    ///
    /// # Errors
    /// [`Error::NoRoom`], [`Error::Closed`]
    pub async fn enqueue_all(&self, records: Vec<ProduceRecord>) -> Result<Deliveries, Error> {
        let (waiter, report) = oneshot::channel();
        let room = self.room_for(records.iter().map(ProduceRecord::buffered_size).sum()).await?;
        self.handle.submit(Job::Produce { records, room, waiter: Waiter::Many(waiter) })?;
        Ok(Deliveries(report))
    }

    /// Sends what lingers, and waits until all that was handed in before has its fate.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub async fn flush(&self) -> Result<(), Error> {
        let (waiter, done) = oneshot::channel();
        self.handle.submit(Job::Flush(waiter))?;
        done.await.map_err(|_| Error::Closed)
    }

    /// Why no connection could be made of late, if that was so: a producer goes on trying.
    #[must_use]
    pub fn trouble(&self) -> Option<Box<str>> {
        self.handle.trouble()
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        // What is larger than all of the memory gets all of it.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.buffer_memory);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes);
        match tokio::time::timeout(self.max_block, room).await {
            Ok(room) => room.map_err(|_| Error::Closed),
            Err(_) => Err(Error::NoRoom { trouble: self.handle.trouble() }),
        }
    }
}

impl Future for Delivery {
    type Output = Result<Delivered, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|fate| fate.unwrap_or(Err(Error::Closed)))
    }
}

impl Future for Deliveries {
    type Output = Result<Report, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|report| report.map_err(|_| Error::Closed))
    }
}
