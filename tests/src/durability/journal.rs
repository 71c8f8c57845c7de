//! Reads the claims in the writes to a flush journal (`docs/architecture.md`), written again from its description
//! so that the proof does not rest on what it proves.

use std::collections::BTreeMap;

use super::strace::Piece;

/// "This log is durable up to here": its directory's name, and the offset after the last that is.
pub type Claim = (String, i64);

/// How the journal's files are called.
pub const NAMES: [&str; 2] = ["/flush-journal", "/flush-journal.tmp"];

const MAGIC: &[u8] = b"OTTLAFJ1";

/// The numbers that one file has given to logs.
pub type Names = BTreeMap<u32, String>;

/// The claims of one write: whole blocks, the first of a file after its beginning.
pub fn claims(pieces: &[Piece], names: &mut Names) -> Result<Vec<Claim>, String> {
    let mut bytes = Vec::new();
    for piece in pieces {
        if u64::try_from(piece.shown.len()) != Ok(piece.len) {
            return Err("the trace does not show a whole block of the flush journal".to_owned());
        }
        bytes.extend(&piece.shown);
    }
    let mut rest = Fields(bytes.strip_prefix(MAGIC).unwrap_or(&bytes));
    let mut claims = Vec::new();
    while !rest.0.is_empty() {
        let body = rest.block().ok_or("a write to the flush journal that is not whole blocks")?;
        let mut entries = Fields(body);
        while !entries.0.is_empty() {
            claims.extend(entries.entry(names).ok_or("an entry of the flush journal that cannot be read")?);
        }
    }
    Ok(claims)
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Length, CRC, sequence number; gives the entries.
    fn block(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.take()?);
        let crc = u32::from_be_bytes(self.take()?);
        let body = self.bytes(usize::try_from(length).ok()?)?;
        (crc32c::crc32c(body) == crc).then(|| body.get(8..)).flatten()
    }

    /// A name, a claim, or a deletion; the outer `None` is an entry that cannot be read.
    fn entry(&mut self, names: &mut Names) -> Option<Option<Claim>> {
        let [kind] = self.take()?;
        let id = u32::from_be_bytes(self.take()?);
        match kind {
            0 => {
                let length = u16::from_be_bytes(self.take()?);
                let name = String::from_utf8(self.bytes(usize::from(length))?.to_vec()).ok()?;
                names.insert(id, name);
                Some(None)
            }
            1 => {
                let end = i64::from_be_bytes(self.take()?);
                // Where its last batch lies, and that batch's CRC.
                self.bytes(8 + 4 + 4 + 1 + 4)?;
                // After the directory's name comes the topic's id.
                let directory = names.get(&id)?.split([' ', '/']).next()?;
                Some(Some((directory.to_owned(), end)))
            }
            2 => Some(None),
            _ => None,
        }
    }
}
