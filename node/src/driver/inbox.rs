//! The inputs that wait for a round, and the bound on the requests among them.
//!
//! With several I/O threads connections are read while a round is under way, and a round may wait for the disk. What
//! bounds a connection (`max.pending.requests`, what it has unsent) acts on requests that the machine has seen. So
//! what it has not seen has a bound of its own: who would exceed it is not read until the next round takes all.
//!
//! Answers, completions and the controllers' requests are counted, but never wait: rounds end because of them.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ottla_core::machine::Input;
use tokio::sync::Notify;

/// What a request costs beside its frame's bytes, about: the input itself, what was read of its head and its batches.
const REQUEST_BYTES: u64 = 256;

/// The inputs, in the order in which they came.
#[derive(Debug)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    /// They were taken, after there had been no room.
    taken: Notify,
    max_bytes: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    list: Vec<Input>,
    /// Of the requests in `list`.
    bytes: u64,
}

impl Inbox {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { waiting: Mutex::default(), taken: Notify::new(), max_bytes }
    }

    pub(super) fn push(&self, input: Input) {
        let bytes = size_of_request(&input);
        let mut waiting = self.lock();
        waiting.list.push(input);
        waiting.bytes += bytes;
    }

    pub(super) fn append(&self, inputs: &mut Vec<Input>) {
        let bytes: u64 = inputs.iter().map(size_of_request).sum();
        let mut waiting = self.lock();
        waiting.list.append(inputs);
        waiting.bytes += bytes;
    }

    /// Takes all, and leaves an empty list to be filled.
    pub(super) fn take(&self, empty: &mut Vec<Input>) {
        let was_full = {
            let mut waiting = self.lock();
            mem::swap(&mut waiting.list, empty);
            mem::take(&mut waiting.bytes) >= self.max_bytes
        };
        if was_full {
            self.taken.notify_waiters();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().list.is_empty()
    }

    /// Whether one more read may be queued. It may be exceeded by one read a thread.
    pub(super) fn has_room(&self) -> bool {
        self.lock().bytes < self.max_bytes
    }

    /// Waits until there is room.
    pub(super) async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            tokio::pin!(taken);
            // Enlisted before the look, so that nothing is missed in between.
            taken.as_mut().enable();
            if self.has_room() {
                return;
            }
            taken.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size_of_request(input: &Input) -> u64 {
    match input {
        Input::Frame { request, .. } => {
            u64::try_from(request.frame.len()).unwrap_or(u64::MAX).saturating_add(REQUEST_BYTES)
        }
        Input::Malformed { .. } => REQUEST_BYTES,
        Input::Opened { .. }
        | Input::Answer { .. }
        | Input::Drained { .. }
        | Input::Closed { .. }
        | Input::Disk { .. }
        | Input::JobDone { .. }
        | Input::Shutdown
        | Input::Timeout => 0,
    }
}
