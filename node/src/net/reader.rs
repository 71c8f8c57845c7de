//! Cuts a byte stream into frames: four bytes of length, then so many bytes.
//!
//! Large frames are split off the receive buffer without a copy. Small ones are copied out of it: a request
//! that waits (a long poll) would otherwise keep 64 KiB alive for a hundred bytes.

use std::io;

use bytes::{Buf, Bytes};
use ottla_wire::DecodeError;
use tokio::net::TcpStream;

use super::buffers::{Buffer, SMALL};

/// Up to this length a frame is copied.
const COPY_BELOW: usize = 4 << 10;

/// How much is reserved at once for a frame that was only announced; more follows as its bytes come.
const RESERVE: usize = 2 << 20;

/// What one read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// So many bytes, and the socket may hold more.
    More(usize),
    /// So many bytes; the socket holds no more.
    All(usize),
    /// The peer has closed.
    End,
}

/// A connection's partial frame.
#[derive(Debug)]
pub(super) struct FrameReader {
    /// `None` while nothing is received: an idle connection holds no buffer.
    buffer: Option<Buffer>,
    max_bytes: u32,
}

impl FrameReader {
    pub(super) fn new(max_bytes: u32) -> Self {
        Self { buffer: None, max_bytes }
    }

    /// How much has come of a frame that is not whole, if that is more than any connection may have. What is reserved
    /// for the rest takes no memory before it comes.
    pub(super) fn takes(&self) -> u64 {
        let have = self.buffer.as_ref().map_or(0, |buffer| buffer.bytes.len());
        if have > SMALL { u64::try_from(have).unwrap_or(u64::MAX) } else { 0 }
    }

    /// One read from the socket. `WouldBlock` is an error, as it is tokio's.
    pub(super) fn fill(&mut self, stream: &TcpStream) -> io::Result<Filled> {
        let buffer = self.buffer.get_or_insert_with(|| Buffer::take(SMALL));
        let room = buffer.bytes.capacity() - buffer.bytes.len();
        let count = stream.try_read_buf(&mut buffer.bytes)?;
        Ok(match count {
            0 => Filled::End,
            _ if count < room => Filled::All(count),
            _ => Filled::More(count),
        })
    }

    /// The next whole frame, without its length.
    pub(super) fn next_frame(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(buffer) = &mut self.buffer else {
            return Ok(None);
        };
        let Some((head, rest)) = buffer.bytes.split_first_chunk::<4>() else {
            self.make_room(4);
            return Ok(None);
        };
        let announced = i32::from_be_bytes(*head);
        let length = u32::try_from(announced).map_err(|_| DecodeError::NegativeLength(announced))?;
        if length > self.max_bytes {
            return Err(DecodeError::FrameTooLarge { length, max: self.max_bytes });
        }
        let length = usize::try_from(length).expect("addresses have 32 bits at least");
        if rest.len() < length {
            self.make_room(4 + length);
            return Ok(None);
        }
        buffer.bytes.advance(4);
        Ok(Some(if length <= COPY_BELOW {
            let frame = Bytes::copy_from_slice(&buffer.bytes[..length]);
            buffer.bytes.advance(length);
            frame
        } else {
            buffer.bytes.split_to(length).freeze()
        }))
    }

    /// Makes sure that the next read has room towards a frame of `total` bytes, or gives an empty buffer back.
    fn make_room(&mut self, total: usize) {
        let Some(mut buffer) = self.buffer.take() else {
            return;
        };
        let have = buffer.bytes.len();
        if have == 0 {
            buffer.give_back();
            return;
        }
        let room = total.min(RESERVE.max(have * 2));
        if buffer.bytes.capacity() < room {
            let mut larger = Buffer::take(room);
            larger.bytes.extend_from_slice(&buffer.bytes);
            buffer.give_back();
            buffer = larger;
        }
        self.buffer = Some(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(reader: &mut FrameReader, bytes: &[u8]) {
        let buffer = reader.buffer.get_or_insert_with(|| Buffer::take(SMALL));
        assert!(buffer.bytes.capacity() > buffer.bytes.len(), "a read would have no room");
        buffer.bytes.extend_from_slice(bytes);
    }

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(length).expect("small").to_be_bytes().to_vec();
        bytes.extend((0..length).map(|at| u8::try_from(at % 251).expect("below 251")));
        bytes
    }

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut() {
        let lengths = [0, 1, 100, COPY_BELOW, COPY_BELOW + 1, 70_000, 3, 300_000, 5];
        let stream: Vec<u8> = lengths.iter().flat_map(|&length| frame(length)).collect();
        for cut in [1, 2, 3, 7, 1_000, 4_099, 60_000] {
            let mut reader = FrameReader::new(1 << 20);
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                feed(&mut reader, piece);
                while let Some(frame) = reader.next_frame().expect("lengths are good") {
                    found.push(frame);
                }
            }
            let wanted: Vec<_> = lengths.iter().map(|&length| frame(length)[4..].to_vec()).collect();
            assert!(found.iter().zip(&wanted).all(|(a, b)| a == b) && found.len() == wanted.len(), "cut {cut}");
            assert!(reader.buffer.is_none(), "an idle connection holds no buffer");
        }
    }

    #[test]
    fn bad_lengths_are_refused_before_anything_is_reserved() {
        for length in [-1, i32::MIN, 1_001, i32::MAX] {
            let mut reader = FrameReader::new(1_000);
            feed(&mut reader, &length.to_be_bytes());
            assert!(reader.next_frame().is_err(), "{length}");
        }
    }

    #[test]
    fn an_announced_frame_reserves_little_before_it_comes() {
        let mut reader = FrameReader::new(100 << 20);
        feed(&mut reader, &(100_i32 << 20).to_be_bytes());
        assert_eq!(reader.next_frame(), Ok(None));
        assert_eq!(reader.takes(), 0);
        let buffer = reader.buffer.expect("a frame is in progress");
        assert!(buffer.bytes.capacity() <= RESERVE);
    }
}
