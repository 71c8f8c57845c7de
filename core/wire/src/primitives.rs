//! The primitive types of Kafka's wire format, and the bounds under which input is decoded.
//!
//! Decoding borrows from the frame: strings, bytes and records are slices of it, only arrays allocate. Four
//! bounds keep a hostile frame harmless, whatever it claims:
//!
//! * a length is compared with the bytes that are left, by the *least* size that many elements can have on the
//!   wire ([`Wire::LEAST`]), before anything is reserved;
//! * arrays may take [`Limits::memory`] bytes in total: for a request four times its frame and a little more;
//! * and hold [`Limits::elements`] elements in total;
//! * a string has at most 32,767 bytes, as in Kafka.
//!
//! Every failure is a [`DecodeError`]; nothing in here panics on input. Strings must be UTF-8 (Kafka's Java
//! decoder puts replacement characters instead; a name that cannot be written back is of no use).
//!
//! Absent on purpose: generic sinks and sources. There is one [`Reader`] over a slice and one
//! [`Writer`](crate::Writer) into a `Vec`, and the code that every message shares is outlined.

use crate::writer::Writer;
use crate::{Records, Uuid};

/// The result of decoding.
pub type Result<T> = std::result::Result<T, DecodeError>;

/// The version that a message is read or written at, and whether that version has flexible encodings (KIP-482).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The version number of the message.
    pub number: i16,
    /// Compact lengths and tagged fields.
    pub flexible: bool,
}

/// Why a frame could not be decoded. The connection that it came from is closed.
///
/// Its numbers have 32 bits, saturated, so that a `Result` stays small: each value of a frame comes in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// A value or an array needs more bytes than are left.
    Truncated {
        /// Bytes that it needs at least.
        needed: u32,
        /// Bytes that are left.
        left: u32,
    },
    /// A length below -1.
    NegativeLength(i32),
    /// A frame's length prefix above what the caller takes.
    FrameTooLarge {
        /// What the prefix says, in bytes.
        length: u32,
        /// What the caller takes, in bytes.
        max: u32,
    },
    /// Null where this version has no null.
    UnexpectedNull,
    /// A string that is not UTF-8.
    InvalidUtf8,
    /// A string of more than 32,767 bytes.
    StringTooLong(u32),
    /// A variable-length integer of more than 32 (or 64) bits.
    VarintTooLong,
    /// The arrays of the message would take more memory than its frame allows.
    TooMuchMemory,
    /// The arrays of the message have more elements than a frame may have.
    TooManyElements,
    /// Bytes after the end of a value whose size is given.
    TrailingBytes(u32),
    /// No API has this key.
    UnknownApiKey(i16),
    /// The message does not have this version.
    UnsupportedVersion(i16),
    /// No metadata record has this type.
    UnknownRecordType(u32),
    /// No group record that is known here has this type.
    UnknownGroupRecordType(i16),
    /// A metadata record in a frame version other than 1.
    UnknownFrameVersion(u32),
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated { needed, left } => {
                write!(f, "truncated: {needed} bytes needed, {left} left")
            }
            Self::NegativeLength(n) => write!(f, "negative length {n}"),
            Self::FrameTooLarge { length, max } => {
                write!(f, "frame of {length} bytes exceeds the limit of {max}")
            }
            Self::UnexpectedNull => f.write_str("null in a field that cannot be null in this version"),
            Self::InvalidUtf8 => f.write_str("string is not UTF-8"),
            Self::StringTooLong(n) => write!(f, "string of {n} bytes exceeds 32767"),
            Self::VarintTooLong => f.write_str("variable-length integer has too many bytes"),
            Self::TooMuchMemory => f.write_str("arrays need too much memory for the size of the frame"),
            Self::TooManyElements => f.write_str("arrays have too many elements"),
            Self::TrailingBytes(n) => write!(f, "{n} bytes too many"),
            Self::UnknownApiKey(key) => write!(f, "unknown API key {key}"),
            Self::UnsupportedVersion(version) => write!(f, "unsupported version {version}"),
            Self::UnknownRecordType(kind) => write!(f, "unknown metadata record type {kind}"),
            Self::UnknownGroupRecordType(kind) => write!(f, "unknown group record type {kind}"),
            Self::UnknownFrameVersion(version) => {
                write!(f, "unknown metadata frame version {version}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// What the arrays of one message may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: usize,
    /// Elements, over all arrays.
    pub elements: usize,
}

impl Limits {
    /// For a request of `frame_len` bytes, from anyone: four times the frame and 64 KiB (many tiny elements are
    /// wider in memory than on the wire), 100,000 elements.
    pub const fn request(frame_len: usize) -> Self {
        Self { memory: frame_len.saturating_mul(4).saturating_add(64 << 10), elements: 100_000 }
    }

    /// For a response of `frame_len` bytes from a broker of our choice: sixteen times the frame and 64 KiB, ten
    /// million elements (the metadata of a large cluster has millions).
    pub const fn response(frame_len: usize) -> Self {
        Self { memory: frame_len.saturating_mul(16).saturating_add(64 << 10), elements: 10_000_000 }
    }

    /// For a record of `len` bytes of a log of our own: as many elements as it has bytes, and 128 bytes of memory for
    /// each. What a log has taken must be readable for ever, and it has bounded its size already.
    pub const fn record(len: usize) -> Self {
        Self { memory: len.saturating_mul(128).saturating_add(64 << 10), elements: len }
    }
}

/// Reads values off a frame, front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    limits: Limits,
}

impl<'a> Reader<'a> {
    /// A reader within the [limits of a request](Limits::request).
    pub fn new(frame: &'a [u8]) -> Self {
        Self::with_limits(frame, Limits::request(frame.len()))
    }

    /// A reader within the [limits of a record](Limits::record).
    pub fn of_record(bytes: &'a [u8]) -> Self {
        Self::with_limits(bytes, Limits::record(bytes.len()))
    }

    /// A reader within `limits`.
    pub fn with_limits(frame: &'a [u8], limits: Limits) -> Self {
        Self { rest: frame, limits }
    }

    /// The bytes that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The number of bytes that were not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// What may still be allocated.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Checks that everything was read, for values whose size is given. Kafka ignores what trails a request's or
    /// a response's body, so [`Message::decode`](crate::Message::decode) does not call this.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`] otherwise.
    pub fn finish(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes(u32_from(self.rest.len()))) }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(truncated(len, self.rest.len())),
        }
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(truncated(N, self.rest.len())),
        }
    }

    /// An unsigned variable-length integer of at most 32 bits.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], or [`DecodeError::VarintTooLong`] for more than 32 bits.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u32::from(byte))
            }
            _ => self.long_uvarint(),
        }
    }

    #[cold]
    fn long_uvarint(&mut self) -> Result<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// The length before a string, bytes or an array; `None` is null. `short` is the 16-bit classic form.
    fn length(&mut self, v: Version, short: bool) -> Result<Option<usize>> {
        if v.flexible {
            return Ok(usize_from(self.uvarint()?).checked_sub(1));
        }
        let length =
            if short { i32::from(i16::from_be_bytes(self.array()?)) } else { i32::from_be_bytes(self.array()?) };
        match u32::try_from(length) {
            Ok(length) => Ok(Some(usize_from(length))),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(DecodeError::NegativeLength(length)),
        }
    }

    /// A nullable string.
    ///
    /// # Errors
    /// If it is cut, longer than 32,767 bytes or no UTF-8.
    pub fn string(&mut self, v: Version) -> Result<Option<&'a str>> {
        let Some(length) = self.length(v, true)? else {
            return Ok(None);
        };
        if length > MAX_STRING {
            return Err(DecodeError::StringTooLong(u32_from(length)));
        }
        std::str::from_utf8(self.take(length)?).map(Some).map_err(|_| DecodeError::InvalidUtf8)
    }

    /// Nullable bytes.
    ///
    /// # Errors
    /// If they are cut.
    pub fn bytes(&mut self, v: Version) -> Result<Option<&'a [u8]>> {
        match self.length(v, false)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// The number of elements of a nullable array whose elements take `least` bytes each at least on the wire and
    /// `size` in memory. What they take is charged to the limits; `size` 0 is for a walk that allocates nothing.
    ///
    /// # Errors
    /// If so many elements cannot follow, or are beyond the limits.
    pub fn array_len(&mut self, v: Version, least: usize, size: usize) -> Result<Option<usize>> {
        let Some(count) = self.length(v, false)? else {
            return Ok(None);
        };
        let needed = count.saturating_mul(least.max(1));
        if needed > self.rest.len() {
            return Err(truncated(needed, self.rest.len()));
        }
        self.limits.elements = self.limits.elements.checked_sub(count).ok_or(DecodeError::TooManyElements)?;
        let memory = count.saturating_mul(size);
        self.limits.memory = self.limits.memory.checked_sub(memory).ok_or(DecodeError::TooMuchMemory)?;
        Ok(Some(count))
    }

    /// Walks the tagged fields that end a struct in a flexible version. `field` reads the value of a tag that it
    /// knows and says whether it did; what it does not know is skipped.
    ///
    /// # Errors
    /// If the section is cut or a known value does not fill its size.
    pub fn tags(&mut self, v: Version, field: &mut dyn FnMut(u32, &mut Self) -> Result<bool>) -> Result<()> {
        if !v.flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()?;
            let body = self.take(usize_from(size))?;
            let rest = std::mem::replace(&mut self.rest, body);
            if field(tag, self)? {
                self.finish()?;
            }
            self.rest = rest;
        }
        Ok(())
    }

    /// Skips the tagged fields that end a struct in a flexible version.
    ///
    /// # Errors
    /// If the section is cut.
    #[inline]
    pub fn skip_tags(&mut self, v: Version) -> Result<()> {
        match self.rest {
            _ if !v.flexible => Ok(()),
            [0, rest @ ..] => {
                self.rest = rest;
                Ok(())
            }
            _ => self.tags(v, &mut |_, _| Ok(false)),
        }
    }
}

/// The most bytes a string can have: the classic length is a signed 16-bit integer.
pub(crate) const MAX_STRING: usize = 0x7fff;

#[cold]
fn truncated(needed: usize, left: usize) -> DecodeError {
    DecodeError::Truncated { needed: u32_from(needed), left: u32_from(left) }
}

/// A length for a message to a human.
pub(crate) fn u32_from(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A wire length as an index. Lossless: no target of ours has a `usize` below 32 bits.
fn usize_from(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A value of the wire format.
pub trait Wire<'a>: Sized {
    /// The least number of bytes that a value has on the wire, in any version.
    const LEAST: usize;

    /// Reads a value.
    ///
    /// # Errors
    /// If the input is no such value, or beyond the reader's limits.
    fn read(r: &mut Reader<'a>, v: Version) -> Result<Self>;

    /// Appends the value.
    fn write(&self, w: &mut Writer, v: Version);
}

macro_rules! fixed {
    ($($ty:ty, $size:literal;)*) => { $(
        impl Wire<'_> for $ty {
            const LEAST: usize = $size;

            #[inline]
            fn read(r: &mut Reader<'_>, _: Version) -> Result<Self> {
                Ok(Self::from_be_bytes(r.array()?))
            }

            #[inline]
            fn write(&self, w: &mut Writer, _: Version) {
                w.put(&self.to_be_bytes());
            }
        }
    )* };
}

fixed! { i8, 1; i16, 2; u16, 2; i32, 4; u32, 4; i64, 8; f64, 8; }

impl Wire<'_> for bool {
    const LEAST: usize = 1;

    #[inline]
    fn read(r: &mut Reader<'_>, _: Version) -> Result<Self> {
        let [byte] = r.array()?;
        Ok(byte != 0)
    }

    #[inline]
    fn write(&self, w: &mut Writer, _: Version) {
        w.put(&[u8::from(*self)]);
    }
}

impl Wire<'_> for Uuid {
    const LEAST: usize = 16;

    #[inline]
    fn read(r: &mut Reader<'_>, _: Version) -> Result<Self> {
        Ok(Self(u128::from_be_bytes(r.array()?)))
    }

    #[inline]
    fn write(&self, w: &mut Writer, _: Version) {
        w.put(&self.0.to_be_bytes());
    }
}

impl<'a> Wire<'a> for &'a str {
    const LEAST: usize = 1;

    fn read(r: &mut Reader<'a>, v: Version) -> Result<Self> {
        r.string(v)?.ok_or(DecodeError::UnexpectedNull)
    }

    fn write(&self, w: &mut Writer, v: Version) {
        w.put_string(Some(self), v);
    }
}

impl<'a> Wire<'a> for Option<&'a str> {
    const LEAST: usize = 1;

    fn read(r: &mut Reader<'a>, v: Version) -> Result<Self> {
        r.string(v)
    }

    fn write(&self, w: &mut Writer, v: Version) {
        w.put_string(*self, v);
    }
}

impl<'a> Wire<'a> for &'a [u8] {
    const LEAST: usize = 1;

    fn read(r: &mut Reader<'a>, v: Version) -> Result<Self> {
        r.bytes(v)?.ok_or(DecodeError::UnexpectedNull)
    }

    fn write(&self, w: &mut Writer, v: Version) {
        w.put_bytes(Some(self), v);
    }
}

impl<'a> Wire<'a> for Option<&'a [u8]> {
    const LEAST: usize = 1;

    fn read(r: &mut Reader<'a>, v: Version) -> Result<Self> {
        r.bytes(v)
    }

    fn write(&self, w: &mut Writer, v: Version) {
        w.put_bytes(*self, v);
    }
}

impl<'a> Wire<'a> for Records<'a> {
    const LEAST: usize = 1;

    fn read(r: &mut Reader<'a>, v: Version) -> Result<Self> {
        r.bytes(v)?.map(Self::Slice).ok_or(DecodeError::UnexpectedNull)
    }

    fn write(&self, w: &mut Writer, v: Version) {
        w.put_records(Some(*self), v);
    }
}

impl<'a> Wire<'a> for Option<Records<'a>> {
    const LEAST: usize = 1;

    fn read(r: &mut Reader<'a>, v: Version) -> Result<Self> {
        Ok(r.bytes(v)?.map(Records::Slice))
    }

    fn write(&self, w: &mut Writer, v: Version) {
        w.put_records(*self, v);
    }
}

impl<'a, T: Wire<'a>> Wire<'a> for Option<Vec<T>> {
    const LEAST: usize = 1;

    fn read(r: &mut Reader<'a>, v: Version) -> Result<Self> {
        let Some(count) = r.array_len(v, T::LEAST, size_of::<T>())? else {
            return Ok(None);
        };
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(T::read(r, v)?);
        }
        Ok(Some(items))
    }

    fn write(&self, w: &mut Writer, v: Version) {
        match self {
            Some(items) => items.write(w, v),
            None => w.put_length(None, v),
        }
    }
}

impl<'a, T: Wire<'a>> Wire<'a> for Vec<T> {
    const LEAST: usize = 1;

    fn read(r: &mut Reader<'a>, v: Version) -> Result<Self> {
        Option::<Self>::read(r, v)?.ok_or(DecodeError::UnexpectedNull)
    }

    fn write(&self, w: &mut Writer, v: Version) {
        w.put_length(Some(self.len()), v);
        for item in self {
            item.write(w, v);
        }
    }
}
