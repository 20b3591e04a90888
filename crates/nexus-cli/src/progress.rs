//! Bars on a terminal for what takes longer than a second: bytes, rate, time left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nexus_fs::{CopyMethod, Error, Progress, VfsPath};

use crate::output::Output;

/// What takes less than this shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that grows with the files that are begun.
pub(crate) struct Bar {
    bar: ProgressBar,
    begun: Instant,
}

impl Bar {
    /// A bar on standard error; hidden when that is no terminal, or when quiet.
    pub(crate) fn new(output: &Output) -> Arc<Self> {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        let style = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        if !output.shows_progress {
            bar.finish_and_clear();
        }
        Arc::new(Self { bar, begun: Instant::now() })
    }

    fn show(&self) {
        if self.bar.is_hidden() && !self.bar.is_finished() && self.begun.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
    }

    /// Says something while the bar is out of the way.
    pub(crate) fn aside<T>(&self, say: impl FnOnce() -> T) -> T {
        self.bar.suspend(say)
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&self, path: &VfsPath, size: Option<u64>) {
        self.bar.inc_length(size.unwrap_or_default());
        self.bar.set_message(crate::render::escape(path.as_str()).into_owned());
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.show();
    }

    fn finish(&self, _: &VfsPath, _: CopyMethod) {
        self.show();
    }

    fn fail(&self, _: &Error) {}
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
