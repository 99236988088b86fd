//! What the demo shows while it runs: one line an engine, on standard error and only on a terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pointsman_bench::run::Progress;
use pointsman_bench::slices::SliceStart;
use tokio::task::JoinHandle;

use super::fleet::Engines;
use crate::serving::Serving;

/// The live view.
pub(super) struct View {
    area: MultiProgress,
    title: ProgressBar,
    follower: JoinHandle<()>,
}

/// How often the lines are drawn.
const REFRESH: Duration = Duration::from_millis(250);

impl View {
    pub(super) fn start(engines: &Engines, serving: &Serving, progress: &Arc<Progress>) -> Self {
        let area = MultiProgress::new();
        let line = || {
            let bar = area.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        };
        let title = line();
        let totals = line();
        let lines: Vec<_> = engines.addresses().map(|address| (address, line())).collect();
        let progress = Arc::clone(progress);
        let fleet = serving.fleet().clone();
        let follower = tokio::spawn(async move {
            let mut tick = tokio::time::interval(REFRESH);
            loop {
                tick.tick().await;
                let in_flight = progress.sent().saturating_sub(progress.finished());
                totals.set_message(format!(
                    "{} of {} answered, {in_flight} in flight, {} failed",
                    progress.finished(),
                    progress.planned(),
                    progress.failed()
                ));
                let endpoints = fleet.endpoint_samples();
                for (address, bar) in &lines {
                    let address = address.to_string();
                    if let Some(sample) = endpoints.iter().find(|sample| *sample.endpoint == address) {
                        bar.set_message(describe(sample));
                    }
                }
            }
        });
        Self { area, title, follower }
    }

    /// Says which arm runs.
    pub(super) fn announce(&self, start: SliceStart<'_>) {
        let what = match start.slice {
            Some(slice) => format!("slice {} of {}", slice + 1, start.slices),
            None => "warm-up".into(),
        };
        self.title.set_message(format!("{what}: {}", start.arm));
    }

    /// Takes the view away.
    pub(super) fn finish(self) {
        self.follower.abort();
        // Nothing depends on whether a terminal could be cleared.
        let _ = self.area.clear();
    }
}

fn describe(sample: &pointsman_telemetry::EndpointSample) -> String {
    let count = |value: Option<u32>| value.map_or_else(|| "?".into(), |value| value.to_string());
    let kv = sample.kv_use.map_or_else(|| "?".into(), |share| format!("{:.0} %", share * 100.0));
    format!(
        "  {}  {:3} placed by the gateway   running {:>3}  waiting {:>3}  KV {kv:>5}",
        sample.endpoint,
        sample.in_flight,
        count(sample.running),
        count(sample.waiting),
    )
}
