//! A field of record batches, whose bytes need not pass through the encoder.

/// Record batches in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records<'a> {
    /// The bytes. Decoding always gives this.
    Slice(&'a [u8]),
    /// So many bytes from elsewhere: encoding writes their length and notes a [`Split`](crate::Split).
    External {
        /// How many bytes.
        len: u32,
    },
}

impl<'a> Records<'a> {
    /// No records.
    pub const EMPTY: Self = Self::Slice(&[]);

    /// The number of bytes.
    pub fn len(&self) -> usize {
        match *self {
            Self::Slice(bytes) => bytes.len(),
            Self::External { len } => usize::try_from(len).unwrap_or(usize::MAX),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are here.
    pub fn as_slice(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Slice(bytes) => Some(bytes),
            Self::External { .. } => None,
        }
    }
}

impl Default for Records<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}
