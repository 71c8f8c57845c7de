//! The logs as the machine wrote them, followed from its effects, and as they lie on the disk.
//!
//! The followed log is what checkers compare with: every batch that was ever appended, and what the log held
//! at each moment. After a crash it is read anew from the disk. Only headers are kept; a batch's CRC stands
//! for its content.

mod image;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use ottla_core::controller::METADATA_TOPIC;
use ottla_core::machine::{FileAction, FileId, LogDirId, Path};
use ottla_core::record::{BatchHeader, HEADER_LEN, Producer};
use ottla_core::types::TopicPartition;

pub use self::image::{LogImage, SegmentImage, read_logs};
use self::image::{read_segment, segment_of};
use crate::disk::Operation;

/// A batch, without its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRef {
    /// Its first offset.
    pub base: i64,
    /// Its last offset.
    pub last: i64,
    /// The leader epoch in which it was appended.
    pub epoch: i32,
    /// What stands for its content.
    pub crc: u32,
    /// Where it lies in its segment.
    pub pos: u64,
    /// The base offset of its segment.
    pub segment: i64,
    /// Who produced it.
    pub producer: Producer,
    /// The greatest timestamp in it.
    pub max_timestamp: i64,
    /// Whether it is a control batch.
    pub control: bool,
}

/// One followed log.
#[derive(Clone, Debug, Default)]
pub struct FollowedLog {
    /// What it holds.
    pub batches: Vec<BatchRef>,
    /// All that was ever appended: (base offset, leader epoch, CRC).
    ever: BTreeSet<(i64, i32, u32)>,
    /// Below it all was acknowledged, so it must survive whatever it survives.
    pub promised: i64,
    /// The same for acks=all alone: it survives power loss, too.
    promised_durable: i64,
    /// Below it all is deleted, as the directory's file said when the last process ended.
    pub deleted: i64,
    /// Below it a running process has deleted segments, whether or not the directory's file says so by now.
    pub retired: i64,
    /// Below it a running process had nothing more, be it that its leader had not.
    pub begun: i64,
    /// Where the log ended when its last successful sync was issued: below it all is synced.
    pub synced: i64,
    /// Below it compaction may have taken records away.
    pub holes: i64,
    /// Batches that were sent after they had gone bad under the process that wrote or checked them, by first and last
    /// offset. Their readers have to refuse them.
    excused: Vec<(i64, i64)>,
    /// Whether the disk has damaged one of its files. Then acks=1 promises nothing any more: what lies above the
    /// journal's claim and cannot be read is a torn tail to whoever finds it.
    pub damaged: bool,
    /// The same, or it had, and the log was made anew since: what a crash brings back is damaged still.
    pub rotted: bool,
    /// What it was before it was made anew under its name: a crash may bring that back.
    before: Option<Box<FollowedLog>>,
}

/// The logs of one node.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    logs: BTreeMap<TopicPartition, FollowedLog>,
    open: BTreeMap<FileId, (TopicPartition, i64)>,
    /// Syncs under way: the segment's base offset, and where it ended when they were issued.
    syncing: BTreeMap<u64, (TopicPartition, i64, i64)>,
    /// Segments that take the place of older ones, by their base and last offsets.
    swaps: Vec<(TopicPartition, i64, i64)>,
    /// Where a log ended at most on a disk that is gone, or before it was made anew.
    had: BTreeMap<TopicPartition, i64>,
    /// Whether the disk has damaged any file at all.
    pub rotten: bool,
    /// Whether it has damaged more than files of partitions, each of which concerns but its own.
    pub beyond: bool,
    /// Whether the present process has appended to any.
    pub written: bool,
}

/// What an effect did to the followed logs.
#[derive(Clone, Debug)]
pub enum Change {
    /// A batch was appended; the log ended at `end` before.
    Appended { log: TopicPartition, batch: BatchRef, end: i64 },
    /// A segment was made.
    Rolled { log: TopicPartition, segment: i64, end: i64 },
    /// The log was cut, and ends at `end` now.
    Cut { log: TopicPartition, end: i64 },
}

impl BatchRef {
    /// The batch that a header begins.
    #[must_use]
    pub fn of(header: &BatchHeader, pos: u64, segment: i64) -> Self {
        Self {
            base: header.base_offset.0,
            last: header.base_offset.0 + i64::from(header.last_offset_delta),
            epoch: header.leader_epoch.0,
            crc: header.crc,
            pos,
            segment,
            producer: header.producer,
            max_timestamp: header.max_timestamp,
            control: header.attributes.is_control(),
        }
    }
}

impl FollowedLog {
    /// Where it begins, as far as that is known of an empty one.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.batches.first().map_or(self.gone(), |batch| batch.base)
    }

    /// Below it there is nothing, or need not be.
    #[must_use]
    pub fn gone(&self) -> i64 {
        self.deleted.max(self.retired).max(self.begun)
    }

    /// The offset after its last record; 0 for an empty log.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.last + 1)
    }

    /// The batch that holds an offset.
    #[must_use]
    pub fn find(&self, offset: i64) -> Option<&BatchRef> {
        let index = self.batches.partition_point(|batch| batch.last < offset);
        self.batches.get(index).filter(|batch| batch.base <= offset)
    }

    /// The last batch that begins below an offset.
    #[must_use]
    pub fn below(&self, offset: i64) -> Option<&BatchRef> {
        let place = self.batches.partition_point(|batch| batch.base < offset);
        place.checked_sub(1).map(|place| &self.batches[place])
    }

    /// The last batch of what a replica counts: the files of a log that was begun anew go a little later.
    #[must_use]
    pub fn last_of(&self, counted: Range<i64>) -> Option<&BatchRef> {
        self.below(counted.end).filter(|last| last.last >= counted.start)
    }

    /// The batches that reach an offset or lie above it.
    #[must_use]
    pub fn from(&self, offset: i64) -> &[BatchRef] {
        &self.batches[self.batches.partition_point(|batch| batch.last < offset)..]
    }

    /// Whether what lay at an offset is deleted from its front.
    #[must_use]
    pub fn deletes(&self, offset: i64) -> bool {
        offset < self.deleted.max(self.retired)
    }

    /// Whether this very batch was ever appended to this log.
    #[must_use]
    pub fn ever_held(&self, batch: &BatchRef) -> bool {
        self.ever.contains(&(batch.base, batch.epoch, batch.crc))
    }

    /// Whether it is made anew, and has nothing yet: what lies there may be what it was before.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.before.is_some() && !self.has_held_any()
    }

    /// Whether what lies there is what it was before it was made anew.
    fn is_before(&self, image: &LogImage) -> bool {
        let Some(before) = &self.before else { return false };
        let mut batches = image.segments.iter().flat_map(|segment| &segment.batches);
        batches.any(|batch| !self.ever_held(batch) && before.ever_held(batch))
    }

    /// Whether anything was ever appended to this log.
    #[must_use]
    pub fn has_held_any(&self) -> bool {
        !self.ever.is_empty()
    }

    /// Whether the batch that holds an offset may have been sent bad.
    #[must_use]
    pub fn is_excused(&self, offset: i64) -> bool {
        self.excused.iter().any(|&(base, last)| base <= offset && offset <= last)
    }

    /// The first offset from `from` on, and below `to`, that was not sent bad; or else `to`.
    #[must_use]
    pub fn past_excused(&self, from: i64, to: i64) -> i64 {
        let mut at = from;
        while at < to
            && let Some((_, last)) = self.excused.iter().find(|&&(base, last)| base <= at && at <= last)
        {
            at = last.saturating_add(1);
        }
        at.min(to)
    }

    /// The directory's file says that all below `offset` is deleted. Of a log that is deleted whole the power loss may
    /// have brought a segment back, and not the last one: it goes on at `offset` all the same.
    pub fn note_deleted(&mut self, offset: i64) {
        self.deleted = offset;
        if self.end() <= offset {
            self.batches.clear();
        }
    }

    fn note_damage(&mut self) {
        (self.damaged, self.rotted) = (true, true);
        self.promised = self.promised_durable;
    }

    /// Everything below `end` was acknowledged.
    pub fn promise(&mut self, end: i64, acks_all: bool) {
        if acks_all || !self.damaged {
            self.promised = self.promised.max(end);
        }
        if acks_all {
            self.promised_durable = self.promised_durable.max(end);
        }
    }

    /// Appends a batch.
    pub fn append(&mut self, batch: BatchRef) {
        self.ever.insert((batch.base, batch.epoch, batch.crc));
        self.batches.push(batch);
    }

    /// A segment that compaction wrote takes the place of all from its base to its last offset.
    fn replace(&mut self, base: i64, new: &[BatchRef]) -> Option<i64> {
        let last = new.last()?.last;
        self.ever.extend(new.iter().map(|batch| (batch.base, batch.epoch, batch.crc)));
        self.batches.retain(|batch| batch.base < base || batch.base > last);
        let at = self.batches.partition_point(|batch| batch.base < base);
        self.batches.splice(at..at, new.iter().copied());
        self.holes = self.holes.max(last + 1);
        Some(last)
    }

    /// The batches that lie at `pos` or after it in a segment, and all after that segment, are cut off.
    fn cut(&mut self, segment: i64, pos: u64) {
        let at = self.batches.partition_point(|batch| (batch.segment, batch.pos) < (segment, pos));
        self.batches.truncate(at);
        self.synced = self.synced.min(self.end());
    }
}

impl Logs {
    /// One log.
    #[must_use]
    pub fn get(&self, log: &TopicPartition) -> Option<&FollowedLog> {
        self.logs.get(log)
    }

    /// One log, to be changed.
    pub fn get_mut(&mut self, log: &TopicPartition) -> Option<&mut FollowedLog> {
        self.logs.get_mut(log)
    }

    /// One log, made where it is new.
    pub fn entry(&mut self, log: &TopicPartition) -> &mut FollowedLog {
        if !self.logs.contains_key(log) {
            self.logs.insert(log.clone(), FollowedLog::default());
        }
        self.logs.get_mut(log).expect("it was just made")
    }

    /// All logs.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &FollowedLog)> {
        self.logs.iter()
    }

    /// Bits of a file flip on the disk; the log too is damaged that it belongs to. `others`: there are copies of that,
    /// and all else of the node is as sound as before.
    pub fn damage(&mut self, path: &str, others: bool) {
        let of_partition = path.split_once('/').and_then(|(dir, _)| TopicPartition::from_dir_name(dir));
        self.beyond |= !others && of_partition.is_none_or(|log| &*log.topic == METADATA_TOPIC);
        self.note_damage(path, others);
    }

    /// A write has gone elsewhere, or nowhere: what else is in disorder nobody knows.
    pub fn damage_by_write(&mut self, path: &str) {
        self.beyond = true;
        self.note_damage(path, false);
    }

    fn note_damage(&mut self, path: &str, others: bool) {
        self.rotten |= !others;
        // Kafka's format has nothing that tells, and it says of every log where that begins.
        if path.starts_with("log-start-offset-checkpoint") {
            self.logs.values_mut().for_each(FollowedLog::note_damage);
        }
        let dir = path.split_once('/').and_then(|(dir, _)| TopicPartition::from_dir_name(dir));
        if let Some(log) = dir.and_then(|name| self.logs.get_mut(&name)) {
            log.note_damage();
        }
    }

    /// Bytes of a file were sent after they had gone bad under the process that had them in hand.
    pub fn excuse(&mut self, path: &str, bytes: Range<u64>) {
        let Some((name, segment)) = segment_of(&Path::new(LogDirId(0), path)) else { return };
        let Some(log) = self.logs.get_mut(&name) else { return };
        let of_segment = || log.batches.iter().filter(|batch| batch.segment == segment);
        let ends = of_segment().skip(1).map(|batch| batch.pos).chain([u64::MAX]);
        let hit = of_segment().zip(ends).filter(|(batch, end)| batch.pos < bytes.end && bytes.start < *end);
        let hit: Vec<(i64, i64)> = hit.map(|(batch, _)| (batch.base, batch.last)).collect();
        log.excused.extend(hit);
    }

    /// A new process serves: it has to look at what it did not write.
    pub fn forget_excuses(&mut self) {
        self.logs.values_mut().for_each(|log| log.excused.clear());
    }

    /// Whether there may be a hole between two batches: power was lost, and no process has looked yet.
    #[must_use]
    pub const fn is_torn(&self, before: &BatchRef, next: &BatchRef) -> bool {
        !self.written && before.last + 1 < next.base
    }

    /// The log that an open file is a segment of.
    #[must_use]
    pub fn log_of(&self, file: FileId) -> Option<&TopicPartition> {
        self.open.get(&file).map(|(log, _)| log)
    }

    /// A file operation is issued.
    pub fn on_issue(&mut self, op: u64, operation: &Operation) -> Option<Change> {
        match operation {
            Operation::Write { file, pos, head, rest } => self.on_write(*file, *pos, head, rest),
            Operation::Sync { file } => {
                if let Some((log, base)) = self.open.get(file) {
                    // What lies in later segments is not synced by this.
                    let batches = self.logs.get(log).map_or(&[][..], |log| &log.batches);
                    let last = batches.iter().rfind(|batch| batch.segment <= *base);
                    self.syncing.insert(op, (log.clone(), *base, last.map_or(0, |last| last.last + 1)));
                }
                None
            }
            Operation::Action(action) => self.on_action(action),
        }
    }

    /// A segment that compaction wrote is complete, and is about to replace others: answers which log's it is.
    pub fn on_swap(&mut self, cleaned: &str, bytes: &Bytes) -> Option<TopicPartition> {
        let (name, base) = segment_of(&Path::new(LogDirId(0), cleaned.trim_end_matches(".cleaned")))?;
        let (new, _) = read_segment(bytes, base);
        let last = self.entry(&name).replace(base, &new)?;
        self.swaps.push((name.clone(), base, last));
        Some(name)
    }

    /// The disk is replaced. What its metadata log ever held others may have been sent, and may take in yet.
    pub fn on_wipe(&mut self) {
        let names: Vec<TopicPartition> = self.logs.keys().cloned().collect();
        names.iter().for_each(|name| self.note_had(name));
        let metadata = TopicPartition::new(METADATA_TOPIC, 0);
        self.forget(&metadata);
        if let Some(log) = self.logs.get_mut(&metadata) {
            log.damaged = false;
        }
        let had = std::mem::take(&mut self.had);
        *self = Self { logs: self.logs.remove_entry(&metadata).into_iter().collect(), had, ..Self::default() };
    }

    /// Below it a disk that is gone, or a log before it was made anew, may have had what others count on.
    #[must_use]
    pub fn had(&self, name: &TopicPartition) -> i64 {
        self.had.get(name).copied().unwrap_or(0)
    }

    fn note_had(&mut self, name: &TopicPartition) {
        let Some(log) = self.logs.get(name) else { return };
        let end = log.end().max(log.synced).max(log.promised);
        let had = self.had.entry(name.clone()).or_default();
        *had = end.max(*had);
    }

    /// A log has moved to other nodes: nothing of it is owed here. A start may find it yet, and go on with it.
    pub fn forget(&mut self, name: &TopicPartition) {
        if let Some(log) = self.logs.get_mut(name) {
            let ever = std::mem::take(&mut log.ever);
            let before = log.before.take();
            *log = FollowedLog { ever, damaged: log.damaged, rotted: log.rotted, before, ..FollowedLog::default() };
        }
    }

    /// A log is made anew: nothing of what it was is owed.
    pub fn mend(&mut self, name: &TopicPartition) {
        self.note_had(name);
        if let Some(log) = self.logs.get_mut(name) {
            let mut old = std::mem::take(log);
            let older = old.before.take();
            (log.rotted, log.before) = (old.rotted, if old.ever.is_empty() { older } else { Some(Box::new(old)) });
        }
    }

    /// A sync ended; answers its log. Several segments may be synced at once, in any order.
    pub fn on_synced(&mut self, op: u64, good: bool) -> Option<TopicPartition> {
        let (name, base, end) = self.syncing.remove(&op)?;
        if good {
            // Where one before it is not synced yet, that one says so for both.
            let before = self.syncing.values_mut().filter(|(log, other, _)| *log == name && *other < base);
            if let Some((_, _, pending)) = before.max_by_key(|(_, other, _)| *other) {
                *pending = end.max(*pending);
            } else {
                let log = self.logs.get_mut(&name)?;
                log.synced = log.synced.max(end.min(log.end()));
            }
        }
        Some(name)
    }

    /// The process died, and the disk holds what `images` say: each followed log becomes what can be read of it. Of a
    /// damaged one, which nobody may cut at the damage, all that has a place in its file is kept.
    /// `loss`: the power went, and with it every promise that is not durable; `Some(false)`: all of them.
    pub fn on_crash(&mut self, images: &BTreeMap<TopicPartition, LogImage>, loss: Option<bool>) {
        self.open.clear();
        self.syncing.clear();
        self.swaps.clear();
        for (name, image) in images {
            self.swaps.extend(image.swaps.iter().map(|(base, last)| (name.clone(), *base, *last)));
        }
        self.written = false;
        for (name, log) in &mut self.logs {
            let image = images.get(name);
            if image.is_some_and(|image| log.is_before(image))
                && let Some(before) = log.before.take()
            {
                *log = *before;
            }
            if log.damaged {
                log.batches = image.map(|image| image.placed(log)).unwrap_or_default();
            } else {
                log.batches = image.map(LogImage::readable).unwrap_or_default();
            }
            log.synced = log.synced.min(log.end());
        }
        if let Some(durable) = loss {
            self.on_loss(durable);
        }
    }

    /// What was not durable may be gone: by a power loss, or because storage failed, and the next start trusts
    /// nothing that was not synced. `durable`: whether acks=all promises more than that.
    pub fn on_loss(&mut self, durable: bool) {
        for log in self.logs.values_mut() {
            log.promised = if durable { log.promised_durable } else { 0 };
            log.promised_durable = log.promised;
        }
    }

    fn on_write(&mut self, file: FileId, pos: u64, head: &Bytes, rest: &Bytes) -> Option<Change> {
        let (name, segment) = self.open.get(&file)?.clone();
        let mut header = [0; HEADER_LEN];
        let have = head.len().min(HEADER_LEN);
        header[..have].copy_from_slice(&head[..have]);
        let more = (HEADER_LEN - have).min(rest.len());
        header[have..have + more].copy_from_slice(&rest[..more]);
        let header = BatchHeader::parse(&header).ok()?;
        let batch = BatchRef::of(&header, pos, segment);
        self.written = true;
        let log = self.entry(&name);
        let end = log.end();
        log.append(batch);
        Some(Change::Appended { log: name, batch, end })
    }

    fn on_action(&mut self, action: &FileAction) -> Option<Change> {
        match action {
            FileAction::Open { file, path, .. } => {
                let (log, segment) = segment_of(path)?;
                let is_new = !self.open.values().any(|open| *open == (log.clone(), segment));
                self.open.insert(*file, (log.clone(), segment));
                let starts = !self.written;
                let followed = self.entry(&log);
                let mut end = followed.end();
                // A metadata log goes on behind a snapshot: all below is in that. What a crash left of it goes later.
                if &*log.topic == METADATA_TOPIC && segment > end {
                    followed.retired = followed.retired.max(segment);
                    if starts {
                        followed.batches.clear();
                        end = 0;
                    }
                }
                is_new.then_some(Change::Rolled { log, segment, end })
            }
            FileAction::CloseFile { file } => {
                self.open.remove(file);
                None
            }
            FileAction::SetLen { file, len } => {
                let (log, segment) = self.open.get(file)?.clone();
                let followed = self.entry(&log);
                followed.cut(segment, *len);
                let end = followed.end();
                Some(Change::Cut { log, end })
            }
            FileAction::Rename { from: path, .. } | FileAction::Remove { path } => {
                if path.name.ends_with(".log.swap") {
                    let named = segment_of(&Path::new(path.dir, path.name.trim_end_matches(".swap")));
                    self.swaps.retain(|(log, base, _)| named != Some((log.clone(), *base)));
                }
                self.on_gone(path);
                None
            }
            FileAction::MakeDir { .. }
            | FileAction::List { .. }
            | FileAction::SyncDir { .. }
            | FileAction::Forget { .. }
            | FileAction::Read { .. }
            | FileAction::FreeSpace { .. } => None,
        }
    }

    /// A segment's or a log's name goes away.
    fn on_gone(&mut self, path: &Path) {
        if let Some((name, segment)) = segment_of(path) {
            let is_replaced =
                |(log, base, last): &(TopicPartition, i64, i64)| *log == name && (*base..=*last).contains(&segment);
            if self.swaps.iter().any(is_replaced) {
                return;
            }
            // A log that goes on elsewhere with nothing of what it had drops its last one, too.
            let goes_on = self.open.values().any(|(log, base)| *log == name && *base > segment);
            if let Some(log) = self.logs.get_mut(&name) {
                // What goes from the front is deleted; what goes from the end is cut, and promised as before.
                if goes_on && log.batches.first().is_some_and(|first| first.segment == segment) {
                    let last = log.batches.iter().rfind(|batch| batch.segment == segment);
                    log.retired = log.retired.max(last.map_or(0, |last| last.last + 1));
                }
                log.batches.retain(|batch| batch.segment != segment);
                log.synced = log.synced.min(log.end());
            }
        } else if let Some(name) = TopicPartition::from_dir_name(&path.name) {
            self.open.retain(|_, (log, _)| *log != name);
            // One that is made anew already has nothing yet.
            if let Some(old) = self.logs.get_mut(&name).filter(|old| old.has_held_any()) {
                // A crash may bring it back under its old name, and nothing of it is owed.
                let (ever, damaged, rotted) = (std::mem::take(&mut old.ever), old.damaged, old.rotted);
                let before = FollowedLog { ever, damaged, rotted, ..FollowedLog::default() };
                *old = FollowedLog { before: Some(Box::new(before)), ..FollowedLog::default() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::{test_batch, test_ref};
    use ottla_core::machine::OpenMode;

    fn path(name: &str) -> Path {
        Path::new(LogDirId(0), name)
    }

    fn open(logs: &mut Logs, file: u32, name: &str) -> Option<Change> {
        let action = FileAction::Open { file: FileId(file), path: path(name), mode: OpenMode::Create };
        logs.on_issue(1, &Operation::Action(Box::new(action)))
    }

    fn append(logs: &mut Logs, file: u32, pos: u64, base: i64) -> Option<Change> {
        let bytes = test_batch(base, 0, &[b"value"]);
        let (head, rest) = (bytes.slice(..16), bytes.slice(16..));
        logs.on_issue(1, &Operation::Write { file: FileId(file), pos, head, rest })
    }

    #[test]
    fn appends_rolls_cuts_and_deletions_are_followed() {
        let mut logs = Logs::default();
        let log = TopicPartition::new("t", 0);
        assert!(open(&mut logs, 1, "t-0/00000000000000000000.index").is_none());
        assert!(matches!(
            open(&mut logs, 2, "t-0/00000000000000000000.log"),
            Some(Change::Rolled { segment: 0, end: 0, .. })
        ));
        for (pos, base) in [(0, 0), (100, 1), (200, 2)] {
            assert!(matches!(append(&mut logs, 2, pos, base), Some(Change::Appended { end, .. }) if end == base));
        }
        open(&mut logs, 3, "t-0/00000000000000000003.log");
        append(&mut logs, 3, 0, 3);
        assert_eq!(logs.get(&log).map(FollowedLog::end), Some(4));
        let cut = FileAction::SetLen { file: FileId(2), len: 150 };
        logs.on_issue(1, &Operation::Action(Box::new(cut)));
        assert_eq!(logs.get(&log).map(FollowedLog::end), Some(2));
        let gone = FileAction::Remove { path: path("t-0/00000000000000000000.log") };
        logs.on_issue(1, &Operation::Action(Box::new(gone)));
        assert_eq!(logs.get(&log).map(FollowedLog::end), Some(0));
    }

    #[test]
    fn a_log_that_is_deleted_whole_is_empty_whatever_a_power_loss_brings_back() {
        let mut followed = FollowedLog::default();
        (0..3).for_each(|base| followed.append(test_ref(base, base, 1)));
        followed.note_deleted(2);
        assert_eq!((followed.deleted, followed.end()), (2, 3));
        followed.note_deleted(5);
        assert_eq!((followed.deleted, followed.end()), (5, 0));
    }

    #[test]
    fn what_was_made_anew_may_be_what_it_was_after_a_crash() {
        let mut logs = Logs::default();
        let log = TopicPartition::new("t", 0);
        open(&mut logs, 1, "t-0/00000000000000000000.log");
        let _ = [(0, 0), (100, 1)].map(|(pos, base)| append(&mut logs, 1, pos, base));
        logs.get_mut(&log).unwrap().note_damage();
        let old = logs.get(&log).unwrap().batches.clone();
        let image = |batches: &[BatchRef]| {
            let segment = SegmentImage { batches: batches.to_vec(), whole: true, len: 200, ..SegmentImage::default() };
            [(log.clone(), LogImage { segments: vec![segment], swaps: Vec::new() })].into()
        };
        logs.mend(&log);
        let gone = FileAction::Rename { from: path("t-0"), to: path("t-0.0-delete") };
        logs.on_issue(1, &Operation::Action(Box::new(gone)));
        logs.mend(&log);
        open(&mut logs, 2, "t-0/00000000000000000000.log");
        append(&mut logs, 2, 0, 0);
        let known = |logs: &Logs| logs.get(&log).map(|it| (it.end(), it.damaged));
        let mut new = logs.clone();
        new.on_crash(&image(&old[..1]), None);
        assert_eq!(known(&new), Some((1, false)), "the same was appended anew");
        logs.on_crash(&image(&old), None);
        assert_eq!(known(&logs), Some((2, true)), "and this was not");
    }

    #[test]
    fn a_sync_of_a_segment_says_nothing_of_later_ones() {
        let mut logs = Logs::default();
        let log = TopicPartition::new("t", 0);
        open(&mut logs, 1, "t-0/00000000000000000000.log");
        append(&mut logs, 1, 0, 0);
        open(&mut logs, 2, "t-0/00000000000000000001.log");
        append(&mut logs, 2, 0, 1);
        let synced = |logs: &Logs| logs.get(&log).map(|log| log.synced);
        let sync = |logs: &mut Logs, file: u32| logs.on_issue(file.into(), &Operation::Sync { file: FileId(file) });
        let mut both = logs.clone();
        for file in [1, 2] {
            sync(&mut logs, file);
            logs.on_synced(file.into(), true);
            assert_eq!(synced(&logs), Some(file.into()));
        }
        (1..=2).for_each(|file| drop(sync(&mut both, file)));
        for (op, end) in [(2, 0), (1, 2)] {
            both.on_synced(op, true);
            assert_eq!(synced(&both), Some(end), "the first is not synced yet");
        }
    }

    #[test]
    fn what_moved_away_may_be_back_after_a_crash_and_owes_nothing() {
        let mut logs = Logs::default();
        let log = TopicPartition::new("t", 0);
        open(&mut logs, 1, "t-0/00000000000000000000.log");
        let _ = [(0, 0), (100, 1)].map(|(pos, base)| append(&mut logs, 1, pos, base));
        logs.get_mut(&log).unwrap().promise(2, true);
        let segment = SegmentImage { batches: logs.get(&log).unwrap().batches.clone(), ..SegmentImage::default() };
        let gone = FileAction::Rename { from: path("t-0"), to: path("t-0.0-delete") };
        logs.on_issue(1, &Operation::Action(Box::new(gone)));
        assert!(logs.get(&log).is_some_and(|it| !it.has_held_any() && it.promised == 0));
        logs.on_crash(&[(log.clone(), LogImage { segments: vec![segment], swaps: Vec::new() })].into(), Some(true));
        let back = logs.get(&log).unwrap();
        assert!(back.batches.iter().all(|batch| back.ever_held(batch)));
        assert_eq!((back.promised, back.batches.is_empty()), (0, false));
    }

    #[test]
    fn what_went_bad_in_hand_is_excused_until_the_next_process() {
        let mut logs = Logs::default();
        let log = TopicPartition::new("t", 0);
        open(&mut logs, 2, "t-0/00000000000000000000.log");
        for (pos, base) in [(0, 0), (100, 1), (200, 2)] {
            append(&mut logs, 2, pos, base);
        }
        logs.excuse("t-0/00000000000000000000.log", 120..180);
        let excused =
            |logs: &Logs| (0..4).filter(|offset| logs.get(&log).unwrap().is_excused(*offset)).collect::<Vec<_>>();
        assert_eq!(excused(&logs), [1]);
        logs.forget_excuses();
        assert!(excused(&logs).is_empty());
    }

    #[test]
    fn a_damaged_log_has_what_lies_there_and_what_lay_there_where_that_cannot_be_read() {
        let at = |base, last, crc, pos| BatchRef { pos, ..test_ref(base, last, crc) };
        let mut log = FollowedLog { damaged: true, ..FollowedLog::default() };
        // The second was lost, and something longer was written over it; then that was lost, and the first is back.
        for batch in [at(0, 0, 1, 0), at(1, 1, 2, 100)] {
            log.append(batch);
        }
        log.batches.pop();
        [at(1, 5, 3, 100), at(6, 6, 4, 200), at(7, 7, 5, 300)].into_iter().for_each(|batch| log.append(batch));
        let image = |batches: &[BatchRef], len| LogImage {
            segments: vec![SegmentImage {
                base: 0,
                batches: batches.to_vec(),
                sound: batches.last().map_or(0, |last| last.pos + 100),
                whole: false,
                len,
                index: None,
                time_index: None,
            }],
            swaps: Vec::new(),
        };
        let placed = |image: &LogImage| image.placed(&log).iter().map(|it| (it.base, it.last)).collect::<Vec<_>>();
        assert_eq!(placed(&image(&[at(0, 0, 1, 0), at(1, 1, 2, 100)], 150)), [(0, 0), (1, 1)]);
        assert_eq!(placed(&image(&[at(0, 0, 1, 0), at(1, 1, 2, 100)], 250)), [(0, 0), (1, 1), (6, 6)]);
        let mut longer = image(&[at(0, 0, 1, 0), at(1, 1, 2, 100)], 250);
        longer.segments[0].sound = 210;
        assert_eq!(placed(&longer), [(0, 0), (1, 1)], "something else lies where the next one began");
        // What cannot be read, or is not what was written, is as it was as far as the file goes.
        assert_eq!(placed(&image(&[], 300)), [(0, 0), (1, 5), (6, 6)]);
        assert_eq!(placed(&image(&[at(0, 0, 1, 0), at(9, 9, 3, 100)], 400)), [(0, 0), (1, 5), (6, 6), (7, 7)]);
    }

    #[test]
    fn a_segment_is_read_up_to_its_first_bad_batch() {
        let mut bytes = Vec::new();
        (0..3).for_each(|base| bytes.extend_from_slice(&test_batch(base, 0, &[b"value"])));
        let whole = Bytes::from(bytes.clone());
        assert_eq!(read_segment(&whole, 0).0.len(), 3);
        let second = whole.len() / 3;
        bytes[second + 65] ^= 1;
        let (found, end) = read_segment(&Bytes::from(bytes), 0);
        assert_eq!((found.len(), end), (1, second as u64));
        let (found, end) = read_segment(&whole.slice(..whole.len() - 1), 0);
        assert_eq!((found.len(), end), (2, 2 * second as u64));
    }
}
