//! What is told of a request when it is over: metrics and one line of log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsman_fleet::PoolHandle;
use pointsman_telemetry::{RequestRecord, RequestSeries, Running};

use crate::session::{Asking, Summary};

/// The record of one stream.
#[derive(Debug)]
pub(crate) struct Record {
    arrived: Instant,
    series: Option<(Arc<RequestSeries>, Running)>,
    stream: Option<Running>,
    first_token: Option<Duration>,
}

impl Record {
    pub(crate) fn start() -> Self {
        Self { arrived: Instant::now(), series: None, stream: None, first_token: None }
    }

    /// The request's model is known.
    pub(crate) fn asked(&mut self, pool: &PoolHandle, asking: &Asking) {
        let name = |name: &Option<Arc<str>>| name.clone().unwrap_or_default();
        let series = pool.series().request(&name(&asking.model), &name(&asking.target));
        let running = series.start();
        self.series = Some((series, running));
    }

    /// A streamed answer is under way, or is over.
    pub(crate) fn streaming(&mut self, pool: &PoolHandle, under_way: bool) {
        if under_way != self.stream.is_some() {
            self.stream = under_way.then(|| pool.series().stream());
        }
    }

    /// The first output token came.
    pub(crate) fn first_token(&mut self) {
        self.first_token.get_or_insert_with(|| self.arrived.elapsed());
    }

    /// The request is over.
    pub(crate) fn finish(
        &mut self,
        pool: &PoolHandle,
        summary: &Summary,
        (request_bytes, response_bytes): (u64, u64),
    ) {
        let Summary { outcome, status, usage } = *summary;
        let series = self.series.take().map(|(series, _)| series);
        let series = series.unwrap_or_else(|| pool.series().request("", ""));
        let duration = self.arrived.elapsed();
        tracing::debug!(
            model = series.model(),
            status,
            outcome = outcome.as_str(),
            reason = outcome.reason(),
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "request ended"
        );
        series.finish(&RequestRecord {
            outcome,
            status,
            duration,
            first_token: self.first_token,
            request_bytes,
            response_bytes,
            usage,
        });
    }
}
