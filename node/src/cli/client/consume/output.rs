//! Standard output, written in large blocks by a thread of its own: a reader that is slow, as `less` is, does not keep
//! the consumer from its connections.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::cli::Failure;

/// Blocks that wait.
const BLOCKS: usize = 4;

pub(super) struct Writer {
    blocks: mpsc::Sender<Block>,
    thread: JoinHandle<io::Result<()>>,
}

struct Block {
    text: Vec<u8>,
    /// Who waits until it is written.
    waiter: Option<oneshot::Sender<()>>,
}

impl Writer {
    pub(super) fn start() -> io::Result<Self> {
        let (blocks, mut waiting) = mpsc::channel::<Block>(BLOCKS);
        let write = move || {
            let mut out = io::stdout().lock();
            while let Some(Block { text, waiter }) = waiting.blocking_recv() {
                out.write_all(&text)?;
                out.flush()?;
                // Whoever does not wait any more need not be told.
                waiter.map(|waiter| waiter.send(()));
            }
            Ok(())
        };
        let thread = thread::Builder::new().name("output".to_owned()).spawn(write)?;
        Ok(Self { blocks, thread })
    }

    /// Hands a block over, when there is room. Whether anybody wants more.
    pub(super) async fn write(&self, text: Vec<u8>) -> bool {
        text.is_empty() || self.blocks.send(Block { text, waiter: None }).await.is_ok()
    }

    /// The same, and waits until it is written: then what it tells of may be committed.
    pub(super) async fn write_through(&self, text: Vec<u8>) -> bool {
        if text.is_empty() {
            return true;
        }
        let (waiter, written) = oneshot::channel();
        self.blocks.send(Block { text, waiter: Some(waiter) }).await.is_ok() && written.await.is_ok()
    }

    /// Waits until all is written, and says whether it is. A reader that has gone away, as `head` does, is no failure.
    pub(super) async fn finish(self) -> Result<bool, Failure> {
        let Self { blocks, thread } = self;
        drop(blocks);
        // A reader that does not go on keeps neither signals nor the group's heartbeats waiting.
        let written = tokio::task::spawn_blocking(move || thread.join()).await;
        match written.map_err(Failure::new)? {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("cannot write the output: {error}")))
            }
            Ok(written) => Ok(written.is_ok()),
            Err(_) => Ok(false),
        }
    }
}
