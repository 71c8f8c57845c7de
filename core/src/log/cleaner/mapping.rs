//! The first half of a pass: which offset is the last of each key, in the part of the log that is dirty.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::filter::{AbortedTxns, INFLATE_LIMIT};
use super::offset_map::OffsetMap;
use crate::log::walk::marker_of;
use crate::record::RecordBatch;
use crate::types::{Offset, ProducerId};

/// The map being made.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) map: OffsetMap,
    /// Below it the log is clean.
    from: Offset,
    /// Up to where all is in the map; the bound of the pass, or where the map was full.
    pub(crate) end: Offset,
    /// Producers with a batch since their last marker.
    open: BTreeSet<ProducerId>,
    scratch: Vec<u8>,
}

impl Mapping {
    /// Of the records from `from` on, and below `end`.
    pub(crate) fn new(map: OffsetMap, from: Offset, end: Offset) -> Self {
        Self { map, from, end, open: BTreeSet::new(), scratch: Vec::new() }
    }

    /// Takes a batch in. It breaks at the end.
    pub(crate) fn take(&mut self, batch: &RecordBatch<'_>, aborted: &AbortedTxns) -> Result<ControlFlow<()>, String> {
        let header = batch.header();
        if header.base_offset >= self.end {
            return Ok(ControlFlow::Break(()));
        }
        if header.last_offset() < self.from {
            return Ok(ControlFlow::Continue(()));
        }
        let id = header.producer.id;
        if header.attributes.is_control() {
            let was_open = self.open.remove(&id);
            let is_abort = marker_of(header, batch.bytes()).is_some_and(|marker| !marker.commit);
            // Without its entry, what was aborted would be taken for committed, and cover what was.
            if is_abort && was_open && aborted.ended_by(id, header.base_offset).is_none() {
                return Err(format!("the transaction index lacks the abort at {}", header.base_offset));
            }
            return Ok(ControlFlow::Continue(()));
        }
        if header.attributes.is_transactional() {
            self.open.insert(id);
        }
        if aborted.has(header) {
            return Ok(ControlFlow::Continue(()));
        }
        let records = batch.records(&mut self.scratch, INFLATE_LIMIT).map_err(|problem| problem.to_string())?;
        for record in records {
            let record = record.map_err(|problem| problem.to_string())?;
            let Some(key) = record.key.filter(|_| record.offset >= self.from) else {
                continue;
            };
            if record.offset >= self.end || !self.map.put(key, record.offset) {
                self.end = self.end.min(record.offset);
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
