//! What is recorded of one request.

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{Completion, Usage};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::labels::{Model, ModelError, ModelRunning, Pool};
use super::tables::Tables;

/// How a request of a pool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was dispatched, and this is what came of it.
    Served(Completion),
    /// We refused it, for the reason that the answer's `x-pointsman-reason` names.
    Rejected(&'static str),
}

impl Outcome {
    /// The word for the label `outcome` and the log field of that name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served(Completion::Complete) => "complete",
            Self::Served(Completion::Broken(_)) => "broken",
            Self::Served(Completion::ClientGone) => "client_gone",
            Self::Rejected(_) => "rejected",
        }
    }

    /// The word for the label `reason` and the log field of that name; empty where nothing went wrong.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Served(Completion::Complete | Completion::ClientGone) => "",
            Self::Served(Completion::Broken(cause)) => cause.as_str(),
            Self::Rejected(reason) => reason,
        }
    }
}

/// The facts of a finished request. Durations count from the arrival of its head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestRecord {
    /// How it ended.
    pub outcome: Outcome,
    /// The status that the client was sent; 0 where it went away before there was one.
    pub status: u16,
    /// To the end of the answer.
    pub duration: Duration,
    /// To the end of the request's body, where it was held.
    pub body_wait: Option<Duration>,
    /// To the first output token, where one was seen.
    pub first_token: Option<Duration>,
    /// Length of the request body in bytes.
    pub request_bytes: u64,
    /// Length of the answer body in bytes, as far as it was sent.
    pub response_bytes: u64,
    /// Token counts, where known.
    pub usage: Usage,
}

/// The series of one (pool, model, target model), looked up once.
#[derive(Debug)]
pub struct RequestSeries {
    model: Model,
    tables: Arc<Tables>,
    requests: Counter,
    complete: Counter,
    duration: Histogram,
    request_bytes: Histogram,
    body_wait: Histogram,
    response_bytes: Histogram,
    input_tokens: Histogram,
    output_tokens: Histogram,
    ntpot: Histogram,
    running: Gauge,
    ttft: Histogram,
    tpot: Histogram,
    cached_tokens: Counter,
}

/// One request counted as being served; dropping it counts it out.
#[derive(Debug)]
#[must_use = "the request counts as running only while this lives"]
pub struct Running(Gauge);

impl Running {
    pub(super) fn start(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl RequestSeries {
    pub(super) fn new(model: Model, tables: Arc<Tables>) -> Self {
        let running =
            ModelRunning { model_name: Arc::clone(&model.model_name), pool: Arc::clone(&model.pool) };
        Self {
            requests: tables.requests.get(&model),
            complete: tables.outcome(&model.pool, Outcome::Served(Completion::Complete).as_str(), ""),
            duration: tables.duration.get(&model),
            request_bytes: tables.request_bytes.get(&model),
            body_wait: tables.body_wait.get(&Pool { pool: Arc::clone(&model.pool) }),
            response_bytes: tables.response_bytes.get(&model),
            input_tokens: tables.input_tokens.get(&model),
            output_tokens: tables.output_tokens.get(&model),
            ntpot: tables.ntpot.get(&model),
            running: tables.running.get(&running),
            ttft: tables.ttft.get(&model),
            tpot: tables.tpot.get(&model),
            cached_tokens: tables.cached_tokens.get(&model),
            model,
            tables,
        }
    }

    /// The label value for the model: its declared name, or the stand-in. Safe for logs.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model.model_name
    }

    /// The label value for the target model, with the same stand-in. Safe for logs.
    #[must_use]
    pub fn target_model(&self) -> &str {
        &self.model.target_model_name
    }

    /// The request arrived at its pool; it counts as running until the returned value is dropped.
    pub fn start(&self) -> Running {
        Running::start(&self.running)
    }

    /// Records a request's end; once per request.
    pub fn finish(&self, record: &RequestRecord) {
        self.requests.inc();
        match record.outcome {
            Outcome::Served(Completion::Complete) => self.complete.inc(),
            outcome @ (Outcome::Served(_) | Outcome::Rejected(_)) => {
                self.tables.outcome(&self.model.pool, outcome.as_str(), outcome.reason()).inc()
            }
        };
        if let Some(error_code) = error_code(record.outcome, record.status) {
            let Model { model_name, target_model_name, pool } = self.model.clone();
            self.tables
                .request_errors
                .get(&ModelError { model_name, target_model_name, error_code, pool })
                .inc();
        }
        self.request_bytes.observe(float(record.request_bytes));
        if let Some(wait) = record.body_wait {
            self.body_wait.observe(wait.as_secs_f64());
        }
        if let Outcome::Rejected(_) = record.outcome {
            return; // A flood of fast refusals would hide how slow the served ones are; the extension does the same.
        }
        self.duration.observe(record.duration.as_secs_f64());
        self.response_bytes.observe(float(record.response_bytes));
        if let Some(first) = record.first_token {
            self.ttft.observe(first.as_secs_f64());
        }
        self.count_tokens(record);
    }

    fn count_tokens(&self, record: &RequestRecord) {
        if let Some(tokens @ 1..) = record.usage.prompt_tokens {
            self.input_tokens.observe(f64::from(tokens));
        }
        if let Some(tokens @ 1..) = record.usage.cached_tokens {
            self.cached_tokens.inc_by(u64::from(tokens));
        }
        let Some(output @ 1..) = record.usage.output_tokens else { return };
        self.output_tokens.observe(f64::from(output));
        if record.outcome != Outcome::Served(Completion::Complete) {
            return; // A latency per token of half an answer would mix two populations.
        }
        self.ntpot.observe(record.duration.as_secs_f64() / f64::from(output));
        if let (Some(first), 2..) = (record.first_token, output) {
            self.tpot.observe(record.duration.saturating_sub(first).as_secs_f64() / f64::from(output - 1));
        }
    }
}

/// The extension's word for an error (its `error` package), `None` where there was none. A client that leaves is none:
/// the extension's alert on the error rate would call somebody for it.
fn error_code(outcome: Outcome, status: u16) -> Option<&'static str> {
    match (outcome, status) {
        (Outcome::Served(Completion::ClientGone), _) => None,
        (Outcome::Served(Completion::Broken(_)), _) => Some("ModelServerError"),
        (Outcome::Served(Completion::Complete), 0..400) => None,
        (Outcome::Served(Completion::Complete), 400..500) => Some("BadRequest"),
        (Outcome::Served(Completion::Complete), _) => Some("ModelServerError"),
        (Outcome::Rejected(_), 429) => Some("InferencePoolResourceExhausted"),
        (Outcome::Rejected(_), 400..500) => Some("BadRequest"),
        (Outcome::Rejected(_), 503) => Some("ServiceUnavailable"),
        (Outcome::Rejected(_), 502 | 504) => Some("ModelServerError"),
        (Outcome::Rejected(_), _) => Some("Internal"),
    }
}

/// Sizes beyond 2^53 bytes lose their last digits here, which no bucket could show.
#[expect(clippy::cast_precision_loss, reason = "a histogram's sum is a float in the exposition format")]
pub(super) const fn float(bytes: u64) -> f64 {
    bytes as f64
}
