//! What is told of a request when it is over: metrics and one line of log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsman_fleet::PoolHandle;
use pointsman_telemetry::trace::{Attribute, Span};
use pointsman_telemetry::{RequestRecord, RequestSeries, Running};

use crate::session::{Asking, Summary};

/// The record of one stream.
#[derive(Debug)]
pub(crate) struct Record {
    arrived: Instant,
    span: Option<Span>,
    body_wait: Option<Duration>,
    placed: Option<Instant>,
    series: Option<(Arc<RequestSeries>, Running)>,
    stream: Option<Running>,
    first_token: Option<Duration>,
}

impl Record {
    pub(crate) fn start() -> Self {
        Self {
            arrived: Instant::now(),
            span: None,
            body_wait: None,
            placed: None,
            series: None,
            stream: None,
            first_token: None,
        }
    }

    /// The request's head came.
    pub(crate) fn traced(&mut self, span: Span) {
        self.span = span.is_recorded().then_some(span);
    }

    /// The request's model is known, and its body whole where it is held.
    pub(crate) fn asked(&mut self, pool: &PoolHandle, asking: &Asking, held: bool) {
        let now = Instant::now();
        self.body_wait = held.then(|| now.duration_since(self.arrived));
        self.placed = Some(now);
        let name = |name: &Option<Arc<str>>| name.clone().unwrap_or_default();
        let series = pool.series().request(&name(&asking.model), &name(&asking.target));
        let running = series.start();
        if let Some(span) = &mut self.span {
            span.set(Attribute::Pool(pool.name().to_string().into()));
            span.set(Attribute::Model(series.model().into()));
            span.set(Attribute::TargetModel(series.target_model().into()));
        }
        self.series = Some((series, running));
    }

    /// The pool answered.
    pub(crate) fn answered(&mut self, endpoint: Option<&str>) {
        let Some((span, asked)) = self.span.as_mut().zip(self.placed) else { return };
        span.set(Attribute::Placement(asked.elapsed()));
        if let Some(endpoint) = endpoint {
            span.set(Attribute::Endpoint(endpoint.into()));
        }
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
        self.finish_span(summary);
        series.finish(&RequestRecord {
            outcome,
            status,
            duration,
            body_wait: self.body_wait,
            first_token: self.first_token,
            request_bytes,
            response_bytes,
            usage,
        });
    }

    /// Its end is the stream's.
    fn finish_span(&mut self, summary: &Summary) {
        let Some(mut span) = self.span.take() else { return };
        let Summary { outcome, status, usage } = *summary;
        span.set(Attribute::Status(status));
        span.set(Attribute::Outcome(outcome.as_str()));
        if !outcome.reason().is_empty() {
            span.set(Attribute::Reason(outcome.reason()));
        }
        let known = [
            usage.prompt_tokens.map(Attribute::InputTokens),
            usage.cached_tokens.map(Attribute::CachedTokens),
            usage.output_tokens.map(Attribute::OutputTokens),
            self.first_token.map(Attribute::FirstToken),
        ];
        known.into_iter().flatten().for_each(|attribute| span.set(attribute));
    }
}
