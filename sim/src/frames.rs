//! From bytes, cut anywhere, to frames: what a driver does before anything else looks at them.

use bytes::{Buf, Bytes, BytesMut};
use ottla_wire::frame::{PREFIX_LEN, frame_len};

/// The frames of one direction of a connection.
#[derive(Clone, Debug)]
pub struct Frames {
    buffer: BytesMut,
    max: usize,
}

/// The length of a frame is negative, or over the limit: the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLength;

impl Frames {
    /// No bytes so far; a frame has at most `max`.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { buffer: BytesMut::new(), max }
    }

    /// Takes bytes in, and whole frames out, without their lengths. The common case, one piece that is one
    /// frame, is not copied.
    ///
    /// # Errors
    /// A length that is none; what came before it is in `out`.
    pub fn push(&mut self, bytes: Bytes, out: &mut Vec<Bytes>) -> Result<(), BadLength> {
        let mut bytes = bytes;
        if self.buffer.is_empty() {
            while let Some(len) = self.whole(&bytes)? {
                bytes.advance(PREFIX_LEN);
                out.push(bytes.split_to(len));
            }
        }
        self.buffer.extend_from_slice(&bytes);
        while let Some(len) = self.whole(&self.buffer)? {
            self.buffer.advance(PREFIX_LEN);
            out.push(self.buffer.split_to(len).freeze());
        }
        Ok(())
    }

    /// The length of the frame that `bytes` begin with, if all of it is there.
    fn whole(&self, bytes: &[u8]) -> Result<Option<usize>, BadLength> {
        let Some(prefix) = bytes.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
        let len = frame_len(*prefix, self.max).map_err(|_| BadLength)?;
        Ok((bytes.len() - PREFIX_LEN >= len).then_some(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_they_are_cut() {
        let stream: Vec<u8> = [&b"\0\0\0\x03abc"[..], b"\0\0\0\0", b"\0\0\0\x02de"].concat();
        for cut in 0..stream.len() {
            let mut frames = Frames::new(10);
            let mut out = Vec::new();
            for piece in [&stream[..cut], &stream[cut..]] {
                frames.push(Bytes::copy_from_slice(piece), &mut out).expect("good lengths");
            }
            assert_eq!(out, [&b"abc"[..], b"", b"de"]);
        }
    }

    #[test]
    fn bad_lengths_end_the_stream() {
        for bad in [[255; 4], [0, 0, 0, 11]] {
            assert_eq!(Frames::new(10).push(Bytes::copy_from_slice(&bad), &mut Vec::new()), Err(BadLength));
        }
    }
}
