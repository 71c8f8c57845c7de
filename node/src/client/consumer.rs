//! Reading records.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ottla_core::client::{ClientConfig, Command, Event, GroupCommand, GroupEvent, PolledRecords, Start};
use ottla_core::types::{Offset, TopicPartition};
use tokio::sync::{mpsc, oneshot};

use super::driver;
use super::error::{ConsumeError, Error};
use super::jobs::{Handle, Job};

/// Reads the partitions that the program assigns, each from its own place; or, as a member of the group of `group.id`,
/// those that the group gives it, from where the group has committed.
#[derive(Debug)]
pub struct Consumer {
    handle: Handle,
    events: mpsc::UnboundedReceiver<Event>,
    /// What came while something else was waited for.
    held: VecDeque<Event>,
    /// What the group has given.
    assigned: BTreeSet<TopicPartition>,
    /// Whether a poll is under way: a future that was dropped leaves it so, and the next one takes what it brings.
    polling: bool,
    /// The number of the last commit.
    commits: u64,
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
        Ok(Self { handle, events, held: VecDeque::new(), assigned: BTreeSet::new(), polling: false, commits: 0 })
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

    /// Joins the group of `group.id` to read these topics, or, if it is joined, reads these instead of others. What was
    /// polled is taken to be dealt with when the next poll begins: then it is committed, if that is automatic, and then
    /// partitions may go to other members.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<(), Error> {
        let topics = topics.iter().map(|&topic| topic.into()).collect();
        self.submit(GroupCommand::Subscribe { topics, await_release: false })
    }

    /// The same, of the topics whose whole names a regular expression (RE2's) matches, as they come and go. A pattern
    /// that cannot be read is told by the next poll.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<(), Error> {
        self.submit(GroupCommand::SubscribePattern { pattern: pattern.into(), await_release: false })
    }

    /// What the group has given to this member, as far as polls have told.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.assigned.iter()
    }

    /// Commits the place behind all that was polled, and waits until that is done.
    ///
    /// # Errors
    /// Why it was not done; [`Error::is_definite`] says whether it may have been all the same.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.commits += 1;
        let ours = self.commits;
        self.submit(GroupCommand::Commit { token: ours, positions: None, retry: true })?;
        loop {
            #[expect(clippy::wildcard_enum_match_arm, reason = "all else is for the next poll")]
            match self.events.recv().await.ok_or(Error::Closed)? {
                Event::Group(GroupEvent::Committed { token: Some(token), .. }) if token == ours => return Ok(()),
                Event::Group(GroupEvent::CommitFailed { token, error, definite }) if token == ours => {
                    return Err(Error::Failed { error, definite, trouble: self.handle.trouble() });
                }
                // Of an earlier one, whose future was dropped.
                Event::Group(GroupEvent::Committed { .. } | GroupEvent::CommitFailed { .. }) => {}
                other => self.held.push_back(other),
            }
        }
    }

    /// Goes on elsewhere in a partition, if it is read, or the group's and still ours: also to have again, or to leave
    /// to others, what was polled and not dealt with.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub fn seek(&mut self, partition: TopicPartition, start: Start) -> Result<(), Error> {
        self.handle.submit(Job::Read(Command::Seek { partition, start }))
    }

    /// Leaves the group, after a last commit if that is automatic: so that others need not wait for the member's
    /// session to end. What comes after it is not read.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub async fn close(mut self) -> Result<(), Error> {
        if self.polling {
            self.put_back().await?;
        }
        self.submit(GroupCommand::Close { token: 0 })?;
        loop {
            if let Event::Group(GroupEvent::Closed { .. }) = self.events.recv().await.ok_or(Error::Closed)? {
                return Ok(());
            }
        }
    }

    /// Takes records, `max.poll.records` at most, and waits for them so long. Nothing is lost if the future is dropped:
    /// the next poll brings it.
    ///
    /// # Errors
    /// What the program has to know of a partition or the group. Other partitions go on at the next poll.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<PolledRecords>, ConsumeError> {
        let begun = Instant::now();
        // One that is under way ends in its own time, not in ours.
        let mut is_ours = !self.polling;
        loop {
            let event = match self.held.pop_front().or_else(|| self.events.try_recv().ok()) {
                Some(event) => Some(event),
                None => {
                    let left = timeout.saturating_sub(begun.elapsed());
                    self.begin_poll(left)?;
                    match is_ours {
                        true => self.events.recv().await,
                        false => match tokio::time::timeout(left, self.events.recv()).await {
                            Ok(event) => event,
                            Err(_) => return Ok(Vec::new()),
                        },
                    }
                }
            };
            #[expect(clippy::wildcard_enum_match_arm, reason = "the driver hands a consumer nothing else")]
            match event.ok_or(ConsumeError::Closed)? {
                Event::Polled { records, .. } => {
                    self.polling = false;
                    if is_ours || !records.is_empty() || begun.elapsed() >= timeout {
                        return Ok(records);
                    }
                    is_ours = true;
                }
                Event::ReadFailed { partition, error } => return Err(ConsumeError::Partition { partition, error }),
                Event::Truncated { partition, from, to } => {
                    return Err(ConsumeError::Truncated { partition, from, to });
                }
                Event::Group(event) => self.on_group(event)?,
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

    /// A poll whose future was dropped may have taken records: they are not dealt with, as nobody was given them.
    async fn put_back(&mut self) -> Result<(), Error> {
        let partitions: Vec<_> = self.assigned.iter().cloned().collect();
        let last = partitions.last().cloned();
        self.handle.submit(Job::Read(Command::Pause { partitions }))?;
        if let Some(last) = last {
            // It is answered after the pause: from then on the poll takes nothing.
            self.position(&last).await;
        }
        while let Some(event) = self.held.pop_front().or_else(|| self.events.try_recv().ok()) {
            let Event::Polled { records, .. } = event else { continue };
            for PolledRecords { partition, records, .. } in records {
                if let Some(first) = records.first() {
                    self.seek(partition, Start::Offset(first.offset))?;
                }
            }
        }
        Ok(())
    }

    fn submit(&self, command: GroupCommand) -> Result<(), Error> {
        self.handle.submit(Job::Read(Command::Group(command)))
    }

    fn on_group(&mut self, event: GroupEvent) -> Result<(), ConsumeError> {
        match event {
            GroupEvent::Assigned { partitions } => self.assigned.extend(partitions),
            GroupEvent::Revoked { partitions } | GroupEvent::Lost { partitions } => {
                self.assigned.retain(|partition| !partitions.contains(partition));
            }
            GroupEvent::Failed { error } => return Err(ConsumeError::Group { error }),
            // Who waited for these has stopped waiting.
            GroupEvent::Committed { .. }
            | GroupEvent::CommitFailed { .. }
            | GroupEvent::PositionsKept { .. }
            | GroupEvent::PositionsNotKnown { .. }
            | GroupEvent::Unsubscribed { .. }
            | GroupEvent::Closed { .. } => {}
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_core::client::ClientError;

    use super::*;

    /// A consumer, and the driver's ends: what it asks for, and what it is told.
    fn consumer() -> (Consumer, mpsc::UnboundedReceiver<Job>, mpsc::UnboundedSender<Event>) {
        let (jobs, asked) = mpsc::unbounded_channel();
        let (tell, events) = mpsc::unbounded_channel();
        let handle = Handle { jobs, trouble: Arc::default() };
        let (held, assigned) = (VecDeque::new(), BTreeSet::new());
        (Consumer { handle, events, held, assigned, polling: false, commits: 0 }, asked, tell)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let in_time = async { tokio::time::timeout(Duration::from_secs(20), future).await };
        runtime.block_on(in_time).expect("nothing waits for ever")
    }

    /// Polls it once, and drops it.
    async fn dropped(future: impl Future) {
        tokio::select! {
            biased;
            _ = future => panic!("it waits"),
            () = std::future::ready(()) => {}
        }
    }

    fn commit(asked: &mut mpsc::UnboundedReceiver<Job>) -> u64 {
        match asked.try_recv() {
            Ok(Job::Read(Command::Group(GroupCommand::Commit { token, .. }))) => token,
            other => panic!("{other:?}"),
        }
    }

    fn poll_timeout(asked: &mut mpsc::UnboundedReceiver<Job>) -> Option<u64> {
        match asked.try_recv() {
            Ok(Job::Read(Command::Poll { timeout_ms, .. })) => Some(timeout_ms),
            _ => None,
        }
    }

    #[test]
    fn a_commit_ends_as_itself_and_not_as_one_that_was_dropped() {
        block_on(async {
            let (mut consumer, mut asked, tell) = consumer();
            dropped(consumer.commit()).await;
            dropped(consumer.commit()).await;
            let (first, second) = (commit(&mut asked), commit(&mut asked));
            let committed = |token| Event::Group(GroupEvent::Committed { token: Some(token), positions: Vec::new() });
            let failed = |token| {
                let error = ClientError::BufferFull;
                Event::Group(GroupEvent::CommitFailed { token, error, definite: true })
            };
            let third = second + (second - first);
            for event in [committed(first), failed(second), committed(third)] {
                tell.send(event).expect("the consumer lives");
            }
            assert_eq!(consumer.commit().await, Ok(()));
            assert_eq!(commit(&mut asked), third);
            dropped(consumer.commit()).await;
            let fourth = commit(&mut asked);
            tell.send(committed(fourth)).expect("the consumer lives");
            tell.send(failed(fourth + 1)).expect("the consumer lives");
            assert!(consumer.commit().await.is_err());
        });
    }

    #[test]
    fn a_poll_ends_in_its_own_time_though_one_that_was_dropped_goes_on() {
        const LONG: Duration = Duration::from_secs(1_000);
        block_on(async {
            let (mut consumer, mut asked, tell) = consumer();
            dropped(consumer.poll(LONG)).await;
            assert!(poll_timeout(&mut asked).is_some_and(|ms| (900_000..=1_000_000).contains(&ms)));
            assert_eq!(consumer.poll(Duration::from_millis(1)).await.expect("nothing failed"), []);
            assert_eq!(poll_timeout(&mut asked), None, "it still goes on");
            // The one that goes on ends with nothing: this one has time left, and begins its own.
            tell.send(Event::Polled { token: 0, records: Vec::new() }).expect("the consumer lives");
            dropped(consumer.poll(LONG)).await;
            assert!(poll_timeout(&mut asked).is_some_and(|ms| (900_000..=1_000_000).contains(&ms)));
            tell.send(Event::Polled { token: 0, records: Vec::new() }).expect("the consumer lives");
            assert_eq!(consumer.poll(Duration::ZERO).await.expect("nothing failed"), []);
        });
    }
}
