//! The export of traces.

use anyhow::{Context as _, Result};
use pointsman_telemetry::Metrics;
use pointsman_telemetry::trace::{OtlpOptions, Tracer};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The running exporter of traces.
pub(crate) struct Exporting {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Sends the spans that are queued, and ends.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        // A panic in the task has been logged.
        let _ = self.task.await;
    }
}

/// A tracer, and the exporter of its spans to `endpoint` or to the endpoint in the environment, if there is one.
pub(crate) fn start_tracing(
    endpoint: Option<String>,
    metrics: &Metrics,
) -> Result<(Tracer, Option<Exporting>)> {
    let lookup = |name: &str| std::env::var(name).ok();
    let options = OtlpOptions::from_env(endpoint, env!("CARGO_PKG_VERSION"), lookup);
    let Some(options) = options.context("traces")? else { return Ok((Tracer::disabled(), None)) };
    let (tracer, exporter) = Tracer::otlp(options, metrics.dropped_spans()).context("traces")?;
    let stop = CancellationToken::new();
    let task = tokio::spawn(exporter.run(stop.clone().cancelled_owned()));
    Ok((tracer, Some(Exporting { stop, task })))
}
