//! The inputs that wait for a round, what goes first, and the bound on the requests among them.
//!
//! With several I/O threads connections are read while a round is under way, and a round may wait for the disk. What
//! bounds a connection (`max.pending.requests`, what it has unsent) acts on requests that the machine has seen. So
//! what it has not seen has a bound of its own: who would exceed it is not read until rounds have taken enough.
//!
//! Answers, completions and the controllers' requests are counted, but never wait: rounds end because of them, and a
//! vote that stood behind ten thousand clients would come too late. Of the clients' a pass takes only so many.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ottla_core::machine::Input;
use tokio::sync::Notify;

/// What a request costs beside its frame's bytes, about: the input itself, what was read of its head and its batches.
const REQUEST_BYTES: u64 = 256;

/// How many of the clients' inputs one pass takes: enough that what a pass costs is nothing beside them.
const CLIENTS_PASS: usize = 512;

/// What an input waits for. All of one connection have the same, so that their order holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Nothing.
    First,
    /// What is of no client, and for clients that came before.
    Clients,
}

/// The inputs, in the order in which they came.
#[derive(Debug)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    /// Some were taken, after there had been no room.
    taken: Notify,
    max_bytes: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    first: Vec<Input>,
    clients: VecDeque<Input>,
    /// Of the requests in both.
    bytes: u64,
}

impl Inbox {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { waiting: Mutex::default(), taken: Notify::new(), max_bytes }
    }

    pub(super) fn push(&self, urgency: Urgency, input: Input) {
        let bytes = size_of_request(&input);
        let mut waiting = self.lock();
        match urgency {
            Urgency::First => waiting.first.push(input),
            Urgency::Clients => waiting.clients.push_back(input),
        }
        waiting.bytes += bytes;
    }

    pub(super) fn append(&self, urgency: Urgency, inputs: &mut Vec<Input>) {
        let bytes: u64 = inputs.iter().map(size_of_request).sum();
        let mut waiting = self.lock();
        match urgency {
            Urgency::First => waiting.first.append(inputs),
            Urgency::Clients => waiting.clients.extend(inputs.drain(..)),
        }
        waiting.bytes += bytes;
    }

    /// Takes what a pass is to handle, and leaves the empty list to be filled.
    pub(super) fn take(&self, empty: &mut Vec<Input>) {
        let has_room_now = {
            let mut waiting = self.lock();
            let was_full = waiting.bytes >= self.max_bytes;
            mem::swap(&mut waiting.first, empty);
            let count = waiting.clients.len().min(CLIENTS_PASS);
            empty.extend(waiting.clients.drain(..count));
            waiting.bytes -= empty.iter().map(size_of_request).sum::<u64>();
            was_full && waiting.bytes < self.max_bytes
        };
        if has_room_now {
            self.taken.notify_waiters();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.lock();
        waiting.first.is_empty() && waiting.clients.is_empty()
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

#[cfg(test)]
mod tests {
    use ottla_core::machine::ConnId;

    use super::*;

    #[test]
    fn what_is_of_no_client_goes_first_and_clients_keep_their_order() {
        let inbox = Inbox::new(1 << 20);
        let closed = |conn| Input::Closed { conn: ConnId(conn) };
        let many = u64::try_from(CLIENTS_PASS).expect("few") + 2;
        inbox.append(Urgency::Clients, &mut (0..many).map(closed).collect());
        inbox.append(Urgency::First, &mut vec![closed(1_000_000), Input::Timeout]);
        let mut taken = Vec::new();
        inbox.take(&mut taken);
        let texts: Vec<String> = taken.iter().take(4).map(ToString::to_string).collect();
        let wanted = [closed(1_000_000), Input::Timeout, closed(0), closed(1)].map(|input| input.to_string());
        assert_eq!((texts, taken.len()), (wanted.to_vec(), CLIENTS_PASS + 2));
        assert!(!inbox.is_empty());
        taken.clear();
        inbox.take(&mut taken);
        let wanted = [closed(many - 2), closed(many - 1)].map(|input| input.to_string());
        assert_eq!(taken.iter().map(ToString::to_string).collect::<Vec<_>>(), wanted);
        assert!(inbox.is_empty());
    }
}
