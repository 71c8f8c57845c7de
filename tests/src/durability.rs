//! Proves on a trace of the broker's system calls that no acks=all answer leaves before what it rests on is durable.
//!
//! `strace` writes down each call's entry and exit in one order. A thread whose call has not been seen to exit cannot
//! have told another thread of it, so "its exit stands above the entry of the call that sends the answer" is what must
//! hold, and it holds for a right program whatever the scheduling.
//!
//! For each answer: the batch was written to its segment; a later fdatasync, fsync or syncfs that covers it
//! succeeded; the flush journal was written and synced; and every directory entry on the way to the segment that
//! was made in the trace has been synced in its directory.

pub mod check;
pub mod disk;
pub mod journal;
pub mod load;
pub mod strace;

#[cfg(test)]
mod tests;
