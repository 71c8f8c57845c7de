//! `ottla log verify`: checks the batches of each partition, and everything that is derived from them.
//!
//! A finding names its file and byte. *Damage* is what no crash leaves behind. A *torn tail* is an incomplete
//! batch at the very end of a log, as a crash leaves it; the node cuts it at its next start. *Derived* files are
//! indexes, epochs and snapshots that do not say what the batches say; the node makes them anew.

use std::fmt;

use ottla_core::log::leader_epoch_cache::LeaderEpochCache;
use ottla_core::log::names::{LEADER_EPOCH_CHECKPOINT, SegmentFile};
use ottla_core::log::offset_index::OffsetIndex;
use ottla_core::log::producer_snapshot;
use ottla_core::log::time_index::TimeIndex;
use ottla_core::log::txn_index::TxnIndex;
use ottla_core::record::scan_batch;
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

/// What was seen of a segment's batches: where each begins, and its last offset.
type Places = Vec<(u64, Offset)>;

/// Checks all partitions, prints what was found, and fails with exit code 3 if there is damage.
pub(super) fn run(partitions: &[Partition]) -> Result<(), Failure> {
    let (mut damaged, mut findings) = (0, 0);
    for partition in partitions {
        let report = verify(partition)?;
        findings += report.findings.len();
        damaged += usize::from(report.findings.iter().any(|finding| finding.severity != Severity::TornTail));
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
        let places = verify_batches(partition, base, is_last, epochs.as_ref(), &mut report)?;
        verify_indexes(partition, base, &places, &mut report)?;
    }
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

fn verify_batches(
    partition: &Partition,
    base: Offset,
    is_last: bool,
    epochs: Option<&LeaderEpochCache>,
    report: &mut Report,
) -> Result<Places, Failure> {
    let (name, path) = (SegmentFile::Log.name(base), partition.path(base, SegmentFile::Log));
    let mut reader = SegmentReader::open(&path).map_err(|error| unreadable(&path, &error))?;
    report.bytes += reader.len();
    let mut places = Places::new();
    while let Some(next) = reader.next() {
        let (position, batch) = match next {
            Ok(found) => found,
            Err(fault) => {
                let severity = if is_last && fault.is_cut() { Severity::TornTail } else { Severity::Damage };
                report.note(severity, &name, Some(reader.position()), fault);
                break;
            }
        };
        let header = batch.header();
        let expected = report.end.unwrap_or(base).max(base);
        if header.base_offset < expected {
            let what = format!("offset {} is below {expected}", header.base_offset);
            report.note(Severity::Damage, &name, Some(position), what);
        }
        if let Err(error) = scan_batch(&batch, INFLATED_LIMIT) {
            report.note(Severity::Damage, &name, Some(position), error);
        }
        report.check_epoch(&name, position, header.base_offset, header.leader_epoch, epochs);
        report.batches += 1;
        report.records += u64::try_from(header.record_count).unwrap_or(0);
        report.end = Some(header.next_offset());
        places.push((position, header.last_offset()));
    }
    Ok(places)
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
    fn note(&mut self, severity: Severity, file: &str, position: Option<u64>, what: impl fmt::Display) {
        self.findings.push(Finding { severity, file: file.to_owned(), position, what: what.to_string() });
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
