//! The exporter: takes finished spans from a bounded queue and sends them in batches.

use std::future::Future;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::encode::export_request;
use super::error::OtlpError;
use super::options::OtlpOptions;
use super::span::{Finished, Tracer};
use super::transport::{ExportError, Transport};

/// Capacity of the queue of finished spans (OpenTelemetry's default).
const QUEUE: usize = 2048;
/// Spans of one export at most (OpenTelemetry's default).
const BATCH: usize = 512;
/// Attempts at one batch before it is dropped.
const ATTEMPTS: u32 = 4;

/// Sends spans to the collector while [`run`](Self::run) is polled.
#[derive(Debug)]
pub struct Exporter {
    finished: mpsc::Receiver<Finished>,
    /// Spans of the next export. They stay here until it is done, so that a shutdown in between does not lose them.
    batch: Vec<Finished>,
    transport: Transport,
    service: String,
    version: String,
    dropped: Counter,
    timing: Timing,
}

/// Time limits and delays of the exporter.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// Time for a batch to fill (OpenTelemetry's default).
    fill: Duration,
    /// Time limit of one attempt.
    timeout: Duration,
    /// Delay before the first retry; it doubles with each.
    back_off: Duration,
    /// Time for the remaining spans at shutdown.
    flush: Duration,
}

impl Tracer {
    /// A tracer that exports by OTLP, and the exporter to run for it. `dropped` counts the spans that were not
    /// exported; see [`Metrics::dropped_spans`](crate::Metrics::dropped_spans).
    ///
    /// # Errors
    ///
    /// When the certificate files of the options cannot be used.
    pub fn otlp(options: OtlpOptions, dropped: Counter) -> Result<(Self, Exporter), OtlpError> {
        let transport = Transport::new(&options)?;
        let (sender, finished) = mpsc::channel(QUEUE);
        let exporter = Exporter {
            finished,
            batch: Vec::new(),
            transport,
            service: options.service,
            version: options.version,
            dropped: dropped.clone(),
            timing: Timing {
                fill: Duration::from_secs(5),
                timeout: options.timeout,
                back_off: Duration::from_secs(1),
                flush: Duration::from_secs(3),
            },
        };
        Ok((Self::recording(sender, dropped, options.share), exporter))
    }
}

impl Exporter {
    /// Exports until `shutdown`, then flushes the remaining spans for three seconds at most.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let flush = self.timing.flush;
        let mut healthy = true;
        tokio::select! {
            () = shutdown => {}
            () = self.export_all(&mut healthy) => return,
        }
        // A closed queue does not delay the last batch.
        self.finished.close();
        if timeout(flush, self.export_all(&mut healthy)).await.is_err() {
            tracing::warn!("trace spans were left unexported at shutdown");
        }
    }

    /// Ends when the queue is empty and was closed, or every tracer and span is gone.
    async fn export_all(&mut self, healthy: &mut bool) {
        while self.fill_batch().await {
            self.export_batch(healthy).await;
            self.batch.clear();
        }
    }

    /// Waits for a full batch, or for as many spans as come within `fill`. False when no span will come any more.
    async fn fill_batch(&mut self) -> bool {
        if self.batch.is_empty() && self.finished.recv_many(&mut self.batch, 1).await == 0 {
            return false;
        }
        // On expiry, the spans collected so far are the batch.
        let _ = timeout(self.timing.fill, async {
            while self.batch.len() < BATCH {
                let room = BATCH - self.batch.len();
                if self.finished.recv_many(&mut self.batch, room).await == 0 {
                    break;
                }
            }
        })
        .await;
        true
    }

    async fn export_batch(&self, healthy: &mut bool) {
        let request = export_request(&self.service, &self.version, &self.batch);
        let mut back_off = self.timing.back_off;
        for attempt in 1..=ATTEMPTS {
            let exported = timeout(self.timing.timeout, self.transport.export(&request)).await;
            let reason = match exported.unwrap_or_else(|_| Err(ExportError::Unavailable("timeout".into()))) {
                Ok(response) => {
                    let partial = response.partial_success.unwrap_or_default();
                    if partial.rejected_spans > 0 {
                        let rejected = partial.rejected_spans.unsigned_abs();
                        return self.drop_spans(rejected, &partial.error_message, healthy);
                    }
                    *healthy = true;
                    return;
                }
                Err(ExportError::Unavailable(_)) if attempt < ATTEMPTS => {
                    sleep(back_off).await;
                    back_off *= 2;
                    continue;
                }
                Err(ExportError::Unavailable(reason) | ExportError::Refused(reason)) => reason,
            };
            let spans = u64::try_from(self.batch.len()).unwrap_or(u64::MAX);
            return self.drop_spans(spans, &reason, healthy);
        }
    }

    /// Counts spans that the collector did not take, and logs the first failure of an outage.
    fn drop_spans(&self, spans: u64, reason: &str, healthy: &mut bool) {
        self.dropped.inc_by(spans);
        if std::mem::replace(healthy, false) {
            tracing::warn!(error = reason, "trace spans could not be exported and were dropped");
        }
    }
}

#[cfg(test)]
mod tests;
