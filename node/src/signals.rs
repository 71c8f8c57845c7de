//! SIGTERM and SIGINT: the first asks for a shutdown in good order, the second ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The process's signals. Made before anything else starts, so that none is missed.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over. Needs a tokio runtime.
    pub fn take() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Calls `stop` at the first signal. A second one ends the process as the signal itself would have.
    pub async fn watch(mut self, stop: impl FnOnce()) {
        let (name, _) = self.next().await;
        tracing::info!("{name}: shutting down; once more to stop at once");
        stop();
        let (name, number) = self.next().await;
        tracing::warn!("{name}: stopping at once");
        std::process::exit(128 + number);
    }

    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
        }
    }
}
