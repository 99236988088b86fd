//! The demo's live view: one line per engine, on standard error if it is a terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar};
use pointsman_bench::run::Progress;
use pointsman_bench::slices::SliceStart;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::fleet::Engines;
use super::front::Front;
use crate::progress;

/// The live view.
pub(super) struct View {
    area: MultiProgress,
    title: ProgressBar,
    follower: JoinHandle<()>,
}

/// Interval at which the lines are updated.
const REFRESH: Duration = Duration::from_millis(250);

impl View {
    pub(super) fn start(engines: &Engines, front: &Front, counts: &Arc<Progress>) -> Self {
        let area = MultiProgress::new();
        let line = || progress::styled(area.add(ProgressBar::new_spinner()), "{msg}");
        let title = line();
        let totals = line();
        let lines: Vec<_> = engines.addresses().map(|address| (address, line())).collect();
        let counts = Arc::clone(counts);
        let fleet = front.server.fleet.clone();
        let follower = tokio::spawn(async move {
            let mut tick = tokio::time::interval(REFRESH);
            loop {
                tick.tick().await;
                let (in_flight, failed) = (progress::in_flight(&counts), counts.failed.get());
                let (finished, planned) = (counts.finished.get(), counts.planned.get());
                totals.set_message(format!(
                    "{finished} of {planned} answered, {in_flight} in flight, {failed} failed"
                ));
                let pools = fleet.debug_pools();
                for (address, bar) in &lines {
                    let endpoints = pools["pools"][0]["endpoints"].as_array();
                    let is_this = |endpoint: &&Value| endpoint["address"] == address.to_string();
                    if let Some(endpoint) = endpoints.and_then(|all| all.iter().find(is_this)) {
                        bar.set_message(describe(endpoint));
                    }
                }
            }
        });
        Self { area, title, follower }
    }

    /// Shows which arm runs.
    pub(super) fn announce(&self, start: SliceStart<'_>) {
        let what = match start.slice {
            Some(slice) => format!("slice {} of {}", slice + 1, start.slices),
            None => "warm-up".into(),
        };
        self.title.set_message(format!("{what}: {}", start.arm));
    }

    /// Removes the view.
    pub(super) fn finish(self) {
        self.follower.abort();
        // A terminal that cannot be cleared does no harm.
        let _ = self.area.clear();
    }
}

/// An engine's line: requests in flight, the engine's metrics and the learned time per output token.
fn describe(endpoint: &Value) -> String {
    let count = |value: &Value| value.as_u64().map_or_else(|| "?".into(), |value| value.to_string());
    let reading = &endpoint["reading"];
    let kv = reading["kv_use"].as_f64().map_or_else(|| "?".into(), |share| format!("{:.0} %", share * 100.0));
    let pace = endpoint["step_seconds"]["value"].as_f64().map(|seconds| seconds * 1e3);
    format!(
        "  {}  from the gateway {:>2}  running {:>2}  waiting {:>2}  KV {kv:>4}  {} per token",
        endpoint["address"].as_str().unwrap_or_default(),
        count(&endpoint["in_flight"]),
        count(&reading["running"]),
        count(&reading["waiting"]),
        pointsman_report::millis(pace),
    )
}
