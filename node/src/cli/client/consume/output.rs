//! Standard output, written in large blocks by a thread of its own: a reader that is slow, as `less` is, does not keep
//! the consumer from its connections.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use crate::cli::Failure;

/// Blocks that wait.
const BLOCKS: usize = 4;

pub(super) struct Writer {
    blocks: mpsc::Sender<Vec<u8>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    pub(super) fn start() -> io::Result<Self> {
        let (blocks, mut waiting) = mpsc::channel::<Vec<u8>>(BLOCKS);
        let write = move || {
            let mut out = io::stdout().lock();
            while let Some(block) = waiting.blocking_recv() {
                out.write_all(&block)?;
                out.flush()?;
            }
            Ok(())
        };
        let thread = thread::Builder::new().name("output".to_owned()).spawn(write)?;
        Ok(Self { blocks, thread })
    }

    /// Hands a block over, when there is room. Whether anybody wants more.
    pub(super) async fn write(&self, block: Vec<u8>) -> bool {
        block.is_empty() || self.blocks.send(block).await.is_ok()
    }

    /// Waits until all is written. A reader that has gone away, as `head` does, is no failure.
    pub(super) fn finish(self) -> Result<(), Failure> {
        drop(self.blocks);
        match self.thread.join() {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("cannot write the output: {error}")))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
