//! A panic is a violation like any other: it is reported with the step and the time at which it came.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::invariants::Violation;

static STEP: AtomicU64 = AtomicU64::new(0);
static NOW: AtomicU64 = AtomicU64::new(0);
static FROM_NETWORK: AtomicBool = AtomicBool::new(false);

/// Where the run is.
pub(crate) fn at(step: u64, now: u64) {
    STEP.store(step, Ordering::Relaxed);
    NOW.store(now, Ordering::Relaxed);
}

/// Whether the machine is being told something that came over the network.
pub(crate) fn handling(from_network: bool) {
    FROM_NETWORK.store(from_network, Ordering::Relaxed);
}

/// Calls `report` with the violation, the step and the time when something panics.
pub(crate) fn hook(report: impl Fn(&Violation, u64, u64) + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |info| {
        report(&violation(info), STEP.load(Ordering::Relaxed), NOW.load(Ordering::Relaxed));
    }));
}

fn violation(info: &PanicHookInfo<'_>) -> Violation {
    let text = info.payload_as_str().unwrap_or("something that is no text");
    let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
    let invariant = if FROM_NETWORK.load(Ordering::Relaxed) { "W4" } else { "panic" };
    Violation { invariant, what: format!("panicked at {place}: {text}") }
}
