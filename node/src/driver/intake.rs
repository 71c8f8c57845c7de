//! From a frame to an input, outside the lock.

use bytes::Bytes;
use ottla_core::ingress::{Malformed, Request, ingress, ingress_within};
use ottla_core::machine::{ConnId, Input};
use ottla_core::record::ScanError;
use tokio::sync::Semaphore;

use super::FrameLimits;

/// What a small frame's batches may inflate to on an I/O thread: a few milliseconds' work.
const LIGHT_BYTES: u64 = 4 << 20;
/// The same, in bytes a byte of the frame: more than what records usually have, since a heavy frame is looked at twice.
const LIGHT_RATIO: u64 = 20;
/// How many heavy frames are looked at at once, in the whole process: names are resolved by the same threads.
static HEAVY: Semaphore = Semaphore::const_new(2);

/// What a frame is.
#[derive(Debug)]
pub(crate) enum Ingress {
    Request(Request),
    /// To look at its records takes so long that the thread's other connections should not wait for it: a few kilobytes
    /// may inflate to what a batch may have.
    Heavy(Bytes),
    Malformed(Malformed),
}

/// Reads frames.
#[derive(Debug)]
pub(super) struct Intake {
    limits: FrameLimits,
}

impl Intake {
    pub(super) const fn new(limits: FrameLimits) -> Self {
        Self { limits }
    }

    pub(super) const fn limits(&self) -> FrameLimits {
        self.limits
    }

    pub(super) fn ingress(&self, frame: Bytes) -> Ingress {
        let light = LIGHT_BYTES.max(LIGHT_RATIO.saturating_mul(frame.len() as u64));
        match ingress_within(frame, self.limits.inflated_max_bytes.min(light), light) {
            Ok(request) if is_unclear(&request) => Ingress::Heavy(request.frame),
            Ok(request) => Ingress::Request(request),
            Err(why) => Ingress::Malformed(why),
        }
    }

    /// Reads a heavy frame on a thread that may take its time. `None`: the node is about to end. The place is the
    /// thread's: a connection that breaks does not make it free.
    pub(super) async fn scan(&self, conn: ConnId, frame: Bytes) -> Option<Input> {
        let place = HEAVY.acquire().await.ok()?;
        let limit = self.limits.inflated_max_bytes;
        let read = move || {
            let _place = place;
            ingress(frame, limit)
        };
        Some(match tokio::task::spawn_blocking(read).await.ok()? {
            Ok(request) => Input::Frame { conn, request },
            Err(why) => Input::Malformed { conn, why: Box::new(why) },
        })
    }
}

/// A batch may be wrong, or hold more than was looked at.
fn is_unclear(request: &Request) -> bool {
    request.scanned.iter().flatten().any(|scanned| matches!(scanned, Err(ScanError::Record { .. })))
}
