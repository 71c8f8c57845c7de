//! Record files, the harness's common tongue with its client scripts (`interop/README.md` has the format), and the
//! records that the cases send.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// A record as a client sent or received it.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition's number.
    pub partition: i32,
    /// The offset, or -1 where it is still to be written.
    pub offset: i64,
    /// Milliseconds since 1970, or -1: the client chooses.
    pub timestamp: i64,
    /// The key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is null (a tombstone).
    pub value: Option<Vec<u8>>,
    /// Names and values in order; a name may come twice.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record that is still to be written, without headers and timestamp.
    pub fn new(partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        Self { partition, offset: -1, timestamp: -1, key, value, headers: Vec::new() }
    }

    /// True if key, value and headers are the same; where the reader `blurs_nulls`, a null is as good as nothing.
    pub fn same_content(&self, other: &Self, blurs_nulls: bool) -> bool {
        fn blurred(record: &Record) -> Record {
            let mut blurred = record.clone();
            let headers = blurred.headers.iter_mut().map(|(_, value)| value);
            for part in [&mut blurred.key, &mut blurred.value].into_iter().chain(headers) {
                part.get_or_insert_default();
            }
            blurred
        }
        let same = |one: &Self, other: &Self| {
            (&one.key, &one.value, &one.headers) == (&other.key, &other.value, &other.headers)
        };
        same(self, other) || blurs_nulls && same(&blurred(self), &blurred(other))
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, offset, timestamp, key, value, headers } = self;
        write!(f, "p{partition}@{offset} ts={timestamp} key={} value={}", brief(key.as_ref()), brief(value.as_ref()))?;
        for (name, value) in headers {
            write!(f, " {name:?}={}", brief(value.as_ref()))?;
        }
        Ok(())
    }
}

fn brief(bytes: Option<&Vec<u8>>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) if bytes.len() <= 40 => format!("\"{}\"", bytes.escape_ascii()),
        Some(bytes) => format!("\"{}…\" ({} bytes)", bytes[..24].escape_ascii(), bytes.len()),
    }
}

/// Writes a record file.
pub fn save(path: &Path, records: &[Record]) -> io::Result<()> {
    let mut out = Vec::new();
    for record in records {
        out.extend(record.partition.to_be_bytes());
        out.extend(record.offset.to_be_bytes());
        out.extend(record.timestamp.to_be_bytes());
        put_bytes(&mut out, record.key.as_deref())?;
        put_bytes(&mut out, record.value.as_deref())?;
        out.extend(length(record.headers.len())?.to_be_bytes());
        for (name, value) in &record.headers {
            put_bytes(&mut out, Some(name.as_bytes()))?;
            put_bytes(&mut out, value.as_deref())?;
        }
    }
    fs::write(path, out)
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes {
        None => out.extend((-1_i32).to_be_bytes()),
        Some(bytes) => {
            out.extend(length(bytes.len())?.to_be_bytes());
            out.extend(bytes);
        }
    }
    Ok(())
}

fn length(count: usize) -> io::Result<i32> {
    i32::try_from(count).map_err(io::Error::other)
}

/// Reads a record file.
pub fn load(path: &Path) -> io::Result<Vec<Record>> {
    let bytes = fs::read(path)?;
    let mut rest = Cursor(&bytes);
    let mut records = Vec::new();
    while !rest.0.is_empty() {
        let (partition, offset, timestamp) = (rest.i32()?, rest.i64()?, rest.i64()?);
        let (key, value) = (rest.bytes()?, rest.bytes()?);
        let mut headers = Vec::new();
        for _ in 0..rest.i32()? {
            let name = rest.bytes()?.ok_or_else(|| io::Error::other("a header without a name"))?;
            headers.push((String::from_utf8(name).map_err(io::Error::other)?, rest.bytes()?));
        }
        records.push(Record { partition, offset, timestamp, key, value, headers });
    }
    Ok(records)
}

/// Partition and offset.
const OFFSET_LEN: usize = 12;

/// Reads an offsets file: partition and offset of each record, in the order of the input.
pub fn load_offsets(path: &Path) -> io::Result<Vec<(i32, i64)>> {
    parse_offsets(&fs::read(path)?)
}

/// The same of a file that somebody writes to, or was killed at: without what is cut at its end.
pub fn load_offsets_so_far(path: &Path) -> io::Result<Vec<(i32, i64)>> {
    let bytes = fs::read(path)?;
    parse_offsets(&bytes[..bytes.len() - bytes.len() % OFFSET_LEN])
}

fn parse_offsets(bytes: &[u8]) -> io::Result<Vec<(i32, i64)>> {
    let mut rest = Cursor(bytes);
    let mut offsets = Vec::new();
    while !rest.0.is_empty() {
        offsets.push((rest.i32()?, rest.i64()?));
    }
    Ok(offsets)
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take(&mut self, count: usize) -> io::Result<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| io::Error::other("a cut record file"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().map_err(io::Error::other)?))
    }

    fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into().map_err(io::Error::other)?))
    }

    fn bytes(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.i32()? {
            -1 => Ok(None),
            length => Ok(Some(self.take(usize::try_from(length).map_err(io::Error::other)?)?.to_vec())),
        }
    }
}

/// A small seeded generator (SplitMix64), so that a run can be repeated.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// `length` bytes of lower-case letters: text, so that every client can carry it, and hard to compress.
    pub fn letters(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| b"abcdefghijklmnopqrstuvwxyz"[usize::from(self.next().to_be_bytes()[0] % 26)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_file_round_trips() {
        let mut first = Record::new(3, None, Some(b""));
        first.headers = vec![("h".to_owned(), None), ("h".to_owned(), Some(b"\x00\xff".to_vec()))];
        let records = vec![first, Record::new(0, Some(b"k"), None)];
        let path = std::env::temp_dir().join(format!("ottla-records-{}", std::process::id()));
        save(&path, &records).unwrap();
        assert_eq!(load(&path).unwrap(), records);
        fs::write(&path, [0, 0, 0]).unwrap();
        assert!(load(&path).is_err());
        fs::remove_file(&path).unwrap();
    }
}
