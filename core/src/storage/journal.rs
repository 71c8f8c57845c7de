//! The flush journal of a log directory: what was durable, so that a start can tell a torn tail from damage.
//!
//! A file of blocks, each with its own CRC and a sequence number; when it is full it is replaced atomically by one with
//! the present claims. It may be zeroed in advance: a block that is written over zeros is synced in 130 µs, one that
//! makes the file longer in 200, because the file system has to commit the new length. A claim says that a log was
//! durable up to an offset, where its last batch lies, and that batch's CRC. Logs are named once a file and then
//! numbered.
//!
//! ```text
//! file  = "OTTLAFJ1" block* 0*
//! block = length: u32 of what follows the CRC, crc32c: u32 of that, sequence: u64, entry*
//! entry = 0 id: u32 length: u16 name            a log's name and topic id
//!       | 1 id: u32 end: i64 segment: i64 start: u32 pos: u32 flags: u8 crc: u32    flags: 1 crc, 2 begins,
//!                                                                              4 unsure
//!       | 2 id: u32                             the log was deleted
//! ```
//!
//! Invariant: a claim is written only after everything that it claims is synced, and a log is cut below a claim
//! only after a lower claim is synced. So bytes below the claim that are not a valid log are damage, always.
//!
//! Absent on purpose: compaction in place, and any claim about indexes and snapshots, which have CRCs or can be
//! rebuilt.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::FileId;
use crate::types::Offset;

/// The file, in the log directory itself.
pub const NAME: &str = "flush-journal";
/// Its successor while that is written.
pub(crate) const TEMPORARY: &str = "flush-journal.tmp";

const MAGIC: &[u8; 8] = b"OTTLAFJ1";
const BLOCK_HEAD: usize = 8;
const MAX_BLOCK: usize = 64 << 20;
const ROTATE_AT: u64 = 1 << 20;
/// Flags of a claim.
const HAS_CRC: u8 = 1;
const BEGINS: u8 = 2;
const UNSURE: u8 = 4;

/// A place in a log: the end of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The offset after the batch.
    pub end: Offset,
    /// The base offset of the segment that it lies in.
    pub segment: Offset,
    /// The byte at which it starts.
    pub start: u32,
    /// The byte after it.
    pub pos: u32,
    /// Its CRC; `None` if there is no batch, or a truncation left it unread.
    pub crc: Option<u32>,
    /// The log begins with this segment: whatever lies below it was dropped, and so was all of the log if the
    /// segment is not there yet.
    pub begins: bool,
    /// More may have been durable than this says: the journal that would have said so was damaged. So what is no batch
    /// above it is damage, not a torn tail.
    pub unsure: bool,
}

impl Mark {
    /// The mark of an empty segment.
    #[must_use]
    pub const fn empty(base: Offset) -> Self {
        Self { end: base, segment: base, start: 0, pos: 0, crc: None, begins: false, unsure: false }
    }

    /// The mark of a log that drops all that it has and goes on at `base`.
    #[must_use]
    pub const fn begin(base: Offset) -> Self {
        Self { begins: true, ..Self::empty(base) }
    }
}

/// What a journal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// For each log, by name.
    pub(crate) logs: BTreeMap<Arc<str>, Mark>,
    /// Whether blocks follow one that cannot be read: the journal is damaged, and claims may be too low.
    pub(crate) damaged: bool,
}

/// A deleted log: what the journal claims of it stands until the next block.
#[derive(Clone, Debug)]
pub(crate) struct Gone {
    /// Its number in the present file, if it has one there.
    pub(crate) name: Option<u32>,
    pub(crate) key: Arc<str>,
    /// The highest that may be claimed.
    pub(crate) end: Offset,
}

/// The open journal of a directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    /// The file; `None` until the first round writes one: what a crash left is never appended to.
    pub(crate) file: Option<FileId>,
    /// Where its last block ends, in bytes.
    pub(crate) len: u64,
    /// There was no room for the last block: no round starts until there is.
    pub(crate) blocked: bool,
    /// The last process did not end well: what was read may not be on the disk, so it is written again.
    pub(crate) is_stale: bool,
    /// What the start found and no log of this process has taken over.
    pub(crate) orphans: BTreeMap<Arc<str>, Mark>,
    /// Deleted logs, for the next block.
    pub(crate) gone: Vec<Gone>,
    sequence: u64,
    next_name: u32,
    rotate_at: u64,
    /// How far a new file is zeroed at least; 0: not at all.
    zeroed: u64,
}

impl Journal {
    /// None yet; `ottla.flush.journal.bytes` of each file are to be zeroed.
    pub(crate) fn new(zeroed: u32) -> Self {
        Self { zeroed: u64::from(zeroed), ..Self::default() }
    }

    /// Up to where it may still claim what another log of a new one's name and topic had.
    pub(crate) fn inherited(&mut self, key: &str) -> Option<Offset> {
        let orphan = self.orphans.remove(key).map(|mark| mark.end);
        orphan.or_else(|| Some(self.gone.iter().rfind(|gone| *gone.key == *key)?.end))
    }

    /// Whether the next block starts a new file.
    pub(crate) fn is_due_for_rotation(&self) -> bool {
        self.file.is_none() || self.len >= self.rotate_at
    }

    /// A new file takes over. Names are given anew.
    pub(crate) fn start_file(&mut self) -> Block {
        self.next_name = 0;
        let mut block = self.block();
        block.bytes.splice(0..0, MAGIC.iter().copied());
        block.at = MAGIC.len();
        block
    }

    /// A block for the file as it is.
    pub(crate) fn block(&mut self) -> Block {
        self.sequence += 1;
        // Enough for what a few logs claim.
        let mut bytes = Vec::with_capacity(256);
        bytes.resize(BLOCK_HEAD, 0);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        Block { bytes, at: 0 }
    }

    /// The number for a log's name in the present file.
    pub(crate) fn new_name(&mut self) -> u32 {
        self.next_name += 1;
        self.next_name
    }

    /// The new file is in place, with so many bytes.
    pub(crate) fn replaced(&mut self, file: FileId, len: u64) {
        self.file = Some(file);
        self.is_stale = false;
        self.len = len;
        self.rotate_at = self.full_at(len);
    }

    /// At which length a file is full whose first block ends at `len`.
    fn full_at(&self, len: u64) -> u64 {
        (if self.zeroed == 0 { ROTATE_AT } else { self.zeroed }).max(len * 4)
    }

    /// What is written into a new file: its first block, and zeros.
    pub(crate) fn first_bytes(&self, block: Block) -> (Vec<u8>, u64) {
        let mut bytes = block.finish();
        let len = bytes.len() as u64;
        if self.zeroed > 0 {
            bytes.resize(usize::try_from(self.full_at(len)).expect("a file's length fits"), 0);
        }
        (bytes, len)
    }
}

/// A block being put together.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    at: usize,
}

impl Block {
    pub(crate) fn name(&mut self, id: u32, name: &str) {
        self.bytes.push(0);
        self.bytes.extend_from_slice(&id.to_be_bytes());
        let len = u16::try_from(name.len()).expect("a directory's name has at most 255 bytes");
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
    }

    pub(crate) fn claim(&mut self, id: u32, mark: &Mark) {
        self.bytes.push(1);
        self.bytes.extend_from_slice(&id.to_be_bytes());
        self.bytes.extend_from_slice(&mark.end.0.to_be_bytes());
        self.bytes.extend_from_slice(&mark.segment.0.to_be_bytes());
        self.bytes.extend_from_slice(&mark.start.to_be_bytes());
        self.bytes.extend_from_slice(&mark.pos.to_be_bytes());
        let flags = [(mark.crc.is_some(), HAS_CRC), (mark.begins, BEGINS), (mark.unsure, UNSURE)];
        self.bytes.push(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        self.bytes.extend_from_slice(&mark.crc.unwrap_or(0).to_be_bytes());
    }

    pub(crate) fn gone(&mut self, id: u32) {
        self.bytes.push(2);
        self.bytes.extend_from_slice(&id.to_be_bytes());
    }

    /// The bytes to write, with the file's beginning if it is the first block.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let body = self.at + BLOCK_HEAD;
        let len = u32::try_from(self.bytes.len() - body).expect("a block names each log once");
        let crc = crc32c::crc32c(&self.bytes[body..]);
        self.bytes[self.at..self.at + 4].copy_from_slice(&len.to_be_bytes());
        self.bytes[self.at + 4..body].copy_from_slice(&crc.to_be_bytes());
        self.bytes
    }
}

/// Reads a journal. Never fails: a tail that cannot be read was being written when the process ended.
pub(crate) fn parse(bytes: &[u8]) -> Claims {
    let mut claims = Claims::default();
    if bytes.get(..MAGIC.len()) != Some(MAGIC) {
        claims.damaged = !bytes.is_empty();
        return claims;
    }
    let mut names = BTreeMap::new();
    let (mut at, mut last_sequence) = (MAGIC.len(), 0);
    while at < bytes.len() {
        let Some((sequence, entries, next)) = block_at(bytes, at, last_sequence) else {
            // What is not a block is the torn end, unless a later block shows that it is not the end.
            at += 1;
            continue;
        };
        let is_next = if last_sequence == 0 { at == MAGIC.len() } else { sequence == last_sequence + 1 };
        claims.damaged |= !is_next;
        last_sequence = sequence;
        take_entries(entries, &mut names, &mut claims);
        at = next;
    }
    // A file gets its name when its first block is durable.
    claims.damaged |= last_sequence == 0;
    claims
}

/// The block at a place: its sequence number, its entries, and where it ends.
fn block_at(bytes: &[u8], at: usize, after: u64) -> Option<(u64, &[u8], usize)> {
    let mut rest = Fields(bytes.get(at..)?);
    let len = usize::try_from(rest.u32()?).ok().filter(|&len| len <= MAX_BLOCK)?;
    let crc = rest.u32()?;
    let body = rest.0.get(..len)?;
    let mut fields = Fields(body);
    let sequence = fields.u64().filter(|&sequence| sequence > after)?;
    (crc32c::crc32c(body) == crc).then_some((sequence, fields.0, at + BLOCK_HEAD + len))
}

fn take_entries(entries: &[u8], names: &mut BTreeMap<u32, Arc<str>>, claims: &mut Claims) {
    let mut fields = Fields(entries);
    while !fields.0.is_empty() {
        if take_entry(&mut fields, names, claims).is_none() {
            claims.damaged = true;
            return;
        }
    }
}

fn take_entry(fields: &mut Fields<'_>, names: &mut BTreeMap<u32, Arc<str>>, claims: &mut Claims) -> Option<()> {
    let kind = fields.u8()?;
    let id = fields.u32()?;
    match kind {
        0 => {
            let len = usize::from(fields.u16()?);
            names.insert(id, std::str::from_utf8(fields.bytes(len)?).ok()?.into());
        }
        1 => {
            let (end, segment) = (Offset(fields.u64()?.cast_signed()), Offset(fields.u64()?.cast_signed()));
            let (start, pos, flags, crc) = (fields.u32()?, fields.u32()?, fields.u8()?, fields.u32()?);
            let crc = (flags & HAS_CRC != 0).then_some(crc);
            let (begins, unsure) = (flags & BEGINS != 0, flags & UNSURE != 0);
            let mark = Mark { end, segment, start, pos, crc, begins, unsure };
            // A name can be missing only if the block that gave it is damaged.
            claims.logs.insert(Arc::clone(names.get(&id)?), mark);
        }
        2 => {
            claims.logs.remove(names.get(&id)?);
        }
        _ => return None,
    }
    Some(())
}

/// Big-endian fields off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.bytes(8)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(end: i64) -> Mark {
        let crc = (end % 2 == 0).then_some(77);
        Mark {
            end: Offset(end),
            segment: Offset(1),
            start: 10,
            pos: 20,
            crc,
            begins: end % 4 == 0,
            unsure: end % 3 == 0,
        }
    }

    /// A file of three blocks, and where they start.
    fn sample() -> (Vec<u8>, Vec<usize>) {
        let mut journal = Journal::default();
        let mut block = journal.start_file();
        block.name(1, "t-0");
        block.claim(1, &mark(4));
        let mut bytes = block.finish();
        let mut starts = vec![MAGIC.len()];
        for end in [7, 12] {
            starts.push(bytes.len());
            let mut block = journal.block();
            block.claim(1, &mark(end));
            if end == 7 {
                block.name(2, "u-0");
                block.claim(2, &mark(3));
            } else {
                block.gone(2);
            }
            bytes.extend(block.finish());
        }
        (bytes, starts)
    }

    #[test]
    fn says_what_was_written() {
        let (bytes, _) = sample();
        let claims = parse(&bytes);
        assert_eq!(claims.logs, BTreeMap::from([("t-0".into(), mark(12))]));
        assert!(!claims.damaged);
    }

    #[test]
    fn a_torn_end_is_left_out_at_every_byte() {
        let (bytes, starts) = sample();
        for len in starts[2]..bytes.len() {
            let claims = parse(&bytes[..len]);
            assert_eq!(claims.logs["t-0"], mark(7), "cut to {len}");
            assert!(!claims.damaged);
        }
    }

    #[test]
    fn a_file_that_was_zeroed_in_advance_says_the_same() {
        let mut journal = Journal::new(200);
        let mut block = journal.start_file();
        block.name(1, "t-0");
        block.claim(1, &mark(4));
        let (mut bytes, len) = journal.first_bytes(block);
        journal.replaced(FileId(1), len);
        assert_eq!((bytes.len(), journal.is_due_for_rotation()), (4 * usize::try_from(len).unwrap(), false));
        let mut block = journal.block();
        block.claim(1, &mark(8));
        let second = block.finish();
        let at = usize::try_from(len).unwrap();
        // The block is there as far as it was written when the power went.
        for written in 0..=second.len() {
            bytes[at..at + written].copy_from_slice(&second[..written]);
            let claims = parse(&bytes);
            let claimed = if written == second.len() { mark(8) } else { mark(4) };
            assert_eq!((claims.logs["t-0"], claims.damaged), (claimed, false), "{written} bytes");
        }
        journal.len = bytes.len() as u64;
        assert!(journal.is_due_for_rotation());
    }

    #[test]
    fn damage_within_is_seen_and_later_blocks_still_count() {
        let (bytes, starts) = sample();
        for at in starts[1]..starts[2] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x40;
            let claims = parse(&bytes);
            assert_eq!(claims.logs["t-0"], mark(12), "byte {at}");
            assert!(claims.damaged);
        }
    }

    #[test]
    fn a_first_block_that_is_gone_is_seen_whatever_follows() {
        let mut journal = Journal::default();
        let mut block = journal.start_file();
        block.name(1, "t-0");
        block.claim(1, &mark(4));
        let mut bytes = block.finish();
        let first = bytes.len();
        let mut block = journal.block();
        block.name(2, "u-0");
        block.claim(2, &mark(5));
        bytes.extend(block.finish());
        for at in MAGIC.len()..first {
            for len in [first, bytes.len()] {
                let mut bytes = bytes[..len].to_vec();
                bytes[at] ^= 0x40;
                assert!(parse(&bytes).damaged, "byte {at} of {len}");
            }
        }
        assert!(parse(MAGIC).damaged);
        assert!(!parse(&[]).damaged, "there was none");
    }
}
