//! A walk over the batches of a file in slices, checking each CRC, whatever the size of a batch.
//!
//! The walk says what to read next and is fed the bytes. A batch that reaches beyond a slice is not read again:
//! its CRC is carried on. Control batches, which are small, come whole, because what they say is in the record.

use std::ops::ControlFlow;

use crate::job::SLICE;
use crate::record::{BatchError, BatchHeader, EndTxnMarker, HEADER_LEN, RecordBatch};

const CRC_START: usize = 21;

/// A walk from one batch's start towards the end of a file.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    /// Where the batch starts that the walk is at.
    pos: u32,
    /// The length of the file, or where the walk ends.
    end: u32,
    /// Whether CRCs are compared.
    check: bool,
    /// The batch that the last slice ended in.
    inside: Option<Inside>,
}

#[derive(Clone, Debug)]
struct Inside {
    header: BatchHeader,
    size: u32,
    done: u32,
    crc: u32,
}

/// One batch on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walked<'a> {
    pub(crate) header: &'a BatchHeader,
    /// Where it starts.
    pub(crate) start: u32,
    /// Its length.
    pub(crate) size: u32,
    /// What it says, if it is a transaction's marker.
    pub(crate) marker: Option<EndTxnMarker>,
}

/// How a slice ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read on.
    More,
    /// The visitor has seen enough, or the end is reached.
    Over,
    /// What is at [`Walk::pos`] is no batch.
    Bad(String),
}

impl Walk {
    pub(crate) fn new(pos: u32, end: u32, check: bool) -> Self {
        Self { pos, end, check, inside: None }
    }

    /// Where the batch starts that was not visited.
    pub(crate) fn pos(&self) -> u32 {
        self.pos
    }

    /// The position and length to read; `None` at the end.
    pub(crate) fn next_read(&self) -> Option<(u64, u32)> {
        let at = self.pos + self.inside.as_ref().map_or(0, |inside| inside.done);
        (at < self.end).then(|| (at.into(), (self.end - at).min(SLICE)))
    }

    /// Takes what was read at [`Self::next_read`], and shows each batch that is complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], visit: &mut dyn FnMut(Walked<'_>) -> ControlFlow<()>) -> Step {
        let asked = self.next_read().map_or(0, |(_, len)| len as usize);
        let step = self.feed_all(bytes, visit);
        if step == Step::More && bytes.len() < asked {
            return Step::Bad("the file is shorter than it was".into());
        }
        step
    }

    fn feed_all(&mut self, bytes: &[u8], visit: &mut dyn FnMut(Walked<'_>) -> ControlFlow<()>) -> Step {
        let mut rest = bytes;
        loop {
            if self.inside.is_none() {
                if rest.is_empty() {
                    return if self.pos >= self.end { Step::Over } else { Step::More };
                }
                match self.enter(rest) {
                    Ok(true) => {}
                    Ok(false) => return Step::More,
                    Err(why) => return Step::Bad(why),
                }
            }
            let Some(inside) = &mut self.inside else {
                return Step::More;
            };
            let take = rest.len().min((inside.size - inside.done) as usize);
            let skip = CRC_START.saturating_sub(inside.done as usize).min(take);
            if self.check {
                inside.crc = crc32c::crc32c_append(inside.crc, &rest[skip..take]);
            }
            inside.done += u32::try_from(take).unwrap_or(0);
            if inside.done < inside.size {
                return Step::More;
            }
            let batch = &rest[..take];
            rest = &rest[take..];
            match self.leave(batch, visit) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Step::Over,
                Err(why) => return Step::Bad(why),
            }
        }
    }

    /// Reads a batch's header. `false`: it needs more bytes, from its start on.
    fn enter(&mut self, rest: &[u8]) -> Result<bool, String> {
        let left = (self.end - self.pos) as usize;
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            Err(BatchError::Cut { need, .. }) if need <= left && rest.len() < left => return Ok(false),
            Err(BatchError::Cut { need, .. }) => {
                return Err(format!("a batch is cut: {left} of {} bytes", need.max(HEADER_LEN)));
            }
            Err(BatchError::Malformed { what, .. }) => return Err(what.to_string()),
        };
        let size = header.size();
        if size > left {
            return Err(format!("a batch is cut: {left} of {size} bytes"));
        }
        if header.attributes.is_control() && rest.len() < size && size <= SLICE as usize {
            return Ok(false);
        }
        self.inside = Some(Inside {
            header,
            size: u32::try_from(size).map_err(|_| "a batch is larger than a file")?,
            done: 0,
            crc: 0,
        });
        Ok(true)
    }

    fn leave(
        &mut self,
        batch: &[u8],
        visit: &mut dyn FnMut(Walked<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        let Some(inside) = self.inside.take() else {
            return Ok(ControlFlow::Continue(()));
        };
        if self.check && inside.crc != inside.header.crc {
            return Err(format!("the stored CRC {:#010x} is not the computed {:#010x}", inside.header.crc, inside.crc));
        }
        let (header, size) = (&inside.header, inside.size);
        if header.last_offset_delta < 0 || header.base_offset.0 < 0 {
            return Err("its offsets are negative".into());
        }
        let start = self.pos;
        let marker = marker_of(header, batch);
        let flow = visit(Walked { header, start, size, marker });
        self.pos += size;
        Ok(flow)
    }
}

/// What a control batch says, if it ends a transaction.
pub(crate) fn marker_of(header: &BatchHeader, batch: &[u8]) -> Option<EndTxnMarker> {
    if !header.attributes.is_control() || !header.producer.is_some() {
        return None;
    }
    let batch = RecordBatch::first_of(batch).ok()?;
    let mut scratch = Vec::new();
    let record = batch.records(&mut scratch, 1 << 16).ok()?.next()?.ok()?;
    EndTxnMarker::of(&record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchOptions, NewRecord};
    use crate::types::{Offset, ProducerEpoch, ProducerId};

    /// Batches of different sizes, the last of them a marker, one after the other.
    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut offset = 0_i64;
        for size in [10, 3_000_000, 1, 700_000] {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            let value = vec![b'x'; size];
            builder.append(&NewRecord { timestamp: 5, key: None, value: Some(&value), headers: &[] });
            push(&mut bytes, &mut offset, builder.build());
        }
        let marker = EndTxnMarker { commit: true, coordinator_epoch: 3 };
        push(&mut bytes, &mut offset, marker.to_batch(ProducerId(7), ProducerEpoch(0), 9));
        bytes
    }

    fn push(bytes: &mut Vec<u8>, offset: &mut i64, mut batch: Vec<u8>) {
        batch[..8].copy_from_slice(&offset.to_be_bytes());
        *offset += 1;
        bytes.extend(batch);
    }

    fn walk(bytes: &[u8], end: usize) -> (Vec<(Offset, u32, bool)>, Step) {
        let mut walk = Walk::new(0, u32::try_from(end).unwrap(), true);
        let mut seen = Vec::new();
        loop {
            let Some((pos, len)) = walk.next_read() else {
                return (seen, Step::Over);
            };
            let pos = usize::try_from(pos).unwrap();
            let slice = &bytes[pos..bytes.len().min(pos + len as usize)];
            let step = walk.feed(slice, &mut |walked| {
                seen.push((walked.header.base_offset, walked.start, walked.marker.is_some()));
                ControlFlow::Continue(())
            });
            if step != Step::More {
                return (seen, step);
            }
        }
    }

    #[test]
    fn sees_every_batch_however_slices_fall() {
        let bytes = file();
        let (seen, step) = walk(&bytes, bytes.len());
        assert_eq!(step, Step::Over);
        assert_eq!(seen.len(), 5);
        assert!(seen[4].2);
    }

    #[test]
    fn stops_at_a_cut_or_flipped_batch() {
        let mut bytes = file();
        let (seen, step) = walk(&bytes, bytes.len() - 1);
        assert!(matches!(step, Step::Bad(_)), "{step:?}");
        assert_eq!(seen.len(), 4);
        bytes[2_000_000] ^= 1;
        let (seen, step) = walk(&bytes, bytes.len());
        assert!(matches!(step, Step::Bad(_)));
        assert_eq!(seen.len(), 1);
    }
}
