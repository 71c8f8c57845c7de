//! How far a long command is, on a terminal only.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on standard error that moves; nothing where that is no terminal.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Counts records, up to `all` if that is known.
    pub(super) fn new(what: &str, all: Option<u64>, wanted: bool) -> Self {
        if !wanted || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = all.map_or_else(ProgressBar::no_length, ProgressBar::new);
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        let template = match all {
            Some(_) => "{wide_bar} {human_pos}/{human_len} {msg}, {per_sec}, {eta}",
            None => "{spinner} {human_pos} {msg}, {per_sec}, {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(format!("records {what}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    pub(super) fn set(&self, count: u64) {
        self.0.set_position(count);
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
