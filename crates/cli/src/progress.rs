//! Progress bars on standard error.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use pointsman_bench::run::Progress;
use tokio::task::JoinHandle;

/// The bar in the style of a template.
pub(crate) fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A bar of named steps whose number is not known yet.
pub(crate) fn steps() -> ProgressBar {
    styled(ProgressBar::new(0), "{bar:40} {pos}/{len} {msg}  {elapsed}")
}

/// A progress bar of a load test.
pub(crate) struct Bar {
    bar: ProgressBar,
    follower: JoinHandle<()>,
}

/// Shows a bar for `planned` requests, if standard error is a terminal.
pub(crate) fn bar(progress: &Arc<Progress>, planned: u64) -> Bar {
    let bar = styled(ProgressBar::new(planned), "{bar:40} {pos}/{len} answered, {msg}  {elapsed}");
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

/// Number of requests sent and not finished.
pub(crate) fn in_flight(progress: &Progress) -> u64 {
    progress.sent.get().saturating_sub(progress.finished.get())
}
