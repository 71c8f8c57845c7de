//! Receive buffers, used again: allocating one for each large request cost 60 % more CPU a MiB (page faults).
//!
//! A buffer is given back while frames that were split off it may still be in use; it is handed out again only
//! when nothing holds a part of it. Each I/O thread has its own pool.

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::BytesMut;

/// The size of a buffer that a connection reads into when it knows of no larger frame.
pub(super) const SMALL: usize = 64 << 10;

/// What one thread keeps; more is freed. An idle node has used little of it, so it holds little.
const KEEP_BYTES: usize = 16 << 20;

/// How many buffers are looked at before a new one is made: the oldest are the likeliest to be free.
const LOOK: usize = 8;

/// A buffer and how large it is when nothing is split off.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) bytes: BytesMut,
    size: usize,
}

impl Buffer {
    /// A buffer with room for `need` bytes at least.
    pub(super) fn take(need: usize) -> Self {
        let size = need.max(SMALL).next_power_of_two();
        POOL.with_borrow_mut(|pool| pool.take(size))
            .unwrap_or_else(|| Self { bytes: BytesMut::with_capacity(size), size })
    }

    /// Gives a buffer back. What is still in it is dropped.
    pub(super) fn give_back(mut self) {
        self.bytes.clear();
        POOL.with_borrow_mut(|pool| pool.give_back(self));
    }
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool::new()) };
}

#[derive(Debug)]
struct Pool {
    list: VecDeque<Buffer>,
    bytes: usize,
}

impl Pool {
    const fn new() -> Self {
        Self { list: VecDeque::new(), bytes: 0 }
    }

    fn take(&mut self, size: usize) -> Option<Buffer> {
        let fits = |buffer: &mut Buffer| buffer.size == size && buffer.bytes.try_reclaim(size);
        let index = self.list.iter_mut().take(LOOK).position(fits)?;
        self.bytes -= size;
        self.list.remove(index)
    }

    fn give_back(&mut self, buffer: Buffer) {
        if buffer.size > KEEP_BYTES {
            return;
        }
        self.bytes += buffer.size;
        self.list.push_back(buffer);
        while self.bytes > KEEP_BYTES
            && let Some(oldest) = self.list.pop_front()
        {
            self.bytes -= oldest.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_frames_are_gone() {
        let mut buffer = Buffer::take(10);
        let address = buffer.bytes.as_ptr();
        buffer.bytes.extend_from_slice(b"frame and more");
        let frame = buffer.bytes.split_to(5).freeze();
        buffer.give_back();
        let other = Buffer::take(10);
        assert_ne!(other.bytes.as_ptr(), address, "a frame is still in use");
        drop(frame);
        let again = Buffer::take(10);
        assert_eq!((again.bytes.as_ptr(), again.bytes.capacity()), (address, SMALL));
    }

    #[test]
    fn the_pool_is_bounded() {
        let buffers: Vec<_> = (0..3).map(|_| Buffer::take(KEEP_BYTES / 2)).collect();
        buffers.into_iter().for_each(Buffer::give_back);
        POOL.with_borrow(|pool| assert_eq!((pool.list.len(), pool.bytes), (2, KEEP_BYTES)));
    }
}
