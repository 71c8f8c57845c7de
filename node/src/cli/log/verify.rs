//! `ottla log verify`: checks the batches of each partition, and everything that is derived from them.
//!
//! A finding names its file and byte. *Damage* is what no crash leaves behind: it lies below what the flush journal
//! says was durable. A *torn tail* lies above; the node cuts it at its next start. Without a journal, as in a
//! directory of Kafka's, only an incomplete last batch counts as torn. *Derived* files are indexes, epochs and
//! snapshots that do not say what the batches say; the node makes them anew.

use std::fmt;

use ottla_core::log::leader_epoch_cache::LeaderEpochCache;
use ottla_core::log::names::{LEADER_EPOCH_CHECKPOINT, SegmentFile};
use ottla_core::log::offset_index::OffsetIndex;
use ottla_core::log::producer_snapshot;
use ottla_core::log::time_index::TimeIndex;
use ottla_core::log::txn_index::TxnIndex;
use ottla_core::record::{RecordBatch, scan_batch};
use ottla_core::storage::Mark;
use ottla_core::types::{LeaderEpoch, Offset};

use super::INFLATED_LIMIT;
use super::partition::{Partition, unreadable};
use super::segment::SegmentReader;
use crate::cli::{Failure, print};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Damage,
    Derived,
    TornTail,
}

/// Something that is not as it should be.
#[derive(Debug)]
struct Finding {
    severity: Severity,
    file: String,
    position: Option<u64>,
    what: String,
}

/// What was seen of a partition.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
    batches: u64,
    records: u64,
    bytes: u64,
    /// The offset after the last good batch.
    end: Option<Offset>,
    /// The epoch of the last good batch.
    epoch: Option<LeaderEpoch>,
}

/// What a segment is held to.
#[derive(Clone, Copy)]
struct Expected<'a> {
    /// The segment.
    base: Offset,
    /// Whether it is the last one of its log.
    is_last: bool,
    /// Where the journal says that what was durable ends, if it does.
    claim: Option<&'a Mark>,
    /// The leader epochs that the checkpoint names.
    epochs: Option<&'a LeaderEpochCache>,
}

/// What was seen of a segment's batches: where each begins, and its last offset.
type Places = Vec<(u64, Offset)>;

/// Checks all partitions, prints what was found, and fails with exit code 3 if there is damage.
pub(super) fn run(partitions: &[Partition]) -> Result<(), Failure> {
    let (mut damaged, mut findings) = (0, 0);
    for partition in partitions {
        let report = verify(partition)?;
        findings += report.findings.len();
        damaged += usize::from(report.is_damaged());
        print(&summary(partition, &report))?;
    }
    if damaged == 0 {
        return Ok(());
    }
    let of = partitions.len();
    Err(Failure::damage(format!("{damaged} of {of} partitions are damaged, with {findings} findings in all")))
}

fn summary(partition: &Partition, report: &Report) -> String {
    let verdict = if report.findings.is_empty() { "ok" } else { "NOT OK" };
    let start = partition.segments.first().copied().unwrap_or_default();
    let end = report.end.unwrap_or(start);
    let mut text = format!(
        "{}: {verdict}, offsets {start}..{end} in {} segments, {} batches, {} records, {} bytes\n",
        partition.name,
        partition.segments.len(),
        report.batches,
        report.records,
        report.bytes,
    );
    for finding in &report.findings {
        text.push_str(&format!("  {finding}\n"));
    }
    text
}

fn verify(partition: &Partition) -> Result<Report, Failure> {
    let mut report = Report::default();
    let epochs = read_epochs(partition, &mut report)?;
    for &base in &partition.segments {
        let is_last = partition.segments.last() == Some(&base);
        let expected = Expected { base, is_last, claim: partition.claim.as_ref(), epochs: epochs.as_ref() };
        let places = verify_batches(partition, expected, &mut report)?;
        verify_indexes(partition, base, &places, &mut report)?;
    }
    verify_claim(partition, &mut report);
    for &end in &partition.snapshots {
        let name = SegmentFile::Snapshot.name(end);
        if let Some(bytes) = partition.read(&name)?
            && let Err(corrupt) = producer_snapshot::parse(&bytes)
        {
            report.note(Severity::Derived, &name, None, corrupt);
        }
    }
    Ok(report)
}

/// The epochs that the checkpoint names; `None` if there is no checkpoint that can be read.
fn read_epochs(partition: &Partition, report: &mut Report) -> Result<Option<LeaderEpochCache>, Failure> {
    let Some(bytes) = partition.read(LEADER_EPOCH_CHECKPOINT)? else { return Ok(None) };
    match LeaderEpochCache::parse(&bytes) {
        Ok(epochs) => Ok(Some(epochs)),
        Err(corrupt) => {
            report.note(Severity::Derived, LEADER_EPOCH_CHECKPOINT, None, corrupt);
            Ok(None)
        }
    }
}

fn verify_batches(partition: &Partition, expected: Expected<'_>, report: &mut Report) -> Result<Places, Failure> {
    let (name, path) = (SegmentFile::Log.name(expected.base), partition.path(expected.base, SegmentFile::Log));
    let mut reader = SegmentReader::open(&path).map_err(|error| unreadable(&path, &error))?;
    report.bytes += reader.len();
    let mut places = Places::new();
    while let Some(next) = reader.next() {
        match next {
            Ok((position, batch)) => {
                places.push((position, batch.header().last_offset()));
                report.check_batch(&name, position, &batch, expected);
            }
            Err(fault) => {
                let severity = expected.severity(reader.position(), fault.is_cut());
                report.note(severity, &name, Some(reader.position()), fault);
                break;
            }
        }
    }
    if let Some(claim) = expected.claim.filter(|claim| claim.segment == expected.base && claim.pos > 0)
        && !places.iter().any(|(position, _)| *position == u64::from(claim.start))
    {
        let what = format!("no batch begins here, though one was durable up to offset {}", claim.end);
        report.note(Severity::Damage, &name, Some(claim.start.into()), what);
    }
    Ok(places)
}

/// A segment that was durable must be there, unless all of it was deleted since.
fn verify_claim(partition: &Partition, report: &mut Report) {
    let Some(claim) = partition.claim.filter(|claim| claim.pos > 0) else { return };
    let deleted_since = partition.segments.first().is_some_and(|first| *first >= claim.end);
    if !deleted_since && !partition.segments.contains(&claim.segment) {
        let what = format!("the segment is missing, though it was durable up to offset {}", claim.end);
        report.note(Severity::Damage, &SegmentFile::Log.name(claim.segment), None, what);
    }
}

impl Expected<'_> {
    /// How bad it is that nothing good lies at `position`.
    fn severity(&self, position: u64, is_cut: bool) -> Severity {
        let torn = match self.claim {
            Some(claim) => (self.base, position) >= (claim.segment, u64::from(claim.pos)),
            None => self.is_last && is_cut,
        };
        if torn { Severity::TornTail } else { Severity::Damage }
    }
}

/// Each entry of an index must name a batch that is there.
fn verify_indexes(partition: &Partition, base: Offset, places: &Places, report: &mut Report) -> Result<(), Failure> {
    let end = places.last().map_or(base, |(_, last)| *last + 1);
    let log_len = places.last().map_or(0, |(position, _)| position.saturating_add(1));
    let log_len = u32::try_from(log_len).unwrap_or(u32::MAX);
    let name = SegmentFile::OffsetIndex.name(base);
    if let Some(bytes) = partition.read(&name)? {
        match OffsetIndex::parse(base, usize::MAX, &bytes, log_len) {
            Err(corrupt) => report.note(Severity::Derived, &name, None, corrupt),
            Ok(index) => {
                for entry in index.entries() {
                    let found = places.binary_search_by_key(&u64::from(entry.position), |(position, _)| *position);
                    if !found.is_ok_and(|at| places[at].1 <= entry.offset) {
                        let what = format!("offset {} is not at byte {} of the log", entry.offset, entry.position);
                        report.note(Severity::Derived, &name, None, what);
                    }
                }
            }
        }
    }
    let name = SegmentFile::TimeIndex.name(base);
    if let Some(bytes) = partition.read(&name)?
        && let Err(corrupt) = TimeIndex::parse(base, usize::MAX, &bytes, end)
    {
        report.note(Severity::Derived, &name, None, corrupt);
    }
    let name = SegmentFile::TxnIndex.name(base);
    if let Some(bytes) = partition.read(&name)?
        && let Err(corrupt) = TxnIndex::parse(base, &bytes)
    {
        report.note(Severity::Derived, &name, None, corrupt);
    }
    Ok(())
}

impl Report {
    /// What is derived runs ahead of a torn tail, as a crash leaves it: then that alone is no damage.
    fn is_damaged(&self) -> bool {
        let has = |severity| self.findings.iter().any(|finding| finding.severity == severity);
        has(Severity::Damage) || (has(Severity::Derived) && !has(Severity::TornTail))
    }

    fn note(&mut self, severity: Severity, file: &str, position: Option<u64>, what: impl fmt::Display) {
        self.findings.push(Finding { severity, file: file.to_owned(), position, what: what.to_string() });
    }

    /// One batch: its place, its content, and what the journal and the checkpoint say of it.
    fn check_batch(&mut self, file: &str, position: u64, batch: &RecordBatch<'_>, expected: Expected<'_>) {
        let header = batch.header();
        let severity = expected.severity(position, false);
        let least = self.end.unwrap_or(expected.base).max(expected.base);
        if header.base_offset < least {
            self.note(severity, file, Some(position), format!("offset {} is below {least}", header.base_offset));
        }
        if let Err(error) = scan_batch(batch, INFLATED_LIMIT) {
            self.note(severity, file, Some(position), error);
        }
        let is_claimed = |claim: &&Mark| claim.segment == expected.base && u64::from(claim.start) == position;
        if let Some(crc) = expected.claim.filter(is_claimed).and_then(|claim| claim.crc)
            && crc != header.crc
        {
            let what = format!("the batch of CRC {crc:#010x} was durable here; this one has {:#010x}", header.crc);
            self.note(Severity::Damage, file, Some(position), what);
        }
        self.check_epoch(file, position, header.base_offset, header.leader_epoch, expected.epochs);
        self.batches += 1;
        self.records += u64::try_from(header.record_count).unwrap_or(0);
        self.end = Some(header.next_offset());
    }

    /// Epochs never fall, and the checkpoint knows where each began.
    fn check_epoch(
        &mut self,
        file: &str,
        position: u64,
        offset: Offset,
        epoch: LeaderEpoch,
        epochs: Option<&LeaderEpochCache>,
    ) {
        if self.epoch.is_some_and(|before| epoch < before) {
            self.note(Severity::Damage, file, Some(position), format!("leader epoch {epoch} is below the one before"));
        }
        self.epoch = Some(epoch);
        if let Some(known) = epochs.and_then(|epochs| epochs.epoch_at(offset))
            && known != epoch
        {
            let what = format!("offset {offset} is of epoch {epoch} in the log and of epoch {known} here");
            self.note(Severity::Derived, LEADER_EPOCH_CHECKPOINT, None, what);
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Damage => "damage",
            Severity::Derived => "derived",
            Severity::TornTail => "torn tail",
        };
        match self.position {
            Some(position) => write!(f, "{severity}: {} at byte {position}: {}", self.file, self.what),
            None => write!(f, "{severity}: {}: {}", self.file, self.what),
        }
    }
}
