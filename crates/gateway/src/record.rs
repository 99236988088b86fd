//! What is told of a request when it is over: metrics and one line of log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsman_core::{Completion, Usage};
use pointsman_telemetry::trace::{Attribute, Span};
use pointsman_telemetry::{Metrics, Outcome, RequestRecord, RequestSeries, Running};

use pointsman_fleet::{Budget, Share};

/// The record of one request, from its head to its end. Dropped without [`Record::finish`] it says that the client went
/// away, so that no request ends without an outcome.
#[derive(Debug)]
pub(crate) struct Record {
    metrics: Metrics,
    series: Option<(Arc<RequestSeries>, Running)>,
    arrived: Instant,
    /// Counts the request as in flight.
    slot: Share,
    api: &'static str,
    span: Span,
    /// The status sent to the client; 0 before there is one.
    pub(crate) status: u16,
    /// Bytes of the request body, where it was held.
    pub(crate) request_bytes: u64,
    /// Bytes of the answer's body that were passed on.
    pub(crate) response_bytes: u64,
    /// Attempts made.
    pub(crate) attempts: u32,
    body_wait: Option<Duration>,
    first_token: Option<Duration>,
    finished: bool,
}

impl Record {
    pub(crate) fn start(metrics: &Metrics, in_flight: &Arc<Budget>, span: Span) -> Self {
        Self {
            metrics: metrics.clone(),
            series: None,
            arrived: Instant::now(),
            slot: in_flight.share(),
            api: "unknown",
            span,
            status: 0,
            request_bytes: 0,
            response_bytes: 0,
            attempts: 0,
            body_wait: None,
            first_token: None,
            finished: false,
        }
    }

    /// Takes a place among the requests in flight; `false` where `most` are.
    pub(crate) fn admit(&mut self, most: u32) -> bool {
        self.slot.grow_to(1, u64::from(most))
    }

    /// When the request's head came.
    pub(crate) const fn arrived(&self) -> Instant {
        self.arrived
    }

    pub(crate) const fn set_api(&mut self, api: &'static str) {
        self.api = api;
    }

    /// The request belongs to a pool from now on.
    pub(crate) fn set_series(&mut self, pool: &str, series: Arc<RequestSeries>) {
        let running = series.start();
        if self.span.is_recorded() {
            self.span.set(Attribute::Pool(pool.into()));
            self.span.set(Attribute::Model(series.model().into()));
            self.span.set(Attribute::TargetModel(series.target_model().into()));
        }
        self.series = Some((series, running));
    }

    /// The body, which was held, is whole.
    pub(crate) fn body_complete(&mut self) {
        self.body_wait = Some(self.arrived.elapsed());
    }

    /// The request's span.
    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }

    /// The gateway answered the request by itself.
    pub(crate) fn answered(mut self, status: http::StatusCode) {
        self.status = status.as_u16();
        self.finish(Outcome::Served(Completion::Complete), Usage::default());
    }

    /// The first output token came.
    pub(crate) fn first_token(&mut self) {
        self.first_token.get_or_insert_with(|| self.arrived.elapsed());
    }

    /// The request is over; further calls change nothing.
    pub(crate) fn finish(&mut self, outcome: Outcome, usage: Usage) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let duration = self.arrived.elapsed();
        let model = self.series.as_ref().map_or("", |(series, _)| series.model());
        tracing::debug!(
            api = self.api,
            model,
            status = self.status,
            outcome = outcome.as_str(),
            reason = outcome.reason(),
            attempts = self.attempts,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "request ended"
        );
        self.finish_span(outcome, usage);
        match (&self.series, outcome) {
            (Some((series, _)), outcome) => series.finish(&RequestRecord {
                outcome,
                status: self.status,
                duration,
                body_wait: self.body_wait,
                first_token: self.first_token,
                request_bytes: self.request_bytes,
                response_bytes: self.response_bytes,
                usage,
            }),
            (None, Outcome::Rejected(reason)) => self.metrics.refused(reason),
            (None, Outcome::Served(_)) => {}
        }
    }

    fn finish_span(&mut self, outcome: Outcome, usage: Usage) {
        if !self.span.is_recorded() {
            return;
        }
        self.span.set(Attribute::Status(self.status));
        self.span.set(Attribute::Outcome(outcome.as_str()));
        if !outcome.reason().is_empty() {
            self.span.set(Attribute::Reason(outcome.reason()));
        }
        let known = [
            usage.prompt_tokens.map(Attribute::InputTokens),
            usage.cached_tokens.map(Attribute::CachedTokens),
            usage.output_tokens.map(Attribute::OutputTokens),
            self.first_token.map(Attribute::FirstToken),
        ];
        for attribute in known.into_iter().flatten() {
            self.span.set(attribute);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.finish(Outcome::Served(Completion::ClientGone), Usage::default());
    }
}
