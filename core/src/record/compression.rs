//! The codecs of a record batch, as every Kafka client writes and reads them.
//!
//! * gzip: one member or several.
//! * snappy: the "xerial" stream of snappy-java (a 16-byte header, then blocks with an int32 length), or one
//!   raw block without any frame, which librdkafka, franz-go and kafkajs send. We write the former, in blocks of
//!   32 KiB as Java does, because each client reads it and some read only it.
//! * lz4: one LZ4 frame of independent blocks. Java refuses linked blocks, so we neither take nor write them.
//! * zstd: frames with a window of at most 128 MiB, which is the decoder's own limit and Java's.
//!
//! Invariants: inflating never holds more than the codec's window, and stops at the caller's limit; the
//! exception is raw snappy, whose format needs the whole block: its declared size is believed only up to 22
//! times the bytes that are there, which is more than any snappy block can reach.

use std::io::{Read, Write};

use flate2::bufread::MultiGzDecoder;

use super::zstd_frames::{self, Frames};

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy, in snappy-java's stream or raw.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// RFC 8878 (KIP-110).
    Zstd,
}

/// A codec with the level to compress at (KIP-390); the numbers are Kafka's `compression.*.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// 1 to 9; -1 is the library's default, 6.
    Gzip(i32),
    /// Has no levels.
    Snappy,
    /// 1 to 17. As in Java, 9 (the default) stands for the fast compressor and the others for the high one.
    Lz4(i32),
    /// Up to 22; 3 is the default.
    Zstd(i32),
}

/// Why compressed bytes cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The attributes name a codec that does not exist.
    #[error("there is no compression codec {0}")]
    UnknownCodec(i16),
    /// The bytes are not what the codec writes.
    #[error("the {0:?} stream is damaged")]
    Damaged(Codec),
    /// The bytes inflate to more than the caller allows.
    #[error("the records inflate to more than {limit} bytes")]
    TooLarge {
        /// The caller's limit, in bytes.
        limit: u64,
    },
}

impl Codec {
    /// The codec of a number in a batch's attributes.
    pub fn from_id(id: i16) -> Result<Self, InflateError> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(InflateError::UnknownCodec(other)),
        }
    }

    /// Its number in a batch's attributes.
    pub fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec at its default level.
    pub fn at_default_level(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip(-1),
            Self::Snappy => Compression::Snappy,
            Self::Lz4 => Compression::Lz4(LZ4_FAST),
            Self::Zstd => Compression::Zstd(3),
        }
    }

    /// Appends the inflated bytes to `out`, at most `limit` of them; `out` grows only by what was inflated.
    pub fn inflate(self, bytes: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<(), InflateError> {
        let mut inflater = Inflater::new(self, bytes, limit)?;
        let start = out.len();
        let mut filled = start;
        loop {
            if filled == out.len() {
                // A small batch is not worth a big chunk.
                let more = (filled - start).max(bytes.len().saturating_mul(4)).clamp(1 << 10, CHUNK);
                out.resize(filled + more, 0);
            }
            let read = inflater.read(&mut out[filled..])?;
            filled += read;
            if read == 0 {
                out.truncate(filled);
                return Ok(());
            }
        }
    }
}

impl Compression {
    /// The codec without the level.
    pub fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip(_) => Codec::Gzip,
            Self::Snappy => Codec::Snappy,
            Self::Lz4(_) => Codec::Lz4,
            Self::Zstd(_) => Codec::Zstd,
        }
    }

    /// Appends the compressed bytes to `out`. A level outside the codec's range is taken as the nearest in it.
    pub fn compress(self, bytes: &[u8], out: &mut Vec<u8>) {
        let done = match self {
            Self::None => out.write_all(bytes),
            Self::Gzip(level) => gzip(level, bytes, out),
            Self::Snappy => snappy(bytes, out),
            Self::Lz4(level) => lz4(level, bytes, out),
            Self::Zstd(level) => zstd(level, bytes, out),
        };
        done.expect("writing to a Vec does not fail, and levels are brought into range");
    }
}

/// Reads inflated bytes piece by piece, and never more than the limit.
pub(super) struct Inflater<'a> {
    codec: Codec,
    stream: Stream<'a>,
    left: u64,
    limit: u64,
}

/// One of each codec's readers; boxed, because some are hundreds of bytes.
enum Stream<'a> {
    Plain(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Snappy(SnappyBlocks<'a>),
    /// `None` once the frame has ended.
    Lz4(Option<lz4::Decoder<&'a [u8]>>),
    Zstd(Frames<'a>),
}

impl<'a> Inflater<'a> {
    pub(super) fn new(codec: Codec, bytes: &'a [u8], limit: u64) -> Result<Self, InflateError> {
        let damaged = |_| InflateError::Damaged(codec);
        let stream = match codec {
            Codec::None => Stream::Plain(bytes),
            Codec::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(bytes))),
            Codec::Snappy => Stream::Snappy(SnappyBlocks::new(bytes)),
            Codec::Lz4 if has_linked_blocks(bytes) => return Err(InflateError::Damaged(codec)),
            Codec::Lz4 => Stream::Lz4(Some(lz4::Decoder::new(bytes).map_err(damaged)?)),
            Codec::Zstd => Stream::Zstd(Frames::new(bytes)),
        };
        Ok(Self { codec, stream, left: limit, limit })
    }

    /// Fills `out` as far as the codec gives at once; 0 means the end, if `out` is not empty.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, InflateError> {
        let read = match &mut self.stream {
            Stream::Plain(bytes) => bytes.read(out).ok(),
            Stream::Gzip(gzip) => gzip.read(out).ok(),
            Stream::Snappy(blocks) => blocks.read(out, self.left),
            Stream::Lz4(frame) => read_lz4(frame, out),
            Stream::Zstd(frames) => frames.read(out),
        };
        let read = read.ok_or(InflateError::Damaged(self.codec))?;
        let read_len = u64::try_from(read).expect("a length in memory fits 64 bits");
        match self.left.checked_sub(read_len) {
            Some(left) => self.left = left,
            None => return Err(InflateError::TooLarge { limit: self.limit }),
        }
        Ok(read)
    }
}

/// How much is inflated at a time.
const CHUNK: usize = 64 << 10;
/// The level that stands for the fast compressor.
const LZ4_FAST: i32 = 9;
/// Inflated bytes in a block of the streams that we write; snappy-java's default.
const SNAPPY_BLOCK: usize = 32 << 10;
/// Opens a snappy-java stream: magic, version 1, readable by version 1.
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// The part of the header that tells such a stream from a raw block.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";

/// The blocks of a snappy stream; a raw one is a single block.
struct SnappyBlocks<'a> {
    rest: &'a [u8],
    raw: bool,
    block: Vec<u8>,
    /// How much of `block` was read.
    read: usize,
}

impl<'a> SnappyBlocks<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, raw: !bytes.starts_with(XERIAL_MAGIC), block: Vec::new(), read: 0 }
    }

    /// As [`Inflater::read`]; a block of more than `left` bytes is not inflated, but counted.
    fn read(&mut self, out: &mut [u8], left: u64) -> Option<usize> {
        while self.read == self.block.len() {
            let Some(block) = self.next_block()? else {
                return Some(0);
            };
            let len = snap::raw::decompress_len(block).ok()?;
            if len > block.len().saturating_mul(SNAPPY_MOST_RATIO) {
                return None;
            }
            if u64::try_from(len).ok()? > left {
                return Some(len);
            }
            self.block.resize(len, 0);
            snap::raw::Decoder::new().decompress(block, &mut self.block).ok()?;
            self.read = 0;
        }
        let len = out.len().min(self.block.len() - self.read);
        out[..len].copy_from_slice(&self.block[self.read..self.read + len]);
        self.read += len;
        Some(len)
    }

    /// The next compressed block: `Some(None)` at the end, `None` if the stream is damaged.
    fn next_block(&mut self) -> Option<Option<&'a [u8]>> {
        if self.raw {
            let block = std::mem::take(&mut self.rest);
            return Some((!block.is_empty()).then_some(block));
        }
        // Concatenated streams each have their header, as snappy-java reads them.
        while self.rest.starts_with(XERIAL_MAGIC) {
            self.rest = self.rest.get(XERIAL_HEADER.len()..)?;
        }
        if self.rest.is_empty() {
            return Some(None);
        }
        let (len, rest) = self.rest.split_first_chunk::<4>()?;
        let len = usize::try_from(i32::from_be_bytes(*len)).ok()?;
        let (block, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Some(block))
    }
}

/// A copy of 64 bytes takes 3, so no block inflates further.
const SNAPPY_MOST_RATIO: usize = 22;

/// Whether an LZ4 frame says that its blocks need the ones before them.
fn has_linked_blocks(frame: &[u8]) -> bool {
    const INDEPENDENT: u8 = 0x20;
    frame.get(4).is_some_and(|flags| flags & INDEPENDENT == 0)
}

/// Reads on in the frame. At its end it must be complete, and nothing may follow: Java ignores what does,
/// others read it, so two readers of one batch would see different records.
fn read_lz4(frame: &mut Option<lz4::Decoder<&[u8]>>, out: &mut [u8]) -> Option<usize> {
    let Some(decoder) = frame else {
        return Some(0);
    };
    let read = decoder.read(out).ok()?;
    if read == 0 && !out.is_empty() {
        let (rest, complete) = frame.take()?.finish();
        complete.ok()?;
        return rest.is_empty().then_some(0);
    }
    Some(read)
}

fn gzip(level: i32, bytes: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let level = match u32::try_from(level) {
        Ok(level) => flate2::Compression::new(level.min(9)),
        Err(_) => flate2::Compression::default(),
    };
    let mut encoder = flate2::write::GzEncoder::new(out, level);
    encoder.write_all(bytes)?;
    encoder.finish().map(|_| ())
}

fn snappy(bytes: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    out.extend_from_slice(&XERIAL_HEADER);
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(SNAPPY_BLOCK) {
        let at = out.len();
        out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
        let len = encoder.compress(block, &mut out[at + 4..])?;
        let head = u32::try_from(len).expect("a block of 32 KiB has a length of 32 bits");
        out[at..at + 4].copy_from_slice(&head.to_be_bytes());
        out.truncate(at + 4 + len);
    }
    Ok(())
}

fn lz4(level: i32, bytes: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    // 3 to 12 are the library's levels of high compression; 0 is the fast one.
    let level = match level {
        LZ4_FAST => 0,
        level => u32::try_from(level.clamp(3, 12)).expect("3 to 12 is not negative"),
    };
    let mut encoder = lz4::EncoderBuilder::new()
        .level(level)
        .block_mode(lz4::BlockMode::Independent)
        .block_size(lz4::BlockSize::Max64KB)
        .checksum(lz4::ContentChecksum::NoChecksum)
        .build(out)?;
    encoder.write_all(bytes)?;
    encoder.finish().1
}

fn zstd(level: i32, bytes: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let range = zstd::compression_level_range();
    zstd_frames::compress(level.clamp(*range.start(), *range.end()), bytes, out)
}
