//! What the disk holds of each log, as the present process would read it.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_core::machine::Path;
use ottla_core::record::batches;
use ottla_core::types::TopicPartition;

use super::{BatchRef, FollowedLog};
use crate::disk::Disk;

/// One log as it lies on the disk.
#[derive(Clone, Debug, Default)]
pub struct LogImage {
    /// Its segments by base offset. One that is complete and has not its name yet is in the place of what it replaces.
    pub segments: Vec<SegmentImage>,
    /// The base and last offsets of such.
    pub(super) swaps: Vec<(i64, i64)>,
}

/// One segment as it lies on the disk.
#[derive(Clone, Debug, Default)]
pub struct SegmentImage {
    /// The base offset of its name.
    pub base: i64,
    /// The batches from its start to the first that is cut or has a bad CRC.
    pub batches: Vec<BatchRef>,
    /// Where they end.
    pub sound: u64,
    /// Whether all its bytes are such batches.
    pub whole: bool,
    /// How many bytes it has.
    pub len: u64,
    /// Its offset index, if there is one.
    pub index: Option<Bytes>,
    /// Its time index, if there is one.
    pub time_index: Option<Bytes>,
}

impl LogImage {
    /// What a complete segment replaces is no part of the log, and of two of one base the complete one came last.
    fn settle(&mut self) {
        for &(base, last) in &self.swaps {
            let newest = self.segments.iter().rposition(|segment| segment.base == base);
            let mut at = 0;
            self.segments.retain(|segment| {
                at += 1;
                Some(at - 1) == newest || !(base..=last).contains(&segment.base)
            });
        }
        self.segments.sort_by_key(|segment| segment.base);
    }

    /// The batches that can be read from the start, without a gap between segments.
    #[must_use]
    pub fn readable(&self) -> Vec<BatchRef> {
        let mut all: Vec<BatchRef> = Vec::new();
        for segment in &self.segments {
            if all.last().is_some_and(|last| last.last >= segment.base) {
                break;
            }
            all.extend(&segment.batches);
            if !segment.whole {
                break;
            }
        }
        all
    }

    /// A log's batches that have a place in their segments, whatever bytes lie there. Up to where its own can be read
    /// a segment has what is read: a power loss may have brought back what an earlier one had taken.
    pub(super) fn placed(&self, log: &FollowedLog) -> Vec<BatchRef> {
        let mut placed: Vec<BatchRef> = Vec::new();
        for segment in &self.segments {
            let mut known = log.batches.iter().filter(|batch| batch.segment == segment.base).peekable();
            if known.peek().is_none() {
                continue;
            }
            let read = segment.batches.iter().take_while(|batch| log.ever_held(batch)).count();
            placed.extend(&segment.batches[..read]);
            let from = segment.batches.get(read).map_or(segment.sound, |next| next.pos);
            placed.extend(known.filter(|batch| from <= batch.pos && batch.pos < segment.len));
        }
        placed
    }

    /// The offset after the last batch that can be read.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.readable().last().map_or(0, |batch| batch.last + 1)
    }
}

/// Reads every log on a disk, as the running kernel shows it, without touching the page cache.
#[must_use]
pub fn read_logs(disk: &Disk) -> BTreeMap<TopicPartition, LogImage> {
    let mut logs: BTreeMap<TopicPartition, LogImage> = BTreeMap::new();
    let files = disk.files();
    let find = |name: &str| files.iter().find(|(_, path, _)| path == name).map(|(_, _, ino)| disk.peek(*ino));
    for (dir, path, ino) in &files {
        let (path, ending) = path.strip_suffix(".swap").map_or((path.as_str(), ""), |path| (path, ".swap"));
        let place = Path::new(ottla_core::machine::LogDirId(*dir), path);
        let Some((log, base)) = segment_of(&place) else { continue };
        let stem = path.trim_end_matches(".log");
        let bytes = disk.peek(*ino);
        let (batches, sound) = read_segment(&bytes, base);
        let image = logs.entry(log).or_default();
        if !ending.is_empty() {
            image.swaps.push((base, batches.last().map_or(base, |last| last.last)));
        }
        image.segments.push(SegmentImage {
            base,
            batches,
            sound,
            whole: sound == bytes.len() as u64,
            len: bytes.len() as u64,
            index: find(&format!("{stem}.index{ending}")),
            time_index: find(&format!("{stem}.timeindex{ending}")),
        });
    }
    logs.values_mut().for_each(LogImage::settle);
    logs
}

/// The batches of a segment up to the first bad one, and where they end.
pub(super) fn read_segment(bytes: &Bytes, segment: i64) -> (Vec<BatchRef>, u64) {
    let mut found: Vec<BatchRef> = Vec::new();
    let mut pos = 0;
    for batch in batches(bytes) {
        let Ok(batch) = batch else { return (found, pos) };
        let next = BatchRef::of(batch.header(), pos, segment);
        let in_order = found.last().is_none_or(|last| last.last < next.base);
        if batch.check_crc().is_err() || !in_order {
            return (found, pos);
        }
        pos += batch.bytes().len() as u64;
        found.push(next);
    }
    (found, pos)
}

/// The log and the base offset of a segment's log file, by its path.
pub(super) fn segment_of(path: &Path) -> Option<(TopicPartition, i64)> {
    let (dir, file) = path.name.rsplit_once('/')?;
    let log = TopicPartition::from_dir_name(dir)?;
    let base = file.strip_suffix(".log")?.parse().ok()?;
    Some((log, base))
}
