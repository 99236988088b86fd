//! The exporter: takes finished spans from a bounded queue and posts them in batches.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::options::{OtlpError, OtlpOptions};
use super::otlp::Encoding;
use super::span::{Finished, Tracer};
use crate::logging::field;

/// Finished spans that wait for export (OpenTelemetry's default).
const QUEUE: usize = 2048;
/// Spans of one request (OpenTelemetry's default).
const BATCH: usize = 512;
/// The most bytes of a collector's answer that are read.
const MAX_ANSWER: usize = 64 << 10;
/// Attempts at one batch before it is dropped.
const ATTEMPTS: u32 = 4;

/// Posts spans. Its [`run`](Self::run) must be polled for anything to leave.
#[derive(Debug)]
pub struct Exporter {
    finished: mpsc::Receiver<Finished>,
    /// What is to be posted next. It stays here until that is done, so that it is not lost at shutdown.
    batch: Vec<Finished>,
    client: Client<HttpConnector, Full<Bytes>>,
    url: Uri,
    encoding: Encoding,
    headers: HeaderMap,
    service: String,
    version: String,
    dropped: Counter,
    timing: Timing,
}

/// How long the exporter waits, for what.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// For a batch to fill (OpenTelemetry's default).
    fill: Duration,
    /// For the collector to answer (OTLP's default).
    answer: Duration,
    /// Before the first repeat; it doubles with each.
    back_off: Duration,
    /// For everything that is left at shutdown.
    last: Duration,
}

const TIMING: Timing = Timing {
    fill: Duration::from_secs(5),
    answer: Duration::from_secs(10),
    back_off: Duration::from_secs(1),
    last: Duration::from_secs(3),
};

impl Tracer {
    /// A tracer that exports by OTLP over HTTP, and the exporter to run for it. `dropped` counts the spans
    /// that were lost on the way; see [`Metrics::dropped_spans`](crate::Metrics::dropped_spans).
    ///
    /// # Errors
    ///
    /// When the options make no sense.
    pub fn otlp(options: OtlpOptions, dropped: Counter) -> Result<(Self, Exporter), OtlpError> {
        if !(0.0..=1.0).contains(&options.share) {
            return Err(OtlpError::Share(options.share.to_string()));
        }
        let url = options.url()?;
        let (sender, finished) = mpsc::channel(QUEUE);
        let exporter = Exporter {
            finished,
            batch: Vec::new(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            url,
            encoding: options.encoding,
            headers: options.headers,
            service: options.service,
            version: options.version,
            dropped: dropped.clone(),
            timing: TIMING,
        };
        Ok((Self::recording(sender, dropped, options.share), exporter))
    }
}

/// What became of one post.
enum Posted {
    Accepted,
    /// The collector, or the way to it, is down for now.
    TryAgain(String),
    /// It will never take this.
    Refused(String),
}

impl Exporter {
    /// Exports until `shutdown`, then what is left, for three seconds at most.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let last = self.timing.last;
        let mut healthy = true;
        tokio::select! {
            () = shutdown => {}
            () = self.export_all(&mut healthy) => return,
        }
        self.finished.close();
        // The queue is closed, so a batch is full with what is there.
        if timeout(last, self.export_all(&mut healthy)).await.is_err() {
            tracing::warn!("trace spans were left unexported at shutdown");
        }
    }

    /// Ends when every tracer and span is gone, or the queue was closed, and nothing is left.
    async fn export_all(&mut self, healthy: &mut bool) {
        while self.fill_batch().await {
            self.export_batch(healthy).await;
            self.batch.clear();
        }
    }

    /// Waits for a full batch, or for as many as come in the time given to it. False when no span will come any more.
    async fn fill_batch(&mut self) -> bool {
        if self.batch.is_empty() && self.finished.recv_many(&mut self.batch, 1).await == 0 {
            return false;
        }
        // When the time is over, what was collected goes; when the queue is closed, there is nothing to wait for.
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
        let body = Bytes::from(self.encoding.encode(&self.service, &self.version, &self.batch));
        let mut back_off = self.timing.back_off;
        for attempt in 1..=ATTEMPTS {
            let reason = match self.post(body.clone()).await {
                Posted::Accepted => {
                    *healthy = true;
                    return;
                }
                Posted::TryAgain(_) if attempt < ATTEMPTS => {
                    sleep(back_off).await;
                    back_off *= 2;
                    continue;
                }
                Posted::TryAgain(reason) | Posted::Refused(reason) => reason,
            };
            self.dropped.inc_by(u64::try_from(self.batch.len()).unwrap_or(u64::MAX));
            // Once per outage: a collector that is down must not fill the log.
            if std::mem::replace(healthy, false) {
                tracing::warn!(
                    { field::ERROR } = reason,
                    "trace spans could not be exported and were dropped"
                );
            }
            return;
        }
    }

    async fn post(&self, body: Bytes) -> Posted {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(header::CONTENT_TYPE, self.encoding.content_type())
            .header(header::USER_AGENT, concat!("pointsman/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body));
        let mut request = match request {
            Ok(request) => request,
            Err(error) => return Posted::Refused(error.to_string()),
        };
        request.headers_mut().extend(self.headers.clone());
        let exchange = async {
            let answer = self.client.request(request).await?;
            let status = answer.status();
            // Read to the end, so that the connection can be used again; what it says is of no use to us.
            let _ = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok::<_, hyper_util::client::legacy::Error>(status)
        };
        match timeout(self.timing.answer, exchange).await {
            Ok(Ok(status)) if status.is_success() => Posted::Accepted,
            Ok(Ok(status)) if may_repeat(status) => {
                Posted::TryAgain(format!("the collector answered {status}"))
            }
            Ok(Ok(status)) => Posted::Refused(format!("the collector answered {status}")),
            Ok(Err(error)) => Posted::TryAgain(error.to_string()),
            Err(_) => Posted::TryAgain("the collector did not answer in time".into()),
        }
    }
}

/// The statuses that OTLP over HTTP names as worth repeating.
const fn may_repeat(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

#[cfg(test)]
mod tests;
