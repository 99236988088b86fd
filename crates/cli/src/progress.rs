//! Progress bars on standard error.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use pointsman_bench::run::Progress;
use tokio::task::JoinHandle;

/// A progress bar of a load test.
pub(crate) struct Bar {
    bar: ProgressBar,
    follower: JoinHandle<()>,
}

/// Shows a bar for `planned` requests, if standard error is a terminal.
pub(crate) fn bar(progress: &Arc<Progress>, planned: u64) -> Bar {
    let bar = ProgressBar::new(planned);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} answered, {msg}  {elapsed}") {
        bar.set_style(style);
    }
    let drawn = bar.clone();
    let followed = Arc::clone(progress);
    let follower = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tick.tick().await;
            drawn.set_position(followed.finished.get());
            drawn.set_message(format!(
                "{} in flight, {} failed",
                in_flight(&followed),
                followed.failed.get()
            ));
        }
    });
    Bar { bar, follower }
}

impl Bar {
    /// Removes the bar.
    pub(crate) fn finish(self) {
        self.follower.abort();
        self.bar.finish_and_clear();
    }
}

fn in_flight(progress: &Progress) -> u64 {
    progress.sent.get().saturating_sub(progress.finished.get())
}
