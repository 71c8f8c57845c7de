//! SIGTERM and SIGINT: the first asks for a shutdown in good order, the second ends the process at once.
//!
//! Supervisors may send one request twice: `timeout` and `tini -g` signal the process and then its group. What
//! comes within [`SAME_REQUEST`] of the first is the first.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// No person asks twice so quickly.
const SAME_REQUEST: Duration = Duration::from_millis(300);

/// Done at the first SIGINT or SIGTERM from now on: for commands that end in good order. A second one ends the process,
/// as the signal itself would have. Needs a tokio runtime.
pub fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let signals = Signals::take()?;
    let (said, heard) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(signals.watch(move || drop(said)));
    // Whether it is said or dropped: it was heard.
    Ok(async move { drop(heard.await) })
}

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
        let first = Instant::now();
        loop {
            let (name, number) = self.next().await;
            if first.elapsed() > SAME_REQUEST {
                tracing::warn!("{name}: stopping at once");
                std::process::exit(128 + number);
            }
        }
    }

    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
        }
    }
}
