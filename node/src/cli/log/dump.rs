//! `ottla log dump`: what the files of partitions say, a line each.

use std::io::{self, BufWriter, Write};

use ottla_core::log::leader_epoch_cache::LeaderEpochCache;
use ottla_core::log::names::{LEADER_EPOCH_CHECKPOINT, SegmentFile};
use ottla_core::log::offset_index::OffsetIndex;
use ottla_core::log::producer_snapshot;
use ottla_core::log::time_index::TimeIndex;
use ottla_core::log::txn_index::TxnIndex;
use ottla_core::record::{BatchHeader, ControlType, EndTxnMarker, Record, RecordBatch};
use ottla_core::types::Offset;

use super::INFLATED_LIMIT;
use super::partition::{Partition, unreadable};
use super::segment::SegmentReader;
use crate::cli::Failure;

/// How much of a key or value is printed, in bytes.
const SHOWN_BYTES: usize = 100;

/// Prints all partitions. What cannot be read is said in its place; `verify` judges it.
pub(super) fn run(partitions: &[Partition], with_records: bool) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut dump_all = || {
        for partition in partitions {
            dump(partition, with_records, &mut out)?;
        }
        out.flush().map_err(Stop::Out)
    };
    match dump_all() {
        // A reader that has gone away, as `head` does, has seen enough.
        Err(Stop::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Out(error)) => Err(error.into()),
        Err(Stop::In(failure)) => Err(failure),
        Ok(()) => Ok(()),
    }
}

/// Why the printing ends early.
enum Stop {
    /// Standard output is gone.
    Out(io::Error),
    /// A file cannot be read.
    In(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Out(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::In(failure)
    }
}

fn dump(partition: &Partition, with_records: bool, out: &mut impl Write) -> Result<(), Stop> {
    if let Some(claim) = partition.claim {
        let (segment, start, pos) = (SegmentFile::Log.name(claim.segment), claim.start, claim.pos);
        writeln!(out, "{}: durable up to offset {}, in {segment} at {start}..{pos}", partition.name, claim.end)?;
    }
    for &base in &partition.segments {
        dump_batches(partition, base, with_records, out)?;
        dump_indexes(partition, base, out)?;
    }
    for &end in &partition.snapshots {
        dump_snapshot(partition, end, out)?;
    }
    if let Some(bytes) = partition.read(LEADER_EPOCH_CHECKPOINT)? {
        writeln!(out, "{}/{LEADER_EPOCH_CHECKPOINT}", partition.name)?;
        match LeaderEpochCache::parse(&bytes) {
            Ok(epochs) => epochs
                .entries()
                .iter()
                .try_for_each(|entry| writeln!(out, "  epoch={} start={}", entry.epoch, entry.start_offset))?,
            Err(corrupt) => writeln!(out, "  CORRUPT: {corrupt}")?,
        }
    }
    Ok(())
}

fn dump_batches(partition: &Partition, base: Offset, with_records: bool, out: &mut impl Write) -> Result<(), Stop> {
    let path = partition.path(base, SegmentFile::Log);
    writeln!(out, "{}/{}", partition.name, SegmentFile::Log.name(base))?;
    let mut reader = SegmentReader::open(&path).map_err(|error| unreadable(&path, &error))?;
    let mut scratch = Vec::new();
    while let Some(next) = reader.next() {
        match next {
            Ok((position, batch)) => {
                dump_batch(position, &batch, out)?;
                if with_records {
                    dump_records(&batch, &mut scratch, out)?;
                }
            }
            Err(fault) => {
                writeln!(out, "  pos={} CORRUPT: {fault}", reader.position())?;
                break;
            }
        }
    }
    Ok(())
}

fn dump_batch(position: u64, batch: &RecordBatch<'_>, out: &mut impl Write) -> io::Result<()> {
    let header = batch.header();
    let codec = header.attributes.codec().map_or("unknown".to_owned(), |codec| format!("{codec:?}").to_lowercase());
    write!(
        out,
        "  pos={position} offsets={}..={} records={} bytes={} epoch={} codec={codec} time={}..={}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.size(),
        header.leader_epoch,
        header.base_timestamp,
        header.max_timestamp,
    )?;
    let producer = header.producer;
    if producer.is_some() {
        let (first, last) = (producer.base_sequence, header.last_sequence());
        write!(out, " producer={}/{} sequence={first}..={last}", producer.id, producer.epoch)?;
    }
    for (is_set, word) in flags(header) {
        if is_set {
            write!(out, " {word}")?;
        }
    }
    match batch.check_crc() {
        Ok(()) => writeln!(out, " crc={:#010x}", header.crc),
        Err(error) => writeln!(out, " CORRUPT: {error}"),
    }
}

fn flags(header: &BatchHeader) -> [(bool, &'static str); 3] {
    let attributes = header.attributes;
    [
        (attributes.is_transactional(), "transactional"),
        (attributes.is_control(), "control"),
        (attributes.has_delete_horizon(), "delete-horizon"),
    ]
}

fn dump_records(batch: &RecordBatch<'_>, scratch: &mut Vec<u8>, out: &mut impl Write) -> io::Result<()> {
    let is_control = batch.header().attributes.is_control();
    let records = match batch.records(scratch, INFLATED_LIMIT) {
        Ok(records) => records,
        Err(problem) => return writeln!(out, "    CORRUPT: {problem}"),
    };
    for record in records {
        match record {
            Ok(record) if is_control => dump_control(&record, out)?,
            Ok(record) => dump_record(&record, out)?,
            Err(problem) => writeln!(out, "    CORRUPT: {problem}")?,
        }
    }
    Ok(())
}

fn dump_record(record: &Record<'_>, out: &mut impl Write) -> io::Result<()> {
    let (offset, time) = (record.offset, record.timestamp);
    write!(out, "    offset={offset} time={time} key={} value={}", shown(record.key), shown(record.value))?;
    for (key, value) in record.headers.iter() {
        write!(out, " {}={}", shown(Some(key)), shown(value))?;
    }
    writeln!(out)
}

fn dump_control(record: &Record<'_>, out: &mut impl Write) -> io::Result<()> {
    let (offset, time) = (record.offset, record.timestamp);
    match (ControlType::of(record), EndTxnMarker::of(record)) {
        (Some(kind), Some(marker)) => {
            writeln!(out, "    offset={offset} time={time} {kind:?} coordinator-epoch={}", marker.coordinator_epoch)
        }
        (Some(kind), None) => writeln!(out, "    offset={offset} time={time} {kind:?}"),
        (None, _) => writeln!(out, "    offset={offset} time={time} CORRUPT: no control record"),
    }
}

fn shown(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) if bytes.len() > SHOWN_BYTES => {
            format!("\"{}\"… ({} bytes)", bytes[..SHOWN_BYTES].escape_ascii(), bytes.len())
        }
        Some(bytes) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

fn dump_indexes(partition: &Partition, base: Offset, out: &mut impl Write) -> Result<(), Stop> {
    let read = |file: SegmentFile| partition.read(&file.name(base));
    let title = |file: SegmentFile| format!("{}/{}", partition.name, file.name(base));
    if let Some(bytes) = read(SegmentFile::OffsetIndex)? {
        let index = OffsetIndex::parse(base, usize::MAX, &bytes, u32::MAX);
        let lines =
            index.map(|index| index.entries().map(|it| format!("offset={} pos={}", it.offset, it.position)).collect());
        dump_lines(&title(SegmentFile::OffsetIndex), lines, out)?;
    }
    if let Some(bytes) = read(SegmentFile::TimeIndex)? {
        let index = TimeIndex::parse(base, usize::MAX, &bytes, Offset(i64::MAX));
        let lines = index
            .map(|index| index.entries().map(|it| format!("time={} offset={}", it.timestamp, it.offset)).collect());
        dump_lines(&title(SegmentFile::TimeIndex), lines, out)?;
    }
    if let Some(bytes) = read(SegmentFile::TxnIndex)? {
        let aborted = |it: &ottla_core::log::txn_index::AbortedTxn| {
            let (first, last, stable) = (it.first_offset, it.last_offset, it.last_stable_offset);
            format!("producer={} aborted={first}..={last} last-stable-offset={stable}", it.producer_id)
        };
        let lines = TxnIndex::parse(base, &bytes).map(|index| index.entries().iter().map(aborted).collect());
        dump_lines(&title(SegmentFile::TxnIndex), lines, out)?;
    }
    Ok(())
}

fn dump_snapshot(partition: &Partition, end: Offset, out: &mut impl Write) -> Result<(), Stop> {
    let name = SegmentFile::Snapshot.name(end);
    let Some(bytes) = partition.read(&name)? else { return Ok(()) };
    let lines = producer_snapshot::parse(&bytes).map(|producers| {
        let line = |(id, entry): (&ottla_core::types::ProducerId, &ottla_core::log::producer_state::ProducerEntry)| {
            let open = entry.txn_first_offset.map_or(String::new(), |offset| format!(" open-since={offset}"));
            let (epoch, sequence, time) = (entry.epoch, entry.last_sequence, entry.last_timestamp);
            format!("producer={id}/{epoch} last-sequence={sequence} time={time}{open}")
        };
        producers.iter().map(line).collect()
    });
    dump_lines(&format!("{}/{name}", partition.name), lines, out)?;
    Ok(())
}

fn dump_lines(
    title: &str,
    lines: Result<Vec<String>, ottla_core::log::Corrupt>,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "{title}")?;
    match lines {
        Ok(lines) => lines.iter().try_for_each(|line| writeln!(out, "  {line}")),
        Err(corrupt) => writeln!(out, "  CORRUPT: {corrupt}"),
    }
}
