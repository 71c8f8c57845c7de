//! The memory of frames that have not come whole. A client may announce a large frame, send most of it, and hold that
//! for as long as it likes: so all of them together have a bound. Who would exceed it waits, and one at a time, in the
//! order of coming, goes on beyond it, so that those who wait for each other are not all that there are.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::{Instant, sleep_until};

/// How long a frame may keep others waiting: as a whole, when it goes on beyond the bound; else without a byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// What clients' frames take together.
#[derive(Debug)]
pub(crate) struct Partial {
    max_bytes: u64,
    bytes: AtomicU64,
    /// Some gave memory back.
    freed: Notify,
    /// How many wait.
    waiting: AtomicU64,
    /// Whose frame goes on beyond the bound.
    turn: Mutex<()>,
}

/// What one connection's frame takes of that; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    of: &'a Partial,
    bytes: u64,
    /// When the last byte came of what takes it.
    moved: Instant,
    turn: Option<(MutexGuard<'a, ()>, Instant)>,
}

/// One of those that wait.
struct Waiter<'a>(&'a AtomicU64);

impl Partial {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let (bytes, waiting) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { max_bytes, bytes, freed: Notify::new(), waiting, turn: Mutex::new(()) }
    }

    pub(super) fn share(&self) -> Share<'_> {
        Share { of: self, bytes: 0, moved: Instant::now(), turn: None }
    }

    /// Takes so many bytes more, if there is room for them.
    fn take(&self, more: u64) -> bool {
        let with = |bytes: u64| bytes.checked_add(more).filter(|bytes| *bytes <= self.max_bytes);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok()
    }
}

impl Share<'_> {
    /// Waits until the frame may take so many bytes.
    pub(super) async fn grow_to(&mut self, bytes: u64) {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return };
        if self.turn.is_some() {
            self.of.bytes.fetch_add(more, Ordering::Relaxed);
        } else if !self.of.take(more) {
            self.wait(more).await;
        }
        self.bytes = bytes;
        self.moved = Instant::now();
    }

    async fn wait(&mut self, more: u64) {
        let _waiter = Waiter::new(&self.of.waiting);
        // One place in the queue for all of the wait.
        let turn = self.of.turn.lock();
        tokio::pin!(turn);
        loop {
            let freed = self.of.freed.notified();
            tokio::pin!(freed);
            // Enlisted before the look, so that nothing is missed in between.
            freed.as_mut().enable();
            if self.of.take(more) {
                return;
            }
            tokio::select! {
                biased;
                turn = &mut turn => {
                    self.turn = Some((turn, Instant::now() + PATIENCE));
                    self.of.bytes.fetch_add(more, Ordering::Relaxed);
                    return;
                }
                () = freed => {}
            }
        }
    }

    /// More of the frame has come.
    pub(super) fn moved(&mut self) {
        if self.bytes > 0 {
            self.moved = Instant::now();
        }
    }

    /// The frame is whole; what has come of the next one takes so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.of.bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            self.bytes = bytes;
            self.turn = None;
            self.of.freed.notify_waiters();
        }
    }

    /// Waits until the frame has kept others waiting for too long.
    pub(super) async fn overdue(&self) {
        if let Some((_, until)) = &self.turn {
            return sleep_until(*until).await;
        }
        if self.bytes == 0 {
            return pending().await;
        }
        loop {
            let until = self.moved + PATIENCE;
            sleep_until(until.max(Instant::now() + PATIENCE / 10)).await;
            if self.of.waiting.load(Ordering::Relaxed) > 0 && until <= Instant::now() {
                return;
            }
        }
    }
}

impl<'a> Waiter<'a> {
    fn new(waiting: &'a AtomicU64) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is over at once.
    async fn is_over(future: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = future => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn one_goes_on_beyond_the_bound_and_the_others_wait() {
        let partial = Partial::new(100);
        let [mut a, mut b, mut c, mut d] = [(); 4].map(|()| partial.share());
        assert!(is_over(a.grow_to(60)).await && is_over(b.grow_to(40)).await, "there is room");
        assert!(is_over(a.grow_to(50)).await, "it has that");
        assert!(is_over(c.grow_to(500)).await, "it is the one");
        assert!(is_over(c.grow_to(600)).await, "and goes on");
        assert!(!is_over(a.grow_to(61)).await && !is_over(d.grow_to(1)).await);
        assert!(!is_over(a.overdue()).await && !is_over(c.overdue()).await);
        c.turn = c.turn.take().map(|(turn, _)| (turn, Instant::now()));
        c.overdue().await;
        assert!(!is_over(a.overdue()).await);
        drop(c);
        assert!(is_over(d.grow_to(1)).await, "the turn is free");
        b.shrink_to(0);
        assert!(is_over(a.grow_to(99)).await, "there is room again");
        drop((a, d));
        assert_eq!(partial.bytes.load(Ordering::Relaxed), 0);
    }
}
