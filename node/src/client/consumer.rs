//! Reading records.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// What the program has assigned itself.
    read: BTreeSet<TopicPartition>,
    /// What is paused while a commit looks at what was taken; or was, if that commit's future was dropped.
    paused: BTreeSet<TopicPartition>,
    /// Whether a poll is under way, or brought what nobody was given yet: a future that was dropped leaves it so, and
    /// the next one takes what it brings.
    polling: bool,
    /// Where the program went on elsewhere meanwhile: what that poll brings before this mark is of the old place.
    moved: BTreeMap<TopicPartition, u64>,
    /// The number of the last commit or mark.
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
        Ok(Self::with(handle, events))
    }

    fn with(handle: Handle, events: mpsc::UnboundedReceiver<Event>) -> Self {
        Self {
            handle,
            events,
            held: VecDeque::new(),
            assigned: BTreeSet::new(),
            read: BTreeSet::new(),
            paused: BTreeSet::new(),
            polling: false,
            moved: BTreeMap::new(),
            commits: 0,
        }
    }

    /// Reads a partition from a place; if it is read already, from this place now.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub fn assign(&mut self, partition: TopicPartition, start: Start) -> Result<(), Error> {
        self.read.insert(partition.clone());
        self.go(partition.clone(), Command::Assign { partition, start })
    }

    /// Reads a partition no more.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub fn unassign(&mut self, partition: TopicPartition) -> Result<(), Error> {
        self.read.remove(&partition);
        self.go(partition.clone(), Command::Unassign { partition })
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

    /// Commits the place behind all that polls have returned, and waits until that is done. What a poll took whose
    /// future was dropped comes again.
    ///
    /// # Errors
    /// Why it was not done; [`Error::is_definite`] says whether it may have been all the same.
    pub async fn commit(&mut self) -> Result<(), Error> {
        if self.polling {
            self.put_back().await?;
        }
        self.commits += 1;
        let ours = self.commits;
        self.submit(GroupCommand::Commit { token: ours, positions: None, retry: true })?;
        self.resume()?;
        if let GroupEvent::CommitFailed { error, definite, .. } = self.answer(ours).await? {
            return Err(Error::Failed { error, definite, trouble: self.handle.trouble() });
        }
        Ok(())
    }

    /// Goes on elsewhere in a partition, if it is read, or the group's and still ours: also to have again, or to leave
    /// to others, what was polled and not dealt with.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub fn seek(&mut self, partition: TopicPartition, start: Start) -> Result<(), Error> {
        self.go(partition.clone(), Command::Seek { partition, start })
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
        self.resume().map_err(|_| ConsumeError::Closed)?;
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
                    let records = self.of_here(records);
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

    /// What of it was taken where the program still is.
    fn of_here(&self, mut polled: Vec<PolledRecords>) -> Vec<PolledRecords> {
        polled.retain(|polled| !self.moved.contains_key(&polled.partition));
        polled
    }

    /// Begins, goes on elsewhere, or ends. What a poll that is under way has taken before is of no use then: between
    /// the pause and the mark nothing is taken, so all that comes behind the mark is of the new place.
    fn go(&mut self, partition: TopicPartition, command: Command) -> Result<(), Error> {
        if !self.polling {
            return self.handle.submit(Job::Read(command));
        }
        self.handle.submit(Job::Read(Command::Pause { partitions: vec![partition.clone()] }))?;
        let mark = self.mark()?;
        self.moved.insert(partition.clone(), mark);
        self.handle.submit(Job::Read(command))?;
        self.handle.submit(Job::Read(Command::Resume { partitions: vec![partition] }))
    }

    /// A commit of nothing: whatever the group does, it is answered at once, behind all that was told before.
    fn mark(&mut self) -> Result<u64, Error> {
        self.commits += 1;
        self.submit(GroupCommand::Commit { token: self.commits, positions: Some(Vec::new()), retry: false })?;
        Ok(self.commits)
    }

    /// Waits for the end of a commit or a mark. All else is for the next poll.
    async fn answer(&mut self, ours: u64) -> Result<GroupEvent, Error> {
        loop {
            let event = self.events.recv().await.ok_or(Error::Closed)?;
            if let Event::Group(event) = &event
                && token_of(event) == Some(ours)
            {
                return Ok(event.clone());
            }
            self.held.push_back(event);
        }
    }

    /// A poll whose future was dropped may have taken records, or be about to: now it takes none, and those are not
    /// dealt with, as nobody was given them.
    async fn put_back(&mut self) -> Result<(), Error> {
        loop {
            let known = self.known();
            self.handle.submit(Job::Read(Command::Pause { partitions: known.iter().cloned().collect() }))?;
            self.paused.extend(known.iter().cloned());
            let mark = self.mark()?;
            self.answer(mark).await?;
            // The group may have given more while nobody looked.
            if self.known() == known {
                break;
            }
        }
        for event in std::mem::take(&mut self.held) {
            if let Event::Group(event) = &event {
                self.pass(event);
            }
            let Event::Polled { records, .. } = event else {
                self.held.push_back(event);
                continue;
            };
            self.polling = false;
            for PolledRecords { partition, records, .. } in self.of_here(records) {
                if let Some(first) = records.first() {
                    self.seek(partition, Start::Offset(first.offset))?;
                }
            }
        }
        Ok(())
    }

    /// All that is read, with what no poll has told yet.
    fn known(&self) -> BTreeSet<TopicPartition> {
        let mut known: BTreeSet<_> = self.assigned.union(&self.read).cloned().collect();
        for event in &self.held {
            if let Event::Group(GroupEvent::Assigned { partitions }) = event {
                known.extend(partitions.iter().cloned());
            }
        }
        known
    }

    fn resume(&mut self) -> Result<(), Error> {
        if self.paused.is_empty() {
            return Ok(());
        }
        let partitions = std::mem::take(&mut self.paused).into_iter().collect();
        self.handle.submit(Job::Read(Command::Resume { partitions }))
    }

    /// Behind a mark comes nothing of an old place.
    fn pass(&mut self, event: &GroupEvent) {
        if let Some(token) = token_of(event) {
            self.moved.retain(|_, mark| *mark != token);
        }
    }

    fn submit(&self, command: GroupCommand) -> Result<(), Error> {
        self.handle.submit(Job::Read(Command::Group(command)))
    }

    fn on_group(&mut self, event: GroupEvent) -> Result<(), ConsumeError> {
        self.pass(&event);
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

/// Of which commit or mark this is the end.
const fn token_of(event: &GroupEvent) -> Option<u64> {
    match event {
        GroupEvent::Committed { token, .. } => *token,
        GroupEvent::CommitFailed { token, .. } => Some(*token),
        GroupEvent::Assigned { .. }
        | GroupEvent::Revoked { .. }
        | GroupEvent::Lost { .. }
        | GroupEvent::PositionsKept { .. }
        | GroupEvent::PositionsNotKnown { .. }
        | GroupEvent::Failed { .. }
        | GroupEvent::Unsubscribed { .. }
        | GroupEvent::Closed { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_core::client::{ClientError, FetchedRecord};
    use ottla_core::types::LeaderEpoch;

    use super::*;

    /// A consumer, and the driver's ends: what it asks for, and what it is told.
    fn consumer() -> (Consumer, mpsc::UnboundedReceiver<Job>, mpsc::UnboundedSender<Event>) {
        let (jobs, asked) = mpsc::unbounded_channel();
        let (tell, events) = mpsc::unbounded_channel();
        let handle = Handle { jobs, trouble: Arc::default() };
        (Consumer::with(handle, events), asked, tell)
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

    fn partition(index: i32) -> TopicPartition {
        TopicPartition::new("t", index)
    }

    /// What a poll took of one partition: the record at this offset.
    fn polled(index: i32, offset: i64) -> PolledRecords {
        let record = FetchedRecord {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(0),
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        PolledRecords { partition: partition(index), records: vec![record], position: Offset(offset + 1) }
    }

    /// Answers commits and marks as the machine does, and says all that it was asked for.
    async fn drive(asked: &mut mpsc::UnboundedReceiver<Job>, tell: &mpsc::UnboundedSender<Event>) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let job = asked.recv().await;
            let Some(Job::Read(command)) = job else { panic!("{job:?}") };
            #[expect(clippy::wildcard_enum_match_arm, reason = "a consumer asks for nothing else")]
            said.push(match &command {
                Command::Group(GroupCommand::Commit { token, positions, .. }) => {
                    let committed = GroupEvent::Committed { token: Some(*token), positions: Vec::new() };
                    tell.send(Event::Group(committed)).expect("the consumer lives");
                    match positions {
                        None => return said,
                        Some(_) => "mark".to_owned(),
                    }
                }
                Command::Pause { partitions } => format!("pause {}", partitions.len()),
                Command::Resume { partitions } => format!("resume {}", partitions.len()),
                Command::Seek { partition, start: Start::Offset(offset) } => format!("seek {partition}@{offset}"),
                Command::Assign { partition, .. } => format!("assign {partition}"),
                other => panic!("{other:?}"),
            });
        }
    }

    #[test]
    fn a_commit_puts_back_what_nobody_was_given() {
        const LONG: Duration = Duration::from_secs(1_000);
        block_on(async {
            let (mut consumer, mut asked, tell) = consumer();
            consumer.assign(partition(0), Start::Earliest).expect("it is there");
            dropped(consumer.poll(LONG)).await;
            assert!(matches!(asked.try_recv(), Ok(Job::Read(Command::Assign { .. }))));
            assert!(poll_timeout(&mut asked).is_some());
            tell.send(Event::Group(GroupEvent::Assigned { partitions: vec![partition(1)] })).expect("it lives");
            tell.send(Event::Polled { token: 0, records: vec![polled(0, 5), polled(1, 7)] }).expect("it lives");
            let (committed, said) = tokio::join!(consumer.commit(), drive(&mut asked, &tell));
            assert_eq!(committed, Ok(()));
            // The second was given by the group while nobody looked.
            assert_eq!(said, ["pause 1", "mark", "pause 2", "mark", "seek t-0@5", "seek t-1@7"]);
            assert!(matches!(asked.try_recv(), Ok(Job::Read(Command::Resume { partitions })) if partitions.len() == 2));
            // What was put back comes of a new poll; what else was told is not lost.
            dropped(consumer.poll(LONG)).await;
            assert!(poll_timeout(&mut asked).is_some());
            assert!(consumer.assignment().eq([&partition(1)]));
            tell.send(Event::Polled { token: 0, records: vec![polled(0, 5)] }).expect("it lives");
            assert_eq!(consumer.poll(LONG).await.expect("nothing failed"), [polled(0, 5)]);
            // Nothing is on its way: the machine knows the places best.
            let (committed, said) = tokio::join!(consumer.commit(), drive(&mut asked, &tell));
            assert_eq!((committed, said), (Ok(()), vec![]));
        });
    }

    #[test]
    fn nothing_stays_paused_when_a_commit_is_dropped() {
        block_on(async {
            let (mut consumer, mut asked, _tell) = consumer();
            consumer.assign(partition(0), Start::Earliest).expect("it is there");
            dropped(consumer.poll(Duration::from_secs(1_000))).await;
            dropped(consumer.commit()).await;
            dropped(consumer.poll(Duration::from_secs(1_000))).await;
            let asked: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
            assert!(matches!(asked.last(), Some(Job::Read(Command::Resume { .. }))), "{asked:?}");
        });
    }

    #[test]
    fn what_a_poll_took_before_a_seek_is_of_no_use_behind_it() {
        const LONG: Duration = Duration::from_secs(1_000);
        block_on(async {
            let (mut consumer, mut asked, tell) = consumer();
            dropped(consumer.poll(LONG)).await;
            assert!(poll_timeout(&mut asked).is_some());
            consumer.seek(partition(0), Start::Offset(Offset(2))).expect("it lives");
            // The poll that was dropped has taken them before; of the others they are as good as ever.
            tell.send(Event::Polled { token: 0, records: vec![polled(0, 5), polled(1, 7)] }).expect("it lives");
            assert_eq!(consumer.poll(LONG).await.expect("nothing failed"), [polled(1, 7)]);
            let (committed, said) = tokio::join!(consumer.commit(), drive(&mut asked, &tell));
            assert_eq!(
                (committed, said),
                (Ok(()), ["pause 1", "mark", "seek t-0@2", "resume 1"].map(Into::into).into())
            );

            // One that goes on takes from the new place, behind the mark.
            dropped(consumer.poll(LONG)).await;
            assert!(poll_timeout(&mut asked).is_some());
            consumer.assign(partition(0), Start::Offset(Offset(3))).expect("it lives");
            let driver = async {
                let said = [(); 4].map(|()| asked.try_recv().expect("it was asked for"));
                let Job::Read(Command::Group(GroupCommand::Commit { token, .. })) = said[1] else { panic!("{said:?}") };
                let error = ClientError::NoGroup;
                let failed = GroupEvent::CommitFailed { token, error, definite: true };
                tell.send(Event::Group(failed)).expect("the consumer lives");
                tell.send(Event::Polled { token: 0, records: vec![polled(0, 3)] }).expect("the consumer lives");
            };
            driver.await;
            assert_eq!(consumer.poll(LONG).await.expect("nothing failed"), [polled(0, 3)]);
        });
    }
}
