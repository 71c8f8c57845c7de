//! One connection: frames in, frames out, in as few system calls as the kernel allows.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::TcpStream;

/// What is read at once where nothing is known of what comes.
const USUAL_READ: usize = 64 << 10;
/// What is read before others have their turn.
const READ_TURN: usize = 4 << 20;
/// What one write takes at most: the kernel's own limit is 1,024.
const SLICES: usize = 64;
/// A longer frame is none: no answer that we ask for is so long.
const LONGEST_FRAME: usize = 1 << 30;

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    input: BytesMut,
    output: VecDeque<Bytes>,
    /// How many bytes were ever queued, and how many of them have left.
    queued: u64,
    sent: u64,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, input: BytesMut::new(), output: VecDeque::new(), queued: 0, sent: 0 }
    }

    /// Queues bytes; [`Socket::poll_write`] sends them.
    pub(super) fn send(&mut self, bytes: Bytes) {
        self.queued += bytes.len() as u64;
        self.output.push_back(bytes);
    }

    /// Where what is queued ends, if any of it is still here.
    pub(super) fn unsent_to(&self) -> Option<u64> {
        (self.sent < self.queued).then_some(self.queued)
    }

    /// How many bytes have left.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether so many bytes have left.
    pub(super) const fn has_sent(&self, bytes: u64) -> bool {
        self.sent >= bytes
    }

    /// Writes what is queued, as far as the kernel takes it.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.output.is_empty() && self.stream.poll_write_ready(cx)?.is_ready() {
            let slices: Vec<_> = self.output.iter().take(SLICES).map(|bytes| IoSlice::new(bytes)).collect();
            match self.stream.try_write_vectored(&slices) {
                Ok(written) => self.consume(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads whole frames, without their length prefixes, into `frames`. Whether anything came.
    ///
    /// # Errors
    /// The connection is gone, or what came is no frame.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Bytes>) -> io::Result<bool> {
        let mut taken = 0;
        while taken < READ_TURN {
            match self.stream.poll_read_ready(cx)? {
                Poll::Ready(()) => {}
                Poll::Pending => break,
            }
            self.make_room()?;
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => taken += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            while let Some(frame) = self.take_frame()? {
                frames.push(frame);
            }
        }
        if taken >= READ_TURN {
            cx.waker().wake_by_ref();
        }
        Ok(taken > 0)
    }

    fn consume(&mut self, mut written: usize) {
        self.sent += written as u64;
        while let Some(first) = self.output.front_mut() {
            let part = written.min(first.len());
            first.advance(part);
            written -= part;
            if !first.is_empty() {
                break;
            }
            self.output.pop_front();
        }
    }

    /// Room for the rest of a frame whose length is known; what follows it comes with the next read.
    fn make_room(&mut self) -> io::Result<()> {
        let rest = self.frame_length()?.map_or(0, |length| 4 + length - self.input.len());
        self.input.reserve(rest.max(USUAL_READ));
        Ok(())
    }

    fn take_frame(&mut self) -> io::Result<Option<Bytes>> {
        let Some(length) = self.frame_length()?.filter(|length| self.input.len() >= 4 + length) else {
            return Ok(None);
        };
        self.input.advance(4);
        Ok(Some(self.input.split_to(length).freeze()))
    }

    fn frame_length(&self) -> io::Result<Option<usize>> {
        let Some(prefix) = self.input.first_chunk() else { return Ok(None) };
        match usize::try_from(i32::from_be_bytes(*prefix)) {
            Ok(length) if length <= LONGEST_FRAME => Ok(Some(length)),
            Ok(_) | Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of an impossible length")),
        }
    }
}
