//! The encoder's buffer.
//!
//! Record bytes need not pass through it: a [`Records::External`] value writes only its length and leaves a
//! [`Split`], the place where a run of bytes from elsewhere (a file range) belongs. A Fetch response is then
//! sent as buffers and file ranges in turn.
//!
//! Absent on purpose: failure. A value that cannot be written is a fault of ours; a string that is longer than
//! the wire allows (an error message) is cut.

use crate::Records;
use crate::primitives::{MAX_STRING, Version};

/// A place in a [`Writer`]'s bytes where bytes from elsewhere belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// The number of the writer's own bytes that come before.
    pub position: usize,
    /// How many bytes from elsewhere.
    pub len: u32,
}

/// Collects encoded values.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    splits: Vec<Split>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), splits: Vec::new() }
    }

    /// A writer that appends to `bytes`; pooled buffers come in so.
    pub fn append_to(bytes: Vec<u8>) -> Self {
        Self { bytes, splits: Vec::new() }
    }

    /// The bytes written, without those of the splits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The places where bytes from elsewhere belong, in order.
    pub fn splits(&self) -> &[Split] {
        &self.splits
    }

    /// The bytes written.
    ///
    /// # Panics
    /// If there are splits: use [`Writer::into_parts`].
    pub fn into_bytes(self) -> Vec<u8> {
        assert!(self.splits.is_empty(), "a message with external records was taken as plain bytes");
        self.bytes
    }

    /// The bytes written and the places where others belong.
    pub fn into_parts(self) -> (Vec<u8>, Vec<Split>) {
        (self.bytes, self.splits)
    }

    /// The number of bytes written, without those of the splits.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.splits.clear();
    }

    /// Appends raw bytes.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Overwrites bytes that were written before.
    ///
    /// # Panics
    /// If `position` plus their number is beyond what was written.
    pub fn patch(&mut self, position: usize, bytes: &[u8]) {
        self.bytes[position..position + bytes.len()].copy_from_slice(bytes);
    }

    /// Appends an unsigned variable-length integer.
    #[inline]
    pub fn put_uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(low_byte(value) | 0x80);
            value >>= 7;
        }
        self.bytes.push(low_byte(value));
    }

    /// Appends the length of bytes or of an array; `None` is null.
    pub fn put_length(&mut self, length: Option<usize>, v: Version) {
        let length = length.map(|n| i32::try_from(n).expect("a message of ours is below 2 GiB"));
        if v.flexible {
            self.put_uvarint(length.map_or(0, |n| n.unsigned_abs() + 1));
        } else {
            self.put(&length.unwrap_or(-1).to_be_bytes());
        }
    }

    /// Appends a nullable string, cut to 32,767 bytes.
    pub fn put_string(&mut self, string: Option<&str>, v: Version) {
        let string = string.map(|s| &s[..s.floor_char_boundary(MAX_STRING)]);
        if v.flexible {
            self.put_length(string.map(str::len), v);
        } else {
            let length = string.map(|s| i16::try_from(s.len()).expect("cut to the greatest i16 above"));
            self.put(&length.unwrap_or(-1).to_be_bytes());
        }
        self.put(string.unwrap_or_default().as_bytes());
    }

    /// Appends nullable bytes.
    pub fn put_bytes(&mut self, bytes: Option<&[u8]>, v: Version) {
        self.put_length(bytes.map(<[u8]>::len), v);
        self.put(bytes.unwrap_or_default());
    }

    /// Appends nullable records: their length, and their bytes or a [`Split`].
    pub fn put_records(&mut self, records: Option<Records<'_>>, v: Version) {
        match records {
            Some(Records::External { len }) => {
                self.put_length(usize::try_from(len).ok(), v);
                if len > 0 {
                    self.splits.push(Split { position: self.bytes.len(), len });
                }
            }
            Some(Records::Slice(bytes)) => self.put_bytes(Some(bytes), v),
            None => self.put_bytes(None, v),
        }
    }

    /// Appends a tagged field, whose value `write` appends. No tagged field of Kafka's holds records, so a
    /// split never lies in one.
    pub fn put_tagged(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        self.put_uvarint(tag);
        let start = self.bytes.len();
        self.bytes.push(0);
        write(self);
        self.end_tagged(start);
    }

    fn end_tagged(&mut self, start: usize) {
        let size = self.bytes.len() - start - 1;
        let size = u32::try_from(size).expect("a message of ours is below 2 GiB");
        if size < 0x80 {
            self.bytes[start] = low_byte(size);
            return;
        }
        let mut prefix = Self::new();
        prefix.put_uvarint(size);
        self.bytes.splice(start..=start, prefix.bytes);
    }
}

fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0] & 0x7f
}
