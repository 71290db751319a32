//! `--progress=bar`: one live line with total, rate and time left, on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use bstr::ByteSlice;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rsync_proto::text::Progress;

/// How often the line is drawn while no data flows, so that a stall shows.
const TICK: Duration = Duration::from_millis(500);

const TEMPLATE: &str = "{percent:>3}% [{bar:24}] {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left  {wide_msg}";

/// The line, above which everything else is printed.
pub(crate) struct Bar {
    line: ProgressBar,
    begun: bool,
}

impl Bar {
    /// A line on standard output; none where that is no terminal.
    pub(crate) fn on_terminal() -> Option<Self> {
        if !std::io::stdout().is_terminal() {
            return None;
        }
        let style = ProgressStyle::with_template(TEMPLATE).ok()?.progress_chars("=> ");
        let line = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden()).with_style(style);
        Some(Self { line, begun: false })
    }

    /// Shows how far the transfer is.
    pub(crate) fn update(&mut self, progress: &Progress<'_>) {
        self.line.set_length(progress.total_size);
        self.line
            .set_position(progress.total_offset.saturating_add(progress.offset).min(progress.total_size));
        let name = progress.name.rsplit_str(b"/").next().unwrap_or_default();
        let more = if progress.lists_pending { "+" } else { "" };
        let (left, known) = (progress.remaining, progress.known);
        // A name must not move the cursor.
        let name: String =
            name.to_str_lossy().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.line.set_message(format!("{left}/{known}{more} to check  {name}"));
        if !std::mem::replace(&mut self.begun, true) {
            self.line.reset_elapsed();
            self.line.set_draw_target(ProgressDrawTarget::stdout());
            self.line.enable_steady_tick(TICK);
        }
    }

    /// Prints with the line out of the way.
    pub(crate) fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        self.line.suspend(print)
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        self.line.finish_and_clear();
    }
}
