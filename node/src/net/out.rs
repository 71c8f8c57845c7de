//! What waits to be sent on one connection, in order: bytes from memory by `writev`, ranges of files by `sendfile`.
//!
//! At 64 KiB and above `sendfile` takes as much CPU as a send from memory or less, with nothing held in memory, and a
//! third of the time of a read on another thread (3.1 against 0.9 GB/s). Below it is the second call that counts:
//! small ranges are copied. And `sendfile` waits for a page that is not in memory, and with it the whole I/O thread:
//! such bytes are first read by a thread that may wait.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::sync::oneshot;

use crate::disk::{OpenFile, Warmer};

/// How many buffers one `sendmsg` gathers.
const MOST_SLICES: usize = 64;

/// Up to this length a range that is in the page cache is copied, and leaves with what stands beside it in one call;
/// `sendfile` would be a second one, after two probes. CPU a GB, the client's included: 1 KiB 5.1 against 9.0 s, 4 KiB
/// 1.1 against 2.1 s, 16 KiB 0.35 against 0.5 to 1.0 s.
const COPY_UP_TO: u64 = 16 << 10;

/// One thing to send.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// Bytes.
    Bytes(Bytes),
    /// A range of a file, which stays open until it has left.
    Range {
        /// The file.
        file: Arc<OpenFile>,
        /// From which byte.
        pos: u64,
        /// How many.
        len: u64,
        /// Up to here it was brought into the page cache, at need.
        warm_to: u64,
    },
    /// Close the connection here.
    Close,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct OutQueue {
    chunks: VecDeque<Chunk>,
    /// The bytes of `chunks` that are in memory.
    bytes: u64,
    /// A range left, or waits to leave, since the queue was last empty.
    had_range: bool,
}

/// What one call did.
#[derive(Debug)]
pub(super) enum Step {
    /// It sent.
    Sent(Sent),
    /// It must not: these bytes are on the disk only, and everybody would wait for them.
    Cold(Cold),
    /// It cannot: the file does not give them.
    Unreadable(Unreadable),
}

/// A range that cannot be read, so that its answer cannot be ended.
#[derive(Debug)]
pub(super) struct Unreadable {
    file: Arc<OpenFile>,
    pos: u64,
    error: io::Error,
}

/// Bytes that are not in the page cache.
#[derive(Clone, Debug)]
pub(super) struct Cold {
    file: Arc<OpenFile>,
    pos: u64,
    len: u64,
}

/// How much one call sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) from_memory: u64,
    pub(super) from_files: u64,
}

impl Chunk {
    /// Gives how many bytes were copied.
    fn copy_if_small(&mut self) -> u64 {
        if let Self::Range { file, pos, len, .. } = self
            && *len <= COPY_UP_TO
            && let Some(bytes) = usize::try_from(*len).ok().and_then(|len| file.read_cached(*pos, len))
        {
            let copied = length(&bytes);
            *self = Self::Bytes(bytes);
            return copied;
        }
        0
    }
}

impl Cold {
    /// Has them read from the disk, on a thread that may wait.
    pub(super) fn warm(&self, warmer: &Warmer) -> oneshot::Receiver<()> {
        warmer.warm(Arc::clone(&self.file), self.pos, self.len)
    }
}

impl OutQueue {
    pub(super) fn push(&mut self, chunk: Chunk) {
        match &chunk {
            Chunk::Bytes(bytes) => self.bytes += length(bytes),
            Chunk::Range { .. } => self.had_range = true,
            Chunk::Close => {}
        }
        self.chunks.push_back(chunk);
    }

    /// How much memory it takes. Ranges of files take next to none, however long they are.
    pub(super) fn memory(&self) -> u64 {
        let chunks = self.chunks.len() * size_of::<Chunk>();
        self.bytes + u64::try_from(chunks).unwrap_or(u64::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether all that was to be sent before a `Close` has left.
    pub(super) fn closes(&self) -> bool {
        matches!(self.chunks.front(), Some(Chunk::Close))
    }

    /// Whether a range has left since the last call; only asked of an empty queue.
    pub(super) fn take_had_range(&mut self) -> bool {
        std::mem::take(&mut self.had_range)
    }

    /// Drops everything: the connection is gone.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.bytes = 0;
    }

    /// One system call's worth, at most so many bytes of a file. The socket is non-blocking: `WouldBlock` when it
    /// takes no more.
    pub(super) fn send(&mut self, socket: impl AsFd, most: u64) -> io::Result<Step> {
        self.bytes += self.chunks.iter_mut().take(MOST_SLICES).map(Chunk::copy_if_small).sum::<u64>();
        match self.chunks.front_mut() {
            Some(Chunk::Bytes(_)) => self.send_bytes(socket).map(Step::Sent),
            Some(Chunk::Range { file, pos, len, warm_to }) => {
                let mut now = (*len).min(most);
                if *pos < *warm_to {
                    // What is behind that may be on the disk only.
                    now = now.min(*warm_to - *pos);
                }
                if *pos >= *warm_to && !file.is_cached(*pos, now) {
                    return Ok(Step::Cold(Cold { file: Arc::clone(file), pos: *pos, len: now }));
                }
                let sent = match send_range(socket, file, *pos, now) {
                    Ok(sent) => sent,
                    Err(error) if is_of_the_file(&error) => {
                        return Ok(Step::Unreadable(Unreadable { file: Arc::clone(file), pos: *pos, error }));
                    }
                    Err(error) => return Err(error),
                };
                *pos += sent;
                *len -= sent;
                if *len == 0 {
                    self.chunks.pop_front();
                }
                Ok(Step::Sent(Sent { from_files: sent, ..Sent::default() }))
            }
            Some(Chunk::Close) | None => Ok(Step::Sent(Sent::default())),
        }
    }

    /// What was cold can be sent now, or is about to fail; if it is still what comes next.
    pub(super) fn warmed(&mut self, cold: &Cold) {
        if let Some(Chunk::Range { file, pos, warm_to, .. }) = self.chunks.front_mut()
            && Arc::ptr_eq(file, &cold.file)
            && *pos == cold.pos
        {
            *warm_to = cold.pos + cold.len;
        }
    }

    fn send_bytes(&mut self, socket: impl AsFd) -> io::Result<Sent> {
        let mut slices = [IoSlice::new(&[]); MOST_SLICES];
        let mut count = 0;
        let mut flags = SendFlags::NOSIGNAL;
        for chunk in &self.chunks {
            match chunk {
                Chunk::Bytes(bytes) if count < MOST_SLICES => {
                    slices[count] = IoSlice::new(bytes);
                    count += 1;
                }
                Chunk::Close => break,
                // More follows at once: the head of an answer and its first range share a segment.
                Chunk::Bytes(_) | Chunk::Range { .. } => {
                    flags |= SendFlags::MORE;
                    break;
                }
            }
        }
        let mut none = SendAncillaryBuffer::default();
        let sent = rustix::io::retry_on_intr(|| rustix::net::sendmsg(&socket, &slices[..count], &mut none, flags))?;
        self.advance(sent);
        Ok(Sent { from_memory: u64::try_from(sent).unwrap_or(u64::MAX), ..Sent::default() })
    }

    fn advance(&mut self, mut sent: usize) {
        self.bytes -= u64::try_from(sent).unwrap_or(u64::MAX);
        // Empty chunks go with the ones before them.
        while let Some(Chunk::Bytes(bytes)) = self.chunks.front_mut() {
            if bytes.len() > sent {
                bytes.advance(sent);
                return;
            }
            sent -= bytes.len();
            self.chunks.pop_front();
        }
    }
}

/// Hands at most `len` bytes of the file to the socket without copying them through user space.
fn send_range(socket: impl AsFd, file: &OpenFile, pos: u64, len: u64) -> io::Result<u64> {
    let count = usize::try_from(len).unwrap_or(usize::MAX);
    let mut at = pos;
    match rustix::io::retry_on_intr(|| rustix::fs::sendfile(&socket, file, Some(&mut at), count)) {
        // The file ends before the range does: it was cut, and the client must not take what follows for it.
        Ok(0) if count > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(sent) => Ok(u64::try_from(sent).unwrap_or(u64::MAX)),
        Err(Errno::WOULDBLOCK) => Err(io::ErrorKind::WouldBlock.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether an error of `sendfile` says something of the file, and not of the socket.
fn is_of_the_file(error: &io::Error) -> bool {
    let of_files = [
        Errno::IO,
        Errno::REMOTEIO,
        Errno::STALE,
        Errno::BADMSG,
        Errno::UCLEAN,
        Errno::NODATA,
        Errno::NXIO,
        Errno::NODEV,
        Errno::OVERFLOW,
    ];
    error.kind() == io::ErrorKind::UnexpectedEof || Errno::from_io_error(error).is_some_and(|it| of_files.contains(&it))
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, pos, error } = self;
        let path = file.path();
        if error.kind() == io::ErrorKind::UnexpectedEof {
            write!(f, "{}: the file ends at byte {pos}", path.display())
        } else {
            write!(f, "{}: byte {pos} cannot be read: {error}", path.display())
        }
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(file: std::fs::File, len: u64) -> Chunk {
        Chunk::Range { file: Arc::new(OpenFile::for_test(file)), pos: 0, len, warm_to: len }
    }

    fn sockets() -> (std::os::unix::net::UnixStream, std::os::unix::net::UnixStream) {
        std::os::unix::net::UnixStream::pair().expect("two sockets")
    }

    /// A file that was cut, or that its disk does not give, is no client that went away.
    #[test]
    fn what_cannot_be_read_is_told_from_a_peer_that_is_gone() {
        let (ours, theirs) = sockets();
        let len = 1 << 20;
        let cut = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut queue = OutQueue::default();
        queue.push(range(cut.reopen().expect("it is there"), len));
        let Ok(Step::Unreadable(what)) = queue.send(&ours, len) else { panic!("the file is empty") };
        let (what, path) = (what.to_string(), cut.path().display().to_string());
        assert_eq!(what, format!("{path}: the file ends at byte 0"));

        drop(theirs);
        cut.as_file().set_len(len).expect("it can be set");
        assert!(queue.send(&ours, len).is_err(), "the peer is gone");
        assert!(is_of_the_file(&Errno::IO.into()) && !is_of_the_file(&Errno::CONNRESET.into()));
    }

    #[test]
    fn only_what_was_warmed_is_warm() {
        let open = || tempfile::tempfile().expect("a temporary file");
        let mut queue = OutQueue::default();
        queue.push(range(open(), 1 << 20));
        let warm_to = |queue: &OutQueue| match queue.chunks.front() {
            Some(Chunk::Range { warm_to, .. }) => *warm_to,
            _ => panic!("a range was queued"),
        };
        let before = warm_to(&queue);
        let other = Cold { file: Arc::new(OpenFile::for_test(open())), pos: 0, len: 5 };
        queue.warmed(&other);
        assert_eq!(warm_to(&queue), before);
        let Some(Chunk::Range { file, .. }) = queue.chunks.front() else { panic!("a range was queued") };
        let ours = Cold { file: Arc::clone(file), pos: 0, len: 5 };
        queue.warmed(&Cold { pos: 1, ..ours.clone() });
        assert_eq!(warm_to(&queue), before);
        queue.warmed(&ours);
        assert_eq!(warm_to(&queue), 5);
    }
}
