//! A data directory that is inherited: a log that a cleaner went over, as it comes with the directory of another
//! broker, or from a topic that was compacted once. Nothing that one broker without a cleaner writes has gaps
//! between its offsets; these have.

use ottla_core::machine::{LogDirId, Path};
use ottla_core::record::{BatchBuilder, BatchHeader, BatchOptions, NewRecord};
use ottla_core::types::{LeaderEpoch, TopicPartition};

use super::World;
use super::agenda::Due;
use crate::faults::Compacted;
use crate::invariants::Fact;
use crate::logs::BatchRef;

impl World {
    /// A process dies, and its logs are, where they are empty, what a cleaner has left.
    pub(super) fn inherit(&mut self, at: usize, compacted: &Compacted) {
        if self.nodes[at].process.is_some() {
            self.end_process(at);
        }
        self.agenda.add(self.now.saturating_add(compacted.down.0), Due::StartNode(at));
        let partitions = self.setting.scenario.cluster.topics.get(&compacted.topic).copied().unwrap_or(0);
        for partition in 0..partitions {
            self.inherit_log(at, &TopicPartition::new(compacted.topic.as_str(), partition), compacted.end);
        }
    }

    fn inherit_log(&mut self, at: usize, log: &TopicPartition, end: i64) {
        let name = format!("{log}/00000000000000000000.log");
        let found = self.nodes[at].disk.files().into_iter().find(|(_, path, _)| *path == name);
        let Some(ino) = found.map(|(_, _, ino)| ino).filter(|ino| self.nodes[at].disk.peek(*ino).is_empty()) else {
            return;
        };
        let bytes = compacted_batch(end, self.nodes[at].clock.now(self.now).wall.0);
        self.trace.event("inherited", u64::from(ino));
        if self.nodes[at].disk.plant_file(&Path::new(LogDirId(0), name), &bytes).is_ok()
            && let Ok(header) = BatchHeader::parse(&bytes)
        {
            self.judge.logs[at].entry(log).append(BatchRef::of(&header, 0, 0));
            let partition = self.judge.history.partition(log);
            self.judge.fact(&Fact::Inherited { partition, end });
        }
    }
}

/// A batch of which one record is left, the first, and whose offsets go on to `end`.
fn compacted_batch(end: i64, timestamp: i64) -> Vec<u8> {
    let options = BatchOptions { leader_epoch: LeaderEpoch(0), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    builder.append(&NewRecord { timestamp, key: Some(b"key"), value: Some(b"what is left"), headers: &[] });
    let mut bytes = builder.build();
    let last = i32::try_from(end - 1).unwrap_or(i32::MAX);
    bytes[23..27].copy_from_slice(&last.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::compacted_batch;
    use ottla_core::record::RecordBatch;

    #[test]
    fn one_record_is_left_of_many() {
        let bytes = compacted_batch(1 << 31, 0);
        let batch = RecordBatch::first_of(&bytes).expect("a batch");
        assert!(batch.check_crc().is_ok());
        assert_eq!((batch.header().next_offset().0, batch.header().record_count), (1 << 31, 1));
    }
}
