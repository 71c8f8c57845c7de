//! Reading records.

use std::time::Duration;

use ottla_core::client::{ClientConfig, Command, Event, PolledRecords, Start};
use ottla_core::types::{Offset, TopicPartition};
use tokio::sync::{mpsc, oneshot};

use super::driver;
use super::error::{ConsumeError, Error};
use super::jobs::{Handle, Job};

/// Reads the partitions that the program assigns, each from its own place.
#[derive(Debug)]
pub struct Consumer {
    handle: Handle,
    events: mpsc::UnboundedReceiver<Event>,
    /// Whether a poll is under way: a future that was dropped leaves it so, and the next one takes what it brings.
    polling: bool,
}

impl Consumer {
    /// A consumer in the current runtime. It dials when it has something to read.
    ///
    /// # Errors
    /// [`Error::Config`]
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: &ClientConfig) -> Result<Self, Error> {
        let (handle, events) = driver::start(config)?;
        Ok(Self { handle, events, polling: false })
    }

    /// Reads a partition from a place; if it is read already, from this place now.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub fn assign(&mut self, partition: TopicPartition, start: Start) -> Result<(), Error> {
        self.handle.submit(Job::Read(Command::Assign { partition, start }))
    }

    /// Reads a partition no more.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub fn unassign(&mut self, partition: TopicPartition) -> Result<(), Error> {
        self.handle.submit(Job::Read(Command::Unassign { partition }))
    }

    /// Takes records, `max.poll.records` at most, and waits for them so long. Nothing is lost if the future is dropped:
    /// the next poll brings it.
    ///
    /// # Errors
    /// What the program has to know of a partition. Other partitions go on at the next poll.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<PolledRecords>, ConsumeError> {
        loop {
            let event = match self.events.try_recv() {
                Ok(event) => Some(event),
                Err(_) => {
                    self.begin_poll(timeout)?;
                    self.events.recv().await
                }
            };
            #[expect(clippy::wildcard_enum_match_arm, reason = "the driver hands a consumer nothing else")]
            match event.ok_or(ConsumeError::Closed)? {
                Event::Polled { records, .. } => {
                    self.polling = false;
                    return Ok(records);
                }
                Event::ReadFailed { partition, error } => return Err(ConsumeError::Partition { partition, error }),
                Event::Truncated { partition, from, to } => {
                    return Err(ConsumeError::Truncated { partition, from, to });
                }
                _ => {}
            }
        }
    }

    /// Where the next record of a partition will come from; `None` while that is not known.
    pub async fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        let (waiter, position) = oneshot::channel();
        self.handle.submit(Job::Position { partition: partition.clone(), waiter }).ok()?;
        position.await.ok().flatten()
    }

    /// Why no connection could be made of late, if that was so: a consumer goes on trying.
    #[must_use]
    pub fn trouble(&self) -> Option<Box<str>> {
        self.handle.trouble()
    }

    fn begin_poll(&mut self, timeout: Duration) -> Result<(), ConsumeError> {
        if !self.polling {
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            let poll = Job::Read(Command::Poll { token: 0, timeout_ms });
            self.handle.submit(poll).map_err(|_| ConsumeError::Closed)?;
            self.polling = true;
        }
        Ok(())
    }
}
